//! Two nodes, and what can apply between them: selected once for a link, asked for every message.

use std::sync::{Arc, OnceLock};

use cedar_policy::{Authorizer, Effect, Entities, PolicySet};

use crate::action::Action;
use crate::bounds::Reaches;
use crate::decision::{Decision, Verdict};
use crate::engine::Engine;
use crate::model;
use crate::model::entity::{NodeEntity, entities};
use crate::model::labels::Labels;
use crate::request::{Request, Resource, Subject};
use crate::slices::Slices;

/// What one node may do to another. Cheap to ask, not to make: one for each link and direction.
pub struct Pair {
    /// Or why nothing can be asked: then all is denied.
    ends: Result<Ends, String>,
    basis: Arc<Basis>,
    reach: OnceLock<Reach>,
}

/// What a pair says of the receiving node as a whole, which a link has to know before the first message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Messages to processes without a name are neither permitted nor forbidden: messages without functions, and those that carry
    /// some.
    pub open: [bool; 2],
    /// Monitors of processes without a name are neither permitted nor forbidden.
    pub watch_open: bool,
    /// Whether spawn requests may be used at all.
    pub spawn: Verdict,
}

struct Ends {
    from: Arc<NodeEntity>,
    to: Arc<NodeEntity>,
}

/// Everything that decisions of a pair depend on, besides the question. Equal bases decide alike.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Basis {
    from: Arc<Subject>,
    to: Arc<Subject>,
    dry: bool,
    slices: Option<Arc<Slices>>,
    /// What a link to another cluster says of the two.
    across: Option<Reaches>,
    labels: Arc<Labels>,
}

impl Pair {
    pub(crate) fn new(engine: &Engine, from: &Subject, to: &Subject, dry: bool) -> Self {
        let across = engine.bounds.between(from, to);
        let ends = ends(engine, from, to);
        let (from, to, slices) = match &ends {
            Ok(ends) => {
                let (from, to) = (&ends.from, &ends.to);
                let slices = engine.shared.between(&engine.policies, from, to);
                (from.subject.clone(), to.subject.clone(), Some(slices))
            }
            Err(_) => (Arc::new(from.clone()), Arc::new(to.clone()), None),
        };
        Self {
            ends,
            basis: Arc::new(Basis {
                from,
                to,
                dry,
                slices,
                across,
                labels: engine.labels.clone(),
            }),
            reach: OnceLock::new(),
        }
    }

    /// Who asks.
    #[must_use]
    pub fn from(&self) -> &Arc<Subject> {
        &self.basis.from
    }

    /// Who is asked.
    #[must_use]
    pub fn to(&self) -> &Arc<Subject> {
        &self.basis.to
    }

    /// What it says of the receiving node as a whole; decided once.
    #[must_use]
    pub fn reach(&self) -> Reach {
        *self.reach.get_or_init(|| {
            // What nothing permits and nothing forbids: so it is in a dry run, too, or it would tell what enforcing does not refuse.
            let open = |action, carries_function| {
                let said = self.decide(&Request {
                    carries_function,
                    ..Request::new(action, Resource::Node)
                });
                said.verdict != Verdict::Permit
                    && said.policies.is_empty()
                    && said.errors.is_empty()
            };
            Reach {
                open: [false, true].map(|function| open(Action::SendPid, function)),
                // Nothing about a monitor depends on its message: if one of these is forbidden, all are.
                watch_open: open(Action::Monitor, false),
                spawn: self
                    .decide(&Request::new(Action::SpawnRequest, Resource::Node))
                    .verdict,
            }
        })
    }

    /// Whether another one, of whatever set, decides everything alike, as it does where the two sets differ in nothing that is about
    /// these nodes.
    #[must_use]
    pub fn decides_like(&self, other: &Self) -> bool {
        self.basis == other.basis
    }

    pub(crate) const fn basis(&self) -> &Arc<Basis> {
        &self.basis
    }

    /// Decides, with reasons. What cannot be evaluated is denied, in a dry run as well as not: see [`Verdict::WouldDeny`].
    #[must_use]
    pub fn decide(&self, request: &Request<'_>) -> Decision {
        let (mut policies, errors, permitted) = match self.evaluate(request) {
            Ok(found) => {
                let permitted = found.errors.is_empty()
                    && found.forbids.is_empty()
                    && (!found.permits.is_empty() || request.action.is_capability());
                let reasons = if found.forbids.is_empty() {
                    found.permits
                } else {
                    found.forbids
                };
                (reasons, found.errors, permitted)
            }
            Err(error) => (Vec::new(), vec![error], false),
        };
        policies.sort();
        let verdict = match (permitted, self.basis.dry) {
            (true, _) => Verdict::Permit,
            (false, true) => Verdict::WouldDeny,
            (false, false) => Verdict::Deny,
        };
        Decision {
            verdict,
            policies,
            errors,
        }
    }

    fn evaluate(&self, request: &Request<'_>) -> Result<Found, String> {
        let model = model::model()?;
        let ends = self.ends.as_ref().map_err(Clone::clone)?;
        let slices = self.basis.slices.as_ref();
        let slice = slices.and_then(|slices| slices.of(request.action));
        let slice = slice.ok_or_else(|| format!("no action {}", request.action))?;
        let mut resource = model.resource(&request.resource, &ends.to, &self.basis.labels);
        let action = model.action_entity(request.action)?;
        let entities = entities(&ends.from, &ends.to, action, &mut resource)?;
        let context = model.context(request)?;
        let question = cedar_policy::Request::new(
            ends.from.uid.clone(),
            model.action(request.action)?,
            resource.uid.clone(),
            context,
            Some(&model.schema),
        )
        .map_err(|error| error.to_string())?;
        let mut found = Found::default();
        // To watch a process does nothing to it.
        let strict = resource.must_be_named && request.action != Action::Monitor;
        found.ask(
            if strict {
                &slice.wide.forbids
            } else {
                &slice.wide.all
            },
            &question,
            &entities,
        );
        for uid in &resource.wide {
            if let Some(bucket) = slice.scoped.get(uid) {
                found.ask(
                    if strict { &bucket.forbids } else { &bucket.all },
                    &question,
                    &entities,
                );
            }
        }
        for uid in resource.naming.iter().chain([&resource.uid]) {
            if let Some(bucket) = slice.scoped.get(uid) {
                found.ask(&bucket.all, &question, &entities);
            }
        }
        let unnamed = request.resource == Resource::Node && request.action != Action::Connect;
        if unnamed && !request.action.is_capability() && self.basis.across == Some(Reaches::Named) {
            found.permits.clear();
        }
        Ok(found)
    }
}

fn ends(engine: &Engine, from: &Subject, to: &Subject) -> Result<Ends, String> {
    let model = model::model()?;
    let node = |subject| {
        engine
            .nodes
            .get(subject, || model.node(subject, &engine.labels))
    };
    Ok(Ends {
        from: node(from)?,
        to: node(to)?,
    })
}

/// What the buckets said.
#[derive(Default)]
struct Found {
    permits: Vec<String>,
    forbids: Vec<String>,
    errors: Vec<String>,
}

impl Found {
    fn ask(&mut self, policies: &PolicySet, question: &cedar_policy::Request, entities: &Entities) {
        if policies.is_empty() {
            return;
        }
        let response = Authorizer::new().is_authorized(question, policies, entities);
        let diagnostics = response.diagnostics();
        self.errors
            .extend(diagnostics.errors().map(ToString::to_string));
        for id in diagnostics.reason() {
            let forbids = policies
                .policy(id)
                .is_some_and(|policy| policy.effect() == Effect::Forbid);
            let into = if forbids {
                &mut self.forbids
            } else {
                &mut self.permits
            };
            into.push(id.to_string());
        }
    }
}

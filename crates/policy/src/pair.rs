//! Two nodes, and what can apply between them: selected once for a link, asked for every message.

use std::collections::HashMap;
use std::sync::Arc;

use cedar_policy::{Authorizer, Effect, Entities, EntityUid, PolicySet};
use cedar_policy_core::ast;

use crate::action::Action;
use crate::compile::{Compiled, Scope};
use crate::decision::{Decision, Verdict};
use crate::engine::Engine;
use crate::model::entity::{NodeEntity, entities};
use crate::model::labels::Labels;
use crate::model::{self, Made};
use crate::request::{Request, Subject};

/// What one node may do to another. Cheap to ask, not to make: one for each link and direction.
pub struct Pair {
    labels: Arc<Labels>,
    dry: bool,
    ends: Result<Ends, String>,
    slices: Vec<Slice>,
    basis: Arc<Basis>,
}

struct Ends {
    from: NodeEntity,
    to: NodeEntity,
    /// In the order of [`Action::ALL`].
    actions: Vec<Arc<ast::Entity>>,
}

/// Everything that decisions of a pair depend on, besides the question. Equal bases decide alike.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Basis {
    from: Subject,
    to: Subject,
    dry: bool,
    policies: Vec<(String, String)>,
    labels: Arc<Labels>,
}

/// What can apply for one action.
#[derive(Default)]
struct Slice {
    /// Whatever the resource is.
    wide: Bucket,
    /// By the entity that the resource has to be, or be in.
    scoped: HashMap<EntityUid, Bucket>,
}

#[derive(Default)]
struct Bucket {
    all: PolicySet,
    forbids: PolicySet,
}

impl Bucket {
    fn add(&mut self, compiled: &Compiled) {
        // An ID is there once: the compiler saw to it.
        let _ = self.all.add(compiled.policy.clone());
        if !compiled.permits {
            let _ = self.forbids.add(compiled.policy.clone());
        }
    }
}

impl Pair {
    pub(crate) fn new(engine: &Arc<Engine>, from: &Subject, to: &Subject, dry: bool) -> Self {
        let ends = ends(engine, from, to);
        let mut slices: Vec<Slice> = Action::ALL.iter().map(|_| Slice::default()).collect();
        let mut policies = Vec::new();
        if let Ok(ends) = &ends {
            for compiled in &engine.policies {
                if select(compiled, ends, &mut slices) {
                    policies.push((compiled.id.clone(), compiled.text.clone()));
                }
            }
        }
        Self {
            labels: engine.labels.clone(),
            dry,
            ends,
            slices,
            basis: Arc::new(Basis {
                from: from.clone(),
                to: to.clone(),
                dry,
                policies,
                labels: engine.labels.clone(),
            }),
        }
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
                    && !found.permits.is_empty();
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
        let verdict = match (permitted, self.dry) {
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
        let mut resource = model.resource(&request.resource, &ends.to, &self.labels);
        let index = request.action.index();
        let (Some(slice), Some(action)) = (self.slices.get(index), ends.actions.get(index)) else {
            return Err(format!("no action {}", request.action));
        };
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
        Ok(found)
    }
}

fn ends(engine: &Engine, from: &Subject, to: &Subject) -> Result<Ends, String> {
    let model = model::model()?;
    let from = model.node(from, &engine.labels)?;
    let to = model.node(to, &engine.labels)?;
    let actions = Action::ALL.iter();
    let actions = actions.map(|&action| model.action_entity(action));
    let actions = actions.collect::<Made<_>>()?;
    Ok(Ends { from, to, actions })
}

/// Puts a policy into the slices of its actions, if its scope can match these two.
fn select(compiled: &Compiled, ends: &Ends, slices: &mut [Slice]) -> bool {
    let principal = match &compiled.principal {
        Scope::Any => true,
        Scope::Within(uid) => ends.from.within.contains(uid),
        Scope::Is(uid) => *uid == ends.from.uid,
    };
    if !principal {
        return false;
    }
    // Where a node stands the receiving one is meant: for all resources that is known here. An ID with and without host is
    // one node or another; `==` means the very entity.
    let scoped = match &compiled.resource {
        Scope::Any => None,
        Scope::Within(uid) if ends.to.within.contains(uid) => None,
        Scope::Is(uid) if *uid == ends.to.uid => None,
        Scope::Within(uid) | Scope::Is(uid) if is_of_nodes(uid) => return false,
        Scope::Within(uid) | Scope::Is(uid) => Some(uid),
    };
    for (n, slice) in slices.iter_mut().enumerate() {
        if compiled.actions & (1 << n) != 0 {
            match scoped {
                None => slice.wide.add(compiled),
                Some(uid) => slice.scoped.entry(uid.clone()).or_default().add(compiled),
            }
        }
    }
    true
}

fn is_of_nodes(uid: &EntityUid) -> bool {
    matches!(
        uid.type_name().basename(),
        "TrustDomain" | "Cluster" | "Namespace" | "Workload" | "Node"
    )
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

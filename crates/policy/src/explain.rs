//! Why: the policies that decided a request, and those that nearly did, with what is missing. For people; not for the hot
//! path.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use cedar_policy::{Authorizer, Decision as Answer, EntityUid, PolicySet};

use crate::action::Action;
use crate::compile::{Compiled, Scope};
use crate::decision::{Decision, Verdict};
use crate::engine::Engine;
use crate::model::entity::entities;
use crate::model::labels::Labels;
use crate::model::{self, Made};
use crate::request::{Request, Subject};
use crate::test::Asked;

/// Most policies that nearly decided: more nobody reads.
const MOST: usize = 10;

/// A decision, and what was near it.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What was decided.
    pub decision: Decision,
    /// The text of each of the policies that decided, in Cedar.
    pub texts: Vec<(String, String)>,
    /// Those that would have decided otherwise: permits of what is denied, forbids of what is permitted. The nearest first.
    pub near: Vec<Near>,
}

/// A policy that one thing kept from deciding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Near {
    /// What was missing.
    pub missing: Missing,
    /// Its `@id`.
    pub policy: String,
    /// Whether it would permit; else it would forbid.
    pub permits: bool,
    /// In Cedar.
    pub text: String,
}

/// What kept a policy from deciding. The nearest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Missing {
    /// It does not name the resource, which a permit has to: see [`crate::engine`].
    Name,
    /// A condition (`when`, `unless`) does not hold.
    Condition,
    /// It is about other actions.
    Action,
    /// It is about other senders.
    Principal,
    /// It is about something else.
    Resource,
}

impl Missing {
    /// In words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Name => "it does not name the resource, which a permit for it has to",
            Self::Condition => "its condition does not hold",
            Self::Action => "it is about other actions",
            Self::Principal => "it is about other senders",
            Self::Resource => "it is about something else",
        }
    }
}

impl Engine {
    /// Decides, and says what was near. `now` as for [`Engine::pair`].
    #[must_use]
    pub fn explain(
        self: &Arc<Self>,
        from: &Subject,
        to: &Subject,
        now: u64,
        request: &Request<'_>,
    ) -> Explanation {
        let decision = self.pair(from, to, now).decide(request);
        let texts = self.policies.iter();
        let texts =
            texts.filter(|compiled| decision.policies.iter().any(|id| **id == *compiled.id));
        let texts = texts.map(|compiled| (compiled.id.to_string(), compiled.text.to_string()));
        let mut near = near(&self.policies, &self.labels, (from, to), request).unwrap_or_default();
        near.retain(|near| near.permits != (decision.verdict == Verdict::Permit));
        near.sort();
        near.truncate(MOST);
        Explanation {
            texts: texts.collect(),
            decision,
            near,
        }
    }
}

impl Asked {
    /// Decides what was typed in, and says what was near. The time is 0 unless the request has one.
    ///
    /// # Errors
    /// What was found, and what would be right.
    pub fn explain(&self, engine: &Arc<Engine>) -> Result<Explanation, (String, String)> {
        let (from, to) = self.subjects()?;
        self.with_request(|request| engine.explain(&from, &to, self.now.unwrap_or(0), request))
    }
}

fn near(
    policies: &[Compiled],
    labels: &Labels,
    (from, to): (&Subject, &Subject),
    request: &Request<'_>,
) -> Made<Vec<Near>> {
    let model = model::model()?;
    let (from, to) = (model.node(from, labels)?, model.node(to, labels)?);
    let mut resource = model.resource(&request.resource, &to, labels);
    let action = model.action_entity(request.action)?;
    let entities = entities(&from, &to, action, &mut resource)?;
    let question = cedar_policy::Request::new(
        from.uid.clone(),
        model.action(request.action)?,
        resource.uid.clone(),
        model.context(request)?,
        Some(&model.schema),
    )
    .map_err(|error| error.to_string())?;
    let holds = |compiled: &Compiled| {
        let mut set = PolicySet::new();
        let _ = set.add(compiled.policy.clone());
        let response = Authorizer::new().is_authorized(&question, &set, &entities);
        response.decision() == Answer::Allow || response.diagnostics().reason().next().is_some()
    };
    let resource_within = |uid: &EntityUid| {
        *uid == resource.uid
            || to.is_within(uid)
            || resource.wide.contains(uid)
            || resource.naming.contains(uid)
    };
    let names = |scope: &Scope| match scope {
        Scope::Any => false,
        Scope::Within(uid) | Scope::Is(uid) => {
            *uid == resource.uid || resource.naming.contains(uid)
        }
    };
    // To watch a process does nothing to it.
    let strict = resource.must_be_named && request.action != Action::Monitor;
    let mut out = Vec::new();
    for compiled in policies {
        let principal = fits(&compiled.principal, &from.uid, |uid| from.is_within(uid));
        let about = fits(&compiled.resource, &resource.uid, resource_within);
        let action = compiled.actions & (1 << request.action.index()) != 0;
        let missing = match (principal, action, about) {
            (true, true, true) if strict && compiled.permits && !names(&compiled.resource) => {
                Missing::Name
            }
            // Nothing is missing: it decided, or one that forbids had the last word.
            (true, true, true) if holds(compiled) => continue,
            (true, true, true) => Missing::Condition,
            (true, false, true) if compiled.resource != Scope::Any => Missing::Action,
            (false, true, true) if compiled.resource != Scope::Any => Missing::Principal,
            (true, true, false) if matches!(compiled.resource, Scope::Is(_)) => Missing::Resource,
            _ => continue,
        };
        out.push(Near {
            missing,
            policy: compiled.id.to_string(),
            permits: compiled.permits,
            text: compiled.text.to_string(),
        });
    }
    Ok(out)
}

fn fits(scope: &Scope, uid: &EntityUid, within: impl Fn(&EntityUid) -> bool) -> bool {
    match scope {
        Scope::Any => true,
        Scope::Within(ancestor) => within(ancestor),
        Scope::Is(entity) => entity == uid,
    }
}

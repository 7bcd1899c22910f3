//! The policies that can apply between two nodes, found by action and by resource. Pairs for which the same ones can apply
//! share them: a node has many links and few kinds of neighbours.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use cedar_policy::{EntityUid, PolicySet};

use crate::action::Action;
use crate::compile::{Compiled, Scope};
use crate::model::entity::NodeEntity;

/// What can apply, for each action. Equal if they hold the same policies.
pub(crate) struct Slices {
    selected: Vec<Selected>,
    actions: Vec<Slice>,
}

/// A policy that can apply.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Selected {
    id: Arc<str>,
    text: Arc<str>,
    /// Whatever the resource is.
    wide: bool,
}

/// What can apply for one action.
#[derive(Default)]
pub(crate) struct Slice {
    /// Whatever the resource is.
    pub(crate) wide: Bucket,
    /// By the entity that the resource has to be, or be in.
    pub(crate) scoped: HashMap<EntityUid, Bucket>,
}

/// Policies that are asked together.
#[derive(Default)]
pub(crate) struct Bucket {
    pub(crate) all: PolicySet,
    pub(crate) forbids: PolicySet,
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

impl Slices {
    fn new(policies: &[Compiled], selected: &[(usize, bool)]) -> Self {
        let mut slices = Self {
            selected: Vec::with_capacity(selected.len()),
            actions: Action::ALL.iter().map(|_| Slice::default()).collect(),
        };
        for &(at, wide) in selected {
            if let Some(compiled) = policies.get(at) {
                slices.add(compiled, wide);
            }
        }
        slices
    }

    fn add(&mut self, compiled: &Compiled, wide: bool) {
        self.selected.push(Selected {
            id: compiled.id.clone(),
            text: compiled.text.clone(),
            wide,
        });
        for (n, slice) in self.actions.iter_mut().enumerate() {
            if compiled.actions & (1 << n) == 0 {
                continue;
            }
            match &compiled.resource {
                Scope::Within(uid) | Scope::Is(uid) if !wide => {
                    slice.scoped.entry(uid.clone()).or_default().add(compiled);
                }
                _ => slice.wide.add(compiled),
            }
        }
    }

    pub(crate) fn of(&self, action: Action) -> Option<&Slice> {
        self.actions.get(action.index())
    }
}

impl PartialEq for Slices {
    fn eq(&self, other: &Self) -> bool {
        self.selected == other.selected
    }
}

impl Eq for Slices {}

impl fmt::Debug for Slices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.selected).finish()
    }
}

/// Which policies, by their places, and whether each is wide.
type Selection = Vec<(usize, bool)>;

/// Slices that are in use, by what is in them.
#[derive(Default)]
pub(crate) struct Shared(Mutex<HashMap<Selection, Weak<Slices>>>);

impl Shared {
    /// Those that can apply between two nodes. Takes a lock: for the making of a pair, not for a message.
    pub(crate) fn between(
        &self,
        policies: &[Compiled],
        from: &NodeEntity,
        to: &NodeEntity,
    ) -> Arc<Slices> {
        let selected = policies.iter().enumerate();
        let selected: Selection = selected
            .filter_map(|(at, compiled)| Some((at, wide(compiled, from, to)?)))
            .collect();
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slices) = shared.get(&selected).and_then(Weak::upgrade) {
            return slices;
        }
        shared.retain(|_, slices| slices.strong_count() > 0);
        let slices = Arc::new(Slices::new(policies, &selected));
        shared.insert(selected, Arc::downgrade(&slices));
        slices
    }
}

/// `None` if the scope of a policy cannot match these two; else whether it can match whatever the resource is.
fn wide(compiled: &Compiled, from: &NodeEntity, to: &NodeEntity) -> Option<bool> {
    let principal = match &compiled.principal {
        Scope::Any => true,
        Scope::Within(uid) => from.is_within(uid),
        Scope::Is(uid) => *uid == from.uid,
    };
    if !principal {
        return None;
    }
    match &compiled.resource {
        Scope::Any => Some(true),
        // Every resource is in the receiving node.
        Scope::Within(uid) if to.is_within(uid) => Some(true),
        Scope::Within(uid) | Scope::Is(uid) => {
            // The receiving node itself is asked for by its ID; another node, or what others are in, never is.
            let elsewhere = is_of_nodes(uid) && *uid != to.uid;
            (!elsewhere).then_some(false)
        }
    }
}

fn is_of_nodes(uid: &EntityUid) -> bool {
    matches!(
        uid.type_name().basename(),
        "TrustDomain" | "Cluster" | "Namespace" | "Workload" | "Node"
    )
}

#[cfg(test)]
impl Shared {
    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

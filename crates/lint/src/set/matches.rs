//! Which objects mean which, found out once: by name, by selector. Bounded, since each may mean each.

use std::collections::HashMap;
use std::sync::OnceLock;

use super::Set;
use crate::kubernetes::Object;
use crate::source::SourceId;

/// The most pairs of workloads and policies, or workloads and services, that are compared. A cluster of 2,000
/// workloads with as many policies is within it; beyond, rules that need to know are silent.
const MAX_PAIRS: usize = 4_000_000;
/// The most policies and services of one workload. Who has more is not judged by them.
const MAX_EACH: usize = 50;

/// What was found out.
#[derive(Debug, Default)]
pub(super) struct Matches {
    names: OnceLock<HashMap<(String, String), Vec<usize>>>,
    policies: OnceLock<ByWorkload>,
    services: OnceLock<ByWorkload>,
}

/// Objects by the workload that they mean, which is known by its place.
type ByWorkload = HashMap<(SourceId, usize), Vec<usize>>;

const fn key(object: &Object) -> (SourceId, usize) {
    (object.source, object.node.span.start)
}

impl Set {
    /// The object of this kind and name near another one.
    #[must_use]
    pub fn named(&self, kind: &str, name: &str, near: &Object) -> Option<&Object> {
        let names = self.matches.names.get_or_init(|| {
            let mut names: HashMap<_, Vec<usize>> = HashMap::new();
            for (number, object) in self.objects.iter().enumerate() {
                let key = (object.kind.clone(), object.name.clone());
                names.entry(key).or_default().push(number);
            }
            names
        });
        names
            .get(&(kind.to_owned(), name.to_owned()))?
            .iter()
            .filter_map(|number| self.objects.get(*number))
            .find(|object| object.near(near))
    }

    /// The services of a workload.
    pub fn services<'s>(&'s self, workload: &Object) -> impl Iterator<Item = &'s Object> {
        let services = self.matches.services.get_or_init(|| {
            let is = |object: &Object| object.kind == "Service" && object.group().is_empty();
            self.pairs(is, Object::serves)
        });
        self.of(services, workload)
    }

    /// The policies of the network that mean the pods of a workload. None if there are others besides those of
    /// Kubernetes, which may open what these do not, or if the labels of the pods are not known.
    pub fn policies<'s>(&'s self, workload: &Object) -> impl Iterator<Item = &'s Object> {
        let policies = self.matches.policies.get_or_init(|| {
            let others = self.objects.iter().any(|object| {
                object.kind.ends_with("NetworkPolicy") && object.group() != "networking.k8s.io"
            });
            if others {
                return ByWorkload::new();
            }
            let mut all = self.pairs(
                |object| object.is("networking.k8s.io", "NetworkPolicy"),
                |policy, workload| policy.selects(&["spec", "podSelector"], workload),
            );
            // One that is not known may open what the others do not.
            all.retain(|_, policies| policies.len() < MAX_EACH);
            all
        });
        self.of(policies, workload)
    }

    fn of<'s>(
        &'s self,
        found: &'s ByWorkload,
        workload: &Object,
    ) -> impl Iterator<Item = &'s Object> {
        found
            .get(&key(workload))
            .map_or(&[][..], Vec::as_slice)
            .iter()
            .filter_map(|number| self.objects.get(*number))
    }

    /// The objects of a sort that mean each workload.
    fn pairs(
        &self,
        is: impl Fn(&Object) -> bool,
        means: impl Fn(&Object, &Object) -> bool,
    ) -> ByWorkload {
        let objects: Vec<(usize, &Object)> = self
            .objects
            .iter()
            .enumerate()
            .filter(|(_, object)| is(object))
            .collect();
        let workloads: Vec<&Object> = self.workloads().collect();
        if workloads.len().saturating_mul(objects.len()) > MAX_PAIRS {
            return ByWorkload::new();
        }
        workloads
            .into_iter()
            .map(|workload| {
                let found = objects
                    .iter()
                    .filter(|(_, object)| means(object, workload))
                    .take(MAX_EACH)
                    .map(|(number, _)| *number);
                (key(workload), found.collect())
            })
            .collect()
    }
}

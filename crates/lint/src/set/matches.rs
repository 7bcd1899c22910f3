//! Which objects mean which, found out once: by name, by selector. Bounded, since each may mean each.

use std::collections::HashMap;
use std::sync::OnceLock;

use super::Set;
use crate::kubernetes::Object;
use crate::source::SourceId;
use crate::yaml::Node;

/// The most pairs of workloads and policies, or workloads and services, that are compared. A cluster of 2,000
/// workloads with as many policies is within it; beyond, rules that need to know are silent.
pub(crate) const MAX_PAIRS: usize = 4_000_000;
/// The most policies, services and bindings of one workload. Who has more is not judged by what they lack.
pub(crate) const MAX_EACH: usize = 50;

/// What was found out.
#[derive(Debug, Default)]
pub(super) struct Matches {
    kinds: OnceLock<HashMap<String, Vec<usize>>>,
    workloads: OnceLock<Vec<usize>>,
    names: OnceLock<HashMap<(String, String), Named>>,
    bindings: OnceLock<HashMap<String, Bound>>,
    policies: OnceLock<ByWorkload>,
    services: OnceLock<ByWorkload>,
    served: OnceLock<ByWorkload>,
}

/// The objects of one kind and name.
#[derive(Debug)]
struct Named {
    first: usize,
    /// The first of each namespace; none is that of those that do not say theirs.
    by_namespace: HashMap<Option<String>, usize>,
}

/// What binds the ServiceAccounts of one name to roles, by the namespace that they have to be in. One more than is looked
/// at is kept of each, so that it is known that there are more.
#[derive(Debug, Default)]
struct Bound {
    all: Vec<usize>,
    everywhere: Vec<usize>,
    by_namespace: HashMap<String, Vec<usize>>,
}

/// Bindings of RBAC, and whether these are all.
#[derive(Debug)]
pub struct Bindings<'s> {
    /// Those that are looked at.
    pub known: Vec<&'s Object>,
    /// Whether there are no more.
    pub whole: bool,
}

/// Objects by the workload that they mean, or the other way round, which is known by its place.
type ByWorkload = HashMap<(SourceId, usize), Vec<usize>>;

const fn key(object: &Object) -> (SourceId, usize) {
    (object.source, object.node.span.start)
}

impl Set {
    fn at<'s>(&'s self, numbers: &'s [usize]) -> impl Iterator<Item = &'s Object> {
        numbers
            .iter()
            .filter_map(|number| self.objects.get(*number))
    }

    /// The objects of a kind, whatever their group.
    pub fn of_kind<'s>(&'s self, kind: &str) -> impl Iterator<Item = &'s Object> + use<'s> {
        let kinds = self.matches.kinds.get_or_init(|| {
            let mut kinds: HashMap<_, Vec<usize>> = HashMap::new();
            for (number, object) in self.objects.iter().enumerate() {
                kinds.entry(object.kind.clone()).or_default().push(number);
            }
            kinds
        });
        self.at(kinds.get(kind).map_or(&[], Vec::as_slice))
    }

    /// The objects that make pods, and say all of them: what an operator adds to an override is not known.
    pub fn workloads(&self) -> impl Iterator<Item = &Object> {
        let workloads = self.matches.workloads.get_or_init(|| {
            let objects = self.objects.iter().enumerate();
            let is = |object: &Object| object.pod().is_some() && object.kind != "RabbitmqCluster";
            objects
                .filter(|(_, object)| is(object))
                .map(|(number, _)| number)
                .collect()
        });
        self.at(workloads)
    }

    /// The object of this kind and name near another one.
    #[must_use]
    pub fn named(&self, kind: &str, name: &str, near: &Object) -> Option<&Object> {
        self.objects.get(self.number_of(kind, name, near)?)
    }

    /// The same, as its number.
    pub(crate) fn number_of(&self, kind: &str, name: &str, near: &Object) -> Option<usize> {
        let names = self.matches.names.get_or_init(|| {
            let mut names: HashMap<_, Named> = HashMap::new();
            for (number, object) in self.objects.iter().enumerate() {
                let key = (object.kind.clone(), object.name.clone());
                let named = names.entry(key).or_insert_with(|| Named {
                    first: number,
                    by_namespace: HashMap::new(),
                });
                let namespace = object.namespace.clone();
                named.by_namespace.entry(namespace).or_insert(number);
            }
            names
        });
        let named = names.get(&(kind.to_owned(), name.to_owned()))?;
        match &near.namespace {
            None => Some(named.first),
            namespace => [namespace, &None]
                .into_iter()
                .filter_map(|namespace| named.by_namespace.get(namespace).copied())
                .min(),
        }
    }

    /// What binds the ServiceAccount of a workload to roles.
    pub fn bindings<'s>(&'s self, account: &str, workload: &Object) -> Bindings<'s> {
        let bindings = self.matches.bindings.get_or_init(|| self.bound());
        let mut numbers: Vec<usize> = Vec::new();
        let mut whole = true;
        if let Some(bound) = bindings.get(account) {
            let lists = match &workload.namespace {
                None => [Some(&bound.all), None],
                Some(namespace) => [
                    Some(&bound.everywhere),
                    bound.by_namespace.get(namespace.as_str()),
                ],
            };
            for list in lists.into_iter().flatten() {
                whole &= list.len() <= MAX_EACH;
                numbers.extend(list.iter().take(MAX_EACH));
            }
            numbers.sort_unstable();
            numbers.dedup();
        }
        Bindings {
            known: numbers
                .into_iter()
                .filter_map(|number| self.objects.get(number))
                .collect(),
            whole,
        }
    }

    fn bound(&self) -> HashMap<String, Bound> {
        let mut all: HashMap<String, Bound> = HashMap::new();
        let add = |list: &mut Vec<usize>, number| {
            if list.len() <= MAX_EACH && list.last() != Some(&number) {
                list.push(number);
            }
        };
        for (number, binding) in self.objects.iter().enumerate() {
            // What a RoleBinding gives to an account of another namespace is of no use to its pods.
            let own = match binding.kind.as_str() {
                "RoleBinding" => binding.namespace.as_deref(),
                "ClusterRoleBinding" => None,
                _ => continue,
            };
            let subjects = binding.node.get("subjects").map_or(&[][..], Node::items);
            for subject in subjects {
                let (Some("ServiceAccount"), Some(name)) =
                    (subject.text(&["kind"]), subject.text(&["name"]))
                else {
                    continue;
                };
                let bound = all.entry(name.to_owned()).or_default();
                add(&mut bound.all, number);
                match (subject.text(&["namespace"]), own) {
                    (Some(one), Some(other)) if one != other => {}
                    (Some(namespace), _) | (None, Some(namespace)) => {
                        let list = bound.by_namespace.entry(namespace.to_owned());
                        add(list.or_default(), number);
                    }
                    (None, None) => add(&mut bound.everywhere, number),
                }
            }
        }
        all
    }

    /// The services of a workload.
    pub fn services<'s>(&'s self, workload: &Object) -> impl Iterator<Item = &'s Object> {
        let services = self.matches.services.get_or_init(|| {
            let is = |object: &Object| object.kind == "Service" && object.group().is_empty();
            self.pairs(is, Object::serves)
        });
        self.of(services, workload)
    }

    /// The workloads of a service, as many of them as are looked at.
    pub fn served<'s>(&'s self, service: &Object) -> impl Iterator<Item = &'s Object> {
        let served = self.matches.served.get_or_init(|| {
            let mut served = ByWorkload::new();
            for (number, workload) in self.objects.iter().enumerate() {
                for service in self.services(workload) {
                    let list = served.entry(key(service)).or_default();
                    if list.len() < MAX_EACH {
                        list.push(number);
                    }
                }
            }
            served
        });
        self.of(served, service)
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
        self.at(found.get(&key(workload)).map_or(&[], Vec::as_slice))
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

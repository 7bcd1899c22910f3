//! How a question looks in Cedar: schema, entities, context. The engine asks it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, LazyLock};

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression, Schema,
};

use crate::action::Action;
use crate::catalogue::{self, Names};
use crate::request::{Request, Resource, Subject};
use crate::source;

/// The schema, as policies are checked against it.
pub const SCHEMA: &str = include_str!("model/skans.cedarschema");

/// The schema and the names that every question needs.
pub(crate) struct Model {
    pub(crate) schema: Schema,
    types: Types,
    actions: Vec<EntityUid>,
    groups_of_actions: Entities,
}

struct Types {
    trust_domain: EntityTypeName,
    cluster: EntityTypeName,
    namespace: EntityTypeName,
    workload: EntityTypeName,
    group: EntityTypeName,
    node: EntityTypeName,
    process: EntityTypeName,
    module: EntityTypeName,
    function: EntityTypeName,
}

static MODEL: LazyLock<Result<Model, String>> = LazyLock::new(Model::load);

/// The model. It cannot fail to load in a build that passes its own tests.
pub(crate) fn model() -> Result<&'static Model, String> {
    MODEL.as_ref().map_err(Clone::clone)
}

impl Model {
    fn load() -> Result<Self, String> {
        let (schema, _) =
            Schema::from_cedarschema_str(SCHEMA).map_err(|error| error.to_string())?;
        let kind = |name: &str| -> Result<EntityTypeName, String> {
            format!("Skans::{name}")
                .parse()
                .map_err(|error: cedar_policy::ParseErrors| error.to_string())
        };
        let action = kind("Action")?;
        let groups_of_actions = schema
            .action_entities()
            .map_err(|error| error.to_string())?;
        Ok(Self {
            schema,
            groups_of_actions,
            types: Types {
                trust_domain: kind("TrustDomain")?,
                cluster: kind("Cluster")?,
                namespace: kind("Namespace")?,
                workload: kind("Workload")?,
                group: kind("Group")?,
                node: kind("Node")?,
                process: kind("Process")?,
                module: kind("Module")?,
                function: kind("Function")?,
            },
            actions: Action::ALL
                .iter()
                .map(|name| uid(&action, name.as_str()))
                .collect(),
        })
    }
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

/// Labels and groups of a set, ready to be looked up. Equal if every question gets the same entities from both.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Labels {
    entities: source::Entities,
    groups: BTreeMap<String, (Names, Names)>,
}

impl Labels {
    pub(crate) fn new(entities: &source::Entities) -> Self {
        let mut groups: BTreeMap<String, (Names, Names)> = crate::role::groups()
            .map(|(name, group)| (name, (group.processes, group.functions)))
            .collect();
        for (name, group) in &entities.groups {
            let (processes, functions) = groups.entry(name.clone()).or_default();
            group.processes.iter().for_each(|name| processes.add(name));
            group.functions.iter().for_each(|name| functions.add(name));
        }
        Self {
            entities: entities.clone(),
            groups,
        }
    }

    pub(crate) fn group_names(&self) -> impl Iterator<Item = &str> + Clone {
        self.groups.keys().map(String::as_str)
    }
}

/// A node at one end, as an entity.
#[derive(Clone, Debug)]
pub(crate) struct NodeEntity {
    pub(crate) uid: EntityUid,
    /// Everything it is in, itself included.
    pub(crate) within: HashSet<EntityUid>,
    pub(crate) entity: Entity,
}

/// One resource, as an entity.
pub(crate) struct ResourceEntity {
    pub(crate) uid: EntityUid,
    /// `None` for the node itself, which is there already.
    pub(crate) entity: Option<Entity>,
    /// The module, and groups by pattern.
    pub(crate) wide: Vec<EntityUid>,
    /// Groups that have it by its name.
    pub(crate) naming: Vec<EntityUid>,
    /// Permits have to name it.
    pub(crate) must_be_named: bool,
}

type Made<T> = Result<T, String>;

impl Model {
    pub(crate) fn action(&self, action: Action) -> Made<EntityUid> {
        self.actions
            .get(action.index())
            .cloned()
            .ok_or_else(|| format!("no action {action}"))
    }

    pub(crate) fn action_is_in(&self, action: &EntityUid, group: &EntityUid) -> bool {
        self.groups_of_actions.is_ancestor_of(group, action)
    }

    pub(crate) fn node(&self, subject: &Subject, labels: &Labels) -> Made<NodeEntity> {
        let node = uid(&self.types.node, &subject.id_at_host());
        let ids = [
            (&self.types.trust_domain, subject.trust_domain_id()),
            (&self.types.cluster, subject.cluster_id()),
            (&self.types.namespace, subject.namespace_id()),
            (&self.types.workload, subject.workload_id()),
            (&self.types.node, subject.id()),
            (&self.types.node, subject.id_at_host()),
        ];
        let mut within: HashSet<EntityUid> = ids.iter().map(|(kind, id)| uid(kind, id)).collect();
        for (name, group) in &labels.entities.groups {
            if ids.iter().any(|(_, id)| group.nodes.contains(id)) {
                within.insert(uid(&self.types.group, name));
            }
        }
        let mut tags = BTreeMap::new();
        for (_, id) in &ids {
            // From the widest to the narrowest: the node's own win.
            tags.extend(labels.entities.nodes.get(id).into_iter().flatten());
        }
        let parents: HashSet<_> = within
            .iter()
            .filter(|&parent| *parent != node)
            .cloned()
            .collect();
        let entity = Entity::new_with_tags(
            node.clone(),
            [
                (
                    "name".to_owned(),
                    RestrictedExpression::new_string(subject.name()),
                ),
                (
                    "host".to_owned(),
                    RestrictedExpression::new_string(subject.host.clone()),
                ),
                (
                    "cli".to_owned(),
                    RestrictedExpression::new_bool(subject.is_cli()),
                ),
            ],
            parents,
            as_tags(tags),
        )
        .map_err(|error| error.to_string())?;
        Ok(NodeEntity {
            uid: node,
            within,
            entity,
        })
    }

    pub(crate) fn resource(
        &self,
        resource: &Resource<'_>,
        on: &NodeEntity,
        labels: &Labels,
    ) -> Made<ResourceEntity> {
        match *resource {
            Resource::Node => Ok(ResourceEntity {
                uid: on.uid.clone(),
                entity: None,
                wide: Vec::new(),
                naming: Vec::new(),
                must_be_named: false,
            }),
            Resource::Process(name) => self.process(name, on, labels),
            Resource::Function {
                module,
                function,
                arity,
            } => self.function((module, function, arity), on, labels),
        }
    }

    fn process(&self, name: &str, on: &NodeEntity, labels: &Labels) -> Made<ResourceEntity> {
        let known = catalogue::process(name);
        let attributes = HashMap::from([
            (
                "name".to_owned(),
                RestrictedExpression::new_string(name.to_owned()),
            ),
            (
                "node".to_owned(),
                RestrictedExpression::new_entity_uid(on.uid.clone()),
            ),
            ("otp".to_owned(), RestrictedExpression::new_bool(known.otp)),
            (
                "administrative".to_owned(),
                RestrictedExpression::new_bool(known.administrative),
            ),
        ]);
        let tags = labelled(&labels.entities.processes, name);
        let uid = uid(&self.types.process, name);
        let (naming, wide) = self.groups(labels, |(processes, _)| {
            (processes.names(name), processes.matches(name))
        });
        made(
            uid,
            attributes,
            tags,
            on,
            wide,
            naming,
            known.administrative,
        )
    }

    fn function(
        &self,
        (module, function, arity): (&str, &str, u32),
        on: &NodeEntity,
        labels: &Labels,
    ) -> Made<ResourceEntity> {
        let known = catalogue::function(module, function, arity);
        let name = crate::name::function(module, function, arity);
        let attributes = HashMap::from([
            (
                "module".to_owned(),
                RestrictedExpression::new_string(module.to_owned()),
            ),
            (
                "function".to_owned(),
                RestrictedExpression::new_string(function.to_owned()),
            ),
            (
                "arity".to_owned(),
                RestrictedExpression::new_long(i64::from(arity)),
            ),
            (
                "node".to_owned(),
                RestrictedExpression::new_entity_uid(on.uid.clone()),
            ),
            ("otp".to_owned(), RestrictedExpression::new_bool(known.otp)),
            (
                "administrative".to_owned(),
                RestrictedExpression::new_bool(known.administrative),
            ),
            (
                "appliesArguments".to_owned(),
                RestrictedExpression::new_bool(known.applies_arguments),
            ),
        ]);
        let tags = labelled(&labels.entities.functions, &name);
        let (naming, mut wide) = self.groups(labels, |(_, functions)| {
            (functions.names(&name), functions.matches(&name))
        });
        wide.push(uid(&self.types.module, &crate::name::module(module)));
        let uid = uid(&self.types.function, &name);
        made(
            uid,
            attributes,
            tags,
            on,
            wide,
            naming,
            known.must_be_named(),
        )
    }

    fn groups(
        &self,
        labels: &Labels,
        has: impl Fn(&(Names, Names)) -> (bool, bool),
    ) -> (Vec<EntityUid>, Vec<EntityUid>) {
        let (mut naming, mut wide) = (Vec::new(), Vec::new());
        for (name, group) in &labels.groups {
            match has(group) {
                (true, _) => naming.push(uid(&self.types.group, name)),
                (false, true) => wide.push(uid(&self.types.group, name)),
                (false, false) => {}
            }
        }
        (naming, wide)
    }

    pub(crate) fn context(&self, request: &Request<'_>) -> Made<Context> {
        let pairs = if request.action == Action::Connect {
            let now = request
                .now
                .and_then(|now| i64::try_from(now).ok())
                .ok_or("connect without a time")?;
            vec![("now".to_owned(), RestrictedExpression::new_long(now))]
        } else {
            vec![
                (
                    "carriesFunction".to_owned(),
                    RestrictedExpression::new_bool(request.carries_function),
                ),
                (
                    "viaPid".to_owned(),
                    RestrictedExpression::new_bool(request.via_pid),
                ),
            ]
        };
        Context::from_pairs(pairs).map_err(|error| error.to_string())
    }

    /// The two nodes and the actions: what stays the same for a pair.
    pub(crate) fn base(&self, from: &NodeEntity, to: &NodeEntity) -> Made<Entities> {
        let mut entities = vec![from.entity.clone()];
        if from.uid != to.uid {
            entities.push(to.entity.clone());
        }
        Entities::from_entities(entities, Some(&self.schema)).map_err(|error| error.to_string())
    }
}

fn made(
    uid: EntityUid,
    attributes: HashMap<String, RestrictedExpression>,
    tags: BTreeMap<&String, &String>,
    on: &NodeEntity,
    wide: Vec<EntityUid>,
    naming: Vec<EntityUid>,
    must_be_named: bool,
) -> Made<ResourceEntity> {
    let parents: HashSet<_> = on
        .within
        .iter()
        .chain(&wide)
        .chain(&naming)
        .cloned()
        .collect();
    let entity = Entity::new_with_tags(uid.clone(), attributes, parents, as_tags(tags))
        .map_err(|error| error.to_string())?;
    Ok(ResourceEntity {
        uid,
        entity: Some(entity),
        wide,
        naming,
        must_be_named,
    })
}

/// Exact names before patterns, longer patterns before shorter ones.
fn labelled<'a>(
    labels: &'a BTreeMap<String, BTreeMap<String, String>>,
    name: &str,
) -> BTreeMap<&'a String, &'a String> {
    let mut patterns: Vec<_> = labels
        .iter()
        .filter_map(|(key, labels)| {
            let start = key.strip_suffix('*')?;
            name.starts_with(start).then_some((start.len(), labels))
        })
        .collect();
    patterns.sort_by_key(|&(length, _)| length);
    let exact = labels.get(name);
    patterns
        .into_iter()
        .map(|(_, labels)| labels)
        .chain(exact)
        .flatten()
        .collect()
}

fn as_tags(tags: BTreeMap<&String, &String>) -> Vec<(String, RestrictedExpression)> {
    tags.into_iter()
        .map(|(key, value)| (key.clone(), RestrictedExpression::new_string(value.clone())))
        .collect()
}

/// Shared by all pairs of an engine.
pub(crate) type SharedLabels = Arc<Labels>;

//! Nodes, processes, functions and services as entities. Each has all its ancestors as parents, so that nothing has to be computed
//! when a question is asked. What is made here fits the schema: `tests.rs` holds it against it.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use cedar_policy::{Entities, Entity, EntityUid, RestrictedExpression};
use cedar_policy_core::ast::{self, PartialValue, Value};
use cedar_policy_core::entities::{NoEntitiesSchema, TCComputation};
use cedar_policy_core::extensions::Extensions;
use smol_str::SmolStr;

use super::labels::{Labels, labelled};
use super::{Made, Model, uid};
use crate::catalogue;
use crate::request::{Resource, Subject};

/// A node at one end.
#[derive(Clone, Debug)]
pub(crate) struct NodeEntity {
    pub(crate) subject: Arc<Subject>,
    pub(crate) uid: EntityUid,
    entity: Arc<ast::Entity>,
}

impl NodeEntity {
    /// Whether it is in this, or is this.
    pub(crate) fn is_within(&self, uid: &EntityUid) -> bool {
        *uid == self.uid || self.entity.is_descendant_of(uid.as_ref())
    }

    /// Everything it is in, itself included.
    fn within(&self) -> impl Iterator<Item = &ast::EntityUID> {
        self.entity.ancestors().chain([self.uid.as_ref()])
    }
}

/// What something is asked of.
pub(crate) struct ResourceEntity {
    pub(crate) uid: EntityUid,
    /// `None` for the node itself, which is there already.
    entity: Option<ast::Entity>,
    /// The module, and groups by pattern.
    pub(crate) wide: Vec<EntityUid>,
    /// Groups that have it by its name.
    pub(crate) naming: Vec<EntityUid>,
    /// Permits have to name it.
    pub(crate) must_be_named: bool,
}

impl Model {
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
        let mut parents: HashSet<EntityUid> = ids.iter().map(|(kind, id)| uid(kind, id)).collect();
        for (name, group) in &labels.entities.groups {
            if ids.iter().any(|(_, id)| group.nodes.contains(id)) {
                parents.insert(self.group(name));
            }
        }
        let mut tags = BTreeMap::new();
        for (_, id) in &ids {
            // From the widest to the narrowest: the node's own win.
            tags.extend(labels.entities.nodes.get(id).into_iter().flatten());
        }
        let text = |text: String| RestrictedExpression::new_string(text);
        let attributes = [
            ("name".to_owned(), text(subject.name())),
            ("host".to_owned(), text(subject.host.clone())),
            (
                "cli".to_owned(),
                RestrictedExpression::new_bool(subject.is_cli()),
            ),
        ];
        let tags = tags
            .into_iter()
            .map(|(key, value)| (key.clone(), text(value.clone())));
        parents.remove(&node);
        let entity = Entity::new_with_tags(node.clone(), attributes, parents, tags)
            .map_err(|error| error.to_string())?;
        // Nodes are made once for each pair: these are held against the schema as they come.
        Entities::from_entities([entity.clone()], Some(&self.schema))
            .map_err(|error| error.to_string())?;
        let inner: &ast::Entity = entity.as_ref();
        Ok(NodeEntity {
            subject: Arc::new(subject.clone()),
            uid: node,
            entity: Arc::new(inner.clone()),
        })
    }

    pub(crate) fn resource(
        &self,
        resource: &Resource<'_>,
        on: &NodeEntity,
        labels: &Labels,
    ) -> ResourceEntity {
        match *resource {
            Resource::Node => ResourceEntity {
                uid: on.uid.clone(),
                entity: None,
                wide: Vec::new(),
                naming: Vec::new(),
                must_be_named: false,
            },
            Resource::Process(name) => self.process(name, on, labels),
            Resource::Service(name) => self.service(name, on, labels),
            Resource::Function {
                module,
                function,
                arity,
            } => self.function((module, function, arity), on, labels),
        }
    }

    fn process(&self, name: &str, on: &NodeEntity, labels: &Labels) -> ResourceEntity {
        let known = catalogue::process(name);
        let attributes = [
            ("name", name.into()),
            ("node", Value::from(ast::EntityUID::from(on.uid.clone()))),
            ("otp", known.otp.into()),
            ("administrative", known.administrative.into()),
        ];
        let mut made = ResourceEntity {
            uid: uid(&self.types.process, name),
            entity: None,
            wide: labels.processes.matching(name).cloned().collect(),
            naming: labels.processes.naming(name).to_vec(),
            must_be_named: known.administrative,
        };
        made.complete(attributes, &labelled(&labels.entities.processes, name), on);
        made
    }

    fn service(&self, name: &str, on: &NodeEntity, labels: &Labels) -> ResourceEntity {
        let attributes = [
            ("name", name.into()),
            ("node", Value::from(ast::EntityUID::from(on.uid.clone()))),
            ("host", on.subject.host.as_str().into()),
            ("cli", on.subject.is_cli().into()),
        ];
        let mut made = ResourceEntity {
            uid: uid(&self.types.service, name),
            entity: None,
            wide: labels.services.matching(name).cloned().collect(),
            naming: labels.services.naming(name).to_vec(),
            // Whoever may connect to every node of a cluster was not asked about its databases.
            must_be_named: true,
        };
        made.complete(attributes, &labelled(&labels.entities.services, name), on);
        made
    }

    fn function(
        &self,
        (module, function, arity): (&str, &str, u32),
        on: &NodeEntity,
        labels: &Labels,
    ) -> ResourceEntity {
        let name = crate::name::function(module, function, arity);
        let known = catalogue::named(module, &name);
        let attributes = [
            ("module", module.into()),
            ("function", function.into()),
            ("arity", i64::from(arity).into()),
            ("node", Value::from(ast::EntityUID::from(on.uid.clone()))),
            ("otp", known.otp.into()),
            ("administrative", known.administrative.into()),
            ("appliesArguments", known.applies_arguments.into()),
        ];
        let mut wide = vec![uid(&self.types.module, &crate::name::module(module))];
        wide.extend(labels.functions.matching(&name).cloned());
        let mut made = ResourceEntity {
            uid: uid(&self.types.function, &name),
            entity: None,
            wide,
            naming: labels.functions.naming(&name).to_vec(),
            must_be_named: known.must_be_named(),
        };
        made.complete(attributes, &labelled(&labels.entities.functions, &name), on);
        made
    }
}

impl ResourceEntity {
    fn complete<const N: usize>(
        &mut self,
        attributes: [(&'static str, Value); N],
        tags: &BTreeMap<&str, &str>,
        on: &NodeEntity,
    ) {
        let groups = self.wide.iter().chain(&self.naming);
        let groups = groups.cloned().map(ast::EntityUID::from);
        let attributes = attributes
            .into_iter()
            .map(|(key, value)| (SmolStr::new_static(key), PartialValue::Value(value)));
        let tags = tags
            .iter()
            .map(|(&key, &value)| (SmolStr::new(key), PartialValue::Value(value.into())));
        self.entity = Some(ast::Entity::new_with_attr_partial_value(
            self.uid.clone().into(),
            attributes,
            std::collections::HashSet::default(),
            on.within().cloned().chain(groups).collect(),
            tags,
        ));
    }
}

/// Everything that a question is about: two nodes, the action, and what it is asked of. Ancestors are not computed again.
pub(crate) fn entities(
    from: &NodeEntity,
    to: &NodeEntity,
    action: &Arc<ast::Entity>,
    resource: &mut ResourceEntity,
) -> Made<Entities> {
    // A node that asks something of itself is there once.
    let to = (to.uid != from.uid).then_some(&to.entity);
    let resource = resource.entity.take().map(Arc::new);
    let all = [Some(&from.entity), to, Some(action)];
    let all = all.into_iter().flatten().cloned().chain(resource);
    cedar_policy_core::entities::Entities::new()
        .add_entities(
            all,
            None::<&NoEntitiesSchema>,
            TCComputation::AssumeAlreadyComputed,
            Extensions::all_available(),
        )
        .map(Entities::from)
        .map_err(|error| error.to_string())
}

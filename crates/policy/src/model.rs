//! How a question looks in Cedar: schema, actions, context. The entities are made in `model/entity.rs`, from the labels and
//! groups of `model/labels.rs`. The engine asks it.

pub(crate) mod entity;
pub(crate) mod labels;
#[cfg(test)]
mod tests;

use std::sync::{Arc, LazyLock};

use cedar_policy::{
    Context, Entities, EntityId, EntityTypeName, EntityUid, RestrictedExpression, Schema,
};
use cedar_policy_core::ast;

use crate::action::Action;
use crate::request::Request;

/// The schema, as policies are checked against it.
pub const SCHEMA: &str = include_str!("model/skans.cedarschema");

/// The schema and the names that every question needs.
pub(crate) struct Model {
    pub(crate) schema: Schema,
    types: Types,
    actions: Vec<EntityUid>,
    action_entities: Entities,
    /// In the order of [`Action::ALL`], each with the groups that it is in.
    single_actions: Vec<Arc<ast::Entity>>,
    /// By `carriesFunction` and `viaPid`.
    contexts: [Context; 4],
}

struct Types {
    trust_domain: EntityTypeName,
    cluster: EntityTypeName,
    namespace: EntityTypeName,
    workload: EntityTypeName,
    group: EntityTypeName,
    node: EntityTypeName,
    process: EntityTypeName,
    service: EntityTypeName,
    module: EntityTypeName,
    function: EntityTypeName,
}

static MODEL: LazyLock<Result<Model, String>> = LazyLock::new(Model::load);

/// The model. It cannot fail to load in a build that passes its own tests.
pub(crate) fn model() -> Result<&'static Model, String> {
    MODEL.as_ref().map_err(Clone::clone)
}

/// What cannot be made into a question is a denial with this text.
pub(crate) type Made<T> = Result<T, String>;

impl Model {
    fn load() -> Made<Self> {
        let (schema, _) =
            Schema::from_cedarschema_str(SCHEMA).map_err(|error| error.to_string())?;
        let kind = |name: &str| -> Made<EntityTypeName> {
            format!("Skans::{name}")
                .parse()
                .map_err(|error: cedar_policy::ParseErrors| error.to_string())
        };
        let action = kind("Action")?;
        let actions = Action::ALL.iter();
        let actions: Vec<EntityUid> = actions.map(|name| uid(&action, name.as_str())).collect();
        let action_entities = schema
            .action_entities()
            .map_err(|error| error.to_string())?;
        let single_actions = actions.iter().map(|uid| {
            let entity = action_entities.get(uid);
            let entity: &ast::Entity = entity
                .ok_or_else(|| format!("no entity of {uid}"))?
                .as_ref();
            Ok(Arc::new(entity.clone()))
        });
        Ok(Self {
            single_actions: single_actions.collect::<Made<_>>()?,
            action_entities,
            schema,
            types: Types {
                trust_domain: kind("TrustDomain")?,
                cluster: kind("Cluster")?,
                namespace: kind("Namespace")?,
                workload: kind("Workload")?,
                group: kind("Group")?,
                node: kind("Node")?,
                process: kind("Process")?,
                service: kind("Service")?,
                module: kind("Module")?,
                function: kind("Function")?,
            },
            actions,
            contexts: [
                message(false, false)?,
                message(true, false)?,
                message(false, true)?,
                message(true, true)?,
            ],
        })
    }

    pub(crate) fn action(&self, action: Action) -> Made<EntityUid> {
        self.actions
            .get(action.index())
            .cloned()
            .ok_or_else(|| format!("no action {action}"))
    }

    /// An action with the groups that it is in.
    pub(crate) fn action_entity(&self, action: Action) -> Made<&Arc<ast::Entity>> {
        let entity = self.single_actions.get(action.index());
        entity.ok_or_else(|| format!("no action {action}"))
    }

    pub(crate) fn action_is_in(&self, action: &EntityUid, group: &EntityUid) -> bool {
        self.action_entities.is_ancestor_of(group, action)
    }

    pub(crate) fn group(&self, name: &str) -> EntityUid {
        uid(&self.types.group, name)
    }

    pub(crate) fn context(&self, request: &Request<'_>) -> Made<Context> {
        if request.action == Action::Connect {
            let now = request.now.and_then(|now| i64::try_from(now).ok());
            let now = RestrictedExpression::new_long(now.ok_or("connect without a time")?);
            return Context::from_pairs([("now".to_owned(), now)])
                .map_err(|error| error.to_string());
        }
        if request.action.is_capability() {
            return Ok(Context::empty());
        }
        let at = usize::from(request.carries_function) | usize::from(request.via_pid) << 1;
        self.contexts
            .get(at)
            .cloned()
            .ok_or_else(|| "no context".to_owned())
    }
}

fn message(carries_function: bool, via_pid: bool) -> Made<Context> {
    let pairs = [("carriesFunction", carries_function), ("viaPid", via_pid)];
    let pairs = pairs.map(|(key, value)| (key.to_owned(), RestrictedExpression::new_bool(value)));
    Context::from_pairs(pairs).map_err(|error| error.to_string())
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

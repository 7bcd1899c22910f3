//! Who may do what: every method of the API is a Cedar action, decided by the policies beside this file.
//!
//! What does not live here: who the caller is (`caller`), and which grants a person has (the store).

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, HashSet};

use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid,
    PolicySet, Request, RestrictedExpression, Schema, ValidationMode, Validator,
};

use crate::error::Error;
use crate::scope::Scope;

const SCHEMA: &str = include_str!("roles/schema.cedarschema");
const POLICIES: &str = include_str!("roles/policies.cedar");

/// What a person may be.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum RoleName {
    /// Looks.
    Viewer,
    /// Looks, at events and grants as well.
    Auditor,
    /// Lets agents become known.
    Enroller,
    /// Keeps it running.
    Operator,
    /// Revokes: tightens only.
    Responder,
    /// Writes policies.
    PolicyAuthor,
    /// Approves policies that others wrote.
    PolicyApprover,
    /// Changes authorities.
    CaAdmin,
    /// Everything that a person may do.
    Owner,
    /// For an hour, in an emergency.
    BreakGlass,
}

impl RoleName {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Viewer,
        Self::Auditor,
        Self::Enroller,
        Self::Operator,
        Self::Responder,
        Self::PolicyAuthor,
        Self::PolicyApprover,
        Self::CaAdmin,
        Self::Owner,
        Self::BreakGlass,
    ];

    /// Its name, everywhere.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Auditor => "auditor",
            Self::Enroller => "enroller",
            Self::Operator => "operator",
            Self::Responder => "responder",
            Self::PolicyAuthor => "policy-author",
            Self::PolicyApprover => "policy-approver",
            Self::CaAdmin => "ca-admin",
            Self::Owner => "owner",
            Self::BreakGlass => "break-glass",
        }
    }

    /// The role of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

/// What a caller is, as far as its certificate (or the socket) tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A person.
    User,
    /// An agent of this cluster.
    Agent,
    /// A replica of this control plane.
    Control,
    /// A gateway of this cluster.
    Gateway,
    /// An Erlang node.
    Node,
    /// Of another trust domain or cluster.
    Foreign,
    /// Without a certificate.
    Stranger,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::User,
        Self::Agent,
        Self::Control,
        Self::Gateway,
        Self::Node,
        Self::Foreign,
        Self::Stranger,
    ];

    const fn entity_type(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Agent => "Agent",
            Self::Control => "Control",
            Self::Gateway => "Gateway",
            Self::Node => "Node",
            Self::Foreign => "Foreign",
            Self::Stranger => "Stranger",
        }
    }
}

/// A role that a person has, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The role.
    pub role: RoleName,
    /// Where.
    pub scope: Scope,
}

/// What is asked: may this one do that, there?
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// What the caller is.
    pub kind: Kind,
    /// The roles of a person; empty for all others.
    pub held: &'a [Held],
    /// The method: `skans.v1.Agents/Issue`, `GET /v1/tokens`.
    pub action: &'a str,
    /// Where.
    pub scope: &'a Scope,
    /// Whether somebody else asked for the same.
    pub seconded: bool,
    /// Whether the caller came through the Unix socket.
    pub local: bool,
}

/// The policies, ready to be asked.
pub struct Roles {
    authorizer: Authorizer,
    policies: PolicySet,
    schema: Schema,
    /// The actions and their groups.
    base: Entities,
    /// The methods: the actions that apply to somebody.
    methods: BTreeSet<String>,
    /// What those without roles may do: it never changes.
    fixed: HashMap<Kind, HashSet<String>>,
}

impl Roles {
    /// Reads the policies and validates them strictly.
    ///
    /// # Errors
    /// [`Error::Internal`] with what Cedar found: a build that cannot pass its own tests.
    pub fn load() -> Result<Self, Error> {
        let wrong =
            |what: &str, why: &dyn std::fmt::Display| Error::Internal(format!("{what}: {why}"));
        let (schema, warnings) =
            Schema::from_cedarschema_str(SCHEMA).map_err(|error| wrong("role schema", &error))?;
        if let Some(warning) = warnings.into_iter().next() {
            return Err(wrong("role schema", &warning));
        }
        let policies: PolicySet = POLICIES
            .parse()
            .map_err(|error: cedar_policy::ParseErrors| wrong("role policies", &error))?;
        let validated = Validator::new(schema.clone()).validate(&policies, ValidationMode::Strict);
        if !validated.validation_passed_without_warnings() {
            return Err(wrong("role policies", &validated));
        }
        let base = Entities::from_entities([], Some(&schema))
            .map_err(|error| wrong("role schema", &error))?;
        let methods = methods(&schema)?;
        let mut roles = Self {
            authorizer: Authorizer::new(),
            policies,
            schema,
            base,
            methods,
            fixed: HashMap::new(),
        };
        let anywhere: Scope = "any".parse()?;
        for kind in Kind::ALL.into_iter().filter(|&kind| kind != Kind::User) {
            let allowed = roles.methods.iter().filter(|action| {
                let question = Question {
                    kind,
                    held: &[],
                    action,
                    scope: &anywhere,
                    seconded: false,
                    local: false,
                };
                roles.evaluate(&question).unwrap_or(false)
            });
            let allowed = allowed.cloned().collect();
            roles.fixed.insert(kind, allowed);
        }
        Ok(roles)
    }

    /// Every method that has a row.
    pub fn methods(&self) -> impl Iterator<Item = &str> {
        self.methods.iter().map(String::as_str)
    }

    /// The method as a label of a metric: whoever calls what does not exist must not make labels.
    #[must_use]
    pub fn label(&self, action: &str) -> &str {
        self.methods.get(action).map_or("unknown", String::as_str)
    }

    /// Whether it is allowed. What has no row, or cannot be decided, is not.
    #[must_use]
    pub fn allows(&self, question: &Question<'_>) -> bool {
        if !self.methods.contains(question.action) {
            return false;
        }
        if let Some(allowed) = self.fixed.get(&question.kind) {
            return allowed.contains(question.action);
        }
        match self.evaluate(question) {
            Ok(allowed) => allowed,
            Err(error) => {
                tracing::error!(
                    action = question.action,
                    "a decision failed, which is a denial: {error}"
                );
                false
            }
        }
    }

    fn evaluate(&self, question: &Question<'_>) -> Result<bool, Error> {
        let wrong = |why: &dyn std::fmt::Display| Error::Internal(format!("role decision: {why}"));
        let principal = uid(question.kind.entity_type(), "caller")?;
        let mut scopes = BTreeSet::new();
        with_parents(question.scope, &mut scopes);
        for held in question.held {
            with_parents(&held.scope, &mut scopes);
        }
        let mut entities = Vec::with_capacity(scopes.len() + 1);
        for scope in &scopes {
            let parents = scope
                .parent()
                .map(|parent| scope_uid(&parent))
                .transpose()?;
            entities.push(Entity::new_no_attrs(
                scope_uid(scope)?,
                parents.into_iter().collect(),
            ));
        }
        entities.push(caller(&principal, question)?);
        let entities = self
            .base
            .clone()
            .add_entities(entities, Some(&self.schema))
            .map_err(|error| wrong(&error))?;
        let context = Context::from_pairs([
            (
                "seconded".to_owned(),
                RestrictedExpression::new_bool(question.seconded),
            ),
            (
                "local".to_owned(),
                RestrictedExpression::new_bool(question.local),
            ),
        ])
        .map_err(|error| wrong(&error))?;
        let request = Request::new(
            principal,
            uid("Action", question.action)?,
            scope_uid(question.scope)?,
            context,
            Some(&self.schema),
        )
        .map_err(|error| wrong(&error))?;
        let response = self
            .authorizer
            .is_authorized(&request, &self.policies, &entities);
        // A forbid that fails is skipped by Cedar: then nothing is allowed.
        if let Some(error) = response.diagnostics().errors().next() {
            return Err(wrong(error));
        }
        Ok(response.decision() == Decision::Allow)
    }
}

fn methods(schema: &Schema) -> Result<BTreeSet<String>, Error> {
    let stranger = type_name("Stranger")?;
    let scope = type_name("Scope")?;
    Ok(schema
        .actions_for_principal_and_resource(&stranger, &scope)
        .map(|action| action.id().unescaped().to_owned())
        .collect())
}

fn caller(uid: &EntityUid, question: &Question<'_>) -> Result<Entity, Error> {
    if question.kind != Kind::User {
        return Ok(Entity::new_no_attrs(uid.clone(), HashSet::new()));
    }
    let mut attributes = HashMap::new();
    for role in RoleName::ALL {
        let scopes = question.held.iter().filter(|held| held.role == role);
        let scopes = scopes
            .map(|held| scope_uid(&held.scope).map(RestrictedExpression::new_entity_uid))
            .collect::<Result<Vec<_>, _>>()?;
        attributes.insert(
            role.as_str().to_owned(),
            RestrictedExpression::new_set(scopes),
        );
    }
    Entity::new(uid.clone(), attributes, HashSet::new())
        .map_err(|error| Error::Internal(format!("role decision: {error}")))
}

fn with_parents(scope: &Scope, into: &mut BTreeSet<Scope>) {
    let mut next = Some(scope.clone());
    while let Some(scope) = next {
        next = scope.parent();
        into.insert(scope);
    }
}

fn scope_uid(scope: &Scope) -> Result<EntityUid, Error> {
    uid("Scope", &scope.to_string())
}

fn uid(kind: &str, id: &str) -> Result<EntityUid, Error> {
    Ok(EntityUid::from_type_name_and_id(
        type_name(kind)?,
        EntityId::new(id),
    ))
}

fn type_name(kind: &str) -> Result<EntityTypeName, Error> {
    format!("Skans::{kind}")
        .parse()
        .map_err(|error: cedar_policy::ParseErrors| {
            Error::Internal(format!("role schema: {error}"))
        })
}

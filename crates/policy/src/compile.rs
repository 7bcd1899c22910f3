//! From a `Source` to policies that mean something: parsed, strictly validated, expanded, indexed by their scope. What is
//! wrong is told with its place.

mod depth;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use cedar_policy::{
    ActionConstraint, Effect, EntityUid, Policy, PolicyId, PolicySet, PrincipalConstraint,
    ResourceConstraint, ValidationMode, Validator,
};
use miette::Diagnostic;

use crate::action::Action;
use crate::bounds::Bounds;
use crate::model::Model;
use crate::model::labels::Labels;
use crate::problem::{Problem, Problems, near};
use crate::source::{File, Homes, Kind, MAX_POLICIES, Source};

/// Longest `@id` in bytes.
const MAX_POLICY_ID: usize = 128;

/// A policy, and to what it can apply as far as its scope tells.
pub(crate) struct Compiled {
    pub(crate) id: Arc<str>,
    /// Canonical: two of the same text decide alike.
    pub(crate) text: Arc<str>,
    pub(crate) policy: Policy,
    pub(crate) permits: bool,
    pub(crate) principal: Scope,
    /// One bit for each action.
    pub(crate) actions: u32,
    pub(crate) resource: Scope,
}

/// What a scope asks of one variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Any,
    /// It is that entity, or is in it.
    Within(EntityUid),
    /// It is that entity.
    Is(EntityUid),
}

/// Everything that is wrong, or all policies in the order of their files and roles.
pub(crate) fn compile(
    source: &Source,
    bounds: &Bounds,
    model: &Model,
    labels: &Labels,
    home: Option<&Homes>,
) -> Result<Vec<Compiled>, Problems> {
    let mut problems = Vec::new();
    if let Some(home) = home {
        source.check_home(home, &mut problems);
    }
    let mut ids: HashMap<String, String> = HashMap::new();
    let mut policies: Vec<(String, Policy)> = Vec::new();
    let validator = Validator::new(model.schema.clone());
    for file in &source.policies {
        for policy in read(file, &validator, labels, home, &mut problems) {
            let id = policy.id().to_string();
            if let Some(other) = ids.insert(id.clone(), file.name.clone()) {
                let found = format!("@id({id:?}) a second time, first in {other}");
                problems.push(Problem::new(
                    &*file.name,
                    found,
                    "an id of its own for each policy",
                ));
            }
            policies.push((file.name.clone(), policy));
        }
    }
    for (n, binding) in source.roles.iter().enumerate() {
        match crate::role::expand(binding, n) {
            Ok(expanded) => policies.extend(
                expanded
                    .into_iter()
                    .map(|policy| ("set.yaml".to_owned(), policy)),
            ),
            Err(problem) => problems.push(problem),
        }
        if let Some(group) = binding.principals.iter().chain(&binding.on).find_map(|s| {
            s.group
                .as_deref()
                .filter(|name| !source.entities.groups.contains_key(*name))
        }) {
            let known = source.entities.groups.keys().map(String::as_str);
            let wanted = near(group, known).map_or("a group of entities.yaml".to_owned(), |near| {
                format!("perhaps {near:?}")
            });
            problems.push(Problem::new(
                "set.yaml",
                format!("roles[{n}]: group {group:?}"),
                wanted,
            ));
        }
        if policies.len() > MAX_POLICIES {
            break;
        }
    }
    match bounds.policies() {
        Ok(bounds) => policies.extend(
            bounds
                .into_iter()
                .map(|policy| ("links.yaml".to_owned(), policy)),
        ),
        Err(found) => problems.push(Problem::new("links.yaml", found, "")),
    }
    if policies.len() > MAX_POLICIES {
        let found = format!("{} policies, those of roles included", policies.len());
        problems.push(Problem::new("", found, format!("at most {MAX_POLICIES}")));
    }
    Problems::check(problems)?;
    let compiled: Result<Vec<_>, Problem> = policies
        .into_iter()
        .map(|(file, policy)| {
            compiled(policy, model).map_err(|error| Problem::new(file, error, ""))
        })
        .collect();
    Ok(compiled?)
}

/// The policies of a file under their `@id`s; fewer if something is wrong.
fn read(
    file: &File,
    validator: &Validator,
    labels: &Labels,
    home: Option<&Homes>,
    problems: &mut Vec<Problem>,
) -> Vec<Policy> {
    if let Some((offset, what)) = depth::too_deep(&file.text) {
        let wanted = format!(
            "at most {} brackets within brackets, {} operators in one policy; lists and groups have no such bound",
            depth::MAX_BRACKETS,
            depth::MAX_OPERATORS
        );
        problems.push(
            Problem::new(&*file.name, format!("too many {what}"), wanted).at(&file.text, offset),
        );
        return Vec::new();
    }
    let parsed: PolicySet = match file.text.parse() {
        Ok(parsed) => parsed,
        Err(errors) => {
            let errors: cedar_policy::ParseErrors = errors;
            problems.extend(errors.iter().map(|error| told(file, error)));
            return Vec::new();
        }
    };
    let mut set = PolicySet::new();
    let mut out = Vec::new();
    for template in parsed.templates() {
        let text = template.to_string();
        problems.push(
            Problem::new(
                &*file.name,
                "a template",
                "policies without ?principal and ?resource",
            )
            .at(&file.text, find(&file.text, &text)),
        );
    }
    for policy in parsed.policies() {
        let Some(id) = policy.annotation("id") else {
            let problem = Problem::new(
                &*file.name,
                "a policy without an @id",
                "@id(\"a-name-of-its-own\") above it",
            );
            problems.push(problem.at(&file.text, place(policy, file)));
            continue;
        };
        if !is_id(id) {
            let problem = Problem::new(
                &*file.name,
                format!("@id({id:?})"),
                "1 to 128 of a-z A-Z 0-9 . _ -",
            );
            problems.push(problem.at(&file.text, place(policy, file)));
            continue;
        }
        check_names(policy, file, labels, home, problems);
        let policy = policy.new_id(PolicyId::new(id));
        if set.add(policy.clone()).is_err() {
            let problem = Problem::new(
                &*file.name,
                format!("@id({id:?}) a second time"),
                "an id of its own for each policy",
            );
            problems.push(problem.at(&file.text, place(&policy, file)));
            continue;
        }
        out.push(policy);
    }
    let result = validator.validate(&set, ValidationMode::Strict);
    problems.extend(result.validation_errors().map(|error| told(file, error)));
    problems.extend(
        result
            .validation_warnings()
            .map(|warning| told(file, warning)),
    );
    out
}

/// `/` and `#` are left to roles.
fn is_id(id: &str) -> bool {
    (1..=MAX_POLICY_ID).contains(&id.len())
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// What Cedar found, with its place and its advice.
fn told(file: &File, error: &dyn Diagnostic) -> Problem {
    let mut found = error.to_string();
    let label = error.labels().and_then(|mut labels| labels.next());
    if let Some(text) = label.as_ref().and_then(|label| label.label()) {
        found = format!("{found}: {text}");
    }
    let wanted = error
        .help()
        .map_or_else(String::new, |help| help.to_string());
    let problem = Problem::new(&*file.name, found, wanted);
    match label {
        Some(label) => problem.at(&file.text, label.offset()),
        None => problem,
    }
}

/// Where a policy begins: Cedar keeps its text as it was.
fn place(policy: &Policy, file: &File) -> usize {
    policy.to_cedar().map_or(0, |text| find(&file.text, &text))
}

fn find(text: &str, part: &str) -> usize {
    text.find(part).unwrap_or(0)
}

/// IDs that could never match are mistakes, and in a `forbid` dangerous ones.
fn check_names(
    policy: &Policy,
    file: &File,
    labels: &Labels,
    home: Option<&Homes>,
    problems: &mut Vec<Problem>,
) {
    for uid in policy.entity_literals() {
        let id = uid.id().unescaped();
        let kind = uid.type_name().basename();
        let wanted = match kind {
            "Group" => {
                if labels.group_names().any(|name| name == id) {
                    continue;
                }
                near(id, labels.group_names()).map_or_else(
                    || "a group of entities.yaml, or one that is built in (skans:…)".to_owned(),
                    |near| format!("perhaps {near:?}"),
                )
            }
            "Function" => {
                if crate::name::parse(id).is_some() {
                    continue;
                }
                "module:function/arity, such as lists:map/2".to_owned()
            }
            "Service" => {
                if crate::name::is_label(id) {
                    continue;
                }
                "the name of a service, such as postgres: 1 to 63 of a-z 0-9 - with a letter first"
                    .to_owned()
            }
            kind => {
                let Some(wanted) = Kind::ALL
                    .into_iter()
                    .find(|known| known.entity_type() == kind)
                else {
                    continue;
                };
                match home {
                    _ if Kind::of(id) != Some(wanted) => wanted.shape().to_owned(),
                    Some(home) if !home.has(id) => home.wanted(),
                    _ => continue,
                }
            }
        };
        let literal = uid.to_string();
        let start = place(policy, file);
        let inside = file
            .text
            .get(start..)
            .map_or(0, |text| find(text, &literal));
        problems.push(Problem::new(&*file.name, literal, wanted).at(&file.text, start + inside));
    }
    let exactly = [
        match policy.principal_constraint() {
            PrincipalConstraint::Eq(uid) => Some(uid),
            _ => None,
        },
        match policy.resource_constraint() {
            ResourceConstraint::Eq(uid) => Some(uid),
            _ => None,
        },
    ];
    for uid in exactly.into_iter().flatten() {
        if uid.type_name().basename() == "Node" && !uid.id().unescaped().contains('@') {
            let problem = Problem::new(
                &*file.name,
                format!("== {uid}"),
                "`in` with that, or an ID with @host behind it",
            );
            problems.push(problem.at(&file.text, place(policy, file)));
        }
    }
}

fn compiled(policy: Policy, model: &Model) -> Result<Compiled, String> {
    let principal = match policy.principal_constraint() {
        PrincipalConstraint::Any | PrincipalConstraint::Is(_) => Scope::Any,
        PrincipalConstraint::In(uid) | PrincipalConstraint::IsIn(_, uid) => Scope::Within(uid),
        PrincipalConstraint::Eq(uid) => Scope::Is(uid),
    };
    let resource = match policy.resource_constraint() {
        ResourceConstraint::Any | ResourceConstraint::Is(_) => Scope::Any,
        ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid) => Scope::Within(uid),
        ResourceConstraint::Eq(uid) => Scope::Is(uid),
    };
    let mut actions = 0;
    for &action in Action::ALL {
        let uid = model.action(action)?;
        let applies = match policy.action_constraint() {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(given) => given == uid,
            ActionConstraint::In(given) => given
                .iter()
                .any(|group| *group == uid || model.action_is_in(&uid, group)),
        };
        if applies {
            actions |= 1 << action.index();
        }
    }
    Ok(Compiled {
        id: policy.id().to_string().into(),
        text: policy.to_cedar().unwrap_or_default().into(),
        permits: policy.effect() == Effect::Permit,
        policy,
        principal,
        actions,
        resource,
    })
}

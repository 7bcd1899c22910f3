//! What a policy means, whatever it was written like: its syntax tree without annotations. Two of one meaning decide alike, where
//! labels and groups are the same.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::compile::Compiled;

/// A policy without its name.
#[derive(Clone, Debug)]
pub(super) struct Meaning {
    /// The `@id`, or the name that a role gave it.
    pub(super) id: String,
    pub(super) permits: bool,
    /// It is of a link, or of whatever else is no policy of an author.
    pub(super) bound: bool,
    /// Without annotations.
    pub(super) tree: Value,
    /// [`Meaning::tree`] as a text: members of maps have one order.
    pub(super) text: String,
}

/// Operators of Cedar that cannot fail on what the strict validator lets through. Of others, such as those that count beyond 64 bits
/// or take a text apart, it is not proven.
const SAFE: [&str; 25] = [
    "Value",
    "Var",
    "==",
    "!=",
    "in",
    "is",
    "<",
    "<=",
    ">",
    ">=",
    "&&",
    "||",
    "!",
    "if-then-else",
    "like",
    "has",
    "hasTag",
    "getTag",
    ".",
    "Set",
    "Record",
    "contains",
    "containsAll",
    "containsAny",
    "isEmpty",
];

impl Meaning {
    pub(super) fn of(compiled: &Compiled) -> Self {
        // What has no tree means nothing but itself.
        let tree = compiled.policy.to_json();
        let mut tree = tree.unwrap_or_else(|_| Value::String(compiled.text.to_string()));
        if let Some(tree) = tree.as_object_mut() {
            tree.remove("annotations");
        }
        Self {
            id: compiled.id.to_string(),
            permits: compiled.permits,
            bound: compiled.id.starts_with("link/"),
            text: tree.to_string(),
            tree,
        }
    }

    /// Whether it could fail when it is asked. What fails is a denial, also where it is a permit.
    pub(super) fn may_fail(&self) -> bool {
        !is_safe(self.conditions())
    }

    /// Whether labels decide.
    pub(super) fn reads_labels(&self) -> bool {
        let mut reads = false;
        keys(self.conditions(), &mut |key| {
            reads = reads || matches!(key, "hasTag" | "getTag");
        });
        reads
    }

    /// The groups that its scope names, and those that its conditions do.
    pub(super) fn groups(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let (mut scope, mut conditions) = (BTreeSet::new(), BTreeSet::new());
        for part in ["principal", "resource"] {
            groups(self.tree.get(part), &mut scope);
        }
        groups(self.conditions(), &mut conditions);
        (scope, conditions)
    }

    fn conditions(&self) -> Option<&Value> {
        self.tree.get("conditions")
    }
}

/// Of the form of Cedar's JSON: each expression is an object with one member, its operator.
fn is_safe(conditions: Option<&Value>) -> bool {
    let Some(conditions) = conditions.and_then(Value::as_array) else {
        return conditions.is_none();
    };
    conditions
        .iter()
        .all(|one| one.get("body").is_some_and(is_safe_expression))
}

fn is_safe_expression(expression: &Value) -> bool {
    let Some((operator, rest)) = expression.as_object().and_then(|one| one.iter().next()) else {
        return false;
    };
    if !SAFE.contains(&operator.as_str()) {
        return false;
    }
    match (operator.as_str(), rest) {
        ("Value" | "Var", _) => true,
        ("Set", Value::Array(all)) => all.iter().all(is_safe_expression),
        ("Record", Value::Object(all)) => all.values().all(is_safe_expression),
        (_, Value::Object(parts)) => parts
            .iter()
            .filter(|(_, part)| part.is_object())
            .all(|(_, part)| is_safe_expression(part)),
        _ => false,
    }
}

fn keys(json: Option<&Value>, each: &mut impl FnMut(&str)) {
    match json {
        Some(Value::Object(map)) => {
            for (key, value) in map {
                each(key);
                keys(Some(value), each);
            }
        }
        Some(Value::Array(list)) => list.iter().for_each(|value| keys(Some(value), each)),
        _ => {}
    }
}

/// Entities are `{"type": …, "id": …}` wherever they stand.
fn groups(json: Option<&Value>, found: &mut BTreeSet<String>) {
    match json {
        Some(Value::Object(map)) => {
            let id = map.get("id").and_then(Value::as_str);
            if let Some(id) = id.filter(|_| map.get("type").is_some_and(|kind| kind == GROUP)) {
                found.insert(id.to_owned());
            }
            map.values().for_each(|value| groups(Some(value), found));
        }
        Some(Value::Array(list)) => list.iter().for_each(|value| groups(Some(value), found)),
        _ => {}
    }
}

/// Gives the groups in a tree other names.
pub(super) fn rename_groups(json: &mut Value, name: &impl Fn(&str) -> Option<String>) {
    match json {
        Value::Object(map) => {
            if map.get("type").is_some_and(|kind| kind == GROUP)
                && let Some(id) = map.get_mut("id")
                && let Some(renamed) = id.as_str().and_then(name)
            {
                *id = renamed.into();
            }
            map.values_mut()
                .for_each(|value| rename_groups(value, name));
        }
        Value::Array(list) => list.iter_mut().for_each(|value| rename_groups(value, name)),
        _ => {}
    }
}

const GROUP: &str = "Skans::Group";

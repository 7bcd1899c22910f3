//! What of an event does not leave: rules that take fields out of copies, or put in their place what only whoever has a key can make of them
//! again. The log itself stays whole: its hashes are of what happened.
//!
//! Which events are read, and where the copies go, is not known here.

use aws_lc_rs::hmac;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::{Error, Result, shown};
use crate::wire::to_base64;

/// The form of rules that this release reads.
pub const API_VERSION: &str = "skans.io/v1alpha1";
/// The most rules: each is held against each event.
pub const MAX_RULES: usize = 256;
/// The longest path of a field, in parts. Our events have six.
const MAX_PARTS: usize = 16;
/// The least bytes of a key: fewer can be tried out.
const MIN_KEY: usize = 16;
/// What is left of a field that is hashed, in bytes: enough to tell two apart.
const TOKEN: usize = 16;

/// Rules as they are written.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    /// [`API_VERSION`].
    pub api_version: String,
    /// The rules.
    pub redact: Vec<Rule>,
}

/// One rule.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// Which field: a JSON pointer (RFC 6901), in which `*` stands for each element of an array and each member of an object.
    pub field: String,
    /// What becomes of it.
    pub by: By,
    /// Of which kinds of events (`metadata.event_code`); of all, unless given.
    #[serde(default)]
    pub kinds: Vec<String>,
}

/// What becomes of a field.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "camelCase")]
pub enum By {
    /// It is taken out.
    Erase,
    /// The same value becomes the same token: HMAC-SHA256 under a key. Names are few, so a hash without a key would be none.
    Hash,
}

/// Rules that were looked at, with their key.
#[derive(Debug)]
pub struct Redaction {
    rules: Vec<(Rule, Vec<String>)>,
    key: Option<hmac::Key>,
}

impl Redaction {
    /// Looks at rules. `key` is wanted if one of them hashes: at least 16 bytes.
    ///
    /// # Errors
    /// [`Error::Format`], with the rule.
    pub fn new(policy: Policy, key: Option<&[u8]>) -> Result<Self> {
        let wrong = |found: String, wanted| Error::format("rules of redaction", found, wanted);
        if policy.api_version != API_VERSION {
            let found = format!("apiVersion {}", shown(&policy.api_version));
            return Err(wrong(found, "skans.io/v1alpha1"));
        }
        if policy.redact.len() > MAX_RULES {
            let found = format!("{} rules", policy.redact.len());
            return Err(wrong(found, "at most 256"));
        }
        if key.is_some_and(|key| key.len() < MIN_KEY) {
            return Err(wrong(
                "a shorter key".to_owned(),
                "one of at least 16 bytes",
            ));
        }
        if key.is_none() && policy.redact.iter().any(|rule| rule.by == By::Hash) {
            return Err(wrong("a rule that hashes, and no key".to_owned(), "a key"));
        }
        let mut rules = Vec::new();
        for rule in policy.redact {
            let parts = parts(&rule.field).ok_or_else(|| {
                let wanted = "a JSON pointer of 1 to 16 parts, such as /actor/user/name";
                wrong(format!("field {}", shown(&rule.field)), wanted)
            })?;
            rules.push((rule, parts));
        }
        Ok(Self {
            rules,
            key: key.map(|key| hmac::Key::new(hmac::HMAC_SHA256, key)),
        })
    }

    /// Applies them to the copy of an event. What was changed stands in `metadata.redacted`, so that nobody takes the copy for whole.
    pub fn apply(&self, event: &mut Value) {
        let kind = event
            .pointer("/metadata/event_code")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let mut changed = Vec::new();
        for (rule, parts) in &self.rules {
            let concerns = rule.kinds.is_empty() || rule.kinds.contains(&kind);
            if concerns && self.within(event, parts, rule.by) {
                changed.push(rule.field.as_str());
            }
        }
        if changed.is_empty() {
            return;
        }
        if let Some(event) = event.as_object_mut() {
            let metadata = event.entry("metadata").or_insert_with(|| json!({}));
            if let Some(metadata) = metadata.as_object_mut() {
                metadata.insert("redacted".to_owned(), json!(changed));
            }
        }
    }

    /// Whether something was there.
    fn within(&self, value: &mut Value, parts: &[String], by: By) -> bool {
        let Some((first, rest)) = parts.split_first() else {
            return false;
        };
        let all = first == "*";
        match value {
            Value::Object(members) if rest.is_empty() => {
                let names: Vec<String> = members
                    .keys()
                    .filter(|name| all || *name == first)
                    .cloned()
                    .collect();
                for name in &names {
                    match by {
                        By::Erase => drop(members.remove(name)),
                        By::Hash => {
                            if let Some(member) = members.get_mut(name) {
                                *member = self.token(member);
                            }
                        }
                    }
                }
                !names.is_empty()
            }
            Value::Object(members) => {
                let chosen = members.iter_mut().filter(|(name, _)| all || *name == first);
                chosen.fold(false, |any, (_, member)| {
                    self.within(member, rest, by) | any
                })
            }
            Value::Array(elements) if rest.is_empty() => {
                let mut any = false;
                for (at, element) in elements.iter_mut().enumerate() {
                    if all || at.to_string() == *first {
                        // An array keeps its length: what comes later keeps its place.
                        *element = match by {
                            By::Erase => Value::Null,
                            By::Hash => self.token(element),
                        };
                        any = true;
                    }
                }
                any
            }
            Value::Array(elements) => {
                let chosen = elements
                    .iter_mut()
                    .enumerate()
                    .filter(|(at, _)| all || at.to_string() == *first);
                chosen.fold(false, |any, (_, element)| {
                    self.within(element, rest, by) | any
                })
            }
            _ => false,
        }
    }

    /// What stands for a value: the same for the same one, and for a text without its quotes.
    fn token(&self, value: &Value) -> Value {
        let text = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let Some(key) = &self.key else {
            return Value::Null;
        };
        let tag = hmac::sign(key, text.as_bytes());
        let short = tag.as_ref().get(..TOKEN).unwrap_or_default();
        Value::String(format!("hmac:{}", to_base64(short)))
    }
}

/// The parts of a JSON pointer.
fn parts(pointer: &str) -> Option<Vec<String>> {
    let parts: Vec<String> = pointer
        .strip_prefix('/')?
        .split('/')
        .map(|part| part.replace("~1", "/").replace("~0", "~"))
        .collect();
    let named = parts.iter().all(|part| !part.is_empty());
    (named && parts.len() <= MAX_PARTS).then_some(parts)
}

#[cfg(test)]
mod tests;

//! What an agent told, as it goes into the log: what it is of is derived from what it holds, never from the agent's own words, and who said it
//! and when it came is ours to say.

#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};
use skans_store::bounds::{MAX_EVENT, MAX_SPIFFE_ID};
use skans_store::spools::SpoolId;

use crate::hex;

/// The longest event in bytes, as agents write them. What is added here fits below what the store takes.
pub(crate) const MAX_TOLD: usize = 48 * 1024;

/// Ready to be written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// A stable word for what happened.
    pub(crate) kind: &'static str,
    /// The SPIFFE ID of where it went to; may be empty.
    pub(crate) object: String,
    /// One JSON object.
    pub(crate) body: String,
}

/// Who told it, from which place in which spool, and when it came, in milliseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source<'a> {
    pub(crate) reporter: &'a str,
    pub(crate) spool: &'a SpoolId,
    pub(crate) number: u64,
    pub(crate) time_ms: u64,
}

/// Reads an event. What is none becomes one that says so: left out it would be a gap, refused it would hold up all that follows.
pub(crate) fn read(bytes: &[u8], source: Source<'_>) -> Told {
    match object(bytes) {
        Some(event) => {
            let (kind, object) = (kind(&event), destination(&event));
            let body = signed_off(event, kind, source).to_string();
            // Escapes may have grown.
            if body.len() <= MAX_EVENT {
                return Told { kind, object, body };
            }
            unreadable(bytes, source)
        }
        None => unreadable(bytes, source),
    }
}

fn object(bytes: &[u8]) -> Option<Map<String, Value>> {
    if bytes.len() > MAX_TOLD {
        return None;
    }
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(event)) => Some(event),
        _ => None,
    }
}

fn unreadable(bytes: &[u8], source: Source<'_>) -> Told {
    let kind = "agent.unreadable";
    let event = json!({
        "time": source.time_ms,
        "class_uid": 6002,
        "category_uid": 6,
        "activity_id": 99,
        "activity_name": "Unreadable event",
        "type_uid": 600_299,
        "severity_id": 4,
        "severity": "High",
        "status_id": 2,
        "status": "Failure",
        "unmapped": {"skans": {
            "bytes": bytes.len(),
            "sha256": hex::of(&crate::caller::sha256(bytes)),
        }},
    });
    let event = match event {
        Value::Object(event) => event,
        _ => Map::new(),
    };
    Told {
        kind,
        object: String::new(),
        body: signed_off(event, kind, source).to_string(),
    }
}

/// Puts over whatever the agent wrote what is not its to say.
fn signed_off(mut event: Map<String, Value>, kind: &'static str, source: Source<'_>) -> Value {
    let metadata = event
        .entry("metadata")
        .or_insert_with(|| Value::Object(Map::new()));
    if !metadata.is_object() {
        *metadata = Value::Object(Map::new());
    }
    if let Value::Object(metadata) = metadata {
        let spool = hex::of(source.spool);
        metadata.insert("event_code".to_owned(), kind.into());
        metadata.insert("reporter".to_owned(), json!({"uid": source.reporter}));
        metadata.insert("logged_time".to_owned(), source.time_ms.into());
        metadata.insert("sequence".to_owned(), source.number.into());
        metadata.insert(
            "uid".to_owned(),
            format!("{spool}-{}", source.number).into(),
        );
    }
    Value::Object(event)
}

/// What OCSF's numbers say it is. Words never change meaning: programs filter by them.
fn kind(event: &Map<String, Value>) -> &'static str {
    let number = |name: &str| event.get(name).and_then(Value::as_u64).unwrap_or_default();
    // What a set in dry run would have denied passed, and so does what is told while one is learned.
    let passed = number("action_id") == 1;
    let verdict = event
        .get("unmapped")
        .and_then(|unmapped| unmapped.pointer("/skans/verdict"));
    let seen = verdict.is_some_and(|verdict| verdict == "seen");
    match (number("class_uid"), number("activity_id")) {
        (4001 | 6003, _) if passed && seen => "agent.seen",
        (4001, 1) => "agent.connection.opened",
        (4001, 2) => "agent.connection.closed",
        (4001, 4) => "agent.connection.failed",
        (4001, 99) => "agent.connection.more",
        (4001, 5) | (6003, _) if passed => "agent.would_deny",
        (4001, 5) | (6003, _) => "agent.denied",
        (6002, 8) => "agent.policy.refused",
        (6002, 99) => "agent.events.lost",
        (2004, _) => "agent.log.forked",
        (7001, _) => "agent.revocation.in_force",
        _ => "agent.other",
    }
}

fn destination(event: &Map<String, Value>) -> String {
    let end = event.get("dst_endpoint");
    let text = |name: &str| end.and_then(|end| end.get(name)).and_then(Value::as_str);
    let found = text("uid").or_else(|| text("name")).unwrap_or_default();
    if found.len() > MAX_SPIFFE_ID || found.contains('\0') {
        return String::new();
    }
    found.to_owned()
}

//! The form of events: OCSF 1.3 (<https://schema.ocsf.io/1.3.0>). What OCSF has no field for stands under `unmapped.skans`;
//! `skans policy explain --event` reads that.
//!
//! Every text that a peer can choose goes through [`plain::show`].

use serde_json::{Value, json};
use skans_host::plain;
use skans_link::SessionId;

use crate::control::Fork;
use crate::events::observed;
use crate::events::sets::{Refused, Revoked};
use crate::events::share::{Group, Kind, Owned, Party, Shown};
use crate::keeper;
use crate::registry::Direction;

/// Network Activity: connections.
const NETWORK: u64 = 4001;
/// API Activity: messages. Each asks something of a process or a function.
const API: u64 = 6003;
/// Detection Finding: what somebody has to look into.
const FINDING: u64 = 2004;
/// Remediation Activity: what is revoked.
const REMEDIATION: u64 = 7001;

/// Which connection.
#[derive(Clone, Copy, Debug)]
pub struct Connection<'a> {
    /// By the agent's own number.
    pub link: u64,
    /// What it leads to, if it is not the node.
    pub service: Option<&'a str>,
    /// By the number that all have for it who carry it.
    pub session: SessionId,
}

/// A connection that ended.
pub struct Closed<'a> {
    pub connection: Connection<'a>,
    pub direction: Direction,
    pub reason: &'static str,
    /// Sent, received.
    pub bytes: (u64, u64),
}

/// As it stands in events and logs of all who carry it.
pub fn hex(session: &SessionId) -> String {
    session.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Denials of one kind.
pub fn denied(from: &Party, to: &Party, kind: &Kind, group: &Group) -> Value {
    let connect = kind.action == "connect";
    let (class, activity) = if connect {
        // Refuse.
        (NETWORK, (5, "Refuse"))
    } else {
        (API, (99, kind.action))
    };
    let mut event = base(class, activity, group.last);
    let dry = kind.dry_run;
    put(
        &mut event,
        json!({
            "count": group.count,
            "start_time": group.first,
            "end_time": group.last,
            "severity_id": if dry { 1 } else { 3 },
            "severity": if dry { "Informational" } else { "Medium" },
            "status_id": if dry { 1 } else { 2 },
            "status": if dry { "Success" } else { "Failure" },
            "status_detail": kind.reason,
            "action_id": if dry { 1 } else { 2 },
            "action": if dry { "Allowed" } else { "Denied" },
            // Logged; Blocked.
            "disposition_id": if dry { 17 } else { 2 },
            "disposition": if dry { "Logged" } else { "Blocked" },
            "policy": policy(kind.version),
            "unmapped": {"skans": {
                "action": kind.action,
                "verdict": if dry { "would_deny" } else { "deny" },
                "reason": kind.reason,
                "principal": plain::show(&from.id),
                "target": plain::show(&to.id),
                "policyVersion": {"epoch": kind.version.0, "n": kind.version.1},
                "resources": group.resources.iter().map(resource).collect::<Vec<_>>(),
                "others": group.others,
            }},
        }),
    );
    put(&mut event, ends(from, to));
    put_sessions(&mut event, group);
    if !connect {
        put(
            &mut event,
            json!({
                "api": {"operation": kind.action, "service": {"name": "erlang distribution"}},
                "resources": group.resources.iter().map(|shown| json!({
                    "type": kind_of(&shown.resource),
                    "name": name_of(&shown.resource),
                })).collect::<Vec<_>>(),
            }),
        );
    }
    event
}

/// Requests that passed, as `skans policy learn` reads them: those of one action, from one node to another.
pub fn observed(
    from: &Party,
    to: &Party,
    kind: &observed::Kind,
    some: &[(&observed::Key, observed::Noted)],
    others: u64,
) -> Value {
    let class = if kind.action == "connect" {
        NETWORK
    } else {
        API
    };
    let last = some.iter().map(|(_, noted)| noted.last).max();
    let last = last.unwrap_or_else(millis);
    let first = some.iter().map(|(_, noted)| noted.first).min();
    let mut event = base(class, (99, "Observe"), last);
    put(&mut event, informational());
    put(&mut event, ends(from, to));
    let resources = some.iter().map(|(key, noted)| {
        let mut resource = resource(&Shown {
            resource: key.resource.clone(),
            carries_function: key.carries_function,
            via_pid: key.via_pid,
            count: noted.count,
        });
        if key.forbidden {
            put(&mut resource, json!({"forbidden": true}));
        }
        resource
    });
    let resources: Vec<_> = resources.collect();
    put(
        &mut event,
        json!({
            "count": some.iter().map(|(_, noted)| noted.count).sum::<u64>().saturating_add(others),
            "start_time": first.unwrap_or(last),
            "end_time": last,
            "action_id": 1,
            "action": "Allowed",
            "disposition_id": 17,
            "disposition": "Logged",
            "policy": policy(kind.version),
            "unmapped": {"skans": {
                "action": kind.action,
                "verdict": if kind.would_deny { "would_deny" } else { "seen" },
                "reason": "observed",
                "observedBy": if kind.inbound { "receiver" } else { "sender" },
                "principal": plain::show(&from.id),
                "target": plain::show(&to.id),
                "policyVersion": {"epoch": kind.version.0, "n": kind.version.1},
                "resources": resources,
                "others": others,
            }},
        }),
    );
    if class == API {
        put(
            &mut event,
            json!({"api": {"operation": kind.action, "service": {"name": "erlang distribution"}}}),
        );
    }
    event
}

/// Connections that were permitted and came to nothing: a service that is down, is not there, or has no room.
pub fn failed(from: &Party, to: &Party, kind: &Kind, group: &Group) -> Value {
    let mut event = base(NETWORK, (4, "Fail"), group.last);
    put(
        &mut event,
        json!({
            "count": group.count,
            "start_time": group.first,
            "end_time": group.last,
            "severity_id": 3,
            "severity": "Medium",
            "status_id": 2,
            "status": "Failure",
            "status_detail": kind.reason,
            "action_id": 1,
            "action": "Allowed",
            "disposition_id": 27,
            "disposition": "Error",
            "policy": policy(kind.version),
            "unmapped": {"skans": {
                "reason": kind.reason,
                "resources": group.resources.iter().map(resource).collect::<Vec<_>>(),
                "others": group.others,
            }},
        }),
    );
    put(&mut event, ends(from, to));
    put_sessions(&mut event, group);
    event
}

/// A link that came up.
pub fn opened(
    ends: (&Party, &Party),
    what: Connection<'_>,
    direction: Direction,
    version: (u64, u64),
) -> Value {
    connection((1, "Open"), ends, what, direction, version)
}

/// One that ended.
pub fn closed(local: &Party, peer: &Party, what: &Closed<'_>, version: (u64, u64)) -> Value {
    let ends = (local, peer);
    let mut event = connection((2, "Close"), ends, what.connection, what.direction, version);
    let (sent, received) = what.bytes;
    let (out, into) = match what.direction {
        Direction::Outbound => (sent, received),
        Direction::Inbound => (received, sent),
    };
    put(
        &mut event,
        json!({
            "status_detail": what.reason,
            // `bytes_out` counts from source to destination.
            "traffic": {"bytes_out": out, "bytes_in": into, "bytes": sent.saturating_add(received)},
        }),
    );
    event
}

/// Connections beyond those told one by one.
pub fn more_connections(local: &Party, peer: &Party, (opened, closed): (u64, u64)) -> Value {
    let mut event = base(NETWORK, (99, "More"), millis());
    put(&mut event, informational());
    put(
        &mut event,
        json!({
            "count": opened.saturating_add(closed),
            "unmapped": {"skans": {"opened": opened, "closed": closed}},
        }),
    );
    put(&mut event, self::ends(peer, local));
    event
}

/// Events that were lost since nobody took them, within this time (milliseconds since 1970) where it is known: Application Lifecycle,
/// Other.
pub fn lost(count: u64, between: Option<(u64, u64)>) -> Value {
    let mut event = base(6002, (99, "Events lost"), millis());
    put(
        &mut event,
        json!({
            "count": count,
            "severity_id": 4,
            "severity": "High",
            "status_id": 2,
            "status": "Failure",
            "app": product(),
        }),
    );
    if let Some((first, last)) = between {
        put(&mut event, json!({"start_time": first, "end_time": last}));
    }
    event
}

/// The log of the control plane was rewritten: Detection Finding, Create. Both checkpoints, as they came.
pub fn log_forked(fork: &Fork) -> Value {
    let mut event = base(FINDING, (1, "Create"), fork.time.saturating_mul(1000));
    put(
        &mut event,
        json!({
            "severity_id": 5,
            "severity": "Critical",
            "status_id": 1,
            "status": "New",
            "finding_info": {
                "uid": "log-forked",
                "title": "the log of the control plane was rewritten",
            },
            "unmapped": {"skans": {
                "remembered": plain::show(&fork.remembered),
                "shown": plain::show(&fork.shown),
            }},
        }),
    );
    event
}

/// Policy sets that were refused for one reason: Application Lifecycle, Update. What is in force stays.
pub fn refused(reason: &str, sets: &Refused) -> Value {
    let mut event = base(6002, (8, "Update"), sets.last);
    put(
        &mut event,
        json!({
            "count": sets.count,
            "start_time": sets.first,
            "end_time": sets.last,
            "severity_id": 4,
            "severity": "High",
            "status_id": 2,
            "status": "Failure",
            "status_detail": reason,
            "message": plain::show(&sets.problem),
            "app": product(),
            "policy": policy(sets.in_force),
        }),
    );
    event
}

/// Revocations that are in force here, so that nothing that they touch is forwarded any more: Remediation Activity, Evict.
pub fn revoked(all: &Revoked) -> Value {
    let mut event = base(REMEDIATION, (2, "Evict"), all.last);
    put(&mut event, informational());
    put(
        &mut event,
        json!({
            "count": all.count,
            "start_time": all.first,
            "end_time": all.last,
            "command_uid": format!("{}.{}", all.position.0, all.position.1),
            "app": product(),
            "unmapped": {"skans": {
                "epoch": all.position.0,
                "denySequence": all.position.1,
                "links": all.links,
            }},
        }),
    );
    event
}

/// Which event of which spool it is. Both are known only when it is kept.
pub fn number(event: &mut Value, spool: &str, number: u64) {
    if let Some(metadata) = event.get_mut("metadata") {
        put(
            metadata,
            json!({"uid": format!("{spool}-{number}"), "sequence": number}),
        );
    }
}

/// It is kept nowhere but in the file.
pub fn without_number(event: &mut Value) {
    if let Some(Value::Object(metadata)) = event.get_mut("metadata") {
        metadata.remove("uid");
        metadata.remove("sequence");
    }
}

fn connection(
    activity: (u64, &'static str),
    (local, peer): (&Party, &Party),
    what: Connection<'_>,
    direction: Direction,
    version: (u64, u64),
) -> Value {
    let (from, to) = match direction {
        Direction::Inbound => (peer, local),
        Direction::Outbound => (local, peer),
    };
    let mut event = base(NETWORK, activity, millis());
    put(&mut event, informational());
    put(&mut event, ends(from, to));
    put(
        &mut event,
        json!({
            "action_id": 1,
            "action": "Allowed",
            "disposition_id": 1,
            "disposition": "Allowed",
            "policy": policy(version),
            "connection_info": {
                "uid": what.link.to_string(),
                "direction": direction.label(),
                "direction_id": match direction { Direction::Inbound => 1, Direction::Outbound => 2 },
                "protocol_name": "tcp",
            },
        }),
    );
    correlate(&mut event, &what.session);
    if let Some(service) = what.service {
        // Its name has been held against what services may be called.
        put(
            &mut event,
            json!({"unmapped": {"skans": {"service": plain::show(service)}}}),
        );
        if let Some(end) = event.get_mut("dst_endpoint") {
            put(end, json!({"svc_name": plain::show(service)}));
        }
    }
    event
}

/// By which links it was. Where they were several, none of them is that of the event: then all are listed, as far as there is room.
fn put_sessions(event: &mut Value, group: &Group) {
    match group.sessions.as_slice() {
        [] => {}
        [only] => correlate(event, only),
        several => {
            let skans = event.pointer_mut("/unmapped/skans");
            let listed: Vec<_> = several.iter().map(hex).collect();
            if let Some(skans) = skans {
                put(
                    skans,
                    json!({"sessions": listed, "moreSessions": group.more_sessions}),
                );
            }
        }
    }
}

/// The same at both ends of a link, and at the gateways between them.
fn correlate(event: &mut Value, session: &SessionId) {
    if let Some(metadata) = event.get_mut("metadata") {
        put(metadata, json!({"correlation_uid": hex(session)}));
    }
}

fn base(class: u64, (activity, name): (u64, &'static str), time: u64) -> Value {
    let (class_name, category, category_name) = match class {
        NETWORK => ("Network Activity", 4, "Network Activity"),
        FINDING => ("Detection Finding", 2, "Findings"),
        API => ("API Activity", 6, "Application Activity"),
        REMEDIATION => ("Remediation Activity", 7, "Remediation"),
        _ => ("Application Lifecycle", 6, "Application Activity"),
    };
    json!({
        "metadata": {
            "version": "1.3.0",
            "profiles": ["security_control"],
            "product": product(),
        },
        "time": time,
        "class_uid": class,
        "class_name": class_name,
        "category_uid": category,
        "category_name": category_name,
        "activity_id": activity,
        "activity_name": name,
        "type_uid": class * 100 + activity,
    })
}

fn product() -> Value {
    json!({"name": "Skans", "vendor_name": "Skans", "version": env!("CARGO_PKG_VERSION")})
}

fn informational() -> Value {
    json!({"severity_id": 1, "severity": "Informational", "status_id": 1, "status": "Success"})
}

fn policy((epoch, n): (u64, u64)) -> Value {
    json!({"name": "skans", "version": format!("{epoch}.{n}")})
}

fn ends(from: &Party, to: &Party) -> Value {
    let end =
        |party: &Party| json!({"uid": plain::show(&party.id), "name": plain::show(&party.node)});
    json!({
        "actor": {"user": {"uid": plain::show(&from.id), "type_id": 3, "type": "System"}},
        "src_endpoint": end(from),
        "dst_endpoint": end(to),
    })
}

fn resource(shown: &Shown) -> Value {
    let mut resource = match &shown.resource {
        Owned::Node => json!({"type": "Node"}),
        Owned::Process(name) => json!({"type": "Process", "name": plain::show(name)}),
        Owned::Service(name) => json!({"type": "Service", "name": plain::show(name)}),
        Owned::Function(module, function, arity) => json!({
            "type": "Function",
            "module": plain::show(module),
            "function": plain::show(function),
            "arity": arity,
        }),
    };
    put(
        &mut resource,
        json!({
            "carriesFunction": shown.carries_function,
            "viaPid": shown.via_pid,
            "count": shown.count,
        }),
    );
    resource
}

const fn kind_of(resource: &Owned) -> &'static str {
    match resource {
        Owned::Node => "Node",
        Owned::Process(_) => "Process",
        Owned::Service(_) => "Service",
        Owned::Function(..) => "Function",
    }
}

fn name_of(resource: &Owned) -> String {
    match resource {
        Owned::Node => String::new(),
        Owned::Process(name) | Owned::Service(name) => plain::show(name),
        Owned::Function(module, function, arity) => {
            format!("{}:{}/{arity}", plain::show(module), plain::show(function))
        }
    }
}

fn put(event: &mut Value, more: Value) {
    if let (Value::Object(event), Value::Object(more)) = (event, more) {
        event.extend(more);
    }
}

fn millis() -> u64 {
    keeper::millis(keeper::now())
}

//! `skans status`, `nodes` and `links`: an agent's own words, as they are or as a table.

use std::io::Write;

use serde::de::DeserializeOwned;
use skans_agent::admin::{
    ControlView, LinkView, NodeView, PolicyView, ServiceView, StatusView, UnreachableView, ask,
};

use crate::arguments::{Agent, From, Output};
use crate::control::dry_run;
use crate::failure::{FAILED, Failure};
use crate::table;

/// How an agent stands with its control plane, in a line.
fn standing(control: Option<&ControlView>) -> String {
    match control {
        None => "none".to_owned(),
        Some(ControlView {
            trouble: Some(trouble),
            ..
        }) => format!("not enrolled: {trouble}"),
        Some(view) => {
            let log = match view.log_forked {
                Some(_) => "; ITS LOG WAS REWRITTEN (docs/audit.md)".to_owned(),
                None => format!(", log of {} entries", view.log_size),
            };
            format!(
                "{}, last heard {} s ago, revocations up to {} in force{log}",
                view.class, view.head_age_seconds, view.acknowledged
            )
        }
    }
}

/// What of an agent's events its control plane does not have, in a line.
fn events(control: Option<&ControlView>) -> String {
    let Some(view) = control.and_then(|control| control.events.as_ref()) else {
        return "not kept".to_owned();
    };
    let mut text = match view.waiting {
        0 => "all told".to_owned(),
        waiting => format!(
            "{waiting} to be told, the oldest {} s old, {} on disk",
            view.oldest_seconds,
            table::bytes(view.spooled_bytes)
        ),
    };
    if view.lost > 0 {
        text += &format!(", {} lost", view.lost);
    }
    if !view.can_be_kept {
        text += ", no room for more";
    }
    text
}

/// Which policy set decides on an agent, in a line.
fn policy(policy: Option<&PolicyView>, now: u64) -> String {
    let Some(view) = policy else {
        return "none".to_owned();
    };
    let mut text = match view.standing.as_str() {
        "signed" => format!("{}, set {}", view.name, view.version),
        "expired" | "missing" => format!(
            "set {} is {}: everything is refused",
            view.version, view.standing
        ),
        other => format!("{}, {}", view.name, other.replace('_', " ")),
    };
    text += &dry_run(view.dry_run_until, now);
    if let Some(expires) = view.expires {
        text += &format!(", expires {}", table::relative(expires, now));
    }
    text
}

/// `skans status`.
pub async fn status(from: &From) -> Result<(), Failure> {
    show(from, "/v1/status", |status: StatusView| {
        let now = table::now();
        let traffic = status.traffic;
        let handovers = status.taken_over.map_or_else(
            || "never".to_owned(),
            |since| {
                let (count, since) = (status.handovers, table::relative(since, now));
                format!("{count} times since it was started, last {since}")
            },
        );
        let mut text = table::facts(&[
            ("version", status.version),
            (
                "state",
                if status.draining { "draining" } else { "ready" }.to_owned(),
            ),
            ("trust domain", status.trust_domain),
            ("cluster", status.cluster),
            ("replaced", handovers),
            ("links on", status.link_address),
            ("epmd on", format!("port {} of loopback", status.epmd_port)),
            ("control", standing(status.control.as_ref())),
            ("events", events(status.control.as_ref())),
            ("policy", policy(status.policy.as_ref(), now)),
            ("nodes", status.nodes.to_string()),
            ("links", status.links.to_string()),
            (
                "sent",
                format!(
                    "{} in {} messages",
                    table::bytes(traffic.sent_bytes),
                    traffic.sent_messages
                ),
            ),
            (
                "received",
                format!(
                    "{} in {} messages",
                    table::bytes(traffic.received_bytes),
                    traffic.received_messages
                ),
            ),
        ]);
        let rows: Vec<_> = status
            .certificates
            .into_iter()
            .map(|own| {
                [
                    own.node,
                    own.identity,
                    table::moment(own.not_after),
                    table::relative(own.not_after, now),
                ]
            })
            .collect();
        if !status.unreachable.is_empty() {
            text.push('\n');
            text.push_str(&unreachable(status.unreachable));
        }
        text.push('\n');
        text.push_str(&table::render(
            ["CERTIFICATE OF", "IDENTITY", "VALID TO", "EXPIRES"],
            &rows,
        ));
        if !status.services.is_empty() {
            text.push('\n');
            text.push_str(&services(status.services));
        }
        text
    })
    .await
}

/// Agents that could not be reached.
fn unreachable(peers: Vec<UnreachableView>) -> String {
    let rows: Vec<_> = peers
        .into_iter()
        .map(|peer| {
            let next = match peer.state.as_str() {
                "open" => format!("in {} ms", peer.retry_in_milliseconds),
                "half_open" => "now".to_owned(),
                _ => "at any time".to_owned(),
            };
            [
                peer.peer,
                peer.reason,
                format!("{} s", peer.since_seconds),
                next,
                peer.refused.to_string(),
            ]
        })
        .collect();
    table::render(
        ["UNREACHABLE", "REASON", "FOR", "TRIED AGAIN", "REFUSED"],
        &rows,
    )
}

/// What rides along besides nodes.
fn services(services: Vec<ServiceView>) -> String {
    let row = |view: ServiceView| {
        [
            view.name,
            match view.from {
                None => "offered".to_owned(),
                Some(from) => format!("from {from}"),
            },
            view.node,
            view.address,
            view.connections.to_string(),
            view.established.to_string(),
            view.refused.to_string(),
            table::bytes(view.sent_bytes),
            table::bytes(view.received_bytes),
        ]
    };
    let rows: Vec<_> = services.into_iter().map(row).collect();
    table::render(
        [
            "SERVICE", "", "AS", "AT", "OPEN", "MADE", "REFUSED", "SENT", "RECEIVED",
        ],
        &rows,
    )
}

/// `skans nodes`.
pub async fn nodes(from: &From) -> Result<(), Failure> {
    show(from, "/v1/nodes", |nodes: Vec<NodeView>| {
        let rows: Vec<_> = nodes
            .into_iter()
            .map(|node| {
                let tick = if node.tick_seconds == 0 {
                    "unknown".to_owned()
                } else {
                    format!("{}s", node.tick_seconds)
                };
                let kind = if node.cli { "short-lived" } else { "node" };
                [
                    node.name,
                    kind.to_owned(),
                    node.address,
                    node.creation.to_string(),
                    tick,
                    node.uid.to_string(),
                    node.links.to_string(),
                ]
            })
            .collect();
        table::render(
            [
                "NODE",
                "KIND",
                "LISTENS ON",
                "CREATION",
                "TICK",
                "USER",
                "LINKS",
            ],
            &rows,
        )
    })
    .await
}

/// `skans links`.
pub async fn links(from: &From) -> Result<(), Failure> {
    show(from, "/v1/links", |links: Vec<LinkView>| {
        let now = table::now();
        let rows: Vec<_> = links
            .into_iter()
            .map(|link| {
                [
                    link.id.to_string(),
                    link.local,
                    if link.direction == "inbound" {
                        "<-"
                    } else {
                        "->"
                    }
                    .to_owned(),
                    link.peer,
                    link.state,
                    match link.service {
                        Some(service) => service,
                        None if link.visible => "visible".to_owned(),
                        None => "hidden".to_owned(),
                    },
                    link.identity,
                    table::relative(link.not_after, now),
                    format!("{} {} {}", link.tls, link.suite, link.group),
                    table::bytes(link.traffic.sent_bytes),
                    table::bytes(link.traffic.received_bytes),
                    table::relative(link.since, now),
                ]
            })
            .collect();
        table::render(
            [
                "LINK", "NODE", "", "PEER", "STATE", "SEEN", "IDENTITY", "EXPIRES", "TLS", "SENT",
                "RECEIVED", "SINCE",
            ],
            &rows,
        )
    })
    .await
}

/// Asks, and prints as it came or as `draw` has it.
async fn show<T: DeserializeOwned>(
    from: &From,
    path: &str,
    draw: impl FnOnce(T) -> String,
) -> Result<(), Failure> {
    let text = fetch(&from.agent, path).await?;
    let text = match from.output {
        Output::Json => text + "\n",
        Output::Table => draw(read(&text)?),
    };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(())
}

/// The answer of an agent. Without one nothing could be looked at.
pub async fn fetch(agent: &Agent, path: &str) -> Result<String, Failure> {
    ask(&agent.socket, "GET", path, "")
        .await
        .map_err(|error| Failure::from(error).not_checked())
}

/// An answer, read.
pub fn read<T: DeserializeOwned>(text: &str) -> Result<T, Failure> {
    serde_json::from_str(text).map_err(|error| {
        Failure::new(
            FAILED,
            format!("the agent's answer cannot be read ({error}): is it of another version?"),
        )
        .not_checked()
    })
}

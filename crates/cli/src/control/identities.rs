//! `skans identity`.

use std::time::Duration;

use skans_control::rest::denials::{Denial, DenialSpread, NewDenial};
use skans_control::rest::identities::{Identity as IdentityView, IdentityDetail};
use skans_control::rest::incidents::NewIncident;
use skans_control::rest::registrations::{NewRegistration, Registration};

use super::tokens::registration;
use super::{client, escaped, incidents, list, print, show};
use crate::arguments::control::{Ask, Identity};
use crate::failure::{Failure, NOT_CHECKED};
use crate::table;

/// `skans identity`.
pub async fn identity(command: Identity) -> Result<(), Failure> {
    match command {
        Identity::List { expiring, all, ask } => {
            let mut path = format!("/v1/identities?all={all}");
            if let Some(within) = expiring {
                path.push_str(&format!("&expiring={}", within.as_secs()));
            }
            list(&ask, &path, draw_identities).await
        }
        Identity::Show { serial, ask } => {
            show(
                &ask,
                &format!("/v1/identities/{}", escaped(&serial)),
                draw_identity,
            )
            .await
        }
        Identity::Register {
            name,
            kubernetes,
            spiffe_id,
            carries,
            ask,
        } => {
            let wanted = NewRegistration {
                kubernetes,
                spiffe_id,
                ..registration(name, carries)?
            };
            let made: Registration = client(&ask.plane)
                .send("POST", "/v1/registrations", &wanted)
                .await?;
            print(ask.output, made, |made| draw_registrations(vec![made]))
        }
        Identity::Registrations(ask) => list(&ask, "/v1/registrations", draw_registrations).await,
        Identity::Unregister { name, plane } => {
            client(&plane)
                .call(
                    "DELETE",
                    &format!("/v1/registrations/{}", escaped(&name)),
                    None,
                )
                .await?;
            Ok(())
        }
        Identity::Revoke {
            target,
            key,
            reason,
            wait,
            ask,
        } => revoke(&ask, target, key, reason, wait).await,
        Identity::Compromise {
            target,
            key,
            reason,
            keep_links,
            dry_run,
            wait,
            ask,
        } => {
            let wanted = NewIncident {
                kind: kind_of(&target, key).to_owned(),
                target,
                reason,
                keep_links,
                dry_run,
            };
            incidents::compromise(&ask, &wanted, wait).await
        }
        Identity::Incidents { id: None, ask } => {
            list(&ask, "/v1/incidents", incidents::draw_all).await
        }
        Identity::Incidents { id: Some(id), ask } => {
            show(&ask, &format!("/v1/incidents/{id}"), incidents::draw).await
        }
        Identity::Denied(ask) => list(&ask, "/v1/denials", draw_denials).await,
        Identity::Allow { seq, plane } => {
            client(&plane)
                .call("DELETE", &format!("/v1/denials/{seq}"), None)
                .await?;
            Ok(())
        }
    }
}

/// What a target is.
fn kind_of(target: &str, key: bool) -> &'static str {
    if key {
        "key"
    } else if target.starts_with("spiffe://") {
        "id"
    } else {
        "node"
    }
}

async fn revoke(
    ask: &Ask,
    target: String,
    key: bool,
    reason: String,
    wait: Option<Duration>,
) -> Result<(), Failure> {
    let wanted = NewDenial {
        kind: kind_of(&target, key).to_owned(),
        target,
        reason,
    };
    let client = client(&ask.plane);
    let denied: Denial = client.send("POST", "/v1/denials", &wanted).await?;
    let seconds = wait.unwrap_or_default().as_secs();
    let path = format!("/v1/denials/{}?wait={seconds}", denied.seq);
    let spread: DenialSpread = client.get(&path).await?;
    let missing = spread.agents - spread.acknowledged;
    print(ask.output, spread, draw_spread)?;
    if wait.is_some() && missing > 0 {
        return Err(Failure::new(
            NOT_CHECKED,
            format!(
                "denied, but {missing} agents have not said that it holds; they refuse it as soon as they hear of it"
            ),
        ));
    }
    Ok(())
}

fn draw_identities(rows: Vec<IdentityView>) -> String {
    let now = table::now();
    let rows: Vec<_> = rows
        .into_iter()
        .map(|one| {
            [
                one.serial,
                one.state,
                table::relative(one.not_after, now),
                one.spiffe_id,
                one.host,
                one.owner,
            ]
        })
        .collect();
    table::render(
        ["SERIAL", "STATE", "EXPIRES", "IDENTITY", "HOST", "OWNER"],
        &rows,
    )
}

fn draw_identity(found: IdentityDetail) -> String {
    let one = found.identity;
    let mut text = table::facts(&[
        ("serial", one.serial),
        ("identity", one.spiffe_id),
        ("host", one.host),
        ("state", one.state),
        ("valid from", table::moment(one.not_before)),
        ("valid to", table::moment(one.not_after)),
        ("key", one.spki_sha256),
        ("authority's key", one.issuer_spki_sha256),
        ("asked for by", one.agent),
        ("owner", one.owner),
    ]);
    let rows: Vec<_> = found
        .seen_by
        .into_iter()
        .map(|seen| {
            [
                seen.agent,
                table::moment(seen.first),
                table::moment(seen.last),
            ]
        })
        .collect();
    if !rows.is_empty() {
        text.push('\n');
        text.push_str(&table::render(["SEEN BY", "FIRST", "LAST"], &rows));
    }
    text
}

fn draw_registrations(rows: Vec<Registration>) -> String {
    let rows: Vec<_> = rows
        .into_iter()
        .map(|one| {
            let evidence = if one.subject.is_empty() {
                one.evidence
            } else {
                format!("{} {}", one.evidence, one.subject)
            };
            let state = if one.disabled { "disabled" } else { "enabled" };
            [
                one.name,
                evidence,
                one.names.join(" "),
                one.namespace,
                one.workload,
                if one.cli { "yes" } else { "no" }.to_owned(),
                state.to_owned(),
                one.owner,
            ]
        })
        .collect();
    table::render(
        [
            "REGISTRATION",
            "EVIDENCE",
            "NAMES",
            "NAMESPACE",
            "WORKLOAD",
            "CLI",
            "STATE",
            "OWNER",
        ],
        &rows,
    )
}

fn draw_denials(rows: Vec<Denial>) -> String {
    let rows: Vec<_> = rows
        .into_iter()
        .map(|one| {
            [
                one.seq.to_string(),
                one.kind,
                one.target,
                table::moment(one.time),
                one.reason,
            ]
        })
        .collect();
    table::render(["ENTRY", "KIND", "DENIED", "SINCE", "REASON"], &rows)
}

fn draw_spread(spread: DenialSpread) -> String {
    let mut text = table::facts(&[
        ("entry", spread.denial.seq.to_string()),
        (
            "denied",
            format!("{} {}", spread.denial.kind, spread.denial.target),
        ),
        (
            "holds on",
            format!("{} of {} agents", spread.acknowledged, spread.agents),
        ),
    ]);
    if !spread.missing.is_empty() {
        text.push_str(&table::facts(&[("not yet on", spread.missing.join(" "))]));
    }
    text
}

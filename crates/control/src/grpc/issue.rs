//! `Agents/Issue`: certificates for the nodes of the caller's host, and its own next one. Each is decided alone; all that
//! were granted are kept in one transaction.

use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use skans_api::v1;
use skans_api::v1::issue_reply::Result as Reply;
use skans_api::v1::issue_reply::result::Result as Outcome;
use skans_api::v1::issue_request::Request as Wanted;
use skans_api::v1::issue_request::request::Subject as WantedSubject;
use skans_identity::csr;
use skans_identity::host::Host;
use skans_identity::id::{CLI, NodeId, SpiffeId};
use skans_identity::sni::GATEWAY;
use skans_store::agents::{self, Agent};
use skans_store::registrations::{self, Evidence, Registration};

use crate::error::Error;
use crate::event::{self, Kind};
use crate::gate::Permit;
use crate::issue::{Signed, Subject, keep, node_name};
use crate::registered::{Asked, Gap, Wish, covers};
use crate::state::Control;

/// Most certificates in one call: a host has some nodes, and a namespace of tools each.
const MOST: usize = 64;

/// Why one of them is not granted.
struct No {
    reason: &'static str,
    message: String,
    may_retry: bool,
}

impl From<Error> for No {
    fn from(error: Error) -> Self {
        Self {
            reason: error.label(),
            may_retry: error.may_retry(),
            message: error.to_string(),
        }
    }
}

impl From<skans_identity::Error> for No {
    fn from(error: skans_identity::Error) -> Self {
        Error::from(error).into()
    }
}

/// Answers the call.
pub(super) async fn issue(
    control: &Arc<Control>,
    permit: &Permit,
    request: v1::IssueRequest,
) -> Result<v1::IssueReply, Error> {
    let by = permit.within_home()?;
    let count = request.requests.len();
    if count == 0 || count > MOST {
        return Err(Error::Invalid(format!(
            "requests: found {count}, wanted 1 to {MOST}"
        )));
    }
    let asked = u32::try_from(count).unwrap_or(u32::MAX);
    if !control.issues.take(by.actor.clone(), asked, Instant::now()) {
        return Err(Error::TooMany("certificates for this identity"));
    }
    let id = permit.caller.agent().unwrap_or_default().to_owned();
    let (agent, registered) = registered(control, &id, &by.actor).await?;
    // Proof of possession and signatures take a tenth of a millisecond each, and longer where a key is elsewhere.
    let (signer, registrations) = (Arc::clone(control), registered.clone());
    let decided = tokio::task::spawn_blocking(move || {
        let decide = |wanted: &Wanted| decide(&signer, &agent, &registrations, wanted);
        request.requests.iter().map(decide).collect::<Vec<_>>()
    });
    let decided = decided
        .await
        .map_err(|error| Error::Internal(format!("issuing: {error}")))?;
    settle(control, &by.actor, registered, &decided).await?;
    let mut issued = 0;
    let results = decided.into_iter().map(|one| {
        let outcome = match one {
            Ok(signed) => {
                issued += 1;
                Outcome::Issued(v1::Issued {
                    spiffe_id: signed.row.spiffe_id,
                    chain: signed.chain.iter().map(|der| der.to_vec()).collect(),
                })
            }
            Err(no) => {
                control.metrics.not_issued(no.reason);
                Outcome::Refused(v1::Refused {
                    reason: no.reason.to_owned(),
                    message: no.message,
                    may_retry: no.may_retry,
                })
            }
        };
        Reply {
            result: Some(outcome),
        }
    });
    let results = results.collect();
    control.metrics.issued(issued);
    Ok(v1::IssueReply { results })
}

/// The caller as it enrolled, and what is registered for it.
async fn registered(
    control: &Control,
    id: &str,
    spiffe_id: &str,
) -> Result<(Agent, Vec<Registration>), Error> {
    let (id, own) = (id.to_owned(), Evidence::SpiffeId(spiffe_id.to_owned()));
    let found = control.store.read(move |tx| {
        let Some(agent) = agents::get(tx, &id)? else {
            return Ok(None);
        };
        let mut all = registrations::by_evidence(tx, &own)?;
        all.extend(registrations::get(tx, &agent.registration)?);
        Ok(Some((agent, all)))
    });
    found.await?.ok_or_else(|| {
        Error::Unauthenticated(format!("{spiffe_id} is not enrolled here: enrol again"))
    })
}

fn decide(
    control: &Control,
    agent: &Agent,
    registered: &[Registration],
    wanted: &Wanted,
) -> Result<Signed, No> {
    let key = csr::public_key(&wanted.csr)?;
    let subject = match &wanted.subject {
        Some(WantedSubject::Own(_)) => {
            let by = registered.iter().find(|one| one.id == agent.registration);
            let by = by.ok_or_else(|| {
                no(
                    "not_registered",
                    "the registration that it enrolled by is gone".to_owned(),
                )
            })?;
            if by.disabled {
                return Err(no(
                    "disabled",
                    format!("the registration {:?} is disabled", by.name),
                ));
            }
            Subject {
                id: SpiffeId::parse(&agent.spiffe_id)?,
                host: Some(Host::parse(&agent.host)?),
                key,
                lifetime: control.lifetime(by, wanted.lifetime),
                agent: agent.id.clone(),
                owner: by.owner.clone(),
            }
        }
        Some(WantedSubject::Node(node)) => {
            let name = node_name(&node.name)?;
            let wish = Wish {
                what: Asked::Node,
                name: &name,
                namespace: &node.namespace,
                workload: &node.workload,
                agent_host: &agent.host,
            };
            let by = covering(registered, &wish).map_err(|gap| refused(&wish, gap))?;
            let (domain, cluster) = (&control.home.trust_domain, &control.home.cluster);
            let id = if name.alive() == CLI {
                NodeId::cli(domain, cluster, &by.namespace, &by.workload)?
            } else {
                NodeId::new(domain, cluster, &by.namespace, &by.workload, name.alive())?
            };
            Subject {
                id: id.id().clone(),
                host: Some(name.host().clone()),
                key,
                lifetime: control.lifetime(by, wanted.lifetime),
                agent: agent.id.clone(),
                owner: by.owner.clone(),
            }
        }
        Some(WantedSubject::Gateway(gateway)) => {
            let name = node_name(&gateway.name)?;
            let wish = Wish {
                what: Asked::Gateway,
                name: &name,
                namespace: &gateway.namespace,
                workload: GATEWAY,
                agent_host: &agent.host,
            };
            let by = covering(registered, &wish).map_err(|gap| refused(&wish, gap))?;
            Subject {
                id: SpiffeId::gateway(&control.home.trust_domain, name.alive())?,
                host: Some(name.host().clone()),
                key,
                lifetime: control.lifetime(by, wanted.lifetime),
                agent: agent.id.clone(),
                owner: by.owner.clone(),
            }
        }
        None => {
            return Err(no(
                "invalid",
                "subject: found none, wanted node, own or gateway".to_owned(),
            ));
        }
    };
    Ok(control.sign(&subject)?)
}

/// The registration that covers a wish; otherwise why the one that came closest does not.
fn covering<'a>(
    registered: &'a [Registration],
    wish: &Wish<'_>,
) -> Result<&'a Registration, Option<Gap>> {
    let mut gap = None;
    for one in registered {
        match covers(one, wish) {
            Ok(()) => return Ok(one),
            Err(why) => gap = gap.or(Some(why)),
        }
    }
    Err(gap)
}

fn refused(wish: &Wish<'_>, gap: Option<Gap>) -> No {
    let Wish {
        name,
        namespace,
        workload,
        ..
    } = wish;
    let asked = format!("{name} in namespace {namespace:?} as workload {workload:?}");
    match gap {
        None => no(
            "not_registered",
            format!("{asked}: nothing is registered for this agent"),
        ),
        Some(Gap::Disabled) => no(
            Gap::Disabled.word(),
            format!("{asked}: the registration is disabled"),
        ),
        Some(gap) => no(
            "not_registered",
            format!(
                "{asked}: not covered by the agent's registration ({})",
                gap.word()
            ),
        ),
    }
}

const fn no(reason: &'static str, message: String) -> No {
    No {
        reason,
        message,
        may_retry: false,
    }
}

/// Keeps what was granted and tells what was refused, unless a registration changed since it was looked at.
async fn settle(
    control: &Control,
    actor: &str,
    registered: Vec<Registration>,
    decided: &[Result<Signed, No>],
) -> Result<(), Error> {
    let granted: Vec<Signed> = decided
        .iter()
        .filter_map(|one| one.as_ref().ok().cloned())
        .collect();
    let mut refused: Vec<(&'static str, String)> = decided
        .iter()
        .filter_map(|one| one.as_ref().err().map(|no| (no.reason, no.message.clone())))
        .collect();
    // An agent that asks in vain, again and again, must not fill the log: a few of a second are told, all are counted.
    if !control
        .told_agents
        .take(actor.to_owned(), 1, Instant::now())
    {
        refused.clear();
    }
    if granted.is_empty() && refused.is_empty() {
        return Ok(());
    }
    let actor = actor.to_owned();
    let work = move |tx: &mut skans_store::Tx<'_>| {
        for one in &registered {
            if registrations::get(tx, &one.id)?.as_ref() != Some(one) {
                return Err(Error::Conflict(
                    "a registration was changed meanwhile; try again".to_owned(),
                ));
            }
        }
        for signed in &granted {
            keep(tx, signed, &actor)?;
        }
        for (reason, message) in &refused {
            let details = json!({ "reason": reason, "message": message });
            event::tell(tx, Kind::IssueRefused, &actor, &actor, &details)?;
        }
        Ok(())
    };
    control.store.try_write(work).await
}

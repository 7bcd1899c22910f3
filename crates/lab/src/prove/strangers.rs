//! Who must not get in: somebody without an identity, with another's name, with a stolen cookie.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use rustls::pki_types::UnixTime;
use serde_json::Value;
use skans_identity::authority::{Authority, Lifetimes};
use skans_identity::sni::Credentials;
use skans_identity::tls;
use skans_link::{Frame, Hello, Reason, VERSION_MAX, VERSION_MIN};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{Failure, Finding, STEP, dial, ensure};
use crate::cluster::CLUSTER;
use crate::{AgentProcess, Cluster, ErlNode};

/// A plain `send_name` of distribution protocol 6: type, flags, creation, name (`erl_dist_protocol`).
const PLAIN_HELLO: &[u8] =
    b"\x00\x1eN\x00\x00\x00\x0d\x07\xdf\x7f\xbd\x00\x00\x00\x05\x00\x0fthief@thief.lab";

/// Knocks on the link port in three wrong ways.
pub async fn without_identity(cluster: &mut Cluster) -> Finding {
    let agent = cluster.agent(0)?;
    let (address, target) = (agent.link_address()?, cluster.name(0)?);
    let (thief, owner) = (cluster.name(1)?, cluster.authority()?);
    let links = agent.links().await?.len();
    let mark = agent.log_mark();

    let (own, answer) = dial::plain(address, PLAIN_HELLO).await?;
    let said = match answer.as_slice() {
        [] => "nothing".to_owned(),
        // A TLS alert is all that may come.
        [21, 3, ..] if answer.len() == 7 => "a TLS alert".to_owned(),
        other => {
            return Err(
                format!("a plain distribution hello was answered with {other:02x?}").into(),
            );
        }
    };
    let logged = refusal(agent, mark, own, "not_tls").await?;
    let mut shown = vec![format!(
        "a plain distribution hello got {said} (logged as {logged})"
    )];

    let greeting = greeting(thief, target);
    let name = dial::server_name(target)?;
    let nameless = dial::nameless(dial::verifier(&owner)?)?;
    let attempt = dial::hello(address, name.clone(), nameless, &greeting).await?;
    let how = ended(attempt.answer, "no certificate")?;
    let logged = refusal(agent, mark, attempt.own, "no_certificate").await?;
    shown.push(format!(
        "TLS without a certificate: {how} (logged as {logged})"
    ));

    // The same names, signed by somebody else.
    let forger = Authority::generate(
        &dial::trust_domain()?,
        CLUSTER,
        UnixTime::now(),
        Lifetimes::default(),
    )?;
    let forged = tls::client_config(&dial::leaf(&forger, thief)?, dial::verifier(&owner)?)?;
    let attempt = dial::hello(address, name, forged, &greeting).await?;
    let how = ended(attempt.answer, "a certificate of another authority")?;
    let logged = refusal(agent, mark, attempt.own, "untrusted").await?;
    shown.push(format!(
        "a certificate for {thief} of another authority: {how} (logged as {logged})"
    ));

    let after = agent.links().await?.len();
    ensure(after == links, || {
        format!("{links} links before, {after} after")
    })?;
    Ok(format!(
        "on {address}: {}; the {links} links of the agent stand",
        shown.join("; ")
    ))
}

/// How an attempt was refused; it is a failure if it was answered.
fn ended(answer: Result<Frame, String>, with: &str) -> Result<String, Failure> {
    match answer {
        Err(how) => Ok(how),
        Ok(frame) => Err(Failure(format!(
            "with {with}, the agent answered {frame:?}"
        ))),
    }
}

/// Shows a valid certificate under another node's name: first as the one who dials, then as the one
/// who is dialled.
pub async fn of_another_name(cluster: &mut Cluster) -> Finding {
    let authority = cluster.authority()?;
    let (target, claimed, own) = (
        cluster.name(0)?.to_owned(),
        cluster.name(1)?.to_owned(),
        cluster.name(2)?.to_owned(),
    );
    let credential = dial::leaf(&authority, &own)?;

    let agent = cluster.agent(0)?;
    let mark = agent.log_mark();
    let address = agent.link_address()?;
    let config = tls::client_config(&credential, dial::verifier(&authority)?)?;
    let attempt = dial::hello(
        address,
        dial::server_name(&target)?,
        config.clone(),
        &greeting(&claimed, &target),
    )
    .await?;
    let told = wrong_name(attempt.answer)?;
    refusal(agent, mark, attempt.own, "wrong_name").await?;

    // What is refused above must be the name alone: under its own, the certificate is let in.
    let attempt = dial::hello(
        address,
        dial::server_name(&target)?,
        config,
        &greeting(&own, &target),
    )
    .await?;
    ensure(matches!(attempt.answer, Ok(Frame::Welcome(_))), || {
        format!(
            "under its own name the certificate got {:?}",
            attempt.answer
        )
    })?;

    let ghost = "ghost@ghost.lab";
    let impostor = impostor(&authority, ghost, &own).await?;
    cluster.detour(0, ghost, Some(impostor.address)).await?;
    let agent = cluster.agent(0)?;
    let mark = agent.log_mark();
    let ping = cluster
        .node(0)?
        .eval(&format!("net_adm:ping('{ghost}')"), STEP)
        .await?;
    let heard = tokio::time::timeout(STEP, impostor.heard)
        .await
        .map_err(|_| Failure("the impostor heard nothing".to_owned()))?;
    let line = agent
        .wait_log(mark, "wrong_name", STEP, |line| {
            line["reason"] == "wrong_name" && line["to"] == ghost
        })
        .await?;
    cluster.detour(0, ghost, None).await?;
    ensure(ping == "pang", || format!("a ping to the impostor: {ping}"))?;
    let heard = wrong_name(heard.unwrap_or_else(|error| Err(error.to_string())))?;
    Ok(format!(
        "a valid certificate of {own}, dialling {target} as {claimed}: CLOSE wrong_name ({told}), as itself: WELCOME; \
         dialled as {ghost}: pang, CLOSE wrong_name ({heard}); logged on the accepting end and on the dialling end ({})",
        message(&line)
    ))
}

fn wrong_name(answer: Result<Frame, String>) -> Result<String, Failure> {
    match answer {
        Ok(Frame::Close(close)) if close.reason == Reason::WrongName => Ok(close.text),
        other => Err(Failure(format!("found {other:?}, wanted CLOSE wrong_name"))),
    }
}

/// Somebody who answers for `name` with the certificate of `own`.
struct Impostor {
    address: SocketAddr,
    heard: tokio::task::JoinHandle<Result<Frame, String>>,
}

async fn impostor(authority: &Authority, name: &str, own: &str) -> Result<Impostor, Failure> {
    let served = Credentials::default();
    served.insert(&dial::trust_domain()?, name, &dial::leaf(authority, own)?)?;
    let config = tls::server_config(Arc::new(served), dial::verifier(authority)?)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let heard = tokio::spawn(async move {
        let hear = async {
            let (socket, _) = listener.accept().await?;
            let mut stream = TlsAcceptor::from(config).accept(socket).await?;
            dial::first_frame(&mut stream).await
        };
        tokio::time::timeout(STEP, hear)
            .await
            .map_err(|_| "nothing in time".to_owned())?
            .map_err(|error: std::io::Error| error.to_string())
    });
    Ok(Impostor { address, heard })
}

/// Starts a short-lived node beside the first agent with the cookie of another host's node, and once
/// more with the one that it should have.
pub async fn stolen_cookie(cluster: &mut Cluster) -> Finding {
    let (own, victim) = (cluster.name(0)?.to_owned(), cluster.name(1)?.to_owned());
    let host = own
        .split_once('@')
        .map(|(_, host)| host)
        .unwrap_or_default();
    // Where the shim looks for cookies; the stolen one lies there.
    let loot = cluster.directory().join("loot");
    let home = loot.join("cli");
    std::fs::create_dir_all(&home)?;
    let file = home.join(".erlang.cookie");
    std::fs::copy(cluster.cookie_file(1)?, &file)?;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o400))?;

    let agent = cluster.agent(0)?;
    let mark = agent.log_mark();
    let ping = format!("net_adm:ping({})", cluster.atom(1)?);
    let thief_name = format!("rem-thief@{host}");
    let mut options = cluster.tool(0, &thief_name)?;
    for (name, value) in &mut options.env {
        if name == "SKANS_COOKIES" {
            *value = loot.display().to_string();
        }
    }
    let thief = ErlNode::start(&options).await?;
    let uses = thief
        .eval("atom_to_list(erlang:get_cookie())", STEP)
        .await?;
    let stolen = std::fs::read_to_string(cluster.cookie_file(1)?)?;
    ensure(uses == format!("{stolen:?}"), || {
        "the thief does not use the stolen cookie".to_owned()
    })?;
    let found = thief.eval(&ping, STEP).await?;
    ensure(found == "pang", || {
        format!("with the cookie of {victim}, stolen: {found}")
    })?;
    let line = agent
        .wait_log(mark, "cookie", STEP, |line| {
            line["reason"] == "cookie" && line["from"] == thief_name.as_str()
        })
        .await?;
    thief.halt(STEP).await?;
    std::fs::remove_dir_all(&loot)?;

    // What is refused above must be the cookie alone.
    let honest = ErlNode::start(&cluster.tool(0, &format!("rem-honest@{host}"))?).await?;
    let answer = honest.eval(&ping, STEP).await?;
    honest.halt(STEP).await?;
    ensure(answer == "pong", || {
        format!("with the cookie of its own: {answer}")
    })?;
    Ok(format!(
        "a node beside the agent of {own} pings {victim} with {victim}'s own cookie: pang, logged ({}); with the one made for it: pong",
        message(&line)
    ))
}

/// A hello from one node to another.
fn greeting(from: &str, to: &str) -> Vec<u8> {
    Hello {
        version_min: VERSION_MIN,
        version_max: VERSION_MAX,
        session: [7; 16],
        offset: 0,
        tick_seconds: 0,
        clique: None,
        from: from.to_owned(),
        to: to.to_owned(),
        takeover: 0,
        resume: false,
        service: String::new(),
    }
    .encode()
}

/// Waits until the agent has logged that it refused the connection from `own` for this reason.
async fn refusal(
    agent: &AgentProcess,
    mark: u64,
    own: SocketAddr,
    reason: &str,
) -> Result<String, Failure> {
    let own = own.to_string();
    let line = agent
        .wait_log(mark, &own, STEP, |line| {
            line["address"] == own.as_str() && line["reason"].is_string()
        })
        .await?;
    let found = line["reason"].as_str().unwrap_or_default().to_owned();
    ensure(found == reason, || {
        format!("logged as {found}, wanted {reason}: {line}")
    })?;
    Ok(found)
}

/// What a log line says to people.
fn message(line: &Value) -> String {
    line["message"].as_str().unwrap_or_default().to_owned()
}

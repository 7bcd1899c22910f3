//! Certificates from another Workload API: SPIRE, for one. They come by themselves, and again before they run out.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use skans_identity::bundle::Bundle;
use skans_identity::credential::Credential;
use tokio::net::UnixStream;
use tonic::Request;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint, Uri};

use super::HEADER;
use super::wire::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use super::wire::{X509svid, X509svidRequest, X509svidResponse};
use crate::Error;
use crate::agent::Agent;
use crate::renewal::Chance;
use crate::subjects::{self, Subject};

/// The largest answer in bytes. A certificate takes a few thousand, and a host has some nodes.
const MAX_ANSWER: usize = 4 * 1024 * 1024;
/// Certificates in one DER sequence, at most.
const MAX_CERTIFICATES: usize = 64;
/// The first wait after a failure, and the longest: the server is on this host.
const WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// Follows the API at this socket until the agent stops.
pub async fn follow(agent: Arc<Agent>, socket: std::path::PathBuf) {
    let stopping = agent.stopping.clone();
    tokio::select! {
        () = again_and_again(&agent, &socket) => {}
        () = stopping.cancelled() => {}
    }
}

async fn again_and_again(agent: &Arc<Agent>, socket: &Path) {
    let mut wait = WAIT;
    loop {
        let mut taken = false;
        if let Err(error) = stream(agent, socket, &mut taken).await {
            agent.lifecycle.renewals.count(error.label());
            tracing::warn!(socket = %socket.display(), "no certificates from the Workload API, those in use stay: {error}");
        }
        wait = if taken {
            WAIT
        } else {
            (wait * 2).min(LONGEST_WAIT)
        };
        tokio::time::sleep(wait / 2 + Chance::draw().of(wait / 2)).await;
    }
}

async fn stream(agent: &Arc<Agent>, socket: &Path, taken: &mut bool) -> Result<(), Error> {
    let failed = |problem: String| Error::Control {
        address: socket.display().to_string(),
        problem,
        retry: true,
        label: "workload_api",
    };
    let channel = connect(socket)
        .await
        .map_err(|error| failed(error.to_string()))?;
    let mut client = SpiffeWorkloadApiClient::new(channel).max_decoding_message_size(MAX_ANSWER);
    let mut request = Request::new(X509svidRequest {});
    request
        .metadata_mut()
        .insert(HEADER, MetadataValue::from_static("true"));
    let mut answers = client
        .fetch_x509svid(request)
        .await
        .map_err(|status| failed(status.to_string()))?
        .into_inner();
    loop {
        match answers.message().await {
            Ok(Some(answer)) => {
                take(agent, answer)?;
                *taken = true;
            }
            Ok(None) => return Err(failed("it ended the stream".to_owned())),
            Err(status) => return Err(failed(status.to_string())),
        }
    }
}

async fn connect(socket: &Path) -> Result<Channel, tonic::transport::Error> {
    let path = socket.to_owned();
    Endpoint::from_static("http://workload.spiffe")
        .connect_timeout(Duration::from_secs(3))
        .connect_with_connector(tower::service_fn(move |_: Uri| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        }))
        .await
}

/// Finds a certificate for each node of this host, and uses those that fit.
fn take(agent: &Agent, answer: X509svidResponse) -> Result<(), Error> {
    let settings = agent.settings();
    let subjects = subjects::of(&settings.config)?;
    let mut fresh = Vec::new();
    let mut bundle = None;
    for svid in answer.svids {
        let (credential, roots) = read(agent, &svid)?;
        let fits = |subject: &&Subject| subject.check(&credential).is_ok();
        let Some(subject) = subjects.iter().find(fits) else {
            tracing::warn!(id = %credential.identity().id, "a certificate that is for no node of this host");
            continue;
        };
        let known = agent.identities.credential(&subject.name);
        if known.is_none_or(|known| known.chain() != credential.chain()) {
            fresh.push((subject.name.clone(), credential));
        }
        bundle = Some(roots);
    }
    let names: Vec<_> = fresh.iter().map(|(name, _)| name.clone()).collect();
    agent.identities.install(bundle, fresh)?;
    for name in names {
        agent.lifecycle.renewals.count("ok");
        tracing::info!(%name, "certificate from the Workload API");
    }
    for subject in &subjects {
        if agent.identities.credential(&subject.name).is_none() {
            tracing::warn!(name = %subject.name, wanted = %subject.id, "the Workload API has no certificate for this node");
        }
    }
    Ok(())
}

fn read(agent: &Agent, svid: &X509svid) -> Result<(Credential, Bundle), Error> {
    let unfit = |problem: String| Error::Credential {
        name: svid.spiffe_id.chars().take(256).collect(),
        problem,
    };
    let chain = certificates(&svid.x509_svid).map_err(&unfit)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(svid.x509_svid_key.clone()));
    let credential =
        Credential::new(chain, key, UnixTime::now()).map_err(|error| unfit(error.to_string()))?;
    let roots = certificates(&svid.bundle).map_err(&unfit)?;
    let bundle = Bundle::new(agent.identities.trust_domain().clone(), &roots)
        .map_err(|error| unfit(error.to_string()))?;
    Ok((credential, bundle))
}

/// Certificates that stand one after the other: each is a SEQUENCE that says how long it is (X.690 8.1).
fn certificates(mut bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let length = length(bytes).ok_or("found something else than certificates in DER")?;
        let (one, rest) = bytes
            .split_at_checked(length)
            .ok_or("found a certificate that is cut short")?;
        if all.len() >= MAX_CERTIFICATES {
            return Err(format!("found more than {MAX_CERTIFICATES} certificates"));
        }
        all.push(CertificateDer::from(one.to_vec()));
        bytes = rest;
    }
    Ok(all)
}

/// How many bytes the SEQUENCE takes that stands at the front, its header included.
fn length(bytes: &[u8]) -> Option<usize> {
    let (&[tag, first], rest) = bytes.split_first_chunk::<2>()?;
    if tag != 0x30 {
        return None;
    }
    if first < 0x80 {
        return Some(2 + usize::from(first));
    }
    let count = usize::from(first & 0x7f);
    // Four bytes are 4 GiB.
    if !(1..=4).contains(&count) {
        return None;
    }
    let digits = rest.get(..count)?;
    let length = digits
        .iter()
        .fold(0_usize, |sum, &digit| (sum << 8) | usize::from(digit));
    length.checked_add(2 + count)
}

#[cfg(test)]
mod tests;

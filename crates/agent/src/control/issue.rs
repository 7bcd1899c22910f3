//! Asking for certificates: a fresh key for each, many in one request, and nothing is used before it was looked at.

use rustls::pki_types::{CertificateDer, UnixTime};
use skans_api::v1;
use skans_api::v1::agents_client::AgentsClient;
use skans_api::v1::issue_reply::result::Result as Answer;
use skans_api::v1::issue_request::request::Subject as Asked;
use skans_identity::credential::Credential;
use skans_identity::csr;
use skans_identity::host::Host;
use skans_identity::id::{Role, SpiffeId};
use skans_identity::peer::PeerIdentity;
use skans_identity::signer::SoftwareKey;
use skans_identity::sni::GATEWAY;
use skans_identity::verify::{MAX_CHAIN, Verifier};

use super::OWN;
use super::session::{MAX_MESSAGE, Sessions};
use crate::Error;
use crate::subjects::Subject;

/// Certificates in one request, at most: what the contract allows.
pub const BATCH: usize = 64;

/// Who needs a certificate.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    /// The agent itself.
    Own,
    /// A node of this host, or the gateway that it is.
    Node(&'a Subject),
}

/// Asks for a certificate for each, [`BATCH`] at most. Each is decided alone: one refusal leaves the others be.
///
/// # Errors
/// [`Error::Control`] if nobody could be asked. The same inside, if this one was refused; [`Error::Credential`] or
/// [`Error::Config`] if what came cannot be used.
pub async fn issue(
    sessions: &Sessions,
    verifier: &Verifier,
    wanted: &[Wanted<'_>],
    lifetime: u32,
) -> Result<Vec<Result<Credential, Error>>, Error> {
    let (channel, address) = sessions.channel().await?;
    let mut keys = Vec::with_capacity(wanted.len());
    let mut requests = Vec::with_capacity(wanted.len());
    for wanted in wanted {
        let (key, csr) = csr::fresh().map_err(internal)?;
        keys.push(key);
        requests.push(v1::issue_request::Request {
            subject: Some(wanted.asked()),
            csr,
            // The agent's own lasts as long as it may: it is good for nothing but this connection, and without it nothing
            // can be renewed any more.
            lifetime: match wanted {
                Wanted::Own => 0,
                Wanted::Node(_) => lifetime,
            },
        });
    }
    let mut client = AgentsClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
    let reply = match client.issue(v1::IssueRequest { requests }).await {
        Ok(reply) => reply.into_inner(),
        Err(status) => return Err(sessions.failed(&address, &status).await),
    };
    if reply.results.len() != wanted.len() {
        return Err(Error::Control {
            address,
            problem: format!(
                "found {} answers, wanted {}",
                reply.results.len(),
                wanted.len()
            ),
            retry: true,
            label: "failed",
        });
    }
    let own = sessions.own();
    let answers = wanted.iter().zip(keys).zip(reply.results);
    Ok(answers
        .map(|((wanted, key), result)| match result.result {
            Some(Answer::Issued(issued)) => wanted.take(issued, &key, own.as_deref(), verifier),
            Some(Answer::Refused(refused)) => Err(Error::Control {
                address: address.clone(),
                problem: shown(&format!("{}: {}", refused.reason, refused.message)),
                retry: refused.may_retry,
                label: "refused",
            }),
            None => Err(Error::Control {
                address: address.clone(),
                problem: "found an empty answer".to_owned(),
                retry: true,
                label: "failed",
            }),
        })
        .collect())
}

impl Wanted<'_> {
    fn asked(&self) -> Asked {
        match self {
            Self::Own => Asked::Own(v1::OwnSubject {}),
            Self::Node(subject) if subject.name == GATEWAY => Asked::Gateway(v1::GatewaySubject {
                name: subject.id_at_host(),
                namespace: subject.namespace.clone(),
            }),
            Self::Node(subject) => Asked::Node(v1::NodeSubject {
                name: subject.name.clone(),
                namespace: subject.namespace.clone(),
                workload: subject.workload.clone(),
            }),
        }
    }

    fn take(
        &self,
        issued: v1::Issued,
        key: &SoftwareKey,
        own: Option<&Credential>,
        verifier: &Verifier,
    ) -> Result<Credential, Error> {
        match self {
            Self::Own => {
                let own = own
                    .ok_or_else(|| internal("renewed what it has not"))?
                    .identity();
                taken(OWN, issued.chain, key, &own.id, own.host.as_ref(), verifier)
            }
            Self::Node(subject) => taken(
                &subject.name,
                issued.chain,
                key,
                &subject.id,
                Some(&subject.host),
                verifier,
            ),
        }
    }
}

/// A chain from the control plane and our key, if they are what was asked for.
pub fn taken(
    name: &str,
    chain: Vec<Vec<u8>>,
    key: &SoftwareKey,
    id: &SpiffeId,
    host: Option<&Host>,
    verifier: &Verifier,
) -> Result<Credential, Error> {
    let unfit = |problem: String| Error::Credential {
        name: name.to_owned(),
        problem,
    };
    if chain.len() > MAX_CHAIN {
        let found = chain.len();
        return Err(unfit(format!(
            "found {found} certificates, wanted at most {MAX_CHAIN}"
        )));
    }
    let chain = chain.into_iter().map(CertificateDer::from).collect();
    Credential::from_issued(chain, key, id, host, verifier, UnixTime::now())
        .map_err(|error| unfit(error.to_string()))
}

/// Whether a certificate is that of an agent, in this trust domain, at this host.
pub fn check_agent(identity: &PeerIdentity, like: &super::Place) -> Result<(), Error> {
    let fits = matches!(identity.id.role(), Some(Role::Agent(_)))
        && *identity.id.trust_domain() == like.trust_domain
        && identity.host.as_ref() == Some(&like.host);
    if fits {
        return Ok(());
    }
    Err(Error::Credential {
        name: OWN.to_owned(),
        problem: format!(
            "found one for {}, wanted spiffe://{}/skans/agent/... at {}",
            identity.id, like.trust_domain, like.host
        ),
    })
}

/// Foreign text, cut and without control characters.
fn shown(text: &str) -> String {
    let cut: String = text.chars().take(256).collect();
    cut.escape_debug().to_string()
}

fn internal(error: impl std::fmt::Display) -> Error {
    Error::Internal(error.to_string())
}

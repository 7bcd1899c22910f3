//! Becoming known: a join token, or a token of Kubernetes, is turned into the agent's own certificate. The first connection
//! trusts what the token or the bundle file names, and nobody else.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::UnixTime;
use rustls::{ClientConfig, CommonState};
use skans_api::v1;
use skans_api::v1::enrol_request::Evidence;
use skans_api::v1::enrollment_client::EnrollmentClient;
use skans_host::files;
use skans_identity::Refusal;
use skans_identity::bundle::{Bundle, Bundles};
use skans_identity::control_tls::{ControlPlane, HTTP2, client_config};
use skans_identity::credential::Credential;
use skans_identity::csr;
use skans_identity::first_trust::FirstTrust;
use skans_identity::head::Audience;
use skans_identity::id::SpiffeId;
use skans_identity::signer::SoftwareKey;
use skans_identity::token::JoinToken;
use skans_identity::trust::{SharedTrust, Trust};
use skans_identity::verify::Verifier;
use tonic::transport::Channel;
use zeroize::Zeroizing;

use super::session::{MAX_MESSAGE, no_address, refusal};
use super::{Control, Enrolment, Item, OWN, dial, issue, read_json, write_json};
use crate::Error;
use crate::config::KubernetesToken;
use crate::identities::Identities;

/// Longest token file in bytes: a token with eight addresses has three thousand.
const MAX_TOKEN: u64 = 16 * 1024;
/// Largest bundle file in bytes.
const MAX_BUNDLE: u64 = 256 * 1024;

/// What this agent has to show for itself.
enum Shown {
    Token(JoinToken),
    Kubernetes(Zeroizing<String>, Bundle),
}

impl Control {
    /// Whether there is something to enrol with.
    ///
    /// # Errors
    /// Which key, what was found, what was wanted.
    pub(super) fn check_evidence(&self) -> Result<(), Error> {
        self.evidence().map(drop)
    }

    fn evidence(&self) -> Result<Shown, Error> {
        let key = "identity.control";
        match (&self.source.join_token, &self.source.kubernetes) {
            (Some(path), _) => {
                let text = files::read_secret_text(path, MAX_TOKEN)?;
                let token = JoinToken::parse(&text)
                    .map_err(|error| Error::file(path, error.to_string()))?;
                let enrolment: Option<Enrolment> = read_json(&self.state, Item::Enrolment)?;
                if enrolment.is_some_and(|enrolment| enrolment.token == token.id()) {
                    return Err(Error::file(
                        path,
                        "found the join token that this agent was enrolled with, wanted a new one: its certificate has expired since",
                    ));
                }
                Ok(Shown::Token(token))
            }
            (None, Some(files)) => self.kubernetes(files),
            (None, None) => Err(Error::config(
                key,
                "found neither joinToken nor kubernetes, wanted one: this agent is not enrolled",
            )),
        }
    }

    fn kubernetes(&self, source: &KubernetesToken) -> Result<Shown, Error> {
        let token = read_projected(&source.token_file)?;
        let text = files::read_text(&source.bundle_file, MAX_BUNDLE)?;
        let bundle = Bundle::from_pem(self.place.trust_domain.clone(), text.as_bytes())
            .map_err(|error| Error::file(&source.bundle_file, error.to_string()))?;
        Ok(Shown::Kubernetes(token, bundle))
    }

    /// The key to enrol with: the one that was used before with the same evidence, since the answer may have been lost.
    /// It is on disk before anybody is asked.
    fn key(&self, with: &str) -> Result<SoftwareKey, Error> {
        if let Some(kept) = self.state.read(Item::Pending)?
            && let Some((line, key)) = kept.split_at_checked(with.len() + 1)
            && line.strip_suffix(b"\n") == Some(with.as_bytes())
            && let Ok(key) = SoftwareKey::from_pkcs8(key)
        {
            return Ok(key);
        }
        let key = SoftwareKey::generate().map_err(internal)?;
        let mut kept = Zeroizing::new(Vec::with_capacity(with.len() + 1 + key.pkcs8().len()));
        kept.extend_from_slice(with.as_bytes());
        kept.push(b'\n');
        kept.extend_from_slice(key.pkcs8());
        self.state.write(Item::Pending, &kept)?;
        Ok(key)
    }
}

/// A service-account token: the kubelet writes it for the pod's own user or group.
fn read_projected(path: &Path) -> Result<Zeroizing<String>, Error> {
    let text = Zeroizing::new(files::read_text(path, MAX_TOKEN)?);
    Ok(Zeroizing::new(text.trim().to_owned()))
}

/// Enrols this agent, and keeps and uses what it got.
///
/// # Errors
/// [`Error::Control`] if nobody answered, or it was refused; [`Error::File`] or [`Error::Config`] if there is nothing to
/// enrol with; [`Error::Credential`] if what came is not what was asked for.
pub(super) async fn enrol(control: &Control, identities: &Identities) -> Result<Credential, Error> {
    let evidence = control.evidence()?;
    let (with, trusted) = match &evidence {
        Shown::Token(token) => {
            let first = FirstTrust::new(*token.root_spki_sha256(), Some(&control.place.cluster));
            (token.id(), Trusted::First(first))
        }
        Shown::Kubernetes(_, bundle) => {
            let verifier = Verifier::new(SharedTrust::new(Trust {
                bundles: Bundles::from(bundle.clone()),
                ..Trust::default()
            }));
            let audience = Audience {
                trust_domain: control.place.trust_domain.clone(),
                cluster: control.place.cluster.clone(),
            };
            let known = ControlPlane::new(verifier, audience);
            ("kubernetes".to_owned(), Trusted::Bundle(known))
        }
    };
    let mut addresses = control.source.addresses.clone();
    if let (Shown::Token(token), true) = (&evidence, addresses.is_empty()) {
        addresses = token.addresses().iter().map(ToString::to_string).collect();
    }
    let key = control.key(&with)?;
    let request = v1::EnrolRequest {
        evidence: Some(evidence.into_request()),
        csr: csr::request(&key).map_err(internal)?,
        host: control.place.host.to_string(),
    };
    let (address, channel) = reach(&addresses, &trusted).await?;
    let mut client = EnrollmentClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
    let reply = client
        .enrol(request)
        .await
        .map_err(|status| refusal(&address, &status))?
        .into_inner();
    let own = control.take_enrolment(identities, reply, &key)?;
    // The next start must find all of it, so what says that there is an agent comes last.
    let enrolment = Enrolment {
        addresses: addresses.clone(),
        token: match &with {
            with if with == "kubernetes" => String::new(),
            with => with.clone(),
        },
        class: read_json::<Enrolment>(&control.state, Item::Enrolment)?
            .map_or(control.source.class, |kept| kept.class),
    };
    control.keep_credential(Item::Agent, &own)?;
    write_json(&control.state, Item::Enrolment, &enrolment)?;
    control.state.remove(Item::Pending)?;
    control.sessions.set_addresses(addresses);
    control.set_own(own.clone());
    Ok(own)
}

impl Control {
    fn take_enrolment(
        &self,
        identities: &Identities,
        reply: v1::EnrolReply,
        key: &SoftwareKey,
    ) -> Result<Credential, Error> {
        let unfit = |problem: &str| Error::Credential {
            name: OWN.to_owned(),
            problem: problem.to_owned(),
        };
        let bundle = reply
            .bundle
            .ok_or_else(|| unfit("found no bundle beside it"))?;
        // Whoever answers has proven itself by what this agent was given to enrol with.
        self.take_bundle(identities, &bundle, None)?;
        let id = SpiffeId::parse(&reply.spiffe_id).map_err(|error| unfit(&error.to_string()))?;
        let (host, verifier) = (&self.place.host, identities.verifier());
        let own = issue::taken(OWN, reply.chain, key, &id, Some(host), &verifier)?;
        issue::check_agent(own.identity(), &self.place)?;
        Ok(own)
    }
}

impl Shown {
    fn into_request(self) -> Evidence {
        match self {
            Self::Token(token) => Evidence::JoinToken(v1::JoinToken {
                id: token.id(),
                secret: token.secret().to_vec(),
            }),
            Self::Kubernetes(token, _) => Evidence::Kubernetes(v1::KubernetesToken {
                token: token.to_string(),
            }),
        }
    }
}

/// Whom a first connection trusts.
enum Trusted {
    First(Arc<FirstTrust>),
    Bundle(Arc<ControlPlane>),
}

impl Trusted {
    fn config(&self) -> Result<Arc<ClientConfig>, Error> {
        let verifier: Arc<dyn ServerCertVerifier> = match self {
            Self::First(first) => Arc::clone(first) as _,
            Self::Bundle(known) => Arc::clone(known) as _,
        };
        client_config(verifier, None, HTTP2).map_err(internal)
    }

    fn look(&self, connection: &CommonState) -> Result<(), Refusal> {
        match self {
            Self::First(first) => first.introduced(connection, UnixTime::now()).map(drop),
            Self::Bundle(_) => Ok(()),
        }
    }
}

async fn reach(addresses: &[String], trusted: &Trusted) -> Result<(String, Channel), Error> {
    let tls = trusted.config()?;
    let mut last = no_address();
    for address in addresses {
        match dial::connect(address, Arc::clone(&tls), |state| trusted.look(state)).await {
            Ok((channel, ())) => return Ok((address.clone(), channel)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn internal(error: impl std::fmt::Display) -> Error {
    Error::Internal(error.to_string())
}

#[cfg(test)]
mod tests;

//! A person's credential: got for a join token, kept in a directory, renewed while it works.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};
use skans_api::v1;
use skans_api::v1::enrollment_client::EnrollmentClient;
use skans_host::files::{self, Access};
use skans_identity::bundle::{Bundle, Bundles};
use skans_identity::control_tls;
use skans_identity::credential::Credential;
use skans_identity::csr;
use skans_identity::first_trust::FirstTrust;
use skans_identity::head::Audience;
use skans_identity::id::TrustDomain;
use skans_identity::policy_set::Author;
use skans_identity::token::JoinToken;
use skans_identity::trust::{SharedTrust, Trust};
use skans_identity::verify::Verifier;
use tonic::transport::{Channel, Endpoint};

use super::{Client, connect};
use crate::error::Error;
use crate::rest::general::{Renewal, Renewed};
use crate::{clock, pem};

/// Largest file that is read here, in bytes.
const MAX_FILE: u64 = 256 * 1024;

/// Who one is, and where the control plane is.
pub struct Login {
    /// Where the control plane is, as the token said.
    pub addresses: Vec<String>,
    /// The roots of its trust domain.
    bundle: Bundle,
    cluster: String,
    /// The certificate and its key.
    pub credential: Credential,
}

/// What is written beside the credential.
#[derive(Debug, Deserialize, Serialize)]
struct Place {
    addresses: Vec<String>,
    trust_domain: String,
    cluster: String,
}

/// Uses a join token, and keeps what it gives in a directory. Gives the SPIFFE ID.
///
/// # Errors
/// [`Error::Identity`] for a token that is none, [`Error::Unreachable`], [`Error::Remote`], [`Error::File`].
pub async fn login(token: &str, directory: &Path) -> Result<String, Error> {
    let token = JoinToken::parse(token)?;
    let (key, request) = csr::fresh()?;
    let first = FirstTrust::new(*token.root_spki_sha256(), None);
    let config = control_tls::client_config(Arc::clone(&first) as _, None, control_tls::HTTP2)?;
    let addresses: Vec<String> = token.addresses().iter().map(ToString::to_string).collect();
    let stream = connect(&addresses, config).await?;
    let introduced = first
        .introduced(stream.get_ref().1, clock::now())
        .map_err(|refusal| Error::Unreachable(refusal.to_string()))?;
    let cluster = introduced.control.cluster.clone().unwrap_or_default();
    let mut client = EnrollmentClient::new(over(stream).await?);
    let answer = client.enrol(v1::EnrolRequest {
        csr: request,
        host: String::new(),
        evidence: Some(v1::enrol_request::Evidence::JoinToken(v1::JoinToken {
            id: token.id(),
            secret: token.secret().to_vec(),
        })),
    });
    let answer = answer
        .await
        .map_err(|status| Error::Unreachable(status.message().to_owned()))?
        .into_inner();
    let chain = answer.chain.into_iter().map(CertificateDer::from).collect();
    let credential = Credential::new(chain, key.to_der(), clock::now())?;
    let login = Login {
        addresses,
        bundle: introduced.bundle,
        cluster,
        credential,
    };
    login.save(directory)?;
    Ok(answer.spiffe_id)
}

/// One connection that is open already, as a channel.
async fn over(
    stream: tokio_rustls::client::TlsStream<tokio::net::TcpStream>,
) -> Result<Channel, Error> {
    let mut stream = Some(hyper_util::rt::TokioIo::new(stream));
    let connector = tower::service_fn(move |_| {
        let stream = stream
            .take()
            .ok_or_else(|| std::io::Error::other("the connection was lost"));
        async move { stream }
    });
    Endpoint::from_static("http://control.skans")
        .connect_with_connector(connector)
        .await
        .map_err(|error| Error::Unreachable(error.to_string()))
}

impl Login {
    /// Reads what [`login`] wrote.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Identity`] also if the certificate has run out.
    pub fn load(directory: &Path) -> Result<Self, Error> {
        let place = at(directory, "control.json");
        let text = files::read_text(&place, MAX_FILE)?;
        let known: Place =
            serde_json::from_str(&text).map_err(|error| Error::file(&place, error.to_string()))?;
        let bundle = files::read_text(&at(directory, "bundle.pem"), MAX_FILE)?;
        let own = files::read_secret(&at(directory, "person.pem"), MAX_FILE)?;
        let trust_domain = TrustDomain::parse(&known.trust_domain)?;
        Ok(Self {
            addresses: known.addresses,
            bundle: Bundle::from_pem(trust_domain, bundle.as_bytes())?,
            cluster: known.cluster,
            credential: Credential::from_pem(&own, &own, clock::now())?,
        })
    }

    fn save(&self, directory: &Path) -> Result<(), Error> {
        files::private_directory(directory)?;
        let known = Place {
            addresses: self.addresses.clone(),
            trust_domain: self.bundle.trust_domain().to_string(),
            cluster: self.cluster.clone(),
        };
        let text = serde_json::to_string_pretty(&known)
            .map_err(|error| Error::Internal(error.to_string()))?;
        files::write(
            &at(directory, "control.json"),
            text.as_bytes(),
            Access::PRIVATE,
        )?;
        files::write(
            &at(directory, "bundle.pem"),
            self.bundle.to_pem().as_bytes(),
            Access::PRIVATE,
        )?;
        // In one file: a crash leaves no certificate without its key.
        let mut own = self.credential.key_pem();
        own.push_str(&self.credential.chain_pem());
        Ok(files::write(
            &at(directory, "person.pem"),
            own.as_bytes(),
            Access::PRIVATE,
        )?)
    }

    /// Gets the next certificate, with a fresh key, if the present one is past half of its life.
    ///
    /// # Errors
    /// Those of the control plane: twelve hours after enrolment it takes a new token.
    pub async fn renew(directory: &Path) -> Result<(), Error> {
        let present = Self::load(directory)?;
        let identity = present.credential.identity();
        if clock::seconds() < identity.not_before.midpoint(identity.not_after) {
            return Ok(());
        }
        let (key, request) = csr::fresh()?;
        let wanted = Renewal {
            csr: pem::request(&request),
        };
        let client = Client::Person(directory.to_owned());
        let renewed: Renewed = client.send("POST", "/v1/self/certificate", &wanted).await?;
        let chain = CertificateDer::pem_slice_iter(renewed.chain.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| Error::Unreachable("the new certificate cannot be read".to_owned()))?;
        let credential = Credential::new(chain, key.to_der(), clock::now())?;
        Self {
            credential,
            ..present
        }
        .save(directory)
    }

    /// Signs the content of a policy set as its author.
    ///
    /// # Errors
    /// [`Error::Identity`] if the credential cannot sign.
    pub fn author(&self, content: &[u8]) -> Result<Author, Error> {
        Ok(Author::sign(&self.audience()?, content, &self.credential)?)
    }

    pub(super) fn verifier(&self) -> Result<Arc<Verifier>, Error> {
        Ok(Verifier::new(SharedTrust::new(Trust {
            bundles: Bundles::from(self.bundle.clone()),
            ..Trust::default()
        })))
    }

    pub(super) fn audience(&self) -> Result<Audience, Error> {
        Ok(Audience {
            trust_domain: self.bundle.trust_domain().clone(),
            cluster: self.cluster.clone(),
        })
    }
}

fn at(directory: &Path, name: &str) -> PathBuf {
    directory.join(name)
}

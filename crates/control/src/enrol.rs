//! How a stranger becomes known: evidence in, a certificate out, once.
//!
//! What was verified is what is used: each kind of evidence ends in a [`Proven`], and nothing else goes on from there.

use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use serde_json::json;
use skans_api::v1;
use skans_identity::csr::{self, ProvenKey};
use skans_identity::host::Host;
use skans_identity::id::SpiffeId;
use skans_store::registrations::{self, Evidence, Registration};
use skans_store::tokens::{self, Redeemed, TokenId};
use skans_store::{Tx, agents, authorities, certificates};

use crate::caller::{Caller, sha256};
use crate::clock;
use crate::error::Error;
use crate::event::{self, Kind};
use crate::hex;
use crate::issue::{self, Signed, Subject};
use crate::roles;
use crate::state::Control;

/// The life of a person's leaf (0011): as long as a task takes. It is renewed as long as one works.
pub(crate) const PERSON: Duration = Duration::from_secs(600);
/// Longest host name in bytes.
const MAX_HOST: usize = 253;

/// Evidence that holds, and the registration that it opens.
struct Proven {
    registration: Registration,
    token: Option<(TokenId, [u8; 32])>,
    /// The end of the agent's name, where the evidence says what it must be.
    name: Option<String>,
}

/// What came of it.
pub(crate) struct Enrolled {
    pub(crate) spiffe_id: String,
    pub(crate) chain: Vec<CertificateDer<'static>>,
}

enum Outcome {
    Enrolled,
    /// The certificate of the first time.
    Again(Vec<u8>),
    Refused(tokens::Refusal),
}

impl Control {
    /// Turns evidence into a certificate.
    ///
    /// # Errors
    /// [`Error::Evidence`], [`Error::Identity`] for a bad request or host, and those of the store. Nothing is then issued,
    /// and a token that was good stays good.
    pub(crate) async fn enrol(
        &self,
        caller: &Caller,
        request: v1::EnrolRequest,
    ) -> Result<Enrolled, Error> {
        let key = csr::public_key(&request.csr)?;
        let proven = self.prove(caller, request.evidence.as_ref()).await?;
        let registration = &proven.registration;
        if registration.disabled {
            return Err(Error::Evidence("its registration is disabled"));
        }
        let subject = self.newcomer(&proven, &request.host, key)?;
        let signed = self.sign(&subject)?;
        let actor = subject.id.to_string();
        let chain = signed.chain.clone();
        let spiffe_id = actor.clone();
        let (found, token) = (proven.registration, proven.token);
        let outcome = self
            .store
            .try_write(move |tx| settle(tx, &found, token, &subject, &signed, &actor))
            .await?;
        match outcome {
            Outcome::Enrolled => {
                self.metrics.enrolment("enrolled");
                self.metrics.issued(1);
                Ok(Enrolled { spiffe_id, chain })
            }
            Outcome::Again(serial) => {
                self.metrics.enrolment("again");
                self.same_again(serial).await
            }
            Outcome::Refused(why) => Err(self.refused(token.map(|(id, _)| id), &why).await),
        }
    }

    async fn prove(
        &self,
        caller: &Caller,
        evidence: Option<&v1::enrol_request::Evidence>,
    ) -> Result<Proven, Error> {
        use v1::enrol_request::Evidence as E;
        match evidence {
            Some(E::JoinToken(token)) => self.prove_by_token(token).await,
            Some(E::Kubernetes(token)) => self.prove_by_pod(&token.token).await,
            Some(E::ClientCertificate(_)) => self.prove_by_certificate(caller).await,
            None => Err(Error::Invalid(
                "evidence: found none, wanted one kind".to_owned(),
            )),
        }
    }

    async fn prove_by_token(&self, token: &v1::JoinToken) -> Result<Proven, Error> {
        let id: TokenId = hex::read(&token.id).ok_or_else(|| {
            Error::Invalid("join_token.id: wanted 32 hexadecimal digits".to_owned())
        })?;
        if token.secret.len() != 32 {
            return Err(Error::Invalid(format!(
                "join_token.secret: found {} bytes, wanted 32",
                token.secret.len()
            )));
        }
        let secret = sha256(&token.secret);
        // Only a look, so that it is known whom to sign for. Whether the secret fits and the token is still good is decided
        // where it is used, in one transaction with what it is used for.
        let registration = self.store.read(move |tx| {
            let Some(token) = tokens::get(tx, &id)? else {
                return Ok(None);
            };
            registrations::get(tx, &token.registration)
        });
        let Some(registration) = registration.await? else {
            self.metrics.enrolment("unknown");
            return Err(Error::Evidence("no such join token"));
        };
        Ok(Proven {
            registration,
            token: Some((id, secret)),
            name: None,
        })
    }

    async fn prove_by_certificate(&self, caller: &Caller) -> Result<Proven, Error> {
        let Some(identity) = caller
            .identity()
            .filter(|_| caller.kind() == roles::Kind::Foreign)
        else {
            return Err(Error::Evidence(
                "no client certificate of another authority",
            ));
        };
        let evidence = Evidence::SpiffeId(identity.id.to_string());
        // One agent for one foreign identity: it may come back with its next certificate, and is the same.
        let name = hex::of(
            sha256(identity.id.as_str().as_bytes())
                .get(..8)
                .unwrap_or_default(),
        );
        self.prove_by_registration(evidence, name).await
    }

    async fn prove_by_pod(&self, token: &str) -> Result<Proven, Error> {
        let Some(server) = &self.api_server else {
            return Err(Error::Evidence("Kubernetes is not configured here"));
        };
        let pod = match server.review(token, self.config.audience()).await {
            Ok(pod) => pod,
            Err(error) => {
                tracing::info!("a service-account token was not accepted: {error}");
                self.metrics.enrolment("kubernetes");
                return Err(match error {
                    crate::kubernetes::Refusal::Token(_) => {
                        Error::Evidence("the service-account token was refused")
                    }
                    other => Error::Internal(other.to_string()),
                });
            }
        };
        let evidence = Evidence::Kubernetes {
            namespace: pod.namespace,
            name: pod.service_account,
        };
        // A pod of the same name is another pod.
        let name = hex::of(sha256(pod.uid.as_bytes()).get(..8).unwrap_or_default());
        self.prove_by_registration(evidence, name).await
    }

    async fn prove_by_registration(
        &self,
        evidence: Evidence,
        name: String,
    ) -> Result<Proven, Error> {
        let found = self
            .store
            .read(move |tx| registrations::by_evidence(tx, &evidence))
            .await?;
        let registration = found
            .into_iter()
            .find(|registration| !registration.disabled)
            .ok_or(Error::Evidence("no registration is for it"))?;
        Ok(Proven {
            registration,
            token: None,
            name: Some(name),
        })
    }

    /// Whom the certificate is for.
    fn newcomer(&self, proven: &Proven, host: &str, key: ProvenKey) -> Result<Subject, Error> {
        let domain = &self.home.trust_domain;
        let registration = &proven.registration;
        if registration.evidence == Evidence::Person {
            let user = registration
                .patterns
                .first()
                .map(String::as_str)
                .unwrap_or_default();
            let token = proven.token.map(|(id, _)| hex::of(&id)).unwrap_or_default();
            return Ok(Subject {
                id: SpiffeId::user(domain, user)?,
                host: None,
                key,
                lifetime: PERSON,
                agent: token,
                owner: user.to_owned(),
            });
        }
        if host.len() > MAX_HOST {
            return Err(Error::Invalid(format!(
                "host: found {} bytes, wanted at most {MAX_HOST}",
                host.len()
            )));
        }
        let host = Host::parse(host)?;
        let end = match &proven.name {
            Some(name) => name.clone(),
            // From the key, so that whoever lost the answer asks again for the same.
            None => hex::of(key.spki_sha256().get(..8).unwrap_or_default()),
        };
        let id = format!("{}-{end}", short(&host));
        Ok(Subject {
            id: SpiffeId::agent(domain, &id)?,
            host: Some(host),
            key,
            lifetime: self.lifetime(registration, 0),
            agent: id,
            owner: registration.owner.clone(),
        })
    }

    /// The life of a leaf: what is wanted, but no more than the registration says, or else the configuration.
    pub(crate) fn lifetime(&self, registration: &Registration, wanted: u32) -> Duration {
        let most = match registration.leaf_life {
            0 => self.config.leaves.lifetime,
            seconds => Duration::from_secs(seconds),
        };
        match wanted {
            0 => most,
            seconds => Duration::from_secs(u64::from(seconds)).min(most),
        }
    }

    /// The certificate that a token was used for, for whoever lost the answer.
    async fn same_again(&self, serial: Vec<u8>) -> Result<Enrolled, Error> {
        let found = self.store.read(move |tx| {
            let Some(row) = certificates::get(tx, &serial)? else {
                return Ok(None);
            };
            let issuer = authorities::by_spki(tx, &row.issuer_spki)?;
            Ok(issuer.map(|issuer| (row, issuer)))
        });
        let (row, issuer) = found.await?.ok_or(Error::Evidence(
            "it was used, and its certificate is forgotten",
        ))?;
        Ok(Enrolled {
            spiffe_id: row.spiffe_id,
            chain: vec![row.der.into(), issuer.certificate.into()],
        })
    }

    async fn refused(&self, token: Option<TokenId>, why: &tokens::Refusal) -> Error {
        self.metrics.enrolment(why.word());
        let id = token.unwrap_or_default();
        // Of a token that exists, for whoever made it wants to know; but nobody may fill the log with it.
        let known = !matches!(why, tokens::Refusal::Unknown);
        if known && self.told_tokens.take(id, 1, Instant::now()) {
            let word = why.word();
            let told = self.store.write(move |tx| {
                event::tell(
                    tx,
                    Kind::TokenRefused,
                    "stranger",
                    &hex::of(&id),
                    &json!({ "reason": word }),
                )
            });
            if let Err(error) = told.await {
                tracing::warn!("the refusal of a token could not be told: {error}");
            }
        }
        Error::Evidence(match why {
            tokens::Refusal::Unknown => "no such join token",
            tokens::Refusal::Expired(_) => "the join token has expired",
            tokens::Refusal::Revoked(_) => "the join token was revoked",
            tokens::Refusal::Used(_) => "the join token was used already",
        })
    }
}

/// Uses the evidence and keeps the certificate, in one transaction.
fn settle(
    tx: &mut Tx<'_>,
    registration: &Registration,
    token: Option<(TokenId, [u8; 32])>,
    subject: &Subject,
    signed: &Signed,
    actor: &str,
) -> Result<Outcome, Error> {
    let now = clock::seconds();
    if registrations::get(tx, &registration.id)?.as_ref() != Some(registration) {
        return Err(Error::Conflict(
            "the registration was changed meanwhile; try again".to_owned(),
        ));
    }
    if let Some((id, secret)) = &token {
        match tokens::redeem(tx, id, secret, &signed.row.spki, now)? {
            Redeemed::First(_) => tokens::set_result(tx, id, &signed.row.serial)?,
            Redeemed::Again(token) => return Ok(Outcome::Again(token.result.unwrap_or_default())),
            Redeemed::Refused(why) => return Ok(Outcome::Refused(why)),
        }
    }
    let person = registration.evidence == Evidence::Person;
    if !person {
        let new = agents::NewAgent {
            id: &subject.agent,
            spiffe_id: subject.id.as_str(),
            registration: &registration.id,
            host: &signed.row.host,
        };
        agents::enrol(tx, &new, now)?;
    }
    issue::keep(tx, signed, actor)?;
    let details = json!({
        "registration": registration.name,
        "evidence": registration.evidence.word(),
        "host": signed.row.host,
        "token": token.map(|(id, _)| hex::of(&id)),
    });
    let kind = if person {
        Kind::PersonEnrolled
    } else {
        Kind::AgentEnrolled
    };
    event::tell(tx, kind, actor, actor, &details)?;
    Ok(Outcome::Enrolled)
}

/// The first part of a host name, as a part of a name: `host-a` of `host-a.prod.example`.
fn short(host: &Host) -> String {
    let text = host.to_string();
    let first = match host {
        Host::Dns(_) => text.split('.').next().unwrap_or_default(),
        Host::Ip(_) => &text,
    };
    first
        .chars()
        .take(40)
        .map(|c| if c == ':' { '-' } else { c })
        .collect()
}

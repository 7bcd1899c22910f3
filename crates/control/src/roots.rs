//! Roots: looked at before one is trusted, added to the bundle, waited for until agents have it, and taken out again.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::json;
use skans_identity::bundle::Bundle;
use skans_identity::id::TrustDomain;
use skans_store::authorities::{self, Authority, Kind, NewAuthority, State};
use skans_store::{Tx, agents, bundle, writer};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use crate::authority::free_slot;
use crate::caller::sha256;
use crate::error::Error;
use crate::event::{self, Kind as Event};
use crate::gate::By;
use crate::hex;
use crate::state::Control;
use crate::writer::Urgency;

/// Agents that were not seen for so long are not waited for, in seconds: their leaves have run out.
const AWAY: u64 = 3600;

/// What is known of a root.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    pub(crate) spki: [u8; 32],
    pub(crate) not_before: u64,
    pub(crate) not_after: u64,
}

/// A root that somebody brought.
#[derive(Clone, Debug)]
pub(crate) struct NewRoot {
    pub(crate) id: String,
    pub(crate) der: CertificateDer<'static>,
    facts: Facts,
}

impl Control {
    /// Reads a root that somebody brought.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::Identity`] if it is no CA certificate.
    pub(crate) fn read_root(&self, pem: &str) -> Result<NewRoot, Error> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| {
            Error::Invalid("certificate: wanted one CERTIFICATE block (PEM)".to_owned())
        })?;
        let (_, facts) = check(&self.home.trust_domain, &der)?;
        Ok(NewRoot {
            id: hex::of(facts.spki.get(..8).unwrap_or_default()),
            der,
            facts,
        })
    }

    /// Adds a root to the bundle.
    ///
    /// # Errors
    /// [`Error::Conflict`] if both slots are taken; those of the store.
    pub(crate) async fn add_root(&self, by: &By, root: NewRoot) -> Result<Authority, Error> {
        let by = by.clone();
        let id = root.id.clone();
        let work = move |tx: &mut Tx<'_>, writer, now| {
            by.spend(tx, now)?;
            let slot = free_slot(tx, writer, Kind::Root, now)?;
            let new = NewAuthority {
                id: &root.id,
                kind: Kind::Root,
                slot,
                certificate: &root.der,
                sealed_key: None,
                spki: &root.facts.spki,
                not_before: root.facts.not_before,
                not_after: root.facts.not_after,
            };
            authorities::prepare(tx, writer, &new, now)?;
            let mut roots = bundle::current(tx)?
                .map(|bundle| bundle.roots)
                .unwrap_or_default();
            roots.push(root.der.to_vec());
            let details = json!({ "kind": "root", "spki_sha256": hex::of(&root.facts.spki), "not_after": root.facts.not_after });
            event::tell(tx, Event::AuthorityPrepared, &by.actor, &root.id, &details)?;
            publish(tx, writer, &roots, &by.actor, now)
        };
        self.as_writer(Urgency::Ordinary, work).await?;
        self.refresh().await?;
        let wanted = id.clone();
        let added = self
            .store
            .read(move |tx| authorities::get(tx, &wanted))
            .await?;
        added.ok_or_else(|| Error::not_found("root", id))
    }

    /// Takes a root out of the bundle, whatever hangs on it.
    ///
    /// # Errors
    /// [`Error::Conflict`] if it is the active one.
    pub(crate) async fn remove_root(&self, by: &By, id: &str) -> Result<(), Error> {
        let (id, by) = (id.to_owned(), by.clone());
        let work = move |tx: &mut Tx<'_>, writer, now| {
            by.spend(tx, now)?;
            let root = authorities::get(tx, &id)?
                .filter(|one| one.kind == Kind::Root && one.state.takes_slot());
            let root = root.ok_or_else(|| Error::not_found("root", id.clone()))?;
            if root.state == State::Active {
                return Err(Error::Conflict(format!(
                    "root {id}: it is the active one: have an authority under another root sign first (skans ca rotate)"
                )));
            }
            remove(tx, writer, &root, &by.actor, now)
        };
        self.as_writer(Urgency::Ordinary, work).await?;
        self.refresh().await
    }
}

/// The root that signed an issuing authority. By names: ours hold a part of the hash of their key.
pub(crate) fn above(tx: &mut Tx<'_>, issuer: &Authority) -> Result<Option<Authority>, Error> {
    let all = authorities::list(tx)?;
    Ok(all
        .into_iter()
        .find(|one| one.kind == Kind::Root && one.state.takes_slot() && issued_by(issuer, one)))
}

/// Whether a root signed an issuing authority.
pub(crate) fn issued_by(issuer: &Authority, root: &Authority) -> bool {
    let names = |der: &[u8]| {
        let (_, read) = X509Certificate::from_der(der).ok()?;
        Some((
            read.subject().as_raw().to_vec(),
            read.issuer().as_raw().to_vec(),
        ))
    };
    match (names(&issuer.certificate), names(&root.certificate)) {
        (Some((_, above)), Some((root, _))) => above == root,
        _ => false,
    }
}

/// Whether all agents that were seen lately use a bundle that holds this root.
///
/// # Errors
/// [`Error::Conflict`] if some do not.
pub(crate) fn check_adoption(
    tx: &mut Tx<'_>,
    root: &Authority,
    epoch: u64,
    now: u64,
) -> Result<(), Error> {
    let since = now.saturating_sub(AWAY);
    let Some(version) = first_with(tx, root)? else {
        return Err(Error::Conflict(format!(
            "root {}: it is not in the bundle",
            root.id
        )));
    };
    let adoption = agents::bundle_adoption(tx, epoch, version, since)?;
    if adoption.have < adoption.seen {
        return Err(Error::Conflict(format!(
            "root {}: {} of {} agents use a bundle with it (version {version}); wait for the others",
            root.id, adoption.have, adoption.seen
        )));
    }
    Ok(())
}

/// The version of the bundle that this root came with.
fn first_with(tx: &mut Tx<'_>, root: &Authority) -> Result<Option<u64>, Error> {
    let mut version = bundle::version(tx)?;
    let mut first = None;
    while version > 0 {
        let Some(found) = bundle::get(tx, version)? else {
            break;
        };
        if !found.roots.contains(&root.certificate) {
            break;
        }
        first = Some(version);
        version -= 1;
    }
    Ok(first)
}

/// New authorities hang on this root from now on.
pub(crate) fn activate(
    tx: &mut Tx<'_>,
    writer: writer::Epoch,
    root: &Authority,
    actor: &str,
    now: u64,
) -> Result<(), Error> {
    authorities::activate(tx, writer, &root.id, now)?;
    let details = json!({ "kind": "root", "spki_sha256": hex::of(&root.spki) });
    event::tell(tx, Event::AuthorityActivated, actor, &root.id, &details)?;
    Ok(())
}

/// Publishes the bundle without this root.
pub(crate) fn remove(
    tx: &mut Tx<'_>,
    writer: writer::Epoch,
    root: &Authority,
    actor: &str,
    now: u64,
) -> Result<(), Error> {
    let present = bundle::current(tx)?
        .map(|bundle| bundle.roots)
        .unwrap_or_default();
    let left: Vec<Vec<u8>> = present
        .iter()
        .filter(|der| **der != root.certificate)
        .cloned()
        .collect();
    if left.is_empty() {
        return Err(Error::Conflict(format!(
            "root {}: it is the only one",
            root.id
        )));
    }
    if left.len() != present.len() {
        publish(tx, writer, &left, actor, now)?;
    }
    let (state, kind) = match root.state {
        State::Retired => (State::Expired, Event::AuthorityExpired),
        _ => (State::Revoked, Event::AuthorityRevoked),
    };
    authorities::set_state(tx, writer, &root.id, state, now)?;
    let details = json!({ "kind": "root", "spki_sha256": hex::of(&root.spki) });
    event::tell(tx, kind, actor, &root.id, &details)?;
    Ok(())
}

fn publish(
    tx: &mut Tx<'_>,
    writer: writer::Epoch,
    roots: &[Vec<u8>],
    actor: &str,
    now: u64,
) -> Result<(), Error> {
    let ders: Vec<&[u8]> = roots.iter().map(Vec::as_slice).collect();
    let version = bundle::publish(tx, writer, &ders, now)?;
    let details = json!({ "version": version, "roots": roots.len() });
    event::tell(
        tx,
        Event::BundlePublished,
        actor,
        &version.to_string(),
        &details,
    )?;
    Ok(())
}

/// Looks at a root of this trust domain.
///
/// # Errors
/// [`Error::Identity`] if it is no CA certificate.
pub(crate) fn check(
    trust_domain: &TrustDomain,
    der: &CertificateDer<'_>,
) -> Result<(Bundle, Facts), Error> {
    let bundle = Bundle::new(trust_domain.clone(), std::slice::from_ref(der))?;
    let (_, read) = X509Certificate::from_der(der)
        .map_err(|_| Error::Invalid("certificate: it cannot be read".to_owned()))?;
    // An issuing authority as a root would outlive what its own root says about it.
    if read.subject().as_raw() != read.issuer().as_raw() {
        return Err(Error::Invalid(
            "certificate: found one that another signed, wanted a root".to_owned(),
        ));
    }
    Ok((bundle, facts(der)?))
}

/// Reads the key and the times of a certificate.
///
/// # Errors
/// [`Error::Invalid`] if it is none.
pub(crate) fn facts(der: &[u8]) -> Result<Facts, Error> {
    let (_, read) = X509Certificate::from_der(der)
        .map_err(|_| Error::Invalid("certificate: it cannot be read".to_owned()))?;
    let seconds = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).unwrap_or(0);
    Ok(Facts {
        spki: sha256(read.public_key().raw),
        not_before: seconds(read.validity().not_before),
        not_after: seconds(read.validity().not_after),
    })
}

//! Issuing authorities: prepared, activated, tainted, revoked; two slots, so that one signs while the next is made ready.
//!
//! The root is used where it is at hand, and only for the moment of signing. When things happen by themselves is said in
//! `rotation`.

use std::path::PathBuf;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::json;
use skans_host::files;
use skans_identity::authority::Issuer;
use skans_identity::bundle::Bundle;
use skans_identity::csr::{self, ProvenKey};
use skans_identity::deny::Target;
use skans_identity::signer::{Signer as _, SoftwareKey};
use skans_store::authorities::{self, Authority, Kind, NewAuthority, Slot, State};
use skans_store::certificates::{self, Which};
use skans_store::requests::{self, Request};
use skans_store::{Tx, writer};

use crate::error::Error;
use crate::event::{self, Kind as Event};
use crate::gate::By;
use crate::news::sealing_label;
use crate::rest;
use crate::state::Control;
use crate::writer::Urgency;
use crate::{clock, hex, pem, root, roots};

/// For how long a key waits for an offline root, in seconds: its next opening may be weeks away, and a key that nobody came
/// back for should not lie about for longer.
const REQUEST: u64 = 30 * 24 * 3600;

/// What became of the wish for a new authority.
pub(crate) enum Prepared {
    /// It is signed, and can be activated.
    Ready(String),
    /// The root is elsewhere: this has to be signed there.
    Request { id: String, csr: String },
}

/// An issuer and its sealed key, ready to be kept.
pub(crate) struct Kept {
    pub(crate) id: String,
    pub(crate) certificate: Vec<u8>,
    pub(crate) sealed_key: Vec<u8>,
    pub(crate) spki: [u8; 32],
    pub(crate) not_before: u64,
    pub(crate) not_after: u64,
}

impl Kept {
    /// Of an issuer whose key was sealed under its name.
    pub(crate) fn of(id: String, issuer: &Issuer, sealed_key: Vec<u8>) -> Self {
        Self {
            id,
            certificate: issuer.certificate().to_vec(),
            sealed_key,
            spki: issuer.spki_sha256(),
            not_before: issuer.not_before(),
            not_after: issuer.not_after(),
        }
    }

    /// Puts it into a free slot.
    pub(crate) fn prepare(
        &self,
        tx: &mut Tx<'_>,
        writer: writer::Epoch,
        actor: &str,
        now: u64,
    ) -> Result<(), Error> {
        let slot = free_slot(tx, writer, Kind::Issuer, now)?;
        let new = NewAuthority {
            id: &self.id,
            kind: Kind::Issuer,
            slot,
            certificate: &self.certificate,
            sealed_key: Some(&self.sealed_key),
            spki: &self.spki,
            not_before: self.not_before,
            not_after: self.not_after,
        };
        authorities::prepare(tx, writer, &new, now)?;
        requests::remove(tx, &self.id)?;
        let details = json!({
            "kind": "issuer", "slot": slot.word(), "spki_sha256": hex::of(&self.spki), "not_after": self.not_after,
        });
        event::tell(tx, Event::AuthorityPrepared, actor, &self.id, &details)?;
        Ok(())
    }
}

impl Control {
    /// Makes the key of the next issuing authority, and has it signed if the root is at hand.
    ///
    /// # Errors
    /// [`Error::Conflict`] if both slots are taken; those of files, signing and the store.
    pub(crate) async fn prepare(&self, actor: &str, urgency: Urgency) -> Result<Prepared, Error> {
        let id = rest::registrations::random_id()?;
        let key = SoftwareKey::generate()?;
        let sealed = self.sealing.seal(&sealing_label(&id), key.pkcs8())?;
        let Some(directory) = &self.config.authority.root else {
            let csr = pem::request(&csr::request(&key)?);
            let request = waiting(&id, &key, sealed, actor);
            self.store
                .try_write(move |tx| keep_request(tx, &request))
                .await?;
            return Ok(Prepared::Request { id, csr });
        };
        let root = root::load(directory)?;
        let certificate = root.sign_issuer(
            &self.home.cluster,
            &ProvenKey::of(&key),
            self.config.authority.lifetime,
            clock::now(),
        )?;
        let issuer = Issuer::load(certificate, key)?;
        self.keep_prepared(
            actor,
            Kept::of(id.clone(), &issuer, sealed),
            &issuer,
            urgency,
        )
        .await?;
        Ok(Prepared::Ready(id))
    }

    /// Takes the certificate that the root signed for a request.
    ///
    /// # Errors
    /// [`Error::NotFound`] if nothing was requested under this name, [`Error::Identity`] if it does not fit.
    pub(crate) async fn import(
        &self,
        actor: &str,
        id: &str,
        certificate: &str,
    ) -> Result<(), Error> {
        let unknown = || Error::not_found("request for an authority", id);
        hex::read::<8>(id).ok_or_else(unknown)?;
        let name = id.to_owned();
        let found = self
            .store
            .read(move |tx| requests::get(tx, &name, clock::seconds()))
            .await?;
        let sealed = match found {
            Some(request) => request.sealed_key,
            // The release before this one kept it in the directory of the replica that was asked.
            None if self.request_file(id).exists() => {
                files::read_secret(&self.request_file(id), 16 * 1024)?.to_vec()
            }
            None => return Err(unknown()),
        };
        let key = self.sealing.open(&sealing_label(id), &sealed)?;
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(|_| {
            Error::Invalid("certificate: wanted one CERTIFICATE block (PEM)".to_owned())
        })?;
        let issuer = Issuer::load(certificate, SoftwareKey::from_pkcs8(&key)?)?;
        let kept = Kept::of(id.to_owned(), &issuer, sealed);
        self.keep_prepared(actor, kept, &issuer, Urgency::Ordinary)
            .await?;
        let _ = std::fs::remove_file(self.request_file(id));
        Ok(())
    }

    async fn keep_prepared(
        &self,
        actor: &str,
        kept: Kept,
        issuer: &Issuer,
        urgency: Urgency,
    ) -> Result<(), Error> {
        self.check_ours(issuer)?;
        let actor = actor.to_owned();
        let work = move |tx: &mut Tx<'_>, writer, now| kept.prepare(tx, writer, &actor, now);
        self.as_writer(urgency, work).await?;
        self.refresh().await
    }

    /// An authority of another cluster, or under a root that agents do not have, would sign what everybody refuses.
    fn check_ours(&self, issuer: &Issuer) -> Result<(), Error> {
        if *issuer.trust_domain() != self.home.trust_domain || issuer.cluster() != self.home.cluster
        {
            return Err(Error::Invalid(format!(
                "certificate: found an authority of cluster {:?} of {}, wanted one of {}",
                issuer.cluster(),
                issuer.trust_domain(),
                self.home.scope
            )));
        }
        let news = self.news.borrow().clone();
        let roots: Vec<_> = news
            .bundle
            .roots
            .iter()
            .map(|der| CertificateDer::from(der.as_slice()))
            .collect();
        let bundle = Bundle::new(self.home.trust_domain.clone(), &roots)?;
        Ok(issuer.check_under(&bundle, clock::now())?)
    }

    fn request_file(&self, id: &str) -> PathBuf {
        self.config
            .directory
            .join(format!("authority-{id}.request"))
    }

    /// Signs with this authority from now on.
    ///
    /// # Errors
    /// [`Error::Conflict`] if its state does not allow it, or (unless `force`) if some agents lack the root above it;
    /// [`Error::Identity`] if all agents would refuse what it signs.
    pub(crate) async fn activate(
        &self,
        actor: &str,
        id: &str,
        force: bool,
        urgency: Urgency,
    ) -> Result<(), Error> {
        let name = id.to_owned();
        let found = self
            .store
            .read(move |tx| authorities::get(tx, &name))
            .await?;
        let found = found.filter(|one| one.kind == Kind::Issuer);
        let found = found.ok_or_else(|| Error::not_found("issuing authority", id))?;
        self.check_ours(&self.open_issuer(&found)?)?;
        let actor = actor.to_owned();
        let epoch = self.news.borrow().epoch;
        let work = move |tx: &mut Tx<'_>, writer, now| {
            // The root goes first: nothing must be signed under one that is not the active one.
            if let Some(root) = roots::above(tx, &found)?.filter(|root| root.state != State::Active)
            {
                if !force {
                    roots::check_adoption(tx, &root, epoch, now)?;
                }
                roots::activate(tx, writer, &root, &actor, now)?;
            }
            authorities::activate(tx, writer, &found.id, now)?;
            let details = json!({ "kind": "issuer", "spki_sha256": hex::of(&found.spki) });
            event::tell(tx, Event::AuthorityActivated, &actor, &found.id, &details)?;
            Ok(())
        };
        self.as_writer(urgency, work).await?;
        self.refresh().await
    }

    /// Has everything replaced that this authority signed. If it is the active one, another takes its place first.
    ///
    /// # Errors
    /// [`Error::Conflict`] if it is the active one and no other can take its place.
    pub(crate) async fn taint(&self, by: &By, id: &str) -> Result<(), Error> {
        self.replace_if_active(&by.actor, id).await?;
        let (name, by) = (id.to_owned(), by.clone());
        let work = move |tx: &mut Tx<'_>, writer, now| {
            by.spend(tx, now)?;
            let found = authorities::set_state(tx, writer, &name, State::Tainted, now)?;
            let details = json!({ "kind": found.kind.word(), "spki_sha256": hex::of(&found.spki) });
            event::tell(tx, Event::AuthorityTainted, &by.actor, &name, &details)?;
            Ok(())
        };
        self.as_writer(Urgency::Urgent, work).await?;
        self.refresh().await
    }

    /// Denies everything that this authority signed.
    ///
    /// # Errors
    /// As [`Control::taint`].
    pub(crate) async fn revoke_authority(&self, by: &By, id: &str) -> Result<(), Error> {
        self.replace_if_active(&by.actor, id).await?;
        let (name, asked) = (id.to_owned(), by.clone());
        let work = move |tx: &mut Tx<'_>, writer, now| {
            asked.spend(tx, now)?;
            let found = authorities::set_state(tx, writer, &name, State::Revoked, now)?;
            let details = json!({ "kind": found.kind.word(), "spki_sha256": hex::of(&found.spki) });
            event::tell(tx, Event::AuthorityRevoked, &asked.actor, &name, &details)?;
            Ok(found.spki)
        };
        let spki = self.as_writer(Urgency::Urgent, work).await?;
        self.deny(
            by,
            Target::Issuer(spki),
            &format!("authority {id} was revoked"),
        )
        .await?;
        Ok(())
    }

    async fn replace_if_active(&self, actor: &str, id: &str) -> Result<(), Error> {
        let name = id.to_owned();
        let all = self.store.read(authorities::list).await?;
        let active = all
            .iter()
            .any(|one| one.id == name && one.state == State::Active && one.kind == Kind::Issuer);
        if !active {
            return Ok(());
        }
        let ready = all
            .iter()
            .find(|one| one.kind == Kind::Issuer && one.state == State::Prepared)
            .filter(|one| clock::seconds() < one.not_after);
        if let Some(ready) = ready {
            return self
                .activate(actor, &ready.id, false, Urgency::Needed)
                .await;
        }
        let elsewhere = || {
            Error::Conflict(format!(
                "authority {id} is the active one, and the root is elsewhere: prepare the next one first (skans ca rotate)"
            ))
        };
        if self.config.authority.root.is_none() {
            return Err(elsewhere());
        }
        match self.prepare(actor, Urgency::Needed).await? {
            Prepared::Ready(next) => self.activate(actor, &next, false, Urgency::Needed).await,
            Prepared::Request { .. } => Err(elsewhere()),
        }
    }
}

/// A key that waits for its certificate, to be kept.
pub(crate) fn waiting(id: &str, key: &SoftwareKey, sealed_key: Vec<u8>, actor: &str) -> Request {
    let now = clock::seconds();
    Request {
        id: id.to_owned(),
        sealed_key,
        spki: key.spki_sha256(),
        actor: actor.to_owned(),
        created: now,
        expires: now.saturating_add(REQUEST),
    }
}

/// Keeps it, so that any replica can take its certificate.
///
/// # Errors
/// Those of the store.
pub(crate) fn keep_request(tx: &mut Tx<'_>, request: &Request) -> Result<(), Error> {
    requests::add(tx, request)?;
    let details = json!({ "kind": "issuer", "spki_sha256": hex::of(&request.spki), "expires": request.expires });
    event::tell(
        tx,
        Event::AuthorityRequested,
        &request.actor,
        &request.id,
        &details,
    )?;
    Ok(())
}

/// A slot that nothing is in; of what has run out, the slot is taken.
pub(crate) fn free_slot(
    tx: &mut Tx<'_>,
    writer: writer::Epoch,
    kind: Kind,
    now: u64,
) -> Result<Slot, Error> {
    let all = authorities::list(tx)?;
    let mut taken: Vec<&Authority> = all
        .iter()
        .filter(|one| one.kind == kind && one.state.takes_slot())
        .collect();
    // Of two that have run out, the active one stays: another takes over from it.
    taken.sort_by_key(|one| one.state == State::Active);
    let free = [Slot::A, Slot::B]
        .into_iter()
        .find(|slot| !taken.iter().any(|one| one.slot == *slot));
    if let Some(slot) = free {
        return Ok(slot);
    }
    let mut until = 0;
    for one in taken {
        let over = match one.state {
            _ if one.not_after < now => true,
            State::Retired if kind == Kind::Issuer => {
                let last = certificates::valid_until(tx, &Which::Issuer(&one.spki), now)?;
                until = last.unwrap_or(0);
                last.is_none()
            }
            _ => false,
        };
        if over {
            authorities::set_state(tx, writer, &one.id, State::Expired, now)?;
            let details = json!({ "kind": kind.word() });
            event::tell(tx, Event::AuthorityExpired, "control", &one.id, &details)?;
            return Ok(one.slot);
        }
    }
    Err(Error::Conflict(format!(
        "both slots are taken: one is free when what a former authority signed has run out (Unix time {until})"
    )))
}

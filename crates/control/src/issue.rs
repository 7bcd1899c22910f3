//! From a decision to a certificate: signed, kept with its event, and only then handed out.
//!
//! Who may have which is decided in `registered` and `enrol`; the shape of a certificate is the template wall's.

use std::time::Duration;

use rustls::pki_types::CertificateDer;
use serde_json::json;
use skans_identity::csr::ProvenKey;
use skans_identity::deny::Target;
use skans_identity::host::Host;
use skans_identity::id::SpiffeId;
use skans_identity::node_name::NodeName;
use skans_identity::peer::PeerIdentity;
use skans_store::certificates::{self, Certificate};
use skans_store::{Tx, deny};

use crate::caller::sha256;
use crate::clock;
use crate::error::Error;
use crate::event::{self, Kind};
use crate::hex;
use crate::state::Control;

/// Whom a certificate is for.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) id: SpiffeId,
    pub(crate) host: Option<Host>,
    pub(crate) key: ProvenKey,
    pub(crate) lifetime: Duration,
    /// Whose connection it came over; for a person, the token that they enrolled with.
    pub(crate) agent: String,
    /// Who answers for it.
    pub(crate) owner: String,
}

/// A certificate that nobody has got yet.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) row: Certificate,
    /// What would have to be denied for it to be refused.
    targets: Vec<Target>,
    /// Up to which entry of the deny stream these were looked up.
    checked: u64,
}

impl Control {
    /// Signs a leaf. It must be kept by [`keep`] before anybody gets it. Takes a tenth of a millisecond; blocks for longer
    /// where the key is elsewhere.
    ///
    /// # Errors
    /// [`Error::NoAuthority`], [`Error::Denied`] if the deny stream forbids it, [`Error::Identity`].
    pub(crate) fn sign(&self, subject: &Subject) -> Result<Signed, Error> {
        let issuer = self.issuer_for(&subject.agent)?;
        let now = clock::now();
        let host = subject.host.as_ref();
        let issued = issuer.sign(&subject.id, host, &subject.key, subject.lifetime, now)?;
        let Some(leaf) = issued.chain.first() else {
            return Err(Error::Internal("an empty chain".to_owned()));
        };
        let issuer_spki = issuer.spki_sha256();
        let checked = self.news.borrow().chain.seq();
        let identity = PeerIdentity::from_der(leaf).map_err(|refusal| {
            Error::Internal(format!("a leaf that would be refused: {refusal}"))
        })?;
        let trust = self.verifier.trust().load();
        if let Some(by) = trust.deny.denies(&identity, &[issuer_spki]) {
            return Err(denied(&subject.id, by));
        }
        let row = Certificate {
            serial: serial(&issued.serial)?,
            leaf_hash: sha256(leaf),
            spki: issued.spki_sha256,
            spiffe_id: subject.id.to_string(),
            host: host.map(ToString::to_string).unwrap_or_default(),
            issuer_spki,
            not_before: issued.not_before,
            not_after: issued.not_after,
            agent: subject.agent.clone(),
            owner: subject.owner.clone(),
            issued_at: now.as_secs(),
            revoked_at: None,
            der: leaf.to_vec(),
        };
        let mut targets = vec![
            Target::Id(subject.id.clone()),
            Target::Key(row.spki),
            Target::Issuer(issuer_spki),
            Target::Key(issuer_spki),
        ];
        targets.extend(identity.node_name().map(Target::Node));
        Ok(Signed {
            chain: issued.chain,
            row,
            targets,
            checked,
        })
    }
}

/// Keeps a certificate, with its event, unless something that was denied since it was signed forbids it.
///
/// # Errors
/// [`Error::Denied`], and those of the store: then nobody must get it.
pub(crate) fn keep(tx: &mut Tx<'_>, signed: &Signed, actor: &str) -> Result<(), Error> {
    let row = &signed.row;
    // The rule: what this replica knew when it signed. Others may have denied since; only then it takes a look at each.
    if deny::tail(tx)?.seq != signed.checked {
        for target in &signed.targets {
            if in_force(tx, target, row.issued_at)? {
                let id = SpiffeId::parse(&row.spiffe_id)?;
                return Err(denied(&id, target.label()));
            }
        }
    }
    certificates::insert(tx, row)?;
    let details = json!({
        "serial": hex::of(&row.serial),
        "fingerprint_sha256": hex::of(&row.leaf_hash),
        "spki_sha256": hex::of(&row.spki),
        "issuer_spki_sha256": hex::of(&row.issuer_spki),
        "host": row.host,
        "not_before": row.not_before,
        "not_after": row.not_after,
        "agent": row.agent,
    });
    event::tell(tx, Kind::CertificateIssued, actor, &row.spiffe_id, &details)?;
    Ok(())
}

/// Whether an entry against this target is in force: not lifted, not run out.
pub(crate) fn in_force(tx: &mut Tx<'_>, target: &Target, now: u64) -> Result<bool, Error> {
    const MOST: usize = 100;
    let entries = deny::against(tx, &target.text(), MOST)?;
    for entry in &entries {
        let same = entry.kind == target.kind();
        if !same || (entry.until != 0 && entry.until < now) {
            continue;
        }
        let lift = Target::Allow(entry.seq);
        let lifts = deny::against(tx, &lift.text(), MOST)?;
        if !lifts.iter().any(|one| one.kind == lift.kind()) {
            return Ok(true);
        }
    }
    // More than anybody looked at: refuse.
    Ok(entries.len() >= MOST)
}

fn denied(id: &SpiffeId, by: &str) -> Error {
    Error::Revoked(format!("{id} is denied by {by}: it gets no certificate"))
}

fn serial(text: &str) -> Result<Vec<u8>, Error> {
    hex::read::<16>(text)
        .map(Vec::from)
        .ok_or_else(|| Error::Internal("a serial number that is not 16 bytes".to_owned()))
}

/// The name of a node, or of the short-lived nodes of a host, as an agent asks for it.
pub(crate) fn node_name(text: &str) -> Result<NodeName, Error> {
    Ok(NodeName::parse(text)?)
}

//! Heads: what the control plane signs every 10 s, and the checks before one is believed. Who sent it does not matter.
//!
//! The format is recorded in `docs/decisions/0012-revocation-on-the-wire.md`. How old a head may be is decided by those
//! who act on it.

mod horizon;
#[cfg(test)]
pub(crate) mod tests;

use core::time::Duration;

use rustls::SignatureScheme;
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::EndEntityCert;
use webpki::aws_lc_rs::ECDSA_P256_SHA256;

use crate::credential::Credential;
use crate::error::{Error, shown};
use crate::id::{self, MAX_PART, MAX_TRUST_DOMAIN, Role, TrustDomain};
use crate::leaf::MAX_CERTIFICATE;
use crate::refusal::Refusal;
use crate::template::BACKDATE;
use crate::verify::{Evidence, MAX_CHAIN, Usage, Verifier};
use crate::wire::{Reader, is_plain, put_bytes};

pub use horizon::{Horizon, Mark};

/// Longest checkpoint in bytes. Ours: a C2SP checkpoint with a few signatures.
pub const MAX_CHECKPOINT: usize = 1024;
/// Longest encoded head in bytes.
pub const MAX_HEAD: usize = 4 + 5 * 8 + 32 + 3 * 2 + MAX_TRUST_DOMAIN + MAX_PART + MAX_CHECKPOINT;

const MAGIC: &[u8; 4] = b"SKH1";
const SIGNED_MAGIC: &[u8; 4] = b"SKG1";
const WHAT: &str = "head";
/// Longest ECDSA P-256 signature in DER: two integers of 33 bytes with their frames.
const MAX_SIGNATURE: usize = 72;

/// What the control plane says is the newest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Counts restores of the control plane from a backup.
    pub epoch: u64,
    /// The number of the last deny entry; 0 before the first.
    pub deny_seq: u64,
    /// Its hash; zeros before the first.
    pub deny_hash: [u8; 32],
    /// The version of the bundle.
    pub bundle: u64,
    /// The version of the policy set.
    pub policy: u64,
    /// When it was signed, Unix time in seconds.
    pub time: u64,
    /// For whom it is meant.
    pub trust_domain: TrustDomain,
    /// For which cluster it is meant.
    pub cluster: String,
    /// A checkpoint of the audit log; empty if there is none.
    pub checkpoint: String,
}

impl Head {
    /// Reads a head.
    ///
    /// # Errors
    /// [`Error::Encoding`] if it is of another version, cut short, followed by anything, or a field is too long;
    /// [`Error::Name`] if trust domain or cluster are none.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(WHAT, bytes);
        reader.magic(MAGIC)?;
        let head = Self {
            epoch: reader.u64()?,
            deny_seq: reader.u64()?,
            deny_hash: reader.array()?,
            bundle: reader.u64()?,
            policy: reader.u64()?,
            time: reader.u64()?,
            trust_domain: TrustDomain::parse(reader.text(MAX_TRUST_DOMAIN)?)?,
            cluster: reader.text(MAX_PART)?.to_owned(),
            checkpoint: reader.text(MAX_CHECKPOINT)?.to_owned(),
        };
        reader.end()?;
        head.check()?;
        Ok(head)
    }

    /// The head as it is signed.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&self.epoch.to_be_bytes());
        out.extend_from_slice(&self.deny_seq.to_be_bytes());
        out.extend_from_slice(&self.deny_hash);
        out.extend_from_slice(&self.bundle.to_be_bytes());
        out.extend_from_slice(&self.policy.to_be_bytes());
        out.extend_from_slice(&self.time.to_be_bytes());
        put_bytes(&mut out, self.trust_domain.as_str().as_bytes());
        put_bytes(&mut out, self.cluster.as_bytes());
        put_bytes(&mut out, self.checkpoint.as_bytes());
        out
    }

    /// What never goes back.
    #[must_use]
    pub const fn mark(&self) -> Mark {
        Mark {
            epoch: self.epoch,
            deny_seq: self.deny_seq,
        }
    }

    fn check(&self) -> Result<(), Error> {
        id::check_cluster(&self.cluster)?;
        let lines = self.checkpoint.split('\n');
        if self.checkpoint.len() > MAX_CHECKPOINT
            || !lines.into_iter().all(|line| is_plain(line, MAX_CHECKPOINT))
        {
            return Err(Error::Encoding {
                what: WHAT,
                found: format!("a checkpoint {}", shown(&self.checkpoint)),
                wanted: "at most 1024 bytes of lines",
            });
        }
        if self.epoch == 0 {
            return Err(Error::Encoding {
                what: WHAT,
                found: "epoch 0".into(),
                wanted: "an epoch from 1",
            });
        }
        Ok(())
    }

    fn signed_bytes(encoded: &[u8]) -> Vec<u8> {
        [b"skans-head-v1\0".as_slice(), encoded].concat()
    }
}

/// A head, its signature and the chain of who signed it: as it travels. Nothing about it was checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHead {
    /// The encoded head.
    pub head: Vec<u8>,
    /// ECDSA P-256 with SHA-256 over `"skans-head-v1" 0 head`, in DER.
    pub signature: Vec<u8>,
    /// Of `/skans/control/<id>`, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
}

/// For whom a head must be meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audience {
    /// Our trust domain.
    pub trust_domain: TrustDomain,
    /// Our cluster.
    pub cluster: String,
}

impl SignedHead {
    /// Signs a head with the control plane's own leaf.
    ///
    /// # Errors
    /// [`Error::Encoding`] if a field of the head is too long, or `credential` is not one of `/skans/control/*` with an ECDSA
    /// P-256 key; [`Error::Crypto`] if the key will not sign.
    pub fn sign(head: &Head, credential: &Credential) -> Result<Self, Error> {
        head.check()?;
        let unfit = |found: String| Error::Encoding {
            what: WHAT,
            found,
            wanted: "a leaf of /skans/control/ID with an ECDSA P-256 key, to sign with",
        };
        let id = &credential.identity().id;
        if !matches!(id.role(), Some(Role::Control(_))) {
            return Err(unfit(format!("a leaf of {id}")));
        }
        let encoded = head.encode();
        let signature = credential
            .certified_key()
            .key
            .choose_scheme(&[SignatureScheme::ECDSA_NISTP256_SHA256])
            .ok_or_else(|| unfit("a key of another kind".into()))?
            .sign(&Head::signed_bytes(&encoded))
            .map_err(|_| Error::Crypto {
                doing: "sign a head",
            })?;
        Ok(Self {
            head: encoded,
            signature,
            chain: credential.chain().to_vec(),
        })
    }

    /// Checks everything about a head: that its chain verifies as a peer's would now, that its leaf is that of a control
    /// plane of our trust domain and of our cluster, that it signed these bytes, that they are meant for us, and that they
    /// are not from the future by more than clocks may differ (60 s, as for certificates).
    ///
    /// # Errors
    /// A [`Refusal`]: of the chain, [`Refusal::NotControl`], or [`Refusal::Statement`].
    pub fn verify(
        self,
        verifier: &Verifier,
        audience: &Audience,
        now: UnixTime,
    ) -> Result<VerifiedHead, Refusal> {
        let signer = verifier.evidence(&self.chain, Usage::Server, now)?;
        check_control(&signer, audience)?;
        let leaf = self.chain.first().ok_or(Refusal::NoCertificate)?;
        EndEntityCert::try_from(leaf)
            .and_then(|leaf| {
                let message = Head::signed_bytes(&self.head);
                leaf.verify_signature(ECDSA_P256_SHA256, &message, &self.signature)
            })
            .map_err(|_| {
                let found = "a signature that does not fit its bytes and its chain";
                refused(found.into(), "one by the key of its leaf")
            })?;
        let head = Head::decode(&self.head)
            .map_err(|error| refused(error.to_string(), "one that can be read"))?;
        if head.trust_domain != audience.trust_domain || head.cluster != audience.cluster {
            let found = format!("for {} in {}", shown(&head.cluster), head.trust_domain);
            return Err(refused(found, "one for our cluster and trust domain"));
        }
        let latest = now.as_secs().saturating_add(BACKDATE);
        if head.time > latest {
            let found = format!("signed at {}, now is {}", head.time, now.as_secs());
            return Err(refused(found, "one from the past (clocks?)"));
        }
        Ok(VerifiedHead {
            head,
            signer,
            signed: self,
        })
    }

    /// The signed head as one piece, for a link or a file: `"SKG1" head signature count:8 certificates`, each with its length
    /// of 16 bits in front.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(2048);
        out.extend_from_slice(SIGNED_MAGIC);
        put_bytes(&mut out, &self.head);
        put_bytes(&mut out, &self.signature);
        out.push(u8::try_from(self.chain.len()).unwrap_or(u8::MAX));
        for certificate in &self.chain {
            put_bytes(&mut out, certificate);
        }
        out
    }

    /// Reads what [`SignedHead::encode`] wrote. Nothing is verified.
    ///
    /// # Errors
    /// [`Error::Encoding`] if it is cut short, followed by anything, or a part is larger than it may be.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new("signed head", bytes);
        reader.magic(SIGNED_MAGIC)?;
        let head = reader.bytes(MAX_HEAD)?.to_vec();
        let signature = reader.bytes(MAX_SIGNATURE)?.to_vec();
        let count = usize::from(reader.u8()?);
        if !(1..=MAX_CHAIN).contains(&count) {
            return Err(reader.bad(format!("{count} certificates"), "1 to 4"));
        }
        let mut chain = Vec::with_capacity(count);
        for _ in 0..count {
            chain.push(CertificateDer::from(
                reader.bytes(MAX_CERTIFICATE)?.to_vec(),
            ));
        }
        reader.end()?;
        Ok(Self {
            head,
            signature,
            chain,
        })
    }
}

fn refused(found: String, wanted: &'static str) -> Refusal {
    Refusal::Statement {
        what: WHAT,
        found,
        wanted,
    }
}

/// A control plane of our trust domain, whose leaf the issuer of our own cluster signed: clusters may share a root, and
/// one's control plane must not speak for another's.
pub(crate) fn check_control(signer: &Evidence, audience: &Audience) -> Result<(), Refusal> {
    let id = &signer.peer.id;
    if !matches!(id.role(), Some(Role::Control(_))) || *id.trust_domain() != audience.trust_domain {
        return Err(Refusal::NotControl { id: id.clone() });
    }
    if signer.cluster.as_ref() != Some(&audience.cluster) {
        return Err(Refusal::OtherCluster {
            id: id.clone(),
            issuer: signer.cluster.as_deref().map_or("none".into(), shown),
        });
    }
    Ok(())
}

/// A head that the control plane of our cluster signed, with a chain that was in order when it was checked.
/// [`SignedHead::verify`] is the only way to one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedHead {
    head: Head,
    signer: Evidence,
    signed: SignedHead,
}

impl VerifiedHead {
    /// What it says.
    #[must_use]
    pub const fn head(&self) -> &Head {
        &self.head
    }

    /// Who signed it: when trust changes, ask [`Verifier::recheck`] whether that still holds.
    #[must_use]
    pub const fn signer(&self) -> &Evidence {
        &self.signer
    }

    /// The head as it came, to be handed on.
    #[must_use]
    pub const fn signed(&self) -> &SignedHead {
        &self.signed
    }

    /// How long ago it was signed; zero if our clock lags behind.
    #[must_use]
    pub const fn age(&self, now: UnixTime) -> Duration {
        Duration::from_secs(now.as_secs().saturating_sub(self.head.time))
    }

    /// Whether it says more than another one: a higher mark, or the same at a later time.
    #[must_use]
    pub fn is_newer_than(&self, other: &Self) -> bool {
        let order = |of: &Self| (of.head.mark(), of.head.time);
        order(self) > order(other)
    }
}

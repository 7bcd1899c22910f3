//! Recovery statements: what lets a control plane that was restored from a backup begin a new epoch.
//!
//! Signed by the root. Without one, heads of a new epoch are refused, so that whoever plays an old database again undoes no
//! revocation. People cannot sign one, not even two owners: the old database has the issuing authority in it, which makes people,
//! and an agent does not know who is an owner.

#[cfg(test)]
pub(crate) mod tests;

use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::aws_lc_rs::ECDSA_P256_SHA256;

use crate::authority::Root;
use crate::error::{Error, shown};
use crate::head::{Audience, Mark};
use crate::id::{self, MAX_PART, MAX_TRUST_DOMAIN, TrustDomain};
use crate::leaf::{self, MAX_CERTIFICATE};
use crate::refusal::Refusal;
use crate::signer::Signer;
use crate::template::BACKDATE;
use crate::verify::{MAX_CHAIN, Verifier};
use crate::wire::{Reader, put_bytes};

/// Most signatures on one statement: while a root is replaced, both may sign; more prove nothing more.
pub const MAX_SIGNATURES: usize = 4;

const MAGIC: &[u8; 4] = b"SKR1";
const SIGNED_MAGIC: &[u8; 4] = b"SKT1";
const WHAT: &str = "recovery statement";
const MAX_STATEMENT: usize = 4 + 3 * 8 + 2 * 2 + MAX_TRUST_DOMAIN + MAX_PART;
const MAX_SIGNATURE: usize = 72;

/// "From here on, the epoch of this cluster is this one."
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// The new epoch: above all that were seen.
    pub epoch: u64,
    /// The number of the last deny entry that the restored control plane holds.
    pub deny_seq: u64,
    /// When it was signed, Unix time in seconds.
    pub time: u64,
    /// For whom it is meant.
    pub trust_domain: TrustDomain,
    /// For which cluster it is meant.
    pub cluster: String,
}

impl Recovery {
    /// Reads a statement.
    ///
    /// # Errors
    /// [`Error::Encoding`] if it is of another version, cut short or followed by anything; [`Error::Name`] if trust domain
    /// or cluster are none.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(WHAT, bytes);
        reader.magic(MAGIC)?;
        let statement = Self {
            epoch: reader.u64()?,
            deny_seq: reader.u64()?,
            time: reader.u64()?,
            trust_domain: TrustDomain::parse(reader.text(MAX_TRUST_DOMAIN)?)?,
            cluster: reader.text(MAX_PART)?.to_owned(),
        };
        reader.end()?;
        id::check_cluster(&statement.cluster)?;
        Ok(statement)
    }

    /// The statement as it is signed: `"SKR1" epoch:64 deny_seq:64 time:64 trust_domain:text cluster:text`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&self.epoch.to_be_bytes());
        out.extend_from_slice(&self.deny_seq.to_be_bytes());
        out.extend_from_slice(&self.time.to_be_bytes());
        put_bytes(&mut out, self.trust_domain.as_str().as_bytes());
        put_bytes(&mut out, self.cluster.as_bytes());
        out
    }

    /// Where the new epoch begins.
    #[must_use]
    pub const fn mark(&self) -> Mark {
        Mark {
            epoch: self.epoch,
            deny_seq: self.deny_seq,
        }
    }
}

/// One signature: the signer's certificate and ECDSA P-256 with SHA-256 over `"skans-recovery-v1" 0 statement`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Of the root, its certificate alone. A longer one is a person's, and is refused.
    pub chain: Vec<CertificateDer<'static>>,
    /// In DER.
    pub signature: Vec<u8>,
}

impl Signature {
    /// Signs as the root.
    ///
    /// # Errors
    /// [`Error::Crypto`] if its key will not sign.
    pub fn by_root<K: Signer>(statement: &Recovery, root: &Root<K>) -> Result<Self, Error> {
        Ok(Self {
            signature: root.key().sign(&signed_bytes(&statement.encode()))?,
            chain: vec![root.certificate().clone()],
        })
    }
}

/// A statement and its signatures: as it travels. Nothing about it was checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedRecovery {
    /// The encoded statement.
    pub statement: Vec<u8>,
    /// At most [`MAX_SIGNATURES`].
    pub signatures: Vec<Signature>,
}

impl SignedRecovery {
    /// Checks everything about a statement: that it is meant for us, is not from the future, and that a root of our bundle
    /// signed it. Its signature does not age.
    ///
    /// # Errors
    /// A [`Refusal`], mostly [`Refusal::Statement`].
    pub fn verify(
        &self,
        verifier: &Verifier,
        audience: &Audience,
        now: UnixTime,
    ) -> Result<VerifiedRecovery, Refusal> {
        let statement = Recovery::decode(&self.statement)
            .map_err(|error| refused(error.to_string(), "one that can be read"))?;
        if statement.trust_domain != audience.trust_domain || statement.cluster != audience.cluster
        {
            let found = format!(
                "for {} in {}",
                shown(&statement.cluster),
                statement.trust_domain
            );
            return Err(refused(found, "one for our cluster and trust domain"));
        }
        if statement.time > now.as_secs().saturating_add(BACKDATE) {
            let found = format!("signed at {}, now is {}", statement.time, now.as_secs());
            return Err(refused(found, "one from the past (clocks?)"));
        }
        if self.signatures.len() > MAX_SIGNATURES {
            let found = format!("{} signatures", self.signatures.len());
            return Err(refused(found, "at most 4"));
        }
        let message = signed_bytes(&self.statement);
        let mut refusal = refused("no signature".into(), "that of a root of our bundle");
        for signature in &self.signatures {
            let [root] = signature.chain.as_slice() else {
                refusal = refused(
                    "signed by a person".into(),
                    "the signature of a root: who is an owner, only the database knows that is in question",
                );
                continue;
            };
            match check_root(verifier, audience, root, &message, signature, now) {
                Ok(()) => return Ok(VerifiedRecovery(statement)),
                Err(why) => refusal = why,
            }
        }
        Err(refusal)
    }

    /// The signed statement as one piece: `"SKT1" statement count:8 { signature count:8 certificates }*`, each part with its
    /// length of 16 bits in front.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = SIGNED_MAGIC.to_vec();
        put_bytes(&mut out, &self.statement);
        out.push(u8::try_from(self.signatures.len()).unwrap_or(u8::MAX));
        for Signature { chain, signature } in &self.signatures {
            put_bytes(&mut out, signature);
            out.push(u8::try_from(chain.len()).unwrap_or(u8::MAX));
            for certificate in chain {
                put_bytes(&mut out, certificate);
            }
        }
        out
    }

    /// Reads what [`SignedRecovery::encode`] wrote. Nothing is verified.
    ///
    /// # Errors
    /// [`Error::Encoding`] if it is cut short, followed by anything, or a part is larger than it may be.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(WHAT, bytes);
        reader.magic(SIGNED_MAGIC)?;
        let statement = reader.bytes(MAX_STATEMENT)?.to_vec();
        let count = usize::from(reader.u8()?);
        if count > MAX_SIGNATURES {
            return Err(reader.bad(format!("{count} signatures"), "at most 4"));
        }
        let mut signatures = Vec::with_capacity(count);
        for _ in 0..count {
            let signature = reader.bytes(MAX_SIGNATURE)?.to_vec();
            let count = usize::from(reader.u8()?);
            if !(1..=MAX_CHAIN).contains(&count) {
                return Err(reader.bad(format!("{count} certificates"), "1 to 4"));
            }
            let mut chain = Vec::with_capacity(count);
            for _ in 0..count {
                let certificate = reader.bytes(MAX_CERTIFICATE)?.to_vec();
                chain.push(CertificateDer::from(certificate));
            }
            signatures.push(Signature { chain, signature });
        }
        reader.end()?;
        Ok(Self {
            statement,
            signatures,
        })
    }
}

/// A recovery statement that may be acted on. [`SignedRecovery::verify`] is the only way to one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedRecovery(Recovery);

impl VerifiedRecovery {
    /// What it says.
    #[must_use]
    pub const fn statement(&self) -> &Recovery {
        &self.0
    }
}

fn signed_bytes(statement: &[u8]) -> Vec<u8> {
    [b"skans-recovery-v1\0".as_slice(), statement].concat()
}

fn refused(found: String, wanted: &'static str) -> Refusal {
    Refusal::Statement {
        what: WHAT,
        found,
        wanted,
    }
}

const UNSIGNED: (&str, &str) = (
    "a signature that does not fit its bytes and its chain",
    "one by the key of its first certificate",
);

/// The root itself: its very certificate must stand in our bundle and be valid now, and its key must not be denied.
fn check_root(
    verifier: &Verifier,
    audience: &Audience,
    root: &CertificateDer<'_>,
    message: &[u8],
    signature: &Signature,
    now: UnixTime,
) -> Result<(), Refusal> {
    let trust = verifier.trust().load();
    let bundle =
        trust
            .bundles
            .get(&audience.trust_domain)
            .ok_or_else(|| Refusal::UnknownTrustDomain {
                found: audience.trust_domain.clone(),
            })?;
    let certificate = leaf::parse(root)?;
    let key = crate::keys::sha256(certificate.public_key().raw);
    let known = bundle.roots().any(|held| held == root) && bundle.holds_at(&key, now);
    if !known || trust.deny.keys.contains(&key) || trust.deny.issuers.contains(&key) {
        let found = "signed by a root that is not trusted now";
        return Err(refused(found.into(), "a root of our bundle"));
    }
    let point = &certificate.public_key().subject_public_key.data;
    ECDSA_P256_SHA256
        .verify_signature(point, message, &signature.signature)
        .map_err(|_| refused(UNSIGNED.0.into(), UNSIGNED.1))
}

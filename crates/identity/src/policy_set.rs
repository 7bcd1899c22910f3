//! Signed policy sets: who signed which content, for which cluster, in which order, until when. What the content means is
//! not known here.
//!
//! The format is recorded in `docs/decisions/0015-policy-sets.md`. Authors sign the content; the control plane signs the
//! content with its authors, its place in the order and its life, again and again.

mod horizon;
#[cfg(test)]
mod tests;

use core::fmt;

use rustls::SignatureScheme;
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::EndEntityCert;
use webpki::aws_lc_rs::ECDSA_P256_SHA256;

use crate::credential::Credential;
use crate::error::{Error, shown};
use crate::head::{Audience, check_control};
use crate::id::{self, MAX_PART, MAX_TRUST_DOMAIN, Role, TrustDomain};
use crate::keys::sha256;
use crate::leaf::MAX_CERTIFICATE;
use crate::peer::PeerIdentity;
use crate::refusal::Refusal;
use crate::template::BACKDATE;
use crate::verify::{Evidence, MAX_CHAIN, Usage, Verifier};
use crate::wire::{Reader, put_bytes, put_long};

pub use horizon::{Horizon, Step};

/// Longest content in bytes: 4 MiB, five thousand policies of 800 bytes. OPA's bundles stop at 1 GiB; a set is compiled by
/// every agent, on a machine that has other things to do.
pub const MAX_CONTENT: usize = 4 * 1024 * 1024;
/// Most authors of one set.
pub const MAX_AUTHORS: usize = 4;
/// Longest signed set in bytes.
pub const MAX_SIGNED: usize = MAX_CONTENT + 512 * 1024;
/// How long a set may live after it was signed, in seconds: 30 days. Seven are usual.
pub const MAX_LIFE: u64 = 30 * 24 * 3600;

const MAGIC: &[u8; 4] = b"SKP1";
const SIGNED_MAGIC: &[u8; 4] = b"SKQ1";
const WHAT: &str = "policy set";
const MAX_SIGNATURE: usize = 72;
const LEAF_TO_SIGN: &str = "a leaf with an ECDSA P-256 key, to sign with";

/// The place of a set in the order of sets. It never goes back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Counts restores of the control plane, from 1.
    pub epoch: u64,
    /// Counts sets in it, from 1.
    pub n: u64,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}, {})", self.epoch, self.n)
    }
}

/// Somebody who signed the content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// ECDSA P-256 with SHA-256 over `"skans-policy-author-v1" 0 trust_domain cluster content`, in DER.
    pub signature: Vec<u8>,
    /// Of `/skans/user/<id>`, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
}

impl Author {
    /// Signs a content as a person.
    ///
    /// # Errors
    /// [`Error::Encoding`] if `credential` is not a person's with an ECDSA P-256 key; [`Error::Crypto`].
    pub fn sign(
        audience: &Audience,
        content: &[u8],
        credential: &Credential,
    ) -> Result<Self, Error> {
        let id = &credential.identity().id;
        if !matches!(id.role(), Some(Role::User(_))) {
            return Err(unfit(
                format!("a leaf of {id}"),
                "a leaf of /skans/user/ID to sign with",
            ));
        }
        Ok(Self {
            signature: sign(credential, &authored(audience, content))?,
            chain: credential.chain().to_vec(),
        })
    }

    /// Checks everything about an author: for a control plane, when a content arrives. Later only what [`SignedSet::verify`]
    /// does is done: by then the author may have left, and the authority may have been replaced.
    ///
    /// # Errors
    /// A [`Refusal`] of the chain, or [`Refusal::Statement`].
    pub fn verify(
        &self,
        audience: &Audience,
        content: &[u8],
        verifier: &Verifier,
        now: UnixTime,
    ) -> Result<Evidence, Refusal> {
        let signer = verifier.evidence(&self.chain, Usage::Client, now)?;
        if signer.cluster.as_ref() != Some(&audience.cluster) {
            return Err(Refusal::OtherCluster {
                id: signer.peer.id.clone(),
                issuer: signer.cluster.as_deref().map_or("none".into(), shown),
            });
        }
        self.fits(audience, content)?;
        Ok(signer)
    }

    /// Whether the signature is one over this content by the key of its leaf, and the leaf names a person of this trust
    /// domain. Gives who.
    fn fits(&self, audience: &Audience, content: &[u8]) -> Result<PeerIdentity, Refusal> {
        let leaf = self.chain.first().ok_or(Refusal::NoCertificate)?;
        let who = PeerIdentity::from_der(leaf)?;
        let person = matches!(who.id.role(), Some(Role::User(_)));
        if !person || *who.id.trust_domain() != audience.trust_domain {
            let found = format!("signed by {} as its author", who.id);
            return Err(refused(
                found,
                "an author /skans/user/ID of our trust domain",
            ));
        }
        check(leaf, &authored(audience, content), &self.signature)?;
        Ok(who)
    }
}

/// A content, who wrote it, for whom, its place in the order, and its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicySet {
    /// Its place in the order.
    pub version: Version,
    /// When the control plane signed it, Unix time in seconds. Before, nobody may use it.
    pub not_before: u64,
    /// The last second in which it may be used.
    pub not_after: u64,
    /// When the control plane took it from its authors, having verified their signatures.
    pub accepted: u64,
    /// SHA-256 of the schema that it was checked against.
    pub schema_hash: [u8; 32],
    /// For whom it is meant.
    pub audience: Audience,
    /// What it says.
    pub content: Vec<u8>,
    /// Who wrote it; nobody where it came through the control plane's own socket.
    pub authors: Vec<Author>,
}

impl PolicySet {
    /// Reads a set.
    ///
    /// # Errors
    /// [`Error::Encoding`] if it is of another version, cut short, followed by anything, or a field is too long or makes no
    /// sense; [`Error::Name`] if trust domain or cluster are none.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(WHAT, bytes);
        reader.magic(MAGIC)?;
        let set = Self {
            version: Version {
                epoch: reader.u64()?,
                n: reader.u64()?,
            },
            not_before: reader.u64()?,
            not_after: reader.u64()?,
            accepted: reader.u64()?,
            schema_hash: reader.array()?,
            audience: Audience {
                trust_domain: TrustDomain::parse(reader.text(MAX_TRUST_DOMAIN)?)?,
                cluster: reader.text(MAX_PART)?.to_owned(),
            },
            content: reader.long(MAX_CONTENT)?.to_vec(),
            authors: authors(&mut reader)?,
        };
        reader.end()?;
        set.check()?;
        Ok(set)
    }

    /// The set as it is signed.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.content.len() + 512);
        out.extend_from_slice(MAGIC);
        for number in [
            self.version.epoch,
            self.version.n,
            self.not_before,
            self.not_after,
            self.accepted,
        ] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(&self.schema_hash);
        put_audience(&mut out, &self.audience);
        put_long(&mut out, &self.content);
        out.extend_from_slice(&encode_authors(&self.authors));
        out
    }

    /// SHA-256 of the content: two sets of one version must have the same.
    #[must_use]
    pub fn content_hash(&self) -> [u8; 32] {
        sha256(&self.content)
    }

    fn check(&self) -> Result<(), Error> {
        id::check_cluster(&self.audience.cluster)?;
        if self.version.epoch == 0 || self.version.n == 0 {
            return Err(unfit(
                format!("version {}", self.version),
                "an epoch and a number from 1",
            ));
        }
        let life = self.not_after.checked_sub(self.not_before);
        if !life.is_some_and(|life| (1..=MAX_LIFE).contains(&life)) {
            let found = format!("valid from {} to {}", self.not_before, self.not_after);
            return Err(unfit(found, "a life of up to 30 days"));
        }
        if self.content.len() > MAX_CONTENT || self.authors.len() > MAX_AUTHORS {
            let found = format!(
                "{} bytes of {} authors",
                self.content.len(),
                self.authors.len()
            );
            return Err(unfit(found, "at most 4 MiB of at most 4 authors"));
        }
        Ok(())
    }
}

/// A set, its signature and the chain of who signed it: as it travels and as it is kept. Nothing about it was checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedSet {
    /// The encoded set.
    pub set: Vec<u8>,
    /// ECDSA P-256 with SHA-256 over `"skans-policy-v1" 0 set`, in DER.
    pub signature: Vec<u8>,
    /// Of `/skans/control/<id>`, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
}

/// Where a signed set comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The control plane sent it just now: its certificate must be good now.
    Wire,
    /// It was verified once and kept in a place of our own. A control plane's leaf lives an hour, a set for days: its
    /// certificate must have been good when it signed, and must not be denied now.
    Kept,
}

impl SignedSet {
    /// Signs a set with the control plane's own leaf.
    ///
    /// # Errors
    /// [`Error::Encoding`] if a field of the set is too long or makes no sense, or `credential` is not one of
    /// `/skans/control/*` with an ECDSA P-256 key; [`Error::Crypto`] if the key will not sign.
    pub fn sign(set: &PolicySet, credential: &Credential) -> Result<Self, Error> {
        set.check()?;
        let id = &credential.identity().id;
        if !matches!(id.role(), Some(Role::Control(_))) {
            return Err(unfit(
                format!("a leaf of {id}"),
                "a leaf of /skans/control/ID to sign with",
            ));
        }
        let encoded = set.encode();
        Ok(Self {
            signature: sign(credential, &countersigned(&encoded))?,
            set: encoded,
            chain: credential.chain().to_vec(),
        })
    }

    /// Checks everything about a set but its place in the order, which is [`Horizon::accept`]'s: that a control plane of our
    /// cluster signed these bytes, that they are meant for us and for one of these schemas, that authors' signatures fit, and
    /// that it is in its life.
    ///
    /// # Errors
    /// A [`Refusal`]: of the chain, [`Refusal::NotControl`], [`Refusal::Statement`], [`Refusal::PolicyExpired`],
    /// [`Refusal::PolicySchema`].
    pub fn verify(
        &self,
        verifier: &Verifier,
        audience: &Audience,
        schemas: &[[u8; 32]],
        origin: Origin,
        now: UnixTime,
    ) -> Result<VerifiedSet, Refusal> {
        let unread = |error: Error| refused(error.to_string(), "one that can be read");
        // Before the signature, since a kept set says itself when it was signed. Decoding is bounded, and fuzzed.
        let set = PolicySet::decode(&self.set).map_err(unread)?;
        let as_of = match origin {
            Origin::Wire => now,
            Origin::Kept => UnixTime::since_unix_epoch(core::time::Duration::from_secs(
                set.not_before.min(now.as_secs()),
            )),
        };
        let signer = verifier.evidence(&self.chain, Usage::Server, as_of)?;
        check_control(&signer, audience)?;
        let leaf = self.chain.first().ok_or(Refusal::NoCertificate)?;
        check(leaf, &countersigned(&self.set), &self.signature)?;
        if set.audience != *audience {
            let found = format!(
                "for {} in {}",
                shown(&set.audience.cluster),
                set.audience.trust_domain
            );
            return Err(refused(found, "one for our cluster and trust domain"));
        }
        if set.not_before > now.as_secs().saturating_add(BACKDATE) {
            let found = format!("signed at {}, now is {}", set.not_before, now.as_secs());
            return Err(refused(found, "one from the past (clocks?)"));
        }
        if now.as_secs() > set.not_after {
            return Err(Refusal::PolicyExpired {
                version: set.version,
                not_after: set.not_after,
                now: now.as_secs(),
            });
        }
        if !schemas.contains(&set.schema_hash) {
            return Err(Refusal::PolicySchema {
                version: set.version,
            });
        }
        let mut authors = Vec::with_capacity(set.authors.len());
        for author in &set.authors {
            authors.push(author.fits(audience, &set.content)?.id.to_string());
        }
        Ok(VerifiedSet {
            set,
            signer,
            authors,
        })
    }

    /// The signed set as one piece: `"SKQ1" set signature count:8 certificates`, the set with its length of 32 bits in front,
    /// the other parts with one of 16.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.set.len() + 2048);
        out.extend_from_slice(SIGNED_MAGIC);
        put_long(&mut out, &self.set);
        put_bytes(&mut out, &self.signature);
        put_chain(&mut out, &self.chain);
        out
    }

    /// Reads what [`SignedSet::encode`] wrote. Nothing is verified.
    ///
    /// # Errors
    /// [`Error::Encoding`] if it is cut short, followed by anything, or a part is larger than it may be.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new("signed policy set", bytes);
        reader.magic(SIGNED_MAGIC)?;
        let signed = Self {
            set: reader.long(MAX_SIGNED)?.to_vec(),
            signature: reader.bytes(MAX_SIGNATURE)?.to_vec(),
            chain: chain(&mut reader)?,
        };
        reader.end()?;
        Ok(signed)
    }
}

/// A set that the control plane of our cluster signed, for us, and that is in its life. [`SignedSet::verify`] is the only way to
/// one. Whether it may follow the one before is asked of [`Horizon`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedSet {
    set: PolicySet,
    signer: Evidence,
    authors: Vec<String>,
}

impl VerifiedSet {
    /// What it says.
    #[must_use]
    pub const fn set(&self) -> &PolicySet {
        &self.set
    }

    /// Who signed it.
    #[must_use]
    pub const fn signer(&self) -> &Evidence {
        &self.signer
    }

    /// The SPIFFE IDs of its authors.
    #[must_use]
    pub fn authors(&self) -> &[String] {
        &self.authors
    }
}

fn sign(credential: &Credential, message: &[u8]) -> Result<Vec<u8>, Error> {
    credential
        .certified_key()
        .key
        .choose_scheme(&[SignatureScheme::ECDSA_NISTP256_SHA256])
        .ok_or_else(|| unfit("a key of another kind".into(), LEAF_TO_SIGN))?
        .sign(message)
        .map_err(|_| Error::Crypto {
            doing: "sign a policy set",
        })
}

fn check(leaf: &CertificateDer<'_>, message: &[u8], signature: &[u8]) -> Result<(), Refusal> {
    EndEntityCert::try_from(leaf)
        .and_then(|leaf| leaf.verify_signature(ECDSA_P256_SHA256, message, signature))
        .map_err(|_| {
            let found = "a signature that does not fit its bytes and its chain";
            refused(found.into(), "one by the key of its leaf")
        })
}

fn countersigned(encoded: &[u8]) -> Vec<u8> {
    [b"skans-policy-v1\0".as_slice(), encoded].concat()
}

fn authored(audience: &Audience, content: &[u8]) -> Vec<u8> {
    let mut out = b"skans-policy-author-v1\0".to_vec();
    put_audience(&mut out, audience);
    put_long(&mut out, content);
    out
}

fn put_audience(out: &mut Vec<u8>, audience: &Audience) {
    put_bytes(out, audience.trust_domain.as_str().as_bytes());
    put_bytes(out, audience.cluster.as_bytes());
}

fn put_chain(out: &mut Vec<u8>, chain: &[CertificateDer<'_>]) {
    out.push(u8::try_from(chain.len()).unwrap_or(u8::MAX));
    for certificate in chain {
        put_bytes(out, certificate);
    }
}

fn chain(reader: &mut Reader<'_>) -> Result<Vec<CertificateDer<'static>>, Error> {
    let count = usize::from(reader.u8()?);
    if !(1..=MAX_CHAIN).contains(&count) {
        return Err(reader.bad(format!("{count} certificates"), "1 to 4"));
    }
    (0..count)
        .map(|_| {
            Ok(CertificateDer::from(
                reader.bytes(MAX_CERTIFICATE)?.to_vec(),
            ))
        })
        .collect()
}

/// The authors of a set as they stand in it: `count:8 { signature count:8 certificates }*`.
#[must_use]
pub fn encode_authors(authors: &[Author]) -> Vec<u8> {
    let mut out = vec![u8::try_from(authors.len()).unwrap_or(u8::MAX)];
    for author in authors {
        put_bytes(&mut out, &author.signature);
        put_chain(&mut out, &author.chain);
    }
    out
}

/// Reads what [`encode_authors`] wrote. Nothing is verified.
///
/// # Errors
/// [`Error::Encoding`].
pub fn decode_authors(bytes: &[u8]) -> Result<Vec<Author>, Error> {
    let mut reader = Reader::new("authors of a policy set", bytes);
    let authors = authors(&mut reader)?;
    reader.end()?;
    Ok(authors)
}

fn authors(reader: &mut Reader<'_>) -> Result<Vec<Author>, Error> {
    let count = usize::from(reader.u8()?);
    if count > MAX_AUTHORS {
        return Err(reader.bad(format!("{count} authors"), "at most 4"));
    }
    (0..count)
        .map(|_| {
            Ok(Author {
                signature: reader.bytes(MAX_SIGNATURE)?.to_vec(),
                chain: chain(reader)?,
            })
        })
        .collect()
}

fn unfit(found: String, wanted: &'static str) -> Error {
    Error::Encoding {
        what: WHAT,
        found,
        wanted,
    }
}

fn refused(found: String, wanted: &'static str) -> Refusal {
    Refusal::Statement {
        what: WHAT,
        found,
        wanted,
    }
}

//! Our own credential: a certificate chain and its private key, checked before use. Where they come from is not said here.

#[cfg(test)]
mod tests;

use core::fmt;
use std::sync::Arc;

use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::extensions::ExtendedKeyUsage;
use zeroize::Zeroizing;

use crate::authority::{MAX_LEAF, to_pem};
use crate::error::Error;
use crate::host::Host;
use crate::id::{Role, SpiffeId};
use crate::leaf;
use crate::peer::PeerIdentity;
use crate::refusal::Refusal;
use crate::signer::SoftwareKey;
use crate::template::BACKDATE;
use crate::verify::{MAX_CHAIN, Usage, Verifier};

/// Largest chain or key text in bytes. Ours: [`MAX_CHAIN`] certificates of the largest size, in base64.
pub const MAX_PEM: usize = 96 * 1024;

/// A chain (leaf first) and the key of its leaf. The key is wiped when dropped and never shown. Cloning shares it.
#[derive(Clone)]
pub struct Credential(Arc<Inner>);

struct Inner {
    identity: PeerIdentity,
    /// When it was checked, Unix time.
    loaded: u64,
    key: Zeroizing<PrivateKeyDer<'static>>,
    certified: Arc<CertifiedKey>,
}

impl Credential {
    /// Reads a credential from PEM: CERTIFICATE blocks, leaf first, and one private key (PKCS #8, SEC 1 or PKCS #1). The
    /// key text may hold certificates as well; they are ignored.
    ///
    /// # Errors
    /// [`Error::Credential`], which says what is wrong with which of the two, as [`Credential::new`].
    pub fn from_pem(chain: &[u8], key: &[u8], now: UnixTime) -> Result<Self, Error> {
        let bad = |found: String, wanted| Error::Credential { found, wanted };
        for (what, text) in [("chain", chain), ("key", key)] {
            if text.len() > MAX_PEM {
                return Err(bad(
                    format!("{what}: {} bytes", text.len()),
                    "at most 96 KiB",
                ));
            }
        }
        let chain = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| bad("chain: not PEM".into(), "CERTIFICATE blocks, leaf first"))?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
            pem::Error::NoItemsFound => bad(
                "key: no PRIVATE KEY block".into(),
                "one unencrypted private key",
            ),
            _ => bad("key: not PEM".into(), "one unencrypted private key"),
        })?;
        Self::new(chain, key, now)
    }

    /// Checks a chain and a key.
    ///
    /// # Errors
    /// [`Error::Credential`] unless the chain holds 1 to [`MAX_CHAIN`] certificates, each signed by the next; the leaf is
    /// one that [`PeerIdentity::from_der`] takes and is valid at `now`; and the key is the leaf's.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        now: UnixTime,
    ) -> Result<Self, Error> {
        let bad = |found: String, wanted| Error::Credential { found, wanted };
        let key = Zeroizing::new(key);
        let Some(leaf_der) = chain.first().filter(|_| chain.len() <= MAX_CHAIN) else {
            return Err(bad(
                format!("chain: {} certificates", chain.len()),
                "1 to 4 certificates, leaf first",
            ));
        };
        let identity = PeerIdentity::from_der(leaf_der).map_err(|refusal| {
            bad(
                format!("chain: first certificate: {refusal}"),
                "a leaf certificate with one SPIFFE ID",
            )
        })?;
        let seconds = now.as_secs();
        if !(identity.not_before..=identity.not_after).contains(&seconds) {
            let found = format!(
                "chain: first certificate is valid from {} to {}, now is {seconds}",
                identity.not_before, identity.not_after
            );
            return Err(bad(found, "a certificate that is valid now"));
        }
        check_path(&identity.id, &chain, now)?;
        let signing = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).map_err(|_| {
            bad(
                "key: of a kind that is not supported".into(),
                "ECDSA P-256 or P-384, Ed25519, or RSA of 2048 to 4096 bits",
            )
        })?;
        let certified = CertifiedKey::new(chain, signing);
        certified.keys_match().map_err(|_| {
            bad(
                "key: not the key of the first certificate".into(),
                "the private key of the leaf",
            )
        })?;
        Ok(Self(Arc::new(Inner {
            identity,
            loaded: seconds,
            key,
            certified: Arc::new(certified),
        })))
    }

    /// Takes a certificate that our control plane just issued for a key of ours, and checks that it is the one that was asked
    /// for, before it takes the place of one that works: ID and host are those expected, the key is the leaf's, it verifies
    /// under the bundle as peers will verify it, and it lives for no longer than a leaf may.
    ///
    /// # Errors
    /// [`Error::Credential`], which says what is wrong.
    pub fn from_issued(
        chain: Vec<CertificateDer<'static>>,
        key: &SoftwareKey,
        id: &SpiffeId,
        host: Option<&Host>,
        verifier: &Verifier,
        now: UnixTime,
    ) -> Result<Self, Error> {
        let bad = |found: String, wanted| Error::Credential { found, wanted };
        let new = Self::new(chain, key.to_der(), now)?;
        let found = new.identity();
        if found.id != *id {
            return Err(bad(format!("issued for {}", found.id), "the ID asked for"));
        }
        if found.host.as_ref() != host {
            let found = found.host.as_ref().map(ToString::to_string);
            let found = found.unwrap_or_else(|| "no host".into());
            return Err(bad(format!("issued for {found}"), "the host asked for"));
        }
        let life = found.not_after.saturating_sub(found.not_before);
        if life > MAX_LEAF.as_secs() + BACKDATE {
            let found = format!("issued for {life} s");
            return Err(bad(found, "at most 24 h"));
        }
        let usages: &[Usage] = match id.role() {
            Some(Role::User(_)) => &[Usage::Client],
            _ => &[Usage::Client, Usage::Server],
        };
        for usage in usages {
            let verdict = verifier.verify(new.chain(), *usage, now);
            verdict.map_err(|refusal| {
                let found = format!("issued, and refused by our own bundle: {refusal}");
                bad(found, "one that peers will take")
            })?;
        }
        Ok(new)
    }

    /// Who this credential is for.
    #[must_use]
    pub fn identity(&self) -> &PeerIdentity {
        &self.0.identity
    }

    /// The certificates, leaf first.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.0.certified.cert
    }

    /// The private key.
    #[must_use]
    pub fn key(&self) -> &PrivateKeyDer<'static> {
        &self.0.key
    }

    /// Chain and key in the form that rustls takes.
    #[must_use]
    pub fn certified_key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0.certified)
    }

    /// When to renew: a sixth of its life after it began, Unix time. That leaves most of the life as the time that the
    /// authority may be away. SPIRE and Istio renew at a half, Linkerd at 70 %.
    ///
    /// It began when it was loaded, or a little after its first second if that was earlier: authorities date certificates
    /// back, and one that lives for a minute must not be due as soon as it is made.
    #[must_use]
    pub fn renew_at(&self) -> u64 {
        let PeerIdentity {
            not_before,
            not_after,
            ..
        } = self.0.identity;
        let began = self.0.loaded.min(not_before.saturating_add(BACKDATE));
        began + not_after.saturating_sub(began) / 6
    }

    /// The chain as PEM.
    #[must_use]
    pub fn chain_pem(&self) -> String {
        self.chain()
            .iter()
            .map(|der| to_pem("CERTIFICATE", der))
            .collect()
    }

    /// The key as PEM, wiped when dropped.
    #[must_use]
    pub fn key_pem(&self) -> Zeroizing<String> {
        let tag = match &*self.0.key {
            PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
            PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
            _ => "PRIVATE KEY",
        };
        Zeroizing::new(to_pem(tag, self.0.key.secret_der()))
    }
}

/// Each certificate must be signed by the next one, as TLS wants the chain, and the leaf must do for both ends of a
/// connection, since nodes dial and are dialled; people only dial. The last certificate stands in for the root, which is not here.
fn check_path(id: &SpiffeId, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<(), Error> {
    let bad = |found: String, wanted| Error::Credential { found, wanted };
    let ordered = "a chain in which the next certificate signed the one before it";
    for (at, pair) in chain.windows(2).enumerate() {
        let [child, parent] = pair else { continue };
        let place =
            |refusal: Refusal| bad(format!("chain: certificate {}: {refusal}", at + 2), ordered);
        let (child, parent) = (
            leaf::parse(child).map_err(place)?,
            leaf::parse(parent).map_err(place)?,
        );
        if child.issuer().as_raw() != parent.subject().as_raw() {
            return Err(bad(
                format!(
                    "chain: certificate {} did not issue the one before it",
                    at + 2
                ),
                ordered,
            ));
        }
    }
    let Some(end_entity) = chain.first() else {
        return Ok(());
    };
    let wanted = "a leaf for clientAuth and serverAuth (for clientAuth, if it is a person's)";
    let view =
        leaf::parse(end_entity).map_err(|refusal| bad(format!("chain: {refusal}"), wanted))?;
    let usage = view
        .extended_key_usage()
        .map_err(|_| bad("chain: unreadable extended key usage".into(), wanted))?;
    let usage = usage.map(|usage| usage.value);
    let has = |of: fn(&ExtendedKeyUsage<'_>) -> bool| usage.is_none_or(of);
    let is_person = matches!(id.role(), Some(Role::User(_)));
    for (name, has) in [
        ("clientAuth", has(|usage| usage.client_auth)),
        ("serverAuth", is_person || has(|usage| usage.server_auth)),
    ] {
        if !has {
            return Err(bad(
                format!("chain: first certificate lacks {name}"),
                wanted,
            ));
        }
    }
    let [_, intermediates @ .., last] = chain else {
        return Ok(());
    };
    let unfit = |error: webpki::Error| bad(format!("chain: {error}"), "a valid chain");
    let anchor = webpki::anchor_from_trusted_cert(last).map_err(unfit)?;
    let algorithms =
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
    EndEntityCert::try_from(end_entity)
        .map_err(unfit)?
        .verify_for_usage(
            algorithms.all,
            core::slice::from_ref(&anchor),
            intermediates,
            now,
            KeyUsage::client_auth(),
            None,
            None,
        )
        .map_err(unfit)?;
    Ok(())
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("identity", self.identity())
            .field("key", &"(not shown)")
            .finish_non_exhaustive()
    }
}

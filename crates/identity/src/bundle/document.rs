//! A bundle as other trust domains read and publish it: a JWK Set (SPIFFE Trust Domain and Bundle 4, X509-SVID 6). How it
//! travels, and from whom it may be taken, is not said here.

#[cfg(test)]
mod tests;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use x509_parser::public_key::PublicKey;

use super::{Bundle, MAX_ROOTS};
use crate::error::Error;
use crate::id::TrustDomain;
use crate::leaf;

/// Largest document in bytes. Ours: [`MAX_ROOTS`] RSA-4096 roots, in base64 and once more as keys, need about 200 KiB.
pub const MAX_DOCUMENT: usize = 512 * 1024;

/// The use of keys that sign X.509 certificates. Keys of other uses (`jwt-svid`) are passed over.
const USE: &str = "x509-svid";

/// A bundle with what is published beside it.
#[derive(Debug, Clone)]
pub struct Document {
    /// The roots.
    pub bundle: Bundle,
    /// Counts up with each change, where it is given: a lower one than seen before is a replay.
    pub sequence: Option<u64>,
    /// How often to ask for it, in seconds, where it is given. It is their wish: bound it before you follow it.
    pub refresh_hint: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    spiffe_sequence: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    spiffe_refresh_hint: Option<u64>,
    keys: Vec<Value>,
}

impl Document {
    /// Reads a document. Whose it is must be known from elsewhere, by configuration: it does not say so itself, and an
    /// address proves nothing.
    ///
    /// # Errors
    /// [`Error::Bundle`] if it is larger than [`MAX_DOCUMENT`], not such JSON, or if [`Bundle::new`] does not take the
    /// certificates in it: none at all, more than [`MAX_ROOTS`], one that is not a CA's, or one of another trust domain.
    pub fn from_json(trust_domain: TrustDomain, text: &str) -> Result<Self, Error> {
        let bad = |found: String, wanted| Error::Bundle { found, wanted };
        if text.len() > MAX_DOCUMENT {
            return Err(bad(format!("{} bytes", text.len()), "at most 512 KiB"));
        }
        let wire: Wire = serde_json::from_str(text).map_err(|error| {
            let found = format!("document: line {} column {}", error.line(), error.column());
            bad(found, "a JWK Set with `keys`")
        })?;
        let mut roots = Vec::new();
        for (at, key) in wire.keys.iter().enumerate() {
            let Some(first) = certificate(key) else {
                continue;
            };
            if roots.len() >= MAX_ROOTS {
                return Err(bad(
                    format!("more than {MAX_ROOTS} keys"),
                    "at most 64 roots",
                ));
            }
            let der = first.as_str().and_then(|text| STANDARD.decode(text).ok());
            let der = der.ok_or_else(|| {
                let found = format!("key {}: x5c that cannot be read", at + 1);
                bad(found, "a certificate in DER, in base64")
            })?;
            roots.push(CertificateDer::from(der));
        }
        Ok(Self {
            bundle: Bundle::new(trust_domain, &roots)?,
            sequence: wire.spiffe_sequence,
            refresh_hint: wire.spiffe_refresh_hint,
        })
    }

    /// The document as JSON.
    ///
    /// # Errors
    /// [`Error::Bundle`] if a root has a key that no JWK can say, such as a DSA key.
    pub fn to_json(&self) -> Result<String, Error> {
        let wire = Wire {
            spiffe_sequence: self.sequence,
            spiffe_refresh_hint: self.refresh_hint,
            keys: self.bundle.roots().map(jwk).collect::<Result<_, _>>()?,
        };
        serde_json::to_string(&wire).map_err(|_| Error::Bundle {
            found: "a document that cannot be written".into(),
            wanted: "JSON",
        })
    }
}

/// The certificate of a key that signs certificates. What is of an unknown use or kind, or has no certificate, is to be
/// ignored (Bundle 4.2, X509-SVID 6.2); so are all certificates but the first.
fn certificate(key: &Value) -> Option<&Value> {
    let known = matches!(key.get("kty")?.as_str()?, "EC" | "RSA" | "OKP");
    if !known || key.get("use")?.as_str()? != USE {
        return None;
    }
    key.get("x5c")?.as_array()?.first()
}

/// A root as a JWK (RFC 7517, RFC 7518 6, RFC 8037 2).
fn jwk(root: &CertificateDer<'_>) -> Result<Value, Error> {
    let bad = |found: String| Error::Bundle {
        found,
        wanted: "a root with an EC, RSA or Ed25519 key",
    };
    let certificate = leaf::parse(root).map_err(|refusal| bad(refusal.to_string()))?;
    let key = certificate.public_key();
    let number = |bytes: &[u8]| {
        let zeros = bytes.iter().take_while(|&&b| b == 0).count();
        URL_SAFE_NO_PAD.encode(bytes.get(zeros..).unwrap_or_default())
    };
    let mut jwk = match key.parsed() {
        Ok(PublicKey::RSA(rsa)) => {
            serde_json::json!({"kty": "RSA", "n": number(rsa.modulus), "e": number(rsa.exponent)})
        }
        Ok(PublicKey::EC(point)) => {
            let coordinates = point.data().split_first();
            let Some((&4, coordinates)) = coordinates else {
                return Err(bad("a compressed point".into()));
            };
            let (x, y) = coordinates.split_at(coordinates.len() / 2);
            let curve = match x.len() {
                32 => "P-256",
                48 => "P-384",
                66 => "P-521",
                other => return Err(bad(format!("a curve of {} bits", other * 8))),
            };
            // Coordinates keep their zeros (RFC 7518 6.2.1.2).
            let [x, y] = [x, y].map(|half| URL_SAFE_NO_PAD.encode(half));
            serde_json::json!({"kty": "EC", "crv": curve, "x": x, "y": y})
        }
        _ if key.algorithm.algorithm == x509_parser::oid_registry::OID_SIG_ED25519 => {
            let x = URL_SAFE_NO_PAD.encode(&key.subject_public_key.data);
            serde_json::json!({"kty": "OKP", "crv": "Ed25519", "x": x})
        }
        _ => return Err(bad(format!("a key of kind {}", key.algorithm.algorithm))),
    };
    if let Some(fields) = jwk.as_object_mut() {
        fields.insert("use".into(), USE.into());
        fields.insert("x5c".into(), vec![STANDARD.encode(root)].into());
    }
    Ok(jwk)
}

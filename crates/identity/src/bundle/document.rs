//! A bundle as other trust domains read and publish it: a JWK Set (SPIFFE Trust Domain and Bundle 4, X509-SVID 6). How it
//! travels is not said here; from whom it may be taken is said in [`federation`](crate::federation).

#[cfg(test)]
mod tests;

use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls_pki_types::CertificateDer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use x509_parser::der_parser::Oid;
use x509_parser::oid_registry::{OID_EC_P256, OID_NIST_EC_P384, OID_NIST_EC_P521, OID_SIG_ED25519};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::{Bundle, MAX_ROOTS};
use crate::error::Error;
use crate::id::TrustDomain;
use crate::leaf;

/// Largest document in bytes. Ours: [`MAX_ROOTS`] RSA-4096 roots, in base64 and once more as keys, need about 200 KiB.
pub const MAX_DOCUMENT: usize = 512 * 1024;
/// Most keys of all uses in one document. Ours: three of other uses beside each root.
pub const MAX_KEYS: usize = 4 * MAX_ROOTS;

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
    keys: Vec<Key>,
}

/// One JWK. A member that is there twice is refused: of two readers one would take the first, the other the last.
#[derive(Serialize)]
struct Key(Map<String, Value>);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Map<String, Value>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JWK")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
                let mut members = Map::new();
                while let Some((name, value)) = from.next_entry::<String, Value>()? {
                    if members.insert(name, value).is_some() {
                        return Err(A::Error::custom("a member that is there twice"));
                    }
                }
                Ok(members)
            }
        }
        from.deserialize_map(Members).map(Self)
    }
}

impl Document {
    /// Reads a document. Whose it is must be known from elsewhere, by configuration: it does not say so itself, and an
    /// address proves nothing.
    ///
    /// # Errors
    /// [`Error::Bundle`] if it is larger than [`MAX_DOCUMENT`], has more than [`MAX_KEYS`], is not such JSON, if
    /// [`Bundle::new`] does not take the certificates in it (none at all, more than [`MAX_ROOTS`], one that is not a CA's, or
    /// one of another trust domain), or if a key is not that of its certificate.
    pub fn from_json(trust_domain: TrustDomain, text: &str) -> Result<Self, Error> {
        let bad = |found: String, wanted| Error::Bundle { found, wanted };
        if text.len() > MAX_DOCUMENT {
            return Err(bad(format!("{} bytes", text.len()), "at most 512 KiB"));
        }
        let wanted = "a JWK Set with `keys`, each member once";
        // serde would take a list for a structure as well.
        if !text.trim_start().starts_with('{') {
            return Err(bad("document: no object".into(), wanted));
        }
        let wire: Wire = serde_json::from_str(text).map_err(|error| {
            let found = format!("document: line {} column {}", error.line(), error.column());
            bad(found, wanted)
        })?;
        if wire.keys.len() > MAX_KEYS {
            let found = format!("{} keys", wire.keys.len());
            return Err(bad(found, "at most 256 keys of all uses"));
        }
        let (mut roots, mut given) = (Vec::new(), Vec::new());
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
            given.push((at + 1, key));
        }
        let bundle = Bundle::new(trust_domain, &roots)?;
        for (root, (place, key)) in roots.iter().zip(given) {
            check_same(place, key, &jwk(root)?)?;
        }
        Ok(Self {
            bundle,
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
fn certificate(Key(key): &Key) -> Option<&Value> {
    let known = matches!(key.get("kty")?.as_str()?, "EC" | "RSA" | "OKP");
    if !known || key.get("use")?.as_str()? != USE {
        return None;
    }
    key.get("x5c")?.as_array()?.first()
}

/// What a key says of itself must be what its certificate says (RFC 7517 4.7): who reads the one and who reads the other
/// trust the same.
fn check_same(place: usize, Key(given): &Key, Key(own): &Key) -> Result<(), Error> {
    let differs = |name: &&String| name.as_str() != "x5c" && given.get(*name) != own.get(*name);
    match own.keys().find(differs) {
        None => Ok(()),
        Some(name) => Err(Error::Bundle {
            found: format!("key {place}: {name} that is missing or not its certificate's"),
            wanted: "the key of the certificate in x5c",
        }),
    }
}

/// A root as a JWK (RFC 7517, RFC 7518 6, RFC 8037 2).
fn jwk(root: &CertificateDer<'_>) -> Result<Key, Error> {
    let bad = |found: String| Error::Bundle {
        found,
        wanted: "a root with an EC, RSA or Ed25519 key",
    };
    let certificate = leaf::parse(root).map_err(|refusal| bad(refusal.to_string()))?;
    let key = certificate.public_key();
    let octets = &key.subject_public_key.data;
    let (mut members, written) = match key.parsed() {
        Ok(PublicKey::RSA(rsa)) => {
            let pair = [integer(rsa.modulus), integer(rsa.exponent)].concat();
            let members = vec![
                ("kty", "RSA".into()),
                ("n", number(rsa.modulus)),
                ("e", number(rsa.exponent)),
            ];
            (members, spki(RSA_ENCRYPTION, &der(SEQUENCE, &pair)))
        }
        Ok(PublicKey::EC(point)) => {
            let (curve, size, oid) = curve(key).map_err(bad)?;
            let whole = point.data().to_vec();
            // Coordinates keep their zeros (RFC 7518 6.2.1.2).
            let (x, y) = match point.data().split_first() {
                Some((&4, both)) if both.len() == 2 * size => both.split_at(size),
                _ => return Err(bad(format!("a point that is not one of {curve}, in full"))),
            };
            let [x, y] = [x, y].map(|half| URL_SAFE_NO_PAD.encode(half));
            let members = vec![
                ("kty", "EC".into()),
                ("crv", curve.into()),
                ("x", x),
                ("y", y),
            ];
            let named = [EC_PUBLIC_KEY, &der(OBJECT_ID, oid.as_bytes())].concat();
            (members, spki(&named, &whole))
        }
        _ if key.algorithm.algorithm == OID_SIG_ED25519 => {
            let x = URL_SAFE_NO_PAD.encode(octets);
            let members = vec![("kty", "OKP".into()), ("crv", "Ed25519".into()), ("x", x)];
            (members, spki(ED25519, octets))
        }
        _ => return Err(bad(format!("a key of kind {}", key.algorithm.algorithm))),
    };
    // Keys are known by the hash of these octets: written in another way, it would be the same key to who reads the JWK, and another one here.
    if key.raw != written {
        return Err(bad("a key that is not in DER".to_owned()));
    }
    members.push(("use", USE.into()));
    let members = members
        .into_iter()
        .map(|(name, text)| (name.to_owned(), text.into()));
    let x5c = ("x5c".to_owned(), vec![STANDARD.encode(root)].into());
    Ok(Key(members.chain([x5c]).collect()))
}

/// The curve of a key by the name that it bears, never by its length: other curves have the same. And the bytes of a
/// coordinate.
fn curve(key: &SubjectPublicKeyInfo<'_>) -> Result<(&'static str, usize, Oid<'static>), String> {
    let named = key.algorithm.parameters.as_ref();
    match named.and_then(|any| any.as_oid().ok()) {
        Some(curve) if curve == OID_EC_P256 => Ok(("P-256", 32, OID_EC_P256)),
        Some(curve) if curve == OID_NIST_EC_P384 => Ok(("P-384", 48, OID_NIST_EC_P384)),
        Some(curve) if curve == OID_NIST_EC_P521 => Ok(("P-521", 66, OID_NIST_EC_P521)),
        Some(curve) => Err(format!("a key on curve {curve}")),
        None => Err("a key without a named curve".into()),
    }
}

/// Tags of DER (X.690 8.1.2).
const SEQUENCE: u8 = 0x30;
const OBJECT_ID: u8 = 0x06;
const BIT_STRING: u8 = 0x03;
const INTEGER: u8 = 0x02;
/// `rsaEncryption` and its NULL (RFC 3279 2.3.1), `id-ecPublicKey` (RFC 5480 2.1.1), `id-Ed25519` (RFC 8410 3).
const RSA_ENCRYPTION: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
const EC_PUBLIC_KEY: &[u8] = &[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const ED25519: &[u8] = &[6, 3, 0x2b, 0x65, 0x70];

/// The one way to write a key in DER (RFC 5280 4.1).
fn spki(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    let key = [&[0], key].concat();
    let parts = [der(SEQUENCE, algorithm), der(BIT_STRING, &key)].concat();
    der(SEQUENCE, &parts)
}

/// A positive number.
fn integer(bytes: &[u8]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|&&b| b == 0).count();
    let bytes = bytes.get(zeros..).unwrap_or_default();
    let sign: &[u8] = match bytes.first() {
        Some(1..=0x7f) => &[],
        _ => &[0],
    };
    der(INTEGER, &[sign, bytes].concat())
}

/// A tag, a length, a content: a certificate has at most some kilobytes.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let zeros = length.iter().take_while(|&&b| b == 0).count();
    let length = length.get(zeros..).unwrap_or_default();
    let many = u8::try_from(length.len()).unwrap_or(u8::MAX) | 0x80;
    let head: Vec<u8> = match length {
        [] => vec![tag, 0],
        [one] if *one < 0x80 => vec![tag, *one],
        more => [&[tag, many], more].concat(),
    };
    [head, content.to_vec()].concat()
}

/// A number without leading zeros (RFC 7518 2, `Base64urlUInt`).
fn number(bytes: &[u8]) -> String {
    let zeros = bytes.iter().take_while(|&&b| b == 0).count();
    URL_SAFE_NO_PAD.encode(bytes.get(zeros..).unwrap_or_default())
}

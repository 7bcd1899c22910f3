//! Keys of notes: those that sign, those that verify, and how both are written (the form of Go's note package).

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use zeroize::Zeroizing;

use super::Signature;
use crate::cosignature;
use crate::error::{Error, Result, shown};
use crate::merkle::sha256;
use crate::wire::{from_base64, to_base64};

/// The longest name of a key, in bytes. An origin is one: trust domain (255), `/cluster/` and a name of 63, `/audit/` and a number.
pub const MAX_NAME: usize = 512;

/// What a key signs, and how. The byte is part of its id, so that a signature of one kind never passes for another.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Algorithm {
    /// Ed25519 over the text: logs.
    Ed25519 = 1,
    /// Ed25519 over the time and the text (tlog-cosignature v1): witnesses.
    Cosignature = 4,
}

impl Algorithm {
    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Ed25519),
            4 => Some(Self::Cosignature),
            _ => None,
        }
    }
}

/// A name that a key may have: not empty, no spaces, no plus, so that it stands on a line with other things.
pub(crate) fn is_name(name: &str) -> bool {
    let fits = |c: char| !c.is_whitespace() && !c.is_control() && c != '+';
    !name.is_empty() && name.len() <= MAX_NAME && name.chars().all(fits)
}

pub(crate) fn check_name(name: &str) -> Result<()> {
    if is_name(name) {
        return Ok(());
    }
    let wanted = "1 to 512 bytes without spaces, control characters and plus";
    Err(Error::format("name of a key", shown(name), wanted))
}

fn id(name: &str, algorithm: Algorithm, public: &[u8]) -> u32 {
    let hashed = [name.as_bytes(), b"\n", &[algorithm as u8], public].concat();
    let [a, b, c, d, ..] = sha256(&hashed);
    u32::from_be_bytes([a, b, c, d])
}

/// A key that signs. It is wiped when it is dropped, and shows only its name.
pub struct SigningKey {
    public: VerifyingKey,
    seed: Zeroizing<[u8; 32]>,
    pair: Ed25519KeyPair,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SigningKey")
            .field(&self.public.name)
            .finish()
    }
}

impl SigningKey {
    /// A new one for a log of this name.
    ///
    /// # Errors
    /// [`Error::Format`], if it is no name; [`Error::Crypto`], if there is no randomness.
    pub fn generate(name: &str) -> Result<Self> {
        Self::from_seed(name, &*random_seed()?)
    }

    /// That of a log, from the 32 bytes that [`SigningKey::to_seed`] gave.
    ///
    /// # Errors
    /// [`Error::Format`], if it is no name.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self> {
        Self::of(name, Algorithm::Ed25519, seed)
    }

    pub(crate) fn of(name: &str, algorithm: Algorithm, seed: &[u8; 32]) -> Result<Self> {
        check_name(name)?;
        let doing = "make a key of a seed";
        let pair =
            Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| Error::Crypto { doing })?;
        let public = <[u8; 32]>::try_from(pair.public_key().as_ref())
            .map_err(|_| Error::Crypto { doing })?;
        Ok(Self {
            public: VerifyingKey::of(name, algorithm, public),
            seed: Zeroizing::new(*seed),
            pair,
        })
    }

    /// The 32 bytes that it is made of: the secret.
    #[must_use]
    pub fn to_seed(&self) -> Zeroizing<[u8; 32]> {
        self.seed.clone()
    }

    /// The secret with its name, as Go's note package writes it: `PRIVATE+KEY+<name>+<id>+<base64>`.
    #[must_use]
    pub fn to_skey(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([0; 33]);
        let (algorithm, seed) = bytes.split_at_mut(1);
        algorithm.fill(self.public.algorithm as u8);
        seed.copy_from_slice(&*self.seed);
        let secret = Zeroizing::new(to_base64(&*bytes));
        let (name, id) = (&self.public.name, self.public.id);
        Zeroizing::new(format!("PRIVATE+KEY+{name}+{id:08x}+{}", *secret))
    }

    /// Reads what [`SigningKey::to_skey`] writes. What is found is never shown.
    ///
    /// # Errors
    /// [`Error::Format`], also if it is the key of a witness.
    pub fn parse_skey(text: &str) -> Result<Self> {
        Self::parse(text, Algorithm::Ed25519)
    }

    pub(crate) fn parse(text: &str, algorithm: Algorithm) -> Result<Self> {
        let read = || {
            let (name, rest) = text.strip_prefix("PRIVATE+KEY+")?.split_once('+')?;
            let (hex, secret) = rest.split_once('+')?;
            let bytes = Zeroizing::new(from_base64(secret)?);
            let (found, seed) = bytes.split_first()?;
            let seed = Zeroizing::new(<[u8; 32]>::try_from(seed).ok()?);
            let key = Self::of(name, algorithm, &seed).ok()?;
            let same = *found == algorithm as u8 && format!("{:08x}", key.public.id) == hex;
            same.then_some(key)
        };
        read().ok_or_else(|| {
            let wanted = match algorithm {
                Algorithm::Ed25519 => "PRIVATE+KEY+<name>+<id>+<base64> of a log (1)",
                Algorithm::Cosignature => "PRIVATE+KEY+<name>+<id>+<base64> of a witness (4)",
            };
            Error::format("secret key", "something else", wanted)
        })
    }

    /// Its public half.
    #[must_use]
    pub const fn verifying_key(&self) -> &VerifyingKey {
        &self.public
    }

    /// Its public half as text.
    #[must_use]
    pub fn vkey(&self) -> String {
        self.public.to_string()
    }

    /// Signs a text.
    #[must_use]
    pub fn sign(&self, text: &str) -> Signature {
        self.signature(self.pair.sign(text.as_bytes()).as_ref().to_vec())
    }

    pub(crate) fn sign_at(&self, text: &str, time: u64) -> Signature {
        let mut bytes = time.to_be_bytes().to_vec();
        let message = cosignature::message(text, time);
        bytes.extend(self.pair.sign(message.as_bytes()).as_ref());
        self.signature(bytes)
    }

    fn signature(&self, bytes: Vec<u8>) -> Signature {
        Signature {
            name: self.public.name.clone(),
            id: self.public.id,
            bytes,
        }
    }
}

/// Thirty-two random bytes.
pub(crate) fn random_seed() -> Result<Zeroizing<[u8; 32]>> {
    let mut seed = Zeroizing::new([0; 32]);
    SystemRandom::new()
        .fill(&mut *seed)
        .map_err(|_| Error::Crypto {
            doing: "get random bytes",
        })?;
    Ok(seed)
}

/// A key that verifies. Written as `<name>+<id>+<base64>`.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct VerifyingKey {
    name: String,
    id: u32,
    algorithm: Algorithm,
    public: [u8; 32],
}

impl std::fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut bytes = vec![self.algorithm as u8];
        bytes.extend(self.public);
        write!(f, "{}+{:08x}+{}", self.name, self.id, to_base64(&bytes))
    }
}

impl VerifyingKey {
    fn of(name: &str, algorithm: Algorithm, public: [u8; 32]) -> Self {
        Self {
            name: name.to_owned(),
            id: id(name, algorithm, &public),
            algorithm,
            public,
        }
    }

    /// Reads one (a *vkey*).
    ///
    /// # Errors
    /// [`Error::Format`], also if it is of another algorithm than those of [`Algorithm`], or its id is not that of its key.
    pub fn parse(text: &str) -> Result<Self> {
        let read = || {
            let (name, rest) = text.split_once('+')?;
            let (hex, key) = rest.split_once('+')?;
            // Base64 may have a plus, an id has none.
            let bytes = from_base64(key)?;
            let (algorithm, public) = bytes.split_first()?;
            let public = <[u8; 32]>::try_from(public).ok()?;
            let key = Self::of(name, Algorithm::from_byte(*algorithm)?, public);
            (is_name(name) && format!("{:08x}", key.id) == hex).then_some(key)
        };
        read().ok_or_else(|| {
            let wanted = "<name>+<id>+<base64> of an Ed25519 key of a log (1) or a witness (4)";
            Error::format("public key of a note", shown(text), wanted)
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What names it beside its name: the beginning of a hash of name, algorithm and key. It proves nothing.
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// What it verifies.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether it is the same key, under whichever name.
    pub(crate) fn is_same_key(&self, other: &Self) -> bool {
        self.public == other.public
    }

    /// Whether these bytes, without the id, are its signature of a text; when it was made, if it says so.
    pub(crate) fn check(&self, text: &str, bytes: &[u8]) -> Result<Option<u64>> {
        let forged = || Error::Forged {
            what: "note",
            key: self.name.clone(),
        };
        let key = UnparsedPublicKey::new(&ED25519, &self.public);
        match self.algorithm {
            Algorithm::Ed25519 => {
                key.verify(text.as_bytes(), bytes).map_err(|_| forged())?;
                Ok(None)
            }
            Algorithm::Cosignature => {
                let (time, bytes) = bytes.split_first_chunk::<8>().ok_or_else(forged)?;
                let time = u64::from_be_bytes(*time);
                if i64::try_from(time).is_err() {
                    return Err(forged());
                }
                let message = cosignature::message(text, time);
                key.verify(message.as_bytes(), bytes)
                    .map_err(|_| forged())?;
                Ok(Some(time))
            }
        }
    }
}

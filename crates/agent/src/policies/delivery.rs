//! Sets of the control plane: verified, compiled, kept, put in force, in this order. Whatever fails leaves what was.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use rustls::pki_types::UnixTime;
use skans_api::v1;
use skans_identity::head::{Audience, Head, SignedHead};
use skans_identity::policy_set::{self, Origin, SignedSet, Step};
use skans_identity::verify::Verifier;
use skans_policy::{Engine, Source, Version};
use tokio::sync::watch;

use super::{InForce, Policies, Standing, compile, nothing};
use crate::Error;
use crate::control::{Item, State};
use crate::revocation::Revocation;

/// What sets of the control plane are verified by, and where they are kept.
#[derive(Debug)]
pub struct Signed {
    /// The agent's own directory.
    pub state: Arc<State>,
    /// Trust.
    pub verifier: Arc<Verifier>,
    /// For whom they must be.
    pub audience: Audience,
    /// The one that came last and was not looked at yet.
    pub arrived: watch::Sender<Option<Arc<[u8]>>>,
    /// The same of those to compare with.
    pub candidate: watch::Sender<Option<Arc<v1::CandidateSet>>>,
}

/// What became of a set.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Delivered {
    /// It decides from now on.
    InForce,
    /// It was in force before, and may be used for longer.
    Prolonged,
    /// Nothing new.
    Known,
}

/// The same version, in the words of the engine.
pub(super) const fn plain(version: policy_set::Version) -> Version {
    Version {
        epoch: version.epoch,
        n: version.n,
    }
}

impl Policies {
    /// A set has come over the stream. It is looked at where nobody waits for it.
    pub fn arrived(&self, signed: Vec<u8>) {
        if let Some(own) = &self.signed {
            self.pending.fetch_add(1, Relaxed);
            own.arrived.send_replace(Some(signed.into()));
        }
    }

    /// Takes a set that has come, or refuses it, with its word for metrics. Blocks: it verifies, compiles and writes.
    ///
    /// # Errors
    /// [`Error::Policy`]: why it is not taken. What was in force stays. [`Error::File`] if it cannot be kept: then it does not
    /// come into force either, since a restart would forget it.
    pub fn take(&self, bytes: &[u8], revocation: &Revocation) -> Result<Delivered, Error> {
        let open = revocation.horizon().map(|mark| mark.epoch);
        let taken = SignedSet::decode(bytes)
            .map_err(|error| Error::policy(error.to_string(), "encoding"))
            .and_then(|set| self.consider(&set, Origin::Wire, open, UnixTime::now()));
        if let Err(error) = &taken {
            self.refused.count(error.label());
            tracing::error!(reason = error.label(), version = %self.current().version(), "a policy set is refused, what is in force stays: {error}");
        }
        taken
    }

    /// Everything that makes a set one that may decide here.
    pub(super) fn consider(
        &self,
        set: &SignedSet,
        origin: Origin,
        open: Option<u64>,
        now: UnixTime,
    ) -> Result<Delivered, Error> {
        let Some(own) = &self.signed else {
            return Err(Error::policy("there is no control plane", "unexpected"));
        };
        let mut inner = self.lock();
        let refused =
            |refusal: skans_identity::Refusal| Error::policy(refusal.to_string(), refusal.label());
        let verified = set
            .verify(&own.verifier, &own.audience, &schemas(), origin, now)
            .map_err(refused)?;
        let mut horizon = inner.horizon;
        let step = horizon.accept(&verified, open).map_err(refused)?;
        let (version, not_after) = (plain(verified.set().version), verified.set().not_after);
        let present = self.current();
        let decides = present.standing == Standing::Signed && present.version() == version;
        if decides && present.expires.is_some_and(|known| known >= not_after) {
            return Ok(Delivered::Known);
        }
        let next = if decides {
            InForce {
                engine: Arc::clone(&present.engine),
                standing: Standing::Signed,
                name: present.name.clone(),
                expires: Some(not_after),
                links: Arc::clone(&present.links),
            }
        } else {
            engine(&verified, version, not_after, &own.audience)?
        };
        if origin == Origin::Wire {
            // The set first: a crash between the two leaves what was on the disk or what is newer, and never a horizon without its set.
            own.state.write(Item::Policy, &set.encode())?;
        }
        if step == Step::Forward {
            own.state.write(Item::PolicyHorizon, &horizon.to_bytes())?;
            inner.horizon = horizon;
        }
        if decides {
            self.current.store(Arc::new(next));
            // Nothing is decided otherwise, but the control plane wants to know.
            self.changes.send_modify(|count| *count += 1);
            return Ok(Delivered::Prolonged);
        }
        self.put(next);
        Ok(Delivered::InForce)
    }

    /// Where the newest head names a set and none was ever seen here, nothing decides until it has come: the one that is built in
    /// may permit more.
    ///
    /// # Errors
    /// [`Error::Policy`]: none in a build that passes its own tests.
    pub fn look_at(&self, revocation: &Revocation) -> Result<(), Error> {
        if self.current().standing != Standing::BuiltIn {
            return Ok(());
        }
        let newest = revocation.newest().borrow().clone();
        let named = newest
            .and_then(|bytes| SignedHead::decode(&bytes).ok())
            .and_then(|signed| Head::decode(&signed.head).ok());
        let Some(named) = named.filter(|head| head.policy > 0) else {
            return Ok(());
        };
        let _inner = self.lock();
        if self.current().standing == Standing::BuiltIn {
            let version = Version {
                epoch: named.epoch,
                n: named.policy,
            };
            tracing::warn!(%version, "the control plane names a policy set that is not here yet: everything is refused until it is");
            self.put(nothing(version, Standing::Missing)?);
        }
        Ok(())
    }

    /// What the control plane is told: the set of its own that decides here.
    #[must_use]
    pub fn said(&self) -> Option<v1::PolicyVersion> {
        let present = self.current();
        (present.standing == Standing::Signed).then(|| v1::PolicyVersion {
            epoch: present.version().epoch,
            n: present.version().n,
            not_after: present.expires.unwrap_or_default(),
        })
    }
}

fn engine(
    verified: &policy_set::VerifiedSet,
    version: Version,
    not_after: u64,
    audience: &Audience,
) -> Result<InForce, Error> {
    let (engine, source) = sound(verified, version)?;
    Ok(InForce {
        engine,
        links: super::links(&source, audience)?,
        standing: Standing::Signed,
        name: source.name,
        expires: Some(not_after),
    })
}

/// What a set says, compiled.
pub(super) fn sound(
    verified: &policy_set::VerifiedSet,
    version: Version,
) -> Result<(Arc<Engine>, Source), Error> {
    let content = str::from_utf8(&verified.set().content)
        .map_err(|_| Error::policy("a content that is not UTF-8", "compile"))?;
    let source = Source::from_canonical(content, version)
        .map_err(|problems| Error::policy(problems.to_string(), "compile"))?;
    Ok((Arc::new(compile(&source)?), source))
}

/// The schemas that a set may be checked against.
pub(super) fn schemas() -> [[u8; 32]; 2] {
    [schema(), BEFORE_SERVICES]
}

/// SHA-256 of the schema before there were services, to which the present one only adds: sets in force outlive an upgrade.
const BEFORE_SERVICES: [u8; 32] = [
    0x28, 0x87, 0x90, 0xa4, 0x2a, 0x65, 0x4c, 0xb5, 0x1f, 0x11, 0x5c, 0x3e, 0x7b, 0x3f, 0x02, 0x08,
    0xd9, 0x65, 0x11, 0x00, 0xe0, 0x5b, 0x85, 0x5c, 0xf8, 0xb1, 0x01, 0x70, 0x70, 0xf7, 0x98, 0x84,
];

/// SHA-256 of the schema that sets are checked against here.
#[must_use]
pub fn schema() -> [u8; 32] {
    let mut out = [0; 32];
    let hash =
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, skans_policy::SCHEMA.as_bytes());
    out.copy_from_slice(hash.as_ref());
    out
}

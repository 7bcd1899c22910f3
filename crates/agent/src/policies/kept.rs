//! The last set that was in force, as the agent keeps it for its next start, with the highest version ever accepted.

use std::sync::Arc;

use rustls::pki_types::UnixTime;
use skans_identity::policy_set::{Horizon, Origin, SignedSet};

use super::delivery::Signed;
use super::{Inner, Policies, Standing, nothing};
use crate::Error;
use crate::control::Item;
use crate::revocation::Revocation;

impl Policies {
    /// At the start, with a control plane: what was kept and is still good; the built-in one where no set was ever seen and no
    /// head names one; otherwise nothing, until one comes.
    ///
    /// # Errors
    /// [`Error::File`] if the horizon cannot be read: an agent that forgets what it has seen can be sent back.
    pub fn open(signed: Signed, revocation: &Revocation) -> Result<Self, Error> {
        let horizon = match signed.state.read(Item::PolicyHorizon)? {
            Some(bytes) => Horizon::from_bytes(&bytes).map_err(|error| {
                Error::file(
                    &signed.state.path(Item::PolicyHorizon),
                    format!("{error}; enrol this agent anew (remove the directory)"),
                )
            })?,
            None => Horizon::default(),
        };
        let domain = signed.audience.trust_domain.as_str().to_owned();
        let first = super::built_in(&domain, &signed.audience.cluster)?;
        let this = Self::of(
            first,
            Some(signed),
            Inner {
                horizon,
                ..Inner::default()
            },
        );
        this.take_kept(revocation)?;
        Ok(this)
    }

    fn take_kept(&self, revocation: &Revocation) -> Result<(), Error> {
        let Some(signed) = &self.signed else {
            return Ok(());
        };
        if let Some(bytes) = signed.state.read(Item::Policy)? {
            let open = revocation.horizon().map(|mark| mark.epoch);
            let taken = SignedSet::decode(&bytes)
                .map_err(|error| Error::policy(error.to_string(), "encoding"))
                .and_then(|set| self.consider(&set, Origin::Kept, open, UnixTime::now()));
            if let Err(error) = taken {
                self.refused.count(error.label());
                tracing::error!(
                    reason = error.label(),
                    "the policy set that was kept is not used: {error}"
                );
                self.lock().refused_at_start = Some(error);
            }
        }
        let seen = self.lock().horizon.version();
        if let Some(version) = seen
            && self.current().standing == Standing::BuiltIn
        {
            self.current.store(Arc::new(nothing(
                super::delivery::plain(version),
                Standing::Missing,
            )?));
        }
        self.look_at(revocation)
    }
}

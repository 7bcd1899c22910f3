//! One connection to the control plane, made when it is needed and shared by all who ask: which replica, with which
//! certificate, and what to do when it is lost.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use skans_identity::control_tls::{ControlPlane, HTTP2, client_config};
use skans_identity::credential::Credential;
use tokio::sync::watch;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::dial;
use crate::Error;

/// Longest message from the control plane in bytes: a snapshot of some ten thousand deny entries. tonic's own limit is
/// 4 MiB.
pub const MAX_MESSAGE: usize = 32 * 1024 * 1024;

/// How this agent reaches the control plane.
pub struct Sessions {
    verifier: Arc<ControlPlane>,
    own: ArcSwapOption<Credential>,
    /// Counts up with each new certificate of the agent's own.
    renewed: watch::Sender<u64>,
    addresses: Mutex<Vec<String>>,
    open: tokio::sync::Mutex<Option<Open>>,
}

struct Open {
    channel: Channel,
    address: String,
    with: u64,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}

impl Sessions {
    /// Connects to nobody yet.
    pub fn new(verifier: Arc<ControlPlane>, addresses: Vec<String>) -> Self {
        Self {
            verifier,
            own: ArcSwapOption::empty(),
            renewed: watch::Sender::default(),
            addresses: Mutex::new(addresses),
            open: tokio::sync::Mutex::default(),
        }
    }

    /// The agent's own certificate from now on.
    pub fn set_own(&self, credential: Credential) {
        self.own.store(Some(Arc::new(credential)));
        self.renewed.send_modify(|count| *count += 1);
    }

    /// The agent's own certificate.
    pub fn own(&self) -> Option<Arc<Credential>> {
        self.own.load_full()
    }

    /// Changes with each new certificate of the agent's own.
    pub fn renewed(&self) -> watch::Receiver<u64> {
        self.renewed.subscribe()
    }

    /// Where the control plane is, the address that is to be tried next first.
    pub fn addresses(&self) -> Vec<String> {
        self.lock().clone()
    }

    /// Where the control plane is from now on.
    pub fn set_addresses(&self, addresses: Vec<String>) {
        *self.lock() = addresses;
    }

    /// A connection with the agent's present certificate: the one that is open, or a new one to the first replica that
    /// answers.
    ///
    /// # Errors
    /// [`Error::Control`] of the last address that was tried; [`Error::NoIdentity`] before enrolment.
    pub async fn channel(&self) -> Result<(Channel, String), Error> {
        let with = *self.renewed.borrow();
        let mut open = self.open.lock().await;
        if let Some(open) = open.as_ref().filter(|open| open.with == with) {
            return Ok((open.channel.clone(), open.address.clone()));
        }
        let own = self.own().ok_or_else(|| Error::NoIdentity {
            name: "this agent".to_owned(),
            why: "it is not enrolled yet",
        })?;
        let verifier = Arc::clone(&self.verifier);
        let tls = client_config(verifier, Some(&own), HTTP2)
            .map_err(|error| Error::Internal(error.to_string()))?;
        let mut last = no_address();
        for address in self.addresses() {
            match dial::connect(&address, Arc::clone(&tls), |_| Ok(())).await {
                Ok((channel, ())) => {
                    tracing::debug!(%address, "connected to the control plane");
                    *open = Some(Open {
                        channel: channel.clone(),
                        address: address.clone(),
                        with,
                    });
                    return Ok((channel, address));
                }
                Err(error) => last = error,
            }
            self.pass_over(&address);
        }
        *open = None;
        Err(last)
    }

    /// A call failed: what that means. If the replica is at fault, another is asked next time.
    pub async fn failed(&self, address: &str, status: &Status) -> Error {
        let error = refusal(address, status);
        if error.may_retry() {
            let mut open = self.open.lock().await;
            if open.as_ref().is_some_and(|open| open.address == address) {
                *open = None;
            }
            self.pass_over(address);
        }
        error
    }

    /// Puts an address last.
    fn pass_over(&self, address: &str) {
        let mut addresses = self.lock();
        if addresses.first().is_some_and(|first| first == address) {
            addresses.rotate_left(1);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// There is nobody to ask.
pub fn no_address() -> Error {
    Error::config(
        "identity.control.addresses",
        "found none, wanted host:port of the control plane, there or in the join token",
    )
}

/// What a status means. Its text is foreign: it is cut and its control characters are shown as such.
pub fn refusal(address: &str, status: &Status) -> Error {
    let (retry, label) = match status.code() {
        Code::Unauthenticated => (false, "unauthenticated"),
        Code::PermissionDenied => (false, "denied"),
        Code::InvalidArgument => (false, "invalid"),
        Code::FailedPrecondition | Code::AlreadyExists | Code::NotFound => (false, "refused"),
        Code::Unimplemented => (false, "unimplemented"),
        Code::ResourceExhausted => (true, "limited"),
        Code::DeadlineExceeded => (true, "timed_out"),
        Code::Unavailable => (true, "unavailable"),
        _ => (true, "failed"),
    };
    let text: String = status.message().chars().take(256).collect();
    Error::Control {
        address: address.to_owned(),
        problem: text.escape_debug().to_string(),
        retry,
        label,
    }
}

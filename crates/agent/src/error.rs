//! What can go wrong in the agent: who is to blame, whether to try again, and its metric label.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use skans_host::error::{BadLevel, FileError};
use skans_link::{Close, Reason};

/// Who has to act for it not to happen again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Blame {
    /// Whoever wrote the configuration or owns the files.
    Configuration,
    /// A node or another process of this host.
    Local,
    /// Another host: its agent, its node, or the network between.
    Peer,
    /// This program.
    Agent,
}

/// An error of the agent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration cannot be used.
    #[error("{origin}: {problem}")]
    Config {
        /// The file or variable.
        origin: String,
        /// Which key, what was found, what was wanted.
        problem: String,
    },
    /// A file cannot be used, or not safely.
    #[error(transparent)]
    File(#[from] FileError),
    /// A port cannot be opened.
    #[error("cannot listen on {address} for {purpose}: {source}")]
    Bind {
        /// What the port is for, and the key that sets it.
        purpose: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A process of this host that may not do what it asks.
    #[error("refused a local process: {0}")]
    LocalStranger(String),
    /// The node of this host and its agent disagree about the cookie.
    #[error("{node} and its agent hold different cookies: the node did not read {}, or set another cookie later", file.display())]
    Cookie {
        /// The node.
        node: String,
        /// The file that both should hold.
        file: PathBuf,
    },
    /// A node of this host speaks the handshake wrongly or stops in the middle.
    #[error("handshake with the local node: {0}")]
    LocalHandshake(String),
    /// Nobody knows where a node is.
    #[error(
        "{0} is neither a node of this host, nor covered by peers.static or peers.dns, nor an alias of a link in force"
    )]
    Unresolved(String),
    /// The other agent cannot be reached.
    #[error("cannot reach the agent of {node} at {address}: {source}")]
    Unreachable {
        /// The node that was wanted.
        node: String,
        /// Where its agent should be.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The other agent could not be reached several times, and is not dialled for a while.
    #[error("{peer} could not be reached lately ({why}): not tried again for {} ms", retry_in.as_millis())]
    CircuitOpen {
        /// Where it is dialled.
        peer: String,
        /// The label of the last failure.
        why: &'static str,
        /// For how long, more or less.
        retry_in: Duration,
    },
    /// The TLS handshake failed. The text holds the refusal of either side's verifier.
    #[error("TLS with {address}: {problem}")]
    Tls {
        /// The other end.
        address: SocketAddr,
        /// Why.
        problem: String,
        /// A stable word for it.
        label: &'static str,
    },
    /// The control plane cannot be reached, or refuses.
    #[error("control plane at {address}: {problem}")]
    Control {
        /// Where.
        address: String,
        /// What it said, or what failed.
        problem: String,
        /// Whether trying again later can help.
        retry: bool,
        /// A stable word for it.
        label: &'static str,
    },
    /// Class `strict`, and nobody has said for too long what is revoked.
    #[error("nobody has said for {0} s what is revoked: class strict opens no new links")]
    Stale(u64),
    /// Class `strict`, or `events.required`, and what happens cannot be written down.
    #[error(
        "events cannot be kept (the disk or events.spool is full, or cannot be written): no new links are opened"
    )]
    NoRoomForEvents,
    /// A head or deny entries that are not the control plane's, or not in order.
    #[error("revocation: {0}")]
    Unverifiable(String),
    /// A policy set that is not taken: who made it is to blame, or whoever plays an old one again.
    #[error("policy set: {problem}")]
    Policy {
        /// What was found, where, and what was wanted.
        problem: String,
        /// A stable word for it.
        label: &'static str,
    },
    /// A credential of our own that nobody would accept.
    #[error("the certificate for {name} cannot be used: {problem}")]
    Credential {
        /// The node name, or `cli@host`.
        name: String,
        /// What a verifier would say to it.
        problem: String,
    },
    /// There is no certificate to speak with.
    #[error("no certificate for {name}: {why}")]
    NoIdentity {
        /// The node name, or `cli@host`.
        name: String,
        /// Why not.
        why: &'static str,
    },
    /// A certificate that may not carry the node name claimed or dialled.
    #[error("{0}")]
    WrongName(String),
    /// The pair is not allowed to connect.
    #[error("{from} may not connect to {to}: {why}")]
    NotPermitted {
        /// The node that calls.
        from: String,
        /// The node that is called.
        to: String,
        /// The rule.
        why: String,
    },
    /// The other agent closed, and said why.
    #[error("the other agent closed: {} ({})", .0.text, .0.reason.label())]
    Closed(Close),
    /// The other agent went away without a word.
    #[error("the link was lost: {0}")]
    LinkLost(io::Error),
    /// The other agent broke the link protocol.
    #[error("link protocol: {0}")]
    Link(#[from] skans_link::Error),
    /// A distribution stream that cannot be understood.
    #[error("distribution stream from {from}: {problem}")]
    Stream {
        /// The side it came from.
        from: &'static str,
        /// Where and what.
        problem: skans_dist::Error,
    },
    /// What another process of this agent said in taking over is not of the format.
    #[error(transparent)]
    Handover(#[from] skans_handover::Error),
    /// The agent of this host does not hand over to this process.
    #[error("not handed over: {0}")]
    NotHandedOver(String),
    /// The called node is not registered here.
    #[error("{0} is not registered with this agent")]
    NotRegistered(String),
    /// No service of that name is offered by that node.
    #[error("{node} offers no service {service:?}")]
    UnknownService {
        /// The node.
        node: String,
        /// What was asked for.
        service: String,
    },
    /// A service of this host takes no connection.
    #[error("the service {service:?} at {target} takes no connection: {source}")]
    ServiceDown {
        /// Its name.
        service: String,
        /// Where it should listen.
        target: String,
        /// What the system said.
        source: io::Error,
    },
    /// Both directions of a service's connection have ended.
    #[error("both sides have said all")]
    Done,
    /// The client or service of this host gave its connection up.
    #[error("the connection to the local process was reset")]
    Reset,
    /// The called node itself said no.
    #[error("the called node answered {0:?}")]
    NodeRefused(String),
    /// A session that is not here, or not for this caller. Why is for our own log alone.
    #[error("no such session: {0}")]
    UnknownSession(String),
    /// A step took too long.
    #[error("{0} took longer than it may")]
    TimedOut(&'static str),
    /// A bound is reached.
    #[error("{what}: {limit} already, which is the limit")]
    TooMany {
        /// What there is too much of.
        what: String,
        /// The bound.
        limit: usize,
    },
    /// Ended from this side: drained, superseded, or no longer permitted.
    #[error("ended here: {} ({})", .0.text, .0.reason.label())]
    Ended(Close),
    /// The local node hung up, as nodes do.
    #[error("the local node closed the connection")]
    NodeLeft,
    /// Something failed that nobody outside is to blame for.
    #[error("{0}")]
    Internal(String),
}

impl Error {
    pub(crate) fn config(origin: &str, problem: impl Into<String>) -> Self {
        Self::Config {
            origin: origin.to_owned(),
            problem: problem.into(),
        }
    }

    pub(crate) fn file(path: &Path, problem: impl Into<String>) -> Self {
        Self::File(FileError::new(path, problem))
    }

    pub(crate) fn policy(problem: impl Into<String>, label: &'static str) -> Self {
        Self::Policy {
            problem: problem.into(),
            label,
        }
    }

    /// Who has to act.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Config { .. }
            | Self::Policy { .. }
            | Self::Credential { .. }
            | Self::File(_)
            | Self::NoRoomForEvents
            | Self::Bind { .. }
            | Self::Unresolved(_) => Blame::Configuration,
            Self::Cookie { .. }
            | Self::LocalHandshake(_)
            | Self::LocalStranger(_)
            | Self::NodeLeft
            | Self::Done
            | Self::Reset
            | Self::ServiceDown { .. }
            | Self::NotRegistered(_) => Blame::Local,
            Self::CircuitOpen { .. }
            | Self::Closed(_)
            | Self::Link(_)
            | Self::LinkLost(_)
            | Self::NodeRefused(_)
            | Self::NotPermitted { .. }
            | Self::Stream { .. }
            | Self::TimedOut(_)
            | Self::Tls { .. }
            | Self::TooMany { .. }
            | Self::UnknownService { .. }
            | Self::UnknownSession(_)
            | Self::Unreachable { .. }
            | Self::Unverifiable(_)
            | Self::WrongName(_) => Blame::Peer,
            // A refusal is for whoever registers agents and nodes.
            Self::Control { .. } => Blame::Configuration,
            Self::Ended(_)
            | Self::Handover(_)
            | Self::Internal(_)
            | Self::NotHandedOver(_)
            | Self::NoIdentity { .. }
            | Self::Stale(_) => Blame::Agent,
        }
    }

    /// A stable word for metrics and logs.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Bind { .. } => "bind",
            Self::CircuitOpen { .. } => "circuit_open",
            Self::Closed(close) | Self::Ended(close) => close.reason.label(),
            Self::Config { .. } => "config",
            Self::Control { label, .. } => label,
            Self::Cookie { .. } => "cookie",
            Self::Credential { .. } => "credential",
            Self::Done => "done",
            Self::File(_) => "file",
            Self::Handover(_) => "handover_format",
            Self::NotHandedOver(_) => "not_handed_over",
            Self::Internal(_) => "internal",
            Self::Link(skans_link::Error::Version { .. }) => "version",
            Self::Link(_) => "protocol",
            Self::LinkLost(_) => "link_lost",
            Self::LocalHandshake(_) => "local_handshake",
            Self::LocalStranger(_) => "local_stranger",
            Self::NoIdentity { .. } => "no_identity",
            Self::NoRoomForEvents => "no_room_for_events",
            Self::NodeLeft => "node_left",
            Self::NodeRefused(_) => "node_refused",
            Self::NotPermitted { .. } => "not_permitted",
            Self::NotRegistered(_) => "unknown_node",
            Self::Reset => "reset",
            Self::ServiceDown { .. } => "service_down",
            Self::Stream { .. } => "bad_stream",
            Self::TimedOut(_) => "timed_out",
            Self::Tls { label, .. } => label,
            Self::TooMany { .. } => "too_many",
            Self::UnknownService { .. } => "unknown_service",
            Self::UnknownSession(_) => "unknown_session",
            Self::Unreachable { .. } => "unreachable",
            Self::Unresolved(_) => "unresolved",
            Self::Policy { label, .. } => label,
            Self::Stale(_) => "stale",
            Self::Unverifiable(_) => "unverifiable",
            Self::WrongName(_) => "wrong_name",
        }
    }

    /// Whether the same attempt may succeed later without anybody changing anything.
    #[must_use]
    pub const fn may_retry(&self) -> bool {
        match self {
            Self::Closed(close) | Self::Ended(close) => close.reason.may_retry(),
            Self::Control { retry, .. } => *retry,
            Self::CircuitOpen { .. }
            | Self::LinkLost(_)
            | Self::NoIdentity { .. }
            | Self::Stale(_)
            | Self::NoRoomForEvents
            | Self::NodeLeft
            | Self::NodeRefused(_)
            | Self::NotRegistered(_)
            | Self::Done
            | Self::Reset
            | Self::ServiceDown { .. }
            | Self::TimedOut(_)
            | Self::TooMany { .. }
            | Self::Unreachable { .. } => true,
            _ => false,
        }
    }

    /// Whether it says that nobody is there, or nobody who answers. A refusal, for whatever reason, says that somebody is.
    #[must_use]
    pub const fn is_outage(&self) -> bool {
        matches!(
            self,
            Self::LinkLost(_)
                | Self::ServiceDown { .. }
                | Self::TimedOut(_)
                | Self::Unreachable { .. }
        )
    }

    /// Whether nodes do this among themselves all the time: giving way when both connect at once, or
    /// hanging up; or it was said already, once for many. Not worth a warning.
    #[must_use]
    pub const fn is_ordinary(&self) -> bool {
        match self {
            Self::CircuitOpen { .. }
            | Self::NodeLeft
            | Self::NodeRefused(_)
            | Self::Done
            | Self::Reset => true,
            Self::Closed(close) => matches!(
                close.reason,
                Reason::NodeLeft | Reason::NodeRefused | Reason::Done | Reason::Reset
            ),
            _ => false,
        }
    }

    /// What to tell the other agent. Nothing of this host's files or users leaves it.
    #[must_use]
    pub fn to_close(&self) -> Close {
        let reason = match self {
            Self::Closed(close) | Self::Ended(close) => return close.clone(),
            Self::WrongName(_) => Reason::WrongName,
            Self::NotPermitted { .. } => Reason::NotPermitted,
            Self::NotRegistered(_) => Reason::UnknownNode,
            Self::NodeRefused(_) => Reason::NodeRefused,
            Self::TimedOut(_) => Reason::TimedOut,
            Self::Stale(_) => Reason::Stale,
            Self::Unverifiable(_) => Reason::Unverifiable,
            Self::TooMany { .. } => Reason::TooMany,
            Self::Link(skans_link::Error::Version { .. }) => Reason::Version,
            Self::Link(_) => Reason::Protocol,
            Self::Stream { .. } => Reason::BadStream,
            Self::NodeLeft => Reason::NodeLeft,
            Self::Done => Reason::Done,
            Self::Reset => Reason::Reset,
            Self::UnknownService { .. } => Reason::UnknownService,
            Self::ServiceDown { service, .. } => {
                let text = format!("the service {service:?} takes no connection");
                return Close::new(Reason::ServiceDown, text);
            }
            Self::Cookie { node, .. } => {
                return Close::new(
                    Reason::NodeHandshake,
                    format!("{node} and its agent hold different cookies"),
                );
            }
            Self::LocalHandshake(_) => Reason::NodeHandshake,
            // A certificate that held when the connection was made. What the verifier says names roots of ours.
            Self::Tls { label, .. } => {
                let (reason, text) = match *label {
                    "denied" => (Reason::Denied, "denied by the control plane"),
                    "expired" => (Reason::Expired, "the certificate has run out"),
                    _ => (Reason::NotPermitted, "the certificate no longer holds"),
                };
                return Close::new(reason, text);
            }
            // Whether it is there, and whose it is, is no business of whoever asks.
            Self::UnknownSession(_) => {
                return Close::new(Reason::UnknownSession, "no such session for this caller");
            }
            _ => return Close::new(Reason::Internal, "see the log of this agent"),
        };
        Close::new(reason, self.to_string())
    }
}

impl From<skans_dist::Error> for Error {
    /// Of a stream; whoever knows whose it is says so.
    fn from(problem: skans_dist::Error) -> Self {
        Self::Stream {
            from: "a node",
            problem,
        }
    }
}

impl From<BadLevel> for Error {
    fn from(bad: BadLevel) -> Self {
        Self::config("log.level", bad.to_string())
    }
}

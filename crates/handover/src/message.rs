//! The messages. Text is bounded and read strictly: an unknown field is another format.

use std::net::SocketAddr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::frame::{Header, join, split};

/// The oldest format that this release reads and writes. The one of the release before stays.
pub const FORMAT_MIN: u16 = 1;
/// The newest.
pub const FORMAT_MAX: u16 = 2;
/// The first in which the doors of services go over.
pub const FORMAT_SERVICES: u16 = 2;

/// What a message is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Kind {
    /// The new process asks.
    Ask = 1,
    /// What listens.
    Doors = 2,
    /// The new process has all that it needs but the links.
    Ready = 3,
    /// A registered node.
    Node = 4,
    /// A stand-in port.
    StandIn = 5,
    /// What is remembered of a node or of a peer besides.
    Table = 6,
    /// A link.
    Link = 7,
    /// That was all.
    Done = 8,
    /// The new process has it.
    Taken = 9,
    /// It is the new one's.
    Go = 10,
    /// It is not handed over: why.
    Refused = 11,
}

impl Kind {
    /// Of the byte that stands for it.
    ///
    /// # Errors
    /// [`Error::Unknown`].
    pub const fn from_byte(byte: u8) -> Result<Self, Error> {
        Ok(match byte {
            1 => Self::Ask,
            2 => Self::Doors,
            3 => Self::Ready,
            4 => Self::Node,
            5 => Self::StandIn,
            6 => Self::Table,
            7 => Self::Link,
            8 => Self::Done,
            9 => Self::Taken,
            10 => Self::Go,
            11 => Self::Refused,
            other => return Err(Error::Unknown(other)),
        })
    }
}

/// The highest format in common.
///
/// # Errors
/// [`Error::Format`].
pub fn agree(ask: &Ask) -> Result<u16, Error> {
    let highest = ask.max.min(FORMAT_MAX);
    if highest < ask.min.max(FORMAT_MIN) {
        return Err(Error::Format {
            min: ask.min,
            max: ask.max,
            ours_min: FORMAT_MIN,
            ours_max: FORMAT_MAX,
        });
    }
    Ok(highest)
}

/// What the new process says first. This message stays readable in all formats.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ask {
    /// Lowest format that it knows.
    pub min: u16,
    /// Highest.
    pub max: u16,
    /// Its release, for logs.
    pub release: String,
}

/// Why nothing is handed over. This message stays readable in all formats.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    /// For people.
    pub why: String,
}

/// What a socket is for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Use {
    /// Links of other agents.
    Links,
    /// The epmd of this host's nodes.
    Epmd,
    /// Health and metrics.
    Health,
    /// `skans status` and so on.
    Admin,
    /// The Workload API.
    Workload,
    /// Whoever is to take the place of an agent.
    Handover,
    /// The state directory: no socket, but its lock.
    State,
    /// The door of a service, from [`FORMAT_SERVICES`] on.
    Service,
}

/// Something that is open.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Door {
    /// What it is for.
    pub what: Use,
    /// As it was configured: an address (whose port may be 0), or a path.
    pub configured: String,
}

/// What listens, each with its socket.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Doors {
    /// In which format the rest is.
    pub format: u16,
    /// The release of the old process, for logs.
    pub release: String,
    /// What listens, in the order of the sockets.
    pub doors: Vec<Door>,
}

/// Counts that go on.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Counts {
    /// How often agents have handed over here, without this one.
    pub handovers: u64,
    /// The number of the newest link.
    pub links: u64,
    /// For the creations of nodes.
    pub creations: u64,
}

/// That was all.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Done {
    /// Nodes.
    pub nodes: usize,
    /// Stand-in ports.
    pub stand_ins: usize,
    /// Tables.
    pub tables: usize,
    /// Links.
    pub links: usize,
    /// Whether the old one knew all that was revoked.
    pub settled: bool,
    /// Counts that go on.
    pub counts: Counts,
}

/// A registered node, with its registration.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// Tells its lives apart.
    pub creation: u32,
    /// Its `net_ticktime` in seconds; 0 if unknown.
    pub tick_seconds: u16,
    /// The user that runs it.
    pub uid: u32,
    /// Whether it is a short-lived one.
    pub cli: bool,
    /// Whether it tells which of its processes bear names.
    pub tells_names: bool,
}

/// What comes with a node in bytes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct NodeParts {
    /// The names that it told last, as it told them; empty before.
    pub names: Vec<u8>,
    /// What was read of the next table.
    pub partial: Vec<u8>,
}

/// A stand-in port, with its listeners.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StandIn {
    /// The node that it stands for.
    pub target: String,
    /// The port.
    pub port: u16,
}

/// What a table is of.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Table {
    /// What a node has handed out.
    #[serde(rename_all = "camelCase")]
    Handles {
        /// The node.
        node: String,
    },
    /// Which atoms a peer has made in a node.
    #[serde(rename_all = "camelCase")]
    Atoms {
        /// The node.
        node: String,
        /// Its life.
        creation: u32,
        /// The SPIFFE ID of the peer.
        peer: String,
    },
}

/// Its content: hashes, of eight bytes each.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TableParts {
    /// The key that they were made with.
    pub key: [u8; 16],
    /// The younger ones.
    pub young: Vec<u64>,
    /// The older ones.
    pub old: Vec<u64>,
}

/// One end's certificate, as it was verified.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Evidence {
    /// SPIFFE ID.
    pub id: String,
    /// Host name.
    pub host: Option<String>,
    /// First second of the leaf.
    pub not_before: u64,
    /// Last second of the leaf.
    pub not_after: u64,
    /// Serial number.
    pub serial: String,
    /// Name of the issuer.
    pub issuer: String,
    /// SHA-256 of the public key.
    pub key: [u8; 32],
    /// The same of each CA above it.
    pub signers: Vec<[u8; 32]>,
    /// The cluster that the issuer signs for.
    pub cluster: Option<String>,
    /// Last second of the whole chain.
    pub ends: u64,
}

/// What the last connection of a link has proven.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Proof {
    /// The peer's certificate.
    pub peer: Evidence,
    /// Ours.
    pub own: Evidence,
    /// The peer's agent.
    pub address: SocketAddr,
    /// Cipher suite.
    pub suite: String,
    /// Key exchange group.
    pub group: String,
}

/// Bytes and ticks, sent and received.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Traffic {
    /// Bytes from the node of this host.
    pub sent_bytes: u64,
    /// Ticks.
    pub sent_ticks: u64,
    /// Bytes from the peer.
    pub received_bytes: u64,
    /// Ticks.
    pub received_ticks: u64,
}

/// A link, with the socket of its node.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Link {
    /// Its number.
    pub id: u64,
    /// When it came up, Unix time.
    pub since: u64,
    /// The node of this host; `?@host` if it was given its name.
    pub local: String,
    /// The peer, likewise.
    pub peer: String,
    /// The name that was given to one of them.
    pub given: Option<String>,
    /// Whether the node of this host called.
    pub outbound: bool,
    /// Whether each lists the other in `nodes()`.
    pub visible: bool,
    /// The creation of the peer's node.
    pub peer_creation: u32,
    /// What the nodes have agreed on.
    pub flags: u64,
    /// How often it has moved to a fresh connection.
    pub takeovers: u64,
    /// How often it has gone on after a loss.
    pub resumed: u64,
    /// The smaller tick time, in seconds.
    pub tick_seconds: u16,
    /// For how long it has been without a connection, in milliseconds.
    pub adrift_ms: u64,
    /// What it was decided on.
    pub proof: Proof,
    /// What it has carried.
    pub traffic: Traffic,
}

/// What comes with a link in bytes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LinkParts {
    /// `skans_link::Session::freeze`.
    pub session: Vec<u8>,
    /// `skans_link::Window::freeze`: what was read from the node and is kept or undecided.
    pub window: Vec<u8>,
    /// `skans_dist::gate::Gate::freeze`, of what the node sends.
    pub sent: Vec<u8>,
    /// The same of what the peer sends.
    pub received: Vec<u8>,
    /// Undecided bytes of the peer.
    pub held: Vec<u8>,
    /// What the node has not taken yet.
    pub backlog: Vec<u8>,
    /// Answers that wait for the node.
    pub to_node: Vec<u8>,
    /// Answers that wait for the peer.
    pub to_peer: Vec<u8>,
}

/// A message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Message {
    /// The new process asks.
    Ask(Ask),
    /// What listens.
    Doors(Doors),
    /// It could start.
    Ready,
    /// A registered node.
    Node(Node, NodeParts),
    /// A stand-in port.
    StandIn(StandIn),
    /// A table.
    Table(Table, TableParts),
    /// A link.
    Link(Box<Link>, LinkParts),
    /// That was all.
    Done(Done),
    /// It has it.
    Taken,
    /// It is the new one's.
    Go,
    /// It is not handed over.
    Refused(Refused),
}

impl Message {
    /// Which one it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Ask(_) => Kind::Ask,
            Self::Doors(_) => Kind::Doors,
            Self::Ready => Kind::Ready,
            Self::Node(..) => Kind::Node,
            Self::StandIn(_) => Kind::StandIn,
            Self::Table(..) => Kind::Table,
            Self::Link(..) => Kind::Link,
            Self::Done(_) => Kind::Done,
            Self::Taken => Kind::Taken,
            Self::Go => Kind::Go,
            Self::Refused(_) => Kind::Refused,
        }
    }

    /// Header and text, and the bytes behind them.
    ///
    /// # Errors
    /// [`Error::TooLong`], [`Error::Sockets`].
    pub fn encode(&self, fds: usize) -> Result<(Vec<u8>, Vec<u8>), Error> {
        let kind = self.kind();
        self.check_fds(fds)?;
        let (text, bytes) = match self {
            Self::Ask(ask) => (text(kind, ask)?, Vec::new()),
            Self::Doors(doors) => (text(kind, doors)?, Vec::new()),
            Self::Ready | Self::Taken | Self::Go => (Vec::new(), Vec::new()),
            Self::Node(node, parts) => (text(kind, node)?, join(&[&parts.names, &parts.partial])),
            Self::StandIn(stand_in) => (text(kind, stand_in)?, Vec::new()),
            Self::Table(table, parts) => {
                let (young, old) = (bytes_of(&parts.young), bytes_of(&parts.old));
                (text(kind, table)?, join(&[&parts.key, &young, &old]))
            }
            Self::Link(link, parts) => (text(kind, link)?, parts.join()),
            Self::Done(done) => (text(kind, done)?, Vec::new()),
            Self::Refused(refused) => (text(kind, refused)?, Vec::new()),
        };
        Ok((crate::encode(kind, fds, &text, bytes.len())?, bytes))
    }

    /// Reads the text and the bytes that the header has announced.
    ///
    /// # Errors
    /// [`Error::Text`], [`Error::Parts`], [`Error::Sockets`], [`Error::TooLong`].
    pub fn decode(header: &Header, text: &[u8], bytes: &[u8]) -> Result<Self, Error> {
        let kind = header.kind;
        let message = match kind {
            Kind::Ask => Self::Ask(read(kind, text)?),
            Kind::Doors => Self::Doors(read(kind, text)?),
            Kind::Ready => Self::Ready,
            Kind::Node => {
                let [names, partial] = split(kind, bytes)?;
                let parts = NodeParts {
                    names: names.to_vec(),
                    partial: partial.to_vec(),
                };
                Self::Node(read(kind, text)?, parts)
            }
            Kind::StandIn => Self::StandIn(read(kind, text)?),
            Kind::Table => {
                let [key, young, old] = split(kind, bytes)?;
                let key = key.try_into().map_err(|_| Error::Parts {
                    kind,
                    found: key.len(),
                    wanted: 16,
                })?;
                let parts = TableParts {
                    key,
                    young: numbers(kind, young)?,
                    old: numbers(kind, old)?,
                };
                Self::Table(read(kind, text)?, parts)
            }
            Kind::Link => Self::Link(Box::new(read(kind, text)?), LinkParts::split(bytes)?),
            Kind::Done => Self::Done(read(kind, text)?),
            Kind::Taken => Self::Taken,
            Kind::Go => Self::Go,
            Kind::Refused => Self::Refused(read(kind, text)?),
        };
        let has_bytes = matches!(kind, Kind::Node | Kind::Table | Kind::Link);
        if !has_bytes && !bytes.is_empty() {
            return Err(Error::Parts {
                kind,
                found: bytes.len(),
                wanted: 0,
            });
        }
        let has_text = !matches!(kind, Kind::Ready | Kind::Taken | Kind::Go);
        if !has_text && !text.is_empty() {
            return Err(Error::Text {
                kind,
                problem: "it has none".to_owned(),
            });
        }
        message.check_fds(header.fds)?;
        Ok(message)
    }

    fn check_fds(&self, found: usize) -> Result<(), Error> {
        let wanted = match self {
            Self::Doors(doors) => doors.doors.len(),
            Self::Node(..) | Self::Link(..) => 1,
            // One for each loopback address.
            Self::StandIn(_) => found.max(1),
            _ => 0,
        };
        if found == wanted {
            return Ok(());
        }
        Err(Error::Sockets {
            kind: self.kind(),
            found,
            wanted,
        })
    }
}

impl LinkParts {
    fn join(&self) -> Vec<u8> {
        join(&[
            &self.session,
            &self.window,
            &self.sent,
            &self.received,
            &self.held,
            &self.backlog,
            &self.to_node,
            &self.to_peer,
        ])
    }

    fn split(bytes: &[u8]) -> Result<Self, Error> {
        let [
            session,
            window,
            sent,
            received,
            held,
            backlog,
            to_node,
            to_peer,
        ] = split(Kind::Link, bytes)?.map(<[u8]>::to_vec);
        Ok(Self {
            session,
            window,
            sent,
            received,
            held,
            backlog,
            to_node,
            to_peer,
        })
    }
}

fn text<T: Serialize>(kind: Kind, value: &T) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| wrong(kind, &error))
}

fn read<T: DeserializeOwned>(kind: Kind, text: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(text).map_err(|error| wrong(kind, &error))
}

fn wrong(kind: Kind, error: &serde_json::Error) -> Error {
    Error::Text {
        kind,
        problem: error.to_string(),
    }
}

fn bytes_of(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_be_bytes()).collect()
}

fn numbers(kind: Kind, bytes: &[u8]) -> Result<Vec<u64>, Error> {
    let (numbers, rest) = bytes.as_chunks();
    if !rest.is_empty() {
        return Err(Error::Parts {
            kind,
            found: bytes.len(),
            wanted: 8,
        });
    }
    Ok(numbers.iter().map(|n| u64::from_be_bytes(*n)).collect())
}

#[cfg(test)]
mod tests;

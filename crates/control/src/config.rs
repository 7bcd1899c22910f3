//! The control plane's configuration: what may be written, what it means, what is refused.
//!
//! Nothing is read from disk here but the file itself ([`load`]); nothing is opened or bound.
//! Every default stands beside its reason.

mod check;
pub(crate) use check::address;
#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use skans_host::duration::deserialize as duration;
use skans_host::files;
use skans_host::logs::Log;
use skans_otlp::Otlp;

use crate::error::Error;
use crate::kubernetes::ApiServer;

/// The only version of the format so far.
pub const API_VERSION: &str = "skans.io/v1alpha1";

/// Largest configuration file, in bytes. Ours: a full one has 2 KiB.
const MAX_FILE: u64 = 64 * 1024;

/// The configuration of one replica of the control plane.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Must be [`API_VERSION`].
    pub api_version: String,
    /// The SPIFFE trust domain that it signs for.
    pub trust_domain: String,
    /// The cluster that it signs for: one control plane each.
    #[serde(default = "main_cluster")]
    pub cluster: String,
    /// What this replica is called in its own certificate, `/skans/control/<name>`; one replica each.
    #[serde(default = "own_name")]
    pub name: String,
    /// Where the database, the key-encryption key and the Unix socket are. 0700.
    #[serde(default = "var_lib")]
    pub directory: PathBuf,
    /// Where things are remembered.
    #[serde(default)]
    pub database: Database,
    /// The API, gRPC and REST on one port. All addresses: agents of every host must reach it.
    #[serde(default = "api_port")]
    pub listen: SocketAddr,
    /// `host:port` of this control plane as agents dial it; join tokens carry these, in this order. Unless given, the address
    /// that it listens on, or this host's name.
    #[serde(default)]
    pub advertise: Vec<String>,
    /// The Unix socket of the owner; `control.sock` in the directory unless given.
    pub socket: Option<PathBuf>,
    /// Health and metrics.
    #[serde(default)]
    pub admin: Admin,
    /// What leaves look like.
    #[serde(default)]
    pub leaves: Leaves,
    /// The authorities that sign them.
    #[serde(default)]
    pub authority: Authority,
    /// What private keys in the database are encrypted with.
    #[serde(default)]
    pub encryption_key: EncryptionKey,
    /// The API server whose service accounts may enrol.
    pub kubernetes: Option<Kubernetes>,
    /// Other trust domains whose certificates may enrol here, where a registration names them.
    #[serde(default)]
    pub federation: Vec<Federated>,
    /// What agents do without news from here.
    #[serde(default)]
    pub class: Class,
    /// How policy sets are handed out.
    #[serde(default)]
    pub policy: Policy,
    /// For how long it is remembered what was done.
    #[serde(default)]
    pub events: Events,
    /// The file of a witness (`skans witness --config`) that runs in this process, and signs the logs of other clusters. None unless given: a
    /// witness of its own outlives this process, and is nobody's who has this one.
    pub witness: Option<PathBuf>,
    /// What is done by itself about keys that may be stolen.
    #[serde(default)]
    pub response: Response,
    /// Bounds on what strangers may cost.
    #[serde(default)]
    pub limits: Limits,
    /// What is logged, and how.
    #[serde(default)]
    pub log: Log,
}

/// Where things are remembered.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub enum Database {
    /// `control.db` in the directory. One replica, nothing to run beside it.
    #[default]
    Sqlite,
    /// A PostgreSQL server, for several replicas.
    Postgres(Postgres),
}

/// A PostgreSQL server: exactly one of `url` and `urlFile`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Postgres {
    /// `postgresql://user@host/database`. Without a password: this file is no place for one.
    pub url: Option<String>,
    /// A file that holds the URL, password and all; readable by nobody else.
    pub url_file: Option<PathBuf>,
    /// A PEM file with the authorities that sign its certificate; demanded unless it is on this machine.
    pub authorities: Option<PathBuf>,
}

/// Health and metrics.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Admin {
    /// `/livez`, `/readyz`, `/metrics`. Loopback: a pod that is probed from outside sets its own address.
    pub listen: SocketAddr,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 4372)),
        }
    }
}

/// What leaves look like.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Leaves {
    /// How long they live, 5 min to 24 h. 1 h as SPIRE has it, renewed from a sixth on: a stolen key is good for an hour
    /// at most, and the control plane may be away for 50 minutes. Istio and Linkerd give 24 h.
    #[serde(deserialize_with = "duration")]
    pub lifetime: Duration,
    /// Lets `lifetime`, and that of policy sets, be as short as 10 s: for laboratories, where an hour is too long to watch.
    pub laboratory: bool,
}

impl Default for Leaves {
    fn default() -> Self {
        Self {
            lifetime: Duration::from_secs(3600),
            laboratory: false,
        }
    }
}

/// How policy sets are handed out.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Policy {
    /// For how long an agent may use a set after it was signed, 1 h to 30 d. It is signed again when half of that is over; an
    /// agent that cannot be told for so long refuses everything. 7 d: longer than a weekend, and an agent that somebody keeps
    /// from hearing of a `forbid` does not go on for ever. OPA's bundles and Istio's policies have no end.
    #[serde(deserialize_with = "duration")]
    pub lifetime: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            lifetime: Duration::from_secs(7 * 86_400),
        }
    }
}

/// The authorities that sign leaves.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Authority {
    /// The directory of the root, as `skans ca init` made it. With its key there, issuing authorities are renewed
    /// without anybody's help; without it (the default) each next one waits for `skans ca sign`.
    pub root: Option<PathBuf>,
    /// How long an issuing authority lives that is signed here. 7 days: its key signs unattended, so it is worth little
    /// for long. SPIRE takes a day.
    #[serde(deserialize_with = "duration")]
    pub lifetime: Duration,
}

impl Default for Authority {
    fn default() -> Self {
        Self {
            root: None,
            lifetime: Duration::from_secs(7 * 24 * 3600),
        }
    }
}

/// What private keys in the database are encrypted with. Never from the environment: that ends up in crash reports.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub enum EncryptionKey {
    /// A file, made by `skans control init`: `encryption.key` in the directory. Whoever copies the whole directory has
    /// both; keep it elsewhere where backups of the directory are taken.
    #[default]
    Default,
    /// A file of one's own.
    File(PathBuf),
    /// A credential of that name in `$CREDENTIALS_DIRECTORY` (systemd's `LoadCredentialEncrypted=`).
    SystemdCredential(String),
}

/// The API server whose service accounts may enrol. The defaults are those of a pod.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Kubernetes {
    /// `host:port`.
    pub address: String,
    /// A PEM file with the authorities that sign its certificate.
    pub authorities: PathBuf,
    /// A file with our own token, which must be allowed to create TokenReviews.
    pub token: PathBuf,
    /// The audience that tokens must be made for.
    pub audience: String,
}

impl Default for Kubernetes {
    fn default() -> Self {
        let mount = Path::new("/var/run/secrets/kubernetes.io/serviceaccount");
        Self {
            address: "kubernetes.default.svc:443".to_owned(),
            authorities: mount.join("ca.crt"),
            token: mount.join("token"),
            audience: "skans".to_owned(),
        }
    }
}

/// Another trust domain.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Federated {
    /// Its name.
    pub trust_domain: String,
    /// A file with its roots, PEM; read again every ten seconds.
    pub bundle: PathBuf,
}

/// What agents do without news from here.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// They go on with the last good state until their leaves run out.
    #[default]
    Available,
    /// New links are refused after 5 min, live ones end after 15 min.
    Strict,
}

impl Class {
    /// The word for it, everywhere.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Strict => "strict",
        }
    }
}

/// For how long it is remembered what was done. Whichever comes first; the newest event always stays. What is denied, issued
/// and redeemed does not hang on events.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Events {
    /// Events are kept for so long, 1 d to 10 y. 90 days: an intrusion that is noticed late is looked into by them, and PCI DSS
    /// (10.5.1) wants three months at hand. AWS CloudTrail shows 90 days, GitHub 180, Teleport a year; Kubernetes an hour.
    #[serde(deserialize_with = "duration")]
    pub retention: Duration,
    /// Who else signs the log over the events, at most 16 (docs/audit.md). None: every agent remembers what it saw, and nobody is asked.
    pub witnesses: Vec<Witness>,
    /// Of how many of them a signature is wanted. More than half unless given: so no two checkpoints that contradict each other have
    /// enough, as long as half of the witnesses are honest.
    pub witness_quorum: Option<usize>,
    /// Who gets a copy of the log as it grows. Nobody unless given: who does what leaves this machine by it.
    pub copy: Option<Copy>,
    /// For how long an event may wait for its place in the log, or the signature above it, 10 s to 1 d: beyond it nothing is issued or changed, but what denies and
    /// forbids. 5 min: a replica or a database that fails over takes seconds, and certificates are renewed half an hour before they end.
    /// Vault completes no request that none of its audit devices has taken; a Kubernetes API server goes on without its log, unless it is set to
    /// `blocking-strict`.
    #[serde(deserialize_with = "duration")]
    pub place_within: Duration,
    /// So many are kept at most, 100 to 10^10: what a disk must have room for, however many there are. 20 million: some
    /// 20 GB, a week of ten thousand agents that live an hour at a time, and all 90 days of five hundred.
    pub at_most: u64,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            retention: Duration::from_secs(90 * 24 * 3600),
            at_most: 20_000_000,
            place_within: Duration::from_secs(300),
            witnesses: Vec::new(),
            witness_quorum: None,
            copy: None,
        }
    }
}

impl Events {
    /// Of how many witnesses a signature is wanted; 0 if there are none.
    pub(crate) fn quorum(&self) -> usize {
        let most = self.witnesses.len();
        let half = if most == 0 { 0 } else { most / 2 + 1 };
        self.witness_quorum.unwrap_or(half)
    }
}

/// Where a copy of the log goes.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Copy {
    /// A collector that speaks OTLP over HTTP.
    pub otlp: Otlp,
    /// A file with the rules of what does not leave: those of `skans audit tail --redact`. Read at the start.
    pub redact: Option<PathBuf>,
    /// A file with the key that its hashes are made with.
    pub redact_key: Option<PathBuf>,
}

/// Somebody who signs the log (C2SP tlog-witness): `skans witness`, or any other.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Witness {
    /// Where it is: `https://host:port/path`; `http` on this machine alone.
    pub url: String,
    /// Its public key, as `skans witness key` says it.
    pub key: String,
    /// A PEM file with the authorities that sign its certificate. The public ones of this machine unless given.
    pub authorities: Option<PathBuf>,
}

impl Witness {
    /// Its URL, read.
    ///
    /// # Errors
    /// What was found, and what was wanted.
    pub(crate) fn uri(&self) -> Result<hyper::Uri, String> {
        let wanted = || format!("found {:?}, wanted https://host:port/path", self.url);
        let uri: hyper::Uri = self.url.parse().map_err(|_| wanted())?;
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let here = host
            .parse()
            .is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        match uri.scheme_str() {
            Some("https") if !host.is_empty() => Ok(uri),
            Some("http") if here => Ok(uri),
            _ => Err(wanted() + ", or http://127.0.0.1:port"),
        }
    }
}

/// What is done by itself about keys that may be stolen (docs/compromise.md).
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Response {
    /// Whether anything is. `act`: what is done costs an honest node a new certificate and no link, also where it was a false alarm,
    /// while a thief at night has until morning otherwise. SPIRE and Teleport do nothing by themselves.
    pub mode: ResponseMode,
    /// How many identities within ten minutes, 1 to 1,000; one in a hundred agents where that is more. 10: beyond it, it is the
    /// reports that are to be looked at.
    pub at_most: u32,
}

impl Default for Response {
    fn default() -> Self {
        Self {
            mode: ResponseMode::default(),
            at_most: 10,
        }
    }
}

/// Whether anything is done by itself.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum ResponseMode {
    /// Keys are replaced, and then denied.
    #[default]
    Act,
    /// Incidents say what would be done.
    DryRun,
    /// Nothing is opened; certificates that were never issued are told of all the same.
    Off,
}

/// Bounds on what strangers may cost.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// Connections at once. 20,000: 10,000 agents, each with one, twice over while they reconnect. 40 KB each.
    pub max_connections: usize,
    /// Connections that have not finished their TLS handshake. Beyond it, the oldest of the address that holds most goes.
    pub max_pending: usize,
    /// For the TLS handshake. 5 s: it takes milliseconds; Envoy waits 15 s.
    #[serde(deserialize_with = "duration")]
    pub handshake_timeout: Duration,
    /// Enrolments a second from one address; SPIRE allows 1 attestation a second. A host behind a NAT shares it.
    pub enrolments_per_address: u32,
    /// Certificates a second for one identity: a host with ten nodes that starts asks for eleven.
    pub issues_per_identity: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 20_000,
            max_pending: 1024,
            handshake_timeout: Duration::from_secs(5),
            enrolments_per_address: 10,
            issues_per_identity: 50,
        }
    }
}

fn main_cluster() -> String {
    "main".to_owned()
}

/// The host's name up to its first dot: replicas run on different hosts, and pods are hosts of their own.
fn own_name() -> String {
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy().into_owned();
    host.split('.').next().unwrap_or_default().to_owned()
}

fn var_lib() -> PathBuf {
    PathBuf::from("/var/lib/skans/control")
}

fn api_port() -> SocketAddr {
    SocketAddr::from(([0u16; 8], 8443))
}

/// Reads, overrides from the environment, and checks a configuration.
///
/// # Errors
/// [`Error::Config`] that says which key, what was found, and what was wanted.
pub fn load(path: &Path) -> Result<Config, Error> {
    let text = files::read_text(path, MAX_FILE)?;
    parse(&text, &path.display().to_string(), |name| {
        std::env::var(name).ok()
    })
}

/// Like [`load`], from text; `origin` stands for the file in errors.
///
/// # Errors
/// As [`load`].
pub fn parse(
    text: &str,
    origin: &str,
    env: impl Fn(&str) -> Option<String>,
) -> Result<Config, Error> {
    let mut config: Config =
        serde_saphyr::from_str(text).map_err(|error| Error::config(origin, error.to_string()))?;
    config.apply(env)?;
    config
        .check()
        .map_err(|problem| Error::config(origin, problem))?;
    Ok(config)
}

impl Config {
    /// What the environment may override: what differs between replicas that share one file, and no secret.
    fn apply(&mut self, env: impl Fn(&str) -> Option<String>) -> Result<(), Error> {
        fn address(name: &str, value: &str) -> Result<SocketAddr, Error> {
            value.parse().map_err(|_| {
                let problem = format!("found {value:?}, wanted an address such as [::]:8443");
                Error::config(name, problem)
            })
        }
        if let Some(value) = env("SKANS_CONTROL_NAME") {
            self.name = value;
        }
        if let Some(value) = env("SKANS_TRUST_DOMAIN") {
            self.trust_domain = value;
        }
        if let Some(value) = env("SKANS_CLUSTER") {
            self.cluster = value;
        }
        if let Some(value) = env("SKANS_CONTROL_DIRECTORY") {
            self.directory = value.into();
        }
        if let Some(value) = env("SKANS_CONTROL_SOCKET") {
            self.socket = Some(value.into());
        }
        if let Some(value) = env("SKANS_CONTROL_LISTEN") {
            self.listen = address("SKANS_CONTROL_LISTEN", &value)?;
        }
        if let Some(value) = env("SKANS_CONTROL_ADVERTISE") {
            self.advertise = value.split(',').map(|one| one.trim().to_owned()).collect();
        }
        if let Some(value) = env("SKANS_ADMIN_LISTEN") {
            self.admin.listen = address("SKANS_ADMIN_LISTEN", &value)?;
        }
        if let Some(value) = env("SKANS_LOG_LEVEL") {
            self.log.level = value;
        }
        Ok(())
    }

    /// Where the Unix socket is.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.socket
            .clone()
            .unwrap_or_else(|| self.directory.join("control.sock"))
    }

    /// Whom to ask about Kubernetes' tokens.
    pub(crate) fn api_server(&self) -> Option<ApiServer> {
        let kubernetes = self.kubernetes.as_ref()?;
        Some(ApiServer {
            address: kubernetes.address.clone(),
            authorities: kubernetes.authorities.clone(),
            token: kubernetes.token.clone(),
        })
    }

    /// The audience that tokens of Kubernetes must be made for.
    pub(crate) fn audience(&self) -> &str {
        self.kubernetes
            .as_ref()
            .map_or("skans", |kubernetes| &kubernetes.audience)
    }

    /// Where the SQLite database is.
    #[must_use]
    pub fn sqlite(&self) -> PathBuf {
        self.directory.join("control.db")
    }
}

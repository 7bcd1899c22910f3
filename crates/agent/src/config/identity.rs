//! Where certificates come from, as it is written in the configuration.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::duration;
use crate::standing::Class;

/// Files that hold a credential, PEM. Read again when they change.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CertificateFiles {
    /// The leaf, then its intermediates.
    pub chain: PathBuf,
    /// The key of the leaf; readable by nobody else.
    pub key: PathBuf,
}

/// Where certificates come from.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub enum IdentitySource {
    /// An authority in a directory, made on first use. For one machine and for trying things out:
    /// every agent that uses it holds the key that signs for all nodes.
    Authority(AuthoritySource),
    /// The control plane: enrolment, certificates that live an hour, revocation.
    Control(ControlSource),
    /// SPIRE, or whoever else serves the SPIFFE Workload API on this host.
    WorkloadApi(WorkloadApiSource),
    /// Files made by cert-manager, Vault, SPIRE or by hand; one credential per node.
    Files(FilesSource),
}

/// The SPIFFE Workload API, served.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct WorkloadApi {
    /// The Unix socket; `workload.sock` in the runtime directory unless given.
    pub socket: Option<PathBuf>,
}

/// A Workload API to take certificates from.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkloadApiSource {
    /// Its Unix socket, such as `/run/spire/sockets/agent.sock`.
    pub socket: PathBuf,
}

/// An authority in a directory.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuthoritySource {
    /// Where its certificates and keys are.
    pub directory: PathBuf,
    /// Life of the leaves it makes. An hour, as SPIRE gives; they are renewed from a sixth of it on.
    #[serde(default = "one_hour", deserialize_with = "duration")]
    pub leaf_lifetime: Duration,
}

/// Files made elsewhere.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FilesSource {
    /// The roots of the trust domain, PEM.
    pub bundle: PathBuf,
}

/// The control plane.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ControlSource {
    /// `host:port` of its replicas, tried in turn. Those of the join token unless given.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// A file with a join token, for the first start. It may go once the agent is enrolled.
    pub join_token: Option<PathBuf>,
    /// On Kubernetes, instead of a join token.
    pub kubernetes: Option<KubernetesToken>,
    /// What the agent keeps: its keys and certificates, the roots, what is denied. On a disk, so that it comes back after
    /// a restart with the control plane away. `/var/lib` is where such things are (FHS 5.8).
    #[serde(default = "var_lib")]
    pub state_directory: PathBuf,
    /// The life to ask for; what the registration says unless given, and never more than that.
    #[serde(default, deserialize_with = "optional_duration")]
    pub leaf_lifetime: Option<Duration>,
    /// What counts more when the control plane is out of reach.
    #[serde(default)]
    pub class: Class,
    /// The host in the agent's own certificate; the host part of the first node unless given.
    pub host: Option<String>,
}

/// A projected service-account token, with the audience of the control plane.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KubernetesToken {
    /// The token; the kubelet replaces it before it ends.
    pub token_file: PathBuf,
    /// The roots of the trust domain, PEM, from a `ConfigMap`.
    pub bundle_file: PathBuf,
}

fn var_lib() -> PathBuf {
    PathBuf::from("/var/lib/skans/agent")
}

const fn one_hour() -> Duration {
    Duration::from_secs(3600)
}

fn optional_duration<'de, D: serde::Deserializer<'de>>(
    from: D,
) -> Result<Option<Duration>, D::Error> {
    duration(from).map(Some)
}

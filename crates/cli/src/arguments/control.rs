//! What can be said to a control plane, and about authorities.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::Output;

/// How to reach the control plane.
#[derive(Debug, Args)]
pub struct Plane {
    /// The Unix socket of the control plane
    #[arg(
        long,
        env = "SKANS_CONTROL_SOCKET",
        default_value = "/var/lib/skans/control/control.sock",
        value_name = "PATH"
    )]
    pub socket: PathBuf,
    /// Instead of the socket: the directory of a person's credential, as `skans login` made it
    #[arg(long, env = "SKANS_LOGIN", value_name = "DIRECTORY")]
    pub login: Option<PathBuf>,
}

/// How to reach the control plane, and in which form to show what it says.
#[derive(Debug, Args)]
pub struct Ask {
    /// How to reach it.
    #[command(flatten)]
    pub plane: Plane,
    /// In which form
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// The control plane.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub struct Control {
    /// Run it with this configuration, YAML
    #[arg(long, value_name = "FILE", required = true)]
    pub config: Option<PathBuf>,
    /// Stop when standard input ends, too: for whoever starts it as a child
    #[arg(long)]
    pub until_stdin_closes: bool,
    /// What else to do
    #[command(subcommand)]
    pub command: Option<ControlCommand>,
}

/// What can be done with a control plane beside running it.
#[derive(Debug, Subcommand)]
pub enum ControlCommand {
    /// Make a control plane: its store, its encryption key, its first authority
    Init {
        /// Its configuration, YAML
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Where the root is, as `skans ca init` made it; its key is used once, and not kept
        #[arg(
            long,
            value_name = "DIRECTORY",
            required_unless_present = "root_certificate"
        )]
        root: Option<PathBuf>,
        /// The root's certificate, if its key is elsewhere: then the first authority waits for `skans ca sign`
        #[arg(long, value_name = "FILE", conflicts_with = "root")]
        root_certificate: Option<PathBuf>,
        /// Where to write the request for `skans ca sign`
        #[arg(long, value_name = "FILE", default_value = "issuer.csr")]
        request: PathBuf,
        /// Nodes run already that are to be guarded: begin with a dry run of the policy, of so many days; what it would have
        /// refused is told, and passes. Without it the policy is enforced from the first day on
        #[arg(long, value_name = "DAYS", num_args = 0..=1, require_equals = true, default_missing_value = "30",
              value_parser = clap::value_parser!(u64).range(1..=365))]
        brownfield: Option<u64>,
    },
    /// Show a running control plane at a glance
    Status(Ask),
    /// After a restore: begin a new epoch, so that agents accept the restored control plane
    Recover {
        /// Say that this database is the one that counts from now on, whatever others held
        #[arg(long, required = true)]
        new_epoch: bool,
        /// Where the root is, which signs that
        #[arg(long, value_name = "DIRECTORY")]
        root: PathBuf,
        /// How to reach the control plane
        #[command(flatten)]
        plane: Plane,
    },
}

/// Backups of a control plane.
#[derive(Debug, Subcommand)]
pub enum Backup {
    /// Write everything into one file, encrypted under the encryption key, while the control plane goes on
    Create {
        /// Where to
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// How to reach the control plane
        #[command(flatten)]
        plane: Plane,
    },
    /// Look whether a backup is whole, and what is in it
    Verify(BackupFile),
    /// Put a backup where the configuration says that the store is; nothing may be there
    Restore(BackupFile),
}

/// A backup, and the configuration that says where its encryption key is.
#[derive(Debug, Args)]
pub struct BackupFile {
    /// The backup
    #[arg(value_name = "FILE")]
    pub backup: PathBuf,
    /// The configuration of the control plane, YAML
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// In which form
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// Authorities.
#[derive(Debug, Subcommand)]
pub enum Ca {
    /// Make a root, on any machine
    Init {
        /// Where to put it: root.pem and root.key
        #[arg(long, value_name = "DIRECTORY")]
        dir: PathBuf,
        /// The SPIFFE trust domain that it is for, such as prod.example
        #[arg(long, value_name = "NAME")]
        trust_domain: String,
        /// How long it lives, such as 730d
        #[arg(long, default_value = "730d", value_parser = long_duration, value_name = "DURATION")]
        lifetime: Duration,
    },
    /// Sign a request with the root, where the root is
    Sign {
        /// Where the root is
        #[arg(long, value_name = "DIRECTORY")]
        dir: PathBuf,
        /// The request, PEM
        #[arg(long, value_name = "FILE")]
        request: PathBuf,
        /// The cluster that the authority is for
        #[arg(long, default_value = "main", value_name = "NAME")]
        cluster: String,
        /// How long it lives, such as 90d: the next one needs the root again
        #[arg(long, default_value = "90d", value_parser = long_duration, value_name = "DURATION")]
        lifetime: Duration,
        /// Where to write the certificate, PEM
        #[arg(long, default_value = "issuer.pem", value_name = "FILE")]
        out: PathBuf,
    },
    /// Show the authorities
    Status(Ask),
    /// Prepare the next issuing authority and sign with it, or write the request that the root has to sign
    Rotate {
        /// How to reach the control plane
        #[command(flatten)]
        ask: Ask,
        /// Where to write the request, if the root is elsewhere
        #[arg(long, value_name = "FILE", default_value = "issuer.csr")]
        request: PathBuf,
        /// Go on although some agents do not have the root above it yet
        #[arg(long)]
        force: bool,
    },
    /// Add a root to the bundle, or take one out
    #[command(subcommand)]
    Root(CaRoot),
    /// Take the certificate that the root signed, and sign with it
    Import {
        /// The name that `rotate` or `control init` gave it
        id: String,
        /// The certificate, PEM
        #[arg(long, value_name = "FILE")]
        certificate: PathBuf,
        /// Go on although some agents do not have the root above it yet
        #[arg(long)]
        force: bool,
        /// How to reach the control plane
        #[command(flatten)]
        plane: Plane,
    },
    /// Have everything replaced that an authority signed
    Taint {
        /// Its name
        id: String,
        /// How to reach the control plane
        #[command(flatten)]
        plane: Plane,
    },
    /// Deny everything that an authority signed, at once
    Revoke {
        /// Its name
        id: String,
        /// How to reach the control plane
        #[command(flatten)]
        plane: Plane,
    },
    /// Write the certificates of all authorities, PEM
    Export {
        /// How to reach the control plane
        #[command(flatten)]
        plane: Plane,
    },
}

/// The roots in the bundle.
#[derive(Debug, Subcommand)]
pub enum CaRoot {
    /// Add one: agents trust it beside the present one
    Add {
        /// Its certificate, PEM
        certificate: PathBuf,
        /// How to reach the control plane
        #[command(flatten)]
        plane: Plane,
    },
    /// Take one out: what hangs on it is refused from then on
    Remove {
        /// Its name
        id: String,
        /// How to reach the control plane
        #[command(flatten)]
        plane: Plane,
    },
}

/// Join tokens.
#[derive(Debug, Subcommand)]
pub enum Token {
    /// Make a token, for one agent or one person, and print it
    Create(Box<NewToken>),
    /// Show tokens, without their secrets
    List(Ask),
    /// Revoke a token
    Revoke {
        /// Its name
        id: String,
        /// How to reach the control plane
        #[command(flatten)]
        plane: Plane,
    },
}

/// A token to be made.
#[derive(Debug, Args)]
pub struct NewToken {
    /// For a registration that is there, by name
    #[arg(long, value_name = "NAME", conflicts_with_all = ["name", "person"])]
    pub registration: Option<String>,
    /// For a person
    #[arg(long, value_name = "NAME", conflicts_with = "name")]
    pub person: Option<String>,
    /// For a new registration of this name
    #[arg(long, value_name = "NAME", required_unless_present_any = ["registration", "person"])]
    pub name: Option<String>,
    /// What the agent may carry
    #[command(flatten)]
    pub carries: Carries,
    /// How long it can be used
    #[arg(long, default_value = "1h", value_parser = long_duration, value_name = "DURATION")]
    pub ttl: Duration,
    /// How to reach the control plane, and in which form
    #[command(flatten)]
    pub ask: Ask,
}

/// What an agent may carry.
#[derive(Debug, Args)]
pub struct Carries {
    /// A node name that the agent may carry: alive@host, with * and ?; a wildcard in the host is the agent's own
    #[arg(long = "node", value_name = "ALIVE@HOST")]
    pub nodes: Vec<String>,
    /// The namespace of these nodes
    #[arg(long, default_value = "default", value_name = "NAME")]
    pub namespace: String,
    /// The workload of these nodes; the name of the registration unless given
    #[arg(long, value_name = "NAME")]
    pub workload: Option<String>,
    /// Short-lived nodes of these hosts as well: rabbitmqctl, remote shells
    #[arg(long)]
    pub cli: bool,
    /// Who answers for it
    #[arg(long, value_name = "NAME")]
    pub owner: Option<String>,
}

/// Identities: who may have which, and which were issued.
#[derive(Debug, Subcommand)]
pub enum Identity {
    /// Show certificates, those that run out first in front
    List {
        /// Only those that run out within this time, such as 10m
        #[arg(long, value_parser = long_duration, value_name = "DURATION")]
        expiring: Option<Duration>,
        /// Those that have run out as well
        #[arg(long)]
        all: bool,
        /// How to reach the control plane, and in which form
        #[command(flatten)]
        ask: Ask,
    },
    /// Show one certificate, and where it was seen
    Show {
        /// Its serial number
        serial: String,
        /// How to reach the control plane, and in which form
        #[command(flatten)]
        ask: Ask,
    },
    /// Say what an attested caller may carry: a service account, a SPIFFE ID, an agent
    Register {
        /// The name of the registration
        name: String,
        /// The service account of Kubernetes that enrols
        #[arg(
            long,
            value_name = "NAMESPACE/NAME",
            required_unless_present = "spiffe_id"
        )]
        kubernetes: Option<String>,
        /// The SPIFFE ID that enrols with a certificate of its own, or that of an agent that is to carry more
        #[arg(long, value_name = "ID", conflicts_with = "kubernetes")]
        spiffe_id: Option<String>,
        /// What it may carry
        #[command(flatten)]
        carries: Carries,
        /// How to reach the control plane, and in which form
        #[command(flatten)]
        ask: Ask,
    },
    /// Show what is registered
    Registrations(Ask),
    /// Remove a registration: nothing more is issued by it
    Unregister {
        /// Its name
        name: String,
        /// How to reach the control plane
        #[command(flatten)]
        plane: Plane,
    },
    /// Revoke, everywhere and at once: links end within a second
    Revoke {
        /// Whom: a SPIFFE ID, a node name, or the SHA-256 of a key (with --key)
        target: String,
        /// The target is the SHA-256 of a key's SubjectPublicKeyInfo
        #[arg(long)]
        key: bool,
        /// Why
        #[arg(long, default_value = "revoked by hand", value_name = "TEXT")]
        reason: String,
        /// Wait until it holds on all agents, at most this long
        #[arg(long, value_name = "DURATION", value_parser = long_duration, num_args = 0..=1, default_missing_value = "30s")]
        wait: Option<Duration>,
        /// How to reach the control plane, and in which form
        #[command(flatten)]
        ask: Ask,
    },
    /// Say that a key may be stolen: it is denied everywhere, whoever it belongs to gets another one, and a time line is kept
    Compromise {
        /// Whose: a SPIFFE ID, a node name, or the SHA-256 of a key (with --key)
        target: String,
        /// The target is the SHA-256 of a key's SubjectPublicKeyInfo
        #[arg(long)]
        key: bool,
        /// Why
        #[arg(long, default_value = "compromised", value_name = "TEXT")]
        reason: String,
        /// Have keys replaced before they are denied, so that no honest link is cut; whoever stole one has it for some seconds more
        #[arg(long)]
        keep_links: bool,
        /// Say which keys it would be, and do nothing
        #[arg(long, conflicts_with = "wait")]
        dry_run: bool,
        /// Wait until nothing more is to be done, at most this long
        #[arg(long, value_name = "DURATION", value_parser = long_duration, num_args = 0..=1, default_missing_value = "30s")]
        wait: Option<Duration>,
        /// How to reach the control plane, and in which form
        #[command(flatten)]
        ask: Ask,
    },
    /// Show incidents, newest first; or one, with its time line
    Incidents {
        /// Its number
        id: Option<u64>,
        /// How to reach the control plane, and in which form
        #[command(flatten)]
        ask: Ask,
    },
    /// Show what is denied
    Denied(Ask),
    /// Take a denial back
    Allow {
        /// Its number
        seq: u64,
        /// How to reach the control plane
        #[command(flatten)]
        plane: Plane,
    },
}

/// The roots of the trust domain, and those of others.
#[derive(Debug, Subcommand)]
pub enum Bundle {
    /// Show how it stands with other trust domains
    Status(BundleStatus),
    /// Print what links.yaml of a policy set needs to link with another cluster; its places in capitals are for you to fill
    Federate(Federate),
    /// Take trust back from another trust domain, at once and whatever links say
    Distrust {
        /// Its name
        domain: String,
        /// How to reach the control plane
        #[command(flatten)]
        plane: Plane,
    },
    /// Forget all that is known of another trust domain, distrust included: it begins anew with its link. Takes two people
    Forget {
        /// Its name
        domain: String,
        /// How to reach the control plane
        #[command(flatten)]
        plane: Plane,
    },
    /// Print them
    Show {
        /// As PEM, or as other trust domains read them (a SPIFFE bundle)
        #[arg(long, value_enum, default_value_t = BundleFormat::Pem)]
        format: BundleFormat,
        /// How to reach the control plane
        #[command(flatten)]
        plane: Plane,
    },
}

/// How it stands with other trust domains.
#[derive(Debug, Args)]
pub struct BundleStatus {
    /// Print instead the NetworkPolicies of Kubernetes that the links in force need (YAML)
    #[arg(long, conflicts_with = "output")]
    pub network_policy: bool,
    /// The configuration of a gateway of ours, which says where theirs are (gateway.routes)
    #[arg(long, value_name = "FILE", requires = "network_policy")]
    pub gateway: Option<PathBuf>,
    /// How to ask
    #[command(flatten)]
    pub ask: Ask,
}

/// A link that is to be.
#[derive(Debug, Args)]
pub struct Federate {
    /// Their trust domain
    pub domain: String,
    /// Their cluster
    #[arg(long, default_value = "main")]
    pub cluster: String,
    /// What to call it; the cluster's name unless given
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Their control plane's API, HOST:PORT
    #[arg(long, value_name = "HOST:PORT")]
    pub control: String,
    /// What their replica is called (`name:` of its configuration)
    #[arg(long, value_name = "NAME")]
    pub replica: String,
    /// A file with their roots (PEM), which came here by a way that you trust: skans bundle show, over there
    #[arg(long, value_name = "FILE")]
    pub roots: PathBuf,
    /// For how long they may be linked
    #[arg(long, value_name = "DURATION", value_parser = long_duration, default_value = "90d")]
    pub life: Duration,
}

/// What roots are printed as.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum BundleFormat {
    /// Certificates.
    Pem,
    /// A JWK Set.
    Spiffe,
}

/// Who may do what.
#[derive(Debug, Subcommand)]
pub enum Grant {
    /// Give a person a role
    Add {
        /// The person
        user: String,
        /// The role: viewer, auditor, enroller, operator, responder, ca-admin, owner, break-glass
        role: String,
        /// Where: TRUST-DOMAIN[/CLUSTER[/NAMESPACE]]; this cluster unless given
        #[arg(long, value_name = "SCOPE")]
        scope: Option<String>,
        /// How to reach the control plane
        #[command(flatten)]
        plane: Plane,
    },
    /// Show all grants
    List(Ask),
    /// Take a role away
    Remove {
        /// The name of the grant
        id: String,
        /// How to reach the control plane
        #[command(flatten)]
        plane: Plane,
    },
}

/// What needs no more than to be asked for.
#[derive(Debug, Args)]
pub struct Login {
    /// A file that holds the join token; - for standard input
    #[arg(long, default_value = "-", value_name = "FILE")]
    pub token: PathBuf,
    /// Where to keep the credential
    #[arg(long, env = "SKANS_LOGIN", value_name = "DIRECTORY")]
    pub dir: PathBuf,
}

fn long_duration(text: &str) -> Result<Duration, String> {
    let wanted = || "wanted a duration such as 30s, 5m, 1h or 90d".to_owned();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .ok_or_else(wanted)?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wanted())?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wanted()),
    };
    number
        .checked_mul(seconds)
        .map(Duration::from_secs)
        .ok_or_else(wanted)
}

//! Certificates for OTP's own TLS distribution, of the same kind and from the same authority code
//! as those of Skans: P-256, one issuing certificate between leaf and root.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use skans_identity::UnixTime;
use skans_identity::authority::{Authority, Lifetimes};
use skans_identity::bundle::Bundles;
use skans_identity::credential::Credential;
use skans_identity::host::Host;
use skans_identity::id::{NodeId, TrustDomain};
use skans_identity::trust::{DenySet, SharedTrust, Trust};
use skans_identity::verify::Verifier;

use crate::error::{Doing, Result};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The trust domain of all of them.
pub const DOMAIN: &str = "bench.test";
/// The cluster.
pub const CLUSTER: &str = "bench";

/// Whoever makes certificates here.
pub struct Issuer {
    domain: TrustDomain,
    authority: Authority,
    host: Host,
    now: UnixTime,
}

impl Issuer {
    /// With fresh keys.
    pub fn new() -> Result<Self> {
        let doing = "make an authority";
        let domain = TrustDomain::parse(DOMAIN).doing(doing)?;
        let now = UnixTime::now();
        let authority =
            Authority::generate(&domain, CLUSTER, now, Lifetimes::default()).doing(doing)?;
        let host = Host::parse("localhost").doing(doing)?;
        Ok(Self {
            domain,
            authority,
            host,
            now,
        })
    }

    /// A credential of `alive@localhost`.
    pub fn credential(&self, alive: &str) -> Result<Credential> {
        let doing = "make a certificate";
        let id = NodeId::new(&self.domain, CLUSTER, "default", alive, alive).doing(doing)?;
        let issued = self.authority.issue(id.id(), &self.host, DAY, self.now);
        issued.doing(doing)
    }

    /// Who trusts what it signs.
    pub fn verifier(&self) -> Result<Arc<Verifier>> {
        let doing = "make a verifier";
        let mut bundles = Bundles::default();
        let bundle = self.authority.bundle().doing(doing)?;
        bundles.insert(bundle).doing(doing)?;
        Ok(Verifier::new(SharedTrust::new(Trust {
            bundles,
            deny: DenySet::default(),
        })))
    }

    /// Writes, for each node, `ALIVE.pem`, `ALIVE.key`, both in `ALIVE.both.pem`, and `ALIVE.conf`, which is for
    /// `-ssl_dist_optfile`; and `roots.pem`, into a directory.
    pub fn write(&self, directory: &Path, nodes: &[String]) -> Result<()> {
        let doing = "write certificates";
        let roots = self.authority.bundle().doing(doing)?.to_pem();
        fs::write(directory.join("roots.pem"), roots).doing(doing)?;
        for alive in nodes {
            let leaf = self.credential(alive)?;
            let (chain, key) = (leaf.chain_pem(), leaf.key_pem());
            let both = [chain.as_bytes(), key.as_bytes()].concat();
            let options = options(&directory.display().to_string(), alive);
            for (end, text) in [
                ("pem", chain.as_bytes()),
                ("key", key.as_bytes()),
                ("both.pem", &both),
                ("conf", options.as_bytes()),
            ] {
                let path = directory.join(format!("{alive}.{end}"));
                fs::write(&path, text).doing(doing)?;
                // Agents take no key that others can read.
                fs::set_permissions(&path, Permissions::from_mode(0o600)).doing(doing)?;
            }
        }
        Ok(())
    }
}

/// What `-ssl_dist_optfile` reads: mutual TLS 1.3, everything else as OTP has it.
pub fn options(directory: &str, alive: &str) -> String {
    let common = format!(
        "{{certfile, \"{directory}/{alive}.pem\"}}, {{keyfile, \"{directory}/{alive}.key\"}}, {{cacertfile, \"{directory}/roots.pem\"}}, {{verify, verify_peer}}, {{versions, ['tlsv1.3']}}"
    );
    format!("[{{server, [{common}, {{fail_if_no_peer_cert, true}}]}},\n {{client, [{common}]}}].\n")
}

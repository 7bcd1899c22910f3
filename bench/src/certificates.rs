//! Certificates for OTP's own TLS distribution, of the same kind and from the same authority code
//! as those of Skans: P-256, one issuing certificate between leaf and root.

use std::fs;
use std::path::Path;
use std::time::Duration;

use skans_identity::UnixTime;
use skans_identity::authority::{Authority, Lifetimes};
use skans_identity::host::Host;
use skans_identity::id::{NodeId, TrustDomain};

use crate::error::{Doing, Result};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Writes, for each node, `ALIVE.pem`, `ALIVE.key` and `ALIVE.conf`, which is for
/// `-ssl_dist_optfile`, and `roots.pem`, into a directory.
pub fn write(directory: &Path, nodes: &[&str]) -> Result<()> {
    let doing = "make certificates";
    let domain = TrustDomain::parse("bench.test").doing(doing)?;
    let now = UnixTime::now();
    let authority =
        Authority::generate(&domain, "bench", now, Lifetimes::default()).doing(doing)?;
    let host = Host::parse("localhost").doing(doing)?;
    let roots = authority.bundle().doing(doing)?.to_pem();
    fs::write(directory.join("roots.pem"), roots).doing(doing)?;
    for alive in nodes {
        let id = NodeId::new(&domain, "bench", "default", alive, alive).doing(doing)?;
        let leaf = authority.issue(id.id(), &host, DAY, now).doing(doing)?;
        let file = |end: &str| directory.join(format!("{alive}.{end}"));
        fs::write(file("pem"), leaf.chain_pem()).doing(doing)?;
        fs::write(file("key"), leaf.key_pem().as_bytes()).doing(doing)?;
        fs::write(
            file("conf"),
            options(&directory.display().to_string(), alive),
        )
        .doing(doing)?;
    }
    Ok(())
}

/// What `-ssl_dist_optfile` reads: mutual TLS 1.3, everything else as OTP has it.
pub fn options(directory: &str, alive: &str) -> String {
    let common = format!(
        "{{certfile, \"{directory}/{alive}.pem\"}}, {{keyfile, \"{directory}/{alive}.key\"}}, {{cacertfile, \"{directory}/roots.pem\"}}, {{verify, verify_peer}}, {{versions, ['tlsv1.3']}}"
    );
    format!("[{{server, [{common}, {{fail_if_no_peer_cert, true}}]}},\n {{client, [{common}]}}].\n")
}

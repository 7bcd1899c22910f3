//! Nodes that speak TLS themselves (`mode: native`): their certificate, the roots, and an option file for OTP's
//! `inet_tls` that says no less than it should. Renewed in place; the node uses what is new at its next connection.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use skans_host::files::{self, Access};
use skans_identity::credential::Credential;

use crate::Error;
use crate::agent::Agent;
use crate::config::{Config, Family, Mode};
use crate::environment::Layout;

/// How soon files that could not be written are tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// The variables that make a node speak TLS with what is written for it.
#[must_use]
pub fn variables(layout: &Layout, alive: &str, family: Family) -> Vec<(&'static str, String)> {
    let carrier = match family {
        Family::Inet => "inet_tls",
        Family::Inet6 => "inet6_tls",
    };
    let options = layout.native.join(alive).join("ssl_dist.conf");
    let flags = format!(
        "-proto_dist {carrier} -ssl_dist_optfile {}",
        options.display()
    );
    vec![("ERL_AFLAGS", flags)]
}

/// Makes the directories, and writes the option files: they do not change while the agent runs.
///
/// # Errors
/// [`Error::File`].
pub fn prepare(config: &Config, layout: &Layout) -> Result<(), Error> {
    for alive in native(config) {
        files::directory(&layout.native, 0o755)?;
        let directory = layout.native.join(&alive);
        // Nobody but the agent puts anything there; each file says who may read it.
        files::directory(&directory, 0o755)?;
        let text = options(config, &layout.shim, &directory);
        let public = Access {
            mode: 0o644,
            owner: None,
        };
        files::write(&directory.join("ssl_dist.conf"), text.as_bytes(), public)?;
    }
    Ok(())
}

fn native(config: &Config) -> impl Iterator<Item = String> {
    config
        .nodes
        .iter()
        .filter(|node| node.mode == Mode::Native)
        .filter_map(|node| Some(node.node_name().ok()?.alive().to_owned()))
}

/// The option file (`-ssl_dist_optfile`): one Erlang expression that gives the options.
///
/// - `verify_peer` on both sides, and `fail_if_no_peer_cert`: without the latter a client with no certificate gets in.
/// - TLS 1.3 alone: without `versions`, OTP up to 27 speaks 1.2 and nothing else.
/// - `verify_fun`: every certificate of the trust domain would do for TLS, those of agents and people as well. Only those
///   of this cluster's nodes do.
/// - Certificate and key in one file, so that a renewal is one rename.
fn options(config: &Config, shim: &Path, directory: &Path) -> String {
    let file = |path: &Path| quoted(&path.display().to_string());
    let (own, roots) = (
        file(&directory.join("node.pem")),
        file(&directory.join("roots.pem")),
    );
    let id = quoted(&format!(
        "spiffe://{}/cluster/{}/",
        config.trust_domain, config.cluster
    ));
    let mut text = String::from(
        "%% Written by skans agent at its start. What the files hold is renewed in place.\n",
    );
    let common = format!(
        "{{certfile, {own}}},\n             {{keyfile, {own}}},\n             {{cacertfile, {roots}}},\n             {{verify, verify_peer}},\n             {{depth, 3}},\n             {{versions, ['tlsv1.3']}},\n             {{verify_fun, {{fun skans_tls:verify/3, {id}}}}}"
    );
    // In a release in embedded mode nobody loads a module that the release does not name.
    let _ = write!(
        text,
        "case code:load_abs({module}) of\n    {{module, skans_tls}} ->\n        skans_tls:start([{own}, {roots}]),\n        [{{server,\n            [{common},\n             {{fail_if_no_peer_cert, true}}]}},\n         {{client,\n            [{common}]}}]\nend.\n",
        module = file(&shim.join("skans_tls")),
    );
    text
}

/// An Erlang string.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Writes what is in use, now and whenever it changes, until the agent stops.
pub async fn keep(agent: Arc<Agent>) {
    let settings = agent.settings();
    if native(&settings.config).next().is_none() {
        return;
    }
    let mut changes = agent.identities.changes();
    loop {
        changes.mark_unchanged();
        let written = write(&agent);
        if let Err(error) = &written {
            tracing::error!(
                "certificates for a node that speaks TLS itself could not be written: {error}"
            );
        }
        let again = async {
            match written {
                Ok(()) => std::future::pending().await,
                Err(_) => tokio::time::sleep(AGAIN).await,
            }
        };
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = again => {}
            () = agent.stopping.cancelled() => return,
        }
    }
}

fn write(agent: &Agent) -> Result<(), Error> {
    let settings = agent.settings();
    let roots = {
        let trust = agent.identities.trust().load();
        let bundle = trust.bundles.get(agent.identities.trust_domain());
        bundle.map(skans_identity::bundle::Bundle::to_pem)
    };
    let Some(roots) = roots else { return Ok(()) };
    for node in settings
        .config
        .nodes
        .iter()
        .filter(|node| node.mode == Mode::Native)
    {
        let alive = node.name.split('@').next().unwrap_or_default();
        let owner = agent.users.of_node(alive);
        let directory = agent.layout.native.join(alive);
        // Roots first: whoever shows a certificate under a new one must take its like.
        let access = Access { mode: 0o444, owner };
        keep_file(&directory.join("roots.pem"), roots.as_bytes(), access)?;
        if let Some(credential) = agent.identities.credential(&node.name) {
            let access = Access { mode: 0o400, owner };
            keep_file(
                &directory.join("node.pem"),
                both(&credential).as_bytes(),
                access,
            )?;
        }
    }
    Ok(())
}

/// Certificates and key as one text, wiped when dropped.
fn both(credential: &Credential) -> zeroize::Zeroizing<String> {
    let (chain, key) = (credential.chain_pem(), credential.key_pem());
    let mut both = zeroize::Zeroizing::new(String::with_capacity(chain.len() + key.len()));
    both.push_str(&chain);
    both.push_str(&key);
    both
}

/// Writes what is not there yet: a file that is replaced by its like would be read again for nothing.
fn keep_file(path: &Path, content: &[u8], access: Access) -> Result<(), Error> {
    let limit = u64::try_from(content.len()).unwrap_or(u64::MAX);
    let there = files::read_own(path, access, limit).map(zeroize::Zeroizing::new);
    if there.is_some_and(|there| there.as_bytes() == content) {
        return Ok(());
    }
    Ok(files::write(path, content, access)?)
}

#[cfg(test)]
mod tests;

//! Certificates that cert-manager makes for nodes: whom they name, how long they last, who signs them.

mod keys;
mod manager;
mod names;

use super::items;
use crate::kubernetes::Object;
use crate::rule::{Context, Rule};
use crate::units::{Carrier, TlsOptions, Unit};
use skans_erlconf::term::Term;

pub(super) const NAMES: &[Rule] = names::RULES;
pub(super) const RULES: &[Rule] = manager::RULES;
pub(super) const KEYS: &[Rule] = keys::RULES;

/// A certificate that a node shows to others.
struct NodeCertificate<'c> {
    unit: &'c Unit,
    workload: &'c Object,
    certificate: &'c Object,
    /// Where its Secret is mounted.
    mounted: &'c str,
    /// The options of TLS distribution, if the set has them.
    options: Option<&'c Term>,
}

fn certificates<'c>(context: &Context<'c>) -> impl Iterator<Item = &'c Object> {
    context
        .set
        .of_kind("Certificate")
        .filter(|one| one.group() == "cert-manager.io")
}

/// The certificates of distribution: those that the options of TLS name; if these are not in the set, the only
/// one that is mounted.
fn of_nodes<'c>(context: &Context<'c>) -> Vec<NodeCertificate<'c>> {
    let mut all = Vec::new();
    for (unit, workload) in super::nodes(context) {
        if !matches!(unit.carrier(), Carrier::Tls(_)) || unit.guarded.is_some() {
            continue;
        }
        let mut mounted = mounted(context, workload);
        let options = match unit.tls_options(context.set) {
            TlsOptions::File { options, .. } => Some(options),
            _ => None,
        };
        if let Some(options) = options {
            let file = path_of(options, "server", "certfile");
            mounted.retain(|(path, _)| file.is_some_and(|file| is_below(file, path)));
        } else if mounted.len() > 1 {
            continue;
        }
        all.extend(
            mounted
                .into_iter()
                .map(|(mounted, certificate)| NodeCertificate {
                    unit,
                    workload,
                    certificate,
                    mounted,
                    options,
                }),
        );
    }
    all
}

/// A file that one side is told.
fn path_of<'t>(options: &'t Term, side: &str, key: &str) -> Option<&'t str> {
    options.get(side)?.get(key)?.text()
}

fn is_below(file: &str, directory: &str) -> bool {
    file.strip_prefix(directory.trim_end_matches('/'))
        .is_some_and(|rest| rest.starts_with('/'))
}

/// The certificates whose Secrets a workload mounts, and where.
fn mounted<'c>(context: &Context<'c>, workload: &'c Object) -> Vec<(&'c str, &'c Object)> {
    let Some(pod) = workload.pod() else {
        return Vec::new();
    };
    let mut all: Vec<(&str, &Object)> = Vec::new();
    for container in workload.containers() {
        for mount in items(container.node, &["volumeMounts"]) {
            let volume = items(pod, &["volumes"])
                .iter()
                .find(|volume| volume.text(&["name"]) == mount.text(&["name"]));
            let Some((volume, path)) = volume.zip(mount.text(&["mountPath"])) else {
                continue;
            };
            let direct = volume.text(&["secret", "secretName"]);
            let projected = items(volume, &["projected", "sources"])
                .iter()
                .filter_map(|source| source.text(&["secret", "name"]));
            for name in direct.into_iter().chain(projected) {
                let certificate = certificates(context).find(|one| {
                    one.near(workload) && one.node.text(&["spec", "secretName"]) == Some(name)
                });
                if let Some(certificate) = certificate
                    && !all
                        .iter()
                        .any(|(_, known)| std::ptr::eq(*known, certificate))
                {
                    all.push((path, certificate));
                }
            }
        }
    }
    all
}

/// Whether the client side is told how to match names, in a way that works.
fn matches_wildcards(options: &Term) -> bool {
    options
        .get("client")
        .is_some_and(|client| client.entry("customize_hostname_check").is_some())
}

//! Volumes: certificates that are copied, and what may fill a disk or be written by two. Modes of files are in `modes`.

use skans_erlconf::shell;

use super::{items, nodes};
use crate::kubernetes::{Container, Object};
use crate::rule::{Context, Findings, Rule};
use crate::source::Place;
use crate::yaml::Node;

pub(super) const RULES: &[Rule] = &[
    rule!(
        CRT010,
        "cert-copied-at-start",
        Critical,
        Beam,
        copied,
        "Certificates are copied once, when the pod starts.",
        "A renewed Secret never reaches the node: it serves the old certificate until it expires, and then the whole cluster falls apart at once.",
        "Mount the Secret itself, without `subPath`, or a csi.cert-manager.io volume; something that clears the PEM cache on renewal."
    ),
    rule!(
        VOL001,
        "emptydir-unbounded",
        Medium,
        All,
        unbounded,
        "An emptyDir without `sizeLimit`.",
        "It fills the disk of the host until other pods are evicted; with `medium: Memory` it counts against the memory of the container.",
        "`sizeLimit`, and `ephemeral-storage` among the requests."
    ),
    rule!(
        VOL002,
        "rwo-not-rwop",
        Medium,
        All,
        not_rwop,
        "The volume of a node may be mounted by two pods of the same host.",
        "A pod that is thought dead and its successor write to the same Mnesia directory.",
        "`accessModes: [ReadWriteOncePod]`."
    ),
];

/// The volumes of a pod by their names.
fn volume<'o>(workload: &'o Object, name: &str) -> Option<&'o Node> {
    items(workload.pod()?, &["volumes"])
        .iter()
        .find(|volume| volume.text(&["name"]) == Some(name))
}

/// The mounts of a container: path, the mount, the volume.
pub(super) fn mounts<'o>(
    workload: &'o Object,
    container: &Container<'o>,
) -> Vec<(&'o str, &'o Node, &'o Node)> {
    items(container.node, &["volumeMounts"])
        .iter()
        .filter_map(|mount| {
            let volume = volume(workload, mount.text(&["name"])?)?;
            Some((mount.text(&["mountPath"])?, mount, volume))
        })
        .collect()
}

/// Whether a Secret holds a certificate, by who makes it or what it is called.
pub(super) fn is_certificate(context: &Context<'_>, workload: &Object, name: &str) -> bool {
    let by_manager = context
        .set
        .of_kind("Certificate")
        .any(|one| one.near(workload) && one.node.text(&["spec", "secretName"]) == Some(name));
    let by_type = context
        .set
        .named("Secret", name, workload)
        .is_some_and(|secret| secret.node.text(&["type"]) == Some("kubernetes.io/tls"));
    let words = ["tls", "cert", "certs", "certificate", "certificates", "pki"];
    let by_name = name.split(['-', '.']).any(|word| words.contains(&word));
    by_manager || by_type || by_name
}

/// The Secret of a volume, if it is one.
pub(super) fn secret_name(volume: &Node) -> Option<&str> {
    volume.text(&["secret", "secretName"])
}

fn copied(context: &Context<'_>, found: &mut Findings<'_>) {
    for workload in context.set.workloads() {
        for container in workload.containers() {
            if !container.init || container.is_sidecar() {
                continue;
            }
            let all = mounts(workload, &container);
            let sources: Vec<&str> = all
                .iter()
                .filter(|(_, _, volume)| {
                    secret_name(volume).is_some_and(|name| is_certificate(context, workload, name))
                })
                .map(|(path, ..)| *path)
                .collect();
            let targets: Vec<&str> = all
                .iter()
                .filter(|(_, _, volume)| volume.get("emptyDir").is_some())
                .map(|(path, ..)| *path)
                .collect();
            for (place, words) in commands(workload, &container) {
                let [program, rest @ ..] = words.as_slice() else {
                    continue;
                };
                let copies = matches!(
                    program.rsplit('/').next(),
                    Some("cp" | "install" | "cat" | "rsync")
                );
                let from = rest
                    .iter()
                    .any(|word| sources.iter().any(|path| word.starts_with(path)));
                let to = rest
                    .iter()
                    .any(|word| targets.iter().any(|path| word.starts_with(path)));
                if copies && from && to {
                    found.add(place, "what is copied here is never renewed");
                }
            }
        }
    }
}

/// The commands of a container: its own, or those of the script that it gives to a shell.
pub(super) fn commands<'o>(
    workload: &'o Object,
    container: &Container<'o>,
) -> Vec<(Place, Vec<String>)> {
    let list: Vec<&Node> = container.command().collect();
    let words: Vec<String> = list
        .iter()
        .filter_map(|node| node.as_str())
        .map(str::to_owned)
        .collect();
    let shells = words.first().is_some_and(|program| {
        matches!(
            program.rsplit('/').next(),
            Some("sh" | "bash" | "ash" | "dash")
        )
    });
    if !shells {
        return list
            .first()
            .map(|first| (workload.place(first), words))
            .into_iter()
            .collect();
    }
    list.iter()
        .skip(1)
        .filter_map(|node| Some((*node, shell::parse(node.as_str()?).ok()?)))
        .flat_map(|(node, script)| {
            let place = workload.place(node);
            script.commands.into_iter().map(move |command| {
                let mut words: Vec<String> =
                    command.words.into_iter().map(|word| word.text).collect();
                words.extend(command.redirections.into_iter().map(|(_, word)| word.text));
                (place, words)
            })
        })
        .collect()
}

fn unbounded(context: &Context<'_>, found: &mut Findings<'_>) {
    for workload in context.set.workloads() {
        for volume in workload
            .pod()
            .map_or(&[][..], |pod| items(pod, &["volumes"]))
        {
            let Some((key, empty)) = volume.entry("emptyDir") else {
                continue;
            };
            if empty.get("sizeLimit").is_none() {
                found.add(workload.place(key), "nothing bounds this volume");
            }
        }
    }
}

fn not_rwop(context: &Context<'_>, found: &mut Findings<'_>) {
    for (_, workload) in nodes(context) {
        for claim in items(&workload.node, &["spec", "volumeClaimTemplates"]) {
            let once = items(claim, &["spec", "accessModes"])
                .iter()
                .find(|mode| mode.as_str() == Some("ReadWriteOnce"));
            if let Some(once) = once {
                found.add(workload.place(once), "two pods of one host may mount this");
            }
        }
    }
}

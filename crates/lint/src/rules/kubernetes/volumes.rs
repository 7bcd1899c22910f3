//! Volumes: modes of secret files, copies of certificates, and what may fill a disk.

use skans_erlconf::shell;

use super::{items, nodes};
use crate::kubernetes::{Container, Object};
use crate::rule::{Context, Findings, Rule};
use crate::source::Place;
use crate::units::Product;
use crate::yaml::{Node, Style};

pub(super) const RULES: &[Rule] = &[
    rule!(
        ERL023,
        "cookie-file-mode",
        Blocker,
        Beam,
        cookie_file,
        "`.erlang.cookie` comes from a Secret volume with a mode that Erlang refuses.",
        "Distribution does not start: `Cookie file .erlang.cookie must be accessible by owner only`. The default mode of such volumes is 0644; `fsGroup` adds the right of the group to any mode; without it a user other than root cannot read the file at all.",
        "An init container that copies it to a memory volume with `install -m 0400`; or a Skans agent, which writes a cookie for each node."
    ),
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
        SEC002,
        "key-mode-too-open",
        High,
        Beam,
        too_open,
        "Private keys are mounted so that every user of the pod reads them.",
        "Any process and every sidecar with that volume has the identity of the node.",
        "`defaultMode: 0440` with `fsGroup`, or 0400 for root."
    ),
    rule!(
        YML002,
        "mode-in-decimal",
        High,
        Beam,
        decimal,
        "A file mode is written in decimal as if it were octal.",
        "`400` is 0620: the group may write; `644` is more than a mode can be and is refused.",
        "`0400`, or in JSON 256."
    ),
    rule!(
        YML001,
        "octal-literal",
        Medium,
        All,
        octal,
        "A file mode is an octal number of YAML 1.1.",
        "Tools that read YAML 1.2 take `0644` for decimal 644; JSON does not have it at all.",
        "The decimal number: 420 for 0644, 288 for 0440, 256 for 0400."
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
fn mounts<'o>(
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

fn cookie_file(context: &Context<'_>, found: &mut Findings<'_>) {
    const FILE: &str = ".erlang.cookie";
    for (unit, workload) in nodes(context) {
        // Who gives a cookie by a flag does not read the file.
        if unit.product == Product::Mix || unit.line.flags("-setcookie").count() == 1 {
            continue;
        }
        let security = workload.pod().and_then(|pod| pod.get("securityContext"));
        let group = security.is_some_and(|one| one.get("fsGroup").is_some());
        for container in workload.containers().iter().filter(|one| !one.init) {
            for (path, mount, volume) in mounts(workload, container) {
                let Some(secret) = volume.get("secret") else {
                    continue;
                };
                let item = items(secret, &["items"])
                    .iter()
                    .find(|item| item.text(&["path"]) == Some(FILE));
                let by_path = path.ends_with(FILE) && mount.get("subPath").is_some();
                if !by_path && item.is_none() {
                    continue;
                }
                let mode = item
                    .and_then(|item| item.get("mode"))
                    .or_else(|| secret.get("defaultMode"));
                let bits = mode.and_then(Node::as_int).unwrap_or(0o644);
                let user = [container.node.get("securityContext"), security]
                    .into_iter()
                    .flatten()
                    .find_map(|one| one.get("runAsUser")?.as_int());
                let message = if bits & 0o077 != 0 {
                    format!("mode {bits:04o}: Erlang refuses a cookie file that others may read")
                } else if group {
                    "fsGroup lets the group read the file, and Erlang refuses it".to_owned()
                } else if user.is_some_and(|user| user != 0) {
                    "the file belongs to root, and the node runs as another user".to_owned()
                } else {
                    continue;
                };
                let place = mode.unwrap_or(mount);
                found.add(workload.place(place), message);
            }
        }
    }
}

/// Whether a Secret holds a certificate, by who makes it or what it is called.
fn is_certificate(context: &Context<'_>, workload: &Object, name: &str) -> bool {
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
fn secret_name(volume: &Node) -> Option<&str> {
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

fn too_open(context: &Context<'_>, found: &mut Findings<'_>) {
    for workload in context.set.workloads() {
        for volume in workload
            .pod()
            .map_or(&[][..], |pod| items(pod, &["volumes"]))
        {
            let Some(name) = secret_name(volume) else {
                continue;
            };
            let mode = volume.path(&["secret", "defaultMode"]);
            let open = mode
                .and_then(Node::as_int)
                .is_some_and(|mode| mode & 0o004 != 0);
            if let Some(mode) = mode.filter(|_| open && is_certificate(context, workload, name)) {
                found.add(
                    workload.place(mode),
                    format!("every user of the pod reads the key of {name:?}"),
                );
            }
        }
    }
}

/// The file modes of all volumes of a workload.
fn modes(workload: &Object) -> impl Iterator<Item = &Node> {
    workload
        .pod()
        .map_or(&[][..], |pod| items(pod, &["volumes"]))
        .iter()
        .flat_map(Node::all)
        .flat_map(|node| [node.get("defaultMode"), node.get("mode")])
        .flatten()
}

fn decimal(context: &Context<'_>, found: &mut Findings<'_>) {
    /// What people write who mean octal, and never who mean decimal.
    const MEANT: &[&str] = &[
        "400", "440", "444", "500", "550", "555", "600", "640", "644", "660", "664", "700", "750",
        "755", "777",
    ];
    for workload in context.set.workloads() {
        for mode in modes(workload) {
            let text = mode.as_str().unwrap_or_default();
            if mode.style() == Some(Style::Plain) && MEANT.contains(&text) {
                let value = mode.as_int().unwrap_or_default();
                let is = if value > 0o777 {
                    "more than a mode can be".to_owned()
                } else {
                    format!("mode {value:04o}")
                };
                found
                    .add(workload.place(mode), format!("decimal {text} is {is}"))
                    .fix(format!("0{text}"));
            }
        }
    }
}

fn octal(context: &Context<'_>, found: &mut Findings<'_>) {
    for workload in context.set.workloads() {
        for mode in modes(workload) {
            let text = mode.as_str().unwrap_or_default();
            let is =
                text.len() > 1 && text.starts_with('0') && text.chars().all(|c| c.is_ascii_digit());
            if let Some(value) = mode.as_int().filter(|_| is) {
                found
                    .add(
                        workload.place(mode),
                        format!("{text} is octal in YAML 1.1 only"),
                    )
                    .fix(format!("{value}"));
            }
        }
    }
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

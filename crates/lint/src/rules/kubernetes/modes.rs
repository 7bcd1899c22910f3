//! Modes of files in volumes: too open for a key, refused by Erlang, or another number than was meant.

use super::volumes::{is_certificate, mounts, secret_name};
use super::{items, nodes};
use crate::kubernetes::Object;
use crate::rule::{Context, Findings, Rule};
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
];

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

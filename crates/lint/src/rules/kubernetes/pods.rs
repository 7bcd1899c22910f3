//! Pods by themselves: whether their namespace admits them, and whether a release can start in them.

use super::{items, nodes};
use crate::kubernetes::Object;
use crate::rule::{Context, Findings, Rule};
use crate::yaml::Node;

pub(super) const RULES: &[Rule] = &[
    rule!(
        PSA002,
        "not-restricted",
        Blocker,
        Beam,
        not_restricted,
        "A pod does not meet the level `restricted`, which its namespace enforces.",
        "No pod is made: `violates PodSecurity \"restricted:latest\"`. The controller tries for ever, and only its events say so.",
        "`runAsNonRoot: true` and `seccompProfile: {type: RuntimeDefault}` for the pod; `allowPrivilegeEscalation: false` and `capabilities: {drop: [ALL]}` for each container, init containers and sidecars among them."
    ),
    rule!(
        PSA003,
        "host-access-refused",
        Blocker,
        Beam,
        host_access,
        "A pod asks for its host, in a namespace that enforces `baseline` or `restricted`.",
        "No pod is made: hostPath volumes, host networks and privileged containers are refused.",
        "A volume claim, a VolumeSnapshot or an object store in place of hostPath; a namespace of its own for what must see hosts."
    ),
    rule!(
        REL001,
        "relx-readonly-root",
        Blocker,
        Beam,
        relx_readonly,
        "A release of relx expands its files beside themselves, on a root that cannot be written.",
        "The start script exits: `cp: cannot create regular file '.../vm.args.orig': Read-only file system`.",
        "`RELX_OUT_FILE_PATH` on an emptyDir (`medium: Memory`, since the cookie may stand in it), and files that end in `.src`."
    ),
    rule!(
        REL002,
        "relx-legacy-expansion",
        Low,
        Beam,
        relx_legacy,
        "`RELX_REPLACE_OS_VARS` is set for a release that has `.src` files.",
        "Nothing more than without it: `.src` files are always expanded.",
        "Leave it out."
    ),
    rule!(
        PSA001,
        "psa-version-unpinned",
        Low,
        All,
        unpinned,
        "A namespace enforces a level of pod security, whichever version it has today.",
        "An upgrade of Kubernetes may refuse pods that ran the day before.",
        "`pod-security.kubernetes.io/enforce-version` beside `enforce`."
    ),
    rule!(
        RES001,
        "beam-resources",
        Medium,
        All,
        resources,
        "A node has a CPU limit, or a smaller memory request than limit.",
        "A CPU limit throttles all schedulers at once, which peers see as silence; memory beyond the request makes the pod the first to be evicted.",
        "`requests.memory` equal to `limits.memory`; `requests.cpu` without a limit."
    ),
];

/// The level that the namespace of a workload enforces, if the set has it.
fn level<'c>(context: &Context<'c>, workload: &Object) -> Option<(&'c str, &'c Object)> {
    let namespace = workload.namespace.as_deref()?;
    let object = context
        .set
        .of_kind("Namespace")
        .find(|one| one.name == namespace)?;
    let level = object
        .node
        .path(&["metadata", "labels"])?
        .get("pod-security.kubernetes.io/enforce")?;
    Some((level.as_str()?, object))
}

fn is(node: Option<&Node>, path: &[&str], wanted: bool) -> bool {
    node.and_then(|node| node.path(path))
        .and_then(Node::as_bool)
        == Some(wanted)
}

fn not_restricted(context: &Context<'_>, found: &mut Findings<'_>) {
    for workload in context.set.workloads() {
        let Some(("restricted", namespace)) = level(context, workload) else {
            continue;
        };
        let pod = workload.pod().and_then(|pod| pod.get("securityContext"));
        for container in workload.containers() {
            let own = container.node.get("securityContext");
            let seccomp = [own, pod].into_iter().flatten().any(|one| {
                matches!(
                    one.text(&["seccompProfile", "type"]),
                    Some("RuntimeDefault" | "Localhost")
                )
            });
            // What the container says wins.
            let non_root = if own.is_some_and(|own| own.get("runAsNonRoot").is_some()) {
                is(own, &["runAsNonRoot"], true)
            } else {
                is(pod, &["runAsNonRoot"], true)
            };
            let drops = own.is_some_and(|own| {
                items(own, &["capabilities", "drop"])
                    .iter()
                    .any(|one| one.as_str() == Some("ALL"))
            });
            let missing: Vec<_> = [
                (non_root, "runAsNonRoot: true"),
                (seccomp, "seccompProfile"),
                (
                    is(own, &["allowPrivilegeEscalation"], false),
                    "allowPrivilegeEscalation: false",
                ),
                (drops, "capabilities: {drop: [ALL]}"),
            ]
            .into_iter()
            .filter_map(|(has, name)| (!has).then_some(name))
            .collect();
            if missing.is_empty() {
                continue;
            }
            let place = container
                .node
                .get("name")
                .map_or_else(|| workload.head(), |name| workload.place(name));
            found
                .add(
                    place,
                    format!("{:?} lacks {}", container.name(), missing.join(", ")),
                )
                .related(namespace.head(), "this namespace enforces restricted");
        }
    }
}

fn host_access(context: &Context<'_>, found: &mut Findings<'_>) {
    for workload in context.set.workloads() {
        let Some(("restricted" | "baseline", namespace)) = level(context, workload) else {
            continue;
        };
        let Some(pod) = workload.pod() else { continue };
        let mut all = Vec::new();
        for volume in items(pod, &["volumes"]) {
            if volume.get("hostPath").is_some() {
                all.push((workload.key(volume, "hostPath"), "a hostPath"));
            }
        }
        for key in ["hostNetwork", "hostPID", "hostIPC"] {
            if is(Some(pod), &[key], true) {
                all.push((workload.key(pod, key), "the host's namespace"));
            }
        }
        for container in workload.containers() {
            if let Some(context) = container.node.get("securityContext")
                && is(Some(context), &["privileged"], true)
            {
                all.push((
                    workload.key(context, "privileged"),
                    "a privileged container",
                ));
            }
        }
        for (place, what) in all {
            found
                .add(
                    place,
                    format!("{what}, which namespace {} refuses", namespace.name),
                )
                .related(namespace.head(), "the namespace");
        }
    }
}

fn relx_readonly(context: &Context<'_>, found: &mut Findings<'_>) {
    for (unit, workload) in nodes(context) {
        let variable = unit
            .variable("RELX_REPLACE_OS_VARS")
            .filter(|one| one.value.as_deref() == Some("true"));
        let sources = unit.files.iter().any(|(path, _)| path.ends_with(".src"));
        if unit.variable("RELX_OUT_FILE_PATH").is_some() || (variable.is_none() && !sources) {
            continue;
        }
        for container in workload.containers().iter().filter(|one| !one.init) {
            let Some(security) = container.node.get("securityContext") else {
                continue;
            };
            // A volume over the directory of the release can be written.
            let writable = items(container.node, &["volumeMounts"])
                .iter()
                .filter_map(|mount| mount.text(&["mountPath"]))
                .any(|path| path.contains("releases"));
            if is(Some(security), &["readOnlyRootFilesystem"], true) && !writable {
                let adding = found
                    .add(
                        workload.key(security, "readOnlyRootFilesystem"),
                        "the start script writes vm.args and sys.config beside the originals",
                    )
                    .fix("RELX_OUT_FILE_PATH: /run/release, an emptyDir");
                if let Some(variable) = variable {
                    adding.related(variable.place, "because of this");
                }
            }
        }
    }
}

fn relx_legacy(context: &Context<'_>, found: &mut Findings<'_>) {
    for (unit, _) in nodes(context) {
        let sources = unit.files.iter().any(|(path, _)| path.ends_with(".src"));
        if let Some(variable) = unit.variable("RELX_REPLACE_OS_VARS").filter(|_| sources) {
            found.add(
                variable.place,
                "files that end in .src are expanded without it",
            );
        }
    }
}

fn unpinned(context: &Context<'_>, found: &mut Findings<'_>) {
    const ENFORCE: &str = "pod-security.kubernetes.io/enforce";
    for namespace in context.set.of_kind("Namespace") {
        let Some(labels) = namespace.node.path(&["metadata", "labels"]) else {
            continue;
        };
        if labels.get(ENFORCE).is_some() && labels.get(&format!("{ENFORCE}-version")).is_none() {
            found.add(namespace.key(labels, ENFORCE), "no enforce-version");
        }
    }
}

fn resources(context: &Context<'_>, found: &mut Findings<'_>) {
    for (_, workload) in nodes(context) {
        for container in workload.containers().iter().filter(|one| !one.init) {
            let Some(resources) = container.node.get("resources") else {
                continue;
            };
            if let Some(limit) = resources.path(&["limits", "cpu"]) {
                found.add(
                    workload.place(limit),
                    "a CPU limit throttles all schedulers at once",
                );
            }
            let request = resources.path(&["requests", "memory"]);
            let limit = resources.text(&["limits", "memory"]);
            if let Some(request) = request.filter(|one| limit.is_some() && one.as_str() != limit) {
                found.add(
                    workload.place(request),
                    "the request is not the limit: beyond it the pod is the first to be evicted",
                );
            }
        }
    }
}

//! Values of charts, and commands of Helm.

use skans_erlconf::shell::Command;

use crate::document::{Content, Shell};
use crate::rule::{Context, Findings, Rule};
use crate::source::{Place, SourceId};
use crate::yaml::Node;

pub(super) const RULES: &[Rule] = &[
    rule!(
        HLM001,
        "install-crds-deprecated",
        Medium,
        Beam,
        install_crds,
        "`installCRDs` of cert-manager.",
        "Deprecated since 1.15. The definitions belong to the release: `helm uninstall` deletes them, and every Certificate with them.",
        "`crds: {enabled: true, keep: true}`."
    ),
    rule!(
        HLM002,
        "crd-order",
        Medium,
        Beam,
        crd_order,
        "A chart makes ServiceMonitors before the chart that defines them is installed.",
        "`no matches for kind \"ServiceMonitor\"`: the installation fails, or the monitor is left out without a word.",
        "The Prometheus operator, or its definitions alone, first."
    ),
    rule!(
        HLM003,
        "helm-install",
        Low,
        All,
        install,
        "`helm install` in a script.",
        "The second run fails: `cannot re-use a name that is still in use`.",
        "`helm upgrade --install --atomic`."
    ),
];

/// Values of charts: files, and what stands in objects of Flux and Argo CD.
fn values<'c>(context: &Context<'c>) -> Vec<(SourceId, &'c Node)> {
    let files = context
        .set
        .documents
        .iter()
        .filter_map(|document| match &document.content {
            Content::Yaml(node) => Some((document.source, node)),
            _ => None,
        });
    let objects = context
        .set
        .objects
        .iter()
        .filter(|object| {
            matches!(
                object.kind.as_str(),
                "HelmRelease" | "HelmChart" | "Application"
            )
        })
        .map(|object| (object.source, &object.node));
    files.chain(objects).collect()
}

/// The commands of all scripts that run `helm`, with their places.
fn helm<'c>(context: &Context<'c>) -> Vec<(Place, &'c Command)> {
    let mut all = Vec::new();
    for document in &context.set.documents {
        let Content::Shell(Shell::Script, script) = &document.content else {
            continue;
        };
        for command in script.runs("helm") {
            let place = Place {
                source: document.source,
                span: command.span,
            };
            all.push((place, command));
        }
    }
    all
}

fn install_crds(context: &Context<'_>, found: &mut Findings<'_>) {
    for (source, root) in values(context) {
        for node in root.all() {
            let Some((key, value)) = node.entry("installCRDs") else {
                continue;
            };
            if value.as_bool() == Some(true) {
                let place = Place {
                    source,
                    span: key.span,
                };
                found
                    .add(
                        place,
                        "deprecated, and uninstalling deletes every Certificate",
                    )
                    .fix("crds: {enabled: true, keep: true}");
            }
        }
    }
    for (place, command) in helm(context) {
        if command
            .words
            .iter()
            .any(|word| word.text.contains("installCRDs=true"))
        {
            found
                .add(
                    place,
                    "deprecated, and uninstalling deletes every Certificate",
                )
                .fix("--set crds.enabled=true --set crds.keep=true");
        }
    }
}

/// Whether a command of Helm puts something in.
fn installs(command: &Command) -> bool {
    command
        .words
        .iter()
        .any(|word| matches!(word.text.as_str(), "install" | "upgrade"))
}

fn crd_order(context: &Context<'_>, found: &mut Findings<'_>) {
    let all = helm(context);
    for (at, (place, command)) in all.iter().enumerate() {
        let asks = command.words.iter().any(|word| {
            let text = word.text.to_ascii_lowercase();
            text.contains("servicemonitor.enabled=true") || text.contains("podmonitor.enabled=true")
        });
        let defines = |(_, command): &&(Place, &Command)| {
            installs(command)
                && command.words.iter().any(|word| {
                    word.text.contains("prometheus-operator")
                        || word.text.contains("kube-prometheus-stack")
                })
        };
        let later = all
            .iter()
            .skip(at + 1)
            .filter(|(other, _)| other.source == place.source)
            .find(defines);
        if let Some((definition, _)) = later.filter(|_| asks && installs(command)) {
            found
                .add(*place, "there is no ServiceMonitor yet")
                .related(*definition, "defined here");
        }
    }
}

fn install(context: &Context<'_>, found: &mut Findings<'_>) {
    for (place, command) in helm(context) {
        let mut words = command.words.iter().map(|word| word.text.as_str());
        if words.any(|word| word == "helm") && words.next() == Some("install") {
            found
                .add(place, "fails the second time")
                .fix("helm upgrade --install --atomic");
        }
    }
}

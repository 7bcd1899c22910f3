//! Monitors of the Prometheus operator: what they scrape, how often, under which names.

use std::collections::{HashMap, HashSet};

use super::{endpoints, items, monitors};
use crate::kubernetes::{Object, fits};
use crate::rule::{Context, Findings, Rule};
use crate::set::{MAX_EACH, MAX_PAIRS};
use crate::source::Place;
use crate::yaml::Node;

pub(super) const RULES: &[Rule] = &[
    rule!(
        MON001,
        "relabel-empty-name",
        Blocker,
        Beam,
        empty_name,
        "A relabelling writes a group into a label that its `regex` does not have.",
        "The label becomes empty. If it is the name, the whole scrape fails (`missing metric name`), and the target is down.",
        "Leave it out, or put parentheses around what is to be kept."
    ),
    rule!(
        MON002,
        "pod-label-overwritten",
        Medium,
        Beam,
        pod_label,
        "A relabelling writes an address into the label `pod`.",
        "The operator has put the name of the pod there; dashboards and alerts show addresses, which change with each restart.",
        "Leave it out; `__meta_kubernetes_pod_name` is where the name comes from."
    ),
    rule!(
        MON003,
        "servicemonitor-matches-two",
        Medium,
        Beam,
        matches_two,
        "A ServiceMonitor selects two Services of the same pods.",
        "Each pod is scraped twice, under two jobs: sums are doubled, and alerts come in pairs.",
        "A PodMonitor; or a label that only one of the Services has."
    ),
    rule!(
        MON005,
        "monitor-not-selected",
        Medium,
        Beam,
        not_selected,
        "No Prometheus of the set selects a monitor.",
        "Nothing is scraped, and nothing says so.",
        "The labels that `serviceMonitorSelector` or `podMonitorSelector` asks for, often `release`."
    ),
    rule!(
        MON004,
        "two-scrape-mechanisms",
        Low,
        Beam,
        two_mechanisms,
        "Pods have annotations to be scraped, and a monitor selects them, too.",
        "Where both mechanisms run, each pod is scraped twice.",
        "The monitor alone."
    ),
];

/// The relabellings of an endpoint, of metrics and of targets.
fn relabellings(endpoint: &Node) -> impl Iterator<Item = &Node> {
    items(endpoint, &["metricRelabelings"])
        .iter()
        .chain(items(endpoint, &["relabelings"]))
}

/// Whether a regular expression has a group that captures.
fn captures(regex: &str) -> bool {
    let mut escaped = false;
    let mut characters = regex.chars().peekable();
    while let Some(c) = characters.next() {
        if c == '(' && !escaped {
            // `(?P<name>` captures, `(?:` and flags do not.
            if characters.peek() != Some(&'?') {
                return true;
            }
            characters.next();
            if matches!(characters.peek(), Some('P' | '<')) {
                return true;
            }
        }
        escaped = c == '\\' && !escaped;
    }
    false
}

fn empty_name(context: &Context<'_>, found: &mut Findings<'_>) {
    for monitor in monitors(context) {
        for one in endpoints(monitor).iter().flat_map(relabellings) {
            let replaces = matches!(one.text(&["action"]), None | Some("replace" | "Replace"));
            let Some(regex) = one.get("regex").filter(|_| replaces) else {
                continue;
            };
            let replacement = one.text(&["replacement"]).unwrap_or("$1");
            let group = ["$1", "${1}"]
                .iter()
                .any(|group| replacement.contains(group));
            if group && !captures(regex.as_str().unwrap_or_default()) {
                let target = one.text(&["targetLabel"]).unwrap_or_default();
                let what = if target == "__name__" {
                    "every metric loses its name, and the scrape fails".to_owned()
                } else {
                    format!("{target} becomes empty")
                };
                found.add(monitor.place(regex), format!("no group in this: {what}"));
            }
        }
    }
}

fn pod_label(context: &Context<'_>, found: &mut Findings<'_>) {
    for monitor in monitors(context) {
        for one in endpoints(monitor).iter().flat_map(relabellings) {
            let target = one.get("targetLabel");
            let address = items(one, &["sourceLabels"])
                .iter()
                .any(|label| matches!(label.as_str(), Some("instance" | "__address__")));
            if let Some(target) = target.filter(|label| label.as_str() == Some("pod") && address) {
                found.add(
                    monitor.place(target),
                    "an address where the name of the pod was",
                );
            }
        }
    }
}

/// The Services that a ServiceMonitor selects, as many of them as are looked at.
pub(super) fn services<'c>(context: &Context<'c>, monitor: &'c Object) -> Vec<&'c Object> {
    if monitor.kind != "ServiceMonitor" || are_too_many(context) {
        return Vec::new();
    }
    let Some(selector) = monitor.node.path(&["spec", "selector"]) else {
        return Vec::new();
    };
    let namespaces = monitor.node.path(&["spec", "namespaceSelector"]);
    context
        .set
        .of_kind("Service")
        .filter(|service| namespaces.is_some() || service.near(monitor))
        .filter(|service| fits(selector, service.node.path(&["metadata", "labels"])))
        .filter(|service| {
            endpoints(monitor).iter().any(|endpoint| {
                let wanted = endpoint.text(&["port"]);
                wanted.is_none()
                    || items(&service.node, &["spec", "ports"])
                        .iter()
                        .any(|port| port.text(&["name"]) == wanted)
            })
        })
        .take(MAX_EACH)
        .collect()
}

/// Whether there are too many monitors to compare each with each Service and workload.
fn are_too_many(context: &Context<'_>) -> bool {
    let many = |kind| context.set.of_kind(kind).count();
    let others = many("Service").max(context.set.workloads().count());
    (many("ServiceMonitor") + many("PodMonitor")).saturating_mul(others) > MAX_PAIRS
}

fn matches_two(context: &Context<'_>, found: &mut Findings<'_>) {
    for monitor in monitors(context) {
        // Which Service leads to a workload first.
        let mut first_of: HashMap<Place, &Object> = HashMap::new();
        let twice = services(context, monitor).into_iter().find_map(|second| {
            context.set.served(second).find_map(|workload| {
                let first = *first_of.entry(workload.head()).or_insert(second);
                (first.head() != second.head()).then_some((first, second, workload))
            })
        });
        if let Some((first, second, workload)) = twice {
            found
                .add(
                    monitor
                        .spec()
                        .map_or_else(|| monitor.head(), |spec| monitor.key(spec, "selector")),
                    format!(
                        "{} and {} both lead to {}",
                        first.name,
                        second.name,
                        workload.title()
                    ),
                )
                .related(first.head(), "one")
                .related(second.head(), "the other");
        }
    }
}

fn not_selected(context: &Context<'_>, found: &mut Findings<'_>) {
    let instances: Vec<&Object> = context.set.of_kind("Prometheus").collect();
    for monitor in monitors(context) {
        let field = if monitor.kind == "PodMonitor" {
            "podMonitorSelector"
        } else {
            "serviceMonitorSelector"
        };
        let selectors: Vec<_> = instances
            .iter()
            .filter_map(|one| Some((*one, one.node.path(&["spec", field])?)))
            .collect();
        let labels = monitor.node.path(&["metadata", "labels"]);
        let selected = selectors.iter().any(|(_, selector)| fits(selector, labels));
        if let Some((instance, _)) = selectors.first().filter(|_| !selected) {
            found
                .add(
                    monitor.head(),
                    format!("{} does not select this", instance.title()),
                )
                .related(instance.head(), "by its selector");
        }
    }
}

/// The workloads that a monitor scrapes, as many of them as are looked at.
pub(super) fn scraped<'c>(context: &Context<'c>, monitor: &'c Object) -> Vec<&'c Object> {
    let mut seen: HashSet<Place> = HashSet::new();
    let by_service = services(context, monitor)
        .into_iter()
        .flat_map(|service| context.set.served(service));
    let direct = (monitor.kind == "PodMonitor" && !are_too_many(context)).then(|| {
        context
            .set
            .workloads()
            .filter(|workload| monitor.selects(&["spec", "selector"], workload))
    });
    by_service
        .chain(direct.into_iter().flatten())
        .filter(|workload| seen.insert(workload.head()))
        .take(MAX_EACH)
        .collect()
}

fn two_mechanisms(context: &Context<'_>, found: &mut Findings<'_>) {
    for monitor in monitors(context) {
        for workload in scraped(context, monitor) {
            let annotations = workload
                .pod_metadata()
                .and_then(|metadata| metadata.get("annotations"));
            let entry = annotations.and_then(|one| one.entry("prometheus.io/scrape"));
            if let Some((key, _)) = entry.filter(|(_, value)| value.as_str() == Some("true")) {
                found
                    .add(workload.place(key), "scraped by this, and by a monitor")
                    .related(monitor.head(), "the monitor");
            }
        }
    }
}

//! Dashboards of Grafana: whether they are loaded, and whether their panels are drawn.

use super::{dashboards, items, panels};
use crate::rule::{Context, Findings, Rule};
use crate::yaml::Node;

pub(super) const RULES: &[Rule] = &[
    rule!(
        DSH003,
        "angular-panel",
        High,
        Beam,
        angular,
        "A panel of a kind that Grafana does not have any more.",
        "Grafana 11 does not draw panels of Angular by default, Grafana 12 has none; some are replaced on the way, others stay empty.",
        "`timeseries` for `graph`, `stat` for `singlestat`, `table` for `table-old`."
    ),
    rule!(
        DSH004,
        "api-envelope",
        High,
        Beam,
        envelope,
        "A dashboard stands in the envelope of the HTTP API.",
        "Provisioning and the sidecar read a file as the dashboard itself: they find no title and load nothing.",
        "The object within, alone."
    ),
    rule!(
        DSH005,
        "incomplete-dashboard",
        Medium,
        Beam,
        incomplete,
        "A dashboard lacks what Grafana otherwise makes up.",
        "Without `uid` each start makes a new one, links break; without `gridPos` all panels lie on each other; without `schemaVersion` it is migrated from the beginning of time.",
        "What Grafana exports: `uid`, `schemaVersion`, and for each panel `gridPos` and `datasource`."
    ),
];

fn angular(context: &Context<'_>, found: &mut Findings<'_>) {
    for dashboard in dashboards(context) {
        for panel in panels(dashboard.model) {
            let Some(kind) = panel.get("type") else {
                continue;
            };
            let new = match kind.as_str() {
                Some("graph") => "timeseries",
                Some("singlestat" | "grafana-singlestat-panel") => "stat",
                Some("table-old") => "table",
                Some("grafana-piechart-panel") => "piechart",
                Some("grafana-worldmap-panel") => "geomap",
                _ => continue,
            };
            found
                .add(
                    dashboard.place(kind),
                    format!(
                        "panels of the kind {:?} are gone",
                        kind.as_str().unwrap_or_default()
                    ),
                )
                .fix(new);
        }
    }
}

fn envelope(context: &Context<'_>, found: &mut Findings<'_>) {
    for dashboard in dashboards(context) {
        if let Some(key) = dashboard.envelope {
            found.add(
                dashboard.place(key),
                "the dashboard is what stands within this",
            );
        }
    }
}

fn incomplete(context: &Context<'_>, found: &mut Findings<'_>) {
    for dashboard in dashboards(context) {
        let model = dashboard.model;
        let mut missing: Vec<String> = ["uid", "schemaVersion"]
            .into_iter()
            .filter(|key| model.get(key).is_none())
            .map(str::to_owned)
            .collect();
        let placed = |panel: &&Node| panel.get("gridPos").is_none() && panel.get("type").is_some();
        let without = items(model, &["panels"]).iter().filter(placed).count();
        if without > 0 {
            missing.push(format!("gridPos of {without} panels"));
        }
        if !missing.is_empty() {
            found.add(
                dashboard.key(model, "panels"),
                format!("this dashboard has no {}", missing.join(", no ")),
            );
        }
    }
}

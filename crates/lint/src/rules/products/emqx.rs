//! EMQX: `emqx.conf` and variables that stand for it.

use crate::document::Content;
use crate::rule::{Context, Findings, Rule};
use crate::source::Place;
use crate::units::{Carrier, Product, Unit};

pub(in crate::rules) const RULES: &[Rule] = &[
    rule!(
        EMQ001,
        "dashboard-default-password",
        Critical,
        Beam,
        password,
        "The dashboard has the password that EMQX comes with.",
        "Whoever reaches port 18083 is an administrator.",
        "`EMQX_DASHBOARD__DEFAULT_PASSWORD` from a Secret."
    ),
    rule!(
        EMQ003,
        "rpc-in-clear",
        Critical,
        Beam,
        rpc,
        "Distribution is carried by TLS, and what nodes forward to each other is not.",
        "Messages of clients go over a channel of its own (port 5369 or 5370), in clear: the certificates protect the smaller part.",
        "`rpc { driver = ssl, certfile, keyfile, cacertfile, verify = verify_peer, fail_if_no_peer_cert = true }`."
    ),
    rule!(
        EMQ002,
        "manual-discovery",
        High,
        Beam,
        manual,
        "Several replicas that are joined by hand.",
        "Each is a cluster of its own until somebody runs `emqx ctl cluster join` in it, and again after it lost its volume.",
        "`cluster.discovery_strategy = dns` with a headless Service, or `k8s`."
    ),
];

/// A setting of a node: from its file, or from the variable that wins over it.
fn setting(context: &Context<'_>, unit: &Unit, path: &[&str]) -> Option<(String, Place)> {
    let name = format!("EMQX_{}", path.join("__").to_ascii_uppercase());
    if let Some(variable) = unit.variable(&name) {
        // A value that is not written is set all the same.
        return Some((variable.value.clone().unwrap_or_default(), variable.place));
    }
    unit.files.iter().rev().find_map(|(_, number)| {
        let document = context.set.document(*number)?;
        let Content::Emqx(file) = &document.content else {
            return None;
        };
        let value = file.get(path)?;
        let place = Place {
            source: document.source,
            span: value.span,
        };
        Some((value.text()?.to_owned(), place))
    })
}

fn units<'c>(context: &Context<'c>) -> impl Iterator<Item = &'c Unit> {
    context
        .set
        .units
        .iter()
        .filter(|unit| unit.product == Product::Emqx)
}

fn password(context: &Context<'_>, found: &mut Findings<'_>) {
    for unit in units(context) {
        if let Some((value, place)) = setting(context, unit, &["dashboard", "default_password"])
            && value == "public"
        {
            found.add(place, "everybody knows this password");
        }
    }
}

fn rpc(context: &Context<'_>, found: &mut Findings<'_>) {
    for unit in units(context).filter(|unit| unit.guarded.is_none()) {
        let Carrier::Tls(place) = unit.carrier() else {
            continue;
        };
        // Only who shows the file can be told what is not in it.
        let shown = unit
            .documents(context.set)
            .any(|document| matches!(document.content, Content::Emqx(_)));
        match setting(context, unit, &["rpc", "driver"]) {
            Some((driver, at)) if driver == "tcp" => {
                found
                    .add(at, "what nodes forward goes in clear")
                    .related(place, "unlike distribution");
            }
            None if shown => {
                found.add(
                    place,
                    "rpc.driver is tcp unless it is set: what nodes forward goes in clear",
                );
            }
            _ => {}
        }
    }
}

fn manual(context: &Context<'_>, found: &mut Findings<'_>) {
    for unit in units(context) {
        let replicas = unit.replicas(context.set);
        if let Some((value, place)) = setting(context, unit, &["cluster", "discovery_strategy"])
            && value == "manual"
            && replicas > 1
        {
            found.add(
                place,
                format!("{replicas} nodes, each alone until it is joined by hand"),
            );
        }
    }
}

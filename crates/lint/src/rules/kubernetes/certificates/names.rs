//! Which nodes a certificate names, and who may have one like it.

use super::{NodeCertificate, is_below, matches_wildcards, of_nodes, path_of};
use crate::kubernetes::Object;
use crate::rule::{Context, Findings, Rule};
use crate::rules::kubernetes::{at, items};
use crate::source::Place;
use crate::yaml::Node;

pub(super) const RULES: &[Rule] = &[
    rule!(
        CRT002,
        "shared-node-certificate",
        Critical,
        Beam,
        shared,
        "All nodes have the same certificate and the same key.",
        "A node has no identity of its own: whoever takes the key of one is every node, and none can be revoked without all.",
        "A certificate for each pod: a csi.cert-manager.io volume, or a Skans agent."
    ),
    rule!(
        CRT005,
        "cluster-issuer-for-dist-ca",
        Critical,
        Beam,
        cluster_issuer,
        "The authority of distribution signs for every namespace.",
        "Whoever may make a Certificate anywhere in the cluster of Kubernetes gets one that the nodes trust, and runs code on them.",
        "An Issuer in the namespace of the nodes, with an intermediate of its own; a CertificateRequestPolicy that says which names."
    ),
    rule!(
        CRT003,
        "wildcard-name-for-nodes",
        High,
        Beam,
        wildcard,
        "The certificate names the nodes by a wildcard, which Erlang does not match.",
        "Every connection to a node that is not named in full fails: `hostname_check_failed`.",
        "Each host name of a node in full; or `{customize_hostname_check, [{match_fun, public_key:pkix_verify_hostname_match_fun(https)}]}` in `client`."
    ),
    rule!(
        CRT004,
        "names-for-all-replicas",
        High,
        Beam,
        coverage,
        "The certificate names fewer pods than there are replicas.",
        "The last pods are refused by all others: `hostname_check_failed`. It shows when somebody scales up.",
        "A name for each replica."
    ),
    rule!(
        CRT014,
        "no-trust-bundle",
        High,
        Beam,
        no_bundle,
        "Nodes trust the authority that came with their own certificate.",
        "When the authority is replaced, nodes that have renewed and nodes that have not refuse each other: the cluster falls apart in the middle of a rotation.",
        "A Bundle of trust-manager with the old and the new authority, mounted beside the certificate, as `cacertfile`."
    ),
    rule!(
        CRT020,
        "node-certificate-usages",
        High,
        Beam,
        usages,
        "The certificate of a node is for servers only, or for clients only.",
        "A node is both: it is refused where it connects, or where it is connected to.",
        "`usages: [digital signature, server auth, client auth]`."
    ),
    rule!(
        CRT011,
        "loopback-name",
        Medium,
        Beam,
        loopback,
        "The certificate of a node names `localhost` or a loopback address.",
        "Whoever has it can pose as any service of any host that is asked for at home.",
        "The name of the node, and nothing else."
    ),
    rule!(
        CRT012,
        "common-name",
        Low,
        All,
        common_name,
        "The certificate of a node has a `commonName`.",
        "Nobody verifies it; names of pods are soon longer than the 64 characters that it may have, and are then refused.",
        "`dnsNames` alone."
    ),
];

/// Each certificate once, whichever nodes have it.
fn once<'c>(context: &Context<'c>) -> Vec<NodeCertificate<'c>> {
    let mut all = of_nodes(context);
    let mut seen: Vec<Place> = Vec::new();
    all.retain(|one| {
        let place = one.certificate.head();
        let new = !seen.contains(&place);
        seen.push(place);
        new
    });
    all
}

fn dns_names(certificate: &Object) -> &[Node] {
    items(&certificate.node, &["spec", "dnsNames"])
}

fn shared(context: &Context<'_>, found: &mut Findings<'_>) {
    for one in once(context) {
        let replicas = one.workload.replicas();
        if replicas > 1 {
            found
                .add(
                    at(one.certificate, &["spec", "secretName"]),
                    format!("{replicas} nodes have this certificate and its key"),
                )
                .related(one.workload.head(), "the nodes");
        }
    }
}

fn cluster_issuer(context: &Context<'_>, found: &mut Findings<'_>) {
    for one in once(context) {
        let reference = &["spec", "issuerRef", "kind"];
        if one.certificate.node.text(reference) != Some("ClusterIssuer") {
            continue;
        }
        let name = one.certificate.node.text(&["spec", "issuerRef", "name"]);
        let issuer = context.set.of_kind("ClusterIssuer").find(|issuer| {
            Some(issuer.name.as_str()) == name && issuer.node.path(&["spec", "ca"]).is_some()
        });
        if let Some(issuer) = issuer {
            found
                .add(
                    at(one.certificate, reference),
                    format!(
                        "every namespace gets certificates that {} trusts",
                        one.unit.title
                    ),
                )
                .related(issuer.head(), "the authority");
        }
    }
}

fn wildcard(context: &Context<'_>, found: &mut Findings<'_>) {
    for one in once(context) {
        let Some(options) = one.options else { continue };
        let name = dns_names(one.certificate)
            .iter()
            .find(|name| name.as_str().is_some_and(|name| name.starts_with("*.")));
        // Names in full beside it are what counts; whether they are enough is another rule.
        let full = !ordinals(&one).is_empty();
        if let Some(name) = name
            && !full
            && !matches_wildcards(options)
        {
            found
                .add(
                    one.certificate.place(name),
                    "Erlang compares this with the name of a node letter by letter",
                )
                .related(one.workload.head(), "the nodes");
        }
    }
}

/// The ordinals of pods that a certificate names.
fn ordinals(one: &NodeCertificate<'_>) -> Vec<i64> {
    dns_names(one.certificate)
        .iter()
        .filter_map(Node::as_str)
        .filter_map(|name| {
            let rest = name
                .strip_prefix(one.workload.name.as_str())?
                .strip_prefix('-')?;
            rest.split('.').next()?.parse().ok()
        })
        .collect()
}

fn coverage(context: &Context<'_>, found: &mut Findings<'_>) {
    for one in once(context) {
        let named = ordinals(&one);
        let wild = dns_names(one.certificate)
            .iter()
            .any(|name| name.as_str().is_some_and(|name| name.starts_with("*.")));
        // With options that are not here, a wildcard may do.
        let helps = wild && one.options.is_none_or(matches_wildcards);
        let start = one
            .workload
            .node
            .path(&["spec", "ordinals", "start"])
            .and_then(Node::as_int)
            .unwrap_or(0);
        let end = start.saturating_add(one.workload.replicas().min(10_000));
        let missing: Vec<String> = (start..end)
            .filter(|ordinal| !named.contains(ordinal))
            .map(|ordinal| format!("{}-{ordinal}", one.workload.name))
            .collect();
        if one.workload.kind == "StatefulSet" && !named.is_empty() && !missing.is_empty() && !helps
        {
            found
                .add(
                    at(one.certificate, &["spec", "dnsNames"]),
                    format!("no name for {}", missing.join(", ")),
                )
                .related(at(one.workload, &["spec", "replicas"]), "so many replicas");
        }
    }
}

fn no_bundle(context: &Context<'_>, found: &mut Findings<'_>) {
    for one in once(context) {
        let Some(options) = one.options else { continue };
        let with_own = ["server", "client"]
            .into_iter()
            .filter_map(|side| path_of(options, side, "cacertfile"))
            .find(|file| is_below(file, one.mounted));
        if let Some(file) = with_own {
            found
                .add(
                    at(one.certificate, &["spec", "issuerRef"]),
                    format!("{file} changes only when this certificate is renewed"),
                )
                .related(one.workload.head(), "the nodes");
        }
    }
}

fn usages(context: &Context<'_>, found: &mut Findings<'_>) {
    for one in once(context) {
        let usages = items(&one.certificate.node, &["spec", "usages"]);
        let has = |wanted: &str| usages.iter().any(|usage| usage.as_str() == Some(wanted));
        let (server, client) = (has("server auth"), has("client auth"));
        if server != client && !has("any") {
            let missing = if server { "client auth" } else { "server auth" };
            found.add(
                at(one.certificate, &["spec", "usages"]),
                format!("a node needs {missing}, too"),
            );
        }
    }
}

fn loopback(context: &Context<'_>, found: &mut Findings<'_>) {
    for one in once(context) {
        let addresses = items(&one.certificate.node, &["spec", "ipAddresses"]);
        for name in dns_names(one.certificate).iter().chain(addresses) {
            let text = name.as_str().unwrap_or_default();
            if text == "localhost" || text == "::1" || text.starts_with("127.") {
                found.add(
                    one.certificate.place(name),
                    format!("whoever has this can pose as any service at {text}"),
                );
            }
        }
    }
}

fn common_name(context: &Context<'_>, found: &mut Findings<'_>) {
    for one in once(context) {
        let name = one.certificate.node.path(&["spec", "commonName"]);
        let others = !dns_names(one.certificate).is_empty();
        if name.is_some() && others {
            found.add(
                at(one.certificate, &["spec", "commonName"]),
                "nobody verifies this name",
            );
        }
    }
}

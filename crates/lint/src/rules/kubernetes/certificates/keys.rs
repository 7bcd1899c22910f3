//! Keys and terms of certificates, and the Secrets that they are in.

use super::manager::{DEFAULT, time};
use super::{certificates, of_nodes};
use crate::kubernetes::Object;
use crate::rule::{Context, Findings, Rule};
use crate::rules::kubernetes::at;

pub(super) const RULES: &[Rule] = &[
    rule!(
        CRT008,
        "rotation-policy",
        High,
        All,
        rotation,
        "The key of a node stays the same when its certificate is renewed.",
        "Whoever took it once has it for ever. Before cert-manager 1.18 this is the default.",
        "`privateKey: {rotationPolicy: Always}`."
    ),
    rule!(
        CRT009,
        "certificate-too-long",
        High,
        All,
        too_long,
        "The certificate of a node lives longer than a month.",
        "A key that was taken is good for that long, since nothing revokes it; and the way of renewal is tried so seldom that it fails when it matters.",
        "`duration: 24h` to `168h`, `renewBefore` a third of it."
    ),
    rule!(
        CRT013,
        "slow-key",
        Low,
        Beam,
        slow,
        "The key of a node is RSA with 4096 bits.",
        "When many nodes connect again at once, handshakes take all CPUs: each costs fifty times that of ECDSA.",
        "`privateKey: {algorithm: ECDSA, size: 256}`."
    ),
    rule!(
        CRT006,
        "ca-secret-type",
        Low,
        All,
        secret_type,
        "A Secret with certificate and key is of type Opaque.",
        "Nobody checks that they belong together, or that they are there.",
        "`type: kubernetes.io/tls`."
    ),
    rule!(
        CRT007,
        "unused-issuer",
        Low,
        All,
        unused,
        "A ClusterIssuer that nothing uses.",
        "Everybody in the cluster may have certificates of it.",
        "Leave it out, or an Issuer in the namespace that needs it."
    ),
];

/// Certificates of nodes, each once.
fn of_nodes_once<'c>(context: &Context<'c>) -> Vec<&'c Object> {
    let mut all: Vec<&Object> = Vec::new();
    for one in of_nodes(context) {
        if !all
            .iter()
            .any(|known| std::ptr::eq(*known, one.certificate))
        {
            all.push(one.certificate);
        }
    }
    all
}

fn rotation(context: &Context<'_>, found: &mut Findings<'_>) {
    for certificate in of_nodes_once(context) {
        let policy = certificate
            .node
            .text(&["spec", "privateKey", "rotationPolicy"]);
        if policy != Some("Always") {
            found
                .add(
                    at(certificate, &["spec", "privateKey"]),
                    "the key is kept when the certificate is renewed",
                )
                .fix("rotationPolicy: Always");
        }
    }
}

fn too_long(context: &Context<'_>, found: &mut Findings<'_>) {
    /// 31 days, in seconds.
    const LONG: f64 = 2_678_400.0;
    for certificate in of_nodes_once(context) {
        let written = time(certificate, "duration");
        let whole = written.unwrap_or(DEFAULT);
        if whole > LONG {
            let days = whole / 86_400.0;
            let default = if written.is_none() {
                ", the default"
            } else {
                ""
            };
            found.add(
                at(certificate, &["spec", "duration"]),
                format!("{days:.0} days{default}"),
            );
        }
    }
}

fn slow(context: &Context<'_>, found: &mut Findings<'_>) {
    for certificate in of_nodes_once(context) {
        let key = &["spec", "privateKey"];
        let algorithm = certificate
            .node
            .path(key)
            .and_then(|key| key.text(&["algorithm"]));
        let size = certificate
            .node
            .path(key)
            .and_then(|key| key.get("size")?.as_int())
            .unwrap_or(0);
        if algorithm.unwrap_or("RSA") == "RSA" && size >= 4096 {
            found.add(at(certificate, key), "RSA with 4096 bits");
        }
    }
}

fn secret_type(context: &Context<'_>, found: &mut Findings<'_>) {
    for secret in context
        .set
        .of_kind("Secret")
        .filter(|one| one.group().is_empty())
    {
        let has = |key: &str| {
            ["data", "stringData"].iter().any(|field| {
                secret
                    .node
                    .get(field)
                    .is_some_and(|data| data.get(key).is_some())
            })
        };
        let kind = secret.node.text(&["type"]).unwrap_or("Opaque");
        if kind == "Opaque" && has("tls.crt") && has("tls.key") {
            found.add(
                at(secret, &["type"]),
                "certificate and key, and nobody checks them",
            );
        }
    }
}

fn unused(context: &Context<'_>, found: &mut Findings<'_>) {
    let any = certificates(context).next().is_some();
    for issuer in context.set.of_kind("ClusterIssuer").filter(|_| any) {
        let used = context.set.objects.iter().any(|object| {
            object.kind != "ClusterIssuer"
                && object
                    .node
                    .all()
                    .iter()
                    .any(|node| node.as_str() == Some(issuer.name.as_str()))
        });
        if !used {
            found.add(issuer.head(), "no Certificate of this set names it");
        }
    }
}

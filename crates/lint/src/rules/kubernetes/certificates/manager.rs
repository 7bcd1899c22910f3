//! What is said to cert-manager: fields, terms, keys, issuers.

use super::{certificates, of_nodes};
use crate::kubernetes::{Object, duration};
use crate::rule::{Context, Findings, Rule};
use crate::rules::kubernetes::at;
use crate::yaml::Node;

pub(super) const RULES: &[Rule] = &[
    rule!(
        CRT001,
        "unknown-certificate-field",
        Blocker,
        Beam,
        unknown_field,
        "A Certificate has a field that `cert-manager.io/v1` does not have.",
        "It is refused where fields are checked strictly, as GitOps does; otherwise it is dropped with a warning, and the key is not what was asked for.",
        "`privateKey: {algorithm, size, encoding, rotationPolicy}`; `subject.organizations`."
    ),
    rule!(
        CRT019,
        "issuer-not-defined",
        Blocker,
        Beam,
        no_issuer,
        "A Certificate names an issuer that is not there.",
        "It is never issued; the pods that mount its Secret wait for ever.",
        "The name and kind of an issuer; `kind: ClusterIssuer` if it is one."
    ),
    rule!(
        CRT021,
        "renew-before-too-long",
        Blocker,
        Beam,
        renew_too_early,
        "A Certificate is to be renewed before it is issued.",
        "cert-manager refuses it: `renewBefore` must be less than `duration`, which is 90 days if it is not written.",
        "A third of `duration`, or `renewBeforePercentage`."
    ),
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
        CRT016,
        "unknown-cert-manager-annotation",
        High,
        Beam,
        annotation,
        "An annotation is to make cert-manager renew a certificate, and there is no such annotation.",
        "Nothing is renewed.",
        "`cmctl renew NAME`; normally nothing, since renewal is what cert-manager does."
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

/// The fields of `spec`, cert-manager 1.18.
const FIELDS: &[&str] = &[
    "additionalOutputFormats",
    "commonName",
    "dnsNames",
    "duration",
    "emailAddresses",
    "encodeUsagesInRequest",
    "ipAddresses",
    "isCA",
    "issuerRef",
    "keystores",
    "literalSubject",
    "nameConstraints",
    "otherNames",
    "privateKey",
    "renewBefore",
    "renewBeforePercentage",
    "revisionHistoryLimit",
    "secretName",
    "secretTemplate",
    "signatureAlgorithm",
    "subject",
    "uris",
    "usages",
];

fn unknown_field(context: &Context<'_>, found: &mut Findings<'_>) {
    for certificate in certificates(context).filter(|one| one.api_version == "cert-manager.io/v1") {
        let Some(spec) = certificate.spec() else {
            continue;
        };
        for (key, _) in spec.entries() {
            let Some(name) = key.as_str() else { continue };
            if FIELDS.contains(&name) || name == "<<" {
                continue;
            }
            let fix = match name {
                "keyAlgorithm" => "privateKey: {algorithm: ECDSA}",
                "keySize" => "privateKey: {size: 256}",
                "keyEncoding" => "privateKey: {encoding: PKCS8}",
                "organization" => "subject: {organizations: [...]}",
                "uriSANs" => "uris",
                "emailSANs" => "emailAddresses",
                _ => "",
            };
            let adding = found.add(certificate.place(key), format!("v1 has no field {name}"));
            if !fix.is_empty() {
                adding.fix(fix);
            }
        }
    }
}

fn no_issuer(context: &Context<'_>, found: &mut Findings<'_>) {
    for certificate in certificates(context) {
        let Some(name) = certificate.node.path(&["spec", "issuerRef", "name"]) else {
            continue;
        };
        let text = name.as_str().unwrap_or_default();
        let kind = certificate
            .node
            .text(&["spec", "issuerRef", "kind"])
            .unwrap_or("Issuer");
        let group = certificate
            .node
            .text(&["spec", "issuerRef", "group"])
            .unwrap_or("cert-manager.io");
        if group != "cert-manager.io" || text.contains('{') {
            continue;
        }
        // A placeholder that was filled with nothing.
        let lost = text.contains("--") || text.starts_with('-') || text.ends_with('-');
        let visible = |one: &&Object| kind == "ClusterIssuer" || one.near(certificate);
        let brings = context.set.of_kind(kind).filter(visible).count() > 0;
        let there = context
            .set
            .of_kind(kind)
            .filter(visible)
            .any(|issuer| issuer.name == text);
        let other = if kind == "Issuer" {
            "ClusterIssuer"
        } else {
            "Issuer"
        };
        let other_kind = context
            .set
            .of_kind(other)
            .find(|issuer| issuer.name == text);
        if there || !(brings || lost || other_kind.is_some()) {
            continue;
        }
        let adding = found.add(
            certificate.place(name),
            format!("there is no {kind} {text:?}"),
        );
        if let Some(issuer) = other_kind {
            adding
                .related(issuer.head(), "this has the name")
                .fix(format!("kind: {other}"));
        }
    }
}

/// A duration of `spec`, in seconds.
fn time(certificate: &Object, key: &str) -> Option<f64> {
    certificate.node.text(&["spec", key]).and_then(duration)
}

/// 90 days, in seconds: what cert-manager takes if nothing is written.
const DEFAULT: f64 = 7_776_000.0;

fn renew_too_early(context: &Context<'_>, found: &mut Findings<'_>) {
    for certificate in certificates(context) {
        let whole = time(certificate, "duration").unwrap_or(DEFAULT);
        if time(certificate, "renewBefore").is_some_and(|before| before >= whole) {
            found.add(
                at(certificate, &["spec", "renewBefore"]),
                "not less than the duration",
            );
        }
    }
}

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

/// Whether an annotation of cert-manager is one of those that people invent. A list of all that there are would be
/// wrong with the next release.
pub(in crate::rules) fn is_invented(name: &str) -> bool {
    name.strip_prefix("cert-manager.io/").is_some_and(|rest| {
        let renews = ["renew", "rotat", "reissue", "re-issue", "reload", "refresh"]
            .iter()
            .any(|word| rest.contains(word));
        // These are read by the ingress shim.
        let known = [
            "renew-before",
            "renew-before-percentage",
            "private-key-rotation-policy",
        ];
        renews && !known.contains(&rest)
    })
}

fn annotation(context: &Context<'_>, found: &mut Findings<'_>) {
    for object in &context.set.objects {
        let annotations = object.node.path(&["metadata", "annotations"]);
        for (key, _) in annotations.map_or(&[][..], Node::entries) {
            if let Some(name) = key.as_str().filter(|name| is_invented(name)) {
                found.add(object.place(key), format!("cert-manager knows no {name}"));
            }
        }
    }
    for (place, words) in crate::rules::scripts::commands(context) {
        let annotates = words.iter().any(|word| word == "annotate");
        let name = words
            .iter()
            .filter_map(|word| word.split('=').next())
            .find(|name| is_invented(name));
        if let Some(name) = name.filter(|_| annotates) {
            found.add(place, format!("cert-manager knows no {name}"));
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

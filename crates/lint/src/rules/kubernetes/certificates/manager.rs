//! What is said to cert-manager: fields, issuers, annotations. Keys and terms are in `keys`.

use super::certificates;
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
        CRT016,
        "unknown-cert-manager-annotation",
        High,
        Beam,
        annotation,
        "An annotation is to make cert-manager renew a certificate, and there is no such annotation.",
        "Nothing is renewed.",
        "`cmctl renew NAME`; normally nothing, since renewal is what cert-manager does."
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
pub(super) fn time(certificate: &Object, key: &str) -> Option<f64> {
    certificate.node.text(&["spec", key]).and_then(duration)
}

/// 90 days, in seconds: what cert-manager takes if nothing is written.
pub(super) const DEFAULT: f64 = 7_776_000.0;

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

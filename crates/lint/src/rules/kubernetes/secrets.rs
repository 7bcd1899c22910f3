//! Secrets: where they stand, what is in them, how they are fetched.

use skans_erlconf::Span;

use super::{at, items};
use crate::kubernetes::{Object, duration};
use crate::rule::{Context, Findings, Rule};
use crate::source::Place;
use crate::yaml::Node;

pub(super) const RULES: &[Rule] = &[
    rule!(
        SEC004,
        "private-key-in-source",
        Critical,
        Beam,
        private_key,
        "A private key stands in a file that is part of the source.",
        "Whoever reads the repository, its history or the annotation that `kubectl apply` makes has the key; of an authority, every identity.",
        "A key that is made where it is used: cert-manager, a Skans control plane, an ExternalSecret. Replace the one that was written down."
    ),
    rule!(
        SEC005,
        "invalid-base64",
        Blocker,
        Beam,
        base64,
        "A value in `data` of a Secret is not base64.",
        "The API server refuses the object: `illegal base64 data at input byte`.",
        "The value in base64 without line breaks, or `stringData`."
    ),
    rule!(
        SEC006,
        "mismatched-secret-paths",
        High,
        Beam,
        paths,
        "Certificate and key of one Secret come from different entries of the store.",
        "They do not belong together, or one of them is not found: no TLS.",
        "The same entry for both, by `property`."
    ),
    rule!(
        SEC001,
        "secret-in-env",
        High,
        All,
        in_env,
        "A secret is a variable of the environment.",
        "Each child process inherits it; it stands in crash dumps, in `/proc/PID/environ` and in what `exec env` prints.",
        "A file from a Secret volume."
    ),
    rule!(
        SEC007,
        "refresh-too-often",
        Medium,
        All,
        refresh,
        "A secret is fetched from its store every few seconds.",
        "The store throttles everybody, and its audit log is full of noise.",
        "`refreshInterval` of an hour, or a push from the store."
    ),
    rule!(
        SEC003,
        "token-explicit",
        Low,
        All,
        token,
        "A pod does not say whether it needs a token of the API server.",
        "It gets one, and whoever gets in reads it.",
        "`automountServiceAccountToken: false`, or `true` where it is used."
    ),
];

fn private_key(context: &Context<'_>, found: &mut Findings<'_>) {
    const END: &str = "PRIVATE KEY-----";
    const BEGIN: &str = "-----BEGIN ";
    for (id, source) in context.set.sources.iter() {
        if source.is_embedded() {
            continue;
        }
        for (start, _) in source.text.match_indices(BEGIN) {
            let rest = source.text.get(start + BEGIN.len()..).unwrap_or_default();
            let header: String = rest.chars().take(40).collect();
            let Some(end) = header.find(END) else {
                continue;
            };
            // `-----BEGIN PRIVATE KEY-----` alone, in a text about keys, is none: something must follow.
            let follows = rest
                .get(end + END.len()..)
                .unwrap_or_default()
                .trim_start_matches(['\\', 'n', 'r', '\n', '\r', ' '])
                .starts_with(|c: char| c.is_ascii_alphanumeric());
            let word = header.get(..end).unwrap_or_default();
            if follows && word.chars().all(|c| c.is_ascii_uppercase() || c == ' ') {
                let place = Place {
                    source: id,
                    span: Span::new(start, start + BEGIN.len() + end + END.len()),
                };
                found.add(place, "a private key is part of this file");
            }
        }
    }
    for secret in secrets(context) {
        for (_, value) in secret.node.get("data").map_or(&[][..], Node::entries) {
            let decoded = value.as_str().and_then(|text| decode(text).ok());
            let text = decoded.as_deref().map(String::from_utf8_lossy);
            if text.is_some_and(|text| text.contains(END)) {
                found.add(
                    secret.place(value),
                    "a private key, in base64, is part of this file",
                );
            }
        }
    }
}

fn secrets<'c>(context: &Context<'c>) -> impl Iterator<Item = &'c Object> {
    context
        .set
        .of_kind("Secret")
        .filter(|secret| secret.group().is_empty())
}

/// Decodes standard base64 as the API server does: line breaks are passed over.
///
/// # Errors
/// The first byte that does not belong there.
fn decode(text: &str) -> Result<Vec<u8>, usize> {
    let (mut out, mut bits, mut held, mut digits, mut padded) =
        (Vec::new(), 0_u32, 0_u32, 0_usize, 0_usize);
    for (at, byte) in text.bytes().enumerate() {
        let value = match byte {
            b'\n' | b'\r' => continue,
            b'=' if digits % 4 >= 2 => {
                padded += 1;
                digits += 1;
                continue;
            }
            _ if padded > 0 => return Err(at),
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return Err(at),
        };
        digits += 1;
        held = (held << 6 | u32::from(value)) & 0xFFFF;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push(u8::try_from((held >> bits) & 0xFF).unwrap_or_default());
        }
    }
    if digits % 4 == 0 {
        Ok(out)
    } else {
        Err(text.len())
    }
}

fn base64(context: &Context<'_>, found: &mut Findings<'_>) {
    for secret in secrets(context) {
        for (_, value) in secret.node.get("data").map_or(&[][..], Node::entries) {
            let Some(text) = value.as_str() else { continue };
            if let Err(byte) = decode(text)
                && !text.contains("{{")
            {
                found.add(
                    secret.place(value),
                    format!("not base64: illegal at input byte {byte}"),
                );
            }
        }
    }
}

fn paths(context: &Context<'_>, found: &mut Findings<'_>) {
    for secret in context.set.of_kind("ExternalSecret") {
        let entry = |name: &str| {
            items(&secret.node, &["spec", "data"])
                .iter()
                .find(|one| one.text(&["secretKey"]) == Some(name))
                .and_then(|one| one.get("remoteRef"))
        };
        let (Some(certificate), Some(key)) = (entry("tls.crt"), entry("tls.key")) else {
            continue;
        };
        let path = |of: &Node| of.text(&["key"]).unwrap_or_default().to_owned();
        let (one, other) = (path(certificate), path(key));
        let both = certificate.get("property").is_some() && key.get("property").is_some();
        let parent = |path: &str| path.rsplit_once('/').map(|(parent, _)| parent.to_owned());
        let differ = if both {
            one != other
        } else {
            parent(&one) != parent(&other)
        };
        if differ {
            let place = key.get("key").unwrap_or(key);
            found
                .add(
                    secret.place(place),
                    format!("the certificate comes from {one:?}"),
                )
                .related(
                    secret.place(certificate.get("key").unwrap_or(certificate)),
                    "the certificate",
                );
        }
    }
}

fn in_env(context: &Context<'_>, found: &mut Findings<'_>) {
    for workload in context.set.workloads() {
        for container in workload.containers() {
            for variable in container.env() {
                if let Some(of) = variable
                    .get("valueFrom")
                    .filter(|of| of.get("secretKeyRef").is_some())
                {
                    found.add(
                        workload.key(of, "secretKeyRef"),
                        format!("{} is a secret", variable.text(&["name"]).unwrap_or("this")),
                    );
                }
            }
            for from in items(container.node, &["envFrom"]) {
                if from.get("secretRef").is_some() {
                    found.add(workload.key(from, "secretRef"), "all of a Secret");
                }
            }
        }
    }
}

fn refresh(context: &Context<'_>, found: &mut Findings<'_>) {
    /// Seconds.
    const SHORTEST: f64 = 300.0;
    for secret in context.set.of_kind("ExternalSecret") {
        let Some(interval) = secret.node.path(&["spec", "refreshInterval"]) else {
            continue;
        };
        let seconds = interval.as_str().and_then(duration);
        if seconds.is_some_and(|seconds| seconds > 0.0 && seconds < SHORTEST) {
            found.add(
                secret.place(interval),
                "the store is asked this often, for each secret and each cluster",
            );
        }
    }
}

fn token(context: &Context<'_>, found: &mut Findings<'_>) {
    for workload in context.set.workloads() {
        let Some(pod) = workload.pod() else { continue };
        if pod.get("automountServiceAccountToken").is_none() && workload.kind != "RabbitmqCluster" {
            found.add(
                at(workload, &["metadata", "name"]),
                "nothing says whether these pods need a token",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn base64_is_read_as_the_api_server_reads_it() {
        assert_eq!(decode("aGVsbG8="), Ok(b"hello".to_vec()));
        assert_eq!(decode("aGVs\nbG8=\n"), Ok(b"hello".to_vec()));
        assert_eq!(decode(""), Ok(Vec::new()));
        assert_eq!(decode("LS0t..."), Err(4));
        assert_eq!(decode("aGVsbG8"), Err(7));
        assert_eq!(decode("aG=Vs"), Err(3));
    }
}

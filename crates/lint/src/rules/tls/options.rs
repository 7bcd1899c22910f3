//! What single options of TLS do to distribution: ciphers, versions, the wrong side, what nobody needs any more.

use skans_erlconf::term::Term;

use super::{Side, at, sides};
use crate::rule::{Context, Findings, Rule};
use crate::rules::once::settings;
use crate::source::{Place, SourceId};

pub(in crate::rules) const RULES: &[Rule] = &[
    rule!(
        TLS001,
        "no-cipher-for-version",
        Blocker,
        Beam,
        no_cipher,
        "The list of ciphers has none for a version that is allowed.",
        "Where both sides allow TLS 1.3 it is chosen, and every connection fails: `Insufficient Security - no_suitable_cipher`.",
        "No `ciphers` at all; or with those of TLS 1.3, such as `TLS_AES_256_GCM_SHA384`."
    ),
    rule!(
        TLS007,
        "old-tls-version",
        High,
        Beam,
        old_version,
        "Versions of TLS are allowed that are broken.",
        "TLS 1.0 and 1.1 were withdrawn in 2021 (RFC 8996).",
        "`{versions, ['tlsv1.3']}`; with OTP 25 also 'tlsv1.2', which is its default for distribution."
    ),
    rule!(
        TLS003,
        "option-wrong-side",
        Medium,
        Beam,
        wrong_side,
        "An option stands on the side that does not have it.",
        "Connections fail where the release checks it, or the option is ignored.",
        "`honor_cipher_order`, `fail_if_no_peer_cert` and `dhfile` in `server` only; `server_name_indication` in `client` only."
    ),
    rule!(
        TLS004,
        "obsolete-tls-option",
        Low,
        Beam,
        obsolete,
        "An option of TLS 1.2 and before.",
        "It does nothing with TLS 1.3, and later releases refuse some.",
        "Leave it out."
    ),
    rule!(
        TLS005,
        "pem-cache-too-long",
        Low,
        Beam,
        pem_cache,
        "Files of certificates are kept in memory for long, or sessions are tuned that TLS 1.3 does not have.",
        "A renewed certificate is used only when the cache lets go of the old one.",
        "`ssl_pem_cache_clean` of at most 120000 (two minutes, the default), or `ssl:clear_pem_cache/0` on renewal."
    ),
];

/// The versions that a side allows; none if it says nothing.
fn versions(options: &Term) -> Vec<&str> {
    options
        .get("versions")
        .map_or(&[][..], Term::items)
        .iter()
        .filter_map(Term::as_atom)
        .collect()
}

fn no_cipher(context: &Context<'_>, found: &mut Findings<'_>) {
    for (_, options, source, _) in sides(context) {
        let Some(ciphers) = options.get("ciphers") else {
            continue;
        };
        let names: Vec<String> = if ciphers.items().is_empty() {
            ciphers.text().map_or_else(Vec::new, |text| {
                text.split(':').map(str::to_owned).collect()
            })
        } else {
            ciphers
                .items()
                .iter()
                .filter_map(Term::text)
                .map(str::to_owned)
                .collect()
        };
        if names.is_empty() {
            continue;
        }
        let new = |name: &String| {
            name.starts_with("TLS_AES_")
                || name.starts_with("TLS_CHACHA20_")
                || name.starts_with("TLS_SM4_")
        };
        let allowed = versions(options);
        let missing = if allowed.contains(&"tlsv1.3") && !names.iter().any(new) {
            "TLS 1.3"
        } else if allowed == ["tlsv1.2"] && names.iter().all(new) {
            "TLS 1.2"
        } else {
            continue;
        };
        found
            .add(
                at(source, ciphers),
                format!("no cipher of {missing}, which is allowed"),
            )
            .fix("no {ciphers, ...} at all");
    }
}

fn old_version(context: &Context<'_>, found: &mut Findings<'_>) {
    for (_, options, source, _) in sides(context) {
        let Some(list) = options.get("versions") else {
            continue;
        };
        for version in list.items() {
            if matches!(version.as_atom(), Some("tlsv1" | "tlsv1.1" | "sslv3")) {
                found.add(at(source, version), format!("{version} is broken"));
            }
        }
    }
}

fn wrong_side(context: &Context<'_>, found: &mut Findings<'_>) {
    const SERVER_ONLY: &[&str] = &[
        "honor_cipher_order",
        "honor_ecc_order",
        "fail_if_no_peer_cert",
        "dhfile",
        "dh",
        "sni_fun",
        "sni_hosts",
        "client_renegotiation",
    ];
    const CLIENT_ONLY: &[&str] = &[
        "server_name_indication",
        "fallback",
        "customize_hostname_check_client",
    ];
    for (side, options, source, _) in sides(context) {
        let (wrong, right) = match side {
            Side::Client => (SERVER_ONLY, "server"),
            Side::Server => (CLIENT_ONLY, "client"),
        };
        for entry in options.entries() {
            if let Some(name) = entry.key.as_atom().filter(|name| wrong.contains(name)) {
                found.add(
                    at(source, entry.whole),
                    format!("{name} is an option of the {right} side"),
                );
            }
        }
    }
}

fn obsolete(context: &Context<'_>, found: &mut Findings<'_>) {
    const OLD: &[&str] = &[
        "secure_renegotiate",
        "reuse_sessions",
        "reuse_session",
        "client_renegotiation",
        "padding_check",
        "beast_mitigation",
    ];
    // Each option of a file once: it usually stands on both sides.
    let mut all: Vec<(SourceId, &str, Vec<Place>)> = Vec::new();
    for (_, options, source, _) in sides(context) {
        for entry in options.entries() {
            let Some(name) = entry.key.as_atom().filter(|name| OLD.contains(name)) else {
                continue;
            };
            let place = at(source, entry.whole);
            match all
                .iter_mut()
                .find(|(known, option, _)| *known == source && *option == name)
            {
                Some((.., places)) => places.push(place),
                None => all.push((source, name, vec![place])),
            }
        }
    }
    for (_, name, places) in all {
        let Some((first, others)) = places.split_first() else {
            continue;
        };
        let mut adding = found.add(*first, format!("{name} means nothing to TLS 1.3"));
        for other in others {
            adding = adding.related(*other, "also here");
        }
    }
}

fn pem_cache(context: &Context<'_>, found: &mut Findings<'_>) {
    /// Milliseconds; the default of `ssl`.
    const DEFAULT: i128 = 120_000;
    for (_, setting) in settings(context) {
        if setting.app != "ssl" {
            continue;
        }
        let long = setting.key == "ssl_pem_cache_clean"
            && setting.value.integer().is_some_and(|value| value > DEFAULT);
        let sessions = matches!(
            setting.key.as_str(),
            "session_lifetime"
                | "session_cb"
                | "session_cache_client_max"
                | "session_cache_server_max"
        );
        if long {
            found.add(setting.place, "renewed certificates are picked up late");
        } else if sessions {
            found.add(
                setting.place,
                format!("{} means nothing to TLS 1.3", setting.key),
            );
        }
    }
}

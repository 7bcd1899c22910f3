//! The options of TLS distribution: whether a peer must show a certificate, and whether anybody can connect at all.

use skans_erlconf::term::Term;

use super::distribution::settings;
use crate::document::{Content, Terms};
use crate::rule::{Context, Findings, Rule};
use crate::source::{Place, SourceId};
use crate::units::{Carrier, Product, TlsOptions};

pub(super) const RULES: &[Rule] = &[
    rule!(
        TLS002,
        "mtls-not-required",
        Critical,
        Beam,
        not_required,
        "The server side verifies a certificate only if the peer shows one.",
        "With OTP 25 a node without any certificate connects; OTP 27 and later refuse it.",
        "`{verify, verify_peer}` and `{fail_if_no_peer_cert, true}` in `server`, both written."
    ),
    rule!(
        TLS006,
        "peer-not-verified",
        Critical,
        Beam,
        not_verified,
        "One side does not verify the certificate of the other.",
        "On the server side whoever has the cookie is in; on the client side whoever can redirect the connection reads and changes everything.",
        "`{verify, verify_peer}` and `{cacertfile, FILE}` in `server` and in `client`."
    ),
    rule!(
        TLS008,
        "optfile-shape",
        Blocker,
        Beam,
        shape,
        "The file of `-ssl_dist_optfile` is not one list of `server` and `client`.",
        "Distribution does not start (`bad_ssl_dist_optfile`), or a side that is missing has no certificate and no connection comes about.",
        "`[{server, [...]}, {client, [...]}].`: one list, one dot, both sides."
    ),
    rule!(
        TLS010,
        "no-authority",
        Blocker,
        Beam,
        no_authority,
        "A side verifies its peer and is not told by which authorities.",
        "Every connection fails.",
        "`{cacertfile, FILE}` beside `{verify, verify_peer}`."
    ),
    rule!(
        TLS011,
        "no-certificate",
        Blocker,
        Beam,
        no_certificate,
        "The server side has no certificate or no key.",
        "Every connection fails.",
        "`{certfile, FILE}` and `{keyfile, FILE}`; in `client`, too, if the server side demands one."
    ),
    rule!(
        ERL021,
        "optfile-twice",
        Blocker,
        Beam,
        optfile_twice,
        "`-ssl_dist_optfile` reaches `erl` more than once.",
        "Distribution does not start: `bad_ssl_dist_optfile`.",
        "Name it in one place."
    ),
    rule!(
        ERL022,
        "tls-without-options",
        Blocker,
        Beam,
        without_options,
        "Distribution is carried by TLS without any options.",
        "The node starts, and no connection comes about: it has no certificate.",
        "`-ssl_dist_optfile FILE`."
    ),
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
        XREF001,
        "path-not-provided",
        Blocker,
        Beam,
        path_not_provided,
        "A file that the node is told to read is not in the ConfigMap that is mounted there.",
        "The node does not start, or no connection comes about.",
        "The file under that key of the ConfigMap, or the path where it really is."
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

/// Each option file of a set, as its list.
fn files<'c>(
    context: &Context<'c>,
) -> impl Iterator<Item = (SourceId, &'c skans_erlconf::term::Document)> {
    context
        .set
        .documents
        .iter()
        .filter_map(|document| match &document.content {
            Content::Terms(Terms::TlsOptions, terms) => Some((document.source, terms)),
            _ => None,
        })
}

/// Each side of each file: which, its options, and a place for what is missing in it.
fn sides<'c>(context: &Context<'c>) -> Vec<(Side, &'c Term, SourceId, Place)> {
    let mut all = Vec::new();
    for (source, document) in files(context) {
        let [list] = document.terms.as_slice() else {
            continue;
        };
        for (side, name) in [(Side::Server, "server"), (Side::Client, "client")] {
            if let Some(entry) = list.entry(name)
                && let Some(options) = entry.value
            {
                let place = Place {
                    source,
                    span: entry.key.span,
                };
                all.push((side, options, source, place));
            }
        }
    }
    all
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Server,
    Client,
}

impl Side {
    const fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
        }
    }
}

fn has(options: &Term, key: &str, value: &str) -> bool {
    options.get(key).is_some_and(|found| found.is_atom(value))
}

fn at(source: SourceId, term: &Term) -> Place {
    Place {
        source,
        span: term.span,
    }
}

fn not_required(context: &Context<'_>, found: &mut Findings<'_>) {
    for (side, options, source, place) in sides(context) {
        let verifies = has(options, "verify", "verify_peer");
        if side == Side::Server && verifies && !has(options, "fail_if_no_peer_cert", "true") {
            let place = options
                .get("fail_if_no_peer_cert")
                .or_else(|| options.get("verify"))
                .map_or(place, |term| at(source, term));
            found
                .add(
                    place,
                    "a peer that shows no certificate is let in by OTP 25",
                )
                .fix("{fail_if_no_peer_cert, true} beside {verify, verify_peer}");
        }
    }
    for unit in &context.set.units {
        if let TlsOptions::Flags(place) = unit.tls_options(context.set) {
            let option = |name| crate::verdict::flag_option(unit, name);
            if option("server_verify") == Some("verify_peer")
                && option("server_fail_if_no_peer_cert") != Some("true")
            {
                found
                    .add(
                        place,
                        "a peer that shows no certificate is let in by OTP 25",
                    )
                    .fix("-ssl_dist_opt server_fail_if_no_peer_cert true");
            }
        }
    }
}

fn not_verified(context: &Context<'_>, found: &mut Findings<'_>) {
    for (side, options, source, place) in sides(context) {
        match options.get("verify") {
            Some(value) if value.is_atom("verify_peer") => {}
            Some(value) => {
                found.add(
                    at(source, value),
                    format!("the {} side verifies nobody", side.name()),
                );
            }
            None => {
                found.add(
                    place,
                    format!(
                        "the {} side says nothing of verify, and to OTP 25 that means nobody",
                        side.name()
                    ),
                );
            }
        }
    }
    for unit in &context.set.units {
        if let TlsOptions::Flags(place) = unit.tls_options(context.set) {
            for side in [Side::Server, Side::Client] {
                let name = format!("{}_verify", side.name());
                if crate::verdict::flag_option(unit, &name) != Some("verify_peer") {
                    found
                        .add(place, format!("the {} side verifies nobody", side.name()))
                        .fix(format!("-ssl_dist_opt {name} verify_peer"));
                }
            }
        }
    }
}

fn shape(context: &Context<'_>, found: &mut Findings<'_>) {
    for (source, document) in files(context) {
        let list = match document.terms.as_slice() {
            [list] => list,
            [first, second, ..] => {
                found
                    .add(
                        at(source, second),
                        "a second term, where one list was wanted",
                    )
                    .related(at(source, first), "the first");
                continue;
            }
            [] => continue,
        };
        for name in ["server", "client"] {
            if list.entry(name).is_none() {
                let start = skans_erlconf::Span::new(list.span.start, list.span.start + 1);
                let place = Place {
                    source,
                    span: start,
                };
                found.add(
                    place,
                    format!("the {name} side has no options, and so no certificate"),
                );
            }
        }
    }
}

fn no_authority(context: &Context<'_>, found: &mut Findings<'_>) {
    for (side, options, source, place) in sides(context) {
        let told = ["cacertfile", "cacerts"]
            .into_iter()
            .any(|key| options.entry(key).is_some());
        if has(options, "verify", "verify_peer") && !told {
            let place = options.get("verify").map_or(place, |term| at(source, term));
            found.add(
                place,
                format!(
                    "the {} side verifies its peer against no authority",
                    side.name()
                ),
            );
        }
    }
}

fn no_certificate(context: &Context<'_>, found: &mut Findings<'_>) {
    for (side, options, _, place) in sides(context) {
        let any = |keys: &[&str]| keys.iter().any(|key| options.entry(key).is_some());
        let whole = any(&["certs_keys"]);
        if side == Side::Server && !whole && !any(&["certfile", "cert"]) {
            found.add(place, "the server side has no certificate");
        }
    }
}

fn optfile_twice(context: &Context<'_>, found: &mut Findings<'_>) {
    for unit in &context.set.units {
        let flags: Vec<_> = unit.line.flags("-ssl_dist_optfile").collect();
        if let [first, .., last] = flags.as_slice() {
            found
                .add(unit.flag_place(last), "the option file is named again")
                .related(unit.flag_place(first), "the first time");
        }
    }
}

fn without_options(context: &Context<'_>, found: &mut Findings<'_>) {
    for unit in &context.set.units {
        // EMQX names its file itself: etc/ssl_dist.conf.
        if let Carrier::Tls(place) = unit.carrier()
            && unit.product != Product::Emqx
            && matches!(unit.tls_options(context.set), TlsOptions::Missing)
        {
            found.add(
                place,
                "TLS, and neither -ssl_dist_optfile nor -ssl_dist_opt",
            );
        }
    }
}

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

fn path_not_provided(context: &Context<'_>, found: &mut Findings<'_>) {
    for unit in &context.set.units {
        let missing = |path: &str| {
            let (directory, _) = path.rsplit_once('/')?;
            let whole = unit
                .whole_directories
                .iter()
                .any(|whole| whole.trim_end_matches('/') == directory);
            let there = unit.files.iter().any(|(known, _)| known == path);
            (whole && !there).then(|| directory.to_owned())
        };
        for name in ["-ssl_dist_optfile", "-config", "-args_file"] {
            for flag in unit.line.flags(name) {
                let Some(path) = flag.value() else { continue };
                let with_end = format!("{path}.config");
                let found_with_end = unit.files.iter().any(|(known, _)| *known == with_end);
                if let Some(directory) = missing(path).filter(|_| !found_with_end) {
                    found.add(
                        unit.flag_place(flag),
                        format!("the ConfigMap at {directory} has no such file"),
                    );
                }
            }
        }
        if let TlsOptions::File {
            source, options, ..
        } = unit.tls_options(context.set)
        {
            for side in ["server", "client"] {
                let Some(options) = options.get(side) else {
                    continue;
                };
                for key in ["certfile", "keyfile", "cacertfile", "dhfile"] {
                    let Some(value) = options.get(key) else {
                        continue;
                    };
                    if let Some(directory) = value.text().and_then(missing) {
                        found.add(
                            at(source, value),
                            format!("the ConfigMap at {directory} has no such file"),
                        );
                    }
                }
            }
        }
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

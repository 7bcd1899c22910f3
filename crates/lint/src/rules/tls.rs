//! The options of TLS distribution: whether a peer must show a certificate, and which one a node shows itself.

pub(super) mod files;
pub(super) mod options;

use skans_erlconf::term::Term;

use crate::document::Terms;
use crate::rule::{Context, Findings, Rule};
use crate::source::{Place, SourceId};
use crate::units::TlsOptions;

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
];

/// Each side of each file: which, its options, and a place for what is missing in it.
fn sides<'c>(context: &Context<'c>) -> Vec<(Side, &'c Term, SourceId, Place)> {
    let mut all = Vec::new();
    for (source, document) in context.set.terms(Terms::TlsOptions) {
        let [list] = document.terms.as_slice() else {
            continue;
        };
        for (side, name) in [(Side::Server, "server"), (Side::Client, "client")] {
            if let Some(entry) = list.entry(name)
                && let Some(options) = entry.value
            {
                let place = Place::new(source, entry.key.span);
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
    Place::new(source, term.span)
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
    for (source, document) in context.set.terms(Terms::TlsOptions) {
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
                let place = Place::new(source, start);
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

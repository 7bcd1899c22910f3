//! Names of nodes: long, short, and as certificates have them.

use skans_erlconf::term::Term;

use crate::document::{Content, Script, Terms};
use crate::rule::{Context, Findings, Rule};
use crate::source::Place;
use crate::units::{Product, Unit};

pub(super) const RULES: &[Rule] = &[
    rule!(
        TLS012,
        "match-fun-spelling",
        Blocker,
        Beam,
        match_fun,
        "`match_fun` is given as `{Module, Function, Arguments}`.",
        "Every connection fails with `badfun`: what is wanted is a fun, and only a call makes one.",
        "`{customize_hostname_check, [{match_fun, public_key:pkix_verify_hostname_match_fun(https)}]}`, which the option file may have."
    ),
    rule!(
        EXS001,
        "release-needs-long-names",
        Blocker,
        Beam,
        long_names,
        "A release has a node name whose host has dots, and short names.",
        "`Can't set short node name`: the release does not start. Without `RELEASE_DISTRIBUTION` names are short.",
        "`RELEASE_DISTRIBUTION=name`."
    ),
    rule!(
        VMA011,
        "long-name-without-dots",
        High,
        Beam,
        without_dots,
        "`-name` with a host that has no dots.",
        "The node starts, and no other reaches it: `Hostname shop is illegal` to whoever has long names, and another kind of name to the others.",
        "A name with a domain, or an address; `-sname` on all nodes."
    ),
];

fn match_fun(context: &Context<'_>, found: &mut Findings<'_>) {
    for (source, terms) in context.set.terms(Terms::TlsOptions) {
        for term in terms.terms.iter().flat_map(Term::all) {
            let Some([key, value]) = term.elements() else {
                continue;
            };
            if key.is_atom("match_fun") && value.elements().is_some() {
                found
                    .add(
                        Place::new(source, value.span),
                        "this is a tuple, where a fun is wanted",
                    )
                    .fix("public_key:pkix_verify_hostname_match_fun(https)");
            }
        }
    }
}

/// Whether the set has what decides about the environment of a release: its project or its `env.sh`.
fn shows_release(context: &Context<'_>, unit: &Unit) -> bool {
    unit.files.iter().any(|(path, number)| {
        path.rsplit('/')
            .next()
            .is_some_and(|name| name.starts_with("env.sh"))
            || context
                .set
                .document(*number)
                .is_some_and(|document| matches!(document.content, Content::Elixir(Script::Mix, _)))
    })
}

fn long_names(context: &Context<'_>, found: &mut Findings<'_>) {
    for unit in &context.set.units {
        let Some(node) = unit.variable("RELEASE_NODE") else {
            continue;
        };
        // What is expanded is not known, and written as it stands there.
        let written = context.set.sources.at(node.place);
        let text = node.value.as_deref().unwrap_or(written);
        let host = text.split_once('@').map_or("", |(_, host)| host);
        let literal: String = host.split(['{', '}', '(', ')']).step_by(2).collect();
        let dotted = literal.contains('.') || host.contains("POD_IP");
        let told = unit.variable("RELEASE_DISTRIBUTION");
        let short = match told.map(|variable| variable.value.as_deref()) {
            Some(Some("sname")) => true,
            None => unit.product == Product::Mix && shows_release(context, unit),
            _ => false,
        };
        if dotted && short {
            found
                .add(
                    node.place,
                    "the host of this name has dots, and names are short",
                )
                .fix("RELEASE_DISTRIBUTION=name");
        }
    }
}

fn without_dots(context: &Context<'_>, found: &mut Findings<'_>) {
    for unit in &context.set.units {
        for flag in unit.line.flags("-name") {
            let host = flag.value().and_then(|name| name.split_once('@'));
            let Some((_, host)) = host else { continue };
            let literal = !host.contains(['$', '<', '{', '%']) && !host.is_empty();
            // A node of this name is for one machine alone, and meant to be.
            if literal && !host.contains(['.', ':']) && host != "localhost" {
                found
                    .add(unit.flag_place(flag), format!("{host:?} has no dots"))
                    .fix(format!("-sname, or {host} with its domain"));
            }
        }
    }
}

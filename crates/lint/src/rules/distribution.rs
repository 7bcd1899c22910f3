//! Whether distribution is protected at all: what carries it, and who can reach it.

use crate::rule::{Context, Findings, Profile, Rule, Severity};
use crate::units::{Carrier, Distribution};

pub(super) const RULES: &[Rule] = &[Rule {
    id: "ERL012",
    name: "distribution-in-clear",
    severity: Severity::Critical,
    profile: Profile::Beam,
    wrong: "Distribution is on and nothing encrypts it.",
    happens: "Every message between nodes, and the cookie's challenge, can be read on the network. Whoever reaches the port \
        with the cookie runs any code on every node.",
    right: "`-proto_dist inet_tls` with an option file that demands certificates, or a Skans agent beside the node; \
        `RELEASE_DISTRIBUTION=none` for a release that needs no other nodes.",
    example: include_str!("../../fixtures/ERL012.txt"),
    check: in_clear,
}];

fn in_clear(context: &Context<'_>, found: &mut Findings<'_>) {
    for unit in &context.set.units {
        let Distribution::On(place, why) = unit.distribution() else {
            continue;
        };
        if unit.guarded.is_some() {
            continue;
        }
        let (place, message) = match unit.carrier() {
            Carrier::Plain => (
                place,
                format!("{}: {why}, and nothing encrypts it", unit.title),
            ),
            Carrier::SaidPlain(said) => (
                said,
                format!("{}: distribution is carried by TCP", unit.title),
            ),
            _ => continue,
        };
        found
            .add(place, message)
            .fix("-proto_dist inet_tls -ssl_dist_optfile FILE, or a Skans agent");
    }
}

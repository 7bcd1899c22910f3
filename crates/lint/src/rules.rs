//! The rules, one file for each family. A rule looks at the whole set and says where and what; severity, explanation and
//! documentation stand beside it.

/// A rule, with its example from `fixtures/ID.txt`.
macro_rules! rule {
    ($id:ident, $name:literal, $severity:ident, $profile:ident, $check:path, $wrong:literal, $happens:literal, $right:literal) => {
        $crate::rule::Rule {
            id: stringify!($id),
            name: $name,
            severity: $crate::rule::Severity::$severity,
            profile: $crate::rule::Profile::$profile,
            wrong: $wrong,
            happens: $happens,
            right: $right,
            example: include_str!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/fixtures/",
                stringify!($id),
                ".txt"
            )),
            check: $check,
        }
    };
}

mod build;
mod config;
mod cookie;
mod discovery;
mod distribution;
mod flags;
mod hostnames;
mod kubernetes;
mod monitoring;
mod once;
mod products;
mod release;
mod scripts;
mod tls;

use crate::error::{Error, Result};
use crate::rule::{Context, Finding, Findings, Profile, Rule};
use crate::set::Set;

const FAMILIES: &[&[Rule]] = &[
    distribution::RULES,
    distribution::reach::RULES,
    cookie::RULES,
    tls::RULES,
    tls::files::RULES,
    tls::options::RULES,
    flags::RULES,
    config::RULES,
    hostnames::RULES,
    release::RULES,
    discovery::RULES,
    products::rabbitmq::RULES,
    products::emqx::RULES,
    products::ejabberd::RULES,
];

/// All rules, family by family.
pub fn all() -> impl Iterator<Item = &'static Rule> {
    FAMILIES
        .iter()
        .chain(kubernetes::FAMILIES)
        .chain(scripts::FAMILIES)
        .chain(monitoring::FAMILIES)
        .chain(build::FAMILIES)
        .copied()
        .flatten()
}

/// A rule by its id or name.
///
/// # Errors
/// There is no such rule.
pub fn find(name: &str) -> Result<&'static Rule> {
    all()
        .find(|rule| rule.id.eq_ignore_ascii_case(name) || rule.name == name)
        .ok_or_else(|| Error::NoRule {
            found: name.chars().take(40).collect(),
        })
}

/// Asks all rules of a profile.
pub(crate) fn run(set: &Set, profile: Profile) -> Vec<Finding> {
    let context = Context { set };
    let mut findings = Vec::new();
    for rule in all() {
        if rule.profile == Profile::Beam || profile == Profile::All {
            (rule.check)(&context, &mut Findings::new(rule, &mut findings));
        }
    }
    findings
}

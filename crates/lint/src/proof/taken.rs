//! What of the reader's node is used in a proof: which flags, with which values, and the files they name. What is not used
//! is said. Nothing is started.

mod configuration;
mod options;

use skans_erlconf::flags::{Flag, Refusal};

use super::Experiment;
use super::files::KERNEL;
use super::machine::{Scratch, random};
use crate::document::{Content, Terms};
use crate::error::Result;
use crate::rule::Finding;
use crate::source::{Place, SourceId};
use crate::units::Unit;
use crate::{Checked, Set};
use configuration::{configurations, missing_configuration};
use options::{named_option_file, option_file, ordinary_options, stand_in};

/// Flags that say how a node speaks to others, with what stands behind them.
const KEPT: &[&str] = &["-hidden", "-connect_all", "-ssl_dist_opt"];
/// Flags that a proof says itself, and so needs not mention.
const OURS: &[&str] = &[
    "-name",
    "-sname",
    "-start_epmd",
    "-erl_epmd_port",
    "-no_epmd",
    "-noshell",
    "-noinput",
    "-config",
    "-setcookie",
];
/// Certificates that are made for a proof.
pub(super) const CERTIFICATE: &str = "node.pem";
pub(super) const KEY: &str = "node.key";
pub(super) const AUTHORITY: &str = "node-ca.pem";

/// A node of the reader's, as far as it is used.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// Flags of the emulator and of `init`, without name, address and port.
    arguments: Vec<String>,
    /// A flag that lacks its value stands at the end.
    last: Vec<String>,
    /// The part of the name before the `@`.
    alive: String,
    /// Whether the name is a short one with a host that may not be one.
    short_with_dots: bool,
    /// What was not used, and what stands in for what.
    pub(super) notes: Vec<String>,
    /// Whether certificates are needed.
    pub(super) tls: bool,
}

impl Taken {
    /// The name that the node has on a host.
    pub(super) fn name(&self, host: &str) -> String {
        format!("{}@{host}", self.alive)
    }

    /// All arguments for a node on one address of loopback, which evaluates `ours` once it has started.
    pub(super) fn arguments(&self, host: &str, port: u16, ours: &str) -> Vec<String> {
        self.with(self.arguments.clone(), host, port, ours)
    }

    /// Those for one that has the cookie, and is told nothing else.
    pub(super) fn bare_arguments(&self, host: &str, port: u16, ours: &str) -> Vec<String> {
        let cookie = self.arguments.iter().position(|word| word == "-setcookie");
        let words = cookie.and_then(|at| self.arguments.get(at..=at + 1));
        self.with(words.unwrap_or_default().to_vec(), host, port, ours)
    }

    fn with(&self, mut all: Vec<String>, host: &str, port: u16, ours: &str) -> Vec<String> {
        let flag = if self.short_with_dots {
            "-sname"
        } else {
            "-name"
        };
        all.extend([flag.to_owned(), self.name(host)]);
        let address = host.replace('.', ",");
        for argument in [
            "-kernel",
            "inet_dist_use_interface",
            &format!("{{{address}}}"),
            "-start_epmd",
            "false",
            "-erl_epmd_port",
            &port.to_string(),
            "-noinput",
            "-eval",
            ours,
        ] {
            all.push(argument.to_owned());
        }
        all.extend(self.last.iter().cloned());
        all
    }

    fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}

/// The node that a finding is about.
fn unit_of(checked: &Checked, place: Place) -> Option<&Unit> {
    let set = &checked.set;
    let here = |source: SourceId| source == place.source;
    let belongs = |unit: &&Unit| {
        here(unit.place.source)
            || unit
                .files
                .iter()
                .filter_map(|(_, number)| set.document(*number))
                .any(|document| here(document.source))
            || unit
                .settings
                .iter()
                .any(|setting| here(setting.place.source))
            || unit
                .variables
                .iter()
                .any(|variable| here(variable.place.source))
            || unit
                .line
                .flags
                .iter()
                .any(|flag| flag.name.origin.is_some_and(here))
    };
    set.units
        .iter()
        .find(belongs)
        .or(match set.units.as_slice() {
            [only] => Some(only),
            _ => None,
        })
}

/// Takes what the finding needs, and writes the files into the scratch directory.
pub(super) fn take(
    checked: &Checked,
    finding: &Finding,
    experiment: Experiment,
    scratch: &Scratch,
) -> Result<Taken> {
    let set = &checked.set;
    let unit = unit_of(checked, finding.place);
    let mut taken = Taken {
        alive: "node".to_owned(),
        ..Taken::default()
    };
    if let Some(unit) = unit {
        emulator(&mut taken, unit);
        flags(&mut taken, set, unit, finding, scratch)?;
    }
    configurations(&mut taken, set, unit, finding, scratch)?;
    // A file of options that no flag names is used all the same, if it is what the finding is about.
    let about = set
        .documents
        .iter()
        .find(|document| document.source == finding.place.source);
    let names = |flag: &str| taken.arguments.iter().any(|argument| argument == flag);
    if let Some(document) = about
        && matches!(document.content, Content::Terms(Terms::TlsOptions, _))
        && !names("-ssl_dist_optfile")
    {
        let path = option_file(&mut taken, set, unit, document.source, scratch)?;
        taken
            .arguments
            .extend(["-ssl_dist_optfile".to_owned(), path]);
        taken.note("added: -ssl_dist_optfile with this file".to_owned());
    }
    let names = |flag: &str| taken.arguments.iter().any(|argument| argument == flag);
    let carried = names("-proto_dist");
    if names("-ssl_dist_optfile") && !carried && experiment != Experiment::Plain {
        taken
            .arguments
            .extend(["-proto_dist".to_owned(), "inet_tls".to_owned()]);
        taken.note("added: -proto_dist inet_tls".to_owned());
    }
    // What is shown of certificates is shown with those of distribution, be the node that has them in the set or not.
    let of_certificates = matches!(
        experiment,
        Experiment::Neighbour | Experiment::Shared | Experiment::Copied
    );
    if of_certificates && !taken.arguments.iter().any(|word| word == "-proto_dist") {
        let path = ordinary_options(scratch)?;
        let words = ["-proto_dist", "inet_tls", "-ssl_dist_optfile", &path];
        taken.arguments.extend(words.map(str::to_owned));
        taken.note("no node was given: two with ordinary options for mutual TLS".to_owned());
    }
    if finding.rule.id == "EXS001" {
        taken.short_with_dots = true;
        taken.note("`bin/NAME start` of the release runs `erl -sname $RELEASE_NODE`".to_owned());
    }
    taken.tls |= experiment == Experiment::Http;
    taken.tls |= taken
        .arguments
        .iter()
        .any(|argument| argument.starts_with("inet_tls") || argument == "inet6_tls");
    if experiment == Experiment::CookieFile {
        taken.note("a cookie file with mode 0644 stands in for yours".to_owned());
    } else {
        cookie(&mut taken, set, unit, finding);
    }
    Ok(taken)
}

fn emulator(taken: &mut Taken, unit: &Unit) {
    for flag in &unit.line.emulator {
        taken.arguments.push(flag.word.text.clone());
        taken
            .arguments
            .extend(flag.next.iter().map(|next| next.text.clone()));
    }
    match &unit.line.refused {
        Some(Refusal::MissingArgument(argument)) => taken.last.push(argument.text.clone()),
        Some(Refusal::NotBoolean(argument)) => {
            taken
                .last
                .extend(["-start_epmd".to_owned(), argument.text.clone()]);
        }
        _ => {}
    }
}

fn flags(
    taken: &mut Taken,
    set: &Set,
    unit: &Unit,
    finding: &Finding,
    scratch: &Scratch,
) -> Result<()> {
    for flag in &unit.line.flags {
        let name = flag.name.text.as_str();
        match name {
            "-name" | "-sname" => named(taken, flag, name == "-sname"),
            "-proto_dist" => {
                let carrier = flag.value().unwrap_or_default();
                if matches!(carrier, "inet_tls" | "inet6_tls" | "inet_tcp" | "inet6_tcp") {
                    // Loopback is that of IPv4 here.
                    let carrier = carrier.replace("inet6", "inet");
                    taken.arguments.extend([name.to_owned(), carrier]);
                } else {
                    taken.note(format!(
                        "left out: -proto_dist {carrier}, a module of yours"
                    ));
                }
            }
            "-ssl_dist_optfile" => {
                let path = named_option_file(taken, set, unit, flag, scratch)?;
                taken.arguments.extend([name.to_owned(), path]);
            }
            "-kernel" | "-ssl" => {
                for pair in flag.values.chunks(2) {
                    let [key, value] = pair else {
                        taken.arguments.push(name.to_owned());
                        taken
                            .arguments
                            .extend(pair.iter().map(|word| word.text.clone()));
                        continue;
                    };
                    if name == "-kernel" && KERNEL.contains(&key.text.as_str()) {
                        let what = format!("-kernel {} {}", key.text, value.text);
                        taken.note(format!("left out: {}", short(&what)));
                        continue;
                    }
                    taken
                        .arguments
                        .extend([name.to_owned(), key.text.clone(), value.text.clone()]);
                }
            }
            _ if KEPT.contains(&name) => {
                taken.arguments.push(name.to_owned());
                let mut file = None;
                for value in &flag.values {
                    let word = value.text.as_str();
                    let text = file.take().unwrap_or_else(|| word.to_owned());
                    file = stand_in(
                        word.trim_start_matches("server_")
                            .trim_start_matches("client_"),
                    )
                    .map(|name| scratch.path(name));
                    taken.tls |= file.is_some();
                    taken.arguments.push(text);
                }
            }
            _ if OURS.contains(&name) => {}
            _ => {
                let values: Vec<_> = flag
                    .values
                    .iter()
                    .map(|value| value.text.as_str())
                    .collect();
                let what = format!("{name} {}", values.join(" "));
                taken.note(format!("left out: {}", short(what.trim())));
            }
        }
    }
    missing_configuration(taken, unit, finding, scratch);
    Ok(())
}

fn named(taken: &mut Taken, flag: &Flag<SourceId>, short: bool) {
    let text = flag.value().unwrap_or_default();
    let (alive, host) = text.split_once('@').unwrap_or((text, ""));
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !alive.is_empty() && alive.chars().all(plain) && alive.len() <= 64 {
        alive.clone_into(&mut taken.alive);
    }
    taken.short_with_dots |= short && host.contains('.');
    taken.note(format!(
        "your node is {}, and here it is on loopback",
        self::short(text)
    ));
}

/// The cookie of the finding, that of the flags, or one that nobody knows.
fn cookie(taken: &mut Taken, set: &Set, unit: Option<&Unit>, finding: &Finding) {
    let cookies = unit.map(|unit| unit.cookies(set)).unwrap_or_default();
    let about = cookies
        .iter()
        .find(|cookie| cookie.place == finding.place && cookie.value.is_some())
        .or_else(|| cookies.iter().find(|cookie| cookie.value.is_some()));
    let value = match about.and_then(|cookie| cookie.value.clone()) {
        Some(value) if !value.is_empty() && !value.starts_with('-') => value,
        _ => format!("skans{:016x}", random()),
    };
    taken.arguments.extend(["-setcookie".to_owned(), value]);
}

/// A bounded part of a text.
fn short(text: &str) -> String {
    const MOST: usize = 100;
    let mut out: String = text
        .chars()
        .filter(|c| !c.is_control())
        .take(MOST)
        .collect();
    if text.chars().count() > MOST {
        out.push('…');
    }
    out
}

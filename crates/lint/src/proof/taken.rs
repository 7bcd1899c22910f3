//! What of the reader's node is used in a proof: which flags, with which values, and the files they name. What is not used
//! is said. Nothing is started.

use skans_erlconf::flags::{Flag, Refusal};
use skans_erlconf::term;

use super::Experiment;
use super::files::{self, KERNEL};
use super::machine::{Scratch, random};
use crate::document::{Content, Terms};
use crate::error::{Error, Result};
use crate::rule::Finding;
use crate::setting::{Origin, Value};
use crate::source::{Place, SourceId};
use crate::units::Unit;
use crate::{Checked, Set};

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

/// What stands in for a file of a certificate.
fn stand_in(key: &str) -> Option<&'static str> {
    match key {
        "certfile" => Some(CERTIFICATE),
        "keyfile" => Some(KEY),
        "cacertfile" => Some(AUTHORITY),
        _ => None,
    }
}

/// Whether it is known that there is no such file: all that is mounted in its directory is known, and it is not among it.
fn is_absent(unit: Option<&Unit>, path: &str) -> bool {
    let Some((directory, _)) = path.rsplit_once('/') else {
        return false;
    };
    unit.is_some_and(|unit| {
        let whole = unit
            .whole_directories
            .iter()
            .any(|whole| whole.trim_end_matches('/') == directory);
        whole && !unit.files.iter().any(|(known, _)| known == path)
    })
}

fn named_option_file(
    taken: &mut Taken,
    set: &Set,
    unit: &Unit,
    flag: &Flag<SourceId>,
    scratch: &Scratch,
) -> Result<String> {
    let path = flag.value().unwrap_or_default();
    if is_absent(Some(unit), path) {
        return Ok(scratch.path("there-is-no-such-file"));
    }
    let document = unit.find_file(path).and_then(|number| set.document(number));
    match document {
        Some(document) if matches!(document.content, Content::Terms(..)) => {
            option_file(taken, set, Some(unit), document.source, scratch)
        }
        Some(_) => Err(Error::Proof {
            what: format!(
                "{path} is not understood, and is not run: `erl` evaluates the file of -ssl_dist_optfile"
            ),
        }),
        None => {
            taken.note(format!(
                "{} was not given: an ordinary one for mutual TLS stands in for it",
                short(path)
            ));
            ordinary_options(scratch)
        }
    }
}

/// Writes a file of options for mutual TLS as it is usual; its path.
fn ordinary_options(scratch: &Scratch) -> Result<String> {
    let side = format!(
        "[{{certfile, {:?}}}, {{keyfile, {:?}}}, {{cacertfile, {:?}}}, {{verify, verify_peer}}",
        scratch.path(CERTIFICATE),
        scratch.path(KEY),
        scratch.path(AUTHORITY)
    );
    let text =
        format!("[{{server, {side}, {{fail_if_no_peer_cert, true}}]}},\n {{client, {side}]}}].\n");
    scratch.write("ordinary-ssl-dist.conf", &text)
}

/// Writes a file of options; its path.
fn option_file(
    taken: &mut Taken,
    set: &Set,
    unit: Option<&Unit>,
    source: SourceId,
    scratch: &Scratch,
) -> Result<String> {
    let text = set.sources.text(source);
    let code = term::Options {
        code: true,
        placeholders: true,
        ..term::Options::default()
    };
    let refused = |error: &dyn std::fmt::Display| Error::Proof {
        what: format!("the options of TLS are not run, since `erl` evaluates them: {error}"),
    };
    let document = term::consult_with(text, code).map_err(|error| refused(&error))?;
    let put = |key: &str, path: &str| {
        if is_absent(unit, path) {
            scratch.path("there-is-no-such-file")
        } else {
            scratch.path(stand_in(key).unwrap_or_default())
        }
    };
    let changed = files::options(text, &document, &put);
    // What is evaluated there is data, or it is not used.
    term::consult(&changed.text).map_err(|error| refused(&error))?;
    for note in changed.notes {
        taken.note(note);
    }
    taken.note("certificates made for this proof stand in for yours".to_owned());
    scratch.write("ssl-dist.conf", &changed.text)
}

/// A `-config` that names a file that is known not to be there.
fn missing_configuration(taken: &mut Taken, unit: &Unit, finding: &Finding, scratch: &Scratch) {
    for flag in unit.line.flags("-config") {
        let path = flag.value().unwrap_or_default();
        let about = unit.flag_place(flag) == finding.place;
        if about && is_absent(Some(unit), path) {
            taken.arguments.extend([
                "-config".to_owned(),
                scratch.path("there-is-no-such-file.config"),
            ]);
        }
    }
}

/// Files of `-config`: those of the node, and what Elixir says at build time.
fn configurations(
    taken: &mut Taken,
    set: &Set,
    unit: Option<&Unit>,
    finding: &Finding,
    scratch: &Scratch,
) -> Result<()> {
    let mut sources: Vec<SourceId> = unit
        .into_iter()
        .flat_map(|unit| unit.terms(set, Terms::Config).map(|(source, _)| source))
        .collect();
    let file = set.sources.get(finding.place.source);
    if file
        .file_name()
        .trim_end_matches(".src")
        .ends_with(".config")
        && !matches!(file.file_name(), "rebar.config" | "relx.config")
        && !sources.contains(&finding.place.source)
    {
        sources.push(finding.place.source);
    }
    for (number, source) in sources.iter().take(8).enumerate() {
        let document = set
            .documents
            .iter()
            .find(|document| document.source == *source)
            .and_then(|document| match &document.content {
                Content::Terms(_, terms) => Some(terms),
                _ => None,
            });
        let changed = files::config(set.sources.text(*source), document);
        for note in changed.notes {
            taken.note(note);
        }
        let path = scratch.write(&format!("sys-{number}.config"), &changed.text)?;
        taken.arguments.extend(["-config".to_owned(), path]);
    }
    let built: Vec<String> = unit
        .into_iter()
        .flat_map(|unit| &unit.settings)
        .filter(|setting| matches!(setting.origin, Origin::Build | Origin::Runtime))
        .filter(|setting| matches!(setting.app.as_str(), "kernel" | "ssl"))
        .filter(|setting| !KERNEL.contains(&setting.key.as_str()))
        .filter_map(|setting| {
            let value = erlang(&setting.value)?;
            Some(format!(
                "{{{}, [{{{}, {value}}}]}}",
                atom(&setting.app),
                atom(&setting.key)
            ))
        })
        .collect();
    if !built.is_empty() {
        let text = format!("[{}].\n", built.join(",\n "));
        let path = scratch.write("elixir.config", &text)?;
        taken.arguments.extend(["-config".to_owned(), path]);
        taken.note("what Elixir says to kernel and ssl stands in a sys.config".to_owned());
    }
    Ok(())
}

/// A value in Erlang's notation, if it is known.
fn erlang(value: &Value) -> Option<String> {
    let all = |values: &[Value]| values.iter().map(erlang).collect::<Option<Vec<_>>>();
    Some(match value {
        Value::Integer(number) => number.to_string(),
        Value::Atom(name) => atom(name),
        Value::Text(text) => format!("<<{:?}>>", text),
        Value::Tuple(values) => format!("{{{}}}", all(values)?.join(", ")),
        Value::List(values) => format!("[{}]", all(values)?.join(", ")),
        Value::Map(_) | Value::Variable(..) | Value::Unknown => return None,
    })
}

fn atom(name: &str) -> String {
    format!("'{}'", name.replace('\\', "\\\\").replace('\'', "\\'"))
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

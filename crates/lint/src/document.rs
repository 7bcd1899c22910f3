//! What a text is, by its name and by what stands in it, and the text as that. No opinion.

#[cfg(test)]
mod tests;

use skans_erlconf::flags::{self, Notation, Word};
use skans_erlconf::{Span, elixir, hocon, shell, sysctl, term};

use crate::dockerfile;
use crate::source::{Place, SourceId, Sources};
use crate::yaml;

/// A text that was read.
#[derive(Debug)]
pub struct Document {
    /// The text.
    pub source: SourceId,
    /// What it is.
    pub content: Content,
}

/// What a text is.
#[derive(Debug)]
pub enum Content {
    /// Flags for `erl -args_file`.
    VmArgs(Vec<Word>),
    /// Erlang terms.
    Terms(Terms, term::Document),
    /// Elixir.
    Elixir(Script, elixir::File),
    /// Shell: an environment file, or a script.
    Shell(Shell, shell::Script),
    /// `rabbitmq.conf`.
    RabbitMq(sysctl::File),
    /// `emqx.conf`.
    Emqx(hocon::Value),
    /// A Dockerfile.
    Dockerfile(Vec<dockerfile::Instruction>),
    /// YAML that is no Kubernetes object, such as values of a chart.
    Yaml(yaml::Node),
    /// A file that is not looked into, but may be referred to.
    Other,
}

/// Kinds of Erlang terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Terms {
    /// `[{Application, [{Key, Value}]}].`
    Config,
    /// `[{server, [...]}, {client, [...]}].`
    TlsOptions,
    /// `rebar.config` and `relx.config`.
    Rebar,
    /// Anything else: `.app`, `.rel`.
    Other,
}

/// Kinds of Elixir.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// `config/runtime.exs`: evaluated when a release starts.
    Runtime,
    /// `config/config.exs` and what it imports: evaluated when a release is built.
    Config,
    /// `mix.exs`.
    Mix,
}

/// Kinds of shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shell {
    /// Read by a start script: `env.sh.eex`, `ejabberdctl.cfg`, `rabbitmq-env.conf`, `.env`.
    Environment,
    /// Run.
    Script,
}

/// A text that could not be read, or only in part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// Where.
    pub place: Place,
    /// Why.
    pub reason: String,
    /// Whether what reads the text in production refuses it, too. Templates and languages that are only looked at here
    /// are not wrong because we do not understand them.
    pub broken: bool,
}

/// What a file name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    VmArgs,
    Terms,
    Rebar,
    Elixir(Script),
    Environment,
    Script,
    RabbitMq,
    Emqx,
    Dockerfile,
    Yaml,
    Unknown,
}

/// Whether a file of this name is read at all when a directory is walked through.
#[must_use]
pub fn is_interesting(name: &str) -> bool {
    // What a build leaves out is asked for, not read.
    form(name) != Form::Unknown || name.rsplit('/').next() == Some(".dockerignore")
}

fn form(path: &str) -> Form {
    let name = path.rsplit('/').next().unwrap_or(path);
    let base = name
        .strip_suffix(".eex")
        .or_else(|| name.strip_suffix(".src"))
        .or_else(|| name.strip_suffix(".template"))
        .unwrap_or(name);
    let extension = base.rsplit_once('.').map_or("", |(_, extension)| extension);
    match base {
        "vm.args" | "remote.vm.args" => Form::VmArgs,
        "rebar.config" | "relx.config" => Form::Rebar,
        "mix.exs" => Form::Elixir(Script::Mix),
        "runtime.exs" | "releases.exs" => Form::Elixir(Script::Runtime),
        "env.sh" | "ejabberdctl.cfg" | "rabbitmq-env.conf" | ".env" | "vars.sh" | "environment" => {
            Form::Environment
        }
        "rabbitmq.conf" => Form::RabbitMq,
        "emqx.conf" | "cluster.hocon" => Form::Emqx,
        "Dockerfile" | "Containerfile" => Form::Dockerfile,
        _ if base.ends_with(".vm.args") || base.ends_with(".vmargs") || extension == "args" => {
            Form::VmArgs
        }
        _ if base.starts_with("Dockerfile.") || base.ends_with(".Dockerfile") => Form::Dockerfile,
        _ if base.ends_with(".env") => Form::Environment,
        _ if path.contains("conf.d/") && extension == "conf" => Form::RabbitMq,
        _ => match extension {
            "config" | "app" | "rel" | "term" | "terms" => Form::Terms,
            "exs" if path.contains("config/") || !path.contains('/') => {
                Form::Elixir(Script::Config)
            }
            "yaml" | "yml" | "json" => Form::Yaml,
            "sh" | "bash" => Form::Script,
            "hocon" => Form::Emqx,
            // TLS option files have no name of their own: inet_tls_dist.conf, ssl_dist.opts.
            "conf" | "opts" | "optfile" => Form::Terms,
            _ => Form::Unknown,
        },
    }
}

/// Reads a text as what its name and content say. What could not be read is added to `unread`. YAML is read by the
/// caller, since objects may come out of it.
///
/// # Errors
/// The text is YAML or JSON.
pub fn read(
    sources: &Sources,
    source: SourceId,
    name: &str,
    unread: &mut Vec<Unread>,
) -> Result<Content, YamlText> {
    let text = sources.text(source);
    let mut form = form(name);
    if form == Form::Unknown {
        form = guess(text);
    }
    let fault = |reason: String, span: Span, broken| Unread {
        place: Place { source, span },
        reason,
        broken,
    };
    let template = is_template(name, text);
    let content = match form {
        Form::Yaml => return Err(YamlText),
        Form::Unknown => Content::Other,
        Form::VmArgs => match flags::words(&without_sections(text), Notation::Template) {
            Ok(words) => Content::VmArgs(words),
            Err(error) => {
                unread.push(fault(error.to_string(), error.span(), true));
                Content::Other
            }
        },
        Form::Terms | Form::Rebar => {
            let options = term::Options {
                placeholders: template,
                ..term::Options::default()
            };
            let read = term::consult_with(text, options).or_else(|error| {
                // An option file of TLS is evaluated, so that calls may stand in it. Nothing else may have them.
                let code = term::Options {
                    code: true,
                    ..options
                };
                match term::consult_with(text, code) {
                    Ok(document) if terms(&document, form) == Terms::TlsOptions => Ok(document),
                    _ => Err(error),
                }
            });
            match read {
                Ok(document) => Content::Terms(terms(&document, form), document),
                Err(error) => {
                    // A `.conf` may be anybody's: only what looks like terms is held to be some.
                    let named = [".config", ".app", ".rel"]
                        .iter()
                        .any(|end| name.ends_with(end));
                    if named || looks_like_terms(text) {
                        let broken = !template && form != Form::Rebar;
                        unread.push(fault(error.to_string(), error.span(), broken));
                    }
                    Content::Other
                }
            }
        }
        Form::Elixir(script) => match elixir::parse(text) {
            Ok(file) => {
                unread.extend(
                    file.skipped
                        .iter()
                        .map(|skipped| fault(skipped.reason.to_string(), skipped.span, false)),
                );
                Content::Elixir(script, file)
            }
            Err(error) => {
                unread.push(fault(error.to_string(), error.span(), false));
                Content::Other
            }
        },
        Form::Environment | Form::Script => match shell::parse(text) {
            Ok(script) => Content::Shell(
                if form == Form::Script {
                    Shell::Script
                } else {
                    Shell::Environment
                },
                script,
            ),
            Err(error) => {
                unread.push(fault(error.to_string(), error.span(), false));
                Content::Other
            }
        },
        Form::RabbitMq => match sysctl::parse(text) {
            Ok(file) => {
                unread.extend(
                    file.faults
                        .iter()
                        .map(|error| fault(error.to_string(), error.span(), !template)),
                );
                Content::RabbitMq(file)
            }
            Err(error) => {
                unread.push(fault(error.to_string(), error.span(), true));
                Content::Other
            }
        },
        Form::Emqx => match hocon::parse(text) {
            Ok(file) => Content::Emqx(file),
            Err(error) => {
                unread.push(fault(error.to_string(), error.span(), false));
                Content::Other
            }
        },
        Form::Dockerfile => Content::Dockerfile(dockerfile::parse(text)),
    };
    Ok(content)
}

/// A text in which lines that are nothing but a tag of a template (`{{flags}}`, `{{#tls}}`) are blank. What they will be
/// is not known, and they would be read as values of the flag before them. Places stay what they are.
fn without_sections(text: &str) -> String {
    text.split_inclusive('\n')
        .map(|line| {
            let tag = line.trim();
            let alone = tag.starts_with("{{") && tag.ends_with("}}");
            if alone {
                line.chars()
                    .map(|c| match c {
                        '\n' => c.to_string(),
                        _ => " ".repeat(c.len_utf8()),
                    })
                    .collect()
            } else {
                line.to_owned()
            }
        })
        .collect()
}

/// The text is YAML or JSON.
#[derive(Debug)]
pub struct YamlText;

/// Whether a release tool or Helm fills the text in before it is used.
pub(crate) fn is_template(name: &str, text: &str) -> bool {
    [".eex", ".src", ".template", ".tpl"]
        .iter()
        .any(|end| name.ends_with(end))
        || text.contains("{{")
}

fn looks_like_terms(text: &str) -> bool {
    let start = text
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.starts_with('%'));
    let balanced = text.trim_end().ends_with('.') || text.contains("].") || text.contains("}.");
    start.is_some_and(|line| line.starts_with(['[', '{'])) && balanced
}

/// What a text without a telling name is.
fn guess(text: &str) -> Form {
    let mut lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with(['#', '%']));
    let Some(first) = lines.next() else {
        return Form::Unknown;
    };
    let second = lines.next().unwrap_or_default();
    if text.starts_with("#!") && text.lines().next().is_some_and(|line| line.contains("sh")) {
        return Form::Script;
    }
    if first.starts_with("apiVersion:")
        || first == "---"
        || (first.starts_with('{') && first.len() < 3)
    {
        return Form::Yaml;
    }
    if looks_like_terms(text) {
        return Form::Terms;
    }
    if first.starts_with("FROM ") {
        return Form::Dockerfile;
    }
    let is_flag = |line: &str| {
        let name = line.strip_prefix(['-', '+']).unwrap_or_default();
        name.starts_with(|c: char| c.is_ascii_alphabetic())
    };
    if is_flag(first) && (second.is_empty() || is_flag(second)) {
        return Form::VmArgs;
    }
    if first.starts_with("import Config") || first.starts_with("use Mix.Config") {
        return Form::Elixir(Script::Config);
    }
    if first.starts_with("kind:") || first.starts_with("{\"") || first.starts_with('{') {
        return Form::Yaml;
    }
    Form::Unknown
}

fn terms(document: &term::Document, form: Form) -> Terms {
    if form == Form::Rebar {
        return Terms::Rebar;
    }
    let [only] = document.terms.as_slice() else {
        // `{server, [...]}. {client, [...]}.` is meant to be one, and is none; two lists of one side each are, too.
        let is_side = |term: &term::Term| {
            matches!(term.elements(), Some([side, options])
                if (side.is_atom("server") || side.is_atom("client")) && options.is_list())
        };
        let meant = document
            .terms
            .iter()
            .any(|term| is_side(term) || matches!(term.items(), [only] if is_side(only)));
        return if meant {
            Terms::TlsOptions
        } else {
            Terms::Other
        };
    };
    if !only.is_list() {
        return Terms::Other;
    }
    let sides = only
        .entries()
        .filter(|entry| entry.key.is_atom("server") || entry.key.is_atom("client"))
        .filter(|entry| entry.value.is_some_and(term::Term::is_list))
        .count();
    if sides > 0 && only.items().len() <= 2 {
        Terms::TlsOptions
    } else {
        Terms::Config
    }
}

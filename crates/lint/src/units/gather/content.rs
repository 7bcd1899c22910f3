//! What a document says to its node.

use skans_erlconf::flags::Word;
use skans_erlconf::{elixir, shell, term};

use super::{Draft, Product};
use crate::document::{Content, Script, Shell, Terms};
use crate::set::Set;
use crate::setting::{Origin, Setting, Value};
use crate::source::{Place, SourceId, Sources};
use crate::units::{COOKIE_VARIABLES, Cookie, From, How, Variable, commands};
use crate::yaml::Node;

/// Variables whose words become a part of the command line of `erl`.
pub(super) const COMMAND_LINE: &[&str] = &[
    "ELIXIR_ERL_OPTIONS",
    "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
    "RABBITMQ_SERVER_ERL_ARGS",
    "SERVER_ADDITIONAL_ERL_ARGS",
    "SERVER_ERL_ARGS",
    "ERL_OPTIONS",
];
pub(super) const A_FLAGS: &str = "ERL_AFLAGS";
pub(super) const FLAGS: &str = "ERL_FLAGS";
pub(super) const Z_FLAGS: &str = "ERL_ZFLAGS";

/// What a document says to its node.
pub(super) fn add_document(set: &mut Set, draft: &mut Draft, number: usize, path: String) {
    let remote = path
        .rsplit('/')
        .next()
        .is_some_and(|name| name.starts_with("remote."));
    let Set {
        documents, sources, ..
    } = set;
    let Some(document) = documents.get(number) else {
        return;
    };
    let source = document.source;
    match &document.content {
        Content::VmArgs(words) if !remote => {
            draft.is_node = true;
            draft.has_vm_args = true;
            let file = words.iter().map(|word| (word.clone(), source));
            // A file comes before what the command line goes on with.
            let mut line: Vec<_> = file.collect();
            line.append(&mut draft.command);
            draft.command = line;
            if path.ends_with(".eex") {
                draft.product.get_or_insert(Product::Mix);
            }
        }
        Content::Terms(Terms::Config, terms) => {
            draft.is_node = true;
            draft.settings.extend(term_settings(source, terms));
            if path.ends_with("advanced.config") {
                draft.product.get_or_insert(Product::RabbitMq);
            }
        }
        Content::Terms(Terms::TlsOptions | Terms::Rebar, _) => draft.is_node = true,
        Content::Elixir(script, file) => {
            draft.is_node = true;
            add_elixir(draft, source, *script, file);
        }
        Content::Shell(kind, script) => add_script(sources, draft, source, *kind, script, &path),
        Content::RabbitMq(_) => {
            draft.is_node = true;
            draft.product.get_or_insert(Product::RabbitMq);
        }
        Content::Emqx(file) => {
            let Some(node) = file.get(&["node"]) else {
                return;
            };
            draft.is_node = true;
            draft.product.get_or_insert(Product::Emqx);
            add_emqx(draft, source, file, node.span);
        }
        Content::Dockerfile(instructions) => {
            add_dockerfile(sources, draft, source, instructions);
        }
        _ => return,
    }
    draft.files.push((path, number));
}

pub(super) fn term_settings(source: SourceId, terms: &term::Document) -> Vec<Setting> {
    let mut found = Vec::new();
    for app in terms.terms.iter().flat_map(term::Term::entries) {
        let (Some(name), Some(settings)) = (app.key.as_atom(), app.value) else {
            continue;
        };
        for entry in settings.entries() {
            let Some(key) = entry.key.as_atom() else {
                continue;
            };
            found.push(Setting {
                app: name.to_owned(),
                key: key.to_owned(),
                value: entry
                    .value
                    .map_or_else(|| Value::Atom("true".to_owned()), Value::from),
                place: Place {
                    source,
                    span: entry.whole.span,
                },
                origin: Origin::Config,
            });
        }
    }
    found
}

pub(super) fn add_elixir(draft: &mut Draft, source: SourceId, script: Script, file: &elixir::File) {
    let releases = file.all().any(|expr| expr.get("releases").is_some());
    if script == Script::Runtime || script == Script::Mix && releases {
        draft.product.get_or_insert(Product::Mix);
    }
    if script == Script::Mix {
        return;
    }
    let origin = if script == Script::Runtime {
        Origin::Runtime
    } else {
        Origin::Build
    };
    for setting in file.settings() {
        let Some(key) = setting.keys.first().and_then(|key| key.text()) else {
            continue;
        };
        let start = setting
            .keys
            .last()
            .map_or(setting.value.span, |key| key.span);
        let value = setting
            .keys
            .iter()
            .skip(1)
            .rev()
            .fold(Value::from(setting.value), |value, key| {
                Value::List(vec![Value::Tuple(vec![Value::from(*key), value])])
            });
        draft.settings.push(Setting {
            app: setting.app.to_owned(),
            key: key.to_owned(),
            value,
            place: Place {
                source,
                span: start.to(setting.value.span),
            },
            origin,
        });
    }
}

/// Cookies that stand in Elixir: in `releases` of `mix.exs`, as the fallback of a variable, and set by code.
pub(crate) fn elixir_cookies(source: SourceId, file: &elixir::File) -> Vec<Cookie> {
    let mut found: Vec<Cookie> = Vec::new();
    let mut add = |expr: &elixir::Expr| {
        let place = Place {
            source,
            span: expr.span,
        };
        if let Some(text) = expr.text()
            && !found.iter().any(|cookie| cookie.place == place)
        {
            found.push(Cookie {
                value: Some(text.to_owned()),
                place,
                how: How::Elixir,
            });
        }
    };
    for expr in file.all() {
        if let Some(releases) = expr.get("releases") {
            for inner in releases.all() {
                if let elixir::Kind::Pair(key, value) = &inner.kind
                    && key.is_atom("cookie")
                {
                    add(value);
                }
            }
        }
        for name in ["Node.set_cookie", ":erlang.set_cookie"] {
            if let Some(cookie) = expr.call_arguments(name).and_then(<[_]>::last) {
                add(cookie);
            }
        }
        if let Some(from) = expr.from_environment()
            && (COOKIE_VARIABLES.contains(&from.name) || from.name.ends_with("_COOKIE"))
            && let Some(default) = from.default
        {
            add(default);
        }
    }
    found
}

pub(super) fn add_script(
    sources: &mut Sources,
    draft: &mut Draft,
    source: SourceId,
    kind: Shell,
    script: &shell::Script,
    path: &str,
) {
    for command in &script.commands {
        // `. /run/skans/env/shop.env`
        let sourced = command
            .words
            .first()
            .is_some_and(|word| matches!(word.text.as_str(), "." | "source"));
        if sourced
            && let Some(word) = command
                .words
                .get(1)
                .filter(|word| word.text.contains("/skans/env/"))
        {
            draft.guarded = Some(Place {
                source,
                span: word.span,
            });
        }
        if let Some((program, words)) = commands::of_shell(command) {
            let named = words
                .iter()
                .any(|word| matches!(word.text.as_str(), "-name" | "-sname" | "-setcookie"));
            if named && program != "mix" {
                draft.is_node = true;
                draft
                    .command
                    .extend(words.into_iter().map(|word| (word, source)));
            }
        }
    }
    if kind == Shell::Script {
        return;
    }
    let name = path.rsplit('/').next().unwrap_or(path);
    if name.starts_with("env.sh")
        || name.starts_with("ejabberdctl")
        || name.starts_with("rabbitmq-env")
    {
        draft.is_node = true;
    }
    if name.starts_with("env.sh") {
        draft.product.get_or_insert(Product::Mix);
    } else if name.starts_with("ejabberdctl") {
        draft.product.get_or_insert(Product::Ejabberd);
    } else if name.starts_with("rabbitmq-env") {
        draft.product.get_or_insert(Product::RabbitMq);
    }
    for assignment in script.assignments() {
        // A fallback that is computed is as good as none.
        let fallback = assignment
            .value
            .fallback()
            .filter(|text| !text.contains(['$', '`']));
        let value = fallback.unwrap_or(&assignment.value.text);
        let written = fallback.is_some() || !assignment.value.expands;
        let place = Place {
            source,
            span: assignment.value.span,
        };
        let quoted = place
            .span
            .text(sources.text(source))
            .starts_with(['"', '\'']);
        let pieces = vec![(0, place.span.start + usize::from(quoted))];
        add_flags(
            sources,
            draft,
            &assignment.name,
            &assignment.value.text,
            place,
            pieces,
        );
        draft.variables.push(Variable {
            name: assignment.name.clone(),
            value: written.then(|| value.to_owned()),
            place,
            from: From::Script,
        });
    }
}

/// The words of a variable that holds flags.
pub(super) fn add_flags(
    sources: &mut Sources,
    draft: &mut Draft,
    name: &str,
    value: &str,
    place: Place,
    pieces: Vec<(usize, usize)>,
) {
    if COMMAND_LINE.contains(&name) {
        draft.is_node = true;
        let words = commands::of_value(sources, name.to_owned(), value, place, pieces);
        draft.command.extend(words);
        return;
    }
    let Some(known) = [A_FLAGS, FLAGS, Z_FLAGS]
        .into_iter()
        .find(|known| *known == name)
    else {
        return;
    };
    draft.is_node = true;
    let words = commands::of_value(sources, name.to_owned(), value, place, pieces);
    let itself = [
        format!("${name}"),
        format!("${{{name}}}"),
        format!("${{{name}:-}}"),
    ];
    let adds = words.iter().any(|(word, _)| itself.contains(&word.text));
    let all = draft.flags.entry(known).or_default();
    if !adds {
        all.clear();
    }
    all.extend(
        words
            .into_iter()
            .filter(|(word, _)| !itself.contains(&word.text)),
    );
}

pub(super) fn add_emqx(
    draft: &mut Draft,
    source: SourceId,
    file: &skans_erlconf::hocon::Value,
    node: skans_erlconf::Span,
) {
    let mut flag = |name: &str, path: &[&str]| {
        if let Some(value) = file.get(path)
            && let Some(text) = value.text()
        {
            for text in [name, text] {
                let word = Word {
                    text: text.to_owned(),
                    span: value.span,
                };
                draft.command.push((word, source));
            }
        }
    };
    flag("-name", &["node", "name"]);
    flag("-proto_dist", &["cluster", "proto_dist"]);
    draft.place = Place { source, span: node };
}

pub(super) fn add_dockerfile(
    sources: &mut Sources,
    draft: &mut Draft,
    source: SourceId,
    instructions: &[crate::dockerfile::Instruction],
) {
    for instruction in instructions {
        let text = instruction.arguments.text(sources.text(source)).to_owned();
        let place = Place {
            source,
            span: instruction.arguments,
        };
        match instruction.name.as_str() {
            "RUN" if text.contains("mix release") => {
                draft.is_node = true;
                draft.product.get_or_insert(Product::Mix);
            }
            "ENV" => {
                for (name, value, span) in environment(&text) {
                    let place = Place {
                        source,
                        span: span.shift(place.span.start),
                    };
                    let quoted = place
                        .span
                        .text(sources.text(source))
                        .starts_with(['"', '\'']);
                    let pieces = vec![(0, place.span.start + usize::from(quoted))];
                    add_flags(sources, draft, &name, &value, place, pieces);
                    draft.variables.push(Variable {
                        name,
                        value: Some(value).filter(|value| !value.contains('$')),
                        place,
                        from: From::Image,
                    });
                }
            }
            "CMD" | "ENTRYPOINT" => {
                let script = if text.trim_start().starts_with('[') {
                    None
                } else {
                    shell::parse(&text).ok()
                };
                let words = match script {
                    Some(script) => script
                        .commands
                        .iter()
                        .find_map(commands::of_shell)
                        .map(|(_, words)| words),
                    None => exec_form(&text).and_then(|list| commands::of_list(&list)),
                };
                if let Some(words) = words {
                    draft.is_node = true;
                    draft.command.extend(words.into_iter().map(|word| {
                        let span = word.span.shift(place.span.start);
                        (Word { span, ..word }, source)
                    }));
                }
            }
            _ => {}
        }
    }
}

/// `["erl", "-name", "x"]`.
pub(super) fn exec_form(text: &str) -> Option<Vec<Word>> {
    let file = crate::yaml::parse(text);
    let list = file.documents.first()?;
    Some(list.items().iter().filter_map(word).collect())
}

pub(super) fn word(node: &Node) -> Option<Word> {
    Some(Word {
        text: node.as_str()?.to_owned(),
        span: node.span,
    })
}

/// The variables of an `ENV` instruction: `A=b C="d e"`, or the old form `A b c`.
pub(super) fn environment(text: &str) -> Vec<(String, String, skans_erlconf::Span)> {
    let Ok(script) = shell::parse(text) else {
        return Vec::new();
    };
    let assigned: Vec<_> = script
        .assignments()
        .map(|assignment| {
            let value = &assignment.value;
            (assignment.name.clone(), value.text.clone(), value.span)
        })
        .collect();
    if !assigned.is_empty() {
        return assigned;
    }
    let Some((name, value)) = text.split_once(char::is_whitespace) else {
        return Vec::new();
    };
    let start = name.len() + 1;
    let span = skans_erlconf::Span::new(start, start + value.len());
    vec![(name.to_owned(), value.trim().to_owned(), span)]
}

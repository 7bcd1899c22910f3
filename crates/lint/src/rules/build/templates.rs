//! Templates of charts, as text: what goes wrong before anything is rendered.

use skans_erlconf::Span;

use crate::document::Content;
use crate::rule::{Context, Findings, Rule};
use crate::source::{Place, Source, SourceId};
use crate::yaml::Node;

pub(super) const RULES: &[Rule] = &[
    rule!(
        HLM004,
        "comment-wrapped",
        Blocker,
        Beam,
        wrapped,
        "A comment of a template goes on in a line that is none.",
        "The rest of it becomes YAML: `cannot unmarshal string into Go value`; the chart cannot be rendered.",
        "`#` on each line, or one line."
    ),
    rule!(
        HLM005,
        "silent-default",
        High,
        All,
        silent,
        "A template chooses among the values of a setting, and does nothing for others.",
        "A value with a typing error renders nothing, with exit code 0: the Secret or Issuer is missing when it is needed.",
        "`{{ else }}{{ fail \"unknown provider\" }}{{ end }}`, and an `enum` in `values.schema.json`."
    ),
    rule!(
        HLM006,
        "value-not-defined",
        Medium,
        All,
        undefined,
        "A template uses a part of a value that `values.yaml` does not have.",
        "`nil pointer evaluating interface {}`: the chart cannot be rendered until somebody finds out what is missing.",
        "A default in `values.yaml`; `required` for what has none."
    ),
];

/// The templates of charts: files with `{{`, in a directory `templates`.
fn templates<'c>(context: &Context<'c>) -> impl Iterator<Item = (SourceId, &'c Source)> {
    context.set.sources.iter().filter(|(_, source)| {
        !source.is_embedded()
            && source.text.contains("{{")
            && (source.name.starts_with("templates/") || source.name.contains("/templates/"))
    })
}

fn wrapped(context: &Context<'_>, found: &mut Findings<'_>) {
    for (id, source) in templates(context) {
        let mut at = 0;
        let mut open = false;
        for line in source.text.split_inclusive('\n') {
            let text = line.trim();
            let start = at + (line.len() - line.trim_start().len());
            at += line.len();
            if let Some((_, comment)) = text
                .split_once('#')
                .filter(|(before, _)| !before.contains("{{"))
            {
                open = comment.matches('(').count() > comment.matches(')').count();
                continue;
            }
            let plain = !text.is_empty()
                && !text.contains([':', '{', '}', '[', ']', '"', '\'', '|'])
                && !text.starts_with('-');
            if open && plain && text.contains(')') {
                let place = Place {
                    source: id,
                    span: Span::new(start, start + text.len()),
                };
                found.add(place, "the rest of the comment above");
            }
            if !text.is_empty() {
                open = false;
            }
        }
    }
}

/// The actions of a template, in order: what stands between the braces, and where.
fn actions(text: &str) -> Vec<(&str, Span)> {
    let mut all = Vec::new();
    let mut from = 0;
    while let Some(start) = text.get(from..).and_then(|rest| rest.find("{{")) {
        let begin = from + start;
        let Some(length) = text.get(begin..).and_then(|rest| rest.find("}}")) else {
            break;
        };
        let inner = text.get(begin + 2..begin + length).unwrap_or_default();
        let inner = inner.trim_start_matches('-').trim_end_matches('-').trim();
        all.push((inner, Span::new(begin, begin + length + 2)));
        from = begin + length + 2;
    }
    all
}

/// The value that a condition compares with a text: `eq .Values.provider "vault"`.
fn compared(condition: &str) -> Option<&str> {
    let rest = condition.strip_prefix("eq ")?;
    let mut words = rest.split_whitespace();
    let (one, other) = (words.next()?, words.next()?);
    if words.next().is_some() {
        return None;
    }
    let (value, text) = if one.starts_with('"') {
        (other, one)
    } else {
        (one, other)
    };
    (text.starts_with('"') && value.contains(".Values.")).then_some(value)
}

struct Choice<'t> {
    /// What is compared; none of an action that is no such choice.
    value: Option<&'t str>,
    branches: usize,
    has_else: bool,
    span: Span,
}

fn silent(context: &Context<'_>, found: &mut Findings<'_>) {
    for (id, source) in templates(context) {
        let mut open: Vec<Choice<'_>> = Vec::new();
        for (action, span) in actions(&source.text) {
            let word = action.split_whitespace().next().unwrap_or_default();
            match word {
                "if" => open.push(Choice {
                    value: compared(action.trim_start_matches("if").trim()),
                    branches: 1,
                    has_else: false,
                    span,
                }),
                "range" | "with" | "define" | "block" => open.push(Choice {
                    value: None,
                    branches: 0,
                    has_else: true,
                    span,
                }),
                "else" => {
                    let condition = action.trim_start_matches("else").trim();
                    let Some(choice) = open.last_mut() else {
                        continue;
                    };
                    match condition.strip_prefix("if") {
                        Some(condition) if compared(condition.trim()) == choice.value => {
                            choice.branches += 1;
                        }
                        Some(_) => choice.value = None,
                        None => choice.has_else = true,
                    }
                }
                "end" => {
                    let Some(choice) = open.pop() else { continue };
                    if let Some(value) = choice
                        .value
                        .filter(|_| choice.branches > 1 && !choice.has_else)
                    {
                        let place = Place {
                            source: id,
                            span: choice.span,
                        };
                        found.add(
                            place,
                            format!(
                                "any other {} renders nothing",
                                value.trim_matches(['(', ')'])
                            ),
                        );
                    }
                }
                _ => {}
            }
        }
    }
}

fn undefined(context: &Context<'_>, found: &mut Findings<'_>) {
    for (id, source) in templates(context) {
        let Some((chart, _)) = source.name.split_once("templates/") else {
            continue;
        };
        let values = context.set.documents.iter().find_map(|document| {
            let name = &context.set.sources.get(document.source).name;
            match &document.content {
                Content::Yaml(node) if *name == format!("{chart}values.yaml") => Some(node),
                _ => None,
            }
        });
        let Some(values) = values else { continue };
        let mut guards: Vec<&str> = Vec::new();
        for (action, span) in actions(&source.text) {
            let word = action.split_whitespace().next().unwrap_or_default();
            match word {
                "if" | "with" | "range" => guards.push(action),
                "end" => {
                    guards.pop();
                }
                _ => {}
            }
            let helped = [
                "default", "required", "if ", "with ", "range ", "hasKey", "dig ", "coalesce", "/*",
            ]
            .iter()
            .any(|word| action.contains(word));
            for path in paths(action) {
                let guarded = guards.iter().any(|guard| guard.contains(path));
                if !helped && !guarded && !is_there(values, path) {
                    let place = Place { source: id, span };
                    found.add(
                        place,
                        format!("values.yaml has nothing for {path} to be a part of"),
                    );
                }
            }
        }
    }
}

/// The paths behind `.Values.` in an action.
fn paths(action: &str) -> impl Iterator<Item = &str> {
    action.match_indices(".Values.").map(|(at, mark)| {
        let rest = action.get(at + mark.len()..).unwrap_or_default();
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '_'))
            .unwrap_or(rest.len());
        rest.get(..end).unwrap_or_default().trim_end_matches('.')
    })
}

/// Whether values have what a path goes through. The last part may be left to who installs the chart; what is before
/// it may not, since a part of nothing is an error.
fn is_there(values: &Node, path: &str) -> bool {
    let Some((parents, _)) = path.rsplit_once('.') else {
        return true;
    };
    let mut node = values;
    for key in parents.split('.') {
        let Some((_, value)) = node.entry(key) else {
            return false;
        };
        if !value.is_mapping() {
            return true;
        }
        node = value;
    }
    true
}

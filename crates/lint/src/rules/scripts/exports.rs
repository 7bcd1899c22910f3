//! Objects that scripts write to files.

use skans_erlconf::shell::Command;

use super::{arguments, scripts};
use crate::rule::{Context, Findings, Rule};
use crate::source::Place;

pub(super) const RULES: &[Rule] = &[
    rule!(
        BAK004,
        "plaintext-secrets",
        Critical,
        Beam,
        plaintext,
        "Secrets are exported in clear.",
        "Keys and cookies lie in a file: base64 hides nothing.",
        "Encrypt on the way (`| age -r RECIPIENT`), or do not back them up: issue them again."
    ),
    rule!(
        BAK005,
        "raw-export",
        Medium,
        Beam,
        raw,
        "Objects are exported with all that the cluster wrote into them.",
        "`status`, `uid` and `resourceVersion` are refused or misleading when they are applied again; what was generated is there twice.",
        "What is in Git; for a copy, `kubectl neat` or a tool for backups."
    ),
];

/// Whether a command of `kubectl get` writes objects out, and of which kinds.
fn exports(command: &Command) -> Option<&str> {
    let words = arguments(command);
    let mut words = words.iter();
    if words.next() != Some(&"get") {
        return None;
    }
    let form = command.words.iter().enumerate().any(|(at, word)| {
        let joined = [
            "-oyaml",
            "-ojson",
            "-o=yaml",
            "-o=json",
            "--output=yaml",
            "--output=json",
        ];
        let next = command.words.get(at + 1).map(|word| word.text.as_str());
        joined.contains(&word.text.as_str())
            || matches!(word.text.as_str(), "-o" | "--output")
                && matches!(next, Some("yaml" | "json"))
    });
    words.next().copied().filter(|_| form)
}

fn to_file(command: &Command) -> bool {
    command.redirections.iter().any(|(operator, target)| {
        operator.contains('>') && !target.text.starts_with("/dev/") && !target.text.starts_with('&')
    })
}

fn names_secrets(kinds: &str) -> bool {
    kinds
        .split(',')
        .map(|kind| kind.split('/').next().unwrap_or_default())
        .any(|kind| matches!(kind, "secret" | "secrets"))
}

/// Exports of a script into files: the place, the kinds, and whether something stands between.
fn exported(context: &Context<'_>) -> Vec<(Place, String, bool)> {
    const ENCRYPTS: &[&str] = &["age", "gpg", "sops", "kubeseal", "openssl"];
    const CLEANS: &[&str] = &["jq", "yq", "kubectl-neat", "neat", "sed", "grep"];
    let mut all = Vec::new();
    for script in scripts(context) {
        let commands = &script.script.commands;
        for (at, command) in commands.iter().enumerate() {
            let run = command.program().map(|word| word.text.as_str());
            let Some(kinds) =
                exports(command).filter(|_| run.is_some_and(|run| run.ends_with("kubectl")))
            else {
                continue;
            };
            let pipe: Vec<&Command> = commands
                .iter()
                .skip(at + 1)
                .take_while(|next| next.joined == "|")
                .collect();
            let programs: Vec<&str> = pipe
                .iter()
                .filter_map(|next| next.program()?.text.rsplit('/').next())
                .collect();
            let tools = if names_secrets(kinds) {
                ENCRYPTS
            } else {
                CLEANS
            };
            let helped = programs.iter().any(|program| tools.contains(program));
            let written = to_file(command)
                || pipe.iter().any(|next| to_file(next))
                || programs.contains(&"tee");
            if written {
                all.push((script.place(command), kinds.to_owned(), helped));
            }
        }
    }
    all
}

fn plaintext(context: &Context<'_>, found: &mut Findings<'_>) {
    for (place, kinds, helped) in exported(context) {
        if names_secrets(&kinds) && !helped {
            found.add(place, "Secrets in clear, in a file");
        }
    }
}

fn raw(context: &Context<'_>, found: &mut Findings<'_>) {
    for (place, kinds, helped) in exported(context) {
        if !names_secrets(&kinds) && !helped {
            found.add(
                place,
                format!("{kinds} with all that the cluster wrote into them"),
            );
        }
    }
}

//! Rules over shell: scripts of jobs and init containers, and files. Not a checker of shell: what it asks is what
//! the script does to a cluster. What several families ask stands here.

mod backup;
mod certificates;
mod exports;
mod hygiene;
mod operations;
mod requests;

use skans_erlconf::shell::{self, Command};

use crate::document::{Content, Shell};
use crate::kubernetes::Object;
use crate::rule::{Context, Rule};
use crate::source::{Place, SourceId};

pub(super) const FAMILIES: &[&[Rule]] = &[
    certificates::RULES,
    requests::RULES,
    operations::RULES,
    backup::RULES,
    exports::RULES,
    hygiene::RULES,
];

/// A script.
struct Script<'c> {
    source: SourceId,
    script: &'c shell::Script,
    /// The object that it stands in, if it is one that runs it.
    object: Option<&'c Object>,
    /// The image that runs it, if it is known.
    image: &'c str,
    /// What the shell is told besides.
    flags: &'c str,
}

impl Script<'_> {
    const fn place(&self, command: &Command) -> Place {
        Place {
            source: self.source,
            span: command.span,
        }
    }

    /// The commands that run `kubectl` with this verb; a global flag may stand before it.
    fn kubectl<'s>(&'s self, verb: &'s str) -> impl Iterator<Item = &'s Command> {
        self.script.runs("kubectl").filter(move |command| {
            arguments(command)
                .first()
                .is_some_and(|first| *first == verb)
        })
    }
}

/// What a command is told, without flags, behind the program. A value of a flag that stands apart is among it.
fn arguments(command: &Command) -> Vec<&str> {
    let program = command.program().map(|word| word.span);
    command
        .words
        .iter()
        .skip_while(|word| Some(word.span) != program)
        .skip(1)
        .map(|word| word.text.as_str())
        .filter(|text| !text.starts_with('-'))
        .collect()
}

/// Whether a command has this flag, with a value or without.
fn has_flag(command: &Command, names: &[&str]) -> bool {
    command.words.iter().any(|word| {
        let name = word.text.split('=').next().unwrap_or_default();
        names.contains(&name)
    })
}

/// All scripts of a set.
fn scripts<'c>(context: &Context<'c>) -> Vec<Script<'c>> {
    let set = context.set;
    set.documents
        .iter()
        .enumerate()
        .filter_map(|(number, document)| {
            let Content::Shell(Shell::Script, script) = &document.content else {
                return None;
            };
            let inline = set.scripts.iter().find(|inline| inline.document == number);
            Some(Script {
                source: document.source,
                script,
                object: inline.and_then(|inline| set.objects.get(inline.object)),
                image: inline.map_or("", |inline| &inline.image),
                flags: inline.map_or("", |inline| &inline.flags),
            })
        })
        .collect()
}

/// The commands of all scripts: where they stand, and their words.
pub(super) fn commands(context: &Context<'_>) -> Vec<(Place, Vec<String>)> {
    scripts(context)
        .iter()
        .flat_map(|script| {
            script.script.commands.iter().map(|command| {
                let words = command.words.iter().map(|word| word.text.clone());
                (script.place(command), words.collect())
            })
        })
        .collect()
}

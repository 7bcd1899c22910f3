//! Which files, variables and objects belong to the same node. What follows from them is in the parent.
//!
//! A workload of Kubernetes is a node: its environment, its commands, the files that are mounted. The files of a project
//! (the directory with `mix.exs` or `rebar.config`, or what stands side by side) are another, and what runs in the
//! workload if there is only one of them.

mod content;
mod project;
mod workload;

use std::collections::BTreeMap;

use skans_erlconf::flags::{Sources as FlagSources, Word, interpret};
use skans_erlconf::term;

use super::{Product, Unit, Variable};
use crate::set::Set;
use crate::setting::{Origin, Setting, Value};
use crate::source::{Place, SourceId};
use content::{A_FLAGS, FLAGS, Z_FLAGS};

pub(super) use content::elixir_cookies;

/// A unit that is being put together.
#[derive(Debug, Clone)]
struct Draft {
    title: String,
    place: Place,
    product: Option<Product>,
    variables: Vec<Variable>,
    flags: BTreeMap<&'static str, Vec<(Word, SourceId)>>,
    command: Vec<(Word, SourceId)>,
    settings: Vec<Setting>,
    files: Vec<(String, usize)>,
    whole_directories: Vec<String>,
    object: Option<usize>,
    guarded: Option<Place>,
    /// Whether anything says that it is an Erlang node at all.
    is_node: bool,
    has_vm_args: bool,
}

impl Draft {
    fn new(title: String, place: Place) -> Self {
        Self {
            title,
            place,
            product: None,
            variables: Vec::new(),
            flags: BTreeMap::new(),
            command: Vec::new(),
            settings: Vec::new(),
            files: Vec::new(),
            whole_directories: Vec::new(),
            object: None,
            guarded: None,
            is_node: false,
            has_vm_args: false,
        }
    }
}

/// All nodes of a set.
pub(crate) fn gather(set: &mut Set) -> Vec<Unit> {
    let mut projects = project::projects(set);
    let mut workloads: Vec<Draft> = Vec::new();
    let mut mounted = Vec::new();
    for number in 0..set.objects.len() {
        if let Some(draft) = workload::workload(set, number, &mut mounted) {
            workloads.push(draft);
        }
    }
    for number in 0..set.objects.len() {
        if !mounted.contains(&number)
            && let Some(draft) = workload::config_map(set, number)
        {
            workloads.push(draft);
        }
    }
    // What is built from the only project runs in the workloads that bring no flags of their own.
    if let [project] = projects.as_slice() {
        let mut used = false;
        for draft in &mut workloads {
            let ours = matches!(draft.product, None | Some(Product::Mix | Product::Erlang));
            if ours && !draft.has_vm_args && draft.object.is_some() {
                absorb(draft, project);
                used = true;
            }
        }
        if used {
            projects.clear();
        }
    }
    projects
        .into_iter()
        .chain(workloads)
        .filter(|draft| draft.is_node)
        .map(|draft| finish(draft, set))
        .collect()
}

/// What stands in an image comes before what the workload says.
fn absorb(draft: &mut Draft, project: &Draft) {
    let own = std::mem::replace(draft, project.clone());
    draft.title = own.title;
    draft.place = own.place;
    draft.object = own.object;
    draft.product = own.product.or(draft.product.take());
    draft.is_node |= own.is_node;
    draft.guarded = own.guarded.or(draft.guarded.take());
    draft.variables.extend(own.variables);
    draft.settings.extend(own.settings);
    draft.files.extend(own.files);
    draft.whole_directories.extend(own.whole_directories);
    draft.command.extend(own.command);
    for (name, words) in own.flags {
        draft.flags.insert(name, words);
    }
}

fn finish(draft: Draft, set: &mut Set) -> Unit {
    let take = |name| draft.flags.get(name).cloned().unwrap_or_default();
    let line = interpret(
        FlagSources {
            a_flags: take(A_FLAGS),
            command_line: draft.command.clone(),
            flags: take(FLAGS),
            z_flags: take(Z_FLAGS),
        }
        .line_up(),
    );
    let mut unit = Unit {
        title: draft.title,
        place: draft.place,
        product: draft.product.unwrap_or(Product::Erlang),
        variables: draft.variables,
        settings: draft.settings,
        line,
        files: draft.files,
        whole_directories: draft.whole_directories,
        object: draft.object,
        guarded: draft.guarded,
    };
    let from_flags = flag_settings(&unit);
    unit.settings.extend(from_flags);
    if unit.guarded.is_none() {
        unit.guarded = guarded(&unit, set);
    }
    unit
}

/// Signs of a Skans agent: its variables, or its module for epmd.
fn guarded(unit: &Unit, _: &Set) -> Option<Place> {
    let variable = unit
        .variables
        .iter()
        .find(|variable| variable.name == "SKANS_COOKIES")
        .map(|variable| variable.place);
    let module = || {
        let flag = unit
            .line
            .flags("-epmd_module")
            .find(|flag| matches!(flag.value(), Some("erl_epmd" | "skans_epmd")))?;
        let path = unit
            .line
            .flags("-pa")
            .flat_map(|flag| &flag.values)
            .any(|value| value.text.contains("skans"));
        path.then(|| unit.flag_place(flag))
    };
    variable.or_else(module)
}

/// `-kernel inet_dist_listen_min 9100` and its like.
fn flag_settings(unit: &Unit) -> Vec<Setting> {
    let mut found = Vec::new();
    for app in ["kernel", "ssl", "sasl", "stdlib", "mnesia"] {
        for flag in unit.line.flags(&format!("-{app}")) {
            for pair in flag.values.chunks(2) {
                let [key, value] = pair else { continue };
                let parsed = term::parse(&value.text);
                let source = key.origin.unwrap_or(unit.place.source);
                let span = if value.origin == key.origin && value.span.start >= key.span.end {
                    key.span.to(value.span)
                } else {
                    key.span
                };
                found.push(Setting {
                    app: app.to_owned(),
                    key: key.text.clone(),
                    value: parsed.map_or(Value::Unknown, |term| Value::from(&term)),
                    place: Place { source, span },
                    origin: Origin::Flag,
                });
            }
        }
    }
    found
}

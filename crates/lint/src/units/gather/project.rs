//! Files that stand in directories, by project.

use std::collections::BTreeMap;

use super::Draft;
use super::content::add_document;
use crate::document::{Content, Script, Terms};
use crate::set::Set;
use crate::source::Place;

/// Files that stand in directories, by project.
pub(super) fn projects(set: &mut Set) -> Vec<Draft> {
    let embedded: Vec<usize> = set.embedded.iter().map(|file| file.document).collect();
    let roots: Vec<String> = set
        .documents
        .iter()
        .filter_map(|document| {
            let name = &set.sources.get(document.source).name;
            let marks = matches!(
                document.content,
                Content::Elixir(Script::Mix, _) | Content::Terms(Terms::Rebar, _)
            );
            marks.then(|| parent(name).to_owned())
        })
        .collect();
    let mut groups: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (number, document) in set.documents.iter().enumerate() {
        let source = set.sources.get(document.source);
        if source.is_embedded() || embedded.contains(&number) {
            continue;
        }
        if matches!(document.content, Content::Yaml(_) | Content::Other) {
            continue;
        }
        groups
            .entry(root(&source.name, &roots))
            .or_default()
            .push(number);
    }
    let mut drafts = Vec::new();
    for (root, numbers) in groups {
        let vm_args: Vec<usize> = numbers
            .iter()
            .copied()
            .filter(|number| is_vm_args(set, *number))
            .collect();
        if vm_args.len() < 2 {
            drafts.extend(project(set, &root, &numbers));
            continue;
        }
        // Several files of flags are several nodes; what has a directory of its own belongs to the one in it.
        let directories: Vec<String> = vm_args
            .iter()
            .map(|number| parent(&name_of(set, *number)).to_owned())
            .collect();
        for (own, directory) in vm_args.iter().zip(&directories) {
            let belongs: Vec<usize> = numbers
                .iter()
                .copied()
                .filter(|number| {
                    let name = name_of(set, *number);
                    let other = parent(&name);
                    number == own
                        || !vm_args.contains(number)
                            && (other == directory
                                || !directories.iter().any(|known| known == other))
                })
                .collect();
            let title = name_of(set, *own);
            drafts.extend(project(set, &title, &belongs));
        }
    }
    drafts
}

pub(super) fn name_of(set: &Set, number: usize) -> String {
    set.document(number)
        .map(|document| set.sources.get(document.source).name.clone())
        .unwrap_or_default()
}

pub(super) fn is_vm_args(set: &Set, number: usize) -> bool {
    let is = set
        .document(number)
        .is_some_and(|document| matches!(document.content, Content::VmArgs(_)));
    is && !name_of(set, number)
        .rsplit('/')
        .next()
        .is_some_and(|name| name.starts_with("remote."))
}

pub(super) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// The directory of the project that a file belongs to.
pub(super) fn root(path: &str, roots: &[String]) -> String {
    let mut directory = parent(path);
    let nearest = roots
        .iter()
        .filter(|root| {
            root.is_empty() || directory == *root || directory.starts_with(&format!("{root}/"))
        })
        .max_by_key(|root| root.len());
    if let Some(root) = nearest {
        return root.clone();
    }
    loop {
        let last = directory.rsplit('/').next().unwrap_or(directory);
        let usual = matches!(
            last,
            "rel" | "config" | "etc" | "releases" | "overlays" | "priv" | "conf" | "conf.d"
        );
        if !usual || directory.is_empty() {
            return directory.to_owned();
        }
        directory = parent(directory);
    }
}

pub(super) fn project(set: &mut Set, title: &str, numbers: &[usize]) -> Option<Draft> {
    let place = numbers
        .iter()
        .find(|number| is_vm_args(set, **number))
        .or_else(|| numbers.first())
        .and_then(|number| set.document(*number))
        .map(|document| Place {
            source: document.source,
            span: skans_erlconf::Span::new(0, 0),
        })?;
    let title = if title.is_empty() { "." } else { title };
    let mut draft = Draft::new(title.to_owned(), place);
    // Images first, so that scripts and files win over them.
    let mut order = numbers.to_vec();
    order.sort_by_key(|number| {
        !set.document(*number)
            .is_some_and(|document| matches!(document.content, Content::Dockerfile(_)))
    });
    for number in order {
        let path = name_of(set, number);
        add_document(set, &mut draft, number, path);
    }
    Some(draft)
}

//! How many nodes a forbid could touch, as far as its scope tells: conditions only narrow it.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use crate::compile::Scope;
use crate::engine::Engine;
use crate::problem::Problems;
use crate::source::Source;

/// The largest number of these nodes (SPIFFE IDs) that one of the forbids of a set touches: as senders or as receivers, whichever are fewer, since
/// who is not at both ends of a link loses nothing.
///
/// # Errors
/// [`Problems`] if the set does not compile.
pub fn reach(source: &Source, nodes: &BTreeSet<String>) -> Result<usize, Problems> {
    let engine = Engine::compile(source)?;
    let forbids = engine.policies.iter().filter(|policy| !policy.permits);
    let touched = forbids.map(|policy| {
        let matched = |scope| nodes.iter().filter(|id| matches(scope, id, source)).count();
        matched(&policy.principal).min(matched(&policy.resource))
    });
    Ok(touched.max().unwrap_or(0))
}

fn matches(scope: &Scope, node: &str, source: &Source) -> bool {
    let (Scope::Within(uid) | Scope::Is(uid)) = scope else {
        return true;
    };
    let id = uid.id().unescaped();
    match uid.type_name().basename() {
        "TrustDomain" | "Cluster" | "Namespace" | "Workload" | "Node" => is_within(node, id),
        // Names of groups that are built in are of functions and processes.
        "Group" => source.entities.groups.get(id).is_none_or(|group| {
            group.nodes.is_empty() || group.nodes.iter().any(|id| is_within(node, id))
        }),
        // What a node has: any of them may have it.
        _ => true,
    }
}

/// The host behind an ID is not known of a certificate's SPIFFE ID: it only narrows.
fn is_within(node: &str, id: &str) -> bool {
    let id = id.split_once('@').map_or(id, |(id, _)| id);
    node.strip_prefix(id)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

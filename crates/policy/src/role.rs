//! Ready-made roles: Cedar policies with two places left open, and the names they are about. Binding a role to nodes fills
//! the places in, in the syntax tree, so that no name can become syntax.

#[cfg(test)]
mod tests;

use cedar_policy::{Policy, PolicyId, PolicySet};
use serde_json::Value;

use crate::problem::Problem;
use crate::source::{Binding, Selector};

/// A ready-made role.
pub struct Role {
    /// Its name in `set.yaml`.
    pub name: &'static str,
    /// For whom it is.
    pub purpose: &'static str,
    /// Whether a binding gives the names of servers.
    pub servers: Servers,
    /// Its policies, in Cedar. `Skans::Group::"?principals"` and `Skans::Group::"?on"` stand for the nodes it is bound to,
    /// `Skans::Process::"?server"` for each name of `servers`.
    pub policies: &'static str,
    /// The names of its groups, in lines `group kind name`.
    names: &'static str,
}

/// Whether a binding of a role gives names of servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Servers {
    /// It must not.
    No,
    /// It may.
    Optional,
    /// It must.
    Required,
}

macro_rules! role {
    ($name:literal, $servers:ident, $purpose:literal) => {
        Role {
            name: $name,
            purpose: $purpose,
            servers: Servers::$servers,
            policies: include_str!(concat!("roles/", $name, ".cedar")),
            names: include_str!(concat!("roles/", $name, ".txt")),
        }
    };
}

/// All roles.
pub const ALL: &[Role] = &[
    role!("member", No, "a node of the same application"),
    role!("rabbitmq-peer", No, "a node of the same RabbitMQ cluster"),
    role!(
        "rabbitmq-streams",
        No,
        "beside rabbitmq-peer: streams; owns the node"
    ),
    role!("mnesia-peer", No, "beside another: shares tables in Mnesia"),
    role!(
        "pubsub-peer",
        Optional,
        "a node that shares topics over Phoenix.PubSub"
    ),
    role!(
        "global-member",
        Optional,
        "a node with names in global and groups in pg"
    ),
    role!("remsh-operator", No, "a person with a shell; owns the node"),
    role!("cli-tool", No, "rabbitmqctl, erl_call and their like"),
    role!("metrics-reader", No, "looks, changes nothing"),
    role!(
        "named-client",
        Required,
        "talks to the servers in `servers`, to nothing else"
    ),
];

/// The role of that name.
#[must_use]
pub fn get(name: &str) -> Option<&'static Role> {
    ALL.iter().find(|role| role.name == name)
}

/// The set that `control init` signs: every node of a cluster is a member of it, and the short-lived nodes of its hosts
/// administer it. `cluster` is an ID: `spiffe://<trust domain>/cluster/<c>`.
#[must_use]
pub fn same_cluster_members(cluster: &str) -> Vec<Binding> {
    let nodes = |cli| Selector {
        cluster: Some(cluster.to_owned()),
        cli,
        ..Selector::default()
    };
    let bind = |role: &str, cli| Binding {
        role: role.to_owned(),
        principals: vec![nodes(cli)],
        on: vec![nodes(None)],
        servers: Vec::new(),
    };
    // Whoever can start one of the short-lived nodes (rabbitmqctl, erl -remsh) is the user that the node runs as, who can
    // read its memory and its cookie: a shell gives them nothing that they have not. All of them share one identity.
    vec![
        bind("member", None),
        bind("cli-tool", Some(true)),
        bind("remsh-operator", Some(true)),
    ]
}

/// A group of a role: what its policies name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Group {
    pub(crate) processes: Vec<String>,
    pub(crate) functions: Vec<String>,
}

/// The built-in groups: `skans:<group>` of all roles, `skans:<role>/<group>` of one.
pub(crate) fn groups() -> impl Iterator<Item = (String, Group)> {
    let common = ("skans:".to_owned(), include_str!("roles/common.txt"));
    let roles = ALL
        .iter()
        .map(|role| (format!("skans:{}/", role.name), role.names));
    std::iter::once(common)
        .chain(roles)
        .flat_map(|(prefix, names)| {
            let mut groups = std::collections::BTreeMap::<String, Group>::new();
            for line in names.lines() {
                let mut words = line.split_whitespace();
                let (Some(group), Some(kind), Some(name)) =
                    (words.next(), words.next(), words.next())
                else {
                    continue;
                };
                if group.starts_with('#') {
                    continue;
                }
                let group = groups.entry(format!("{prefix}{group}")).or_default();
                match kind {
                    "process" => group.processes.push(name.to_owned()),
                    "function" => group.functions.push(name.to_owned()),
                    _ => {}
                }
            }
            groups
        })
}

/// Fills in where a role is bound. The policies are called `<role>/<policy>#<n of the binding>`, with a letter for each
/// further combination.
pub(crate) fn expand(binding: &Binding, n: usize) -> Result<Vec<Policy>, Problem> {
    let wrong = |found: String| Problem::new("set.yaml", format!("roles[{n}]: {found}"), "");
    let Some(role) = get(&binding.role) else {
        return Err(wrong(format!("role {:?}", binding.role)));
    };
    let set: PolicySet = role
        .policies
        .parse()
        .map_err(|error: cedar_policy::ParseErrors| wrong(error.to_string()))?;
    let mut out = Vec::new();
    let nobody = [String::new()];
    for policy in set.policies() {
        let id = policy.annotation("id").unwrap_or_default();
        let template = policy.to_json().map_err(|error| wrong(error.to_string()))?;
        let has_server = contains(&template, "?server");
        let servers = if has_server {
            &binding.servers[..]
        } else {
            &nobody[..]
        };
        for (p, principal) in binding.principals.iter().enumerate() {
            for (o, on) in binding.on.iter().enumerate() {
                for (s, server) in servers.iter().enumerate() {
                    let mut json = template.clone();
                    fill(&mut json, "?principals", principal).map_err(&wrong)?;
                    fill(&mut json, "?on", on).map_err(&wrong)?;
                    fill_server(&mut json, server);
                    // What goes back is asked by those that the role is bound at.
                    if template
                        .get("principal")
                        .is_some_and(|scope| contains(scope, "?on"))
                    {
                        narrow(&mut json, on, principal);
                    } else {
                        narrow(&mut json, principal, on);
                    }
                    let id = PolicyId::new(format!("{}/{id}#{n}.{p}.{o}.{s}", role.name));
                    out.push(
                        Policy::from_json(Some(id), json)
                            .map_err(|error| wrong(error.to_string()))?,
                    );
                }
            }
        }
    }
    Ok(out)
}

fn contains(json: &Value, id: &str) -> bool {
    match json {
        Value::Object(map) => {
            map.get("id").is_some_and(|found| found == id)
                || map.values().any(|value| contains(value, id))
        }
        Value::Array(list) => list.iter().any(|value| contains(value, id)),
        _ => false,
    }
}

fn fill(json: &mut Value, place: &str, selector: &Selector) -> Result<(), String> {
    let (kind, id) = selector
        .entity()
        .map_err(|(found, wanted)| format!("{found}; wanted {wanted}"))?;
    replace(json, place, kind, id);
    Ok(())
}

fn fill_server(json: &mut Value, server: &str) {
    replace(json, "?server", "Process", server);
}

/// Entities are `{"type": …, "id": …}` wherever they stand.
fn replace(json: &mut Value, place: &str, kind: &str, id: &str) {
    match json {
        Value::Object(map) => {
            if map.contains_key("type") && map.get("id").is_some_and(|found| found == place) {
                map.insert("type".into(), format!("Skans::{kind}").into());
                map.insert("id".into(), id.into());
                return;
            }
            map.values_mut()
                .for_each(|value| replace(value, place, kind, id));
        }
        Value::Array(list) => list
            .iter_mut()
            .for_each(|value| replace(value, place, kind, id)),
        _ => {}
    }
}

/// `cli: true` and `cli: false` are conditions more.
fn narrow(json: &mut Value, principal: &Selector, on: &Selector) {
    let cli_of = |node: Value| serde_json::json!({".": {"left": node, "attr": "cli"}});
    let resource = || serde_json::json!({"Var": "resource"});
    // What is asked of the node itself has it for its resource, the rest has a process or function in it.
    let receiver = serde_json::json!({"if-then-else": {
        "if": {"is": {"left": resource(), "entity_type": "Skans::Node"}},
        "then": cli_of(resource()),
        "else": cli_of(serde_json::json!({".": {"left": resource(), "attr": "node"}})),
    }});
    let sides = [
        (
            principal.cli,
            cli_of(serde_json::json!({"Var": "principal"})),
        ),
        (on.cli, receiver),
    ];
    for (cli, body) in sides {
        let (Some(cli), Some(conditions)) = (
            cli,
            json.get_mut("conditions").and_then(Value::as_array_mut),
        ) else {
            continue;
        };
        let kind = if cli { "when" } else { "unless" };
        conditions.push(serde_json::json!({"kind": kind, "body": body}));
    }
}

//! ejabberd: `ejabberdctl.cfg` and the variables of its image.

use crate::rule::{Context, Findings, Rule};
use crate::units::Product;

pub(in crate::rules) const RULES: &[Rule] = &[rule!(
    EJB001,
    "node-at-localhost",
    High,
    Beam,
    localhost,
    "Several replicas, and each is named `ejabberd@localhost`.",
    "No node can be joined to another: they all have the same name, and it leads to themselves. Mnesia keeps the name in its tables, so that it cannot be changed later without losing them.",
    "`ERLANG_NODE_ARG=ejabberd@$(POD_NAME).SERVICE.NAMESPACE.svc` before the first start."
)];

fn localhost(context: &Context<'_>, found: &mut Findings<'_>) {
    for unit in &context.set.units {
        if unit.product != Product::Ejabberd {
            continue;
        }
        let replicas = unit.replicas(context.set);
        let node = ["ERLANG_NODE_ARG", "ERLANG_NODE"]
            .into_iter()
            .find_map(|name| unit.variable(name));
        if let Some(node) = node.filter(|_| replicas > 1)
            && node
                .value
                .as_deref()
                .is_some_and(|name| name.ends_with("@localhost"))
        {
            found.add(node.place, format!("{replicas} nodes of one name"));
        }
    }
}

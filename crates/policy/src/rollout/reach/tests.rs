use super::*;
use crate::engine::tests::source;
use crate::source::Group;

const CLUSTER: &str = "spiffe://prod.example/cluster/shop";

fn nodes() -> BTreeSet<String> {
    let names = ["cart", "cart2", "stock", "web"];
    let ids = names.map(|name| format!("{CLUSTER}/ns/web/sa/{name}/node/{name}"));
    ids.into()
}

fn reached(principal: &str, resource: &str) -> usize {
    let text = format!("@id(\"x\") forbid (principal{principal}, action, resource{resource});");
    let mut source = source(&text);
    let cart = [format!("{CLUSTER}/ns/web/sa/cart")].into();
    source.entities.groups.insert(
        "carts".into(),
        Group {
            nodes: cart,
            ..Group::default()
        },
    );
    reach(&source, &nodes()).unwrap()
}

#[test]
fn a_forbid_touches_whom_its_narrower_side_names() {
    let workload = |name: &str| format!(" in Skans::Workload::\"{CLUSTER}/ns/web/sa/{name}\"");
    assert_eq!(reached("", ""), 4);
    assert_eq!(reached("", " == Skans::Function::\"os:cmd/1\""), 4);
    assert_eq!(reached(&workload("cart"), ""), 1, "and not cart2");
    assert_eq!(reached("", &workload("stock")), 1);
    assert_eq!(reached(&workload("gone"), ""), 0);
    assert_eq!(reached(" in Skans::Group::\"carts\"", ""), 1);
    let node = format!(" == Skans::Node::\"{CLUSTER}/ns/web/sa/web/node/web@host-a\"");
    assert_eq!(reached(&node, ""), 1);
}

use std::time::Duration;

use serde_json::{Value, json};
use skans_identity::head::Audience;
use skans_identity::id::TrustDomain;

use super::*;

const NOW: UnixTime = UnixTime::since_unix_epoch(Duration::from_secs(1000));

/// A link that has all that is wanted, with these values for others.
fn link(name: &str, over: &Value) -> Value {
    let mut link = json!({
        "name": name, "trustDomain": "theirs.test", "cluster": name, "notAfter": 2000,
        "bundle": {"url": "https://10.77.1.9:8444/v1/federation/bundle", "profile": "https_web"},
        "gateways": ["spiffe://theirs.test/skans/gateway/g1"],
        "forwards": [format!("spiffe://theirs.test/cluster/{name}/ns/default/sa/*/node/*")],
        "exports": [{"node": "stock@host-a", "process": "stock_server"}],
        "imports": [{"alias": format!("orders@{name}"), "node": "orders@host-b", "process": "order_server"}],
    });
    for (key, value) in over.as_object().unwrap() {
        link[key] = value.clone();
    }
    link
}

fn printed(links: &[Value], routes: Option<&Value>) -> String {
    let own = Audience {
        trust_domain: TrustDomain::parse("ours.test").unwrap(),
        cluster: "ours".into(),
    };
    let links = Links::parse(&own, &json!(links).to_string()).unwrap();
    let routes: Option<Routes> =
        routes.map(|routes| serde_json::from_value(routes.clone()).unwrap());
    render("3 (shop)", &links, routes.as_ref(), NOW)
}

/// The documents, by name; what is a comment is left out.
fn documents(text: &str) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for one in serde_saphyr::from_multiple::<Value>(text).unwrap() {
        assert_eq!(one["apiVersion"], "networking.k8s.io/v1");
        assert_eq!(one["kind"], "NetworkPolicy");
        let name = one["metadata"]["name"].as_str().unwrap().to_owned();
        assert!(all.insert(name, one["spec"].clone()).is_none(), "{text}");
    }
    all
}

/// Every `ipBlock` in it.
fn blocks(text: &str) -> Vec<String> {
    let permitted = text.lines().filter(|line| !line.starts_with('#'));
    permitted
        .filter_map(|line| Some(line.split_once("cidr: \"")?.1.split('"').next()?.to_owned()))
        .collect()
}

#[test]
fn what_a_link_of_addresses_needs() {
    let routes = json!({"theirs": ["10.77.1.5:4371", "[fd77::5]:14371"]});
    let text = printed(&[link("theirs", &json!({}))], Some(&routes));
    let found = documents(&text);
    let names: Vec<_> = found.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "skans-agent",
            "skans-control",
            "skans-control-theirs",
            "skans-gateway",
            "skans-gateway-theirs"
        ]
    );
    let labels = |component: &str| json!({"matchLabels": {"app.kubernetes.io/part-of": "skans", "app.kubernetes.io/component": component}});
    let agents = json!({
        "matchLabels": {"app.kubernetes.io/part-of": "skans"},
        "matchExpressions": [{"key": "app.kubernetes.io/component", "operator": "NotIn", "values": ["gateway", "control"]}],
    });
    let tcp = |port: u16| json!([{"protocol": "TCP", "port": port}]);
    let pods = |selector: &Value| json!([{"podSelector": selector}]);
    let dns = json!({
        "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}, "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}],
        "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}],
    });
    let (gateway, control) = (labels("gateway"), labels("control"));
    assert_eq!(
        found["skans-gateway"],
        json!({
            "podSelector": gateway, "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": pods(&agents), "ports": tcp(4371)}],
            "egress": [
                dns,
                {"to": pods(&control), "ports": tcp(8443)},
                {"to": pods(&agents), "ports": tcp(4370)},
            ],
        })
    );
    assert_eq!(
        found["skans-gateway-theirs"],
        json!({
            "podSelector": gateway, "policyTypes": ["Ingress", "Egress"],
            "ingress": [{
                "from": [{"ipBlock": {"cidr": "10.77.1.5/32"}}, {"ipBlock": {"cidr": "fd77::5/128"}}],
                "ports": tcp(4371),
            }],
            "egress": [
                {"to": [{"ipBlock": {"cidr": "10.77.1.5/32"}}], "ports": tcp(4371)},
                {"to": [{"ipBlock": {"cidr": "fd77::5/128"}}], "ports": tcp(14371)},
            ],
        })
    );
    assert_eq!(
        found["skans-control-theirs"],
        json!({
            "podSelector": control, "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [{"ipBlock": {"cidr": "10.77.1.9/32"}}], "ports": tcp(8443)}],
            "egress": [{"to": [{"ipBlock": {"cidr": "10.77.1.9/32"}}], "ports": tcp(8444)}],
        })
    );
    assert_eq!(
        found["skans-agent"],
        json!({
            "podSelector": agents, "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [{"podSelector": agents}, {"podSelector": gateway}], "ports": tcp(4370)}],
            "egress": [
                dns,
                {"to": pods(&agents), "ports": tcp(4370)},
                {"to": pods(&control), "ports": tcp(8443)},
                {"to": pods(&gateway), "ports": tcp(4371)},
            ],
        })
    );
    assert_eq!(
        found["skans-control"]["ingress"],
        json!([{"from": [{"podSelector": agents}, {"podSelector": gateway}], "ports": tcp(8443)}])
    );
}

#[test]
fn names_are_left_to_people_and_nothing_wider_stands_for_them() {
    let dns =
        json!({"bundle": {"url": "https://skans.theirs.test/bundle", "profile": "https_web"}});
    let routes =
        json!({"theirs": ["gw.theirs.test:4371", "10.77.1.5:4371", "x\napiVersion: v1:1"]});
    let text = printed(&[link("theirs", &dns)], Some(&routes));
    assert_eq!(blocks(&text), ["10.77.1.5/32", "10.77.1.5/32"]);
    for told in [
        "# gw.theirs.test:4371 (gateway.routes) is a name",
        "# skans.theirs.test:443 (bundle.url of link theirs) is a name",
        "# x\\napiVersion: v1:1 (gateway.routes)",
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }
    let found = documents(&text);
    let closed = &found["skans-control-theirs"];
    assert_eq!(
        (&closed["ingress"], &closed["egress"]),
        (&json!([]), &json!([]))
    );
    // Without a file, and without the link in it: none is known, none is let through.
    for (routes, why) in [
        (None, "--gateway FILE"),
        (Some(json!({})), "gateway.routes has no theirs"),
    ] {
        let text = printed(&[link("theirs", &dns)], routes.as_ref());
        assert!(text.contains(why), "{text}");
        let closed = &documents(&text)["skans-gateway-theirs"];
        assert_eq!(
            (&closed["ingress"], &closed["egress"]),
            (&json!([]), &json!([]))
        );
        assert!(blocks(&text).is_empty());
    }
}

#[test]
fn a_direction_that_no_link_uses_is_closed() {
    let routes = json!({"theirs": ["10.77.1.5:4371"]});
    let text = printed(&[link("theirs", &json!({"exports": []}))], Some(&routes));
    let found = documents(&text);
    assert_eq!(found["skans-gateway-theirs"]["ingress"], json!([]));
    assert_eq!(
        found["skans-gateway"]["egress"].as_array().unwrap().len(),
        2
    );
    let text = printed(&[link("theirs", &json!({"imports": []}))], Some(&routes));
    let found = documents(&text);
    assert_eq!(found["skans-gateway-theirs"]["egress"], json!([]));
    assert_eq!(found["skans-gateway"]["ingress"], json!([]));
    assert_eq!(found["skans-agent"]["egress"].as_array().unwrap().len(), 3);
    // Over since a second: nothing is left but what denies.
    let text = printed(&[link("theirs", &json!({"notAfter": 999}))], Some(&routes));
    assert!(text.contains("there is none in force"), "{text}");
    let found = documents(&text);
    assert_eq!(found["skans-gateway"]["ingress"], json!([]));
    assert_eq!(found.len(), 3);
    assert!(blocks(&text).is_empty());
}

#[test]
fn each_link_has_an_object_and_each_domain_one_control_plane() {
    let names = ["theirs", "Theirs", "the.irs", "the_irs", "theirs-"];
    let links: Vec<_> = names
        .iter()
        .map(|name| link(name, &json!({"imports": []})))
        .collect();
    let found = documents(&printed(&links, None));
    let gateways = found
        .keys()
        .filter(|name| name.starts_with("skans-gateway-"));
    assert_eq!(gateways.count(), names.len());
    let planes = found
        .keys()
        .filter(|name| name.starts_with("skans-control-"));
    assert_eq!(planes.count(), 1);
    for name in found.keys() {
        let fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        assert!(name.bytes().all(fine) && !name.ends_with('-'), "{name}");
    }
}

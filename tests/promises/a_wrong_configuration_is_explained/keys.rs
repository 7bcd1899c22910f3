//! What can be wrong with a key of the configuration.

use serde_json::{Value, json};

use super::host::{Host, assert_says, refused};

/// What is changed in a configuration that works.
type Change = fn(&Host, &mut Value);

#[tokio::test]
async fn every_key_says_what_was_found_and_what_was_wanted() {
    let cases: &[(&str, Change, &[&str])] = &[
        (
            "another format",
            |_, c| c["apiVersion"] = json!("skans.io/v2"),
            &["apiVersion", "skans.io/v2", "skans.io/v1alpha1"],
        ),
        (
            "an unknown key",
            |_, c| c["nodez"] = json!([]),
            &["agent.yaml", "nodez"],
        ),
        (
            "an unknown key further in",
            |_, c| c["links"]["lisen"] = json!("x"),
            &["agent.yaml", "lisen", "listen"],
        ),
        (
            "a key that is missing",
            |_, c| drop(c.as_object_mut().unwrap().remove("trustDomain")),
            &["agent.yaml", "trustDomain"],
        ),
        (
            "a list where a text should be",
            |_, c| c["cluster"] = json!([1]),
            &["agent.yaml", "line", "string"],
        ),
        (
            "no trust domain",
            |_, c| c["trustDomain"] = json!("Not A Domain"),
            &["trustDomain", "Not A Domain"],
        ),
        (
            "no node",
            |_, c| c["nodes"] = json!([]),
            &["nodes: found none", "at least one"],
        ),
        (
            "a name without a host",
            |_, c| c["nodes"][0]["name"] = json!("n1"),
            &["nodes[0].name", "n1"],
        ),
        (
            "a node twice",
            |_, c| {
                let node = c["nodes"][0].clone();
                c["nodes"].as_array_mut().unwrap().push(node);
            },
            &["nodes[1].name", "twice"],
        ),
        (
            "the name of the tools",
            |_, c| c["nodes"][0]["name"] = json!("cli@n1.lab"),
            &["nodes[0].name", "cli@n1.lab"],
        ),
        (
            "a user that is none",
            |_, c| c["nodes"][0]["user"] = json!("no-such-user"),
            &["nodes[0].user", "no-such-user", "/etc/passwd"],
        ),
        (
            "no address",
            |_, c| c["links"]["listen"] = json!("everywhere"),
            &["agent.yaml", "listen", "everywhere"],
        ),
        (
            "no duration",
            |_, c| c["links"]["handshakeTimeout"] = json!("5 parsecs"),
            &["agent.yaml", "5 parsecs", "500ms"],
        ),
        (
            "a duration without a unit",
            |_, c| c["drain"] = json!({"timeout": 20}),
            &["agent.yaml", "20"],
        ),
        (
            "a set-up longer than the node's",
            |_, c| c["links"]["setupTimeout"] = json!("9s"),
            &["links.setupTimeout", "9s", "6.9s"],
        ),
        (
            "too few that may wait",
            |_, c| c["links"]["maxPending"] = json!(1),
            &["links.maxPending", "found 1", "16"],
        ),
        (
            "an epmd that others reach",
            |_, c| c["epmd"]["addresses"] = json!(["0.0.0.0"]),
            &["epmd.addresses", "0.0.0.0", "loopback"],
        ),
        (
            "a peer without a port",
            |_, c| c["peers"] = json!({"static": [{"nodes": "*@b", "address": "b"}]}),
            &["peers.static[0].address", "\"b\"", "host:port"],
        ),
        (
            "a peer without a host",
            |_, c| c["peers"] = json!({"static": [{"nodes": "b", "address": "b:1"}]}),
            &["peers.static[0].nodes", "b"],
        ),
        (
            "a collector elsewhere in the clear",
            |_, c| c["traces"] = json!({"otlp": {"endpoint": "http://10.0.0.9:4318"}}),
            &["traces.otlp.endpoint", "http://10.0.0.9:4318", "https://"],
        ),
        (
            "a collector by a protocol that is not spoken",
            |_, c| c["traces"] = json!({"otlp": {"endpoint": "grpc://127.0.0.1:4317"}}),
            &["traces.otlp.endpoint", "grpc://127.0.0.1:4317", "https://"],
        ),
        (
            "roots of a collector that are not there",
            |_, c| {
                c["traces"] = json!({"otlp": {
                    "endpoint": "https://collector.lab:4318",
                    "roots": "/nowhere/roots.pem",
                }});
            },
            &["/nowhere/roots.pem", "cannot"],
        ),
        (
            "a refusal of nobody",
            |_, c| c["refuse"] = json!(["old"]),
            &["refuse[0]", "old"],
        ),
        (
            "a pattern that every name fits",
            |_, c| c["cli"] = json!({"enabled": true, "patterns": ["*"]}),
            &["cli.patterns[0]", "\"*\""],
        ),
        (
            "no level",
            |_, c| c["log"] = json!({"level": "=="}),
            &["log.level", "=="],
        ),
        (
            "no format",
            |_, c| c["log"] = json!({"format": "xml"}),
            &["agent.yaml", "xml", "json"],
        ),
        (
            "no source of identities",
            |_, c| c["identity"] = json!({}),
            &["agent.yaml", "identity"],
        ),
        (
            "a relative directory",
            |_, c| c["runtimeDirectory"] = json!("run"),
            &["runtimeDirectory", "\"run\"", "absolute"],
        ),
        (
            "a leaf that lives for ever",
            |h, c| {
                *c = h.with_authority();
                c["identity"]["authority"]["leafLifetime"] = json!("720h");
            },
            &["identity.authority.leafLifetime", "86400s"],
        ),
        (
            "certificate and authority",
            |h, c| {
                let node = c["nodes"].clone();
                *c = h.with_authority();
                c["nodes"] = node;
            },
            &["nodes[0].certificate", "wanted none"],
        ),
        (
            "neither",
            |_, c| drop(c["nodes"][0].as_object_mut().unwrap().remove("certificate")),
            &["nodes[0].certificate", "found none"],
        ),
    ];
    for (what, change, wanted) in cases {
        let host = Host::new();
        let mut config = host.config();
        change(&host, &mut config);
        let text = refused(what, host.agent(&format!("{config:#}"))).await;
        assert_says(what, &text, wanted);
    }
}

//! Plans without starting them.

use super::*;

#[test]
fn configurations_are_laid_over_each_other() {
    let mut base = json!({"links": {"listen": "127.0.0.1:0"}, "refuse": ["a@*"], "cluster": "lab"});
    merge(
        &mut base,
        &json!({"links": {"maxPending": 16}, "refuse": ["b@*"], "cli": {"enabled": false}}),
    );
    assert_eq!(
        base,
        json!({"links": {"listen": "127.0.0.1:0", "maxPending": 16}, "refuse": ["b@*"], "cluster": "lab", "cli": {"enabled": false}})
    );
}

#[test]
fn numbered_hosts_count_on() {
    let plan = Plan {
        skans: "skans".into(),
        erl: "erl".into(),
        hosts: Vec::new(),
        control: None,
        policy: None,
        progress: None,
    };
    let plan = plan.host(HostPlan::new("first")).nodes(2);
    let labels: Vec<_> = plan.hosts.iter().map(|host| host.label.as_str()).collect();
    assert_eq!(labels, ["first", "n2", "n3"]);
    assert_eq!(plan.hosts[2].nodes[0].name, "n3@n3.lab");
}

#[test]
fn a_host_can_do_without_a_key() {
    let host = HostPlan::new("n1").config(&json!({"events": null}));
    let mut config = json!({"events": {"window": "500ms"}, "cluster": "lab"});
    merge(&mut config, &host.config);
    assert_eq!(config, json!({"cluster": "lab"}));
}

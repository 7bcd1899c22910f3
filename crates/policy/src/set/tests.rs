use std::sync::Arc;

use crate::request::{Request, Resource, Subject};
use crate::{Action, Engine, Source, Verdict, Version};

fn node(cluster: &str, workload: &str) -> Subject {
    Subject {
        trust_domain: "lab.test".into(),
        cluster: cluster.into(),
        namespace: "default".into(),
        workload: workload.into(),
        node: workload.into(),
        host: "host-a".into(),
    }
}

fn connects(source: &Source, from: &Subject, to: &Subject) -> Verdict {
    let engine = Arc::new(Engine::compile(source).unwrap());
    let request = Request {
        action: Action::Connect,
        resource: Resource::Node,
        carries_function: false,
        via_pid: false,
        now: Some(5),
    };
    engine.pair(from, to, 5).decide(&request).verdict
}

#[test]
fn a_new_cluster_begins_with_its_own_nodes() {
    let source = Source::same_cluster_members("lab.test", "main");
    let (a, b, other) = (node("main", "a"), node("main", "b"), node("other", "a"));
    assert_eq!(connects(&source, &a, &b), Verdict::Permit);
    assert_eq!(connects(&source, &other, &b), Verdict::Deny);
    assert_eq!(connects(&source, &a, &other), Verdict::Deny);
    let again = Source::from_canonical(&source.to_canonical(), Version::default());
    assert_eq!(again.unwrap(), source);
}

#[test]
fn nothing_refuses_everything() {
    let source = Source::nothing(Version { epoch: 3, n: 4 });
    let (a, b) = (node("main", "a"), node("main", "b"));
    assert_eq!(connects(&source, &a, &b), Verdict::Deny);
    assert_eq!(
        Engine::compile(&source).unwrap().version(),
        Version { epoch: 3, n: 4 }
    );
}

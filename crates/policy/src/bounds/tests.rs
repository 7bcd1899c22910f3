use crate::action::Action;
use crate::decision::Verdict;
use crate::engine::Engine;
use crate::engine::tests::{source, subject};
use crate::pair::Pair;
use crate::request::{Request, Resource, Subject};
use crate::source::{ClusterLinks, Mode, Source};
use std::sync::Arc;

/// What a careless author writes.
const ALL: &str = r#"@id("all") permit (principal, action, resource);
@id("named") permit (principal, action, resource == Skans::Process::"rex");"#;

fn theirs(workload: &str, host: &str) -> Subject {
    Subject {
        trust_domain: "theirs.example".into(),
        cluster: "main".into(),
        ..subject(workload, host)
    }
}

fn linked(exports: &str, imports: &str) -> Source {
    let links = format!(
        r#"[{{"name": "theirs", "trustDomain": "theirs.example", "cluster": "main", "exports": [{exports}], "imports": [{imports}]}}]"#
    );
    Source {
        links: serde_json::from_str::<ClusterLinks>(&links).unwrap(),
        ..source(ALL)
    }
}

fn pair(source: &Source, from: &Subject, to: &Subject) -> Arc<Pair> {
    let engine = Engine::compile(source).unwrap_or_else(|problems| panic!("{problems}"));
    engine.pair(from, to, 0)
}

fn passes(pair: &Pair, action: Action, resource: Resource<'_>) -> bool {
    let request = Request {
        now: (action == Action::Connect).then_some(0),
        ..Request::new(action, resource)
    };
    pair.decide(&request).verdict == Verdict::Permit
}

const LOOKUP: Resource<'_> = Resource::Function {
    module: "orders",
    function: "lookup",
    arity: 2,
};
const OTHER: Resource<'_> = Resource::Function {
    module: "orders",
    function: "lookup",
    arity: 3,
};

#[test]
fn what_is_not_exported_is_refused_whatever_policies_permit() {
    let source = linked(
        r#"{"node": "orders@a", "process": "server"}, {"node": "orders@a", "function": "orders:lookup/2"}"#,
        "",
    );
    let (they, ours) = (theirs("orders", "a"), subject("orders", "a"));
    let reach = pair(&source, &they, &ours);
    for (action, resource, wanted) in [
        (Action::Connect, Resource::Node, true),
        (Action::Connect, Resource::Service("postgres"), false),
        (Action::Send, Resource::Process("server"), true),
        (Action::Monitor, Resource::Process("server"), true),
        (Action::Exit, Resource::Process("server"), false),
        (Action::Link, Resource::Process("server"), false),
        (Action::Inspect, Resource::Process("server"), false),
        (Action::Supervise, Resource::Process("server"), false),
        (Action::SystemMessage, Resource::Process("server"), false),
        (Action::RegisterGlobal, Resource::Process("server"), false),
        (Action::Send, Resource::Process("other"), false),
        (Action::Send, Resource::Process("rex"), false),
        (Action::Monitor, Resource::Process("other"), false),
        (Action::Call, LOOKUP, true),
        (Action::Call, OTHER, false),
        (Action::SendPid, Resource::Node, false),
        (Action::Link, Resource::Node, false),
        (Action::GroupLeader, Resource::Node, false),
    ] {
        assert_eq!(
            passes(&reach, action, resource),
            wanted,
            "{action} {resource:?}"
        );
    }
    // What was handed out may be answered: nothing forbids it, and nothing permits the rest.
    assert_eq!(
        (reach.reach().open, reach.reach().watch_open),
        ([true; 2], true)
    );
    // Another node of ours, and the other direction.
    let elsewhere = pair(&source, &they, &subject("orders", "b"));
    let back = pair(&source, &ours, &they);
    for pair in [elsewhere, back] {
        for (action, resource) in [
            (Action::Connect, Resource::Node),
            (Action::Send, Resource::Process("server")),
            (Action::Call, LOOKUP),
            (Action::SendPid, Resource::Node),
        ] {
            assert!(!passes(&pair, action, resource), "{action} {resource:?}");
        }
    }
    // Among ourselves nothing changes.
    let own = pair(&source, &subject("orders", "b"), &ours);
    assert!(passes(&own, Action::Send, Resource::Process("other")));
    assert!(passes(&own, Action::SendPid, Resource::Node));
}

#[test]
fn what_is_imported_is_named_in_their_words() {
    let source = linked(
        "",
        r#"{"alias": "orders@theirs", "node": "orders@a", "process": "server"}"#,
    );
    let there = pair(&source, &subject("web", "x"), &theirs("orders", "a"));
    assert!(passes(&there, Action::Connect, Resource::Node));
    assert!(passes(&there, Action::Send, Resource::Process("server")));
    assert!(!passes(&there, Action::Send, Resource::Process("other")));
    assert!(!passes(&there, Action::Call, LOOKUP));
    let back = pair(&source, &theirs("orders", "a"), &subject("web", "x"));
    assert!(!passes(&back, Action::Connect, Resource::Node));
    assert!(!passes(&back, Action::SendPid, Resource::Node));
}

#[test]
fn a_whole_node_is_what_policies_permit() {
    let source = linked(r#"{"node": "orders@a"}"#, "");
    let reach = pair(&source, &theirs("web", "x"), &subject("orders", "a"));
    for (action, resource) in [
        (Action::Connect, Resource::Node),
        (Action::Send, Resource::Process("other")),
        (Action::Call, OTHER),
        (Action::SendPid, Resource::Node),
    ] {
        assert!(passes(&reach, action, resource), "{action} {resource:?}");
    }
    assert!(!passes(
        &reach,
        Action::Connect,
        Resource::Service("postgres")
    ));
}

#[test]
fn a_dry_run_opens_nothing_to_others() {
    let mut source = linked(r#"{"node": "orders@a", "process": "server"}"#, "");
    source.mode = Mode::DryRun { until: 1000 };
    source.policies.clear();
    let verdict = |from: &Subject| {
        let pair = pair(&source, from, &subject("orders", "a"));
        pair.decide(&Request::new(Action::Send, Resource::Process("server")))
            .verdict
    };
    assert_eq!(verdict(&theirs("web", "x")), Verdict::Deny);
    assert_eq!(verdict(&subject("web", "x")), Verdict::WouldDeny);
}

#[test]
fn names_are_text_and_no_policy() {
    let source = linked(
        r#"{"node": "orders@a", "process": "a\" || true || \"\\"}, {"node": "örders@å", "process": "x\u0000\n'"}, {"node": 7}, "no map", {"node": "o@a", "function": "no arity"}"#,
        "",
    );
    let reach = pair(&source, &theirs("web", "x"), &subject("orders", "a"));
    assert!(passes(
        &reach,
        Action::Send,
        Resource::Process("a\" || true || \"\\")
    ));
    assert!(!passes(&reach, Action::Send, Resource::Process("other")));
}

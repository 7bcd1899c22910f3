use serde_json::{Value, json};

use super::*;

const ID: &str = "spiffe://prod.example/cluster/c/ns/n/sa";

fn event(verdict: &str, more: &Value) -> Value {
    let mut skans = json!({
        "action": "call", "verdict": verdict, "observedBy": "sender",
        "principal": format!("{ID}/a/node/a"), "target": format!("{ID}/b/node/b"),
        "resources": [{"type": "Function", "module": "m", "function": "f\\u{a}", "arity": 1, "count": 3}],
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        skans[key] = value.clone();
    }
    json!({
        "time": 5000, "start_time": 3000, "end_time": 5000,
        "src_endpoint": {"name": "a@x"}, "dst_endpoint": {"name": "b@y"},
        "unmapped": {"skans": skans},
    })
}

fn of(event: &Value) -> Option<Vec<Told>> {
    told(event.to_string().as_bytes(), Period::ALL)
}

fn strange(event: &Value) -> Why {
    match &of(event).unwrap()[..] {
        [Told::Strange { why, .. }] => *why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_event_says_who_asked_whom_for_what() {
    let all = of(&event("seen", &json!({"others": 7}))).unwrap();
    let [
        Told::Strange {
            why: Why::Untold,
            count: 7,
            ..
        },
        Told::Seen(seen),
    ] = &all[..]
    else {
        panic!("{all:?}");
    };
    assert_eq!(
        (seen.from.name(), seen.to.name()),
        ("a@x".into(), "b@y".into())
    );
    assert_eq!(seen.what, What::Function("m".into(), "f\n".into(), 1));
    assert_eq!(
        (seen.action, seen.said, seen.by),
        (Action::Call, Said::Passed, By::Sender)
    );
    assert_eq!((seen.count, seen.first, seen.last), (3, 3, 5));
}

#[test]
fn what_a_set_was_not_asked_about_is_strange() {
    let forbidden = json!({"resources": [{"type": "Node", "forbidden": true}]});
    let Some(Told::Seen(seen)) = of(&event("would_deny", &forbidden)).unwrap().pop() else {
        panic!();
    };
    assert_eq!(seen.said, Said::Forbidden);
    // What was refused was not seen to work, whatever refused it.
    for forbidden in [true, false] {
        let refused = json!({"resources": [{"type": "Node", "forbidden": forbidden}]});
        let Some(Told::Seen(seen)) = of(&event("deny", &refused)).unwrap().pop() else {
            panic!();
        };
        assert_eq!(seen.said, Said::Refused);
    }
    assert_eq!(
        strange(&event("would_deny", &json!({"action": "unknown"}))),
        Why::Unknown
    );
    let cut = json!({"resources": [{"type": "Process", "name": "abc\\+"}]});
    assert_eq!(strange(&event("seen", &cut)), Why::CutShort);
    // No agent lets a node in under a name that is not its own.
    let mut forged = event("seen", &json!({}));
    forged["src_endpoint"]["name"] = "other@x".into();
    assert_eq!(strange(&forged), Why::Spoofed);
    let elsewhere = json!({"principal": "spiffe://prod.example/skans/control/c"});
    assert_eq!(strange(&event("seen", &elsewhere)), Why::Spoofed);
    for nothing in [json!({}), json!([1]), event("permit", &json!({}))] {
        assert_eq!(of(&nothing), None);
    }
}

#[test]
fn what_is_outside_of_the_period_says_nothing() {
    let line = event("seen", &json!({})).to_string();
    for (since, until, count) in [(0, 9, 1), (5, 9, 1), (6, 9, 0), (0, 3, 0), (0, 4, 1)] {
        let told = told(line.as_bytes(), Period { since, until }).unwrap();
        assert_eq!(told.len(), count, "{since} {until}");
    }
}

#[test]
fn long_lines_and_other_lines_are_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("events.jsonl");
    let good = event("seen", &json!({})).to_string();
    let long = "x".repeat(usize::try_from(MAX_LINE).unwrap() * 3);
    let mut other = event("seen", &json!({}));
    other["metadata"] = json!({"uid": "0011-1"});
    std::fs::write(&file, format!("{good}\nnot an event\n{long}\n{other}")).unwrap();
    let again = directory.path().join("again.jsonl");
    // The same one as the log of a control plane has it; one that stands in both files; and one more.
    let mut logged = other.clone();
    logged["metadata"] = json!({"uid": "0011-1", "logged_time": 7});
    let mut third = other;
    third["metadata"] = json!({"uid": "0011-2"});
    std::fs::write(&again, format!("{logged}\n{good}\n{third}\n")).unwrap();
    let mut lines = Lines::of(&[file, again], Period::ALL);
    assert_eq!(lines.by_ref().count(), 3);
    assert_eq!(lines.finish().unwrap(), 2);
    let mut none = Lines::of(&[directory.path().join("none")], Period::ALL);
    assert_eq!(none.by_ref().count(), 0);
    assert!(none.finish().is_err());
}

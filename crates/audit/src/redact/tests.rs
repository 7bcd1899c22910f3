use proptest::prelude::*;
use serde_json::json;

use super::*;

const KEY: &[u8] = b"sixteen bytes at least";

fn policy(rules: Value) -> Policy {
    serde_json::from_value(json!({"apiVersion": API_VERSION, "redact": rules})).unwrap()
}

fn redacted(rules: Value, mut event: Value) -> Value {
    Redaction::new(policy(rules), Some(KEY))
        .unwrap()
        .apply(&mut event);
    event
}

#[test]
fn what_is_named_goes_and_the_rest_stays() {
    let event = json!({
        "actor": {"user": {"name": "ann", "type": "person"}},
        "resources": [{"name": "a", "n": 1}, {"name": "b", "n": 2}],
        "metadata": {"event_code": "role.granted"},
    });
    let found = redacted(
        json!([{"field": "/actor/user/name", "by": "erase"}, {"field": "/resources/*/name", "by": "erase"}]),
        event,
    );
    assert_eq!(
        found,
        json!({
            "actor": {"user": {"type": "person"}},
            "resources": [{"n": 1}, {"n": 2}],
            "metadata": {"event_code": "role.granted", "redacted": ["/actor/user/name", "/resources/*/name"]},
        })
    );
}

#[test]
fn the_same_value_becomes_the_same_token_under_one_key() {
    let rules = || json!([{"field": "/a", "by": "hash"}, {"field": "/b/*", "by": "hash"}]);
    let found = redacted(rules(), json!({"a": "ann", "b": ["ann", "ben", 7]}));
    assert_eq!(found["a"], found["b"][0]);
    assert_ne!(found["b"][0], found["b"][1]);
    assert!(found["a"].as_str().unwrap().starts_with("hmac:"));
    let mut other = json!({"a": "ann"});
    let rules = Redaction::new(policy(rules()), Some(b"another key of sixteen")).unwrap();
    rules.apply(&mut other);
    assert_ne!(found["a"], other["a"]);
}

#[test]
fn a_rule_is_for_the_kinds_that_it_names() {
    let rules = json!([{"field": "/a", "by": "erase", "kinds": ["x"]}]);
    let event = |kind: &str| json!({"a": 1, "metadata": {"event_code": kind}});
    assert_eq!(redacted(rules.clone(), event("y")), event("y"));
    assert!(redacted(rules, event("x")).get("a").is_none());
}

#[test]
fn rules_that_make_no_sense_are_refused() {
    for field in ["", "a", "/", "/a//b", "a/b"] {
        let rules = policy(json!([{"field": field, "by": "erase"}]));
        assert!(Redaction::new(rules, None).is_err(), "{field:?}");
    }
    let deep = "/a".repeat(MAX_PARTS + 1);
    let many = vec![json!({"field": "/a", "by": "erase"}); MAX_RULES + 1];
    for (rules, key) in [
        (json!([{"field": deep, "by": "erase"}]), None),
        (json!([{"field": "/a", "by": "hash"}]), None),
        (json!([{"field": "/a", "by": "hash"}]), Some(&b"short"[..])),
        (json!(many), None),
    ] {
        assert!(Redaction::new(policy(rules), key).is_err());
    }
    let other = Policy {
        api_version: "skans.io/v9".to_owned(),
        redact: Vec::new(),
    };
    assert!(Redaction::new(other, None).is_err());
    assert!(
        serde_json::from_value::<Policy>(
            json!({"apiVersion": API_VERSION, "redact": [{"field": "/a", "by": "burn"}]})
        )
        .is_err()
    );
}

proptest! {
    /// Whatever the event is: the text of the field is nowhere in its copy.
    #[test]
    fn nothing_is_left_of_a_field(secret in "[a-z]{12}", depth in 1..6usize, by in prop::bool::ANY) {
        let mut event = json!({"secret": format!("<{secret}>")});
        for _ in 1..depth {
            event = json!({"in": [event], "n": 1});
        }
        let field = "/in/*".repeat(depth - 1) + "/secret";
        let by = if by { "erase" } else { "hash" };
        let text = redacted(json!([{"field": field, "by": by}]), event).to_string();
        prop_assert!(!text.contains(&secret), "{text}");
    }
}

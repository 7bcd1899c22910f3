//! What goes into the log of what an agent says, and what it cannot say.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const SOURCE: Source<'static> = Source {
    reporter: "spiffe://lab.test/skans/agent/a",
    spool: &[0xab; 16],
    number: 7,
    time_ms: 1_790_000_000_000,
};

fn body(told: &Told) -> Value {
    serde_json::from_str(&told.body).unwrap()
}

#[test]
fn who_said_it_is_ours_to_say() {
    let lie = json!({
        "time": 5,
        "class_uid": 6003,
        "activity_id": 99,
        "action_id": 2,
        "message": "kept",
        "dst_endpoint": {"uid": "spiffe://lab.test/b", "name": "b@there"},
        "metadata": {
            "version": "1.3.0",
            "event_code": "policy.activated",
            "reporter": {"uid": "spiffe://lab.test/skans/control/c"},
            "logged_time": 1,
            "sequence": 1,
            "uid": "another",
        },
    });
    let told = read(lie.to_string().as_bytes(), SOURCE);
    assert_eq!(told.kind, "agent.denied");
    assert_eq!(told.object, "spiffe://lab.test/b");
    let body = body(&told);
    let metadata = &body["metadata"];
    assert_eq!(metadata["event_code"], "agent.denied");
    assert_eq!(metadata["reporter"]["uid"], SOURCE.reporter);
    assert_eq!(metadata["logged_time"], SOURCE.time_ms);
    assert_eq!(metadata["sequence"], 7);
    assert_eq!(metadata["uid"], format!("{}-7", "ab".repeat(16)));
    assert_eq!(metadata["version"], "1.3.0");
    assert_eq!(
        (&body["time"], &body["message"]),
        (&json!(5), &json!("kept"))
    );
}

#[test]
fn what_cannot_be_read_is_an_event_that_says_so() {
    let long = format!("{{\"x\":\"{}\"}}", "x".repeat(MAX_TOLD));
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let deep = format!("{{\"x\":{deep}}}");
    for bytes in ["", "7", "[]", "{", "{\"a\":1}x", "\"{}\"", &long, &deep] {
        let told = read(bytes.as_bytes(), SOURCE);
        assert_eq!(told.kind, "agent.unreadable", "{bytes:.20}");
        assert_eq!(body(&told)["unmapped"]["skans"]["bytes"], bytes.len());
        assert_eq!(body(&told)["metadata"]["sequence"], 7);
    }
}

#[test]
fn words_come_from_numbers() {
    for (class, activity, action, word) in [
        (4001, 1, 1, "agent.connection.opened"),
        (4001, 2, 1, "agent.connection.closed"),
        (4001, 4, 1, "agent.connection.failed"),
        (4001, 5, 2, "agent.denied"),
        (4001, 5, 1, "agent.would_deny"),
        (6003, 99, 1, "agent.would_deny"),
        (6002, 8, 0, "agent.policy.refused"),
        (6002, 99, 0, "agent.events.lost"),
        (7001, 1, 0, "agent.revocation.in_force"),
        (1, 1, 1, "agent.other"),
    ] {
        let event = json!({"class_uid": class, "activity_id": activity, "action_id": action});
        assert_eq!(read(event.to_string().as_bytes(), SOURCE).kind, word);
    }
    let odd = json!({"class_uid": "4001", "activity_id": -1, "metadata": "x", "dst_endpoint": {"uid": "a\0b"}});
    let told = read(odd.to_string().as_bytes(), SOURCE);
    assert_eq!((told.kind, told.object.as_str()), ("agent.other", ""));
}

proptest! {
    /// Whatever an agent sends is one JSON object of bounded size, with our words in it.
    #[test]
    fn whatever_is_told_fits(bytes in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        "\\{\"(metadata|class_uid|x)\":(7|\"[^\"\\\\]{0,40}\"|\\{\\}|\\[\\])\\}".prop_map(String::into_bytes),
        prop::collection::vec(Just(b'\x01'), 40_000..60_000).prop_map(|control| {
            json!({"x": String::from_utf8(control).unwrap()}).to_string().into_bytes()
        }),
    ]) {
        let told = read(&bytes, SOURCE);
        prop_assert!(told.body.len() <= MAX_EVENT);
        prop_assert!(!told.body.contains('\0'));
        prop_assert_eq!(&body(&told)["metadata"]["reporter"]["uid"], SOURCE.reporter);
    }
}

//! What is told, how much of it, and that nobody can forge it.

use std::path::Path;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::registry::Direction;

fn party(node: &str) -> Party {
    Party {
        id: format!("spiffe://test/cluster/c/ns/n/sa/w/node/{node}").into(),
        node: node.into(),
    }
}

fn denial<'a>(action: &'static str, resource: Subject<'a>) -> Denial<'a> {
    Denial {
        direction: Direction::Inbound,
        action,
        reason: "policy",
        dry_run: false,
        resource,
        carries_function: false,
        via_pid: false,
        version: (1, 7),
        session: [0xab; 16],
    }
}

fn events(directory: &Path) -> (Events, PathBuf) {
    let file = directory.join("events.jsonl");
    let config = EventsConfig {
        file: Some(file.clone()),
        window: Duration::from_secs(3600),
        ..EventsConfig::default()
    };
    (Events::open(&config, None).unwrap(), file)
}

/// What stands in the file once all is told, line by line, checked to be one plain object each.
fn told(events: &Events, file: &Path) -> Vec<Value> {
    events.finish(Duration::from_secs(20));
    let text = std::fs::read(file).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines()
        .map(|line| {
            assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            serde_json::from_str(line).unwrap()
        })
        .collect()
}

const fn which(link: u64) -> Connection<'static> {
    Connection {
        link,
        service: None,
        session: [0xab; 16],
    }
}

#[test]
fn denials_of_one_kind_are_one_event_with_a_count() {
    let directory = tempfile::tempdir().unwrap();
    let (events, file) = events(directory.path());
    let share = events.share(&party("b@there"), &party("a@here"));
    for _ in 0..40_000 {
        share.denied(&denial("call", Subject::Function("os", "cmd", 1)));
    }
    share.denied(&denial("call", Subject::Function("file", "read_file", 1)));
    share.denied(&denial("send", Subject::Process("rex")));
    let all = told(&events, &file);
    assert_eq!(all.len(), 2, "{all:#?}");
    let [call, send] = &all[..] else { panic!() };
    assert_eq!(call["count"], 40_001);
    assert_eq!(call["class_uid"], 6003);
    assert_eq!(call["type_uid"], 600_399);
    assert_eq!(call["action"], "Denied");
    let skans = &call["unmapped"]["skans"];
    assert_eq!(skans["action"], "call");
    assert_eq!(skans["resources"][0]["module"], "os");
    assert_eq!(skans["resources"][0]["count"], 40_000);
    assert_eq!(skans["principal"], &*party("a@here").id);
    assert_eq!(skans["target"], &*party("b@there").id);
    assert_eq!(skans["policyVersion"]["n"], 7);
    assert_eq!(send["resources"][0]["name"], "rex");
}

#[test]
fn a_window_that_is_not_over_tells_nothing_and_one_that_is_tells_once() {
    let directory = tempfile::tempdir().unwrap();
    let (events, file) = events(directory.path());
    let share = events.share(&party("b@there"), &party("a@here"));
    share.denied(&denial("link", Subject::Node));
    events.tell(false);
    assert_eq!(std::fs::read(&file).unwrap(), b"");
    assert_eq!(told(&events, &file).len(), 1);
    assert_eq!(told(&events, &file).len(), 1);
    // Whoever is gone leaves nothing behind.
    drop(share);
    events.tell(false);
    assert!(events.shares().is_empty());
}

#[test]
fn a_peer_that_floods_spends_its_own_share() {
    let directory = tempfile::tempdir().unwrap();
    let (events, file) = events(directory.path());
    let loud = events.share(&party("b@there"), &party("loud@here"));
    let quiet = events.share(&party("b@there"), &party("quiet@here"));
    for number in 0..100_000u32 {
        let name = format!("invented_{number}");
        loud.denied(&denial("send", Subject::Process(&name)));
        loud.denied(&Denial {
            version: (1, number.into()),
            ..denial("call", Subject::Function(&name, &name, number))
        });
        loud.opened(which(number.into()), Direction::Inbound, (1, 1));
    }
    quiet.denied(&denial("send", Subject::Process("rex")));
    let all = told(&events, &file);
    let of = |node: &str| -> Vec<&Value> {
        all.iter()
            .filter(|event| event["src_endpoint"]["name"] == node)
            .collect()
    };
    assert!(of("loud@here").len() <= 64, "{}", of("loud@here").len());
    assert_eq!(of("quiet@here").len(), 1);
    let count = |event: &&Value| event["count"].as_u64().unwrap_or(1);
    let total: u64 = of("loud@here").iter().map(count).sum();
    assert_eq!(total, 300_000, "what is not shown is counted");
    assert_eq!(events.counts().1, 0);
}

#[test]
fn connections_are_told_as_they_open_and_close() {
    let directory = tempfile::tempdir().unwrap();
    let (events, file) = events(directory.path());
    let share = events.share(&party("b@there"), &party("a@here"));
    share.opened(which(9), Direction::Inbound, (1, 2));
    share.closed(which(9), Direction::Inbound, "node_left", (10, 20), (1, 2));
    let all = told(&events, &file);
    assert_eq!(all[0]["activity_name"], "Open");
    assert_eq!(all[0]["connection_info"]["uid"], "9");
    for event in &all[..2] {
        assert_eq!(event["metadata"]["correlation_uid"], "ab".repeat(16));
    }
    assert_eq!(all[0]["src_endpoint"]["name"], "a@here");
    assert_eq!(all[1]["activity_name"], "Close");
    assert_eq!(all[1]["status_detail"], "node_left");
    assert_eq!(all[1]["traffic"]["bytes_out"], 20);
    assert_eq!(all[1]["policy"]["version"], "1.2");
}

#[test]
fn a_denial_names_its_link_and_one_of_several_links_all_that_there_is_room_for() {
    let directory = tempfile::tempdir().unwrap();
    let (events, file) = events(directory.path());
    let on = |share: &Share, session: u8| {
        share.denied(&Denial {
            session: [session; 16],
            ..denial("send", Subject::Process("rex"))
        });
    };
    let told_of = |events: &Events| told(events, &file).pop().unwrap();
    let share = events.share(&party("b@there"), &party("a@here"));
    for _ in 0..3 {
        on(&share, 0xab);
    }
    let event = told_of(&events);
    assert_eq!(event["count"], 3);
    assert_eq!(event["metadata"]["correlation_uid"], "ab".repeat(16));
    assert!(event["unmapped"]["skans"]["sessions"].is_null());
    // Before a link has a number there is nothing to name.
    on(&share, 0);
    assert!(told_of(&events)["metadata"]["correlation_uid"].is_null());
    for session in 1..=20 {
        on(&share, session);
    }
    let event = told_of(&events);
    assert_eq!(event["count"], 20);
    assert!(event["metadata"]["correlation_uid"].is_null());
    let shown = &event["unmapped"]["skans"];
    assert_eq!(shown["sessions"].as_array().unwrap().len(), 8);
    assert_eq!(shown["moreSessions"], true);
}

#[test]
fn a_file_is_for_its_owner_and_can_be_rotated() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let (events, file) = events(directory.path());
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let rotated = directory.path().join("events.1");
    std::fs::rename(&file, &rotated).unwrap();
    let config = EventsConfig {
        file: Some(file.clone()),
        ..EventsConfig::default()
    };
    events.reopen(&config).unwrap();
    let share = events.share(&party("b@there"), &party("a@here"));
    share.opened(which(1), Direction::Outbound, (0, 0));
    assert_eq!(told(&events, &file).len(), 1);
    assert_eq!(std::fs::read(&rotated).unwrap(), b"");
    let elsewhere = directory.path().join("link");
    std::os::unix::fs::symlink(&file, &elsewhere).unwrap();
    assert!(
        Spool::open(Some(&elsewhere), None).is_err(),
        "a link is followed"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Newlines, colours, directions of reading, ten kilobytes: `told` checks every line.
    #[test]
    fn no_name_forges_an_event(
        names in prop::collection::vec(
            prop_oneof![
                any::<String>(),
                "(\n|\u{1b}\\[[0-9;]*m|\u{202e}|\u{200f}|\"|\\\\|\\}){0,40}",
                "x{10000}",
            ],
            1..12,
        ),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let (events, file) = events(directory.path());
        let hostile = Party { id: names[0].as_str().into(), node: names[0].as_str().into() };
        let share = events.share(&party("b@there"), &hostile);
        for name in &names {
            share.denied(&denial("send", Subject::Process(name)));
            share.denied(&denial("call", Subject::Function(name, name, 3)));
        }
        share.opened(which(1), Direction::Inbound, (1, 1));
        let all = told(&events, &file);
        prop_assert_eq!(all.len(), 3);
        let length = std::fs::metadata(&file).unwrap().len();
        prop_assert!(length < 64 * 1024, "{} bytes", length);
    }
}

#[test]
fn refused_policy_sets_are_one_event_for_each_reason() {
    let directory = tempfile::tempdir().unwrap();
    let (events, file) = events(directory.path());
    for n in 0..5000 {
        let problem = format!("number {n}\n\u{1b}[31m{}", "x".repeat(100_000));
        events.refused_set(&Error::policy(problem, "policy_rolled_back"), (1, 7));
    }
    events.refused_set(&Error::policy("nonsense", "encoding"), (1, 7));
    let all = told(&events, &file);
    assert_eq!(all.len(), 2);
    assert_eq!(
        (&all[1]["status_detail"], &all[1]["count"]),
        (&"policy_rolled_back".into(), &5000.into())
    );
    assert_eq!(all[1]["policy"]["version"], "1.7");
    assert!(std::fs::metadata(&file).unwrap().len() < 4096);
}

#[test]
fn very_much_that_was_refused_of_one_peer_is_noticed_and_what_passed_or_is_ours_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let (mut events, _) = events(directory.path());
    let send = |events: &Events, peer: &str, count, denial: &Denial<'_>| {
        let share = events.share(&party("b@there"), &party(peer));
        (0..count).for_each(|_| share.denied(denial));
    };
    let refused = denial("call", Subject::Function("os", "cmd", 1));
    let bursts = |events: &Events| {
        let bursts = events.tell(true).into_iter();
        let of = bursts.map(|burst| (burst.peer.node.to_string(), burst.count));
        of.collect::<Vec<_>>()
    };
    for (seconds, limit) in [(1, 100), (10, 100), (60, 600)] {
        events.window = Duration::from_secs(seconds);
        send(&events, "a@here", limit, &refused);
        send(&events, "c@here", limit + 1, &refused);
        assert_eq!(bursts(&events), [("c@here".to_owned(), limit + 1)]);
    }
    for other in [
        Denial {
            dry_run: true,
            ..refused
        },
        Denial {
            direction: Direction::Outbound,
            ..refused
        },
        Denial {
            action: FAILED,
            ..refused
        },
    ] {
        send(&events, "a@here", 1000, &other);
        assert_eq!(bursts(&events), [], "{other:?}");
    }
}

/// Where an agent of a control plane keeps them.
fn kept(directory: &Path) -> (Events, PathBuf) {
    let file = directory.join("events.jsonl");
    let config = EventsConfig {
        file: Some(file.clone()),
        window: Duration::from_secs(3600),
        spool: 1024 * 1024,
        required: false,
        ..EventsConfig::default()
    };
    let events = Events::open(&config, Some(&directory.join("events"))).unwrap();
    (events, file)
}

#[test]
fn what_the_file_gets_is_kept_under_the_number_that_stands_there() {
    let directory = tempfile::tempdir().unwrap();
    let (events, file) = kept(directory.path());
    let share = events.share(&party("b@there"), &party("a@here"));
    share.opened(which(1), Direction::Inbound, (1, 1));
    share.denied(&denial("send", Subject::Process("rex")));
    events.revoked(2, 1, (1, 9));
    let all = told(&events, &file);
    assert_eq!(all.len(), 3);
    let kept = events.kept().unwrap();
    let batch = kept.read(1, 10, 100_000).unwrap();
    let bodies: Vec<Value> = batch
        .bodies
        .iter()
        .map(|body| serde_json::from_slice(body).unwrap())
        .collect();
    assert_eq!(bodies, all);
    let spool: String = kept
        .id()
        .unwrap()
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    for (event, number) in all.iter().zip(1..) {
        assert_eq!(event["metadata"]["uid"], format!("{spool}-{number}"));
        assert_eq!(event["metadata"]["sequence"], number);
    }
    assert_eq!(all[2]["class_uid"], 7001);
    assert_eq!(all[2]["unmapped"]["skans"]["denySequence"], 9);
    assert_eq!(kept.standing().waiting, 3);
    kept.taken(3).unwrap();
    let standing = kept.standing();
    assert_eq!(
        (standing.waiting, standing.taken, standing.oldest),
        (0, 3, 0)
    );
}

#[test]
fn a_peer_that_floods_loses_its_own_events_and_each_that_is_lost_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let (events, file) = kept(directory.path());
    let loud = events.share(&party("b@there"), &party("loud@here"));
    for number in 0..2000 {
        loud.denied(&denial("send", Subject::Process("rex")));
        loud.opened(which(number), Direction::Inbound, (1, 1));
        loud.tell(Duration::ZERO);
    }
    let quiet = events.share(&party("b@there"), &party("quiet@here"));
    quiet.denied(&denial("send", Subject::Process("rex")));
    let all = told(&events, &file);
    let without = |event: &&Value| event["metadata"]["uid"].is_null();
    let lost = all.iter().filter(without).count() as u64;
    assert!(lost > 100, "{lost}");
    let told = |event: &&Value| event["activity_name"] == "Events lost";
    let times = all.iter().filter(told).count();
    assert!(times < 10, "lost events are told of together: {times}");
    let quiet = all
        .iter()
        .find(|event| event["src_endpoint"]["name"] == "quiet@here");
    assert!(!without(&quiet.unwrap()), "a flood is nobody else's loss");
    let said = all
        .iter()
        .filter(|event| event["activity_name"] == "Events lost");
    let said: u64 = said.map(|event| event["count"].as_u64().unwrap()).sum();
    assert_eq!(said, lost);
    assert_eq!(events.kept().unwrap().standing().lost, lost);
    assert!(!events.kept().unwrap().is_blocked());
}

#[test]
fn a_directory_that_cannot_be_written_stops_nothing_and_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("events"), "in the way").unwrap();
    let (events, file) = kept(directory.path());
    let share = events.share(&party("b@there"), &party("a@here"));
    share.opened(which(1), Direction::Inbound, (1, 1));
    assert_eq!(told(&events, &file).len(), 1);
    let standing = events.kept().unwrap().standing();
    assert_eq!((standing.blocked, standing.lost), (true, 1));
}

fn seen<'a>(action: &'static str, resource: Subject<'a>) -> Observation<'a> {
    Observation {
        direction: Direction::Inbound,
        action,
        would_deny: false,
        forbidden: false,
        resource,
        carries_function: false,
        via_pid: false,
        version: (1, 7),
    }
}

#[test]
fn what_is_seen_is_told_once_and_the_rest_of_it_as_a_count() {
    let directory = tempfile::tempdir().unwrap();
    let (events, file) = events(directory.path());
    let share = events.share(&party("b@there"), &party("a@here"));
    for _ in 0..3 {
        share
            .observed()
            .note(&seen("call", Subject::Function("m", "f", 1)));
    }
    events.tell(false);
    for _ in 0..5 {
        share
            .observed()
            .note(&seen("call", Subject::Function("m", "f", 1)));
        events.tell(false);
    }
    share.observed().note(&Observation {
        would_deny: true,
        forbidden: true,
        direction: Direction::Outbound,
        ..seen("send", Subject::Process("evil\nname"))
    });
    let all = told(&events, &file);
    assert_eq!(all.len(), 3, "{all:#?}");
    let counts: Vec<_> = all
        .iter()
        .map(|event| event["count"].as_u64().unwrap())
        .collect();
    assert_eq!(counts.iter().sum::<u64>(), 3 + 5 + 1, "{all:#?}");
    let skans = &all[0]["unmapped"]["skans"];
    assert_eq!(
        (&skans["verdict"], &skans["observedBy"]),
        (&"seen".into(), &"receiver".into())
    );
    assert_eq!(skans["resources"][0]["count"], 3);
    assert_eq!(skans["principal"], &*party("a@here").id);
    let denied = all
        .iter()
        .find(|event| event["unmapped"]["skans"]["verdict"] == "would_deny");
    let skans = &denied.unwrap()["unmapped"]["skans"];
    assert_eq!(
        (&skans["observedBy"], &skans["resources"][0]["forbidden"]),
        (&"sender".into(), &true.into())
    );
    assert_eq!(skans["principal"], &*party("b@there").id);
}

#[test]
fn who_invents_names_is_told_of_up_to_a_bound_and_counted_beyond() {
    let directory = tempfile::tempdir().unwrap();
    let (events, file) = events(directory.path());
    let loud = events.share(&party("b@there"), &party("loud@here"));
    let quiet = events.share(&party("b@there"), &party("quiet@here"));
    let long = "x".repeat(2000);
    for number in 0..20_000 {
        let name = format!("invented_{number}");
        loud.observed().note(&seen("send", Subject::Process(&name)));
        loud.observed().note(&seen("send", Subject::Process(&long)));
    }
    quiet
        .observed()
        .note(&seen("send", Subject::Process("shop")));
    let all = told(&events, &file);
    let of = |node: &str| -> Vec<&Value> {
        let from = all
            .iter()
            .filter(|event| event["src_endpoint"]["name"] == node);
        from.collect()
    };
    let (mut shown, mut others) = (0, 0);
    for event in of("loud@here") {
        let skans = &event["unmapped"]["skans"];
        shown += skans["resources"].as_array().unwrap().len();
        others += skans["others"].as_u64().unwrap();
    }
    assert_eq!((shown, others), (1024, 40_000 - 1024));
    assert_eq!(of("quiet@here").len(), 1);
    // A new link is no new room.
    drop(loud);
    events.tell(false);
    events
        .share(&party("b@there"), &party("loud@here"))
        .observed()
        .note(&seen("send", Subject::Process("more")));
    assert_eq!(told(&events, &file).len(), all.len() + 1);
}

#[test]
fn short_lived_nodes_of_a_host_share_their_room() {
    let directory = tempfile::tempdir().unwrap();
    let (events, file) = events(directory.path());
    for number in 0..10 {
        let tool = Party {
            id: "spiffe://test/cluster/c/ns/n/sa/w/node/cli".into(),
            node: format!("rabbitmqcli-{number}@here").into(),
        };
        let share = events.share(&party("b@there"), &tool);
        share
            .observed()
            .note(&seen("call", Subject::Function("m", "f", 1)));
    }
    let all = told(&events, &file);
    assert_eq!(all.len(), 1, "{all:#?}");
    assert_eq!(
        (&all[0]["count"], &all[0]["src_endpoint"]["name"]),
        (&10.into(), &"cli@here".into())
    );
}

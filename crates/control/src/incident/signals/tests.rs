use super::*;

const NODE: &str = "spiffe://lab.test/cluster/main/ns/default/sa/a/node/a";

fn found(cause: Cause, id: &str, reporter: &str) -> Found {
    Found {
        cause,
        spiffe_id: id.to_owned(),
        host: "host-a".to_owned(),
        spki: Some([1; 32]),
        reporters: vec![reporter.to_owned()],
        text: "found".to_owned(),
    }
}

fn past(id: u64, state: State, source: &str) -> Incident {
    Incident {
        id,
        state,
        cause: "key-in-two-places".to_owned(),
        subject: "x".to_owned(),
        sources: source.to_owned(),
        by_person: false,
        opened_ms: 1,
    }
}

fn decide(found: &Found, recent: &[Incident]) -> Verdict {
    verdict(found, &Response::default(), recent, 5, true, None)
}

fn is_told(verdict: &Verdict, part: &str) -> bool {
    matches!(verdict, Verdict::Tell(why) if why.contains(part))
}

#[test]
fn nodes_and_gateways_get_other_keys_and_nobody_else_does() {
    for id in [NODE, "spiffe://lab.test/skans/gateway/g1"] {
        let found = found(Cause::KeyElsewhere, id, "b");
        assert_eq!(decide(&found, &[]), Verdict::Replace, "{id}");
    }
    for id in [
        "spiffe://lab.test/skans/control/c1",
        "spiffe://lab.test/skans/agent/a",
        "spiffe://lab.test/skans/user/mia",
        "spiffe://lab.test/something",
        "nonsense",
        "",
    ] {
        let found = found(Cause::KeyElsewhere, id, "b");
        assert!(is_told(&decide(&found, &[]), "only nodes"), "{id}");
    }
}

#[test]
fn one_agent_has_three_identities_replaced_within_ten_minutes() {
    let mut recent = vec![
        past(1, State::Over, "b"),
        past(2, State::Renewing, "b\nc"),
        // Nothing was done about this one, and it counts for nothing.
        past(3, State::Watching, "b"),
    ];
    let by_b = found(Cause::KeyElsewhere, NODE, "b");
    assert_eq!(decide(&by_b, &recent), Verdict::Replace);
    recent.push(past(4, State::Cutting, "b"));
    assert!(is_told(&decide(&by_b, &recent), "what this agent reported"));
    let by_c = found(Cause::KeyElsewhere, NODE, "c");
    assert_eq!(decide(&by_c, &recent), Verdict::Replace);
}

#[test]
fn ten_identities_within_ten_minutes_and_then_a_person_or_one_in_a_hundred_agents() {
    let recent: Vec<_> = (0..10)
        .map(|n| past(n, State::Over, &format!("agent-{n}")))
        .collect();
    let one_more = found(Cause::KeyElsewhere, NODE, "b");
    assert!(is_told(&decide(&one_more, &recent), "10 were within"));
    let settings = Response::default();
    let large = verdict(&one_more, &settings, &recent, 1100, true, None);
    assert_eq!(large, Verdict::Replace);
    // What people do is not counted, and not kept from them.
    let by_people: Vec<_> = recent
        .iter()
        .map(|one| Incident {
            by_person: true,
            ..one.clone()
        })
        .collect();
    assert_eq!(decide(&one_more, &by_people), Verdict::Replace);
}

#[test]
fn what_was_never_issued_is_denied_unless_that_could_hit_somebody_honest() {
    let forged = found(Cause::NeverIssued, NODE, "b");
    let settings = Response::default();
    let at = |issued, recovered| verdict(&forged, &settings, &[], 5, issued, recovered);
    assert_eq!(at(false, None), Verdict::Deny);
    // Its key was issued: then it is replaced, as any that is where it should not be.
    assert_eq!(at(true, None), Verdict::Replace);
    let now = clock::seconds();
    assert!(is_told(&at(false, Some(now - 60)), "restored"));
    assert_eq!(at(false, Some(now - LONGEST - 1)), Verdict::Deny);
}

#[test]
fn a_dry_run_says_what_it_found_and_does_nothing() {
    let settings = Response {
        mode: ResponseMode::DryRun,
        ..Response::default()
    };
    for cause in [Cause::KeyElsewhere, Cause::NeverIssued, Cause::NameSpoofed] {
        let found = found(cause, NODE, "b");
        let said = verdict(&found, &settings, &[], 5, false, None);
        assert!(is_told(&said, "dry-run"), "{cause:?}");
    }
}

#[test]
fn a_report_without_a_link_asks_nobody_and_one_that_is_none_is_refused() {
    let seen = |session: usize, address: usize| v1::Shown {
        session_sha256: vec![1; session],
        address: vec![1; address],
        seconds_ago: 3,
    };
    let leaf = vec![vec![0x30]];
    let read = |seen: &[v1::Shown]| Control::shown(&leaf, seen, "b", 100);
    let one = read(&[seen(32, 4)]).unwrap();
    assert_eq!((one.len(), one[0].1.asked), (1, 97));
    assert!(read(&[seen(0, 0)]).unwrap().is_empty());
    assert!(read(&[]).unwrap().is_empty());
    assert!(read(&[seen(32, 5)]).is_err());
    assert!(read(&[seen(32, 4), seen(32, 4)]).is_err());
}

#[test]
fn words_are_cut_between_characters() {
    let mut text = "aé".to_owned();
    bounded(&mut text, 2);
    assert_eq!(text, "a");
    bounded(&mut text, 99);
    assert_eq!(text, "a");
}

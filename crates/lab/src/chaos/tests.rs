//! What is derived from observations.

use super::report::{Check, Experimented};
use super::stage::Ended;
use super::*;

fn check(held: bool) -> Check {
    Check {
        what: "something".to_owned(),
        held,
        found: "that".to_owned(),
    }
}

fn verdict(checks: Vec<Check>, why: Option<&str>) -> Verdict {
    let ended = Ended {
        checks,
        why: why.map(str::to_owned),
        ..Ended::default()
    };
    Experimented::of(&ALL[0], Moment::now(), Duration::ZERO, ended).verdict
}

#[test]
fn what_was_not_looked_at_does_not_hold() {
    assert_eq!(verdict(vec![check(true), check(true)], None), Verdict::Held);
    assert_eq!(
        verdict(vec![check(true), check(false)], None),
        Verdict::Failed
    );
    assert_eq!(verdict(Vec::new(), None), Verdict::Failed);
    assert_eq!(
        verdict(vec![check(true)], Some("it ended")),
        Verdict::Failed
    );
}

#[test]
fn a_run_is_as_good_as_its_worst() {
    use Verdict::{Failed, Held, Skipped};
    assert_eq!(worst([Held, Held].iter()), Held);
    assert_eq!(worst([Held, Skipped, Held].iter()), Skipped);
    assert_eq!(worst([Skipped, Failed, Held].iter()), Failed);
    assert_eq!(worst([].iter()), Skipped, "nothing was tried");
}

#[test]
fn names_are_those_of_the_list_and_no_others() {
    assert_eq!(named(&[]).unwrap().len(), ALL.len());
    let wanted = ["link-cut".to_owned(), "gateway-killed".to_owned()];
    let found = named(&wanted).unwrap();
    let found: Vec<_> = found.iter().map(|one| one.name).collect();
    assert_eq!(
        found,
        ["gateway-killed", "link-cut"],
        "in the order of the list"
    );
    assert_eq!(named(&["link".to_owned()]).unwrap_err(), "link");
    let kebab = |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    assert!(ALL.iter().all(|one| kebab(one.name)));
}

#[test]
fn the_format_of_a_report_stays() {
    let skipped = Experimented::skipped(&ALL[0], "why".to_owned());
    let mut report = Report::begin(Versions {
        skans: "1".to_owned(),
        newer: "2".to_owned(),
        otp: "25".to_owned(),
    });
    report.add(skipped);
    let report = serde_json::to_value(report.end()).unwrap();
    assert_eq!(report["apiVersion"], "skans.io/v1alpha1");
    assert_eq!(report["kind"], "ChaosReport");
    assert_eq!(report["verdict"], "skipped");
    let keys = |value: &serde_json::Value| {
        let mut keys: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
        keys.sort();
        keys.join(" ")
    };
    assert_eq!(
        keys(&report),
        "apiVersion endedAt experiments kind startedAt verdict versions"
    );
    let one = &report["experiments"][0];
    assert_eq!(
        keys(one),
        "attempts checks hypothesis name numbers rows startedAt steps tookMs verdict why"
    );
    assert_eq!(
        keys(&one["numbers"]),
        "calls casts echoes nodedowns resumed"
    );
    assert_eq!(
        keys(&one["numbers"]["calls"]),
        "answered failed failures longestPauseMs made wrong"
    );
    assert_eq!(
        keys(&one["numbers"]["casts"]),
        "doubled lost outOfOrder received sent"
    );
    assert_eq!(keys(&one["rows"]), "passed refused tried unreached");
    assert!(one["startedAt"].as_str().unwrap().ends_with('Z'));
}

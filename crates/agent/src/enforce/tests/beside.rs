//! A set that is compared with the one that decides: what it says otherwise is told, each time, and decides nothing.

use skans_api::v1::rollout_report::{Difference, Verdict as Told};

use super::*;

/// Processes that bear names, those without, and all that a link takes.
const ACTIVE: &str = r#"@id("shop") permit(principal, action == Skans::Action::"send", resource in Skans::Node::"spiffe://test/cluster/c/ns/n/sa/w/node/b");
@id("pids") permit(principal, action == Skans::Action::"send_pid", resource);"#;
/// One name less.
const CANDIDATE: &str =
    r#"@id("not-stock") forbid(principal, action, resource == Skans::Process::"stock");"#;

fn compared(candidate: &str, stage: u32) -> Bench {
    Bench::new(ACTIVE, |setting| {
        let policies = Policies::comparing(&source(ACTIVE), &source(candidate), stage);
        setting.policies = Arc::new(policies);
    })
}

fn told(bench: &Bench) -> Vec<Difference> {
    let beside = bench.setting.policies.beside().unwrap();
    beside.report(0).differences
}

fn to(name: &'static str) -> Vec<u8> {
    send(Target::Name(Atom::new(name)), &atom("hello"))
}

#[test]
fn what_it_says_otherwise_is_told_each_time_and_passes() {
    let candidate = format!("{ACTIVE}\n{CANDIDATE}");
    let mut bench = compared(&candidate, 0);
    for _ in 0..5 {
        assert!(bench.passes(&to("stock")));
        assert!(bench.passes(&to("shop")));
    }
    let found = told(&bench);
    let [one] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!(
        (&*one.action, &*one.resource, one.count),
        ("send", "stock", 5)
    );
    assert_eq!(
        (one.active(), one.candidate(), one.forbidden),
        (Told::Permit, Told::Deny, true)
    );
    assert!(bench.denied().is_empty());
}

#[test]
fn in_a_cohort_it_is_the_candidate_that_decides() {
    let candidate = format!("{ACTIVE}\n{CANDIDATE}");
    let mut bench = compared(&candidate, 1);
    for _ in 0..3 {
        assert!(!bench.passes(&to("stock")));
        assert!(bench.passes(&to("shop")));
    }
    let found = told(&bench);
    let [one] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!(
        (one.active(), one.candidate(), one.count),
        (Told::Permit, Told::Deny, 3)
    );
    assert!(one.forbidden);
}

#[test]
fn who_knocks_on_what_both_deny_is_in_no_report() {
    let candidate = format!("{ACTIVE}\n{CANDIDATE}");
    for stage in [0, 1] {
        let mut bench = compared(&candidate, stage);
        for _ in 0..10_000 {
            assert!(!bench.passes(&call("os", "cmd", 1)));
        }
        assert_eq!(told(&bench), []);
        assert_eq!(
            bench.setting.policies.beside().unwrap().report(0).unlisted,
            0
        );
    }
}

#[test]
fn what_was_handed_out_is_compared_as_far_as_it_is_known() {
    let pid_of = || send(Target::Pid(pid("b@here", 7)), &atom("hello"));
    // It would have to know what was handed out, and nobody kept account of that: no word of it.
    let open = ACTIVE.lines().next().unwrap();
    let mut bench = compared(open, 0);
    assert!(bench.passes(&pid_of()));
    assert_eq!(told(&bench), []);
    // A forbid reaches them all.
    let forbids = format!(
        "{ACTIVE}\n@id(\"no-pids\") forbid(principal, action == Skans::Action::\"send_pid\", resource);"
    );
    let mut bench = compared(&forbids, 0);
    assert!(bench.passes(&pid_of()));
    assert_eq!(told(&bench).len(), 1);
}

#[test]
fn a_set_that_changes_nothing_between_two_nodes_is_not_asked() {
    let elsewhere = format!(
        "{ACTIVE}\n@id(\"x\") forbid(principal in Skans::Cluster::\"spiffe://test/cluster/other\", action, resource);"
    );
    let mut bench = compared(&elsewhere, 0);
    assert!(bench.passes(&to("stock")));
    assert_eq!(told(&bench), []);
}

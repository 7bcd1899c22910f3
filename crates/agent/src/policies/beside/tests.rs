use skans_policy::{Action, File, Source};

use super::*;

fn node(name: &str) -> Subject {
    Subject {
        trust_domain: "test".into(),
        cluster: "c".into(),
        namespace: "n".into(),
        workload: "w".into(),
        node: name.into(),
        host: "here".into(),
    }
}

fn source(cedar: &str) -> Source {
    Source {
        policies: vec![File {
            name: "a.cedar".into(),
            text: cedar.into(),
        }],
        ..Source::nothing(Version::default())
    }
}

const ALL: &str = r#"@id("all") permit (principal, action, resource);"#;

fn decision(verdict: Verdict, policies: &[&str]) -> Decision {
    Decision {
        verdict,
        policies: policies.iter().map(ToString::to_string).collect(),
        errors: Vec::new(),
    }
}

fn send(name: &str) -> Request<'_> {
    Request::new(Action::Send, Resource::Process(name))
}

#[test]
fn it_is_compared_with_what_it_is_about() {
    for stage in [0, 1] {
        let policies = Policies::comparing(&source(ALL), &source(""), stage);
        assert_eq!(policies.beside().map(|one| one.stage), Some(stage));
        // Another one came into force.
        policies.replace(&Source {
            version: Version { epoch: 1, n: 3 },
            ..source(ALL)
        });
        assert!(policies.beside().is_none());
    }
}

#[test]
fn each_is_told_from_the_side_of_the_set_in_force() {
    for stage in [0, 2] {
        let policies = Policies::comparing(&source(ALL), &source(""), stage);
        let beside = policies.beside().unwrap();
        let (permit, deny) = (
            decision(Verdict::Permit, &["all"]),
            decision(Verdict::Deny, &["not"]),
        );
        let asked = if stage == 0 {
            (permit.clone(), deny.clone())
        } else {
            (deny.clone(), permit.clone())
        };
        for _ in 0..3 {
            let asked = asked.clone();
            beside.differs(&node("a"), &node("b"), &send("shop"), || asked);
        }
        let report = beside.report(10);
        assert_eq!((report.n, report.stage, report.unlisted), (2, stage, 0));
        // In a cohort, what is denied there is a decision of what the set in force permits as well.
        assert_eq!(report.permitted, if stage == 0 { 10 } else { 13 });
        let [one] = &report.differences[..] else {
            panic!("{report:?}")
        };
        assert_eq!((one.active(), one.candidate()), (Told::Permit, Told::Deny));
        assert_eq!((one.count, one.forbidden), (3, true));
        assert_eq!((&*one.action, &*one.resource), ("send", "shop"));
        assert_eq!(one.principal, node("a").id());
        assert!(beside.report(0).differences.is_empty());
        beside.put_back(report.clone());
        assert_eq!(beside.report(0).differences, report.differences);
    }
}

#[test]
fn what_the_candidate_denies_is_not_hidden_behind_what_it_permits() {
    let policies = Policies::comparing(&source(ALL), &source(""), 0);
    let beside = policies.beside().unwrap();
    let differ = |from: &str, name: &str, active: Verdict, candidate: Verdict| {
        beside.differs(&node(from), &node("b"), &send(name), || {
            (decision(active, &[]), decision(candidate, &[]))
        });
    };
    let relaxed = |from: &str, name: &str| differ(from, name, Verdict::Deny, Verdict::Permit);
    let denied = |from: &str, name: &str| differ(from, name, Verdict::Permit, Verdict::Deny);
    for n in 0..1000 {
        relaxed("eve", &format!("name{n}"));
    }
    denied("eve", "shop");
    for n in 0..1000 {
        relaxed(&format!("n{n}"), "shop");
    }
    denied("ann", "shop");
    let report = beside.report(0);
    assert_eq!(report.differences.len(), MOST);
    let of = |one: &&Difference| (one.active(), one.candidate()) == (Told::Permit, Told::Deny);
    let mut found: Vec<_> = report.differences.iter().filter(of).collect();
    found.sort_by_key(|one| one.principal.clone());
    let found = found.iter().map(|one| (&*one.principal, &*one.resource));
    let (ann, eve) = (node("ann").id(), node("eve").id());
    assert_eq!(
        found.collect::<Vec<_>>(),
        [(&*ann, "shop"), (&*eve, "shop")]
    );
    let told: u64 = report.differences.iter().map(|one| one.count).sum();
    assert_eq!(told + report.unlisted, 2002, "all are counted");
}

#[test]
fn who_invents_names_takes_no_more_than_a_share_of_the_report() {
    let policies = Policies::comparing(&source(ALL), &source(""), 0);
    let beside = policies.beside().unwrap();
    let differ = |from: &str, name: &str| {
        beside.differs(&node(from), &node("b"), &send(name), || {
            (decision(Verdict::Permit, &[]), decision(Verdict::Deny, &[]))
        });
    };
    for n in 0..1000 {
        differ("eve", &format!("name{n}"));
    }
    differ("ann", "shop");
    let report = beside.report(0);
    assert_eq!(report.differences.len(), MOST_OF_ONE + 2);
    assert_eq!(
        (
            &*report.differences[0].resource,
            report.differences[0].count
        ),
        (SEVERAL, 1000 - 16)
    );
    assert!(
        report
            .differences
            .iter()
            .any(|one| one.principal.ends_with("/ann"))
    );
    for n in 0..300 {
        differ(&format!("n{n}"), "shop");
    }
    let report = beside.report(0);
    assert_eq!((report.differences.len(), report.unlisted), (MOST, 44));
}

use proptest::prelude::*;

use super::super::relation::tests::{any_set, decided, set};
use super::super::{Relation, relate};
use super::*;
use crate::decision::Verdict;
use crate::engine::Engine;
use crate::engine::tests::{source, subject};
use crate::request::{Request, Resource};
use crate::{Action, source::Group};

fn forbids(source: &Source) -> usize {
    let all = meanings(source).unwrap();
    all.iter().filter(|one| !one.permits).count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever the two are: the way back permits nothing that was not permitted, and nothing that the candidate forbids.
    #[test]
    fn no_forbid_is_lost_on_the_way_back(active in any_set(), candidate in any_set()) {
        let Ok(back) = going_back(&active, &candidate) else { return Ok(()) };
        prop_assert!(forbids(&back) >= forbids(&active));
        prop_assert!(back.mode == active.mode);
        for (now, then) in decided(&back, &active) {
            prop_assert!(!now.passes() || then.passes());
        }
        // Its forbids alone, over a permit for everything.
        let bare = |source: &Source| {
            let kept = Source { mode: candidate.mode, ..source.clone() };
            let text = kept.policies.iter().map(|file| file.text.as_str()).collect::<String>();
            let text = text.lines().filter(|line| !line.contains(") permit ")).collect::<Vec<_>>().join("\n");
            let all = "\n@id(\"all\") permit (principal, action, resource);";
            Source { policies: vec![File { name: "a.cedar".into(), text: text + all }], ..kept }
        };
        for (now, wanted) in decided(&bare(&back), &bare(&candidate)) {
            prop_assert!(now == Verdict::Deny || now == Verdict::WouldDeny || wanted == Verdict::Permit, "{back:?}");
        }
    }
}

#[test]
fn what_was_in_force_is_in_force_again_with_the_forbids_that_came_in_between() {
    let back = going_back(&set(0b11, 1, 9, 0), &set(0x81, 1, 9, 0)).unwrap();
    let related = relate(&set(0b11, 1, 9, 0), &back).unwrap();
    assert_eq!(related.relation, Relation::Tighten);
    assert_eq!(related.changes.len(), 1);
    assert_eq!(related.changes[0].which, "p7");
    // Nothing was forbidden in between: nothing is left of it.
    let back = going_back(&set(0b11, 1, 9, 0), &set(1, 1, 9, 0)).unwrap();
    assert_eq!(
        relate(&set(0b11, 1, 9, 0), &back).unwrap().relation,
        Relation::Same
    );
}

#[test]
fn a_group_of_the_candidate_keeps_its_meaning_and_widens_nothing() {
    // The set in force permits the group something, the candidate forbids a larger group of that name everything.
    let (active, candidate) = (set(1 | 1 << 3, 1, 9, 0), set(1 | 1 << 3 | 1 << 8, 3, 9, 0));
    let back = going_back(&active, &candidate).unwrap();
    assert_eq!(back.entities.groups["some"], active.entities.groups["some"]);
    assert_eq!(
        back.entities.groups["some-2"],
        candidate.entities.groups["some"]
    );
    let engine = Engine::compile(&back).unwrap();
    let connect = |who: &str| {
        let pair = engine.pair(&subject(who, "a"), &subject("web", "c"), 0);
        pair.decide(&Request {
            now: Some(0),
            ..Request::new(Action::Connect, Resource::Node)
        })
        .policies
        .join(",")
    };
    assert_eq!(connect("stock"), "p8");
    assert_eq!(connect("web"), "p0");
}

#[test]
fn what_cannot_be_proven_is_not_made() {
    let enforced = set(1, 1, 9, 0);
    assert_eq!(
        going_back(&set(1, 1, 9, 1), &enforced),
        Err(Unprovable::Mode)
    );
    let asks = set(1 | 1 << 9, 1, 1, 0);
    assert_eq!(
        going_back(&enforced, &asks),
        Err(Unprovable::Labels("p9".into()))
    );
    let linked = Source {
        links: serde_json::from_str(
            r#"[{"name": "theirs", "trustDomain": "theirs.example", "cluster": "main", "exports": [], "imports": []}]"#,
        )
        .unwrap(),
        ..source("")
    };
    assert_eq!(going_back(&linked, &source("")), Err(Unprovable::Links));
}

#[test]
fn forbids_are_added_to_whatever_is_there() {
    let mut before = set(1, 1, 9, 0);
    before
        .entities
        .groups
        .insert("kept".into(), Group::default());
    let text = r#"@id("p0") forbid (principal, action, resource == Skans::Process::"rex");"#;
    let after = with_forbids(&before, text).unwrap();
    let related = relate(&before, &after).unwrap();
    assert_eq!(
        (related.relation, &*related.changes[0].which),
        (Relation::Tighten, "p0-2")
    );
    // Again: it is there already.
    assert_eq!(with_forbids(&after, text).unwrap(), after);
    let more = with_forbids(&after, &text.replace("rex", "init")).unwrap();
    assert_eq!(forbids(&more), 2);
    let permit = with_forbids(&before, r#"@id("x") permit (principal, action, resource);"#);
    assert!(permit.unwrap_err().to_string().contains("forbids alone"));
    assert!(with_forbids(&before, "forbid (principal, action, resource);").is_err());
}

#[test]
fn what_is_forbidden_means_the_same_in_a_set_that_calls_others_by_that_name() {
    // In force, the group has two members; the candidate has one in it, or no such group.
    let active = set(1 | 1 << 3, 3, 9, 0);
    let narrower = set(1 | 1 << 3, 1, 9, 0);
    let mut without = set(1, 1, 9, 0);
    without.entities.groups.clear();
    let text = r#"@id("stop") forbid (principal in Skans::Group::"some", action, resource);"#;
    for candidate in [narrower, without] {
        let after = with_forbids_of(&candidate, &active, text).unwrap();
        let forbidden = active.entities.groups["some"].clone();
        assert!(
            after
                .entities
                .groups
                .values()
                .any(|group| *group == forbidden)
        );
        for (name, group) in &candidate.entities.groups {
            assert_eq!(after.entities.groups[name], *group, "what it permits stays");
        }
        let stopped = |source: &Source, who: &str| {
            let engine = Engine::compile(source).unwrap();
            let pair = engine.pair(&subject(who, "a"), &subject("web", "c"), 0);
            let request = Request {
                now: Some(0),
                ..Request::new(Action::Connect, Resource::Node)
            };
            let said = pair.decide(&request).policies;
            said.iter().any(|id| id.starts_with("stop"))
        };
        let whom = ["cart", "stock", "web"].map(|who| stopped(&after, who));
        assert_eq!(whom, [true, true, false]);
    }
    // What a label says cannot be carried over.
    let asks = r#"@id("l") forbid (principal, action == Skans::Action::"send", resource is Skans::Process) when { resource.hasTag("class") };"#;
    let other = set(1, 1, 1, 0);
    assert!(with_forbids_of(&other, &set(1, 1, 9, 0), asks).is_err());
}

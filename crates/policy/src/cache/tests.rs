use super::*;
use crate::engine::tests::{engine, subject};

const OWN: &str = r#"@id("own") permit (principal, action == Skans::Action::"send", resource) when { !resource.otp };"#;

fn known(verdict: Verdict) -> Known {
    Known {
        verdict,
        differs: false,
    }
}

fn send(name: &str) -> Request<'_> {
    Request::new(Action::Send, Resource::Process(name))
}

#[test]
fn what_is_remembered_is_what_was_decided() {
    let pair = engine(OWN).pair(&subject("a", "a"), &subject("b", "b"), 0);
    let mut cache = Cache::new();
    for round in 0..2 {
        for n in 0..2_000 {
            let name = format!("p{n}");
            assert_eq!(
                cache.decide(&pair, &send(&name)),
                Verdict::Permit,
                "{round}"
            );
        }
        assert_eq!(cache.decide(&pair, &send("rex")), Verdict::Deny);
        assert_eq!(cache.len(), 2_001);
    }
}

#[test]
fn a_cache_stays_bounded_while_a_peer_invents_names_and_keeps_what_is_in_use() {
    let mut cache = Cache::new();
    let used: Vec<u128> = (0..1_000)
        .map(|n| cache.fingerprint(&send(&format!("used{n}"))))
        .collect();
    for &fingerprint in &used {
        cache.remember(fingerprint, known(Verdict::Permit));
    }
    for n in 0..3 * MAX_ENTRIES {
        let fingerprint = cache.fingerprint(&send(&format!("invented{n}")));
        if cache.recall(fingerprint).is_none() {
            cache.remember(fingerprint, known(Verdict::Deny));
        }
        if n % 200 == 0 {
            for &fingerprint in &used {
                let _ = cache.recall(fingerprint);
            }
        }
        assert!(cache.len() <= MAX_ENTRIES);
    }
    assert!(cache.bytes() <= MAX_ENTRIES * size_of::<Slot>());
    let kept = used
        .iter()
        .filter(|&&fingerprint| cache.recall(fingerprint).is_some())
        .count();
    assert!(kept > 990, "{kept} of 1000 in use were kept");
}

#[test]
fn every_part_of_a_request_counts() {
    let cache = Cache::new();
    let function = |module, function, arity| Resource::Function {
        module,
        function,
        arity,
    };
    let resources = [
        Resource::Node,
        Resource::Process(""),
        Resource::Process("ab"),
        function("ab", "", 0),
        function("a", "b", 0),
        function("", "ab", 0),
        function("a", "b", 1),
    ];
    let mut seen = std::collections::HashSet::new();
    let mut all = 0;
    for &action in Action::ALL {
        for resource in resources {
            for flags in 0..4 {
                let mut request = Request::new(action, resource);
                request.carries_function = flags & 1 != 0;
                request.via_pid = flags & 2 != 0;
                all += 1;
                seen.insert(cache.fingerprint(&request));
            }
        }
    }
    assert_eq!(seen.len(), all);
}

#[test]
fn what_was_asked_last_is_told_apart_to_the_last_byte() {
    let mut front = Front::new();
    let long = "l".repeat(49);
    let names = ["", "a", "b", "ab", "shop_1", "shop_2", &long[..48], &long];
    let mut all: Vec<Request<'_>> = names.map(send).into();
    for module in names {
        all.extend(names.map(|function| {
            let arity = 1;
            let resource = Resource::Function {
                module,
                function,
                arity,
            };
            Request::new(Action::Call, resource)
        }));
    }
    for asked in &all {
        front.remember(asked, known(Verdict::Permit));
        for other in &all {
            let found = front.recall(other);
            assert!(found.is_none() || asked != other || found == Some(known(Verdict::Permit)));
        }
        front.remember(asked, known(Verdict::Deny));
        let same: Vec<_> = all
            .iter()
            .filter(|other| front.recall(other) == Some(known(Verdict::Deny)))
            .collect();
        assert!(
            same.iter().all(|other| *other == asked),
            "{asked:?}: {same:?}"
        );
        front = Front::new();
    }
}

#[test]
fn a_new_set_that_changes_nothing_between_two_nodes_leaves_their_cache() {
    let (from, to) = (subject("a", "a"), subject("b", "b"));
    let mut cache = Cache::new();
    let _ = cache.decide(&engine(OWN).pair(&from, &to, 0), &send("shop"));
    assert_eq!(cache.len(), 1);
    let elsewhere = r#"@id("x") forbid (principal in Skans::Cluster::"spiffe://prod.example/cluster/other", action, resource);"#;
    let pair = engine(&format!("{OWN}\n{elsewhere}")).pair(&from, &to, 0);
    assert_eq!(cache.decide(&pair, &send("other")), Verdict::Permit);
    assert_eq!(cache.len(), 2, "what was remembered is still there");
    let here = elsewhere.replace("cluster/other", "cluster/shop");
    let pair = engine(&format!("{OWN}\n{here}")).pair(&from, &to, 0);
    assert_eq!(cache.decide(&pair, &send("shop")), Verdict::Deny);
    assert_eq!(cache.len(), 1, "what was remembered is gone");
}

#[test]
fn what_is_remembered_outlives_a_rest_and_memory_for_speed_does_not() {
    let pair = engine(OWN).pair(&subject("a", "a"), &subject("b", "b"), 0);
    let mut cache = Cache::new();
    assert_eq!(cache.bytes(), 0);
    for _ in 0..2 {
        assert_eq!(cache.decide(&pair, &send("shop")), Verdict::Permit);
        assert_eq!(cache.decide(&pair, &send("rex")), Verdict::Deny);
        assert_eq!(cache.len(), 2);
        assert!(cache.bytes() > 2 * 1024);
        cache.rest();
        assert!(cache.bytes() <= 512, "{}", cache.bytes());
    }
}

#[test]
fn a_decision_that_may_depend_on_time_is_never_remembered() {
    let office = r#"@id("day") permit (principal, action == Skans::Action::"connect", resource) when { context.now < 100 };"#;
    let pair = engine(office).pair(&subject("a", "a"), &subject("b", "b"), 0);
    let mut cache = Cache::new();
    let mut request = Request::new(Action::Connect, Resource::Node);
    for (now, verdict) in [(99, Verdict::Permit), (100, Verdict::Deny)] {
        request.now = Some(now);
        assert_eq!(cache.decide(&pair, &request), verdict);
    }
}

mod agrees {
    use proptest::prelude::*;

    use super::*;
    use crate::Source;
    use crate::engine::Engine;

    proptest! {
        #[test]
        fn with_what_is_decided_without_it_whatever_a_peer_calls_its_names(
            asked in prop::collection::vec((0usize..17, "(rex|init|os|lists|\\PC{0,12})", "(cmd|map|\\PC{0,12})", 0u32..4, 0u8..4, 0u8..3), 1..40),
        ) {
            let engine = Engine::compile(&Source::same_cluster_members("prod.example", "shop")).unwrap();
            let pair = Arc::new(engine).pair(&subject("a", "a"), &subject("b", "b"), 0);
            let mut cache = Cache::new();
            for _ in 0..2 {
                for (action, name, other, arity, flags, kind) in &asked {
                    let resource = match kind {
                        0 => Resource::Node,
                        1 => Resource::Process(name),
                        _ => Resource::Function { module: name, function: other, arity: *arity },
                    };
                    let mut request = Request::new(Action::ALL[*action], resource);
                    request.carries_function = flags & 1 != 0;
                    request.via_pid = flags & 2 != 0;
                    prop_assert_eq!(cache.decide(&pair, &request), pair.decide(&request).verdict);
                }
            }
        }
    }
}

#[test]
fn what_another_set_says_otherwise_is_known_as_long_as_it_is_compared_with() {
    let (from, to) = (subject("a", "a"), subject("b", "b"));
    let pair = engine(OWN).pair(&from, &to, 0);
    let not_shop = r#"@id("x") forbid (principal, action, resource == Skans::Process::"shop");"#;
    let other = engine(&format!("{OWN}\n{not_shop}")).pair(&from, &to, 0);
    let mut cache = Cache::new();
    // From the front, from the sets, and decided.
    for round in 0..3 {
        for (name, differs) in [("shop", true), ("other", false)] {
            let found = cache.compare(&pair, Some(&other), &send(name));
            let wanted = Known {
                verdict: Verdict::Permit,
                differs,
            };
            assert_eq!(found, wanted, "{name} {round}");
        }
        if round == 1 {
            cache.rest();
        }
    }
    assert_eq!(
        cache.compare(&pair, None, &send("shop")),
        known(Verdict::Permit)
    );
    let found = cache.compare(&other, Some(&pair), &send("shop"));
    assert_eq!((found.verdict, found.differs), (Verdict::Deny, true));
}

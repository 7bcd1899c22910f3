//! What is not learned, and what is not let through beside what is.

use super::*;

/// Nothing else is asked: what makes links is the same for all.
fn once(seen: Vec<Seen>) -> Vec<Seen> {
    seen.into_iter()
        .map(|one| Seen { count: 1, ..one })
        .collect()
}

#[test]
fn a_stranger_that_came_once_is_not_let_in() {
    let (cart, stock, odd) = (node("cart", "a"), node("stock", "b"), node("odd", "c"));
    for to in [&stock, &node("bill", "d")] {
        let mut seen = link(&cart, &stock);
        seen.extend(once(link(&odd, to)));
        let learned = learned(&seen, &options());
        let left: Vec<_> = learned.left_out.iter().map(|one| one.why).collect();
        assert_eq!(left, [Why::Once; 3]);
        let engine = engine(&learned);
        let passed: Vec<_> = seen.iter().map(|one| passes(&engine, one)).collect();
        assert_eq!(passed, [true, true, true, false, false, false]);
        assert!(!passes(
            &engine,
            &saw(&odd, to, Action::Send, process("global_name_server"))
        ));
        its_tests_pass(&learned);
    }
}

#[test]
fn what_any_two_processes_do_makes_no_stranger_known() {
    let (cart, stock, odd) = (node("cart", "a"), node("stock", "b"), node("odd", "c"));
    let speaks = |from: &Subject, to: &Subject| {
        [Action::SendPid, Action::Monitor, Action::Link]
            .map(|action| saw(from, to, action, What::Node))
            .to_vec()
    };
    let mut seen = link(&cart, &stock);
    seen.extend([speaks(&cart, &stock), speaks(&stock, &cart)].concat());
    let others = seen.len();
    seen.extend(once(link(&odd, &stock)));
    seen.extend(once([speaks(&odd, &stock), speaks(&stock, &odd)].concat()));
    let learned = learned(&seen, &options());
    let engine = engine(&learned);
    let passed: Vec<_> = seen.iter().map(|one| passes(&engine, one)).collect();
    assert!(passed[..others].iter().all(|passed| *passed));
    assert!(!passed[others..].iter().any(|passed| *passed));
    its_tests_pass(&learned);
}

#[test]
fn who_takes_a_call_in_takes_in_the_link_that_it_goes_over() {
    let (cart, stock, odd) = (node("cart", "a"), node("stock", "b"), node("odd", "c"));
    let mut seen = link(&cart, &stock);
    seen.extend(once(link(&odd, &stock)));
    seen.extend(once(vec![saw(
        &odd,
        &stock,
        Action::Call,
        function("shop", "level", 1),
    )]));
    let first = learned(&seen, &options());
    let call = |one: &&LeftOut| one.request.contains("shop:level/1");
    let n = first.left_out.iter().find(call).unwrap().n;
    let wanted = Options {
        include: BTreeSet::from([n]),
        ..options()
    };
    let taken = learned(&seen, &wanted);
    assert_eq!(taken.left_out, []);
    let engine = engine(&taken);
    assert!(seen.iter().all(|one| passes(&engine, one)));
    its_tests_pass(&taken);
}

#[test]
fn a_stranger_that_stayed_or_came_again_is_for_the_reader() {
    let (cart, stock, odd) = (node("cart", "a"), node("stock", "b"), node("odd", "c"));
    let mut seen = link(&cart, &stock);
    seen.extend(link(&odd, &stock));
    let learned = learned(&seen, &options());
    assert_eq!(learned.left_out, []);
    assert!(passes(&engine(&learned), &seen[3]));
}

#[test]
fn two_that_both_have_work_may_have_a_link_on_which_nothing_else_was_seen() {
    let (cart, stock, web) = (node("cart", "a"), node("stock", "b"), node("web", "c"));
    let mut seen = link(&cart, &stock);
    seen.extend(link(&web, &stock));
    for from in [&cart, &web] {
        seen.push(saw(
            from,
            &stock,
            Action::Call,
            function("shop", "level", 1),
        ));
    }
    // All nodes of a mesh are linked: these two have nothing to say to each other.
    seen.extend(once(link(&cart, &web)));
    let learned = learned(&seen, &options());
    assert_eq!(learned.left_out, []);
    let engine = engine(&learned);
    assert!(seen.iter().all(|one| passes(&engine, one)));
    its_tests_pass(&learned);
}

#[test]
fn refused_or_forbidden_on_one_link_is_not_learned_from_the_others() {
    let (cart, stock) = (node("cart", "a"), node("stock", "b"));
    let passed = saw(
        &cart,
        &stock,
        Action::Call,
        function("shop_stock", "drop", 0),
    );
    for (said, why) in [
        (Said::Refused, Why::Refused),
        (Said::Forbidden, Why::Forbidden),
    ] {
        let not = Seen {
            said,
            count: 1,
            ..passed.clone()
        };
        for both in [[passed.clone(), not.clone()], [not.clone(), passed.clone()]] {
            let mut seen = link(&cart, &stock);
            seen.extend(both);
            let learned = learned(&seen, &options());
            let left: Vec<_> = learned.left_out.iter().map(|one| one.why).collect();
            assert_eq!(left, [why]);
            assert!(!passes(&engine(&learned), &passed));
        }
    }
}

#[test]
fn what_attacks_are_made_of_is_not_learned_however_often() {
    let (web, stock) = (node("web", "a"), node("stock", "b"));
    let attacks = [
        (Action::Inspect, What::Node),
        (Action::Call, function("shop_stock", "fun", 1)),
        (Action::Cast, function("shop_stock", "fun", 1)),
        (Action::Spawn, function("shop_stock", "fun", 1)),
        (Action::Link, process("init")),
    ];
    for (action, what) in attacks {
        let mut seen = link(&web, &stock);
        seen.push(Seen {
            count: 1_000,
            ..saw(&web, &stock, action, what)
        });
        let learned = learned(&seen, &options());
        assert!(
            matches!(&learned.left_out[..], [one] if matches!(one.why, Why::OwnsTheNode | Why::Attack)),
            "{action} {:?}",
            learned.left_out
        );
        assert!(!passes(&engine(&learned), &seen[3]));
    }
}

#[test]
fn functions_of_otp_are_for_people_whatever_the_catalogue_knows_of_them() {
    let (web, stock, tool) = (node("web", "a"), node("stock", "b"), cli("stock", "b"));
    // Each runs what it is given, and is marked nowhere.
    let functions = [
        ("error_handler", "undefined_function", 3),
        ("release_handler_1", "eval_script", 1),
        ("merl", "compile_and_load", 1),
        ("error_logger_file_h", "init", 1),
        ("crypto", "engine_load", 3),
    ];
    let mut seen = link(&web, &stock);
    seen.extend(link(&tool, &stock));
    let calls = functions.map(|(m, f, arity)| Seen {
        count: 1_000,
        ..saw(&web, &stock, Action::Call, function(m, f, arity))
    });
    seen.extend(calls.clone());
    let of_tool = Seen {
        from: tool.clone(),
        ..calls[0].clone()
    };
    seen.push(of_tool.clone());
    let learned = learned(&seen, &options());
    let whys: Vec<_> = learned.left_out.iter().map(|one| one.why).collect();
    assert_eq!(whys, [Why::Standard; 5]);
    let engine = engine(&learned);
    assert!(!calls.iter().any(|one| passes(&engine, one)));
    assert!(passes(&engine, &of_tool));
    its_tests_pass(&learned);
}

#[test]
fn what_was_refused_stays_refused_though_a_role_or_a_pattern_would_let_it_through() {
    let (a, b) = (node("mq", "a"), node("mq", "b"));
    let mut seen = rabbits(&a, &b);
    let all = [
        saw(
            &a,
            &b,
            Action::Call,
            function("rabbit_amqqueue", "internal_delete", 2),
        ),
        saw(&a, &b, Action::Send, process("secret_4")),
    ];
    for n in 1..4 {
        seen.push(saw(&a, &b, Action::Send, process(&format!("secret_{n}"))));
    }
    seen.extend(all.clone().map(|one| Seen {
        said: Said::Refused,
        ..one
    }));
    let learned = learned(&seen, &options());
    assert!(text(&learned, "set.yaml").contains("role: rabbitmq-peer"));
    let engine = engine(&learned);
    assert!(!all.iter().any(|one| passes(&engine, one)));
    let refused = learned
        .left_out
        .iter()
        .filter(|one| one.why == Why::Refused);
    assert_eq!(refused.count(), 2, "{:#?}", learned.left_out);
    its_tests_pass(&learned);
}

#[test]
fn who_does_very_much_of_one_thing_hides_no_other_by_it() {
    let (web, stock) = (node("web", "a"), node("stock", "b"));
    let mut seen = link(&web, &stock);
    for n in 0..1_100 {
        seen.push(saw(
            &web,
            &stock,
            Action::Call,
            function("code", &format!("a{n}"), 0),
        ));
    }
    seen.push(saw(&web, &stock, Action::Call, function("os", "cmd", 1)));
    let learned = learned(&seen, &options());
    assert_eq!(
        (learned.left_out.len(), learned.unlisted),
        (MAX_LISTED, 101)
    );
    let listed = |name: &str| {
        learned
            .left_out
            .iter()
            .any(|one| one.request.contains(name))
    };
    assert!(listed("os:cmd/1"));
    assert!(text(&learned, "LEFT-OUT.md").contains("os:cmd/1"));
    // What is not listed is refused all the same, and no test says otherwise.
    its_tests_pass(&learned);
    assert!(!seen[3..].iter().any(|one| passes(&engine(&learned), one)));
}

#[test]
fn the_same_of_somebody_else_to_somebody_else_is_no_likeness() {
    let (bill, db) = (node("bill", "a"), node("db", "b"));
    let (web, vault) = (node("web", "c"), node("vault", "d"));
    let mut seen = link(&bill, &db);
    seen.extend(link(&web, &vault));
    let before = seen.len();
    for (from, to) in [(&bill, &db), (&web, &vault)] {
        seen.extend(once(vec![saw(from, to, Action::Send, process("ledger"))]));
    }
    let learned = learned(&seen, &options());
    let engine = engine(&learned);
    assert!(!seen[before..].iter().any(|one| passes(&engine, one)));
    assert_eq!(learned.left_out.len(), 2);
}

#[test]
fn once_each_of_two_is_once() {
    let (cart, stock, bill) = (node("cart", "a"), node("stock", "b"), node("bill", "d"));
    let mut seen = link(&cart, &stock);
    seen.extend(link(&cart, &bill));
    for to in [&stock, &bill] {
        seen.push(Seen {
            count: 1,
            ..saw(&cart, to, Action::Call, function("shop", "drop", 0))
        });
    }
    let learned = learned(&seen, &options());
    assert!(
        learned.left_out.len() == 2 && learned.left_out.iter().all(|one| one.why == Why::Once),
        "{:#?}",
        learned.left_out
    );
}

#[test]
fn what_one_of_the_two_says_is_not_once_more() {
    let (cart, stock) = (node("cart", "a"), node("stock", "b"));
    let mut seen = link(&cart, &stock);
    for by in [By::Sender, By::Receiver, By::Either] {
        seen.push(Seen {
            count: 1,
            by,
            ..saw(&cart, &stock, Action::Call, function("shop", "drop", 0))
        });
    }
    let learned = learned(&seen, &options());
    assert!(
        matches!(&learned.left_out[..], [one] if one.why == Why::Once && one.count == 1),
        "{:#?}",
        learned.left_out
    );
}

#[test]
fn a_link_on_which_nothing_else_was_seen_is_seen_once() {
    let (odd, bill) = (node("odd", "c"), node("bill", "d"));
    let once = Seen {
        count: 1,
        ..saw(&odd, &bill, Action::Connect, What::Node)
    };
    let learned = learned(std::slice::from_ref(&once), &options());
    assert!(
        matches!(&learned.left_out[..], [one] if one.why == Why::Once),
        "{:#?}",
        learned.left_out
    );
    assert!(!passes(&engine(&learned), &once));
}

#[test]
fn an_attack_is_not_for_people() {
    let (web, stock) = (node("web", "a"), node("stock", "b"));
    let mut seen = link(&web, &stock);
    seen.push(saw(&web, &stock, Action::Exit, What::Node));
    let wanted = Options {
        include: BTreeSet::from([1]),
        ..options()
    };
    let refused = learn(seen.into_iter().map(Told::Seen), &wanted)
        .unwrap_err()
        .to_string();
    assert!(refused.contains("shape of an attack"), "{refused}");
}

#[test]
fn nobody_calls_back_who_was_not_spoken_to() {
    let (tool, mq, web) = (cli("mq", "a"), node("mq", "a"), node("web", "c"));
    let tools = learned(&link(&tool, &mq), &options());
    assert!(!passes(
        &engine(&tools),
        &saw(&mq, &tool, Action::Connect, What::Node)
    ));
    let one_way = learned(&link(&web, &mq)[..2], &options());
    let engine = engine(&one_way);
    assert!(passes(
        &engine,
        &saw(&web, &mq, Action::Connect, What::Node)
    ));
    assert!(!passes(
        &engine,
        &saw(&mq, &web, Action::Connect, What::Node)
    ));
    assert!(!passes(
        &engine,
        &saw(&mq, &web, Action::Send, process("rex"))
    ));
}

#[test]
fn a_pattern_is_not_for_processes_of_otp() {
    let (a, b) = (node("a", "a"), node("b", "b"));
    let mut seen = link(&a, &b);
    for n in 0..3 {
        seen.push(saw(&a, &b, Action::Send, process(&format!("disksup{n}"))));
    }
    let learned = learned(&seen, &options());
    assert!(
        text(&learned, "learned.cedar").contains("like \"disksup*\""),
        "{}",
        text(&learned, "learned.cedar")
    );
    let engine = engine(&learned);
    assert!(passes(
        &engine,
        &saw(&a, &b, Action::Send, process("disksup7"))
    ));
    assert!(!passes(
        &engine,
        &saw(&a, &b, Action::Send, process("disksup"))
    ));
}

#[test]
fn two_pairs_are_not_four() {
    let (cart, stock, web, bill) = (
        node("cart", "a"),
        node("stock", "b"),
        node("web", "c"),
        node("bill", "d"),
    );
    let set =
        |from: &Subject, to: &Subject| saw(from, to, Action::Call, function("shop", "set", 2));
    let mut seen = link(&cart, &stock);
    seen.extend(link(&web, &bill));
    seen.extend([set(&cart, &stock), set(&web, &bill)]);
    let engine = engine(&learned(&seen, &options()));
    assert!(passes(&engine, &set(&cart, &stock)) && passes(&engine, &set(&web, &bill)));
    for (from, to) in [(&cart, &bill), (&web, &stock), (&cart, &web)] {
        assert!(!passes(&engine, &set(from, to)));
        assert!(!passes(
            &engine,
            &saw(from, to, Action::Connect, What::Node)
        ));
    }
}

#[test]
fn nodes_of_one_workload_do_not_speak_to_each_other_for_being_spoken_to() {
    let (cart, other, stock) = (node("cart", "a"), node("cart", "b"), node("stock", "c"));
    let set =
        |from: &Subject, to: &Subject| saw(from, to, Action::Call, function("shop", "set", 2));
    let mut seen = link(&cart, &stock);
    seen.extend(link(&other, &stock));
    seen.extend([set(&cart, &stock), set(&other, &stock), set(&stock, &cart)]);
    let engine = engine(&learned(&seen, &options()));
    assert!(passes(&engine, &set(&other, &stock)));
    assert!(!passes(&engine, &set(&cart, &other)));
    assert!(!passes(
        &engine,
        &saw(&cart, &other, Action::Connect, What::Node)
    ));
}

#[test]
fn one_end_that_no_certificate_has_is_enough() {
    let (cart, stock) = (node("cart", "a"), node("stock", "b"));
    let odd = Subject {
        node: "o/dd".into(),
        ..cart.clone()
    };
    for (from, to) in [(&odd, &stock), (&stock, &odd)] {
        let mut seen = link(&cart, &stock);
        seen.push(saw(from, to, Action::Send, process("shop")));
        let learned = learned(&seen, &options());
        assert!(
            matches!(&learned.left_out[..], [one] if one.why == Why::Spoofed),
            "{:#?}",
            learned.left_out
        );
    }
}

#[test]
fn what_nodes_do_is_not_for_the_short_lived_ones() {
    let (tool, mq, peer) = (cli("mq", "a"), node("mq", "a"), node("mq", "b"));
    let mut seen = link(&tool, &mq);
    seen.extend(link(&mq, &peer));
    seen.push(saw(&mq, &peer, Action::Send, process("mq_peer")));
    let engine = engine(&learned(&seen, &options()));
    assert!(passes(&engine, &seen[6]));
    assert!(!passes(
        &engine,
        &saw(&tool, &peer, Action::Send, process("mq_peer"))
    ));
}

#[test]
fn what_somebody_looked_at_is_that_name_and_no_pattern() {
    let (a, b) = (node("a", "a"), node("b", "b"));
    let mut seen = link(&a, &b);
    for n in 0..3 {
        seen.push(saw(&a, &b, Action::Send, process(&format!("worker_{n}"))));
    }
    let with = |n: u32| Seen {
        carries_function: true,
        ..saw(&a, &b, Action::Send, process(&format!("worker_{n}")))
    };
    seen.push(with(2));
    let wanted = Options {
        include: BTreeSet::from([1]),
        ..options()
    };
    let engine = engine(&learned(&seen, &wanted));
    assert!(passes(&engine, &with(2)));
    assert!(!passes(&engine, &with(0)) && !passes(&engine, &with(9)));
}

#[test]
fn what_was_refused_makes_nobody_a_peer() {
    let (a, b) = (node("mq-1", "a"), node("web", "b"));
    let all = rabbits(&a, &b);
    let once: Vec<Seen> = all
        .into_iter()
        .map(|one| Seen {
            said: Said::Refused,
            ..one
        })
        .collect();
    let mut seen = link(&a, &b);
    seen.extend(once.into_iter().skip(3));
    let learned = learned(&seen, &options());
    assert!(
        !text(&learned, "set.yaml").contains("role:"),
        "{}",
        text(&learned, "set.yaml")
    );
}

#[test]
fn what_no_set_can_be_asked_keeps_nothing_else_from_being_learned() {
    let (cart, stock) = (node("cart", "a"), node("stock", "b"));
    let mut seen = link(&cart, &stock);
    for (action, what) in [
        (Action::Connect, function("m", "f", 1)),
        (Action::Connect, process("shop")),
        (Action::Call, What::Node),
        (Action::SendPid, process("shop")),
        (Action::Send, What::Service("postgres".into())),
        (Action::Monitor, function("m", "f", 1)),
    ] {
        seen.push(Seen {
            count: u64::MAX,
            ..saw(&cart, &stock, action, what)
        });
    }
    for n in 0..4 {
        seen.push(Seen {
            count: u64::MAX,
            ..saw(&cart, &stock, Action::Send, process(&format!("worker{n}")))
        });
    }
    let learned = learned(&seen, &options());
    let whys: Vec<_> = learned.left_out.iter().map(|one| one.why).collect();
    assert_eq!(whys, [Why::Unknown; 6]);
    assert!(passes(&engine(&learned), &seen[9]));
    its_tests_pass(&learned);
}

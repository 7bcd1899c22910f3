//! What is learned from what, and what is not.

mod enough;
mod left_out;
mod names;

use super::*;
use crate::decision::Verdict;
use crate::request::{Request, Resource, Subject};
use crate::test;
use crate::{Action, cache};

pub(super) fn options() -> Options {
    Options {
        name: "learned".into(),
        until: "2027-01-31".into(),
        include: BTreeSet::new(),
        functions: false,
    }
}

pub(super) fn node(workload: &str, host: &str) -> Subject {
    Subject {
        trust_domain: "prod.example".into(),
        cluster: "shop".into(),
        namespace: "web".into(),
        workload: workload.into(),
        node: workload.into(),
        host: host.into(),
    }
}

pub(super) fn cli(workload: &str, host: &str) -> Subject {
    Subject {
        node: "cli".into(),
        ..node(workload, host)
    }
}

pub(super) fn saw(from: &Subject, to: &Subject, action: Action, what: What) -> Seen {
    Seen {
        from: from.clone(),
        to: to.clone(),
        action,
        what,
        carries_function: false,
        said: Said::Passed,
        by: By::Sender,
        count: 2,
        first: 1_795_000_000,
        last: 1_795_000_600,
    }
}

pub(super) fn function(module: &str, name: &str, arity: u32) -> What {
    What::Function(module.into(), name.into(), arity)
}

pub(super) fn process(name: &str) -> What {
    What::Process(name.into())
}

/// A link, and what keeps its nodes in step.
pub(super) fn link(a: &Subject, b: &Subject) -> Vec<Seen> {
    vec![
        saw(a, b, Action::Connect, What::Node),
        saw(a, b, Action::Send, process("rex")),
        saw(b, a, Action::Send, process("global_name_server")),
    ]
}

pub(super) fn learned(seen: &[Seen], options: &Options) -> Learned {
    let told = seen.iter().cloned().map(Told::Seen);
    learn(told, options).unwrap_or_else(|problems| panic!("{problems}"))
}

pub(super) fn text<'a>(learned: &'a Learned, name: &str) -> &'a str {
    let file = learned.files.iter().find(|file| file.name == name);
    file.map_or("", |file| &file.text)
}

pub(super) fn engine(learned: &Learned) -> Arc<Engine> {
    compile(&learned.files).unwrap_or_else(|problems| panic!("{problems}"))
}

pub(super) fn passes(engine: &Arc<Engine>, seen: &Seen) -> bool {
    let ask = Ask {
        action: seen.action,
        what: seen.what.clone(),
        carries: seen.carries_function,
    };
    seen::permits(engine, &(seen.from.clone(), seen.to.clone()), &ask)
}

/// The tests of a learned set come out as they say.
pub(super) fn its_tests_pass(learned: &Learned) -> usize {
    let file = learned
        .files
        .iter()
        .find(|file| file.name == "tests/learned.yaml");
    let report = test::run(&engine(learned), file.unwrap()).unwrap_or_else(|p| panic!("{p}"));
    let failures: Vec<_> = report.failures().map(|one| one.test.clone()).collect();
    assert_eq!(
        failures,
        Vec::<String>::new(),
        "{}",
        text(learned, "learned.cedar")
    );
    report.outcomes.len()
}

#[test]
fn a_client_of_one_function_may_call_that_one() {
    let (cart, stock) = (node("cart", "a"), node("stock", "b"));
    let mut seen = link(&cart, &stock);
    seen.push(saw(
        &cart,
        &stock,
        Action::Call,
        function("shop_stock", "level", 1),
    ));
    let learned = learned(&seen, &options());
    assert_eq!(learned.left_out, []);
    let cedar = text(&learned, "learned.cedar");
    assert!(
        cedar.contains("resource == Skans::Function::\"shop_stock:level/1\""),
        "{cedar}"
    );
    assert!(cedar.contains(
        "principal in Skans::Workload::\"spiffe://prod.example/cluster/shop/ns/web/sa/cart\""
    ));
    assert!(cedar.contains("// seen 2 times from 2026-11-18T11:06:40Z to 2026-11-18T11:16:40Z, by 1 node (cart@a), told by the agents of a"), "{cedar}");
    assert!(text(&learned, "set.yaml").contains("mode: dry-run\nuntil: 2027-01-31\n"));
    assert!(its_tests_pass(&learned) >= 4);
    let engine = engine(&learned);
    for (action, what) in [
        (Action::Call, function("shop_stock", "level", 2)),
        (Action::Cast, function("shop_stock", "level", 1)),
        (Action::Call, function("os", "cmd", 1)),
        (Action::Send, process("shop")),
        (Action::SendPid, What::Node),
    ] {
        assert!(
            !passes(&engine, &saw(&cart, &stock, action, what.clone())),
            "{action} {what:?}"
        );
    }
    assert!(!passes(
        &engine,
        &saw(
            &stock,
            &cart,
            Action::Call,
            function("shop_stock", "level", 1)
        )
    ));
}

#[test]
fn what_owns_a_node_is_learned_from_nobody_but_its_own_short_lived_nodes() {
    let (web, stock, tool) = (node("web", "a"), node("stock", "b"), cli("cli", "b"));
    let attacks = [
        (Action::Call, function("os", "cmd", 1)),
        (Action::Call, function("timer", "tc", 3)),
        (Action::Spawn, function("file", "write_file", 2)),
        (Action::Call, function("erl_eval", "fun", 3)),
        (Action::ManageCode, process("code_server")),
        (Action::StopNode, process("init")),
        (Action::Supervise, process("shop_sup")),
        (Action::SystemMessage, process("rex")),
        (Action::Send, process("file_server_2")),
        (Action::Exit, What::Node),
        (Action::GroupLeader, What::Node),
    ];
    let mut seen = link(&web, &stock);
    seen.extend(link(&tool, &stock));
    for (action, what) in &attacks {
        // However often it was done.
        let mut often = saw(&web, &stock, *action, what.clone());
        often.count = 1_000;
        seen.push(often);
    }
    seen.push(saw(
        &tool,
        &stock,
        Action::Call,
        function("erl_eval", "exprs", 2),
    ));
    let learned = learned(&seen, &options());
    assert_eq!(
        learned.left_out.len(),
        attacks.len(),
        "{:#?}",
        learned.left_out
    );
    assert!(
        learned
            .left_out
            .iter()
            .all(|one| matches!(one.why, Why::OwnsTheNode | Why::Attack))
    );
    let engine = engine(&learned);
    for (action, what) in attacks {
        assert!(!passes(&engine, &saw(&web, &stock, action, what)));
    }
    let eval = saw(
        &tool,
        &stock,
        Action::Call,
        function("erl_eval", "exprs", 2),
    );
    assert!(passes(&engine, &eval));
    assert!(!passes(
        &engine,
        &saw(&web, &stock, Action::Call, eval.what.clone())
    ));
    assert!(text(&learned, "learned.cedar").contains("WHO MAY DO THIS OWNS THE NODE"));
    its_tests_pass(&learned);
    // Nobody is talked into it.
    let wanted = Options {
        include: BTreeSet::from([1]),
        ..options()
    };
    let told = seen.iter().cloned().map(Told::Seen);
    let refused = learn(told, &wanted).unwrap_err().to_string();
    assert!(refused.contains("owns the node"), "{refused}");
}

#[test]
fn what_was_seen_once_is_for_people_who_take_it_by_its_number() {
    let (cart, stock) = (node("cart", "a"), node("stock", "b"));
    let mut seen = link(&cart, &stock);
    let once = |action, what| Seen {
        count: 1,
        ..saw(&cart, &stock, action, what)
    };
    seen.push(once(Action::Call, function("shop_stock", "drop", 0)));
    let mut both = once(Action::Call, function("shop_stock", "level", 1));
    seen.push(both.clone());
    // Its other agent saw the same: that is not twice.
    seen.push(Seen {
        by: By::Receiver,
        ..seen[3].clone()
    });
    // Another node of the same kind does it as well.
    both.from.host = "c".into();
    seen.push(both);
    let first = learned(&seen, &options());
    let [one] = &first.left_out[..] else {
        panic!("{:#?}", first.left_out)
    };
    assert_eq!((one.n, one.why), (1, Why::Once));
    assert!(one.request.contains("shop_stock:drop/0"), "{}", one.request);
    assert!(!passes(&engine(&first), &seen[3]) && passes(&engine(&first), &seen[4]));
    its_tests_pass(&first);
    let wanted = Options {
        include: BTreeSet::from([1]),
        ..options()
    };
    let taken = learned(&seen, &wanted);
    assert_eq!(taken.left_out, []);
    assert!(passes(&engine(&taken), &seen[3]));
    its_tests_pass(&taken);
    let wanted = Options {
        include: BTreeSet::from([7]),
        ..options()
    };
    let told = seen.iter().cloned().map(Told::Seen);
    assert!(
        learn(told, &wanted)
            .unwrap_err()
            .to_string()
            .contains("--include 7")
    );
}

#[test]
fn functions_in_messages_are_learned_if_asked_for() {
    let (cart, stock) = (node("cart", "a"), node("stock", "b"));
    let mut seen = link(&cart, &stock);
    let plain = saw(&cart, &stock, Action::Send, process("shop"));
    let with = Seen {
        carries_function: true,
        ..plain.clone()
    };
    seen.extend([plain.clone(), with.clone()]);
    let without = learned(&seen, &options());
    assert!(passes(&engine(&without), &plain) && !passes(&engine(&without), &with));
    assert_eq!(without.left_out[0].why, Why::CarriesFunction);
    its_tests_pass(&without);
    let wanted = Options {
        functions: true,
        ..options()
    };
    let all = learned(&seen, &wanted);
    assert!(passes(&engine(&all), &plain) && passes(&engine(&all), &with));
    assert_eq!(all.left_out, []);
}

#[test]
fn what_the_set_in_force_forbids_stays_forbidden_though_a_role_would_let_it_through() {
    let (a, b) = (node("mq", "a"), node("mq", "b"));
    let mut seen = rabbits(&a, &b);
    let forbidden = Seen {
        said: Said::Forbidden,
        ..saw(
            &a,
            &b,
            Action::Call,
            function("rabbit_amqqueue", "internal_delete", 2),
        )
    };
    seen.push(forbidden.clone());
    let learned = learned(&seen, &options());
    assert!(
        text(&learned, "set.yaml").contains("role: rabbitmq-peer"),
        "{}",
        text(&learned, "set.yaml")
    );
    let cedar = text(&learned, "learned.cedar");
    assert!(!passes(&engine(&learned), &forbidden), "{cedar}");
    assert_eq!(learned.left_out[0].why, Why::Forbidden);
    its_tests_pass(&learned);
}

/// Something of each kind that nodes of RabbitMQ ask of each other: names that its role has.
pub(super) fn rabbits(a: &Subject, b: &Subject) -> Vec<Seen> {
    let mut seen = link(a, b);
    let (_, group) = crate::role::groups()
        .find(|(name, _)| name == "skans:rabbitmq-peer/functions")
        .unwrap();
    for name in group
        .functions
        .iter()
        .filter(|name| !name.ends_with('*'))
        .take(30)
    {
        let (module, function, arity) = crate::name::parse(name).unwrap();
        seen.push(saw(
            a,
            b,
            Action::Call,
            What::Function(module, function, arity),
        ));
    }
    for n in 0..10 {
        seen.push(saw(b, a, Action::Send, process(&format!("%2F_q-{n}x"))));
    }
    seen.push(saw(a, b, Action::SendPid, What::Node));
    seen.push(saw(a, b, Action::Exit, What::Node));
    seen
}

#[test]
fn a_role_is_taken_where_it_fits_and_only_by_whom_speaks_so_on_both_sides() {
    let (a, b, c) = (node("mq-1", "a"), node("mq-2", "b"), node("web", "c"));
    let mut seen = rabbits(&a, &b);
    seen.extend(rabbits(&b, &a));
    // Somebody who would like to be one of them: RabbitMQ never asks anything of it.
    seen.extend(rabbits(&c, &a).into_iter().filter(|seen| seen.from == c));
    let learned = learned(&seen, &options());
    let set = text(&learned, "set.yaml");
    assert_eq!(set.matches("role: rabbitmq-peer").count(), 1, "{set}");
    assert!(set.contains("principals: [{workload: \"spiffe://prod.example/cluster/shop/ns/web/sa/mq-1\"}, {workload: \"spiffe://prod.example/cluster/shop/ns/web/sa/mq-2\"}]"), "{set}");
    assert!(!set.contains("sa/web"), "{set}");
    // Exit signals are part of the role, and of no line.
    assert!(passes(
        &engine(&learned),
        &saw(&a, &b, Action::Exit, What::Node)
    ));
    assert!(!passes(
        &engine(&learned),
        &saw(&c, &a, Action::Exit, What::Node)
    ));
    its_tests_pass(&learned);
}

#[test]
fn nodes_of_one_workload_that_do_different_things_are_taken_apart() {
    let of = |name: &str, host: &str| Subject {
        node: name.into(),
        ..node("app", host)
    };
    let (web, job, stock) = (of("web", "a"), of("job", "b"), node("stock", "c"));
    let mut seen = link(&web, &stock);
    seen.extend(link(&job, &stock));
    for n in 0..4 {
        seen.push(saw(
            &web,
            &stock,
            Action::Call,
            function("shop", &format!("w{n}"), 1),
        ));
        seen.push(saw(
            &job,
            &stock,
            Action::Call,
            function("jobs", &format!("j{n}"), 1),
        ));
    }
    let learned = learned(&seen, &options());
    let engine = engine(&learned);
    assert!(passes(
        &engine,
        &saw(&web, &stock, Action::Call, function("shop", "w1", 1))
    ));
    assert!(!passes(
        &engine,
        &saw(&job, &stock, Action::Call, function("shop", "w1", 1))
    ));
    let cedar = text(&learned, "learned.cedar");
    assert!(cedar.contains("/sa/app/node/web"), "{cedar}");
    its_tests_pass(&learned);
}

#[test]
fn short_lived_nodes_are_known_by_what_they_are() {
    let (tool, mq) = (cli("mq", "a"), node("mq", "a"));
    let mut seen = link(&tool, &mq);
    seen.push(saw(
        &tool,
        &mq,
        Action::Call,
        function("mq_admin", "list", 0),
    ));
    seen.push(saw(&mq, &node("mq", "b"), Action::Send, process("mq_peer")));
    let learned = learned(&seen, &options());
    let engine = engine(&learned);
    let list = |from: &Subject| saw(from, &mq, Action::Call, function("mq_admin", "list", 0));
    assert!(passes(&engine, &list(&tool)) && passes(&engine, &list(&cli("mq", "elsewhere"))));
    assert!(!passes(&engine, &list(&node("mq", "b"))));
    its_tests_pass(&learned);
}

#[test]
fn nothing_and_too_much_are_problems_with_advice() {
    let nothing = learn([], &options()).unwrap_err().to_string();
    assert!(nothing.contains("no request"), "{nothing}");
    let (a, b) = (node("a", "a"), node("b", "b"));
    let told = (0..11).map(|n| Told::Seen(saw(&a, &b, Action::Send, process(&format!("p-{n}")))));
    let Err(many) = Heard::of(told, 10) else {
        panic!()
    };
    assert!(many.to_string().contains("--since"), "{many}");
    let wanted = Options {
        name: "No Name".into(),
        ..options()
    };
    let told = link(&a, &b).into_iter().map(Told::Seen);
    assert!(
        learn(told, &wanted)
            .unwrap_err()
            .to_string()
            .contains("name")
    );
}

#[test]
fn plumbing_is_what_the_roles_call_so() {
    let (_, group) = crate::role::groups()
        .find(|(name, _)| name == "skans:plumbing")
        .unwrap();
    let mut here = permits::PLUMBING.to_vec();
    let mut there: Vec<&str> = group.processes.iter().map(String::as_str).collect();
    here.sort_unstable();
    there.sort_unstable();
    assert_eq!(here, there);
}

/// Asked as agents ask, by a cache.
pub(super) fn asked(
    engine: &Arc<Engine>,
    from: &Subject,
    to: &Subject,
    request: &Request<'_>,
) -> bool {
    let mut cache = cache::Cache::new();
    cache.decide(&engine.pair(from, to, 0), request) == Verdict::Permit
}

pub(super) const fn call<'a>(module: &'a str, function: &'a str, arity: u32) -> Request<'a> {
    Request::new(
        Action::Call,
        Resource::Function {
            module,
            function,
            arity,
        },
    )
}

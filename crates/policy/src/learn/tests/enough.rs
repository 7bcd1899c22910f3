//! Enough, and no more: whatever was seen, in whatever order.

use proptest::prelude::*;

use super::*;
use crate::catalogue;

fn nodes() -> Vec<Subject> {
    vec![
        node("cart", "a"),
        node("cart", "b"),
        node("stock", "c"),
        node("bill", "d"),
        Subject {
            node: "cart2".into(),
            ..node("cart", "e")
        },
        cli("stock", "c"),
        cli("tools", "a"),
    ]
}

fn seen() -> impl Strategy<Value = Seen> {
    let names = prop::sample::select(vec![
        "shop",
        "stock",
        "worker_1",
        "worker_2",
        "worker_3",
        "rex",
        "net_kernel",
        "pg",
        "logger",
        "Elixir.MyApp.PubSub.Adapter",
        "Elixir.Phoenix.PubSub",
        "file_server_2",
        "%2F_orders",
        "odd*",
    ]);
    let functions = prop::sample::select(vec![
        ("shop", "level", 1),
        ("shop", "set", 2),
        ("os", "cmd", 1),
        ("erlang", "node", 0),
        ("erlang", "memory", 0),
        ("lists", "map", 2),
        ("rabbit_amqqueue", "info_all", 2),
        ("rabbit", "status", 0),
        ("erl_eval", "exprs", 2),
    ]);
    let what = prop_oneof![
        Just((Action::Connect, What::Node)),
        prop::sample::select(vec![
            Action::SendPid,
            Action::Monitor,
            Action::Link,
            Action::Exit
        ])
        .prop_map(|action| (action, What::Node)),
        (
            prop::sample::select(vec![
                Action::Send,
                Action::Monitor,
                Action::Link,
                Action::Supervise,
                Action::RegisterGlobal
            ]),
            names
        )
            .prop_map(|(action, name)| (action, process(name))),
        (
            prop::sample::select(vec![Action::Call, Action::Cast, Action::Spawn]),
            functions
        )
            .prop_map(|(action, (m, f, a))| (action, function(m, f, a))),
        Just((Action::Connect, What::Service("postgres".into()))),
    ];
    let ends = (prop::sample::select(nodes()), prop::sample::select(nodes()));
    let said =
        prop_oneof![8 => Just(Said::Passed), 1 => Just(Said::Forbidden), 1 => Just(Said::Refused)];
    let by = prop::sample::select(vec![By::Sender, By::Receiver, By::Either]);
    (
        ends,
        what,
        prop::bool::weighted(0.1),
        said,
        by,
        1u64..4,
        0u64..1000,
    )
        .prop_map(
            |((from, to), (action, what), carries_function, said, by, count, first)| Seen {
                carries_function: carries_function && action != Action::Connect,
                said,
                by,
                count,
                first,
                last: first + 10,
                ..saw(&from, &to, action, what)
            },
        )
}

/// Without one of its policies, or one of its roles.
fn without(files: &[File], cut: &str) -> Option<Arc<Engine>> {
    let mut source = Source::read(files).unwrap();
    if let Some(n) = cut.strip_prefix("role ") {
        source.roles.remove(n.parse().ok()?);
    } else {
        for file in &mut source.policies {
            let start = file.text.find(&format!("@id(\"{cut}\")"))?;
            let end = file.text[start..].find(";\n")? + start + 2;
            file.text.replace_range(start..end, "");
        }
    }
    Some(Arc::new(Engine::compile(&source).unwrap()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn the_order_does_not_matter(seen in prop::collection::vec(seen(), 1..40), seed in any::<u64>()) {
        let told: Vec<Told> = seen.iter().cloned().map(Told::Seen).collect();
        let once = learn(told.clone(), &options()).unwrap();
        let mut shuffled = told;
        let length = shuffled.len() as u64;
        for n in 0..shuffled.len() {
            let other = seed.wrapping_mul(6_364_136_223_846_793_005).rotate_left(u32::try_from(n % 64).unwrap()) % length;
            shuffled.swap(n, usize::try_from(other).unwrap());
        }
        let again = learn(shuffled, &options()).unwrap();
        prop_assert_eq!(once.files, again.files);
        prop_assert_eq!(once.left_out, again.left_out);
    }

    /// All that was not left out passes, all that was is refused, and no line is there for nothing.
    #[test]
    fn it_is_enough_and_each_line_is_needed(seen in prop::collection::vec(seen(), 1..40)) {
        let learned = learned(&seen, &options());
        its_tests_pass(&learned);
        let whole = engine(&learned);
        let tests = learned.files.iter().find(|file| file.name == "tests/learned.yaml").unwrap();
        let ids = text(&learned, "learned.cedar").lines().filter_map(|line| {
            line.strip_prefix("@id(\"")?.strip_suffix("\")").map(str::to_owned)
        });
        let lines = ids.filter(|id| !id.starts_with("forbidden"));
        for cut in lines.chain((0..learned.roles).map(|n| format!("role {n}"))) {
            let engine = without(&learned.files, &cut).unwrap();
            prop_assert!(engine.policies() < whole.policies());
            let report = test::run(&engine, tests).unwrap();
            let implied = cut.starts_with("connect") || cut.starts_with("send") || cut.starts_with("monitor");
            let needed = report.failures().next().is_some();
            prop_assert!(needed || implied, "{cut} is not needed:\n{}", text(&learned, "learned.cedar"));
        }
    }
}

/// Of random calls that were never seen at least 99.9 % are refused: functions of OTP's modules and such that nobody has.
#[test]
fn of_ten_thousand_calls_never_seen_nearly_all_are_refused() {
    let (a, b, tool) = (node("mq", "a"), node("mq", "b"), cli("mq", "a"));
    let mut seen = rabbits(&a, &b);
    let (_, group) = crate::role::groups()
        .find(|(name, _)| name == "skans:cli-tool/functions")
        .unwrap();
    seen.extend(link(&tool, &a));
    for name in group.functions.iter().take(40) {
        let (module, name, arity) = crate::name::parse(&name.replace('*', "1")).unwrap();
        seen.push(saw(
            &tool,
            &a,
            Action::Call,
            What::Function(module, name, arity),
        ));
    }
    let learned = learned(&seen, &options());
    assert_eq!(learned.roles, 2, "{}", text(&learned, "set.yaml"));
    let engine = engine(&learned);
    let modules: Vec<&str> = catalogue::modules().collect();
    // The names of functions that people try first, and any.
    let names = [
        "cmd",
        "start",
        "stop",
        "apply",
        "call",
        "info",
        "read_file",
        "load_binary",
        "halt",
        "eval",
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |most: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap() % most
    };
    let mut permitted = 0;
    let pair = [engine.pair(&a, &b, 0), engine.pair(&tool, &a, 0)];
    let mut caches = [cache::Cache::new(), cache::Cache::new()];
    for n in 0..10_000 {
        let module = match n % 3 {
            0 => format!("m{:x}", next(1 << 20)),
            _ => modules[next(modules.len())].to_owned(),
        };
        let function = match n % 2 {
            0 => names[next(names.len())].to_owned(),
            _ => format!("f{:x}", next(1 << 16)),
        };
        let arity = u32::try_from(next(5)).unwrap();
        let request = call(&module, &function, arity);
        permitted += usize::from(caches[n % 2].decide(&pair[n % 2], &request) == Verdict::Permit);
    }
    assert!(permitted <= 10, "{permitted} of 10,000");
    assert!(!asked(&engine, &a, &b, &call("os", "cmd", 1)));
}

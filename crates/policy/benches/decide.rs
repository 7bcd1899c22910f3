//! What a decision costs: remembered (100,000 keys in a Zipf mix) and not (1,000 policies). Prints medians; run it on a quiet
//! machine: `cargo bench -p skans-policy`.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::indexing_slicing,
    clippy::panic
)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use skans_policy::source::{ClusterLinks, Entities, Mode, Version};
use skans_policy::{
    Action, Cache, Engine, File, Request, Resource, Source, Subject, Verdict, role,
};

const KEYS: usize = 100_000;
const CLUSTER: &str = "spiffe://prod.example/cluster/shop";

fn main() {
    let (from, to) = (subject("cart", "host-a"), subject("stock", "host-b"));
    let engine = engine(1_000);
    println!("{} policies", engine.policies());
    let started = Instant::now();
    let pair = engine.pair(&from, &to, 0);
    println!("pair made in {:?}", started.elapsed());

    let names: Vec<String> = (0..KEYS).map(|n| format!("shop_process_{n}")).collect();
    let mut cache = Cache::new();
    for name in &names {
        let _ = cache.decide(&pair, &send(name));
    }
    println!(
        "{} verdicts remembered in {} KiB",
        cache.len(),
        cache.bytes() / 1024
    );
    let order = zipf(1 << 20);
    let order: Vec<&str> = order.iter().map(|&n| names[n].as_str()).collect();
    // One clock reading costs a fifth of what is measured: medians are of runs of 64.
    let mut times = Vec::new();
    for run in order.chunks_exact(64) {
        let started = Instant::now();
        for name in run {
            let _ = black_box(cache.decide(&pair, &send(name)));
        }
        times.push(started.elapsed().as_nanos() as f64 / 64.0);
    }
    print("remembered, 100,000 keys, Zipf", &mut times, "ns");

    for (what, request) in [
        ("not remembered: own process", send("shop_process_1")),
        ("not remembered: named function", call("shop_7", "level", 1)),
        (
            "not remembered: function nobody permits",
            call("os", "cmd", 1),
        ),
        (
            "not remembered: function of OTP",
            call("erlang", "memory", 0),
        ),
        (
            "not remembered: pid",
            Request::new(Action::SendPid, Resource::Node),
        ),
    ] {
        let mut times: Vec<f64> = (0..20_000)
            .map(|_| {
                let started = Instant::now();
                let _ = black_box(pair.decide(&request));
                started.elapsed().as_nanos() as f64 / 1_000.0
            })
            .collect();
        print(what, &mut times, "us");
    }
    assert_eq!(
        pair.decide(&call("shop_7", "level", 1)).verdict,
        Verdict::Permit
    );
}

fn subject(workload: &str, host: &str) -> Subject {
    Subject {
        trust_domain: "prod.example".into(),
        cluster: "shop".into(),
        namespace: "web".into(),
        workload: workload.into(),
        node: workload.into(),
        host: host.into(),
    }
}

const fn send(name: &str) -> Request<'_> {
    Request::new(Action::Send, Resource::Process(name))
}

const fn call<'a>(module: &'a str, function: &'a str, arity: u32) -> Request<'a> {
    Request::new(
        Action::Call,
        Resource::Function {
            module,
            function,
            arity,
        },
    )
}

/// What a large set looks like: roles for everybody, and for each of many functions who may call it where; a tenth of the
/// policies forbid.
fn engine(policies: usize) -> Arc<Engine> {
    let mut text = String::new();
    for n in 0..policies {
        let effect = if n % 10 == 9 { "forbid" } else { "permit" };
        let workload = if n % 4 == 3 { "cart" } else { "other" };
        let principal = match n % 4 {
            0 => "principal".to_owned(),
            1 => format!("principal in Skans::Cluster::\"{CLUSTER}\""),
            _ => format!("principal in Skans::Workload::\"{CLUSTER}/ns/web/sa/{workload}\""),
        };
        text.push_str(&format!(
            "@id(\"p{n}\") {effect} ({principal}, action == Skans::Action::\"call\", resource == Skans::Function::\"shop_{n}:level/1\")\nwhen {{ resource in Skans::Workload::\"{CLUSTER}/ns/web/sa/stock\" && !context.carriesFunction }};\n"
        ));
    }
    let source = Source {
        version: Version { epoch: 1, n: 1 },
        name: "bench".into(),
        mode: Mode::Enforce,
        policies: vec![File {
            name: "bench.cedar".into(),
            text,
        }],
        entities: Entities::default(),
        roles: role::same_cluster_members(CLUSTER),
        links: ClusterLinks::default(),
    };
    Arc::new(Engine::compile(&source).unwrap_or_else(|problems| panic!("{problems}")))
}

/// Ranks with a frequency of 1/rank, from a fixed seed.
fn zipf(n: usize) -> Vec<usize> {
    let mut sums = Vec::with_capacity(KEYS);
    let mut sum = 0.0;
    for rank in 1..=KEYS {
        sum += 1.0 / rank as f64;
        sums.push(sum);
    }
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..n)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let at = (state >> 11) as f64 / (1_u64 << 53) as f64 * sum;
            // Ranks are spread over the names, as real ones are.
            sums.partition_point(|&sum| sum < at).min(KEYS - 1) * 7_919 % KEYS
        })
        .collect()
}

fn print(what: &str, times: &mut [f64], unit: &str) {
    times.sort_by(f64::total_cmp);
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    println!(
        "{what}: median {:.1} {unit}, 99 % {:.1} {unit}",
        at(0.5),
        at(0.99)
    );
}

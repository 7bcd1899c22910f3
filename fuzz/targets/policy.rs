//! What an author hands over as a policy set, and what a peer calls its names: whatever it is, it is refused or it decides, and
//! what reads back from its canonical form is that form.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use skans_fuzz as _;
use skans_policy::{Action, Cache, Engine, File, Mode, Request, Resource, Source, Subject, Version};

fuzz_target!(|bytes: &[u8]| {
    let Some((&what, rest)) = bytes.split_first() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(rest) else {
        return;
    };
    match what % 4 {
        0 => {
            if let Ok(source) = Source::from_canonical(text, Version::default()) {
                assert_eq!(source.to_canonical(), text);
                let _ = Engine::compile(&source);
            }
        }
        1 => {
            let files = text.split('\0').zip(["set.yaml", "entities.yaml", "a.cedar", "links.yaml"]);
            let files: Vec<File> = files
                .map(|(text, name)| File { name: name.into(), text: text.into() })
                .collect();
            if let Ok(source) = Source::read(&files) {
                let back = Source::from_canonical(&source.to_canonical(), source.version);
                assert_eq!(back.as_ref(), Ok(&source), "what was read can be signed");
                let _ = Engine::compile(&source);
            }
        }
        2 => {
            let source = Source {
                version: Version::default(),
                name: "fuzz".into(),
                mode: Mode::Enforce,
                policies: vec![File { name: "a.cedar".into(), text: text.into() }],
                ..Source::nothing(Version::default())
            };
            if let Ok(engine) = Engine::compile(&source) {
                decide(&Arc::new(engine), "shop", "level");
            }
        }
        _ => {
            let (name, other) = text.split_once('\0').unwrap_or((text, ""));
            let engine = Engine::compile(&Source::same_cluster_members("prod.example", "shop"));
            decide(&Arc::new(engine.expect("the built-in set compiles")), name, other);
        }
    }
});

fn decide(engine: &Arc<Engine>, name: &str, other: &str) {
    let node = |host: &str| Subject {
        trust_domain: "prod.example".into(),
        cluster: "shop".into(),
        namespace: "web".into(),
        workload: "cart".into(),
        node: "cart".into(),
        host: host.into(),
    };
    let pair = engine.pair(&node("a"), &node("b"), 0);
    let mut cache = Cache::new();
    let function = Resource::Function { module: name, function: other, arity: 2 };
    for &action in Action::ALL {
        for resource in [Resource::Node, Resource::Process(name), function] {
            let mut request = Request::new(action, resource);
            request.now = Some(0);
            let verdict = pair.decide(&request).verdict;
            for _ in 0..2 {
                assert_eq!(cache.decide(&pair, &request), verdict);
            }
        }
    }
}

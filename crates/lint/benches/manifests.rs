//! How long a thousand manifests take on one core: `cargo bench -p skans-lint`. Nothing is asserted, since machines differ;
//! what was measured stands in `docs/measurements/`.
#![allow(
    clippy::unwrap_used,
    reason = "a benchmark that cannot go on has failed"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use skans_lint::{Options, Profile, check, collect, report};

const MANIFESTS: usize = 1000;
const ROUNDS: usize = 11;
/// Those of the bundle.
const NAMESPACES: &[&str] = &[
    "shop", "office", "ledger", "jobs", "store", "queue", "mqtt", "chat",
];

/// The bundle of the tests again and again, each time in namespaces of its own, one object a file.
fn manifests() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bundle/k8s");
    let collected = collect::collect(&[PathBuf::from(&root)], &mut std::io::empty());
    let objects: Vec<String> = collected
        .files
        .iter()
        .flat_map(|(_, text)| text.split("\n---\n").map(str::to_owned))
        .collect();
    (0..MANIFESTS)
        .map(|number| {
            let round = number / objects.len();
            let mut text = objects[number % objects.len()].clone();
            for namespace in NAMESPACES {
                text = text.replace(
                    &format!("namespace: {namespace}"),
                    &format!("namespace: {namespace}-{round}"),
                );
            }
            (format!("k8s/{number}.yaml"), text)
        })
        .collect()
}

fn main() {
    let directory = tempfile::tempdir().unwrap();
    let files = manifests();
    for (name, text) in &files {
        let path = directory.path().join(name.replace('/', "-"));
        fs::write(path, text).unwrap();
    }
    let bytes: usize = files.iter().map(|(_, text)| text.len()).sum();
    println!("{} manifests, {} KiB", files.len(), bytes / 1024);
    for profile in [Profile::Beam, Profile::All] {
        let mut times: Vec<_> = (0..ROUNDS)
            .map(|_| {
                let start = Instant::now();
                let read = collect::collect(&[directory.path().to_owned()], &mut std::io::empty());
                let checked = check(read.files, &Options { profile });
                let text = report::text(&checked, false);
                let time = start.elapsed();
                assert!(!text.is_empty());
                (time, checked.set.objects.len(), checked.findings.len())
            })
            .collect();
        times.sort();
        let (time, objects, findings) = times[ROUNDS / 2];
        println!(
            "{profile:?}: {} ms, least {}, most {} ({objects} objects, {findings} findings)",
            time.as_millis(),
            times[0].0.as_millis(),
            times[ROUNDS - 1].0.as_millis(),
        );
    }
}

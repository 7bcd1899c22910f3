//! A whole run of `lint`: any files are read, and all that is found has a place in them. The first byte of each picks a
//! name; NUL is between files.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skans_fuzz as _;
use skans_lint::{Options, Profile, check, report};

const NAMES: &[&str] = &[
    "k8s/a.yaml", "rel/vm.args", "sys.config", "config/runtime.exs", "mix.exs", "rel/env.sh.eex", "ssl_dist.conf",
    "rabbitmq.conf", "emqx.conf", "Dockerfile", "run.sh", "values.json", "rebar.config", "<stdin>",
];

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let files = text
        .split('\0')
        .take(8)
        .map(|file| {
            let mut rest = file.chars();
            let pick = rest.next().map_or(0, |c| c as usize) % NAMES.len();
            (NAMES[pick].to_owned(), rest.as_str().to_owned())
        })
        .collect();
    let options = Options { profile: Profile::All };
    let checked = check(files, &options);
    for finding in &checked.findings {
        let place = checked.set.sources.location(finding.place);
        assert!(place.line > 0 && place.column > 0 && place.end_line >= place.line);
    }
    let _ = (report::text(&checked, true), report::json(&checked), report::sarif(&checked), report::github(&checked));
});

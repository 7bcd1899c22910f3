//! What somebody writes to stop a linter: each gets an error or a finding, in bounded time and memory. The bound here is
//! loose, since it holds on a busy machine and without optimisation; what is not bounded takes hours.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::fs::{self, File};
use std::io::{self, Cursor};
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use skans_lint::collect::{Collected, collect};
use skans_lint::{Checked, Options, Profile, check, report};

const BOUND: Duration = Duration::from_secs(180);

/// Looks at files on a thread of ordinary stack, and says it in each form.
fn look(name: &str, files: Vec<(String, String)>) -> Checked {
    let (done, result) = mpsc::channel();
    let run = move || {
        let options = Options {
            profile: Profile::All,
        };
        let checked = check(files, &options);
        let _ = (report::text(&checked, true), report::github(&checked));
        let _ = (
            report::json(&checked).to_string(),
            report::sarif(&checked).to_string(),
        );
        let _ = done.send(checked);
    };
    thread::spawn(run);
    result
        .recv_timeout(BOUND)
        .unwrap_or_else(|_| panic!("{name}: not within {} s", BOUND.as_secs()))
}

fn one(name: &str, text: String) -> Checked {
    look(name, vec![(name.to_owned(), text)])
}

fn read(paths: &[PathBuf], stdin: &mut dyn io::Read) -> Collected {
    collect(paths, stdin)
}

#[test]
fn deep_nesting_is_an_error_in_each_language() {
    const DEEP: usize = 200_000;
    for (name, open) in [
        ("a.yaml", "["),
        ("b.yaml", "- "),
        ("c.json", "{\"a\":"),
        ("sys.config", "["),
        ("ssl_dist.conf", "[{server,"),
        ("rebar.config", "{a,"),
        ("config/runtime.exs", "("),
        ("mix.exs", "[a: "),
        ("emqx.conf", "{a:"),
        ("rel/env.sh", "$("),
    ] {
        let checked = one(name, open.repeat(DEEP) + "].");
        let told = !checked.set.unread.is_empty() || !checked.findings.is_empty();
        assert!(told, "{name}: nothing is said about {DEEP} levels");
    }
}

#[test]
fn an_anchor_bomb_is_an_error_alone_and_in_numbers() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..30 {
        let before = format!("*a{}", level - 1);
        bomb += &format!(
            "a{level}: &a{level} [{}]\n",
            [before.as_str(); 10].join(", ")
        );
    }
    let checked = one("bomb.yaml", bomb.clone());
    assert_eq!(checked.set.unread.len(), 1);
    assert!(
        checked.set.unread[0].reason.contains("aliases"),
        "{:?}",
        checked.set.unread
    );
    let many = (0..200).map(|number| (format!("{number}.yaml"), bomb.clone()));
    assert_eq!(look("200 bombs", many.collect()).set.unread.len(), 200);
}

#[test]
fn a_hundred_megabytes_are_refused_and_not_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("values.yaml");
    File::create(&path).unwrap().set_len(100 << 20).unwrap();
    let collected = read(&[path], &mut io::empty());
    assert!(collected.files.is_empty());
    assert!(
        collected.errors[0].to_string().contains("size of file"),
        "{:?}",
        collected.errors
    );
    // Nor does what never ends.
    let collected = read(&[PathBuf::from("-")], &mut io::repeat(b'a'));
    assert!(collected.files.is_empty() && collected.errors.len() == 1);
}

#[test]
fn what_is_no_text_is_an_error_with_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("vm.args");
    fs::write(&path, b"-name a@b\n\xff\xfe").unwrap();
    let collected = read(&[path], &mut io::empty());
    assert!(
        collected.errors[0]
            .to_string()
            .ends_with("not UTF-8 at byte 10"),
        "{:?}",
        collected.errors
    );
    let collected = read(&[PathBuf::from("-")], &mut Cursor::new(b"\x80"));
    assert_eq!(collected.errors.len(), 1);
}

#[test]
fn files_that_include_themselves_and_each_other_end() {
    let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let checked = look(
        "cycles",
        vec![
            file(
                "rel/vm.args",
                "-args_file vm.args\n-args_file other.args\n-name a@b\n",
            ),
            file("rel/other.args", "-args_file vm.args\n"),
            file("rel/sys.config", "[\"sys.config\", \"sys\"]."),
            file(
                "rel/env.sh",
                ". ./env.sh\nsource env.sh\nexport A=$A$A\nexport B=$B\n",
            ),
            file(
                "config/config.exs",
                "import Config\nimport_config \"config.exs\"\n",
            ),
            file("emqx.conf", "include \"emqx.conf\"\na = ${a}${a}\n"),
            file("a.yaml", "a: &a [*a]\nb: &b {c: *b}\n"),
        ],
    );
    assert!(
        checked
            .findings
            .iter()
            .any(|found| found.rule.id == "ERL012"),
        "the node is seen"
    );
}

/// Numbers that a rule might square.
#[test]
fn many_of_a_kind_take_no_longer_than_they_are_many() {
    const MANY: usize = 20_000;
    let settings: Vec<_> = (0..MANY).map(|number| format!("{{k{number},1}}")).collect();
    one(
        "sys.config",
        format!("[{{kernel,[{}]}}].", settings.join(",")),
    );
    one(
        "vm.args",
        "-name a@b\n+hms 9000\n-setcookie a\n".repeat(MANY / 3),
    );
    one(
        "ssl_dist.conf",
        format!("[{{server,[{}]}}].", ["{dhfile,\"a\"}"; MANY / 2].join(",")),
    );
    one(
        "config/runtime.exs",
        format!(
            "import Config\n{}",
            "config :kernel, a: 1\n".repeat(MANY / 4)
        ),
    );
    one("env.sh", "export RELEASE_COOKIE=abc\n".repeat(MANY / 4));
    one(
        "Dockerfile",
        format!(
            "FROM erlang\n{}",
            "ENV RELEASE_COOKIE=abc\n".repeat(MANY / 4)
        ),
    );
    one("empty.yaml", "---\na\n".repeat(MANY));
    one(
        "long.yaml",
        format!(
            "apiVersion: v1\nkind: Pod\nspec: {{containers: [{}]}}",
            "{name: a, env: [{name: RELEASE_COOKIE, value: abc}]},".repeat(MANY / 20)
        ),
    );
}

#[test]
fn many_objects_take_no_longer_than_they_are_many() {
    const MANY: usize = 500;
    let mut text = String::new();
    for number in 0..MANY {
        text += &format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: p{number}, namespace: a, labels: {{app: a}}}}\n\
             spec: {{serviceAccountName: s, containers: [{{name: a, image: erlang, env: [{{name: RELEASE_COOKIE, value: abc}}], \
             ports: [{{name: http, containerPort: 1}}]}}]}}\n\
             ---\napiVersion: v1\nkind: Service\nmetadata: {{name: p{number}, namespace: a}}\nspec: {{clusterIP: None, selector: {{app: a}}, ports: [{{port: 1, targetPort: http}}]}}\n\
             ---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p{number}, namespace: a}}\n\
             spec: {{podSelector: {{matchLabels: {{app: a}}}}, policyTypes: [Ingress], ingress: [{{from: [{{podSelector: {{}}}}], ports: [{{port: http}}]}}]}}\n"
        );
    }
    one("many.yaml", text);
}

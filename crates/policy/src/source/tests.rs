use proptest::prelude::*;

use super::*;

fn files(all: &[(&str, &str)]) -> Vec<File> {
    let file = |&(name, text): &(&str, &str)| File {
        name: name.into(),
        text: text.into(),
    };
    all.iter().map(file).collect()
}

const SET: &str = "apiVersion: skans.io/v1alpha1
name: shop
mode: dry-run
until: 2027-01-31
roles:
  - role: member
    principals: [{cluster: 'spiffe://prod.example/cluster/shop'}]
    on: [{workload: 'spiffe://prod.example/cluster/shop/ns/web/sa/stock', cli: false}]
";

const ENTITIES: &str = "nodes:
  spiffe://prod.example/cluster/shop/ns/web/sa/stock: {purpose: stock}
processes:
  stock_*: {dataClass: internal}
functions:
  'shop_stock:level/1': {purpose: stock}
groups:
  stock:
    processes: [stock_server]
    functions: ['shop_stock:level/1', 'shop_stock:reserve/*']
";

fn read() -> Source {
    let files = files(&[
        ("set.yaml", SET),
        ("entities.yaml", ENTITIES),
        ("b.cedar", "// b"),
        ("a.cedar", "// a"),
        ("tests/a.yaml", "anything"),
        (".gitignore", "*.swp"),
    ]);
    Source::read(&files).unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn the_files_of_a_directory_become_a_set() {
    let source = read();
    // date -u -d 2027-01-31 +%s
    assert_eq!(
        source.mode,
        Mode::DryRun {
            until: 1_801_353_600
        }
    );
    let names: Vec<_> = source
        .policies
        .iter()
        .map(|file| file.name.as_str())
        .collect();
    assert_eq!(names, ["a.cedar", "b.cedar"]);
    assert_eq!(source.roles[0].on[0].cli, Some(false));
    assert_eq!(source.entities.groups["stock"].functions.len(), 2);
}

#[test]
fn what_was_signed_reads_back_and_nothing_else_does() {
    let source = read();
    let text = source.to_canonical();
    let version = Version { epoch: 2, n: 7 };
    let back = Source::from_canonical(&text, version).unwrap();
    assert_eq!(back, Source { version, ..source });
    assert_eq!(back.to_canonical(), text);
    for other in [
        format!(" {text}"),
        format!("{text}\n"),
        text.replacen("\"name\":", "\"name\": ", 1),
        text.replacen("skans.io/v1alpha1", "skans.io/v2", 1),
        text.replacen("\"name\":\"shop\"", "\"name\":\"shop\",\"more\":1", 1),
        text.replacen("\"name\":\"shop\"", "\"name\":\"\\u0073hop\"", 1),
        text.replacen("\"name\":\"shop\"", "\"name\":\"Shop\"", 1),
        text.replacen("\"role\":\"member\"", "\"role\":\"root\"", 1),
        "x".repeat(MAX_BYTES + 1),
    ] {
        assert_ne!(other, text);
        assert!(
            Source::from_canonical(&other, version).is_err(),
            "{other:.200}"
        );
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place_and_what_would_be_right() {
    for (found, wanted, says) in [
        (
            "apiVersion: skans.io/v1alpha1",
            "apiVersion: v1",
            "set.yaml: apiVersion: found \"v1\"; wanted \"skans.io/v1alpha1\"",
        ),
        ("name: shop", "nam: shop", "set.yaml:2:1: "),
        (
            "name: shop",
            "name: Shop",
            "set.yaml: name: \"Shop\"; wanted 1 to 63 of a-z 0-9 -",
        ),
        (
            "until: 2027-01-31\n",
            "",
            "set.yaml: mode: dry-run without an end; wanted until: a day",
        ),
        (
            "2027-01-31",
            "2027-02-29",
            "set.yaml: until: \"2027-02-29\"; wanted a day such as 2027-01-31",
        ),
        (
            "mode: dry-run",
            "mode: enforce",
            "set.yaml: until: beside mode: enforce",
        ),
        (
            "role: member",
            "role: membre",
            "set.yaml: roles[0].role: \"membre\"; wanted perhaps \"member\"",
        ),
        (
            "role: member",
            "role: named-client",
            "set.yaml: roles[0].servers: none",
        ),
        (
            "role: member",
            "role: member\n    servers: [a]",
            "set.yaml: roles[0].servers: servers for member",
        ),
        (
            "{cluster: 'spiffe://prod.example/cluster/shop'}",
            "{cluster: shop}",
            "roles[0].principals: cluster: \"shop\"; wanted spiffe://<trust domain>/cluster/<c>",
        ),
        (
            "{cluster: 'spiffe",
            "{namespace: 'spiffe",
            "namespace: \"spiffe://prod.example/cluster/shop\", which is the ID of a Cluster",
        ),
        (
            "[{cluster: 'spiffe://prod.example/cluster/shop'}]",
            "[]",
            "roles[0].principals: nobody",
        ),
        (
            "[{cluster: 'spiffe://prod.example/cluster/shop'}]",
            "[{cli: true}]",
            "roles[0].principals: a selector without a key",
        ),
    ] {
        let text = SET.replacen(found, wanted, 1);
        assert_ne!(text, SET, "{found}");
        let problems = Source::read(&files(&[("set.yaml", &text)]))
            .unwrap_err()
            .to_string();
        assert!(problems.contains(says), "{says}\n{problems}");
    }
    for (all, says) in [
        (&[][..], "set.yaml: no such file"),
        (
            &[("set.yaml", SET), ("notes.txt", "")],
            "notes.txt: a file that no set has",
        ),
        (
            &[
                ("set.yaml", SET),
                ("entities.yaml", "nodes: {stock: {a: b}}"),
            ],
            "entities.yaml: \"stock\"; wanted an ID",
        ),
        (
            &[
                ("set.yaml", SET),
                ("entities.yaml", "functions: {'os:cmd': {a: b}}"),
            ],
            "\"os:cmd\"; wanted module:function/arity",
        ),
        (
            &[
                ("set.yaml", SET),
                ("entities.yaml", "groups: {'skans:plumbing': {}}"),
            ],
            "group \"skans:plumbing\"; wanted 1 to 63",
        ),
        (
            &[
                ("set.yaml", SET),
                ("entities.yaml", "groups: {a: {process: [b]}}"),
            ],
            "entities.yaml:1:",
        ),
        (
            &[("set.yaml", SET), ("a.cedar", ""), ("a.cedar", "")],
            "a.cedar: two files of that name",
        ),
    ] {
        let problems = Source::read(&files(all)).unwrap_err().to_string();
        assert!(problems.contains(says), "{says}\n{problems}");
    }
}

/// A cluster of 64 bytes.
const LONG: &str =
    "spiffe://prod/cluster/cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc";

#[test]
fn an_id_is_of_one_kind_or_of_none() {
    for (id, kind) in [
        ("spiffe://prod.example", Some(Kind::TrustDomain)),
        ("spiffe://prod.example/cluster/c", Some(Kind::Cluster)),
        (
            "spiffe://prod.example/cluster/c/ns/n",
            Some(Kind::Namespace),
        ),
        (
            "spiffe://prod.example/cluster/c/ns/n/sa/w",
            Some(Kind::Workload),
        ),
        (
            "spiffe://prod.example/cluster/c/ns/n/sa/w/node/x",
            Some(Kind::Node),
        ),
        (
            "spiffe://prod.example/cluster/c/ns/n/sa/w/node/x@host.a",
            Some(Kind::Node),
        ),
        (
            "spiffe://prod.example/cluster/c/ns/n/sa/w/node/x@2001:db8::1",
            Some(Kind::Node),
        ),
        // What no certificate has.
        ("spiffe://prod/cluster/c/ns/n/sa/w/node/x.y", None),
        ("spiffe://prod/cluster/c/ns/n/sa/w/node/x@-a", None),
        ("spiffe://prod/cluster/c/ns/n/sa/w/node/x@10.0.0", None),
        ("spiffe://prod/cluster/c/ns/n/sa/w/node/x@0::1", None),
        (LONG, None),
        ("spiffe://", None),
        ("spiffe://Prod", None),
        ("spiffe://prod/", None),
        ("spiffe://prod/cluster", None),
        ("spiffe://prod/cluster/", None),
        ("spiffe://prod/cluster/..", None),
        ("spiffe://prod/cluster/c@h", None),
        ("spiffe://prod/cluster/c/sa/w", None),
        ("spiffe://prod/cluster/c/ns/n/sa/w/node/x@", None),
        ("spiffe://prod/cluster/c/ns/n/sa/w/node/x@a@b", None),
        ("spiffe://prod/cluster/c/ns/n/sa/w/node/x/more/y", None),
        ("spiffe://prod/skans/agent/a", None),
        ("", None),
    ] {
        assert_eq!(Kind::of(id), kind, "{id}");
    }
}

#[test]
fn a_dry_run_of_some_days_ends_at_the_start_of_a_day_and_not_before() {
    const DAY: u64 = 86_400;
    for (now, days, until) in [
        (0, 30, 30 * DAY),
        (1, 30, 31 * DAY),
        (DAY - 1, 1, 2 * DAY),
        (DAY, 1, 2 * DAY),
    ] {
        assert_eq!(Mode::dry_run(now, days), Mode::DryRun { until });
    }
    assert!(matches!(
        Mode::dry_run(u64::MAX, u64::MAX),
        Mode::DryRun { .. }
    ));
}

proptest! {
    #[test]
    fn no_text_upsets_the_readers(text in "\\PC{0,200}", name in "(set.yaml|entities.yaml|a.cedar|\\PC{0,10})") {
        let _ = Source::from_canonical(&text, Version::default());
        let _ = Source::read(&[File { name, text: text.clone() }]);
        let _ = Source::read(&[File { name: "set.yaml".into(), text: SET.into() }, File { name: "entities.yaml".into(), text }]);
    }

    #[test]
    fn a_mutated_canonical_text_is_refused_or_is_canonical(at in 0usize..1_000, byte in 32u8..127) {
        let text = read().to_canonical();
        let mut bytes = text.into_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(text) = String::from_utf8(bytes)
            && let Ok(source) = Source::from_canonical(&text, Version::default())
        {
            prop_assert_eq!(source.to_canonical(), text);
        }
    }
}

const LINKS: &str = "- name: shop
  trustDomain: theirs.example
  cluster: main
  notAfter: 1798000000
  exports:
    - {node: orders@host-a, process: order_server}
";

#[test]
fn links_are_a_part_of_what_is_signed_and_sets_without_any_look_as_before() {
    let with = |links: &str| Source::read(&files(&[("set.yaml", SET), ("links.yaml", links)]));
    let source = with(LINKS).unwrap();
    let text = source.to_canonical();
    assert!(
        text.contains(r#""links":[{"cluster":"main","exports":[{"#),
        "{text}"
    );
    let back = Source::from_canonical(&text, Version::default()).unwrap();
    assert_eq!(back, source);
    assert_eq!(back.to_canonical(), text);
    assert!(!read().to_canonical().contains("links"));
    let other = text.replace(r#""cluster":"main","exports""#, r#""exports""#);
    assert!(Source::from_canonical(&other, Version::default()).is_err());
    for (links, says) in [
        ("[{name: a, cluster: main}]", "links[0]: no cluster"),
        ("[{trustDomain: A, cluster: main}]", "links[0]: no cluster"),
        (
            "[{trustDomain: a.b, cluster: main/ns/x}]",
            "links[0]: no cluster",
        ),
        ("{}", "links.yaml"),
    ] {
        let problems = with(links).unwrap_err().to_string();
        assert!(problems.contains(says), "{says}\n{problems}");
    }
}

#[test]
fn a_set_may_speak_of_the_clusters_that_it_links_and_of_no_other() {
    let home = Home::new("prod.example", "shop");
    let of = |id: &str| {
        let policy = format!(
            "@id(\"a\") permit(principal in Skans::Workload::\"{id}\", action == Skans::Action::\"connect\", resource);"
        );
        let set = SET.replace("roles:", "roles: []\nold:");
        let set = set.split("old:").next().unwrap();
        let all = [
            ("set.yaml", set),
            ("links.yaml", LINKS),
            ("a.cedar", &policy),
        ];
        let source = Source::read(&files(&all)).unwrap();
        crate::Engine::compile_for(&source, &home).map(drop)
    };
    assert_eq!(of("spiffe://prod.example/cluster/shop/ns/n/sa/w"), Ok(()));
    assert_eq!(of("spiffe://theirs.example/cluster/main/ns/n/sa/w"), Ok(()));
    for other in [
        "spiffe://theirs.example/cluster/other/ns/n/sa/w",
        "spiffe://theirs.example.evil/cluster/main/ns/n/sa/w",
        "spiffe://prod.example/cluster/main/ns/n/sa/w",
    ] {
        let problems = of(other).unwrap_err().to_string();
        assert!(
            problems.contains("or a cluster of links.yaml"),
            "{problems}"
        );
    }
}

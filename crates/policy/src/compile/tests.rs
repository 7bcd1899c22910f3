use proptest::prelude::*;

use crate::engine::Engine;
use crate::engine::tests::source;
use crate::source::{Binding, Entities, File, Group, Home, MAX_POLICIES, Selector};

fn problems(text: &str) -> String {
    let compiled = Engine::compile(&source(text));
    compiled
        .err()
        .unwrap_or_else(|| panic!("it compiles: {text}"))
        .to_string()
}

#[test]
fn what_is_wrong_in_a_policy_is_told_with_its_place_and_what_would_be_right() {
    let good =
        "@id(\"first\")\npermit (principal, action == Skans::Action::\"connect\", resource);\n";
    assert!(Engine::compile(&source(good)).is_ok());
    for (bad, place, says) in [
        // Cedar's own.
        (
            "@id(\"x\") permit (principal, action resource);",
            "a.cedar:3:",
            "unexpected",
        ),
        (
            "@id(\"x\") permit (principal, action, resource) when { principal.nam == \"a\" };",
            "a.cedar:3:",
            "perhaps `name`|did you mean `name`",
        ),
        (
            "@id(\"x\") permit (principal, action == Skans::Action::\"calll\", resource);",
            "a.cedar:3:",
            "Skans::Action::\"call\"",
        ),
        (
            "@id(\"x\") permit (principal in Skans::Wrkload::\"a\", action, resource);",
            "a.cedar:3:",
            "Skans::Workload",
        ),
        (
            "@id(\"x\") permit (principal, action == Skans::Action::\"call\", resource) when { context.now > 3 };",
            "a.cedar:3:",
            "now",
        ),
        (
            "@id(\"x\") permit (principal, action == Skans::Action::\"send\", resource) when { resource.getTag(\"a\") == \"b\" };",
            "a.cedar:3:",
            "hasTag|tag",
        ),
        (
            "@id(\"x\") permit (principal, action == Skans::Action::\"send\", resource == Skans::Function::\"a:b/1\");",
            "a.cedar:3:",
            "impossible|apply",
        ),
        // Ours.
        (
            "permit (principal, action, resource);",
            "a.cedar:3:1:",
            "a policy without an @id; wanted @id(",
        ),
        (
            "@id(\"a/b\") permit (principal, action, resource);",
            "a.cedar:3:1:",
            "wanted 1 to 128 of",
        ),
        (
            "@id(\"first\") permit (principal, action, resource);",
            "a.cedar:3:1:",
            "a second time",
        ),
        (
            "@id(\"x\") permit (principal == ?principal, action, resource);",
            "a.cedar:3:1:",
            "a template",
        ),
        (
            "@id(\"x\") permit (principal in Skans::Workload::\"shop\", action, resource);",
            "a.cedar:3:31:",
            "wanted spiffe://<trust domain>/cluster/<c>/ns/<n>/sa/<w>",
        ),
        (
            "@id(\"x\") permit (principal, action, resource in Skans::Group::\"sotck\");",
            "a.cedar:3:",
            "perhaps \"stock\"",
        ),
        (
            "@id(\"x\") permit (principal, action, resource == Skans::Function::\"lists:map\");",
            "a.cedar:3:",
            "wanted module:function/arity",
        ),
        (
            "@id(\"x\") permit (principal == Skans::Node::\"spiffe://a/cluster/c/ns/n/sa/w/node/x\", action, resource);",
            "a.cedar:3:",
            "wanted `in` with that, or an ID with @host",
        ),
    ] {
        let mut set = source(&format!("{good}{bad}\n"));
        set.entities.groups.insert("stock".into(), Group::default());
        let found = Engine::compile(&set)
            .err()
            .unwrap_or_else(|| panic!("it compiles: {bad}"))
            .to_string();
        assert!(found.contains(place), "{bad}\n{found}");
        assert!(
            says.split('|').any(|says| found.contains(says)),
            "{bad}\n{says}\n{found}"
        );
    }
}

#[test]
fn all_problems_are_told_at_once_in_one_line_each() {
    let mut set = source(
        "@id(\"a\") permit (principal in Skans::Cluster::\"x\ny\u{202e}\", action, resource);",
    );
    set.policies.push(File {
        name: "b.cedar".into(),
        text: "permit (principal, action, resource);".into(),
    });
    set.policies.push(File {
        name: "c.cedar".into(),
        text: "nonsense".into(),
    });
    let problems = Engine::compile(&set).err().unwrap();
    let mut files: Vec<_> = problems
        .as_slice()
        .iter()
        .map(|problem| problem.file.as_str())
        .collect();
    assert_eq!(
        problems.to_string().lines().count(),
        files.len(),
        "{problems}"
    );
    files.dedup();
    assert_eq!(files, ["a.cedar", "b.cedar", "c.cedar"], "{problems}");
    assert!(!problems.to_string().contains('\u{202e}'));
}

#[test]
fn a_set_has_at_most_five_thousand_policies() {
    let policy = |n: usize| {
        format!(
            "@id(\"p{n}\") permit (principal, action == Skans::Action::\"connect\", resource);\n"
        )
    };
    let all: String = (0..=MAX_POLICIES).map(policy).collect();
    assert!(problems(&all).contains("5001 policies, those of roles included; wanted at most 5000"));
}

#[test]
fn time_is_known_to_connect_alone() {
    let connect = "@id(\"a\") permit (principal, action == Skans::Action::\"connect\", resource) when { context.now < 9 };";
    assert!(Engine::compile(&source(connect)).is_ok());
    for action in crate::Action::ALL
        .iter()
        .filter(|action| action.as_str() != "connect")
    {
        let found = problems(&connect.replace("connect", action.as_str()));
        assert!(found.contains("now"), "{action}: {found}");
    }
    assert!(
        problems(&connect.replace("action == Skans::Action::\"connect\"", "action"))
            .contains("now")
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_upsets_the_compiler(text in "\\PC{0,100}", tail in "(@id\\(\"a\"\\) )?permit ?\\(principal, action, resource\\)( when \\{ \\PC{0,30} \\})?;") {
        let _ = Engine::compile(&source(&text));
        let _ = Engine::compile(&source(&tail));
        let mut set = source("");
        set.entities = Entities::default();
        set.entities.groups.insert(text.clone(), Group { processes: [text.clone()].into(), ..Group::default() });
        let _ = Engine::compile(&set);
    }
}

/// A set is up to 4 MiB of whatever its author likes.
#[test]
fn depth_is_refused_and_does_not_end_the_process() {
    let connect = |condition: &str| {
        format!(
            "@id(\"a\") permit (principal, action == Skans::Action::\"connect\", resource) when {{ {condition} }};"
        )
    };
    let nested = |open: &str, close: &str, n: usize| {
        connect(&format!("{}true{}", open.repeat(n), close.repeat(n)))
    };
    for (open, close) in [
        ("(", ")"),
        ("!", ""),
        ("- ", ""),
        ("[", "]"),
        ("{a: ", "}"),
        ("if true then ", " else false"),
        ("if ", " then true else false"),
        ("true && ", ""),
        ("true ||", ""),
        ("1 + ", ""),
        ("1 < ", ""),
        ("1 == ", ""),
        ("principal in ", ""),
        ("principal has ", ""),
        ("principal is ", ""),
        ("principal like ", ""),
        ("", ".a"),
        ("", "[\"a\"]"),
        ("", ".contains(true)"),
        ("", "} when { true"),
        ("", "} unless { true"),
        ("a::", ""),
        ("@a(\"b\")", ""),
    ] {
        // Just below the bound it is read, far above it is refused: both in the two megabytes of a thread.
        for n in [30, 180, 20_000, 200_000] {
            let _ = Engine::compile(&source(&nested(open, close, n)));
        }
    }
    assert!(problems(&nested("(", ")", 41)).starts_with("a.cedar:1:"));
    assert!(problems(&nested("true && ", "", 250)).contains("too many operators in one policy"));
    assert!(Engine::compile(&source(&connect(&vec!["context.now > 1"; 60].join(" && ")))).is_ok());
    // A string is a string, a comment a comment, and a list has no bound but that of the set.
    let strings = connect(&format!(
        "[{}].contains(principal.name)",
        vec!["\"((((!!!\\\"(((\""; 2_000].join(", ")
    ));
    assert!(Engine::compile(&source(&format!("// {}\n{strings}", "(".repeat(1_000)))).is_ok());
}

#[test]
fn a_set_for_one_cluster_speaks_of_no_other() {
    let home = Home::new("prod.example", "shop");
    let own = "spiffe://prod.example/cluster/shop";
    let within = |id: &str, kind: &str| {
        format!(
            "@id(\"x\")\nforbid (principal, action, resource)\n  when {{ principal in Skans::{kind}::\"{id}\" }};"
        )
    };
    for (id, kind, is_of_it) in [
        ("spiffe://prod.example", "TrustDomain", true),
        (own, "Cluster", true),
        (
            "spiffe://prod.example/cluster/shop/ns/web",
            "Namespace",
            true,
        ),
        ("spiffe://prod.exampl", "TrustDomain", false),
        ("spiffe://other.example/cluster/shop", "Cluster", false),
        ("spiffe://prod.example/cluster/shopping", "Cluster", false),
        ("spiffe://prod.example/cluster/sho", "Cluster", false),
        (
            "spiffe://prod.example/cluster/shop2/ns/n/sa/w/node/n",
            "Node",
            false,
        ),
    ] {
        let says = format!(
            "{id:?}; wanted {own}, whose agents take no node of another one, or a cluster of links.yaml"
        );
        let policy = source(&within(id, kind));
        assert!(Engine::compile(&policy).is_ok(), "{id}");
        let mut labelled = source("");
        labelled
            .entities
            .nodes
            .insert(id.into(), [("a".into(), "b".into())].into());
        let mut grouped = source("");
        let mut group = Group::default();
        group.nodes.insert(id.into());
        grouped.entities.groups.insert("some".into(), group);
        let bound = |principals: &str, on: &str| {
            let mut set = source("");
            set.roles.push(Binding {
                role: "member".into(),
                principals: vec![Selector::below(principals).unwrap()],
                on: vec![Selector::below(on).unwrap()],
                servers: Vec::new(),
            });
            set
        };
        for (set, place) in [
            (policy, format!("a.cedar:3:23: Skans::{kind}::")),
            (labelled, "entities.yaml: ".to_owned()),
            (grouped, "entities.yaml: ".to_owned()),
            (bound(id, own), "set.yaml: roles[0].principals: ".to_owned()),
            (bound(own, id), "set.yaml: roles[0].on: ".to_owned()),
        ] {
            match Engine::compile_for(&set, &home) {
                Ok(_) => assert!(is_of_it, "{place}{id}"),
                Err(problems) => {
                    assert!(!is_of_it, "{problems}");
                    assert_eq!(problems.to_string(), format!("{place}{says}"));
                }
            }
        }
    }
}

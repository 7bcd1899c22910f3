use proptest::prelude::*;

use super::*;
use crate::decision::Verdict;
use crate::engine::tests::{source, subject};
use crate::request::{Request, Resource};
use crate::source::{Binding, ClusterLinks, Selector};
use crate::{Action, File};

const CART: &str = "spiffe://prod.example/cluster/shop/ns/web/sa/cart";

/// Policies of all kinds: by scope, by group, by label, by condition, and one that can fail.
pub(in crate::rollout) const POOL: [&str; 12] = [
    r#"permit (principal, action == Skans::Action::"connect", resource);"#,
    r#"permit (principal, action == Skans::Action::"send", resource == Skans::Process::"shop");"#,
    r#"permit (principal, action in Skans::Action::"message", resource) when { principal.host == "a" };"#,
    r#"permit (principal in Skans::Group::"some", action == Skans::Action::"send", resource);"#,
    r#"permit (principal, action == Skans::Action::"send", resource) when { resource.hasTag("class") && resource.getTag("class") == "open" };"#,
    r#"permit (principal, action == Skans::Action::"connect", resource) when { context.now + 9223372036854775807 > 0 };"#,
    r#"permit (principal, action == Skans::Action::"send_pid", resource);"#,
    r#"forbid (principal, action == Skans::Action::"send", resource == Skans::Process::"shop");"#,
    r#"forbid (principal in Skans::Group::"some", action, resource);"#,
    r#"forbid (principal, action == Skans::Action::"send", resource) when { resource.hasTag("class") && resource.getTag("class") == "secret" };"#,
    r#"forbid (principal, action == Skans::Action::"spawn_request", resource);"#,
    r#"forbid (principal, action == Skans::Action::"send", resource) unless { principal in Skans::Group::"some" };"#,
];

/// A set of some of them, with this group, these labels, in this mode.
pub(in crate::rollout) fn set(picked: u16, group: u8, class: u8, mode: u8) -> Source {
    let texts = POOL.iter().enumerate();
    let texts = texts.filter(|(n, _)| picked & 1 << n != 0);
    let text: String = texts
        .map(|(n, text)| format!("@id(\"p{n}\") {text}\n"))
        .collect();
    let mut source = source(&text);
    let nodes = ["cart", "stock"].iter().enumerate();
    let nodes = nodes.filter(|(n, _)| group & 1 << n != 0);
    let nodes = nodes.map(|(_, name)| CART.replace("cart", name));
    source.entities.groups.insert(
        "some".into(),
        Group {
            nodes: nodes.collect(),
            ..Group::default()
        },
    );
    if let Some(class) = ["open", "secret"].get(usize::from(class)) {
        let labels = [("class".to_owned(), (*class).to_owned())].into();
        source.entities.processes.insert("shop".into(), labels);
    }
    source.mode = match mode {
        0 => Mode::Enforce,
        until => Mode::DryRun {
            until: u64::from(until) * 100,
        },
    };
    source
}

pub(in crate::rollout) fn any_set() -> impl Strategy<Value = Source> {
    (0_u16..1 << POOL.len(), 0_u8..4, 0_u8..3, 0_u8..3)
        .prop_map(|(picked, group, class, mode)| set(picked, group, class, mode))
}

/// One that differs in little, so that relations which go one way are found, too.
fn any_change(source: Source) -> impl Strategy<Value = Source> {
    (0_usize..POOL.len(), 0_u8..6, any_set()).prop_map(move |(at, what, other)| {
        let mut changed = source.clone();
        match what {
            0..=2 => {
                let line = format!("@id(\"p{at}\") {}\n", POOL[at]);
                let text = &mut changed.policies[0].text;
                if text.contains(&line) {
                    *text = text.replace(&line, "");
                } else {
                    *text += &line;
                }
            }
            3 => changed.entities.groups = other.entities.groups,
            4 => changed.mode = other.mode,
            _ => return other,
        }
        changed
    })
}

pub(in crate::rollout) fn requests() -> Vec<Request<'static>> {
    let shop = Resource::Process("shop");
    let mut all: Vec<_> = [
        (Action::Send, shop),
        (Action::Send, Resource::Process("other")),
        (Action::Monitor, shop),
        (Action::SendPid, Resource::Node),
        (Action::SpawnRequest, Resource::Node),
        (Action::Exit, shop),
    ]
    .into_iter()
    .map(|(action, resource)| Request::new(action, resource))
    .collect();
    for now in [0, 1] {
        all.push(Request {
            now: Some(now),
            ..Request::new(Action::Connect, Resource::Node)
        });
    }
    all
}

/// What each of two sets decides on all that is asked here, at times before, in and after dry runs.
pub(in crate::rollout) fn decided(one: &Source, other: &Source) -> Vec<(Verdict, Verdict)> {
    let [one, other] = [one, other].map(|source| Engine::compile(source).unwrap());
    let nodes = [
        subject("cart", "a"),
        subject("stock", "b"),
        subject("web", "c"),
    ];
    let mut all = Vec::new();
    for from in &nodes {
        for to in &nodes {
            for now in [0, 150, 250] {
                let (one, other) = (one.pair(from, to, now), other.pair(from, to, now));
                for request in requests() {
                    all.push((one.decide(&request).verdict, other.decide(&request).verdict));
                }
            }
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_relaxes_denies_nothing_newly_and_what_tightens_permits_nothing(
        (active, candidate) in any_set().prop_flat_map(|set| (Just(set.clone()), any_change(set)))
    ) {
        let related = relate(&active, &candidate).unwrap();
        for (before, after) in decided(&active, &candidate) {
            let (denied, permitted) = (before.passes() && !after.passes(), !before.passes() && after.passes());
            match related.relation {
                Relation::Same => prop_assert!(before == after, "{related:?}"),
                Relation::Relax => prop_assert!(!denied, "{related:?}"),
                Relation::Tighten => prop_assert!(!permitted, "{related:?}"),
                Relation::Mixed => {}
            }
        }
        prop_assert_eq!(related.changes.is_empty(), related.relation == Relation::Same);
    }
}

fn related(before: &Source, after: &Source) -> (Relation, Vec<String>) {
    let related = relate(before, after).unwrap();
    let changes = related.changes.iter().map(ToString::to_string);
    (related.relation, changes.collect())
}

#[test]
fn each_change_is_told_with_its_policy() {
    let of = |picked| set(picked, 1, 9, 0);
    let one = |relation: Relation, text: &str| (relation, vec![text.to_owned()]);
    assert_eq!(
        related(&of(1), &of(3)),
        one(Relation::Relax, "relax: permit added (p1)")
    );
    assert_eq!(
        related(&of(3), &of(1)),
        one(Relation::Tighten, "tighten: permit removed (p1)")
    );
    assert_eq!(
        related(&of(1), &of(0x81)),
        one(Relation::Tighten, "tighten: forbid added (p7)")
    );
    assert_eq!(
        related(&of(0x81), &of(1)),
        one(Relation::Relax, "relax: forbid removed (p7)")
    );
    assert_eq!(
        related(&of(1), &of(0x21)),
        one(Relation::Mixed, "mixed: permit added that can fail (p5)")
    );
    assert_eq!(related(&of(1), &of(2)).0, Relation::Mixed);
    let (grown, shrunk) = (set(8, 3, 9, 0), set(8, 1, 9, 0));
    assert_eq!(
        related(&shrunk, &grown),
        one(Relation::Relax, "relax: group of permits grown (some)")
    );
    assert_eq!(related(&grown, &shrunk).0, Relation::Tighten);
    assert_eq!(
        related(&set(0x108, 3, 9, 0), &set(0x108, 1, 9, 0)).0,
        Relation::Mixed
    );
    assert_eq!(related(&of(1), &set(1, 1, 9, 1)).0, Relation::Relax);
    assert_eq!(related(&set(1, 1, 9, 1), &of(1)).0, Relation::Tighten);
}

#[test]
fn what_makes_no_difference_is_none() {
    let before = set(1, 1, 9, 0);
    let mut after = before.clone();
    after.name = "another".into();
    after.policies = vec![File {
        name: "b.cedar".into(),
        text: format!(
            "// Why.\n@id(\"other\")\n@note(\"x\")\n{}",
            POOL[0].replace(' ', "  ")
        ),
    }];
    // Nobody asks for it.
    after.entities.groups.clear();
    after
        .entities
        .processes
        .insert("x".into(), [("a".to_owned(), "b".to_owned())].into());
    assert_eq!(related(&before, &after), (Relation::Same, Vec::new()));
}

#[test]
fn roles_are_what_their_policies_are() {
    let bound = |names: &[&str]| {
        let selector = |name: &&str| Selector {
            workload: Some(CART.replace("cart", name)),
            ..Selector::default()
        };
        let binding = Binding {
            role: "member".into(),
            principals: names.iter().map(selector).collect(),
            on: vec![selector(&"stock")],
            servers: Vec::new(),
        };
        Source {
            roles: vec![binding],
            ..source("")
        }
    };
    assert_eq!(
        related(&bound(&["cart"]), &bound(&["web", "cart"])).0,
        Relation::Relax
    );
    assert_eq!(
        related(&bound(&["web", "cart"]), &bound(&["cart"])).0,
        Relation::Tighten
    );
    assert_eq!(
        related(&bound(&["cart"]), &bound(&["web"])).0,
        Relation::Mixed
    );
}

#[test]
fn links_may_do_both() {
    let linked = Source {
        links: serde_json::from_str::<ClusterLinks>(
            r#"[{"name": "theirs", "trustDomain": "theirs.example", "cluster": "main", "exports": [], "imports": []}]"#,
        )
        .unwrap(),
        ..source("")
    };
    assert_eq!(related(&source(""), &linked).0, Relation::Mixed);
}

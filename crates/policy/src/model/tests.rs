use super::entity::entities;
use super::labels::Labels;
use super::*;
use crate::engine::tests::subject;
use crate::request::Resource;
use crate::source;

fn labels() -> source::Entities {
    let mut labels = source::Entities::default();
    let purpose = |value: &str| [("purpose".to_owned(), value.to_owned())].into();
    labels
        .nodes
        .insert("spiffe://prod.example/cluster/shop".into(), purpose("shop"));
    labels.services.insert("post*".into(), purpose("stock"));
    labels.processes.insert("shop*".into(), purpose("stock"));
    labels
        .functions
        .insert("shop_stock:level/1".into(), purpose("stock"));
    let group = source::Group {
        nodes: ["spiffe://prod.example/cluster/shop/ns/web/sa/a".to_owned()].into(),
        processes: ["shop".to_owned()].into(),
        functions: ["shop_*".to_owned()].into(),
        services: ["postgres".to_owned()].into(),
    };
    labels.groups.insert("shop".into(), group);
    labels
}

/// Questions are not checked against the schema one by one, since it would cost more than to answer them.
#[test]
fn whatever_is_asked_fits_the_schema() {
    let model = model().unwrap();
    let labels = Labels::new(model, &labels());
    let (from, to) = (subject("a", "host-a"), subject("b", "host-b"));
    let resources = [
        Resource::Node,
        Resource::Process("shop"),
        Resource::Process("rex"),
        Resource::Service("postgres"),
        Resource::Function {
            module: "shop_stock",
            function: "level",
            arity: 1,
        },
        Resource::Function {
            module: "os",
            function: "cmd",
            arity: 1,
        },
        Resource::Function {
            module: "'",
            function: "",
            arity: 255,
        },
    ];
    for to in [&from, &to] {
        let (from, to) = (
            model.node(&from, &labels).unwrap(),
            model.node(to, &labels).unwrap(),
        );
        for resource in &resources {
            for &action in Action::ALL {
                let mut resource = model.resource(resource, &to, &labels);
                let action = model.action_entity(action).unwrap();
                let found = entities(&from, &to, action, &mut resource).unwrap();
                let all = found
                    .iter()
                    .filter(|entity| entity.uid().type_name().basename() != "Action")
                    .cloned();
                let checked = Entities::from_entities(all, Some(&model.schema)).unwrap();
                for entity in found.iter() {
                    // All ancestors were there before they were computed.
                    assert!(
                        checked.get(&entity.uid()).unwrap().deep_eq(entity),
                        "{entity}"
                    );
                }
            }
        }
    }
}

#[test]
fn every_action_of_the_schema_can_be_asked_for_and_no_other() {
    let model = model().unwrap();
    let schema: std::collections::BTreeSet<String> = model
        .schema
        .actions()
        .filter(|action| {
            model
                .schema
                .principals_for_action(action)
                .is_some_and(|mut all| all.next().is_some())
        })
        .map(|action| action.id().unescaped().to_owned())
        .collect();
    let asked = Action::ALL
        .iter()
        .map(|action| action.as_str().to_owned())
        .collect();
    assert_eq!(schema, asked);
    let administer = EntityUid::from_type_name_and_id(
        "Skans::Action".parse().unwrap(),
        EntityId::new("administer"),
    );
    for &action in Action::ALL {
        assert_eq!(Action::parse(action.as_str()), Some(action));
        let is_in = model.action_is_in(&model.action(action).unwrap(), &administer);
        assert_eq!(is_in, action.is_administrative(), "{action}");
    }
}

#[test]
fn labels_of_a_name_win_over_those_of_a_pattern() {
    let labels = [
        (
            "sh*".to_owned(),
            [
                ("a".to_owned(), "1".to_owned()),
                ("b".to_owned(), "1".to_owned()),
                ("c".to_owned(), "1".to_owned()),
            ]
            .into(),
        ),
        (
            "shop*".to_owned(),
            [
                ("b".to_owned(), "2".to_owned()),
                ("c".to_owned(), "2".to_owned()),
            ]
            .into(),
        ),
        (
            "shop_1".to_owned(),
            [("c".to_owned(), "3".to_owned())].into(),
        ),
    ]
    .into();
    let found = labels::labelled(&labels, "shop_1");
    assert_eq!(found, [("a", "1"), ("b", "2"), ("c", "3")].into());
}

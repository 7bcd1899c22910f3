use super::*;
use crate::action::Action;
use crate::decision::Verdict;
use crate::engine::tests::{engine, subject};
use crate::request::Resource;

const SET: &str = r#"
@id("stock") permit (principal in Skans::Workload::"spiffe://prod.example/cluster/shop/ns/web/sa/cart", action == Skans::Action::"call",
  resource == Skans::Function::"shop_stock:level/1") when { !context.carriesFunction };
@id("others") permit (principal in Skans::Workload::"spiffe://prod.example/cluster/shop/ns/web/sa/bill", action == Skans::Action::"call",
  resource == Skans::Function::"shop_stock:level/1");
@id("lists") permit (principal, action == Skans::Action::"call", resource in Skans::Module::"lists");
@id("never") forbid (principal, action == Skans::Action::"call", resource == Skans::Function::"shop_stock:drop/0");
"#;

fn explain(
    action: Action,
    (module, function, arity): (&str, &str, u32),
    carries_function: bool,
) -> Explanation {
    let mut request = Request::new(
        action,
        Resource::Function {
            module,
            function,
            arity,
        },
    );
    request.carries_function = carries_function;
    engine(SET).explain(&subject("cart", "a"), &subject("stock", "b"), 0, &request)
}

fn missing(explanation: &Explanation) -> Vec<(&str, Missing)> {
    explanation
        .near
        .iter()
        .map(|near| (near.policy.as_str(), near.missing))
        .collect()
}

#[test]
fn who_decided_is_named_and_what_nearly_did() {
    let level = ("shop_stock", "level", 1);
    let found = explain(Action::Call, level, false);
    assert_eq!(
        (found.decision.verdict, found.decision.policies.as_slice()),
        (Verdict::Permit, &["stock".to_owned()][..])
    );
    assert!(found.texts[0].1.contains("shop_stock:level/1"));
    // What would permit it as well decides nothing otherwise.
    assert_eq!(missing(&found), [("never", Missing::Resource)]);

    let found = explain(Action::Call, level, true);
    assert_eq!(found.decision.verdict, Verdict::Deny);
    assert_eq!(
        missing(&found)[..2],
        [
            ("stock", Missing::Condition),
            ("others", Missing::Principal)
        ]
    );

    let found = explain(Action::Cast, level, false);
    assert_eq!(missing(&found), [("stock", Missing::Action)]);

    let found = explain(Action::Call, ("shop_stock", "drop", 0), false);
    assert_eq!(
        (found.decision.verdict, found.decision.policies.as_slice()),
        (Verdict::Deny, &["never".to_owned()][..])
    );
}

#[test]
fn a_permit_that_holds_is_not_near_where_something_forbids() {
    let function = Resource::Function {
        module: "shop_stock",
        function: "level",
        arity: 1,
    };
    let set = r#"
@id("yes") permit (principal, action == Skans::Action::"call", resource == Skans::Function::"shop_stock:level/1");
@id("no") forbid (principal, action == Skans::Action::"call", resource);"#;
    let (from, to) = (subject("cart", "a"), subject("stock", "b"));
    let found = engine(set).explain(&from, &to, 0, &Request::new(Action::Call, function));
    assert_eq!(found.decision.policies, ["no"]);
    assert_eq!(missing(&found), []);
}

#[test]
fn a_permit_that_does_not_name_what_it_has_to_is_told() {
    let found = explain(Action::Call, ("lists", "map", 2), false);
    assert_eq!(found.decision.verdict, Verdict::Deny);
    assert_eq!(missing(&found)[0], ("lists", Missing::Name));
    assert_eq!(
        explain(Action::Call, ("lists", "reverse", 1), false)
            .decision
            .verdict,
        Verdict::Permit
    );
}

use std::sync::Arc;

use super::*;
use crate::decision::Verdict;
use crate::request::{Request, Resource};
use crate::{Action, Entities, File};

pub(crate) fn subject(workload: &str, host: &str) -> Subject {
    Subject {
        trust_domain: "prod.example".into(),
        cluster: "shop".into(),
        namespace: "web".into(),
        workload: workload.into(),
        node: workload.into(),
        host: host.into(),
    }
}

fn source(policies: &str) -> Source {
    Source {
        version: Version { epoch: 1, n: 1 },
        name: "test".into(),
        mode: Mode::Enforce,
        policies: vec![File {
            name: "a.cedar".into(),
            text: policies.into(),
        }],
        entities: Entities::default(),
        roles: Vec::new(),
    }
}

pub(crate) fn engine(policies: &str) -> Arc<Engine> {
    Arc::new(Engine::compile(&source(policies)).unwrap_or_else(|problems| panic!("{problems}")))
}

const CALL: &str = r#"@id("stock")
permit (principal in Skans::Workload::"spiffe://prod.example/cluster/shop/ns/web/sa/cart", action == Skans::Action::"call",
  resource == Skans::Function::"shop_stock:level/1")
when { resource in Skans::Workload::"spiffe://prod.example/cluster/shop/ns/web/sa/stock" };
"#;

fn function<'a>(module: &'a str, function: &'a str, arity: u32) -> Resource<'a> {
    Resource::Function {
        module,
        function,
        arity,
    }
}

#[test]
fn an_allow_list_of_one_function_lets_through_that_function_and_nothing_else() {
    let engine = engine(CALL);
    let pair = engine.pair(&subject("cart", "a"), &subject("stock", "b"), 0);
    let level = function("shop_stock", "level", 1);
    let decision = pair.decide(&Request::new(Action::Call, level));
    assert_eq!(
        (decision.verdict, decision.policies),
        (Verdict::Permit, vec!["stock".to_owned()])
    );
    for (action, resource) in [
        (Action::Cast, level),
        (Action::Call, function("shop_stock", "level", 2)),
        (Action::Call, function("os", "cmd", 1)),
        (Action::Send, Resource::Process("shop_stock:level/1")),
        (Action::SendPid, Resource::Node),
        (Action::Connect, Resource::Node),
    ] {
        assert_eq!(
            pair.decide(&Request::new(action, resource)).verdict,
            Verdict::Deny,
            "{action} {resource:?}"
        );
    }
    let elsewhere = engine.pair(&subject("cart", "a"), &subject("other", "b"), 0);
    assert_eq!(
        elsewhere.decide(&Request::new(Action::Call, level)).verdict,
        Verdict::Deny
    );
    let somebody = engine.pair(&subject("other", "a"), &subject("stock", "b"), 0);
    assert_eq!(
        somebody.decide(&Request::new(Action::Call, level)).verdict,
        Verdict::Deny
    );
}

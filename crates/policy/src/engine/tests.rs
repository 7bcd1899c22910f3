use std::sync::Arc;

use super::*;
use crate::decision::Verdict;
use crate::request::{Request, Resource};
use crate::source::ClusterLinks;
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

pub(crate) fn source(policies: &str) -> Source {
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
        links: ClusterLinks::default(),
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

#[test]
fn a_forbid_wins_however_many_permit() {
    let engine = engine(
        r#"@id("all") permit (principal, action, resource);
        @id("not-rex") forbid (principal, action, resource == Skans::Process::"rex");
        @id("no-code") forbid (principal, action in Skans::Action::"administer", resource);
        @id("no-shell") forbid (principal, action, resource in Skans::Module::"os");"#,
    );
    let pair = engine.pair(&subject("a", "a"), &subject("b", "b"), 0);
    let decide = |action, resource| {
        let decision = pair.decide(&Request::new(action, resource));
        (decision.verdict, decision.policies.join(","))
    };
    assert_eq!(
        decide(Action::Send, Resource::Process("shop")),
        (Verdict::Permit, "all".into())
    );
    assert_eq!(
        decide(Action::Send, Resource::Process("rex")),
        (Verdict::Deny, "not-rex".into())
    );
    assert_eq!(
        decide(Action::ManageCode, Resource::Process("code_server")),
        (Verdict::Deny, "no-code".into())
    );
    assert_eq!(
        decide(Action::Call, function("os", "cmd", 1)),
        (Verdict::Deny, "no-shell".into())
    );
    assert_eq!(
        decide(Action::Call, function("file", "delete", 1)),
        (Verdict::Deny, String::new())
    );
}

#[test]
fn what_cannot_be_evaluated_is_denied_whatever_else_permits_it() {
    let engine = engine(
        r#"@id("all") permit (principal, action, resource);
        @id("overflow") forbid (principal, action == Skans::Action::"call", resource) when { resource.arity * 9223372036854775807 * 2 > 1 };"#,
    );
    let pair = engine.pair(&subject("a", "a"), &subject("b", "b"), 0);
    let decision = pair.decide(&Request::new(Action::Call, function("shop", "f", 3)));
    assert_eq!(decision.verdict, Verdict::Deny);
    assert!(
        decision.errors[0].contains("overflow"),
        "{:?}",
        decision.errors
    );
    let decision = pair.decide(&Request::new(Action::Connect, Resource::Node));
    assert_eq!(decision.verdict, Verdict::Deny, "connect without a time");
    assert_eq!(decision.errors, ["connect without a time"]);
    let mismatched = pair.decide(&Request::new(Action::Call, Resource::Process("shop")));
    assert_eq!(
        (mismatched.verdict, mismatched.errors.len()),
        (Verdict::Deny, 1)
    );
}

#[test]
fn what_is_dangerous_has_to_be_named() {
    let mut source = source(
        r#"@id("module") permit (principal, action == Skans::Action::"call", resource in Skans::Module::"lists");
        @id("named") permit (principal, action == Skans::Action::"call", resource == Skans::Function::"lists:foreach/2");
        @id("group") permit (principal, action == Skans::Action::"call", resource in Skans::Group::"named");
        @id("pattern") permit (principal, action == Skans::Action::"call", resource in Skans::Group::"pattern");"#,
    );
    let group = |name: &str| crate::source::Group {
        functions: [name.to_owned()].into(),
        ..Default::default()
    };
    source
        .entities
        .groups
        .insert("named".into(), group("maps:map/2"));
    source
        .entities
        .groups
        .insert("pattern".into(), group("sets:*"));
    let engine = Arc::new(Engine::compile(&source).unwrap());
    let pair = engine.pair(&subject("a", "a"), &subject("b", "b"), 0);
    for (module, name, arity, verdict) in [
        ("lists", "reverse", 1, Verdict::Permit),
        ("lists", "map", 2, Verdict::Deny),
        ("lists", "foreach", 2, Verdict::Permit),
        ("maps", "map", 2, Verdict::Permit),
        ("sets", "fold", 3, Verdict::Deny),
    ] {
        let decision = pair.decide(&Request::new(Action::Call, function(module, name, arity)));
        assert_eq!(decision.verdict, verdict, "{module}:{name}/{arity}");
    }
}

#[test]
fn a_dry_run_says_what_it_would_deny_until_its_day() {
    let mut source = source(CALL);
    source.mode = Mode::DryRun { until: 100 };
    let engine = Arc::new(Engine::compile(&source).unwrap());
    let (from, to) = (subject("cart", "a"), subject("stock", "b"));
    let mut cache = crate::Cache::new();
    for (now, verdict) in [(99, Verdict::WouldDeny), (100, Verdict::Deny)] {
        let pair = engine.pair(&from, &to, now);
        assert_eq!(
            pair.decide(&Request::new(Action::SendPid, Resource::Node))
                .verdict,
            verdict
        );
        assert_eq!(
            cache.decide(&pair, &Request::new(Action::SendPid, Resource::Node)),
            verdict
        );
        assert_eq!(
            pair.decide(&Request::new(
                Action::Call,
                function("shop_stock", "level", 1)
            ))
            .verdict,
            Verdict::Permit
        );
    }
}

/// Two nodes of one workload on two hosts have one SPIFFE ID.
#[test]
fn two_hosts_of_one_identity_are_two_nodes() {
    let engine = engine(
        r#"@id("a") permit (principal == Skans::Node::"spiffe://prod.example/cluster/shop/ns/web/sa/mq/node/mq@host-a", action == Skans::Action::"send_pid", resource) when { resource.host == "host-b" };
        @id("both") permit (principal in Skans::Node::"spiffe://prod.example/cluster/shop/ns/web/sa/mq/node/mq", action == Skans::Action::"monitor", resource is Skans::Node);"#,
    );
    let (a, b) = (subject("mq", "host-a"), subject("mq", "host-b"));
    for (from, to, action, verdict) in [
        (&a, &b, Action::SendPid, Verdict::Permit),
        (&b, &a, Action::SendPid, Verdict::Deny),
        (&a, &a, Action::SendPid, Verdict::Deny),
        (&a, &b, Action::Monitor, Verdict::Permit),
        (&b, &a, Action::Monitor, Verdict::Permit),
    ] {
        let decision = engine
            .pair(from, to, 0)
            .decide(&Request::new(action, Resource::Node));
        assert_eq!(
            decision.verdict, verdict,
            "{} {action} {}: {decision:?}",
            from.host, to.host
        );
    }
}

#[test]
fn labels_decide() {
    let mut source = source(
        r#"@id("class") permit (principal, action == Skans::Action::"send", resource)
        when { resource.hasTag("dataClass") && principal.hasTag("clearance") && resource.getTag("dataClass") == principal.getTag("clearance") };"#,
    );
    let label = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into();
    source.entities.nodes.insert(
        "spiffe://prod.example/cluster/shop/ns/web/sa/a".into(),
        label("clearance", "secret"),
    );
    source
        .entities
        .processes
        .insert("vault_*".into(), label("dataClass", "secret"));
    let engine = Arc::new(Engine::compile(&source).unwrap());
    let asked = |from: &str, process| {
        let pair = engine.pair(&subject(from, "h"), &subject("b", "h"), 0);
        pair.decide(&Request::new(Action::Send, Resource::Process(process)))
            .verdict
    };
    assert_eq!(asked("a", "vault_1"), Verdict::Permit);
    assert_eq!(asked("c", "vault_1"), Verdict::Deny);
    assert_eq!(asked("a", "shop"), Verdict::Deny);
}

#[test]
fn links_to_neighbours_of_one_kind_share_what_can_apply() {
    let engine =
        Arc::new(Engine::compile(&Source::same_cluster_members("prod.example", "shop")).unwrap());
    let pairs: Vec<_> = (0..100)
        .map(|n| {
            engine.pair(
                &subject("cart", &format!("host-{n}")),
                &subject("stock", "b"),
                0,
            )
        })
        .collect();
    assert_eq!(engine.shared.len(), 1);
    drop(pairs);
    let to = |cluster: &str| Subject {
        cluster: cluster.into(),
        ..subject("stock", "b")
    };
    // So many others that those come to be let go.
    let others: Vec<_> = (0..1000)
        .map(|n| engine.pair(&subject("cart", &format!("host-{n}")), &to("other"), 0))
        .collect();
    let third = engine.pair(&to("third"), &to("third"), 0);
    assert_eq!(engine.shared.len(), 2, "what nobody uses is forgotten");
    drop(third);
    drop(others);
}

#[test]
fn a_capability_is_withheld_by_a_forbid_alone() {
    let engine = engine(
        r#"@id("no-spawn") forbid (principal in Skans::Workload::"spiffe://prod.example/cluster/shop/ns/web/sa/cart",
             action == Skans::Action::"spawn_request", resource in Skans::Workload::"spiffe://prod.example/cluster/shop/ns/web/sa/stock");
        @id("hidden") forbid (principal in Skans::Workload::"spiffe://prod.example/cluster/shop/ns/web/sa/cart", action == Skans::Action::"publish", resource);"#,
    );
    let (cart, stock) = (subject("cart", "a"), subject("stock", "b"));
    let decide = |from, to, action| {
        let decision = engine
            .pair(from, to, 0)
            .decide(&Request::new(action, Resource::Node));
        (decision.verdict, decision.policies.join(","))
    };
    let permit = (Verdict::Permit, String::new());
    assert_eq!(
        decide(&cart, &stock, Action::SpawnRequest),
        (Verdict::Deny, "no-spawn".into())
    );
    assert_eq!(
        decide(&stock, &cart, Action::SpawnRequest),
        permit,
        "the other direction"
    );
    assert_eq!(
        decide(&cart, &cart, Action::Publish),
        (Verdict::Deny, "hidden".into())
    );
    assert_eq!(decide(&stock, &stock, Action::Publish), permit);
    assert_eq!(
        decide(&cart, &stock, Action::SendPid).0,
        Verdict::Deny,
        "all else has to be permitted"
    );
}

#[test]
fn sets_that_hide_other_nodes_say_so_and_those_that_hide_the_same_are_alike() {
    const HIDDEN: &str = r#"@id("h") forbid (principal == Skans::Node::"spiffe://prod.example/cluster/shop/ns/web/sa/cart/node/cart@a", action == Skans::Action::"publish", resource);"#;
    let text = |policies: &str| engine(policies).unpublished(0).map(str::to_owned);
    let spawn =
        r#"@id("s") forbid (principal, action == Skans::Action::"spawn_request", resource);"#;
    assert_eq!(text(CALL), None);
    assert_eq!(text(spawn), None);
    assert!(text(HIDDEN).is_some());
    assert_eq!(text(HIDDEN), text(&format!("{CALL}{HIDDEN}{spawn}")));
    assert_ne!(text(HIDDEN), text(&HIDDEN.replace("cart@a", "cart@b")));
    // A forbid of everything hides as well.
    assert!(text(r#"@id("all") forbid (principal, action, resource);"#).is_some());
    // Groups and labels decide with it; a dry run hides nobody.
    let mut other = source(HIDDEN);
    other
        .entities
        .groups
        .insert("g".into(), crate::source::Group::default());
    let engine = |source: &Source| Arc::new(Engine::compile(source).unwrap());
    assert_ne!(
        engine(&other).unpublished(0).map(str::to_owned),
        text(HIDDEN)
    );
    other.mode = Mode::DryRun { until: 100 };
    assert_eq!(engine(&other).unpublished(99), None);
    assert!(engine(&other).unpublished(100).is_some());
}

/// Who may connect to every node of a cluster was not asked about its databases.
#[test]
fn a_permit_for_a_service_names_it() {
    let source = Source {
        entities: Entities {
            services: [(
                "postgres".into(),
                [("dataClass".into(), "personal".into())].into(),
            )]
            .into(),
            groups: [(
                "databases".into(),
                crate::source::Group {
                    services: ["mysql".into(), "cache-*".into()].into(),
                    ..Default::default()
                },
            )]
            .into(),
            ..Entities::default()
        },
        ..source(
            r#"@id("all") permit (principal, action, resource);
            @id("cluster") permit (principal, action == Skans::Action::"connect", resource in Skans::Cluster::"spiffe://prod.example/cluster/shop");
            @id("pg") permit (principal in Skans::Workload::"spiffe://prod.example/cluster/shop/ns/web/sa/cart", action == Skans::Action::"connect",
              resource == Skans::Service::"postgres")
            when { resource.node in Skans::Workload::"spiffe://prod.example/cluster/shop/ns/web/sa/stock" && context.now < 100 && resource.hasTag("dataClass") && resource.getTag("dataClass") == "personal" };
            @id("dbs") permit (principal, action == Skans::Action::"connect", resource in Skans::Group::"databases");
            @id("closed") forbid (principal, action == Skans::Action::"connect", resource) when { resource.host == "closed" };"#,
        )
    };
    let engine = Arc::new(Engine::compile(&source).unwrap_or_else(|problems| panic!("{problems}")));
    let ask = |from: &str, (to, host): (&str, &str), service: &str, now| {
        let pair = engine.pair(&subject(from, "a"), &subject(to, host), 0);
        let request = Request {
            now: Some(now),
            ..Request::new(Action::Connect, Resource::Service(service))
        };
        let decision = pair.decide(&request);
        assert_eq!(decision.errors, Vec::<String>::new());
        decision.verdict == Verdict::Permit
    };
    let stock = ("stock", "b");
    assert!(ask("cart", stock, "postgres", 1));
    assert!(!ask("cart", stock, "postgres", 100), "its time is over");
    assert!(!ask("other", stock, "postgres", 1), "another principal");
    assert!(!ask("cart", ("other", "b"), "postgres", 1), "another node");
    assert!(!ask("cart", stock, "redis", 1), "wide permits do not count");
    assert!(ask("other", stock, "mysql", 1), "named by a group");
    assert!(
        !ask("other", stock, "cache-1", 1),
        "a pattern does not name"
    );
    assert!(
        !ask("cart", ("stock", "closed"), "postgres", 1),
        "a forbid counts however wide"
    );
    let node = engine.pair(&subject("cart", "a"), &subject("stock", "b"), 0);
    let connect = Request {
        now: Some(1),
        ..Request::new(Action::Connect, Resource::Node)
    };
    assert_eq!(node.decide(&connect).verdict, Verdict::Permit);
}

/// What was written before there were services goes on to mean the same.
#[test]
fn a_permit_to_connect_to_nodes_need_not_know_of_services() {
    let engine = engine(
        r#"@id("connect") permit (principal, action == Skans::Action::"connect", resource)
        when { resource.host == "b" && !resource.cli && resource.name like "stock@*" && !resource.hasTag("closed") };"#,
    );
    let pair = engine.pair(&subject("cart", "a"), &subject("stock", "b"), 0);
    let connect = |resource| Request {
        now: Some(1),
        ..Request::new(Action::Connect, resource)
    };
    assert_eq!(
        pair.decide(&connect(Resource::Node)).verdict,
        Verdict::Permit
    );
    assert_eq!(
        pair.decide(&connect(Resource::Service("postgres"))).verdict,
        Verdict::Deny
    );
}

#[test]
fn the_name_of_a_service_that_could_not_be_one_is_a_mistake() {
    let wrong = source(
        r#"@id("pg") permit (principal, action == Skans::Action::"connect", resource == Skans::Service::"Postgres:5432");"#,
    );
    let problems = Engine::compile(&wrong).err().unwrap().to_string();
    assert!(
        problems.contains("the name of a service, such as postgres"),
        "{problems}"
    );
}

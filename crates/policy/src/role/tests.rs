mod administrative;

use std::sync::Arc;

use super::*;
use crate::engine::Engine;
use crate::engine::tests::subject;
use crate::source::{ClusterLinks, Entities, Mode, Source, Version};
use crate::{Action, Pair, Request, Resource, Subject, Verdict};

const CLUSTER: &str = "spiffe://prod.example/cluster/shop";

fn bind(role: &str, servers: &[&str]) -> Binding {
    Binding {
        role: role.into(),
        principals: vec![Selector::below(&format!("{CLUSTER}/ns/web/sa/a")).unwrap()],
        on: vec![Selector::below(CLUSTER).unwrap()],
        servers: servers.iter().map(|&name| name.to_owned()).collect(),
    }
}

fn engine(roles: Vec<Binding>) -> Arc<Engine> {
    let source = Source {
        version: Version::default(),
        name: "test".into(),
        mode: Mode::Enforce,
        policies: Vec::new(),
        entities: Entities::default(),
        roles,
        links: ClusterLinks::default(),
    };
    Arc::new(Engine::compile(&source).unwrap_or_else(|problems| panic!("{problems}")))
}

fn pair(role: &str, servers: &[&str]) -> std::sync::Arc<Pair> {
    engine(vec![bind(role, servers)]).pair(&subject("a", "host-a"), &subject("b", "host-b"), 0)
}

/// `action`, `action name` or `action module:function/arity`.
fn passes(pair: &Pair, asked: &str) -> bool {
    let (action, what) = asked.split_once(' ').unwrap_or((asked, ""));
    let action = Action::parse(action).unwrap_or_else(|| panic!("{asked}"));
    let function = crate::name::parse(what);
    let resource = match &function {
        Some((module, function, arity)) => Resource::Function {
            module,
            function,
            arity: *arity,
        },
        None if what.is_empty() => Resource::Node,
        None => Resource::Process(what),
    };
    let mut request = Request::new(action, resource);
    request.now = (action == Action::Connect).then_some(0);
    let decision = pair.decide(&request);
    assert_eq!(decision.errors, Vec::<String>::new(), "{asked}");
    decision.verdict == Verdict::Permit
}

fn all_pass(pair: &Pair, asked: &[&str]) {
    for asked in asked {
        assert!(passes(pair, asked), "{asked} is denied");
    }
}

fn none_passes(pair: &Pair, asked: &[&str]) {
    for asked in asked {
        assert!(!passes(pair, asked), "{asked} passes");
    }
}

#[test]
fn every_role_connects_and_lets_nodes_stay_in_step() {
    for role in ALL
        .iter()
        .filter(|role| !role.purpose.starts_with("beside"))
    {
        let servers: &[&str] = if role.servers == Servers::Required {
            &["stock"]
        } else {
            &[]
        };
        let pair = pair(role.name, servers);
        all_pass(
            &pair,
            &[
                "connect",
                "send rex",
                "send net_kernel",
                "send global_name_server",
                "monitor net_kernel",
            ],
        );
        let elsewhere = engine(vec![bind(role.name, servers)]).pair(
            &subject("other", "host-a"),
            &subject("b", "host-b"),
            0,
        );
        none_passes(
            &elsewhere,
            &["connect", "send rex", "send_pid", "monitor net_kernel"],
        );
    }
}

#[test]
fn a_member_may_do_what_an_application_does_to_itself() {
    let pair = pair("member", &[]);
    all_pass(
        &pair,
        &[
            "send shop_server",
            "send Elixir.Shop.Stock",
            "send_pid",
            "monitor",
            "monitor shop_server",
            "link shop_server",
            "link",
            "send logger_proxy",
            "call shop_stock:level/1",
            "cast shop_stock:refresh/0",
            "spawn shop_worker:run/2",
            "call Elixir.Shop.Stock:level/1",
            "call erlang:memory/0",
            "call erlang:nodes/0",
            "register_global global_name_server",
            "send pg",
        ],
    );
    none_passes(
        &pair,
        &[
            "exit",
            "link kernel_sup",
            "call erlang:process_info/2",
            "send Elixir.Logger",
            "call Elixir.Code:eval_string/1",
        ],
    );
}

#[test]
fn a_rabbitmq_peer_may_do_what_a_cluster_needs() {
    all_pass(
        &pair("rabbitmq-peer", &[]),
        &[
            "send delegate_7",
            "send rabbit_node_monitor",
            "send mnesia_tm",
            "send mnesia_locker",
            "send aten_sink",
            "send %2F_orders",
            "send rabbit_stream_coordinator",
            "send_pid",
            "monitor",
            "monitor delegate_7",
            "link",
            "link mnesia_monitor",
            "call rabbit_mnesia:node_info/0",
            "call mnesia_lib:is_running_remote/0",
            "call mnesia_monitor:call/1",
            "call mnesia_controller:get_remote_cstructs/0",
            "call rabbit:is_running/0",
            "call ra:start_cluster/2",
            "call ra_server_sup_sup:start_server_rpc/3",
            "call rabbit_vhost_sup_sup:start_vhost/1",
            "call rabbit_feature_flags:mark_as_enabled_locally/2",
            "call erlang:is_process_alive/1",
            "call mnesia:system_info/1",
            "call mnesia_lib:db_get/2",
            "call rabbit_fifo:query_stat/1",
            "call rabbit_channel:deliver_reply_local/3",
            "send %2F_orders",
            "inspect %2F_orders",
            "call persistent_term:get/2",
            "call net_kernel:get_net_ticktime/0",
            "call application:which_applications/1",
            "call rabbit_mnesia:remove_node_if_mnesia_running/1",
            "spawn rabbit_amqqueue:emit_info_local/4",
        ],
    );
    none_passes(
        &pair("rabbitmq-peer", &[]),
        &[
            "call rabbit_amqqueue:no_such/1",
            "spawn rabbit_misc:rpc_call/5",
            "call mnesia:dirty_write/1",
            "cast erlang:halt/1",
            "call delegate:invoke/2",
            "call gen_server2:call/3",
            "cast gen_server2:cast/2",
            "call gen_server:call/3",
            "call rabbit_misc:rpc_call/5",
            "call erl_eval:fun/1",
            "call erlang:fun/1",
            "send code_server_cache",
            "send rabbit_memory_monitor",
            "send worker_pool",
            "inspect",
            "inspect rabbit_amqqueue_sup",
            "inspect auth",
            "system_message %2F_orders",
            "supervise",
            "supervise osiris_server_sup",
            "exit rabbit_sup",
            "exit init",
        ],
    );
    all_pass(
        &pair("rabbitmq-streams", &[]),
        &["supervise osiris_server_sup", "send osiris_server_sup"],
    );
    none_passes(
        &pair("rabbitmq-streams", &[]),
        &["supervise", "supervise rabbit_sup", "send rabbit_sup"],
    );
}

#[test]
fn a_peer_of_mnesia_shares_its_tables_and_nothing_else() {
    let peer = pair("mnesia-peer", &[]);
    all_pass(
        &peer,
        &[
            "send mnesia_tm",
            "send mnesia_locker",
            "link mnesia_monitor",
            "call mnesia_schema:remote_read_schema/0",
            "call mnesia_frag:remote_select/4",
            "call erlang:whereis/1",
            "send_pid",
            "link",
            "monitor mnesia_tm",
        ],
    );
    none_passes(
        &peer,
        &[
            "connect",
            "send rex",
            "send mnesia_rpc",
            "call mnesia_rpc:call/4",
            "call mnesia_schema:delete_schema2/0",
            "spawn mnesia_bup:fallback_receiver/2",
            "spawn mnesia_log:tab_copier/3",
            "call mnesia_sup:kill/0",
            "call mnesia:dirty_read/2",
            "send shop",
            "exit",
        ],
    );
}

#[test]
fn a_pubsub_peer_may_share_topics_and_nothing_else() {
    let peer = pair("pubsub-peer", &["chat"]);
    all_pass(
        &peer,
        &[
            "send Elixir.Phoenix.PubSub",
            "send Elixir.Chat.PubSub.Adapter",
            "send Elixir.Chat.PubSub.Adapter_2",
            "send chat",
            "send_pid",
            "monitor Elixir.Phoenix.PubSub",
        ],
    );
    none_passes(
        &peer,
        &[
            "send Elixir.Chat.Repo",
            "send Elixir.Chat.Presence_shard0",
            "send shop",
            "call shop_stock:level/1",
            "spawn shop_worker:run/2",
            "link",
            "exit",
        ],
    );
    none_passes(&pair("pubsub-peer", &[]), &["send chat"]);
}

#[test]
fn a_member_of_global_may_be_known_by_name_and_nothing_else() {
    let member = pair("global-member", &["my_scope"]);
    all_pass(
        &member,
        &[
            "register_global global_name_server",
            "send pg",
            "send my_scope",
            "send_pid",
            "exit",
            "monitor",
        ],
    );
    none_passes(
        &member,
        &[
            "send shop",
            "call shop_stock:level/1",
            "call global:register_name/2",
            "link",
            "register_global shop",
        ],
    );
}

#[test]
fn an_operator_gets_a_shell() {
    all_pass(
        &pair("remsh-operator", &[]),
        &[
            "spawn shell:start/1",
            "spawn shell:start/0",
            "call edlin_expand:expand/2",
            "call erlang:apply/2",
            "send_pid",
            "link",
            "exit",
            "group_leader",
            "monitor",
            "call erl_eval:exprs/2",
            "call erl_eval:eval_str/1",
        ],
    );
    none_passes(
        &pair("remsh-operator", &[]),
        &[
            "send shop",
            "call os:cmd/1",
            "manage_code code_server",
            "access_files file_server_2",
        ],
    );
}

#[test]
fn a_tool_administers_by_what_an_application_offers() {
    all_pass(
        &pair("cli-tool", &[]),
        &[
            "call rabbit:status/0",
            "call rabbit_mnesia:join_cluster/2",
            "call rabbit_vhost:add/2",
            "call rabbit_mnesia:status/0",
            "call rabbit_amqqueue:emit_info_all/5",
            "call rabbit_networking:emit_connection_info_all/4",
            "call rabbit:stop_and_halt/0",
            "call ejabberd_ctl:process/2",
            "send_pid",
            "call erlang:node/0",
        ],
    );
    none_passes(
        &pair("cli-tool", &[]),
        &[
            "call erl_eval:exprs/2",
            "call init:stop/0",
            "spawn rabbit:status/0",
            "call shop_stock:level/1",
            "exit",
        ],
    );
}

#[test]
fn a_reader_of_metrics_looks_and_changes_nothing() {
    all_pass(
        &pair("metrics-reader", &[]),
        &[
            "call erlang:memory/0",
            "call erlang:process_info/2",
            "call prometheus_text_format:format/0",
            "call ets:info/2",
        ],
    );
    none_passes(
        &pair("metrics-reader", &[]),
        &[
            "send shop",
            "send_pid",
            "cast erlang:memory/0",
            "spawn erlang:memory/0",
            "link",
            "exit",
            "call ets:insert/2",
        ],
    );
}

#[test]
fn a_binding_to_ordinary_nodes_holds_for_the_node_itself_and_for_what_is_in_it() {
    let mut binding = bind("member", &[]);
    for on in &mut binding.on {
        on.cli = Some(false);
    }
    let engine = engine(vec![binding]);
    let to = |subject| engine.pair(&self::subject("a", "host-a"), &subject, 0);
    let ordinary = to(subject("b", "host-b"));
    all_pass(&ordinary, &["connect", "monitor", "send_pid", "send stock"]);
    let cli = to(Subject {
        node: "cli".into(),
        ..subject("b", "host-b")
    });
    for asked in ["connect", "monitor", "send_pid", "send stock"] {
        assert!(!passes(&cli, asked), "{asked}");
    }
}

#[test]
fn a_client_reaches_the_servers_that_are_named_and_nothing_else() {
    let client = pair("named-client", &["stock", "it's \"stock\")"]);
    all_pass(
        &client,
        &[
            "send stock",
            "monitor stock",
            "monitor",
            "send it's \"stock\")",
        ],
    );
    none_passes(
        &client,
        &[
            "send stocks",
            "send shop",
            "send_pid",
            "call shop_stock:level/1",
            "spawn shop:run/0",
            "monitor shop",
            "link stock",
            "exit stock",
            "register_global global_name_server",
        ],
    );
}

#[test]
fn a_role_that_is_bound_one_way_lets_nodes_stay_in_step_both_ways() {
    for (name, servers) in [
        ("named-client", &["stock"][..]),
        ("metrics-reader", &[]),
        ("cli-tool", &[]),
        ("remsh-operator", &[]),
    ] {
        let mut binding = bind(name, servers);
        // Only ordinary nodes have it, and only at ordinary ones.
        binding.principals[0].cli = Some(false);
        binding.on[0] = Selector {
            cli: Some(false),
            ..Selector::below(&format!("{CLUSTER}/ns/web/sa/b")).unwrap()
        };
        let engine = engine(vec![binding]);
        let (a, b) = (subject("a", "host-a"), subject("b", "host-b"));
        let back = engine.pair(&b, &a, 0);
        all_pass(
            &back,
            &[
                "connect",
                "monitor",
                "send rex",
                "send global_name_server",
                "monitor global_name_server",
            ],
        );
        none_passes(
            &back,
            &[
                "send_pid",
                "send stock",
                "monitor stock",
                "link",
                "exit",
                "call erlang:node/0",
                "call rabbit:status/0",
                "spawn shell:start/1",
                "register_global global_name_server",
            ],
        );
        let cli = Subject {
            node: crate::CLI.into(),
            ..a.clone()
        };
        none_passes(&engine.pair(&b, &cli, 0), &["connect", "send rex"]);
        none_passes(&engine.pair(&cli, &b, 0), &["connect", "send rex"]);
    }
}

#[test]
fn what_a_member_logs_for_another_holds_no_function() {
    let pair = pair("member", &[]);
    let mut request = Request::new(Action::Send, Resource::Process("logger_proxy"));
    assert_eq!(pair.decide(&request).verdict, Verdict::Permit);
    request.carries_function = true;
    assert_eq!(pair.decide(&request).verdict, Verdict::Deny);
    for name in ["logger", "logger_std_h_default", "user"] {
        assert!(!passes(&pair, &format!("send {name}")), "{name}");
    }
}

#[test]
fn what_is_logged_for_a_tool_goes_to_the_tool_and_holds_no_function() {
    for (role, goes) in [
        ("cli-tool", true),
        ("remsh-operator", true),
        ("metrics-reader", false),
    ] {
        let engine = engine(vec![bind(role, &[])]);
        let (a, b) = (subject("a", "host-a"), subject("b", "host-b"));
        let there = engine.pair(&a, &b, 0);
        let back = engine.pair(&b, &a, 0);
        let mut request = Request::new(Action::Send, Resource::Process("logger_proxy"));
        assert_eq!(
            back.decide(&request).verdict == Verdict::Permit,
            goes,
            "{role}"
        );
        assert!(!passes(&there, "send logger_proxy"), "{role}");
        assert!(!passes(&back, "send logger"), "{role}");
        request.carries_function = true;
        assert_eq!(back.decide(&request).verdict, Verdict::Deny, "{role}");
    }
}

#[test]
fn every_node_of_a_cluster_is_a_member_and_its_tools_have_a_shell() {
    let engine = engine(same_cluster_members(CLUSTER));
    let (a, b) = (subject("a", "host-a"), subject("b", "host-b"));
    let tool = crate::Subject {
        node: crate::CLI.into(),
        ..a.clone()
    };
    all_pass(
        &engine.pair(&a, &b, 0),
        &["connect", "send shop", "call shop_stock:level/1"],
    );
    none_passes(
        &engine.pair(&a, &b, 0),
        &["spawn shell:start/1", "call erl_eval:exprs/2", "exit"],
    );
    all_pass(
        &engine.pair(&tool, &b, 0),
        &[
            "connect",
            "spawn shell:start/1",
            "call rabbit:status/0",
            "call shop_stock:level/1",
        ],
    );
    // What a node answers to the tool.
    all_pass(
        &engine.pair(&b, &tool, 0),
        &["connect", "send_pid", "monitor"],
    );
    let stranger = crate::Subject {
        cluster: "other".into(),
        ..a.clone()
    };
    for (from, to) in [(&stranger, &b), (&b, &stranger)] {
        none_passes(
            &engine.pair(from, to, 0),
            &[
                "connect",
                "send rex",
                "send shop",
                "send_pid",
                "call erlang:node/0",
            ],
        );
    }
}

#[test]
fn every_policy_of_a_role_has_an_id_and_every_name_is_one() {
    for role in ALL {
        let set: PolicySet = role.policies.parse().unwrap();
        for policy in set.policies() {
            assert!(policy.annotation("id").is_some(), "{}: {policy}", role.name);
        }
        for line in role
            .names
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            let words: Vec<_> = line.split(' ').collect();
            let [_, kind, name] = words[..] else {
                panic!("{}: {line}", role.name)
            };
            match kind {
                "process" => {}
                "function" => assert!(
                    name.ends_with("/*") || crate::name::parse(name).is_some(),
                    "{}: {line}",
                    role.name
                ),
                _ => panic!("{}: {line}", role.name),
            }
        }
    }
}

/// A pattern does not name: what must be named and stands there as a pattern has no effect, which nobody would notice.
#[test]
fn no_role_hopes_for_a_pattern_where_a_name_is_needed() {
    for role in ALL {
        for line in role.names.lines() {
            if let Some(name) = line
                .strip_suffix("/*")
                .and_then(|line| line.rsplit(' ').next())
            {
                let (module, function) = name.split_once(':').unwrap();
                assert!(
                    !crate::catalogue::function(module, function, 1).must_be_named(),
                    "{}: {line}",
                    role.name
                );
            }
        }
    }
}

mod names {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever the name of a server is, it is that name and nothing else.
        #[test]
        fn of_servers_never_become_syntax(name in "(\\PC{1,20}|\"[\\)\\];] *permit\\(principal, action, resource\\);|\\?on|\\?principals)", other in "\\PC{1,20}") {
            prop_assume!(name != other && !crate::catalogue::process(&other).otp);
            let client = pair("named-client", &[&name]);
            let asked = |name| client.decide(&Request::new(Action::Send, Resource::Process(name))).verdict;
            prop_assert_eq!(asked(&name), Verdict::Permit);
            prop_assert_eq!(asked(&other), Verdict::Deny);
            prop_assert_eq!(client.decide(&Request::new(Action::SendPid, Resource::Node)).verdict, Verdict::Deny);
        }
    }
}

#[test]
fn the_page_about_roles_tells_of_each_and_its_example_is_one() {
    let page = include_str!("../../../../docs/policy-roles.md");
    for role in ALL {
        assert!(
            page.contains(&format!("| `{}` |", role.name)),
            "{}",
            role.name
        );
    }
    let example = page.split("```").nth(1).unwrap().trim_start_matches("yaml");
    let set = format!("apiVersion: skans.io/v1alpha1\nname: page\nmode: enforce\n{example}");
    let files = [crate::File {
        name: "set.yaml".into(),
        text: set,
    }];
    let source = Source::read(&files).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(source.roles.len(), 3);
    assert!(Engine::compile(&source).is_ok());
}

//! Names in `global` come with a function that settles conflicts of them, and runs at whoever settles: no role lets a peer bring
//! one that is not `global`'s own.

use super::Stage;
use skans_lab::until;
use skans_promises::PATIENCE;

/// What `n2` tries at `n1`; `{BY}` leaves a trace.
const TRIED: &[&str] = &[
    // With a name: asked for, by way of rex, and among the names that two nodes tell each other.
    "catch gen_server:call({global_name_server, {N1}}, {register, evil, global:whereis_name(till), fun(_, P, _) -> {BY}, P end})",
    "catch gen_server:call({global_name_server, {N1}}, {register_ext, evil, global:whereis_name(till), fun(_, P, _) -> {BY}, P end, node()})",
    "catch gen_server:call({global_name_server, {N1}}, {register, evil, global:whereis_name(till), fun os:cmd/3})",
    "{rex, {N1}} ! {self(), {sbcast, global_name_server, {'$gen_call', {self(), make_ref()}, \
     {register, evil, global:whereis_name(till), fun(_, P, _) -> {BY}, P end}}}}",
    "gen_server:cast({global_name_server, {N1}}, {new_nodes, node(), [{insert, {evil, global:whereis_name(till), \
     fun(_, P, _) -> {BY}, P end}}], [], [], []})",
    "gen_server:cast({global_name_server, {N1}}, {exchange, node(), [{evil, global:whereis_name(till), \
     fun(_, P, _) -> {BY}, P end}], [], 1})",
    // To be called at once, by global and by its processes, which it tells everybody of.
    "catch gen_server:call({global_name_server, {N1}}, {registrar, fun(_) -> {BY} end})",
    "element(9, gen_server:call({global_name_server, {N1}}, info)) ! {trans_all_known, fun(_) -> {BY} end, {self(), make_ref()}}",
    "element(8, gen_server:call({global_name_server, {N1}}, info)) ! {cancel, node(), 1, fun() -> {BY} end}",
];

/// What every node may do with names.
const LEGAL: &[(&str, &str)] = &[
    (
        "{ok, Pid} = clubs:start(one), global:register_name(one, Pid, fun global:random_notify_name/3)",
        "yes",
    ),
    (
        "{ok, Pid} = clubs:start(two), global:register_name(two, Pid, {global, notify_all_name})",
        "yes",
    ),
    (
        "{ok, Pid} = clubs:start(three), global:re_register_name(three, Pid)",
        "yes",
    ),
    (
        "[node(rpc:call(node(), global, whereis_name, [Name])) || Name <- [one, two, three]]",
        "[{N2},{N2},{N2}]",
    ),
];

async fn nobody_brings_a_method(role: &str) {
    let stage = Stage::of_peers(role, "", &["clubs"]).await;
    for number in [1, 2] {
        stage.wait(number, "global:sync() =:= ok").await;
    }
    stage
        .all(
            1,
            &[("element(1, clubs:start({global, till}, first))", "ok")],
        )
        .await;
    stage.wait(2, "is_pid(global:whereis_name(till))").await;
    stage.all(2, LEGAL).await;
    stage
        .wait(
            1,
            "[node(global:whereis_name(Name)) || Name <- [one, two, three]] =:= [{N2}, {N2}, {N2}]",
        )
        .await;
    stage.nothing_was_denied().await;
    let trace = stage.cluster.directory().join("owned");
    let by = format!("os:cmd(\"touch {}\")", trace.display());
    for tried in TRIED {
        let before = stage.denied().await.len();
        stage
            .eval(2, &format!("{}, tried", tried.replace("{BY}", &by)))
            .await;
        let denied = async || match stage.denied().await.len() {
            more if more > before => Ok(()),
            _ => Err("nothing more was denied".to_owned()),
        };
        until(PATIENCE, tried, denied).await.unwrap();
    }
    // What would have it run: the same name for another process, when the two meet again.
    let split = "monitor_node({N1}, true), erlang:disconnect_node({N1}), receive {nodedown, _} -> nodes() end";
    stage.all(2, &[(split, "[]")]).await;
    stage.wait(1, "nodes() =:= []").await;
    stage
        .all(
            2,
            &[
                ("element(1, clubs:start({global, evil}, mine))", "ok"),
                ("net_adm:ping({N1})", "pong"),
            ],
        )
        .await;
    stage
        .wait(
            1,
            "case global:whereis_name(evil) of undefined -> false; Pid -> node(Pid) =:= {N2} end",
        )
        .await;
    assert!(
        !trace.exists(),
        "{role}: {}",
        stage.denied().await.join("\n")
    );
    stage.cluster.stop().await.unwrap();
}

/// Hundreds of names at once are read to their end, as real nodes write them.
#[tokio::test]
async fn hundreds_of_names_go_over_when_two_halves_meet() {
    let stage = Stage::of_peers("global-member", "", &["clubs"]).await;
    // What one of them still had to say would connect the two again.
    let alone = "application:set_env(kernel, dist_auto_connect, never)";
    for number in [1, 2] {
        stage.wait(number, "global:sync() =:= ok").await;
        stage.all(number, &[(alone, "ok")]).await;
    }
    let split = "monitor_node({N1}, true), erlang:disconnect_node({N1}), receive {nodedown, _} -> nodes() end";
    stage.all(2, &[(split, "[]")]).await;
    stage.wait(1, "nodes() =:= []").await;
    let take = "length([yes = begin {ok, Pid} = clubs:start(N), global:register_name({till, <<N:112>>}, Pid) end || N <- lists:seq(1, 500)])";
    stage
        .all(
            2,
            &[(take, "500"), ("net_kernel:connect_node({N1})", "true")],
        )
        .await;
    stage
        .wait(1, "length(global:registered_names()) =:= 500")
        .await;
    stage.nothing_was_denied().await;
    stage.cluster.stop().await.unwrap();
}

#[tokio::test]
async fn no_member_brings_a_method_of_its_own() {
    nobody_brings_a_method("member").await;
}

#[tokio::test]
async fn no_member_of_global_brings_a_method_of_its_own() {
    nobody_brings_a_method("global-member").await;
}

#[tokio::test]
async fn no_peer_of_rabbitmq_brings_a_method_of_its_own() {
    nobody_brings_a_method("rabbitmq-peer").await;
}

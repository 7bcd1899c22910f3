//! `global-member`: names of `global` and groups of `pg` on two nodes, over a split and a restart.

use super::Stage;

/// With its scope of `pg`.
const START: &[(&str, &str)] = &[
    ("element(1, pg:start(pg))", "ok"),
    ("element(1, pg:start(clubs_scope))", "ok"),
];

/// Names and locks that go over both.
const NAMES: &[(&str, &str)] = &[
    ("element(1, clubs:start({global, till}, first))", "ok"),
    (
        "{error, {already_started, Pid}} = clubs:start({global, till}, second), node(Pid)",
        "{N1}",
    ),
    (
        "{ok, Pid} = clubs:start(moving), yes = global:register_name(moving, Pid), ok = global:unregister_name(moving), \
         yes = global:re_register_name(moving, Pid), global:send(moving, hello) =:= Pid",
        "true",
    ),
    (
        "L = clubs:trans(books, self()), receive {held, L} -> ok end, \
         aborted = global:trans({books, self()}, fun() -> both end, [{N1}, {N2}], 0), \
         L ! release, receive released -> ok end, global:trans({books, self()}, fun() -> done end)",
        "done",
    ),
];

/// The same from the other side, and groups.
const SEEN: &[(&str, &str)] = &[
    ("gen_server:call({global, till}, who)", "{first,{N1}}"),
    (
        "ok = gen_server:cast({global, till}, {tell, self(), cast}), receive {told, cast, first, Where} -> Where end",
        "{N1}",
    ),
    (
        "Ref = monitor(process, global:whereis_name(till)), demonitor(Ref, [flush])",
        "true",
    ),
    (
        "global:trans({books, self()}, fun() -> global:registered_names() =/= [] end)",
        "true",
    ),
    // One that its own node knows by a name, too: `servers` has it.
    (
        "{ok, Pid} = clubs:start({local, clubs_chess}, chess), {yes, gen_server:call(Pid, {join, clubs_scope, games})} =:= \
         {global:register_name(chess, Pid), ok}",
        "true",
    ),
    (
        "{ok, Pid} = clubs:start(go), gen_server:call(Pid, {join, clubs_scope, games})",
        "ok",
    ),
];

#[tokio::test]
async fn a_member_of_global_and_pg_is_that_and_nothing_else() {
    let mut stage = Stage::of_peers("global-member", "clubs_scope, clubs_chess", &["clubs"]).await;
    for number in [1, 2] {
        stage.all(number, START).await;
        stage.wait(number, "global:sync() =:= ok").await;
    }
    stage.all(1, NAMES).await;
    stage.all(2, SEEN).await;
    groups(&stage).await;
    conflict(&stage).await;
    restart(&mut stage).await;
    stage.and_nothing_else_passes(1, 2).await;
}

/// Who joins, leaves and ends is seen at the other node, by whoever watches the group.
async fn groups(stage: &Stage) {
    stage
        .wait(1, "length(pg:get_members(clubs_scope, games)) =:= 2")
        .await;
    stage
        .all(
            1,
            &[
                // A name that is younger than a second is no name to an agent yet; both ways it goes.
                (
                    "lists:sort([element(1, gen_server:call(Pid, who)) || Pid <- pg:get_members(clubs_scope, games)])",
                    "[chess,go]",
                ),
                (
                    "[gen_server:cast(Pid, {tell, self(), all}) || Pid <- pg:get_members(clubs_scope, games)], \
                     [receive {told, all, What, _} -> What end || What <- [chess, go]]",
                    "[chess,go]",
                ),
                (
                    "{Ref, Members} = pg:monitor(clubs_scope, games), [Go] = [Pid || Pid <- Members, {go, _} <- [gen_server:call(Pid, who)]], \
                     ok = gen_server:call(Go, {leave, clubs_scope, games}), receive {Ref, leave, games, [Go]} -> ok end, \
                     ok = gen_server:call(Go, {join, clubs_scope, games}), receive {Ref, join, games, [Go]} -> ok end, \
                     ok = gen_server:call(Go, stop), receive {Ref, leave, games, [Go]} -> left end",
                    "left",
                ),
            ],
        )
        .await;
}

/// Both halves of a split cluster take a name: when they meet, one of the two processes goes.
async fn conflict(stage: &Stage) {
    let split = "monitor_node({N2}, true), erlang:disconnect_node({N2}), receive {nodedown, _} -> nodes() end";
    stage.all(1, &[(split, "[]")]).await;
    stage.wait(2, "nodes() =:= []").await;
    for number in [1, 2] {
        stage
            .all(
                number,
                &[(
                    "{ok, Pid} = clubs:start({global, only_one}, here), register(witness, spawn(fun() -> Ref = monitor(process, Pid), \
                     receive {'DOWN', Ref, process, Pid, Why} -> receive {tell, To} -> To ! {ended, Why} end end end)), nodes()",
                    "[]",
                )],
            )
            .await;
    }
    stage.all(1, &[("net_adm:ping({N2})", "pong")]).await;
    for number in [1, 2] {
        stage
            .wait(
                number,
                "case global:whereis_name(only_one) of undefined -> false; Pid -> node(Pid) =:= {N1} end",
            )
            .await;
    }
    stage
        .all(
            2,
            &[(
                "witness ! {tell, self()}, receive {ended, Why} -> Why end",
                "killed",
            )],
        )
        .await;
}

/// A node that is gone takes its names and members with it, and has them again when it is back.
async fn restart(stage: &mut Stage) {
    stage.cluster.kill_node(1).await.unwrap();
    stage
        .wait(
            1,
            "nodes() =:= [] andalso global:whereis_name(chess) =:= undefined andalso pg:get_members(clubs_scope, games) =:= []",
        )
        .await;
    stage.cluster.start_node(1).await.unwrap();
    stage
        .cluster
        .connect(skans_promises::PATIENCE)
        .await
        .unwrap();
    stage.all(2, START).await;
    stage.all(2, &[("global:sync()", "ok")]).await;
    stage.all(2, &SEEN[..3]).await;
    stage.all(2, &SEEN[4..]).await;
    stage
        .wait(
            1,
            "length(pg:get_members(clubs_scope, games)) =:= 2 andalso is_pid(global:whereis_name(chess))",
        )
        .await;
    stage
        .all(
            1,
            &[("gen_server:call({global, chess}, who)", "{chess,{N2}}")],
        )
        .await;
}

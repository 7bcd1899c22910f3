//! `member`: an ordinary application on two nodes.

use std::process::Command;

use super::{CLUSTER, Stage, bind};

/// Servers, by name and by pid.
const SERVERS: &[(&str, &str)] = &[
    (
        "gen_server:call({shop_stock, {N2}}, {level, pear})",
        "{level,pear,{N2}}",
    ),
    (
        "gen_server:cast({shop_stock, {N2}}, {tell, self(), cast}), receive {told, cast, Where} -> Where end",
        "{N2}",
    ),
    (
        "{shop_stock, {N2}} ! {tell, self(), info}, receive {told, info, Where} -> Where end",
        "{N2}",
    ),
    (
        "{Replies, []} = gen_server:multi_call([{N1}, {N2}], shop_stock, {level, fig}), length(Replies)",
        "2",
    ),
    (
        "abcast = gen_server:abcast([{N2}], shop_stock, {tell, self(), abcast}), receive {told, abcast, Where} -> Where end",
        "{N2}",
    ),
    (
        "gen_server:wait_response(gen_server:send_request({shop_stock, {N2}}, {level, kiwi}), 5000)",
        "{reply,{level,kiwi,{N2}}}",
    ),
    (
        "Pid = gen_server:call({shop_stock, {N2}}, {session, jo}), {node(Pid), gen_server:call(Pid, who)}",
        "{{N2},{session,jo}}",
    ),
    (
        "Pid = gen_server:call({shop_stock, {N2}}, {session, al}), Ref = monitor(process, Pid), stopped = gen_server:call(Pid, stop), \
         receive {'DOWN', Ref, process, Pid, Why} -> Why end",
        "normal",
    ),
    (
        "Ref = monitor(process, {shop_stock, {N2}}), demonitor(Ref, [flush])",
        "true",
    ),
    (
        "catch gen_server:call({nobody_here, {N2}}, hello)",
        "{'EXIT',{noproc,{gen_server,call,[{nobody_here,{N2}},hello]}}}",
    ),
    // What runs where its caller has sent it, with what it needs: an application's own affair.
    (
        "gen_server:call({shop_stock, {N2}}, {run, fun() -> node() end})",
        "{N2}",
    ),
    (
        "gen_server:call({shop_stock, {N2}}, {level, binary:copy(<<1>>, 500000)}) =/= 1",
        "true",
    ),
];

/// Functions and processes at the other node.
const WORK: &[(&str, &str)] = &[
    ("rpc:call({N2}, shop, level, [pear])", "{level,pear,{N2}}"),
    ("erpc:call({N2}, shop, level, [pear])", "{level,pear,{N2}}"),
    (
        "rpc:multicall([{N1}, {N2}], shop, where, [])",
        "{[{{N1},{N1}},{{N2},{N1}}],[]}",
    ),
    (
        "erpc:multicall([{N1}, {N2}], shop, where, [])",
        "[{ok,{{N1},{N1}}},{ok,{{N2},{N1}}}]",
    ),
    (
        "rpc:yield(rpc:async_call({N2}, shop, level, [fig]))",
        "{level,fig,{N2}}",
    ),
    (
        "rpc:cast({N2}, shop, level, [fig]), erpc:cast({N2}, shop, level, [fig])",
        "ok",
    ),
    (
        "erpc:receive_response(erpc:send_request({N2}, shop, level, [fig]), 5000)",
        "{level,fig,{N2}}",
    ),
    (
        "catch erpc:call({N2}, shop, fails, [])",
        "{'EXIT',{exception,failed}}",
    ),
    (
        "W = spawn_link({N2}, shop, worker, [self()]), receive {worker, W, Where} -> Where end",
        "{N2}",
    ),
    (
        "process_flag(trap_exit, true), W = spawn_link({N2}, shop, fails, []), receive {'EXIT', W, Why} -> Why end",
        "failed",
    ),
    (
        "{W, Ref} = spawn_monitor({N2}, shop, fails, []), receive {'DOWN', Ref, process, W, Why} -> Why end",
        "failed",
    ),
    (
        "{W, Ref} = spawn_opt({N2}, shop, worker, [self()], [link, monitor]), receive {worker, W, _} -> ok end, unlink(W), \
         W ! {self(), ask, more}, receive {answer, W, What} -> ok end, W ! stop, \
         receive {'DOWN', Ref, process, W, Why} -> {What, Why} end",
        "{more,normal}",
    ),
    // A task: its caller is linked to it, watches it, and hears its answer.
    (
        "process_flag(trap_exit, true), W = spawn({N2}, shop, worker, [self()]), receive {worker, W, _} -> ok end, true = link(W), \
         W ! stop, receive {'EXIT', W, Why} -> Why end",
        "normal",
    ),
    (
        "monitor_node({N2}, true), monitor_node({N2}, false)",
        "true",
    ),
    ("net_adm:ping({N2})", "pong"),
    // Its output is where its caller is, and so is what it logs.
    ("rpc:call({N2}, shop, logs, [\"heard\"])", "ok"),
];

/// Names and groups of the whole cluster.
const NAMES: &[(&str, &str)] = &[
    (
        "{ok, Pid} = shop:session(till), global:register_name(till, Pid)",
        "yes",
    ),
    ("global:trans({till, self()}, fun() -> done end)", "done"),
    (
        "{ok, Pid} = shop:session(cart), ok = pg:join(carts, Pid), gen_server:call({global, till}, who)",
        "{session,till}",
    ),
];

#[tokio::test]
async fn a_member_works_and_owns_nobody() {
    let stage = Stage::of_peers("member", "", &["shop"]).await;
    for number in [1, 2] {
        stage
            .all(
                number,
                &[("shop:start()", "ok"), ("element(1, pg:start(pg))", "ok")],
            )
            .await;
    }
    stage.all(1, SERVERS).await;
    stage.all(1, WORK).await;
    stage.all(1, NAMES).await;
    stage
        .wait(2, "[node(Pid) || Pid <- pg:get_members(carts)] =:= [{N1}]")
        .await;
    stage.wait(2, "is_pid(global:whereis_name(till))").await;
    stage
        .all(
            2,
            &[("gen_server:call({global, till}, who)", "{session,till}")],
        )
        .await;
    stage.and_nothing_else_passes(1, 2).await;
}

/// What Elixir's applications do at other nodes, by Elixir's own modules.
const ELIXIR: &[(&str, &str)] = &[
    (
        "'Elixir.GenServer':call({shop_stock, {N2}}, {level, pear})",
        "{level,pear,{N2}}",
    ),
    (
        "'Elixir.Task':await('Elixir.Task.Supervisor':async({'Elixir.Shop.Tasks', {N2}}, shop, level, [pear]))",
        "{level,pear,{N2}}",
    ),
    (
        "#{ref := Ref} = 'Elixir.Task.Supervisor':async_nolink({'Elixir.Shop.Tasks', {N2}}, shop, fails, []), \
         receive {'DOWN', Ref, process, _, Why} -> Why end",
        "failed",
    ),
    (
        "{ok, Pid} = 'Elixir.Task.Supervisor':start_child({'Elixir.Shop.Tasks', {N2}}, shop, worker, [self()]), \
         receive {worker, Pid, Where} -> Pid ! stop, Where end",
        "{N2}",
    ),
    (
        "'Elixir.Agent':update({'Elixir.Shop.Prices', {N2}}, maps, merge, [#{pear => 3}]), 'Elixir.Agent':get({'Elixir.Shop.Prices', {N2}}, maps, size, [])",
        "1",
    ),
    ("'Elixir.Node':list()", "[{N2}]"),
    ("rpc:call({N2}, 'Elixir.Node', self, [])", "{N2}"),
];

/// Tasks at other nodes are children of a supervisor there, which starts whatever it is told to: a permit of its own.
const TASKS: &str = "@id(\"tasks\") permit(principal, action == Skans::Action::\"supervise\", resource == Skans::Process::\"Elixir.Shop.Tasks\");";

#[tokio::test]
async fn a_member_of_elixir_works_and_owns_nobody() {
    let path = Command::new("elixir")
        .args(["-e", "IO.write :code.lib_dir(:elixir)"])
        .output()
        .unwrap();
    let path = String::from_utf8(path.stdout).unwrap();
    let stage = Stage::start(&[bind("member", CLUSTER, CLUSTER, "")], TASKS, &["shop"]).await;
    let start = [
        (
            format!("code:add_patha(\"{path}/ebin\"), shop:start()"),
            "ok",
        ),
        (
            "Me = self(), spawn(fun() -> {ok, _} = 'Elixir.Task.Supervisor':start_link([{name, 'Elixir.Shop.Tasks'}]), \
             {ok, _} = 'Elixir.Agent':start_link(maps, new, [], [{name, 'Elixir.Shop.Prices'}]), Me ! up, receive stop -> ok end end), \
             receive up -> up end"
                .to_owned(),
            "up",
        ),
    ];
    for number in [1, 2] {
        for (expression, wanted) in &start {
            stage.all(number, &[(expression, wanted)]).await;
        }
    }
    stage.all(1, ELIXIR).await;
    stage.and_nothing_else_passes(1, 2).await;
}

//! `named-client`: one node that asks two servers of another, and is nothing else there.

use super::{Stage, bind, node};

/// What a client does.
const ASKS: &[(&str, &str)] = &[
    ("net_adm:ping({N2})", "pong"),
    (
        "gen_server:call({shop_stock, {N2}}, {level, pear})",
        "{level,pear,{N2}}",
    ),
    (
        "gen_server:call({shop_stock, {N2}}, {level, binary:copy(<<1>>, 40000)}) =/= 1",
        "true",
    ),
    (
        "gen_server:cast({shop_stock, {N2}}, {tell, self(), cast}), receive {told, cast, Where} -> Where end",
        "{N2}",
    ),
    (
        "gen_server:wait_response(gen_server:send_request({shop_stock, {N2}}, {level, kiwi}), 5000)",
        "{reply,{level,kiwi,{N2}}}",
    ),
    (
        "Ref = monitor(process, {shop_stock, {N2}}), demonitor(Ref, [flush])",
        "true",
    ),
    // Nobody has that name yet, and it is one of the two.
    (
        "catch gen_server:call({shop_till, {N2}}, hello)",
        "{'EXIT',{noproc,{gen_server,call,[{shop_till,{N2}},hello]}}}",
    ),
    // A process without a name that the server has handed out: to be sent to, called, and watched.
    (
        "Pid = gen_server:call({shop_stock, {N2}}, {session, jo}), gen_server:cast(Pid, {tell, self(), cast}), \
         receive {told, cast, {N2}} -> ok end, gen_server:call(Pid, who)",
        "{session,jo}",
    ),
    (
        "Pid = gen_server:call({shop_stock, {N2}}, {session, al}), Ref = monitor(process, Pid), stopped = gen_server:call(Pid, stop), \
         receive {'DOWN', Ref, process, Pid, Why} -> Why end",
        "normal",
    ),
];

#[tokio::test]
async fn a_client_of_named_servers_reaches_them_and_nothing_else() {
    let role = bind("named-client", &node(1), &node(2), "shop_stock, shop_till");
    let stage = Stage::start(&[role], "", &["shop"]).await;
    stage.all(2, &[("shop:start()", "ok")]).await;
    stage.all(1, ASKS).await;
    stage.nothing_was_denied().await;
    stage.and_nothing_else_passes(1, 2).await;
}

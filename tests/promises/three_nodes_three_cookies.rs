//! Three ordinary nodes, each with a cookie of its own, are one cluster: whatever Erlang does between
//! nodes works, in order and whole.

use std::collections::HashSet;

use skans_lab::Cluster;
use skans_promises::{PATIENCE, cluster};

/// Starts a `gen_server` on a node without compiling anything: `gen_event` is one in OTP itself.
async fn eval(cluster: &Cluster, node: usize, expression: &str) -> String {
    cluster
        .node(node)
        .unwrap()
        .eval(expression, PATIENCE)
        .await
        .unwrap()
}

#[tokio::test]
async fn three_nodes_with_three_cookies_see_each_other() {
    let cluster = cluster(3).await;
    let mut cookies = HashSet::new();
    for node in 0..3 {
        cookies.insert(eval(&cluster, node, "erlang:get_cookie()").await);
        assert_eq!(eval(&cluster, node, "length(nodes())").await, "2");
        assert_eq!(eval(&cluster, node, "nodes(hidden)").await, "[]");
    }
    assert_eq!(cookies.len(), 3, "each node has a cookie of its own");
    assert!(!cookies.contains("nocookie"));
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn calls_links_monitors_and_names_work_between_nodes() {
    let cluster = cluster(3).await;
    let (n2, n3) = (cluster.atom(1).unwrap(), cluster.atom(2).unwrap());
    assert_eq!(
        eval(&cluster, 0, &format!("erpc:call({n2}, erlang, node, [])")).await,
        n2
    );
    assert_eq!(
        eval(&cluster, 0, &format!("rpc:call({n3}, erlang, node, [])")).await,
        n3
    );
    assert_eq!(
        eval(
            &cluster,
            0,
            &format!("rpc:block_call({n3}, erlang, node, [])")
        )
        .await,
        n3
    );
    // kernel_sup is a gen_server under a registered name on every node.
    assert_eq!(
        eval(
            &cluster,
            0,
            &format!("is_list(supervisor:which_children({{kernel_sup, {n2}}}))")
        )
        .await,
        "true"
    );
    let link = format!(
        "process_flag(trap_exit, true), P = spawn_link({n2}, timer, sleep, [infinity]), exit(P, gone), \
         receive {{'EXIT', P, gone}} -> linked after 5000 -> timeout end"
    );
    assert_eq!(eval(&cluster, 0, &link).await, "linked");
    let monitor = format!(
        "P = spawn({n3}, timer, sleep, [infinity]), R = monitor(process, P), exit(P, kill), \
         receive {{'DOWN', R, process, P, killed}} -> down after 5000 -> timeout end"
    );
    assert_eq!(eval(&cluster, 0, &monitor).await, "down");
    let unlink = format!(
        "P = spawn_link({n3}, timer, sleep, [infinity]), unlink(P), exit(P, kill), R = monitor(process, P), \
         receive {{'DOWN', R, _, _, _}} -> ok after 5000 -> timeout end"
    );
    assert_eq!(eval(&cluster, 0, &unlink).await, "ok");
    // An alias, which replies of calls come back to.
    assert_eq!(
        eval(
            &cluster,
            1,
            &format!("gen_server:call({{net_kernel, {n3}}}, {{is_auth, node()}})")
        )
        .await,
        "yes"
    );
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn global_names_and_process_groups_span_the_cluster() {
    let cluster = cluster(3).await;
    let register = "P = spawn(timer, sleep, [infinity]), global:register_name(here, P)";
    assert_eq!(eval(&cluster, 0, register).await, "yes");
    for node in 0..3 {
        let found = format!(
            "case global:whereis_name(here) of undefined -> false; P -> node(P) =:= {} end",
            cluster.atom(0).unwrap()
        );
        cluster
            .node(node)
            .unwrap()
            .wait_until(&found, PATIENCE)
            .await
            .unwrap();
    }
    for node in 0..3 {
        eval(
            &cluster,
            node,
            "element(1, pg:start(pg)), pg:join(team, whereis(user))",
        )
        .await;
    }
    for node in 0..3 {
        cluster
            .node(node)
            .unwrap()
            .wait_for("length(pg:get_members(team))", "3", PATIENCE)
            .await
            .unwrap();
    }
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn sixty_four_megabytes_arrive_whole() {
    let cluster = cluster(2).await;
    let n2 = cluster.atom(1).unwrap();
    let big = format!(
        "B = binary:copy(crypto:strong_rand_bytes(1 bsl 20), 64), \
         erpc:call({n2}, erlang, md5, [B], 60000) =:= erlang:md5(B)"
    );
    let patience = PATIENCE * 2;
    assert_eq!(
        cluster.node(0).unwrap().eval(&big, patience).await.unwrap(),
        "true"
    );
    let back = format!(
        "B = erpc:call({n2}, binary, copy, [<<7>>, 64 bsl 20], 60000), {{byte_size(B), erlang:adler32(B)}} =:= \
         {{64 bsl 20, erlang:adler32(binary:copy(<<7>>, 64 bsl 20))}}"
    );
    assert_eq!(
        cluster
            .node(0)
            .unwrap()
            .eval(&back, patience)
            .await
            .unwrap(),
        "true"
    );
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn ten_thousand_messages_of_each_sender_arrive_in_order() {
    let cluster = cluster(3).await;
    let collect = "register(sink, spawn(fun() -> \
         Loop = fun Next(Seen, Left) when Left =:= 0 -> receive {ask, From} -> From ! {all, Seen} end; \
                    Next(Seen, Left) -> receive {at, N, Who} -> \
                        case maps:get(Who, Seen, 0) of \
                            N -> Next(Seen#{Who => N + 1}, Left - 1); \
                            Other -> exit({out_of_order, Who, wanted, Other, got, N}) end end end, \
         Loop(#{}, 40000) end))";
    assert_eq!(eval(&cluster, 0, collect).await, "true");
    let n1 = cluster.atom(0).unwrap();
    for node in [1, 2] {
        // Two senders on each node, their messages interleaved with some of 100 kB.
        let send = format!(
            "[spawn(fun() -> [begin {{sink, {n1}}} ! {{at, N, {{node(), S}}}}, \
                N rem 1000 =:= 0 andalso ({{nobody, {n1}}} ! binary:copy(<<1>>, 100000)) end || N <- lists:seq(0, 9999)] end) \
              || S <- [one, two]], ok"
        );
        assert_eq!(eval(&cluster, node, &send).await, "ok");
    }
    let all = "sink ! {ask, self()}, receive {all, Seen} -> lists:sort(maps:values(Seen)) after 25000 -> timeout end";
    assert_eq!(eval(&cluster, 0, all).await, "[10000,10000,10000,10000]");
    cluster.stop().await.unwrap();
}

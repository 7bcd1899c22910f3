//! `pubsub-peer`: topics and presences over two nodes, one of which goes and comes back.
//!
//! What runs is no Phoenix, which a test that needs no network cannot have, but a double of it in Erlang that says to other
//! nodes what Phoenix.PubSub.PG2 and Phoenix.Tracker say: `tests/roles/topics.erl`. Phoenix.PubSub 2.2.0 itself, with a
//! tracker, was put through the same by hand, and nothing was denied to it.

use super::Stage;

/// With somebody who listens and somebody who is there.
const START: &[(&str, &str)] = &[
    ("topics:start()", "ok"),
    (
        "register(listener, spawn(fun() -> topics:subscribe(<<\"news\">>), topics:track(node(), #{since => erlang:system_time()}), \
         (fun Loop(Heard) -> receive {what, To} -> To ! {heard, lists:reverse(Heard)}, Loop(Heard); forget -> Loop([]); \
         What -> Loop([What | Heard]) end end)([]) end))",
        "true",
    ),
];

async fn both_hear(stage: &Stage) {
    for number in [1, 2] {
        stage
            .wait(number, "topics:present() =:= [{N1}, {N2}]")
            .await;
    }
    for (from, to) in [(1, 2), (2, 1)] {
        stage
            .wait(
                from,
                "lists:all(fun(A) -> length(pg:get_members('Elixir.Phoenix.PubSub', A)) =:= 2 end, \
                 ['Elixir.MyApp.PubSub.Adapter', 'Elixir.MyApp.PubSub.Adapter_2'])",
            )
            .await;
        let other = format!("{{N{to}}}");
        // From several processes, so that both workers of the pool are used; large ones, in fragments; and to one node.
        let said = [
            "[begin {P, R} = spawn_monitor(fun() -> topics:broadcast(<<\"news\">>, {news, N, #{pid => self(), ref => make_ref()}}) end), \
             receive {'DOWN', R, process, P, normal} -> ok end end || N <- lists:seq(1, 20)], ok",
            "topics:broadcast(<<\"news\">>, binary:copy(<<7>>, 300000))",
            &format!("topics:direct_broadcast({other}, <<\"news\">>, for_you)"),
        ];
        stage.all(to, &[("listener ! forget", "forget")]).await;
        for line in said {
            stage.all(from, &[(line, "ok")]).await;
        }
        stage
            .wait(
                to,
                "listener ! {what, self()}, receive {heard, Heard} -> \
                 {length([N || {news, N, _} <- Heard]), [size(B) || B <- Heard, is_binary(B)], lists:member(for_you, Heard)} \
                 =:= {20, [300000], true} end",
            )
            .await;
    }
}

#[tokio::test]
async fn peers_of_a_pubsub_share_topics_and_nothing_else() {
    let mut stage = Stage::of_peers("pubsub-peer", "", &["topics"]).await;
    for number in [1, 2] {
        stage.all(number, START).await;
    }
    both_hear(&stage).await;
    stage.cluster.kill_node(1).await.unwrap();
    stage.wait(1, "topics:present() =:= [{N1}]").await;
    stage.cluster.start_node(1).await.unwrap();
    stage
        .cluster
        .connect(skans_promises::PATIENCE)
        .await
        .unwrap();
    stage.all(2, START).await;
    both_hear(&stage).await;
    stage.and_nothing_else_passes(1, 2).await;
}

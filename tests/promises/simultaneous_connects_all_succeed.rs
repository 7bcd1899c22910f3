//! Two nodes that connect to each other at the same moment end up connected, every time.

use skans_promises::{PATIENCE, cluster};

#[tokio::test]
async fn sixty_simultaneous_connects_of_a_pair_all_succeed() {
    let cluster = cluster(2).await;
    let (n1, n2) = (cluster.node(0).unwrap(), cluster.node(1).unwrap());
    let (a, b) = (cluster.atom(0).unwrap(), cluster.atom(1).unwrap());
    // Whoever has something left to say, as `global` often has, would connect again between rounds.
    for node in [n1, n2] {
        let only_when_asked = "application:set_env(kernel, dist_auto_connect, never)";
        assert_eq!(node.eval(only_when_asked, PATIENCE).await.unwrap(), "ok");
    }
    for round in 0..60 {
        n1.eval(&format!("erlang:disconnect_node({b})"), PATIENCE)
            .await
            .unwrap();
        n1.wait_for("nodes()", "[]", PATIENCE).await.unwrap();
        n2.wait_for("nodes()", "[]", PATIENCE).await.unwrap();
        // The same instant on one machine's clock, a little ahead.
        let at = n1
            .eval("erlang:system_time(millisecond) + 60", PATIENCE)
            .await
            .unwrap();
        let connect = |to: &str| {
            format!(
                "timer:sleep(max(0, {at} - erlang:system_time(millisecond))), net_kernel:connect_node({to})"
            )
        };
        let (connect_b, connect_a) = (connect(&b), connect(&a));
        let (from_a, from_b) =
            tokio::join!(n1.eval(&connect_b, PATIENCE), n2.eval(&connect_a, PATIENCE));
        assert_eq!(
            (from_a.unwrap(), from_b.unwrap()),
            ("true".to_owned(), "true".to_owned()),
            "round {round}"
        );
        assert_eq!(
            n1.eval("nodes()", PATIENCE).await.unwrap(),
            format!("[{b}]"),
            "round {round}"
        );
        assert_eq!(
            n2.eval("nodes()", PATIENCE).await.unwrap(),
            format!("[{a}]"),
            "round {round}"
        );
    }
    cluster.stop().await.unwrap();
}

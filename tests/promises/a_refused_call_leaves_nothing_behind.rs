//! A caller monitors the process that it calls. If the call is refused, the monitor, which was permitted, goes with it.

use std::time::Instant;

use skans_lab::Plan;
use skans_lab::plan::find_skans;
use skans_promises::PATIENCE;

/// So many that the monitors of other processes do not count.
const CALLS: usize = 1000;

#[tokio::test]
async fn a_thousand_refused_calls_leave_no_monitor_at_the_process() {
    let cluster = Plan::new(find_skans().unwrap()).unwrap().nodes(2);
    let cluster = cluster.start().await.unwrap();
    let (n1, n2) = (cluster.node(0).unwrap(), cluster.node(1).unwrap());
    let watched = "begin {monitored_by, L} = process_info(whereis(file_server_2), monitored_by), \
                   length([P || P <- L, node(P) =/= node()]) end";
    assert_eq!(n2.eval(watched, PATIENCE).await.unwrap(), "0");
    let victim = cluster.atom(1).unwrap();
    let begun = Instant::now();
    for to in [
        format!("{{file_server_2, {victim}}}"),
        format!("rpc:call({victim}, erlang, whereis, [file_server_2])"),
    ] {
        // From a process that lives on: the end of one would take its monitors along.
        let calls = format!(
            "begin To = {to}, lists:usort([element(1, element(2, catch gen_server:call(To, {{read_file, \"/etc/passwd\"}}))) \
             || _ <- lists:seq(1, {CALLS})]) end"
        );
        assert_eq!(n1.eval(&calls, PATIENCE).await.unwrap(), "[eacces]", "{to}");
        // Behind the calls, on the same link.
        assert_eq!(
            n1.eval(&format!("net_adm:ping({victim})"), PATIENCE)
                .await
                .unwrap(),
            "pong"
        );
        n2.wait_for(watched, "0", PATIENCE).await.unwrap();
    }
    println!("{} refused calls in {:?}", 2 * CALLS, begun.elapsed());
    cluster.stop().await.unwrap();
}

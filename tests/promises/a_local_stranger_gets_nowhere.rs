//! A process of another user of the host does not use a node's name, not even by hanging up before it
//! is looked at, and keeps no node from what it needs of its agent.

use std::time::Duration;

use skans_lab::until;
use skans_promises::{PATIENCE, cluster};
use tokio::net::TcpStream;

use crate::hostile::{send_name, stand_in};
use crate::root;

/// What `printf` of a shell makes these bytes of, behind a length.
fn escaped(body: &[u8]) -> String {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    length
        .iter()
        .chain(body)
        .map(|byte| format!("\\x{byte:02x}"))
        .collect()
}

/// Runs a script of bash as nobody, to its end.
async fn nobody_runs(script: &str) -> String {
    let run = root::as_nobody("bash").args(["-c", script]).output();
    let out = tokio::time::timeout(PATIENCE, run).await.unwrap().unwrap();
    String::from_utf8_lossy(&out.stdout).into_owned()
}

#[tokio::test]
async fn who_hangs_up_at_once_does_not_pass_for_root() {
    if !root::or_skip("to be another user") {
        return;
    }
    const TIMES: usize = 300;
    let cluster = cluster(2).await;
    let agent = cluster.agent(0).unwrap();
    let port = stand_in(agent.epmd_port(), "n2@n2.lab").await.unwrap();
    let (here, there) = (agent.log_mark(), cluster.agent(1).unwrap().log_mark());
    let said = escaped(&send_name("n1@n1.lab").encode());
    // In one subshell each, so that the socket is closed as soon as the bytes are on their way.
    nobody_runs(&format!(
        "for i in $(seq {TIMES}); do printf '{said}' > /dev/tcp/127.0.0.1/{port}; done"
    ))
    .await;
    let refused = |line: &serde_json::Value| line["reason"] == "local_stranger";
    until(PATIENCE, "every one to be refused", async || {
        let lines = agent.log_since(here).unwrap();
        let count = lines.iter().filter(|line| refused(line)).count();
        if count >= TIMES {
            Ok(())
        } else {
            let other = lines.iter().find(|line| !refused(line));
            Err(format!(
                "{count} of {TIMES} refused as local strangers; {} {other:?}",
                lines.len()
            ))
        }
    })
    .await
    .unwrap();
    assert_eq!(cluster.agent(1).unwrap().log_since(there).unwrap().len(), 0);
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn names_that_a_stranger_makes_up_take_no_port() {
    if !root::or_skip("to be another user") {
        return;
    }
    let cluster = cluster(2).await;
    let epmd = cluster.agent(0).unwrap().epmd_port();
    let asked = escaped(b"zmade-up@n2.lab");
    let ask = format!(
        "exec 3<>/dev/tcp/127.0.0.1/{epmd}; printf '{asked}' >&3; od -An -tu1 -N2 <&3 | tr -d '\\n'"
    );
    assert_eq!(nobody_runs(&ask).await.trim(), "119   1");
    // Ours may, and from then on it is open to be asked for.
    assert!(stand_in(epmd, "made-up@n2.lab").await.is_some());
    assert_eq!(nobody_runs(&ask).await.trim(), "119   0");
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn who_asks_nothing_keeps_nobody_from_asking() {
    let cluster = cluster(2).await;
    let agent = cluster.agent(0).unwrap();
    let port = stand_in(agent.epmd_port(), "n2@n2.lab").await.unwrap();
    let mut silent = Vec::new();
    for target in [agent.epmd_port(), port] {
        for _ in 0..1500 {
            silent.push(TcpStream::connect(("127.0.0.1", target)).await.unwrap());
        }
    }
    let again = "erlang:disconnect_node('n2@n2.lab'), net_kernel:connect_node('n2@n2.lab')";
    let connected = cluster
        .node(0)
        .unwrap()
        .eval(again, Duration::from_secs(5))
        .await
        .unwrap();
    assert_eq!(connected, "true");
    drop(silent);
    cluster.stop().await.unwrap();
}

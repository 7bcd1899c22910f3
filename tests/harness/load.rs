//! Two nodes that send each other numbered messages as fast as the connection takes them, count what comes in its place and
//! what does not, and remember whom they saw go.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::time::{Duration, Instant};

use skans_agent::admin::LinkView;
use skans_lab::until;
use skans_promises::PATIENCE;

use crate::guarded::Guarded;

/// Counts what comes in its place, and what does not.
const SINK: &str = "register(sink, spawn(fun() -> \
    F = fun Loop(N, Bad) -> receive \
        {N, _} -> Loop(N + 1, Bad); \
        {ask, From} -> From ! {N, Bad}, Loop(N, Bad); \
        {M, _} when is_integer(M) -> Loop(M + 1, Bad + 1) \
    end end, F(0, 0) end))";
/// Remembers who went.
const WATCH: &str = "register(watch, spawn(fun() -> \
    net_kernel:monitor_nodes(true), \
    F = fun Loop(Gone) -> receive \
        {nodedown, Node} -> Loop([Node | Gone]); \
        {ask, From} -> From ! Gone, Loop(Gone); \
        _ -> Loop(Gone) \
    end end, F([]) end))";

/// How much is sent.
#[derive(Clone, Copy, Debug)]
pub struct Amount {
    /// Bytes in a message, beside its number.
    pub bytes: usize,
    /// So many messages each way at most.
    pub messages: u64,
}

impl Default for Amount {
    fn default() -> Self {
        Self {
            bytes: 500,
            messages: u64::MAX,
        }
    }
}

/// What may be under way in bytes, from one process to the other: more than agents and kernels hold, so that all of them are full, and
/// less than fills the memory of a node whose process reads more slowly than the agents bring.
const UNDER_WAY: usize = 64 << 20;

/// Sends, until it is stopped. How far the sink is it asks on the way; if no answer comes (the nodes may have lost each other), it asks
/// again.
fn source(to: &str, amount: Amount) -> String {
    // A message is some 50 bytes besides.
    let ahead = (UNDER_WAY / (amount.bytes + 50)).max(1000);
    format!(
        "register(source, spawn(fun() -> Body = <<0:({bytes} * 8)>>, Sink = {{sink, '{to}'}}, \
            F = fun Loop({most} = N, _) -> receive {{stop, From}} -> From ! N end; \
                Loop(N, Has) -> Full = N >= Has + {ahead}, receive {{stop, From}} -> From ! N; \
                    {{Now, _}} when is_integer(Now) -> Loop(N, Now) \
                after if Full -> 1000; true -> 0 end -> \
                    if Full; N rem {half} == 0 -> Sink ! {{ask, self()}}; true -> ok end, \
                    if Full -> Loop(N, Has); true -> Sink ! {{N, Body}}, Loop(N + 1, Has) end \
                end end, F(0, 0) end))",
        bytes = amount.bytes,
        most = amount.messages,
        half = ahead / 2,
    )
}

/// Asks a process of a node.
pub async fn ask(host: &Guarded, whom: &str, what: &str) -> String {
    let text = format!("{whom} ! {{{what}, self()}}, receive Answer -> Answer end");
    host.node.eval(&text, PATIENCE * 2).await.unwrap()
}

/// What has come, and how much of it in the wrong place.
pub async fn counted(host: &Guarded) -> (u64, u64) {
    let text = ask(host, "sink", "ask").await;
    let numbers = text.trim_matches(['{', '}']).split_once(',');
    let (count, bad) = numbers.unwrap_or_else(|| panic!("{text}"));
    (count.trim().parse().unwrap(), bad.trim().parse().unwrap())
}

/// The one link of a host.
pub async fn link(host: &Guarded) -> LinkView {
    let links = host.agent.links().await.unwrap();
    let [link] = links.as_slice() else {
        panic!("wanted one link: {links:?}");
    };
    link.clone()
}

/// Has a node count what comes, and remember who goes.
pub async fn listen(host: &Guarded) {
    for text in [SINK, WATCH] {
        assert_eq!(host.node.eval(text, PATIENCE).await.unwrap(), "true");
    }
}

/// Connects two nodes and lets them send.
pub async fn start(hosts: &[Guarded], amount: Amount) {
    let ping = format!("net_adm:ping('{}')", hosts[1].name);
    assert_eq!(hosts[0].node.eval(&ping, PATIENCE).await.unwrap(), "pong");
    for host in hosts {
        listen(host).await;
    }
    send(&hosts[0], &hosts[1], amount).await;
    send(&hosts[1], &hosts[0], amount).await;
    flows(hosts, 100).await;
}

/// Lets a node send to another.
pub async fn send(from: &Guarded, to: &Guarded, amount: Amount) {
    let text = source(&to.name, amount);
    assert_eq!(from.node.eval(&text, PATIENCE).await.unwrap(), "true");
}

/// How long it takes from now on until so many more messages have come at both nodes.
pub async fn flows(hosts: &[Guarded], count: u64) -> Duration {
    let start = Instant::now();
    let before = (counted(&hosts[0]).await.0, counted(&hosts[1]).await.0);
    until(PATIENCE * 2, "messages to come both ways", async || {
        let now = (counted(&hosts[0]).await.0, counted(&hosts[1]).await.0);
        if now.0 >= before.0 + count && now.1 >= before.1 + count {
            Ok(())
        } else {
            Err(format!("{now:?} after {before:?}"))
        }
    })
    .await
    .unwrap();
    start.elapsed()
}

/// Ends the sending, and checks that all that was sent has come, each message once and in its place, and that nobody saw
/// anybody go. What was sent each way.
pub async fn finish(hosts: &[Guarded], limit: Duration) -> [u64; 2] {
    let mut all = [0; 2];
    for (host, other) in [(0, 1), (1, 0)] {
        let sent: u64 = ask(&hosts[host], "source", "stop").await.parse().unwrap();
        until(
            limit,
            "all that was sent to come",
            async || match counted(&hosts[other]).await {
                (count, 0) if count == sent => Ok(()),
                other => Err(format!("{other:?} of {sent}")),
            },
        )
        .await
        .unwrap();
        all[host] = sent;
    }
    for host in hosts {
        assert_eq!(ask(host, "watch", "ask").await, "[]", "{}", host.name);
    }
    all
}

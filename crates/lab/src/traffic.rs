//! Numbered messages between all nodes of a cluster, all the time, and what became of them: none may be
//! lost, doubled or out of order, and no node may miss another.

use std::time::Duration;

use serde::Serialize;

use crate::{Cluster, Error, until};

/// For one question to a node.
const STEP: Duration = Duration::from_secs(20);
/// For the last messages to arrive.
const SETTLE: Duration = Duration::from_secs(20);

/// Counts what arrives from each node, what does not follow the number before it, and nodedowns. A
/// message that comes twice is out of order as well.
const SINK: &str = r"
Sink = fun Loop(Seen, Misplaced, Downs) ->
    receive
        {number, From, N} ->
            case maps:get(From, Seen, 0) + 1 of
                N -> Loop(Seen#{From => N}, Misplaced, Downs);
                _ -> Loop(Seen#{From => N}, Misplaced + 1, Downs)
            end;
        {nodedown, _, _} -> Loop(Seen, Misplaced, Downs + 1);
        {nodeup, _, _} -> Loop(Seen, Misplaced, Downs);
        {count, Who} ->
            Who ! {counted, lists:sum(maps:values(Seen)), Misplaced, Downs},
            Loop(Seen, Misplaced, Downs)
    end
end,
Self = self(),
register(skans_lab_sink, spawn(fun() ->
    ok = net_kernel:monitor_nodes(true, [{node_type, all}]),
    Self ! monitoring,
    Sink(#{}, 0, 0)
end)),
receive monitoring -> ok end
";

/// Sends a number to each peer's sink, every 5 ms.
const SOURCE: &str = r"
Source = fun Loop(N, Peers) ->
    receive
        {stop, Who} -> Who ! {stopped, N}
    after 5 ->
        [{skans_lab_sink, Peer} ! {number, node(), N + 1} || Peer <- Peers],
        Loop(N + 1, Peers)
    end
end,
register(skans_lab_source, spawn(fun() -> Source(0, PEERS) end)),
ok
";

const STOP: &str = "skans_lab_source ! {stop, self()}, receive {stopped, N} -> N end";
const COUNT: &str = "skans_lab_sink ! {count, self()}, receive {counted, Received, Misplaced, Downs} -> [Received, Misplaced, Downs] end";

/// Traffic that flows.
#[derive(Debug)]
pub struct Traffic {
    nodes: Vec<usize>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Counts {
    /// Messages that arrived.
    pub received: u64,
    /// Messages that were sent and never arrived; known once the traffic has ended.
    pub lost: u64,
    /// Messages that did not follow the one before them: early, late or twice.
    pub misplaced: u64,
    /// How often a node missed another.
    pub nodedowns: u64,
}

impl Traffic {
    /// Starts it between all running nodes of a cluster, each to each other.
    ///
    /// # Errors
    /// Those of [`crate::ErlNode::eval`].
    pub async fn start(cluster: &Cluster) -> Result<Self, Error> {
        let nodes = cluster.running();
        for &node in &nodes {
            cluster.node(node)?.eval(SINK, STEP).await?;
        }
        for &node in &nodes {
            let mut peers = Vec::new();
            for &peer in nodes.iter().filter(|&&peer| peer != node) {
                peers.push(cluster.atom(peer)?);
            }
            let source = SOURCE.replace("PEERS", &format!("[{}]", peers.join(", ")));
            cluster.node(node)?.eval(&source, STEP).await?;
        }
        Ok(Self { nodes })
    }

    /// What arrived so far.
    ///
    /// # Errors
    /// As [`Traffic::start`].
    pub async fn counts(&self, cluster: &Cluster) -> Result<Counts, Error> {
        let mut counts = Counts::default();
        for &node in &self.nodes {
            let said = cluster.node(node)?.eval(COUNT, STEP).await?;
            let [received, misplaced, nodedowns] = numbers(&said)?;
            counts.received += received;
            counts.misplaced += misplaced;
            counts.nodedowns += nodedowns;
        }
        Ok(counts)
    }

    /// Stops sending, waits for the last messages, and tells what became of all.
    ///
    /// # Errors
    /// As [`Traffic::start`]. Messages that do not arrive are no error: they are counted.
    pub async fn end(self, cluster: &Cluster) -> Result<Counts, Error> {
        let peers = self.nodes.len().saturating_sub(1) as u64;
        let mut sent = 0;
        for &node in &self.nodes {
            let [last] = numbers(&cluster.node(node)?.eval(STOP, STEP).await?)?;
            sent += last * peers;
        }
        let arrived = until(SETTLE, "the last messages to arrive", async || {
            let counts = self.counts(cluster).await;
            let received = counts.map_err(|error| error.to_string())?.received;
            if received < sent {
                return Err(format!("{received} of {sent}"));
            }
            Ok(())
        })
        .await;
        match arrived {
            Ok(()) | Err(Error::TimedOut { .. }) => {}
            Err(other) => return Err(other),
        }
        let mut counts = self.counts(cluster).await?;
        counts.lost = sent.saturating_sub(counts.received);
        Ok(counts)
    }
}

/// The numbers of a term such as `[1,2,3]` or `1`.
fn numbers<const N: usize>(term: &str) -> Result<[u64; N], Error> {
    let unexpected = || Error::Unexpected(format!("found {term}, wanted {N} numbers"));
    let list = term.trim_matches(['[', ']']);
    let numbers: Vec<_> = list
        .split(',')
        .map(|number| number.trim().parse())
        .collect::<Result<_, _>>()
        .map_err(|_| unexpected())?;
    numbers.try_into().map_err(|_| unexpected())
}

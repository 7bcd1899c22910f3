//! Two nodes that talk as fast as their connection takes it, small messages and such in many fragments, with atoms that go through
//! the cache; and what is known of it: how much came, in which order, and whether anybody missed the other.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use crate::PATIENCE;
use skans_lab::{Cluster, ErlNode, until};

/// Counts what comes in its place and whole, and what does not.
const SINK: &str = "register(sink, spawn(fun() -> \
    F = fun Loop(N, Bad) -> receive \
        {ask, From} -> From ! {N, Bad}, Loop(N, Bad); \
        {M, Atom, Bytes} -> \
            Whole = M =:= N andalso atom_to_list(Atom) =:= \"word\" ++ integer_to_list(M rem 300) \
                andalso byte_size(Bytes) =:= case M rem 40 of 0 -> 700000; _ -> 300 end, \
            case Whole of true -> Loop(N + 1, Bad); false -> Loop(M + 1, Bad + 1) end \
    end end, F(0, 0) end))";

/// Remembers who went.
const WATCH: &str = "register(watch, spawn(fun() -> \
    net_kernel:monitor_nodes(true, [{node_type, all}]), \
    F = fun Loop(Gone) -> receive \
        {nodedown, Node, _} -> Loop([Node | Gone]); \
        {ask, From} -> From ! Gone, Loop(Gone); \
        _ -> Loop(Gone) \
    end end, F([]) end))";

fn source(to: &str) -> String {
    format!(
        "register(source, spawn(fun() -> \
            Large = binary:copy(<<7>>, 700000), Small = binary:copy(<<7>>, 300), \
            F = fun Loop(N) -> receive {{stop, From}} -> From ! N \
                after 0 -> \
                    Bytes = case N rem 40 of 0 -> Large; _ -> Small end, \
                    Word = list_to_atom(\"word\" ++ integer_to_list(N rem 300)), \
                    {{sink, '{to}'}} ! {{N, Word, Bytes}}, Loop(N + 1) end end, F(0) end))"
    )
}

async fn ask(node: &ErlNode, whom: &str, what: &str) -> String {
    let text = format!("{whom} ! {{{what}, self()}}, receive Answer -> Answer end");
    node.eval(&text, PATIENCE).await.unwrap()
}

/// What has come, and how much of it in the wrong place.
async fn counted(node: &ErlNode) -> (u64, u64) {
    let text = ask(node, "sink", "ask").await;
    let numbers = text.trim_matches(['{', '}']).split_once(',');
    let (count, bad) = numbers.unwrap_or_else(|| panic!("{text}"));
    (count.trim().parse().unwrap(), bad.trim().parse().unwrap())
}

/// Two nodes that talk.
#[derive(Debug)]
pub struct Talk([usize; 2]);

impl Talk {
    /// Lets the first nodes of two hosts begin.
    ///
    /// # Panics
    /// If they do not.
    pub async fn begin(cluster: &Cluster, hosts: [usize; 2]) -> Self {
        let this = Self(hosts);
        for node in this.nodes(cluster) {
            for text in [SINK, WATCH] {
                assert_eq!(node.eval(text, PATIENCE).await.unwrap(), "true");
            }
        }
        let [one, other] = this.nodes(cluster);
        for (from, to) in [(one, other), (other, one)] {
            let name = to.eval("node()", PATIENCE).await.unwrap();
            let text = source(name.trim_matches('\''));
            assert_eq!(from.eval(&text, PATIENCE).await.unwrap(), "true");
        }
        this.goes_on(cluster).await;
        this
    }

    fn nodes<'a>(&self, cluster: &'a Cluster) -> [&'a ErlNode; 2] {
        self.0.map(|host| cluster.node(host).unwrap())
    }

    /// Waits until some hundred more have come each way.
    ///
    /// # Panics
    /// If they do not, or not in their places.
    pub async fn goes_on(&self, cluster: &Cluster) {
        for node in self.nodes(cluster) {
            let (before, _) = counted(node).await;
            until(PATIENCE, "messages to go on", async || {
                match counted(node).await {
                    (now, 0) if now > before + 300 => Ok(()),
                    other => Err(format!("{other:?}, {before} before")),
                }
            })
            .await
            .unwrap();
        }
    }

    /// Lets both say no more, and waits for what they have said. How much each has.
    ///
    /// # Panics
    /// If anything is lost, doubled or out of its place, or if one node has missed the other.
    pub async fn end(self, cluster: &Cluster) -> [u64; 2] {
        let [one, other] = self.nodes(cluster);
        let mut all = [0; 2];
        for (said, (from, to)) in all.iter_mut().zip([(one, other), (other, one)]) {
            *said = ask(from, "source", "stop").await.parse().unwrap();
            until(
                PATIENCE,
                "all that was said to come",
                async || match counted(to).await {
                    (count, 0) if count == *said => Ok(()),
                    other => Err(format!("{other:?} of {said}")),
                },
            )
            .await
            .unwrap();
        }
        for node in [one, other] {
            assert_eq!(ask(node, "watch", "ask").await, "[]", "nobody is missed");
        }
        all
    }
}

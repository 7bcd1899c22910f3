//! A live link is re-authenticated by fresh connections, unseen by the nodes, also while both send as fast as they can; and
//! one whose certificates cannot be renewed ends when the first of them does.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;
use skans_agent::admin::{LinkView, ask};
use skans_lab::traffic::{Counts, Traffic};
use skans_lab::{Cluster, ErlNode, until};

use skans_promises::{PATIENCE, cluster, plan};

/// Sends numbered binaries of all sizes to the sink of PEER until it is told to stop. Each is made of its own number, so
/// that the sink can tell a wrong byte. 500 are under way at most: 20 MB, more than the sockets hold, and no more than
/// the nodes do.
const FLOOD: &str = r"
Source = fun Loop(N, Credit) ->
    receive
        {stop, Who} -> Who ! {stopped, N};
        more -> Loop(N, Credit + 100)
    after case Credit of 0 -> infinity; _ -> 0 end ->
        Copies = (N * 7919) rem 20000,
        {sink, PEER} ! {flood, N + 1, Copies, binary:copy(<<(N + 1):32>>, Copies)},
        Loop(N + 1, Credit - 1)
    end
end,
register(source, spawn(fun() -> Source(0, 500) end)),
ok
";

const SINK: &str = r"
Sink = fun Loop(Seen, Wrong, Downs) ->
    receive
        {flood, N, Copies, Binary} ->
            case N =:= Seen + 1 andalso Binary =:= binary:copy(<<N:32>>, Copies) of
                true ->
                    case N rem 100 of 0 -> {source, PEER} ! more; _ -> ok end,
                    Loop(N, Wrong, Downs);
                false -> Loop(N, Wrong + 1, Downs)
            end;
        {nodedown, _} -> Loop(Seen, Wrong, Downs + 1);
        {nodeup, _} -> Loop(Seen, Wrong, Downs);
        {count, Who} -> Who ! {counted, Seen, Wrong, Downs}, Loop(Seen, Wrong, Downs)
    end
end,
register(sink, spawn(fun() -> net_kernel:monitor_nodes(true), Sink(0, 0, 0) end)),
ok
";

const STOP: &str = "source ! {stop, self()}, receive {stopped, N} -> N end";
const COUNT: &str =
    "sink ! {count, self()}, receive {counted, Seen, Wrong, Downs} -> {Seen, Wrong, Downs} end";

async fn flood(cluster: &Cluster) {
    for (node, peer) in [(0, 1), (1, 0)] {
        let sink = SINK.replace("PEER", &cluster.atom(peer).unwrap());
        let sink = cluster.node(node).unwrap().eval(&sink, PATIENCE).await;
        assert_eq!(sink.unwrap(), "ok");
    }
    for (node, peer) in [(0, 1), (1, 0)] {
        let source = FLOOD.replace("PEER", &cluster.atom(peer).unwrap());
        let source = cluster.node(node).unwrap().eval(&source, PATIENCE).await;
        assert_eq!(source.unwrap(), "ok");
    }
}

/// Stops both sources; each sink must have seen all, in order, and no node go.
async fn all_arrived(cluster: &Cluster) -> u64 {
    let mut total = 0;
    for (node, peer) in [(0, 1), (1, 0)] {
        let eval = async |node: usize, what| -> String {
            let node: &ErlNode = cluster.node(node).unwrap();
            node.eval(what, PATIENCE).await.unwrap()
        };
        let sent = eval(node, STOP).await;
        let wanted = format!("{{{sent},0,0}}");
        until(
            PATIENCE,
            &format!("{wanted} at n{}", peer + 1),
            async || {
                let found = eval(peer, COUNT).await;
                if found == wanted { Ok(()) } else { Err(found) }
            },
        )
        .await
        .unwrap();
        total += sent.parse::<u64>().unwrap();
    }
    total
}

async fn link(cluster: &Cluster, host: usize) -> LinkView {
    let mut links = cluster.agent(host).unwrap().links().await.unwrap();
    assert_eq!(links.len(), 1, "{links:?}");
    links.remove(0)
}

async fn metric(cluster: &Cluster, host: usize, series: &str) -> u64 {
    let socket = &cluster.agent(host).unwrap().files().socket;
    let text = ask(socket, "GET", "/metrics", "").await.unwrap();
    text.lines()
        .find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
        .unwrap_or_else(|| panic!("{series} in {text}"))
}

#[tokio::test]
async fn a_saturated_link_moves_to_fresh_connections_and_no_node_notices() {
    let cluster = cluster(2).await;
    let before = [link(&cluster, 0).await, link(&cluster, 1).await];
    flood(&cluster).await;
    let start = Instant::now();
    let mut done = 0;
    while done < 60 {
        for host in [0, 1] {
            cluster.agent(host).unwrap().reauthenticate().await.unwrap();
        }
        let what = format!("takeover {} on both ends", done + 1);
        done = until(PATIENCE, &what, async || {
            let counts = [link(&cluster, 0).await, link(&cluster, 1).await];
            let least = counts.iter().map(|link| link.takeovers).min().unwrap();
            if least > done {
                Ok(least)
            } else {
                Err(format!("{least}"))
            }
        })
        .await
        .unwrap();
    }
    let messages = all_arrived(&cluster).await;
    println!(
        "{done} takeovers, {messages} messages in {:.1} s",
        start.elapsed().as_secs_f64()
    );
    for (host, before) in before.iter().enumerate() {
        let now = link(&cluster, host).await;
        assert_eq!((now.id, now.since), (before.id, before.since));
        let series = format!(
            "skans_takeovers_total{{direction=\"{}\",result=\"ok\"}}",
            now.direction
        );
        assert_eq!(metric(&cluster, host, &series).await, now.takeovers);
        assert!(now.traffic.received_bytes > 10_000_000, "it was under load");
    }
    cluster.stop().await.unwrap();
}

/// Nothing but the life of the certificates drives it.
#[tokio::test]
async fn a_link_goes_on_past_the_end_of_the_certificates_that_opened_it() {
    let short = json!({"identity": {"authority": {"leafLifetime": "15s"}}});
    let cluster = plan().nodes(2).config(&short).start().await.unwrap();
    let traffic = Traffic::start(&cluster).await.unwrap();
    let before = [link(&cluster, 0).await, link(&cluster, 1).await];
    let patience = PATIENCE + PATIENCE;
    for (host, before) in before.iter().enumerate() {
        until(
            patience,
            "a link that is older than its first certificates",
            async || {
                let now = link(&cluster, host).await;
                assert_eq!((now.id, now.since), (before.id, before.since));
                if unix_time() > before.ends + 10
                    && now.takeovers >= 2
                    && now.serial != before.serial
                {
                    Ok(())
                } else {
                    Err(format!("{} takeovers, until {}", now.takeovers, now.ends))
                }
            },
        )
        .await
        .unwrap();
    }
    let counts = traffic.end(&cluster).await.unwrap();
    assert!(counts.received > 1000, "{counts:?}");
    let good = Counts {
        received: counts.received,
        ..Counts::default()
    };
    assert_eq!(counts, good);
    cluster.stop().await.unwrap();
}

/// A cluster whose certificates live 15 s and whose authority has just been broken: nobody can renew anything. When the
/// link of its two nodes ends, Unix time.
async fn doomed() -> (Cluster, u64) {
    let short = json!({"identity": {"authority": {"leafLifetime": "15s"}}});
    let cluster = plan().nodes(2).config(&short).start().await.unwrap();
    let issuer = cluster.directory().join("authority/issuer.pem");
    std::fs::write(issuer, "nothing").unwrap();
    // A takeover may be under way: the certificates end soon after it at the latest.
    let status = |host| cluster.agent(host).unwrap().status();
    let ends = [status(0).await.unwrap(), status(1).await.unwrap()];
    let ends = ends.iter().flat_map(|status| &status.certificates);
    let last = ends.map(|certificate| certificate.not_after).max().unwrap();
    (cluster, last)
}

/// Both ends know it by themselves: whichever stands still, the other does not wait for it.
#[tokio::test]
async fn a_link_whose_certificates_cannot_be_renewed_ends_with_them_on_either_side() {
    let one = async |awake: usize| {
        let (cluster, last) = doomed().await;
        let frozen = cluster.agent(1 - awake).unwrap().pid();
        let signal = |signal| {
            let pid = rustix::process::Pid::from_raw(i32::try_from(frozen).unwrap()).unwrap();
            rustix::process::kill_process(pid, signal).unwrap();
        };
        let agent = cluster.agent(awake).unwrap();
        // Frozen in its last seconds, after the last takeover that could help.
        until(PATIENCE, "the last seconds", async || {
            let left = link(&cluster, awake).await.ends.saturating_sub(unix_time());
            if left <= 3 {
                Ok(())
            } else {
                Err(format!("{left} s"))
            }
        })
        .await
        .unwrap();
        let ends = link(&cluster, awake).await.ends;
        assert!(ends <= last, "no certificate lives longer: {ends}, {last}");
        signal(rustix::process::Signal::STOP);
        let what = "the end of the link";
        let down = agent.wait_log(0, what, PATIENCE, |line| {
            line["reason"] == "expired"
                && line["message"]
                    .as_str()
                    .is_some_and(|m| m.contains("link down"))
        });
        let down = down.await;
        let late = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs_f64()
            // The last second belongs to the certificate.
            - (ends + 1) as f64;
        signal(rustix::process::Signal::CONT);
        down.unwrap();
        // Its agent asks for the last word to be read for 2 s, which a frozen one does not.
        assert!((0.0..5.0).contains(&late), "{late} s late");
        assert_eq!(
            metric(&cluster, awake, "skans_links_expired_total").await,
            1
        );
        let n = cluster.node(awake).unwrap();
        n.wait_for("nodes()", "[]", PATIENCE).await.unwrap();
        let ping = format!("net_adm:ping({})", cluster.atom(1 - awake).unwrap());
        assert_eq!(
            n.eval(&ping, PATIENCE).await.unwrap(),
            "pang",
            "nothing new comes up"
        );
        cluster.stop().await.unwrap();
    };
    tokio::join!(one(0), one(1));
}

fn unix_time() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

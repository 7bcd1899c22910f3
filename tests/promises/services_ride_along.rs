//! A service of another host is used as if it were on this one: PostgreSQL across two hosts, with nothing but TLS on the cable, while the
//! network goes away, certificates rotate, and connections come by the dozen.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::json;
use skans_lab::agent::Files;
use skans_lab::{AgentProcess, Policy, until};
use skans_promises::PATIENCE;
use tokio::process::{Child, Command};

use crate::guarded::LINK_PORT;
use crate::netns::Network;
use crate::postgres::Cluster;
use crate::{pcap, root};

const NODES: [&str; 2] = ["app@host0.nodes.svc.test", "db@host1.nodes.svc.test"];
/// Where clients of the first host find it.
const DOOR: &str = "127.0.0.1:15432";
/// Work, and not a wait: on a machine that has others to do as well.
const LONG: Duration = Duration::from_secs(300);
/// Stands in rows. Long enough not to come up by chance.
const MARK: &str = "what-only-the-database-may-read";

/// PostgreSQL on one host, its clients on the other.
struct Hosts {
    // In this order: who uses a thing goes before it.
    agents: Vec<AgentProcess>,
    psql: PathBuf,
    pgbench: PathBuf,
    network: Network,
    postgres: Cluster,
}

/// The app may use it, and nobody may do anything else.
fn permit() -> Policy {
    let id = |node: &str| format!("spiffe://lab.test/cluster/main/ns/default/sa/{node}");
    Policy::enforced(
        &format!(
            "@id(\"pg\") permit(principal in Skans::Workload::\"{}\", action == Skans::Action::\"connect\",
               resource == Skans::Service::\"postgres\") when {{ resource in Skans::Workload::\"{}\" }};",
            id("app"),
            id("db")
        ),
        "",
    )
}

impl Hosts {
    async fn start(leaf: &str) -> Self {
        let postgres = tokio::task::block_in_place(Cluster::start);
        let socket = postgres.config("postgres").url;
        let directory = socket.split_whitespace().next().unwrap();
        let target = format!(
            "unix:{}/.s.PGSQL.5432",
            directory.strip_prefix("host=").unwrap()
        );
        let network = Network::new(2, false);
        let policy = network.directory().join("policy");
        permit().write(&policy).unwrap();
        let mut agents = Vec::new();
        for (index, name) in NODES.into_iter().enumerate() {
            let host = network.host(index);
            let other = SocketAddr::new(network.host(1 - index).four(), LINK_PORT);
            let services = match index {
                0 => json!({"uses": [{"name": "postgres", "from": NODES[1], "listen": DOOR}]}),
                _ => json!({"offers": [{"name": "postgres", "target": target}]}),
            };
            let files = Files::within(host.directory());
            files
                .write_config(&json!({
                    "apiVersion": "skans.io/v1alpha1",
                    "trustDomain": "lab.test",
                    "runtimeDirectory": host.directory().join("run"),
                    "nodes": [{"name": name}],
                    "identity": {"authority": {"directory": network.directory().join("authority"), "leafLifetime": leaf}},
                    "peers": {"static": [{"nodes": NODES[1 - index], "address": other}]},
                    "policy": {"directory": policy},
                    "services": services,
                    "events": {"file": host.directory().join("events.jsonl"), "window": "500ms"},
                    "drain": {"timeout": "1s"},
                    "log": {"format": "json"},
                }))
                .unwrap();
            let skans = host.program(&skans_lab::plan::find_skans().unwrap());
            let agent = AgentProcess::spawn(&skans, name, files).unwrap();
            agents.push(agent.ready().await.unwrap());
        }
        let client = network.host(0);
        let programs = crate::postgres::programs();
        Self {
            psql: client.program(&programs.join("psql")),
            pgbench: client.program(&programs.join("pgbench")),
            agents,
            network,
            postgres,
        }
    }

    /// A client on the other host.
    fn client(&self, program: &PathBuf, arguments: &[&str]) -> Command {
        let (host, port) = DOOR.split_once(':').unwrap();
        let mut command = Command::new(program);
        command
            .args(["-h", host, "-p", port, "-U", "skans"])
            .args(arguments)
            .env("PGDATABASE", "postgres")
            .env("PGCONNECT_TIMEOUT", "30")
            .kill_on_drop(true);
        command
    }

    async fn said(&self, program: &PathBuf, arguments: &[&str]) -> Output {
        let run = self.client(program, arguments).output();
        tokio::time::timeout(LONG, run).await.unwrap().unwrap()
    }

    async fn sql(&self, sql: &str) -> String {
        let output = self
            .said(&self.psql, &["-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql])
            .await;
        assert!(output.status.success(), "{sql}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn begin(&self, arguments: &[&str]) -> Child {
        let mut command = self.client(&self.psql, arguments);
        command
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        command.spawn().unwrap()
    }

    /// The only connection, of either host.
    async fn link(&self, host: usize) -> skans_agent::admin::LinkView {
        let links = self.agents[host].links().await.unwrap();
        let [link] = links.as_slice() else {
            panic!("wanted one connection: {links:?}");
        };
        link.clone()
    }

    async fn stop(self) {
        for agent in self.agents {
            agent.terminate(PATIENCE).await.unwrap();
        }
        tokio::task::block_in_place(|| drop(self.postgres));
    }
}

async fn ended(child: Child, what: &str) -> String {
    let output = tokio::time::timeout(LONG, child.wait_with_output());
    let output = output
        .await
        .unwrap_or_else(|_| panic!("{what} does not end"))
        .unwrap();
    assert!(output.status.success(), "{what}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Waits until bytes of the only connection have come this far.
async fn passed(hosts: &Hosts, bytes: u64) {
    until(PATIENCE, "bytes to pass", async || {
        let links = hosts.agents[0].links().await.unwrap();
        match links.first() {
            Some(link) if link.traffic.sent_bytes >= bytes => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_is_used_across_two_hosts_and_nothing_but_tls_is_on_the_cable() {
    if !root::or_skip("PostgreSQL across two hosts") {
        return;
    }
    let hosts = Hosts::start("1h").await;
    let capture = hosts.network.capture().await;
    hosts
        .sql("CREATE TABLE said (n int PRIMARY KEY, word text)")
        .await;
    hosts
        .sql(&format!(
            "INSERT INTO said SELECT n, '{MARK}' FROM generate_series(1, 20000) n"
        ))
        .await;
    let words = hosts.sql("SELECT string_agg(word, '') FROM said").await;
    assert_eq!(words.len(), 20_000 * MARK.len());
    // Some at once, each with connections of its own.
    let made = hosts.said(&hosts.pgbench, &["-i", "-q", "-s", "1"]).await;
    assert!(made.status.success(), "{made:?}");
    let load = hosts
        .said(&hosts.pgbench, &["-c", "4", "-j", "2", "-t", "20", "-C"])
        .await;
    let text = String::from_utf8_lossy(&load.stdout).into_owned();
    assert!(
        load.status.success() && text.contains("processed: 80/80"),
        "{load:?}"
    );
    println!(
        "{}",
        text.lines()
            .filter(|line| line.contains("tps") || line.contains("latency"))
            .collect::<Vec<_>>()
            .join("\n")
    );

    // Both agents say the same of it, and no connection is left.
    until(PATIENCE, "all connections to end", async || {
        let status = hosts.agents[0].status().await.unwrap();
        match status.services.as_slice() {
            [one] if one.connections == 0 && one.established > 80 && one.refused == 0 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
    .unwrap();
    until(PATIENCE, "both to have counted", async || {
        let (here, there) = (
            hosts.agents[0].status().await.unwrap().services[0].clone(),
            hosts.agents[1].status().await.unwrap().services[0].clone(),
        );
        let same = here.established == there.established
            && here.sent_bytes == there.received_bytes
            && here.received_bytes == there.sent_bytes;
        if same && there.connections == 0 {
            Ok(())
        } else {
            Err(format!("{here:?} {there:?}"))
        }
    })
    .await
    .unwrap();
    let event = |activity: &'static str| {
        move |event: &serde_json::Value| {
            event["activity_name"] == activity && event["dst_endpoint"]["svc_name"] == "postgres"
        }
    };
    for agent in &hosts.agents {
        for activity in ["Open", "Close"] {
            agent
                .wait_event(activity, PATIENCE, event(activity))
                .await
                .unwrap();
        }
    }
    let file = capture.stop(&hosts.network).await;
    let cable = pcap::read(&file);
    let mut bytes = 0;
    for ((from, to), stream) in &cable.flows {
        assert!([from.port(), to.port()].contains(&LINK_PORT), "{from} {to}");
        assert_eq!(pcap::not_tls(stream), None, "{from} {to}");
        assert!(!pcap::holds(stream, MARK.as_bytes()), "{from} {to}");
        bytes += stream.len();
    }
    assert_eq!(cable.others, Vec::<String>::new());
    assert!(bytes > 20_000 * MARK.len(), "{bytes}: it went this way");
    hosts.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_goes_on_where_it_was_when_the_network_was_away() {
    if !root::or_skip("a network that goes away under COPY") {
        return;
    }
    const ROWS: u64 = 400_000;
    let hosts = Hosts::start("1h").await;
    hosts.sql("CREATE TABLE rows (n int, word text)").await;
    let file = hosts.network.directory().join("rows");
    let mut out = std::io::BufWriter::new(fs::File::create(&file).unwrap());
    for n in 1..=ROWS {
        writeln!(
            out,
            "{n}\t{:016x}{:016x}",
            n.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            n
        )
        .unwrap();
    }
    out.into_inner().unwrap();
    let copy = format!("\\copy rows from '{}'", file.display());
    let copying = hosts.begin(&["-X", "-v", "ON_ERROR_STOP=1", "-c", &copy]);
    passed(&hosts, 3_000_000).await;
    let before = hosts.link(0).await;
    hosts.network.plug(0, false);
    let pulled = Instant::now();
    for host in 0..2 {
        until(
            PATIENCE,
            "both agents to look for another connection",
            async || match hosts.link(host).await {
                link if link.state == "resuming" => Ok(()),
                other => Err(format!("{other:?}")),
            },
        )
        .await
        .unwrap();
    }
    // What is promised is a time, so here one has to pass.
    tokio::time::sleep(Duration::from_secs(8).saturating_sub(pulled.elapsed())).await;
    hosts.network.plug(0, true);
    let back = Instant::now();
    until(PATIENCE, "the session to go on", async || {
        match hosts.link(0).await {
            link if link.resumed >= 1 && link.state == "up" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
    .unwrap();
    println!(
        "resumed {:?} after the network, away for {:?}",
        back.elapsed(),
        pulled.elapsed()
    );
    let after = hosts.link(0).await;
    assert_eq!(
        (after.id, after.service.as_deref()),
        (before.id, Some("postgres"))
    );
    // Twice more, by hand: a fresh connection takes over while bytes flow.
    for _ in 0..2 {
        hosts.agents[0].reauthenticate().await.unwrap();
    }
    let said = ended(copying, "COPY").await;
    assert_eq!(said.trim(), format!("COPY {ROWS}"));
    let sum = ROWS * (ROWS + 1) / 2;
    let found = hosts
        .sql("SELECT count(*), sum(n), count(DISTINCT n), count(*) FILTER (WHERE right(word, 16) <> lpad(to_hex(n), 16, '0')) FROM rows")
        .await;
    assert_eq!(found, format!("{ROWS}|{sum}|{ROWS}|0"));
    hosts.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_outlives_the_certificates_under_it() {
    if !root::or_skip("certificates that rotate under a transaction") {
        return;
    }
    let hosts = Hosts::start("30s").await;
    hosts.sql("CREATE TABLE steps (n int)").await;
    let script: String = (0..60)
        .map(|n| format!("INSERT INTO steps VALUES ({n}); SELECT pg_sleep(1);\n"))
        .collect();
    let file = hosts.network.directory().join("steps.sql");
    fs::write(&file, format!("BEGIN;\n{script}COMMIT;\n")).unwrap();
    let mut running = hosts.begin(&[
        "-XAtq",
        "-v",
        "ON_ERROR_STOP=1",
        "-f",
        file.to_str().unwrap(),
    ]);
    // When its connection would end, each time that is put off.
    let (mut ids, mut ends) = (BTreeSet::new(), BTreeSet::new());
    until(LONG, "the transaction", async || {
        let links = hosts.agents[0].links().await.unwrap();
        // Beside those before, until they are gone.
        if let Some(link) = links.last() {
            ids.insert(link.id);
            ends.insert(link.ends);
        }
        match running.try_wait().unwrap() {
            Some(status) if status.success() => Ok(()),
            Some(status) => panic!("{status}: {:#?}", hosts.agents[0].log_since(0)),
            None => Err(format!("{ids:?} {ends:?}")),
        }
    })
    .await
    .unwrap();
    println!("{} lives of certificates", ends.len());
    assert!(ids.len() <= 2 && ends.len() > 2, "{ids:?} {ends:?}");
    assert_eq!(
        hosts.sql("SELECT count(*), sum(n) FROM steps").await,
        "60|1770"
    );
    hosts.stop().await;
}

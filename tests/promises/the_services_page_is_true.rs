//! `docs/services.md` says what an operator types and writes. All of it is taken from the page and tried, with PostgreSQL: a line
//! that nobody tries here fails the test.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use skans_lab::AgentProcess;
use skans_lab::agent::Files;
use skans_lab::plan::find_skans;
use skans_promises::PATIENCE;
use tokio::process::Command;

use crate::postgres::{Cluster, programs};

const PAGE: &str = include_str!("../../docs/services.md");

/// The commands on the page: lines that are indented by four spaces, outside of other blocks; the picture is none.
fn commands() -> Vec<&'static str> {
    let mut fenced = false;
    PAGE.lines()
        .filter(|line| {
            fenced ^= line.starts_with("```");
            !fenced
        })
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| !line.contains("-->") && !line.starts_with("host-a: "))
        .collect()
}

/// The files on the page, by their first lines.
fn files() -> Vec<(String, String)> {
    PAGE.split("```")
        .skip(1)
        .step_by(2)
        .map(|block| {
            let (_, block) = block.split_once('\n').unwrap();
            let (first, rest) = block.split_once('\n').unwrap();
            let name = first.trim_start_matches(['#', '/', ' ']);
            (name.to_owned(), rest.to_owned())
        })
        .collect()
}

fn free() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// An agent with a block of the page for its configuration, and what every host has besides.
async fn agent(
    directory: &Path,
    label: &str,
    block: &str,
    links: (SocketAddr, SocketAddr),
) -> AgentProcess {
    let own = directory.join(label);
    std::fs::create_dir(&own).unwrap();
    let files = Files::within(&own);
    let other = if label == "host-a" {
        "*@host-b"
    } else {
        "*@host-a"
    };
    let text = format!(
        "apiVersion: skans.io/v1alpha1\ntrustDomain: prod.example\nruntimeDirectory: {run}\n\
         identity: {{authority: {{directory: {authority}}}}}\nlinks: {{listen: '{here}'}}\n\
         epmd: {{port: 0, addresses: [127.0.0.1]}}\nadmin: {{listen: 127.0.0.1:0, socket: {socket}}}\n\
         peers: {{static: [{{nodes: '{other}', address: '{there}'}}]}}\n\
         policy: {{directory: {policy}}}\nlog: {{format: json}}\ndrain: {{timeout: 1s}}\n{block}",
        run = own.join("run").display(),
        authority = directory.join("authority").display(),
        here = links.0,
        there = links.1,
        socket = files.socket.display(),
        policy = directory.join("policy/shop").display(),
    );
    std::fs::write(&files.config, text).unwrap();
    let agent = AgentProcess::spawn(&find_skans().unwrap(), label, files).unwrap();
    agent.ready().await.unwrap()
}

struct Desk {
    directory: tempfile::TempDir,
    socket: PathBuf,
    door: SocketAddr,
}

impl Desk {
    async fn said(&self, line: &str) -> (bool, String) {
        let skans = find_skans().unwrap();
        let path = format!(
            "{}:{}:{}",
            skans.parent().unwrap().display(),
            programs().display(),
            std::env::var("PATH").unwrap()
        );
        let line = line.replace("-p 15432", &format!("-p {}", self.door.port()));
        let run = Command::new("sh")
            .args(["-euc", &line])
            .current_dir(self.directory.path())
            .env("PATH", path)
            .env("SKANS_SOCKET", &self.socket)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(PATIENCE, run).await.unwrap().unwrap();
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        (
            output.status.success(),
            out + &String::from_utf8_lossy(&output.stderr),
        )
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_and_file_on_the_page_does_what_it_says() {
    let postgres = tokio::task::block_in_place(Cluster::start);
    let url = postgres.config("postgres").url;
    let place = url
        .split_whitespace()
        .next()
        .unwrap()
        .strip_prefix("host=")
        .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (links_a, links_b, door) = (free(), free(), free());
    let mut hosts = std::collections::BTreeMap::new();
    for (name, text) in files() {
        if name.starts_with("host-") {
            let text = text
                .replace(
                    "target: 127.0.0.1:5432",
                    &format!("target: unix:{place}/.s.PGSQL.5432"),
                )
                .replace("127.0.0.1:15432", &door.to_string())
                // Whoever runs this test.
                .replace(
                    "user: app\n",
                    &format!("user: \"{}\"\n", rustix::process::geteuid().as_raw()),
                );
            hosts.insert(name, text);
            continue;
        }
        assert!(name.starts_with("policy/"), "{name} is tried by nobody");
        let path = directory.path().join(&name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let b = agent(
        directory.path(),
        "host-b",
        &hosts["host-b"],
        (links_b, links_a),
    )
    .await;
    let a = agent(
        directory.path(),
        "host-a",
        &hosts["host-a"],
        (links_a, links_b),
    )
    .await;
    let desk = Desk {
        directory,
        socket: a.files().socket.clone(),
        door,
    };
    for line in commands() {
        let (success, said) = match line {
            "skans links" => {
                // While somebody is there.
                desk.said(
                    "psql -h 127.0.0.1 -p 15432 -U skans -d postgres -c 'SELECT pg_sleep(600)' >&2 & \
                     for i in $(seq 100); do skans links > links; grep -q postgres links && break; sleep 0.1; done; cat links; kill $!"
                )
                .await
            }
            line => desk.said(line).await,
        };
        let wanted = match line {
            line if line.starts_with("skans policy check") => "",
            line if line.starts_with("skans policy test") => "3",
            line if line.starts_with("skans policy explain") => "deny",
            "skans status" => "from db@host-b",
            "skans links" => "postgres",
            line if line.starts_with("psql ") => "1 row",
            other => panic!("{other:?} is tried by nobody"),
        };
        assert!(success && said.contains(wanted), "{line}: {said}");
    }
    for agent in [a, b] {
        agent.terminate(PATIENCE).await.unwrap();
    }
    tokio::task::block_in_place(|| drop(postgres));
}

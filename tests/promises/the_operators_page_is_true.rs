//! `docs/operate.md` says what an operator types and writes. All of it is taken from the page and
//! tried: a line that nobody tries here fails the test.

use std::path::Path;
use std::process::Stdio;

use skans_lab::Cluster;
use skans_promises::{PATIENCE, cluster};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

const PAGE: &str = include_str!("../../docs/operate.md");

/// The commands on the page: lines that are indented by four spaces, outside of other blocks.
fn commands() -> Vec<&'static str> {
    let mut fenced = false;
    PAGE.lines()
        .filter(|line| {
            fenced ^= line.starts_with("```");
            !fenced
        })
        .filter_map(|line| line.strip_prefix("    "))
        .collect()
}

/// The configurations on the page.
fn configurations() -> Vec<String> {
    let blocks = PAGE.split("```yaml\n").skip(1);
    blocks
        .map(|block| block.split("```").next().unwrap().to_owned())
        .collect()
}

/// A command of the page, with the places of the lab for those of a host.
fn shell(cluster: &Cluster, line: &str) -> Command {
    let runtime = cluster.runtime(0).unwrap();
    let skans = skans_lab::plan::find_skans().unwrap();
    let directory = skans.parent().map(Path::to_owned).unwrap();
    let line = line
        .replace(
            "/etc/skans/agent.yaml",
            &cluster
                .agent(0)
                .unwrap()
                .files()
                .config
                .display()
                .to_string(),
        )
        .replace("/run/skans", &runtime.display().to_string())
        .replace("rabbit.env", "n1.env");
    let mut command = Command::new("sh");
    let path = format!("{}:{}", directory.display(), std::env::var("PATH").unwrap());
    command
        .args(["-euc", &line])
        .env("PATH", path)
        .env(
            "SKANS_SOCKET",
            cluster.agent(0).unwrap().files().socket.clone(),
        )
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

async fn said(cluster: &Cluster, line: &str) -> String {
    let output = tokio::time::timeout(PATIENCE, shell(cluster, line).output())
        .await
        .unwrap()
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{line}: {} {err}", output.status);
    out.into_owned()
}

#[tokio::test]
async fn every_command_on_the_page_does_what_it_says() {
    let mut cluster = cluster(2).await;
    let mut successor = None;
    for line in commands() {
        match line {
            // This one is running; a second one on the same directory must not start, and says so.
            "skans agent --config /etc/skans/agent.yaml" => {
                let output = tokio::time::timeout(PATIENCE, shell(&cluster, line).output())
                    .await
                    .unwrap()
                    .unwrap();
                let error = String::from_utf8_lossy(&output.stderr).into_owned();
                assert_eq!(output.status.code(), Some(1), "{error}");
                assert!(error.contains("found a running agent"), "{error}");
            }
            "set -a; . /run/skans/env/rabbit.env; set +a" => {
                let shown = said(&cluster, &format!("{line}; env")).await;
                for name in [
                    "ERL_AFLAGS=-pa ",
                    "ERL_EPMD_PORT=",
                    "ERL_EPMD_ADDRESS=127.0.0.1",
                    "SKANS_COOKIES=",
                ] {
                    assert!(shown.contains(name), "{name} in {shown}");
                }
            }
            "skans status" => assert!(said(&cluster, line).await.contains("lab.test")),
            "skans nodes" => assert!(said(&cluster, line).await.contains("n1@n1.lab")),
            "skans links" => assert!(said(&cluster, line).await.contains("n2@n2.lab")),
            "skans links --output json" => {
                let links: Vec<skans_agent::admin::LinkView> =
                    serde_json::from_str(&said(&cluster, line).await).unwrap();
                assert_eq!(links.len(), 1);
            }
            "skans top" => {
                // In the place of the shell, so that it is what is stopped.
                let mut child = shell(&cluster, &format!("exec {line}"))
                    .stdout(Stdio::piped())
                    .spawn()
                    .unwrap();
                let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
                let first = tokio::time::timeout(PATIENCE, lines.next_line())
                    .await
                    .unwrap()
                    .unwrap();
                assert!(first.is_some_and(|line| !line.is_empty()));
                child.kill().await.unwrap();
            }
            "skans agent --config /etc/skans/agent.yaml --take-over" => {
                let log = std::fs::File::options()
                    .append(true)
                    .open(&cluster.agent(0).unwrap().files().log)
                    .unwrap();
                let mut command = shell(&cluster, &format!("exec {line}"));
                successor = Some(command.stderr(log).spawn().unwrap());
                let old = cluster.take_agent(0).unwrap();
                old.gone(PATIENCE).await.unwrap();
                let n1 = cluster.node(0).unwrap();
                let ping = "net_adm:ping('n2@n2.lab')";
                assert_eq!(n1.eval(ping, PATIENCE).await.unwrap(), "pong");
            }
            "skans reload" => {
                said(&cluster, line).await;
            }
            "skans log-level debug" => {
                let mark = cluster.agent(0).unwrap().log_mark();
                said(&cluster, line).await;
                cluster
                    .node(0)
                    .unwrap()
                    .eval("net_adm:ping('nobody@nowhere.lab')", PATIENCE)
                    .await
                    .unwrap();
                said(&cluster, "skans log-level info").await;
                assert!(cluster.agent(0).unwrap().log_since(mark).is_ok());
            }
            other => panic!("the page has a command that no test tries: {other}"),
        }
    }
    cluster.stop().await.unwrap();
    let mut successor = successor.unwrap();
    assert!(
        successor.try_wait().unwrap().is_none(),
        "it has served so far"
    );
    successor.kill().await.unwrap();
}

#[test]
fn every_configuration_on_the_page_is_one() {
    let all = configurations();
    assert_eq!(
        all.len(),
        6,
        "the page has more configurations than this test knows"
    );
    let none = |_: &str| None;
    let whole = skans_agent::config::parse(&all[0], "docs/operate.md", none).unwrap();
    // What the page shows as defaults are the defaults.
    let least = "apiVersion: skans.io/v1alpha1\ntrustDomain: prod.example\nnodes: [{name: rabbit@host-a}]\n\
                 identity: {authority: {directory: /var/lib/skans/authority}}";
    let least = skans_agent::config::parse(least, "least", none).unwrap();
    assert_eq!(whole.links, least.links);
    assert_eq!(whole.admin, least.admin);
    assert_eq!(whole.clique, least.clique);
    assert_eq!(whole.drain, least.drain);
    assert_eq!(whole.log, least.log);
    assert_eq!(whole.identity, least.identity);
    assert_eq!(
        (whole.cluster, whole.namespace),
        (least.cluster, least.namespace)
    );

    let head = "apiVersion: skans.io/v1alpha1\ntrustDomain: prod.example\n";
    let node = "nodes: [{name: rabbit@host-a}]\n";
    let own = "identity: {authority: {directory: /var/lib/skans/authority}}\n";
    for (part, rest) in all[1..]
        .iter()
        .zip([node, node, node, "", &format!("{node}{own}")])
    {
        let text = format!("{head}{rest}{part}");
        let parsed = skans_agent::config::parse(&text, "docs/operate.md", none);
        let parsed = parsed.unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(parsed.nodes[0].certificate.is_some(), rest.is_empty());
    }
}

#[tokio::test]
async fn the_unit_on_the_page_is_one_that_systemd_takes() {
    use std::io::Write;
    let unit = PAGE.split("```ini\n").nth(1).unwrap();
    let unit = unit.split("```").next().unwrap();
    let skans = skans_lab::plan::find_skans().unwrap();
    let unit = unit.replace("/usr/bin/skans", &skans.display().to_string());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("skans.service");
    let verified = async |text: &str| {
        std::fs::write(&file, text).unwrap();
        let run = Command::new("systemd-analyze")
            .arg("verify")
            .arg(&file)
            .output();
        tokio::time::timeout(PATIENCE, run).await.unwrap()
    };
    let output = match verified(&unit).await {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            // Not by eprintln, which is kept from view where a test passes.
            let _ = writeln!(
                std::io::stderr(),
                "SKIPPED: the unit: needs systemd-analyze"
            );
            return;
        }
        output => output.unwrap(),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && !said.contains("skans.service"),
        "{said}"
    );
    let wrong = unit.replace("NotifyAccess=", "NotifyAcces=");
    let output = verified(&wrong).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("NotifyAcces"), "{said}: it does look");
}

//! What agents tell of their nodes reaches the control plane's log once each, whichever of them is killed on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use skans_lab::control::{ControlProcess, Home, Options};
use skans_lab::plan::find_skans;
use skans_lab::{Cluster, HostPlan, NodePlan, until};
use skans_promises::{PATIENCE, plan};

/// Comes and goes, so that there is always something to tell.
const RESTLESS: &str = "register(restless, spawn(fun F() ->
    net_kernel:connect_node('n2@n2.lab'), timer:sleep(50),
    erlang:disconnect_node('n2@n2.lab'), timer:sleep(50), F() end)), ok";
const STILL: &str = "exit(whereis(restless), kill), ok";
/// How often something is killed.
const KILLS: usize = 10;

async fn host(control: &ControlProcess, directory: &Path, label: &str) -> HostPlan {
    let name = format!("{label}@{label}.lab");
    let names = std::slice::from_ref(&name);
    let token = control.token(label, "lab", names).await.unwrap();
    let file = directory.join(format!("{label}.token"));
    write_secret(&file, &token);
    HostPlan::new(label)
        .node(NodePlan::new(&name).config(&json!({"workload": "lab"})))
        .config(&json!({"identity": {
            "authority": null,
            "control": {"joinToken": file, "stateDirectory": directory.join(format!("{label}.state"))},
        }}))
}

fn write_secret(path: &Path, text: &str) {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    file.unwrap().write_all(text.as_bytes()).unwrap();
}

/// The events of agents in the log, by their number in a spool.
async fn log(control: &ControlProcess) -> BTreeMap<String, Value> {
    let (mut found, mut last) = (BTreeMap::new(), 0);
    loop {
        let path = format!("/v1/events?after={last}&limit=1000");
        let page = control.ask("GET", &path, &Value::Null).await.unwrap();
        let items = page["items"].as_array().unwrap();
        let Some(newest) = items.last() else {
            return found;
        };
        last = newest["seq"].as_u64().unwrap();
        for one in items {
            assert_ne!(one["kind"], "agent.events.missing", "{one}");
            assert_ne!(one["kind"], "agent.events.lost", "{one}");
            if let Some(uid) = one["body"]["metadata"]["uid"].as_str() {
                let before = found.insert(uid.to_owned(), one.clone());
                assert!(before.is_none(), "{uid} stands there twice");
            }
        }
    }
}

/// Waits until an agent has told everything.
async fn all_told(cluster: &Cluster, host: usize) {
    let agent = cluster.agent(host).unwrap();
    until(
        Duration::from_secs(60),
        "an agent to have told all",
        async || {
            let status = agent.status().await.map_err(|error| error.to_string())?;
            let events = status.control.and_then(|control| control.events);
            match events {
                Some(events) if events.waiting == 0 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        },
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn whoever_is_killed_in_between() {
    let directory = tempfile::tempdir().unwrap();
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let listen: SocketAddr = free.local_addr().unwrap();
    drop(free);
    let home = Home {
        listen,
        ..Home::lab()
    };
    let options = Options {
        leaf: Duration::from_secs(3600),
    };
    let skans = find_skans().unwrap();
    let at = directory.path().join("control");
    let mut control = ControlProcess::start_as(&skans, &at, options, &home)
        .await
        .unwrap();
    let mut lab = plan();
    for label in ["n1", "n2"] {
        lab = lab.host(host(&control, directory.path(), label).await);
    }
    let mut cluster = lab.start().await.unwrap();
    let n1 = cluster.node(0).unwrap();
    assert_eq!(n1.eval(RESTLESS, PATIENCE).await.unwrap(), "ok");
    let mut files = [0, 1].map(|host| cluster.agent(host).unwrap().files().events.clone());
    files.sort();
    for kill in 0..KILLS {
        // Somewhere in the middle of what happens.
        let seen = lines(&files[0]);
        until(PATIENCE, "something to happen", async || {
            let more = lines(&files[0]) - seen;
            if more >= 3 + kill % 5 {
                Ok(())
            } else {
                Err(more.to_string())
            }
        })
        .await
        .unwrap();
        match kill % 3 {
            0 => {
                control.kill().await.unwrap();
                control.restart().await.unwrap();
            }
            agent => {
                cluster.kill_agent(agent - 1).await.unwrap();
                cluster.start_agent(agent - 1).await.unwrap();
            }
        }
    }
    let n1 = cluster.node(0).unwrap();
    assert_eq!(n1.eval(STILL, PATIENCE).await.unwrap(), "ok");
    let mut written = BTreeSet::new();
    for host in [0, 1] {
        // Denials and what is beyond the first connections are told when their window ends.
        until(PATIENCE, "the last window to end", async || {
            let before = lines(&files[host]);
            tokio::time::sleep(Duration::from_secs(2)).await;
            if lines(&files[host]) == before {
                Ok(())
            } else {
                Err("more".to_owned())
            }
        })
        .await
        .unwrap();
        all_told(&cluster, host).await;
        for event in cluster.agent(host).unwrap().events().unwrap() {
            let uid = event["metadata"]["uid"].as_str().expect("each was kept");
            assert!(written.insert(uid.to_owned()), "{uid} was given twice");
        }
    }
    let log = log(&control).await;
    for uid in &written {
        assert!(log.contains_key(uid), "{uid} is not in the log");
    }
    // What was kept and not written to the file any more: one at most where a process was killed.
    let only = log.keys().filter(|uid| !written.contains(*uid)).count();
    assert!(only <= KILLS, "{only} of {}", log.len());
    assert!(written.len() > 50, "{}", written.len());
    // Of each spool there are all, from the first on.
    let mut spools: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for uid in log.keys() {
        let (spool, number) = uid.split_once('-').unwrap();
        spools
            .entry(spool)
            .or_default()
            .push(number.parse().unwrap());
    }
    for numbers in spools.values_mut() {
        numbers.sort_unstable();
        assert!(numbers.iter().copied().eq(1..=numbers.len() as u64));
    }
    println!(
        "{} events of {} spools, {} only in the log",
        log.len(),
        spools.len(),
        only
    );
    cluster.stop().await.unwrap();
}

fn lines(path: &Path) -> usize {
    let text = std::fs::read(path).unwrap_or_default();
    text.iter().filter(|&&byte| byte == b'\n').count()
}

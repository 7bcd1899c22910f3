//! `docs/gateway.md` says what operators of two clusters type and write. All of it is taken from the page and tried: a line that
//! nobody tries here fails the test.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use serde_json::{Value, json};
use skans_lab::agent::Files;
use skans_lab::plan::find_skans;
use skans_lab::{AgentProcess, ErlNode};
use skans_policy::{File, Source};
use skans_promises::PATIENCE;

use crate::clusters;
use crate::netns::Network;
use crate::plane::Plane;
use crate::root;

const PAGE: &str = include_str!("../../docs/gateway.md");

/// The blocks of the page, by the comments that they begin with.
fn block(first: &str) -> String {
    let mut blocks = PAGE.split("```").skip(1).step_by(2);
    let found = blocks.find_map(|block| {
        let (_, block) = block.split_once('\n')?;
        let (line, rest) = block.split_once('\n')?;
        (line.trim_start_matches(['#', '/', '%', ' ']) == first).then(|| rest.to_owned())
    });
    found.unwrap_or_else(|| panic!("the page has no block {first:?}"))
}

/// What theirs writes where ours writes this.
fn mirrored(text: &str) -> String {
    text.replace("ours", "\u{1}")
        .replace("theirs", "ours")
        .replace('\u{1}', "theirs")
        .replace("10.77.0.5", "10.77.0.3\u{1}")
        .replace("10.77.0.2", "10.77.0.4")
        .replace('\u{1}', "")
}

struct Side {
    node: ErlNode,
    agent: AgentProcess,
    gateway: AgentProcess,
    plane: Plane,
}

impl Side {
    async fn start(network: &Network, name: &str, [at, gateway]: [usize; 2]) -> Self {
        let own = |text: &str| {
            if name == "ours" {
                text.to_owned()
            } else {
                mirrored(text)
            }
        };
        let config = json!({
            "trustDomain": format!("{name}.test"),
            "cluster": name,
            "listen": format!("{}:0", network.host(0).four()),
        });
        let plane = Plane::start(&config).await;
        let desk = network.directory().join(name);
        std::fs::create_dir_all(&desk).unwrap();
        let (token, run) = commands();
        shell(&plane, &desk, &own(token)).await;
        assert_eq!(run, "skans gateway --config gateway.yaml");
        let control = |token: &Path, label: &str| {
            let state = plane.state(label);
            format!(
                "{{joinToken: {}, stateDirectory: {}}}",
                token.display(),
                state.display()
            )
        };
        let text = own(&block("gateway.yaml"));
        let found = "{joinToken: gateway.token}";
        assert!(text.contains(found));
        let text = text.replace(found, &control(&desk.join("gateway.token"), "gateways"));
        let gateway = start(network, gateway, "gateway", &text).await;
        let token = plane.token("nodes", &[clusters::NODE]).await;
        let text = format!(
            "apiVersion: skans.io/v1alpha1\ntrustDomain: {name}.test\ncluster: {name}\nnodes: [{{name: {}, workload: lab}}]\nidentity:\n  control: {}\n{}",
            clusters::NODE,
            control(&token, "nodes"),
            block("agent.yaml")
        );
        let agent = start(network, at, "agent", &text).await;
        Self {
            node: clusters::node(network.host(at)).await,
            agent,
            gateway,
            plane,
        }
    }

    /// The page's block behind what `skans bundle federate` prints of the other side.
    async fn link(&self, to: &Self, desk: &Path, says: &str) {
        let domain = to.plane.trust_domain();
        let name = domain.strip_suffix(".test").unwrap();
        let roots = desk.join(format!("{name}.pem"));
        std::fs::copy(to.plane.root(), &roots).unwrap();
        let made = format!(
            "skans bundle federate {domain} --cluster {name} --control {} --replica one --roots {}",
            to.plane.address(),
            roots.display()
        );
        let made = shell(&self.plane, desk, &made).await;
        let (before, _) = made.split_once("  gateways:").unwrap();
        let file = |name: &str, text: &str| File {
            name: name.to_owned(),
            text: text.to_owned(),
        };
        let set = "apiVersion: skans.io/v1alpha1\nname: shop\nmode: enforce\n";
        let source = Source::read(&[
            file("set.yaml", set),
            file("shop.cedar", &block("both: shop.cedar")),
            file("links.yaml", &format!("{before}{says}")),
        ]);
        let owner = self.plane.owner();
        let body = json!({ "source": source.unwrap().to_canonical() });
        let made: Value = owner.send("POST", "/v1/policies", &body).await.unwrap();
        let path = format!("/v1/policies/{}/activate", made["n"]);
        owner.call("POST", &path, None).await.unwrap();
    }
}

/// The commands of the page, but for the one that shows it on one machine: lines that are indented by four spaces, but for the picture.
fn commands() -> (&'static str, &'static str) {
    let mut fenced = false;
    let lines = PAGE.lines().filter(|line| {
        fenced ^= line.starts_with("```");
        !fenced
    });
    let lines: Vec<_> = lines
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| line.starts_with("skans "))
        .collect();
    match lines.as_slice() {
        ["skans up --clusters 2", token, run] => (token, run),
        other => panic!("{other:?}"),
    }
}

async fn shell(plane: &Plane, desk: &Path, line: &str) -> String {
    let skans = find_skans().unwrap();
    let path = std::env::var("PATH").unwrap();
    let run = tokio::process::Command::new("sh")
        .args(["-euc", &format!("umask 077; {line}")])
        .current_dir(desk)
        .env(
            "PATH",
            format!("{}:{path}", skans.parent().unwrap().display()),
        )
        .env("SKANS_CONTROL_SOCKET", plane.socket())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let done = run.await.unwrap();
    assert!(done.status.success(), "{line}: {done:?}");
    String::from_utf8(done.stdout).unwrap()
}

async fn start(network: &Network, host: usize, part: &str, text: &str) -> AgentProcess {
    let host = network.host(host);
    let files = Files::within(host.directory());
    let more = format!(
        "runtimeDirectory: {}\ndrain: {{timeout: 1s}}\nlog: {{format: json}}\nevents: {{file: {}}}\n",
        host.directory().join("run").display(),
        files.events.display()
    );
    std::fs::write(&files.config, format!("{text}{more}")).unwrap();
    let skans: PathBuf = host.program(&find_skans().unwrap());
    let starting = if part == "gateway" {
        AgentProcess::spawn_gateway(&skans, part, files)
    } else {
        AgentProcess::spawn(&skans, part, files)
    };
    starting.unwrap().ready().await.unwrap()
}

#[test]
fn what_the_page_says_has_a_server_called_across() {
    if !root::or_skip("the page of gateways") {
        return;
    }
    let network = Arc::new(Network::new(5, false));
    let within = Arc::clone(&network);
    network.host(0).inside(move || {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        runtime.block_on(page(&within));
    });
}

#[tokio::test]
async fn two_clusters_on_one_machine_prove_what_passes_between_them() {
    let run = tokio::process::Command::new(find_skans().unwrap())
        .args(["up", "--clusters", "2", "--prove", "--output", "json"])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let done = run.await.unwrap();
    let said = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success(), "{said} {:?}", done.stderr);
    let proofs: Vec<Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(proofs.len(), 5);
    assert!(proofs.iter().all(|proof| proof["passed"] == true), "{said}");
}

async fn page(network: &Network) {
    let ours = Side::start(network, "ours", [1, 2]).await;
    let theirs = Side::start(network, "theirs", [3, 4]).await;
    let desk = network.directory();
    ours.link(&theirs, desk, &block("ours: links.yaml")).await;
    theirs.link(&ours, desk, &block("theirs: links.yaml")).await;
    let server = "Loop = fun Loop() -> receive {'$gen_call', {From, _} = To, {who, X}} -> gen_server:reply(To, {node(From), X}), Loop() end end,
        register(order_server, spawn(Loop))";
    theirs.node.eval(server, PATIENCE).await.unwrap();
    let call = block("orders@host-a, ours");
    let call = format!("catch {}", call.trim().trim_end_matches('.'));
    let wanted = "{'orders@host-a',7}";
    ours.node.wait_for(&call, wanted, PATIENCE).await.unwrap();
    for agent in [&ours.agent, &theirs.agent] {
        // The first that was made: heads and revocations, which are each domain's own, disturb none.
        let links = agent.links().await.unwrap();
        assert!(
            matches!(links.as_slice(), [one] if one.id == 1),
            "{links:?}"
        );
    }
    for gateway in [&ours.gateway, &theirs.gateway] {
        let open = |line: &Value| line["message"] == "way open" && line["session"].is_string();
        gateway
            .wait_log(0, "way open", PATIENCE, open)
            .await
            .unwrap();
    }
}

//! Two trust domains whose control planes fetch each other's bundles: as their links say, from nobody else, and soon after a change.
//!
//! Both run on one host, and reach each other at its address on a network: no bundle is fetched from loopback.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use skans_lab::plan::find_skans;
use skans_lab::until;
use skans_policy::source::ClusterLinks;
use skans_policy::{File, Source};
use skans_promises::PATIENCE;

use crate::netns::Network;
use crate::plane::Plane;
use crate::root;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Runs `test` on a host of a network of its own; it gets the address of that.
fn on_a_host<F: Future<Output = ()>>(test: impl FnOnce(String) -> F + Send + 'static) {
    let network = Network::new(1, false);
    let address = network.host(0).four().to_string();
    network.host(0).inside(move || {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        runtime.block_on(test(address));
    });
}

/// The control plane of a cluster of a trust domain of its own, which is called like its cluster.
async fn plane(address: &str, name: &str) -> Plane {
    let own = json!({
        "trustDomain": format!("{name}.test"),
        "cluster": name,
        "listen": format!("{address}:0"),
    });
    Plane::start(&own).await
}

fn roots(plane: &Plane, to: &Path) -> PathBuf {
    let file = to.join(format!("{}.pem", plane.trust_domain()));
    std::fs::copy(plane.root(), &file).unwrap();
    file
}

/// What `skans bundle federate` prints of `theirs` for `ours`, filled in.
fn links(theirs: &Plane, at: &Plane, scratch: &Path) -> String {
    let cluster = theirs.trust_domain().strip_suffix(".test").unwrap();
    let made = Command::new(find_skans().unwrap())
        .args(["bundle", "federate", theirs.trust_domain()])
        .args(["--cluster", cluster, "--replica", "one"])
        .args(["--control", &at.address().to_string()])
        .arg("--roots")
        .arg(roots(theirs, scratch))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    filled(&String::from_utf8(made.stdout).unwrap())
}

/// With something in each place that is in capitals.
fn filled(link: &str) -> String {
    link.replace("/GATEWAY", "/g1")
        .replace("NAMESPACE", "shop")
        .replace("WORKLOAD", "web")
        .replace("node/NODE", "node/*")
        .replace("ALIAS@", "stock@")
        .replace("NODE@HOST", "stock@host-a")
        .replace("SERVER", "stock_server")
}

/// The commands of the operators' page, in its order: lines that are indented by four spaces.
fn commands() -> impl Iterator<Item = &'static str> {
    const PAGE: &str = include_str!("../../docs/federation.md");
    PAGE.lines().filter_map(|line| line.strip_prefix("    "))
}

/// Puts a set with these links in force.
async fn link(plane: &Plane, cluster: &str, links: &str) {
    let set = "apiVersion: skans.io/v1alpha1\nname: linked\nmode: enforce\n";
    let file = |name: &str, text: &str| File {
        name: name.to_owned(),
        text: text.to_owned(),
    };
    let read = Source::read(&[file("set.yaml", set), file("links.yaml", links)]).unwrap();
    assert_ne!(read.links, ClusterLinks::default());
    let source = Source {
        links: read.links,
        ..Source::same_cluster_members(plane.trust_domain(), cluster)
    };
    let owner = plane.owner();
    let body = json!({ "source": source.to_canonical() });
    let made: Value = owner.send("POST", "/v1/policies", &body).await.unwrap();
    let path = format!("/v1/policies/{}/activate", made["n"]);
    owner.call("POST", &path, None).await.unwrap();
}

/// How it stands there with the one other domain.
async fn standing(plane: &Plane) -> Value {
    let all: Value = plane.owner().get("/v1/federation").await.unwrap();
    let items = all["items"].as_array().unwrap();
    assert!(items.len() <= 1, "{all}");
    items.first().cloned().unwrap_or_default()
}

async fn stands(plane: &Plane, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    until(PATIENCE, what, async || {
        let found = standing(plane).await;
        if wanted(&found) {
            Ok(found)
        } else {
            Err(found.to_string())
        }
    })
    .await
    .unwrap()
}

/// What `skans` says to its owner.
async fn skans(plane: &Plane, words: &[&str]) -> String {
    let mut command = tokio::process::Command::new(find_skans().unwrap());
    command.args(words).stdin(Stdio::null()).kill_on_drop(true);
    command.env("SKANS_CONTROL_SOCKET", plane.socket());
    let done = command.output().await.unwrap();
    assert!(done.status.success(), "{done:?}");
    String::from_utf8(done.stdout).unwrap()
}

async fn add_root(plane: &Plane, name: &str) {
    let pem = std::fs::read_to_string(plane.make_root(name).join("root.pem")).unwrap();
    let body = json!({ "certificate": pem });
    let _: Value = plane
        .owner()
        .send("POST", "/v1/roots", &body)
        .await
        .unwrap();
}

async fn linked(address: &str) -> (Plane, Plane, tempfile::TempDir) {
    let (ours, theirs) = (plane(address, "ours").await, plane(address, "theirs").await);
    let scratch = tempfile::tempdir().unwrap();
    link(&ours, "ours", &links(&theirs, &theirs, scratch.path())).await;
    link(&theirs, "theirs", &links(&ours, &ours, scratch.path())).await;
    for plane in [&ours, &theirs] {
        let fresh = |one: &Value| one["standing"] == "fresh" && one["sequence"] == 1;
        let found = stands(plane, "the bundle to be fetched", fresh).await;
        assert_eq!(
            (&found["roots"], &found["problem"]),
            (&json!(1), &json!(null))
        );
    }
    (ours, theirs, scratch)
}

#[test]
fn a_root_that_is_added_over_there_is_known_here_within_seconds() {
    if !root::or_skip("a root that is added over there") {
        return;
    }
    on_a_host(async |address| {
        let (ours, theirs, _scratch) = linked(&address).await;
        let begun = Instant::now();
        add_root(&theirs, "next").await;
        let newer = |one: &Value| one["sequence"] == 2 && one["roots"] == 2;
        stands(&ours, "the new root", newer).await;
        println!("a new root is known after {:?}", begun.elapsed());
        // The hint of a bundle is five minutes: it was told, and did not wait for that.
        assert!(begun.elapsed() < Duration::from_secs(60));
    });
}

#[test]
fn every_command_on_the_page_does_what_it_says() {
    if !root::or_skip("the page of federation") {
        return;
    }
    on_a_host(async |address| {
        let (ours, theirs) = (
            plane(&address, "ours").await,
            plane(&address, "theirs").await,
        );
        let desk = tempfile::tempdir().unwrap();
        let set = desk.path().join("shop");
        std::fs::create_dir(&set).unwrap();
        let head = "apiVersion: skans.io/v1alpha1\nname: shop\nmode: enforce\n";
        std::fs::write(set.join("set.yaml"), head).unwrap();
        std::fs::copy(theirs.root(), desk.path().join("theirs.pem")).unwrap();
        for line in commands() {
            let line = line.replace("10.0.0.2:8443", &theirs.address().to_string());
            let skans = find_skans().unwrap();
            let path = std::env::var("PATH").unwrap();
            let run = tokio::process::Command::new("sh")
                .args(["-euc", &line])
                .current_dir(desk.path())
                .env(
                    "PATH",
                    format!("{}:{path}", skans.parent().unwrap().display()),
                )
                .env("SKANS_CONTROL_SOCKET", ours.socket())
                .stdin(Stdio::null())
                .kill_on_drop(true)
                .output();
            let done = tokio::time::timeout(PATIENCE, run).await.unwrap().unwrap();
            assert!(done.status.success(), "{line}: {done:?}");
            let said = String::from_utf8(done.stdout).unwrap();
            let words = line.strip_prefix("skans ").expect("only skans is typed");
            if words.starts_with("bundle show > ours.pem") {
                let pem = std::fs::read_to_string(desk.path().join("ours.pem")).unwrap();
                assert_eq!(pem, std::fs::read_to_string(ours.root()).unwrap());
            } else if words.starts_with("bundle federate") {
                let file = set.join("links.yaml");
                let text = std::fs::read_to_string(&file).unwrap();
                std::fs::write(file, filled(&text)).unwrap();
            } else if words == "policy check shop" {
                assert!(said.contains("no problem"), "{said}");
            } else if words.starts_with("policy push") {
                let fresh = |one: &Value| one["standing"] == "fresh";
                stands(&ours, "the bundle to be fetched", fresh).await;
            } else if words == "bundle status" {
                assert!(
                    said.contains("fresh") && said.contains("theirs (theirs)"),
                    "{said}"
                );
            } else if words.starts_with("bundle status --network-policy") {
                let text = std::fs::read_to_string(desk.path().join("networkpolicies.yaml"));
                assert!(text.unwrap().contains("  name: skans-gateway-theirs\n"));
            } else if words.starts_with("bundle distrust") {
                assert_eq!(standing(&ours).await["standing"], "distrusted");
            } else if words.starts_with("bundle forget") {
                stands(&ours, "trust again", |one| one["standing"] == "fresh").await;
            } else {
                panic!("{line:?} is not tried here");
            }
        }
    });
}

#[test]
fn distrust_is_at_once_and_outlasts_links_documents_and_restarts() {
    if !root::or_skip("distrust of another domain") {
        return;
    }
    on_a_host(async |address| {
        let (mut ours, theirs, scratch) = linked(&address).await;
        let said = skans(&ours, &["bundle", "status"]).await;
        assert!(
            said.contains("fresh") && said.contains("theirs (theirs)"),
            "{said}"
        );
        skans(&ours, &["bundle", "distrust", "theirs.test"]).await;
        let found = standing(&ours).await;
        assert_eq!(
            (&found["standing"], &found["roots"]),
            (&json!("distrusted"), &json!(0))
        );
        add_root(&theirs, "more").await;
        link(&ours, "ours", &links(&theirs, &theirs, scratch.path())).await;
        ours.stop().await;
        ours.restart().await;
        let found = stands(&ours, "it to run again", |one| !one.is_null()).await;
        assert_eq!(
            (&found["standing"], &found["sequence"]),
            (&json!("distrusted"), &json!(1))
        );
        skans(&ours, &["bundle", "forget", "theirs.test"]).await;
        stands(&ours, "trust given again", |one| one["sequence"] == 2).await;
    });
}

#[test]
fn a_bundle_served_at_the_wrong_place_is_refused() {
    if !root::or_skip("a bundle at the wrong place") {
        return;
    }
    on_a_host(async |address| {
        let (ours, theirs) = (
            plane(&address, "ours").await,
            plane(&address, "theirs").await,
        );
        let elsewhere = plane(&address, "elsewhere").await;
        let scratch = tempfile::tempdir().unwrap();
        // Their name and roots, and somebody else's address.
        link(&ours, "ours", &links(&theirs, &elsewhere, scratch.path())).await;
        let found = stands(&ours, "an attempt", |one| !one["problem"].is_null()).await;
        let problem = found["problem"].as_str().unwrap();
        assert!(problem.contains("elsewhere.test"), "{problem}");
        assert_eq!(
            (&found["sequence"], &found["roots"]),
            (&json!(null), &json!(1))
        );
        let told: Value = ours.owner().get("/v1/events?limit=1000").await.unwrap();
        let told = told["items"].as_array().unwrap().iter();
        let told = told.filter(|one| one["kind"] == "bundle.foreign.refused");
        assert_eq!(
            told.count(),
            1,
            "what fails again in the same way is no news"
        );
        // Who was asked sees that somebody has hung up; it is not told why.
        until(PATIENCE, "the other side to see it", async || {
            let text = elsewhere.metrics().await;
            let counted = "skans_control_connections_refused_total{reason=\"tls\"}";
            if text.contains(counted) {
                Ok(())
            } else {
                Err(text)
            }
        })
        .await
        .unwrap();
    });
}

#[test]
fn no_link_leads_to_this_host_itself() {
    let scratch = tempfile::tempdir().unwrap();
    let own = skans_control::root::init(&scratch.path().join("root"), "theirs.test", DAY);
    own.unwrap();
    for place in [
        "127.0.0.1:8443",
        "[::1]:8443",
        "169.254.169.254:80",
        "localhost:8443",
    ] {
        let made = Command::new(find_skans().unwrap())
            .args(["bundle", "federate", "theirs.test", "--replica", "one"])
            .args(["--control", place, "--roots"])
            .arg(scratch.path().join("root/root.pem"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&made.stderr);
        assert_eq!(made.status.code(), Some(2), "{place}: {made:?}");
        assert!(said.contains("wanted"), "{place}: {said}");
    }
}

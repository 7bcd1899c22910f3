//! Certificates that live seconds are replaced while nodes talk, wherever they come from: nobody reloads or restarts
//! anything, no node sees another go, and new links use the new certificate.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rustls::pki_types::UnixTime;
use serde_json::json;
use skans_identity::authority::{Authority, Lifetimes};
use skans_identity::host::Host;
use skans_identity::id::{NodeId, TrustDomain};
use skans_lab::{Cluster, HostPlan, NodePlan, until};

use skans_promises::{PATIENCE, plan};

/// Counts the `nodedown`s that a node sees.
const WATCH: &str = "register(watch, spawn(fun() -> net_kernel:monitor_nodes(true), \
        (fun L(N) -> receive {nodedown, _} -> L(N + 1); {seen, P} -> P ! {downs, N}, L(N) end end)(0) end)), ok";
const DOWNS: &str = "watch ! {seen, self()}, receive {downs, N} -> N end";

async fn ends(cluster: &Cluster, host: usize) -> BTreeMap<String, u64> {
    let status = cluster.agent(host).unwrap().status().await.unwrap();
    let certificates = status.certificates.into_iter();
    certificates
        .map(|certificate| (certificate.node, certificate.not_after))
        .collect()
}

#[tokio::test]
async fn the_embedded_authority_renews_before_the_end_and_no_node_notices() {
    let short = json!({"identity": {"authority": {"leafLifetime": "15s"}}});
    let cluster = plan().nodes(2).config(&short).start().await.unwrap();
    let n1 = cluster.node(0).unwrap();
    assert_eq!(n1.eval(WATCH, PATIENCE).await.unwrap(), "ok");
    let first = ends(&cluster, 0).await;
    let serial = |links: Vec<skans_agent::admin::LinkView>| links[0].serial.clone();
    let old = serial(cluster.agent(1).unwrap().links().await.unwrap());
    assert_eq!(first.len(), 2, "n1 and the tools of its host");

    // Past the end of every certificate that there was at the start.
    let budget = until(PATIENCE, "each certificate is another one", async || {
        let status = cluster.agent(0).unwrap().status().await.unwrap();
        let replaced = status
            .certificates
            .iter()
            .all(|certificate| first[&certificate.node] + 3 < certificate.not_after);
        let budget = status.outage_budget_seconds.unwrap();
        if replaced && status.renewals >= 4 {
            Ok(budget)
        } else {
            Err(format!("{} renewals, budget {budget}", status.renewals))
        }
    })
    .await
    .unwrap();
    assert!((10..=15).contains(&budget), "{budget} of 15 s remain");

    assert_eq!(n1.eval(DOWNS, PATIENCE).await.unwrap(), "0");
    n1.wait_for("erlang:disconnect_node('n2@n2.lab')", "true", PATIENCE)
        .await
        .unwrap();
    n1.wait_for("net_adm:ping('n2@n2.lab')", "pong", PATIENCE)
        .await
        .unwrap();
    let new = serial(cluster.agent(1).unwrap().links().await.unwrap());
    assert_ne!(old, new, "a new link shows the new certificate");
    cluster.stop().await.unwrap();
}

/// The serial number of the one certificate of a host.
async fn serial(cluster: &Cluster, host: usize) -> String {
    let status = cluster.agent(host).unwrap().status().await.unwrap();
    status.certificates[0].serial.clone()
}

/// What cert-manager or a script would do: a new pair of files, renamed into place.
fn write_pair(directory: &Path, authority: &Authority, label: &str) -> String {
    let domain = authority.trust_domain();
    let id = NodeId::new(domain, "lab", "default", label, label).unwrap();
    let host = Host::parse(&format!("{label}.lab")).unwrap();
    // Long enough for a takeover to be tried several times on a machine that has much else to do.
    let life = Duration::from_secs(40);
    let credential = authority
        .issue(id.id(), &host, life, UnixTime::now())
        .unwrap();
    let put = |name: &str, text: &str| {
        use std::os::unix::fs::PermissionsExt;
        let new = directory.join(format!("{label}.{name}.new"));
        std::fs::write(&new, text).unwrap();
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::rename(&new, directory.join(format!("{label}.{name}"))).unwrap();
    };
    put("chain", &credential.chain_pem());
    put("key", &credential.key_pem());
    credential.identity().serial.clone()
}

#[tokio::test]
async fn files_are_read_again_when_they_change() {
    let domain = TrustDomain::parse("lab.test").unwrap();
    let authority =
        Authority::generate(&domain, "lab", UnixTime::now(), Lifetimes::default()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let bundle = directory.path().join("bundle");
    std::fs::write(&bundle, authority.bundle().unwrap().to_pem()).unwrap();
    let mut lab = plan();
    for label in ["n1", "n2"] {
        write_pair(directory.path(), &authority, label);
        let at = |name: &str| directory.path().join(format!("{label}.{name}"));
        let files = json!({"certificate": {"chain": at("chain"), "key": at("key")}});
        let node = NodePlan::new(format!("{label}@{label}.lab")).config(&files);
        let source = json!({"identity": {"authority": null, "files": {"bundle": bundle}}});
        lab = lab.host(HostPlan::new(label).node(node).config(&source));
    }
    let cluster = lab.start().await.unwrap();
    let n1 = cluster.node(0).unwrap();
    assert_eq!(n1.eval(WATCH, PATIENCE).await.unwrap(), "ok");
    let end = *ends(&cluster, 0).await.values().max().unwrap();
    // A new pair now and then, until the first one has long run out.
    while UnixTime::now().as_secs() <= end + 5 {
        let written = ["n1", "n2"].map(|label| write_pair(directory.path(), &authority, label));
        until(PATIENCE, "the new pairs are in use", async || {
            let in_use = [serial(&cluster, 0).await, serial(&cluster, 1).await];
            if in_use == written {
                Ok(())
            } else {
                Err(format!("{in_use:?}, wanted {written:?}"))
            }
        })
        .await
        .unwrap();
    }
    assert_eq!(n1.eval(DOWNS, PATIENCE).await.unwrap(), "0");
    cluster.stop().await.unwrap();
}

/// The Workload API of one agent feeds others, as SPIRE's would.
#[tokio::test]
async fn a_workload_api_is_followed() {
    let mut server = HostPlan::new("server");
    for label in ["n1", "n2"] {
        let node = NodePlan::new(format!("{label}@{label}.lab"));
        server = server.node(node.not_started());
    }
    let config = json!({
        "workloadApi": {},
        "cli": {"enabled": false},
        "identity": {"authority": {"leafLifetime": "15s"}},
    });
    let server = plan().host(server.config(&config)).start().await.unwrap();
    let socket = server.runtime(0).unwrap().join("workload.sock");
    let source = json!({
        "cli": {"enabled": false},
        "identity": {"authority": null, "workloadApi": {"socket": socket}},
    });
    let cluster = plan().nodes(2).config(&source).start().await.unwrap();
    let n1 = cluster.node(0).unwrap();
    assert_eq!(n1.eval(WATCH, PATIENCE).await.unwrap(), "ok");
    let end = *ends(&cluster, 0).await.values().max().unwrap();
    until(PATIENCE * 2, "two lives have passed", async || {
        let now = UnixTime::now().as_secs();
        if now > end + 15 {
            Ok(())
        } else {
            Err(format!("{} s to go", end + 15 - now))
        }
    })
    .await
    .unwrap();
    assert_eq!(n1.eval(DOWNS, PATIENCE).await.unwrap(), "0");
    assert_eq!(
        n1.eval("net_adm:ping('n2@n2.lab')", PATIENCE)
            .await
            .unwrap(),
        "pong"
    );
    cluster.stop().await.unwrap();
    server.stop().await.unwrap();
}

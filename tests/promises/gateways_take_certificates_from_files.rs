//! Without a control plane, and without an authority beside it, a gateway takes its certificate from files (`gateway.certificate`).

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustls::pki_types::UnixTime;
use serde_json::{Value, json};
use skans_identity::forge::Spec;
use skans_lab::{AgentProcess, Policy};
use skans_promises::PATIENCE;

use crate::clusters::{self, CALL, NODE, SERVER, Side, exports, imports};
use crate::netns::Network;
use crate::root;

/// What the configuration says of a gateway whose certificate is for this one.
fn files(side: &Side, directory: &Path, id: &str, host: &str) -> Value {
    let id = format!("spiffe://{}.test/skans/gateway/{id}", side.name);
    let forged = side.forge().leaf(&Spec::good(&id, host, UnixTime::now()));
    let forged = forged.unwrap();
    let put = |name: &str, text: &str| {
        let path = directory.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        path
    };
    json!({
        "bundle": put("bundle.pem", &side.roots()),
        "certificate": {"chain": put("chain.pem", &forged.chain_pem()), "key": put("key.pem", &forged.key_pem())},
    })
}

/// Puts a gateway that has its certificate from files in the place of the one that a side has.
async fn replaced(
    network: &Network,
    side: &mut Side,
    [agent, at, there]: [usize; 3],
) -> AgentProcess {
    side.gateways.remove(0).kill().await.unwrap();
    let host = network.host(at);
    let address = |host: usize, port: u16| format!("{}:{port}", network.host(host).four());
    let found = files(side, host.directory(), "g0", "gateway-0");
    let other = if side.name == "ours" {
        "theirs"
    } else {
        "ours"
    };
    let cluster = network.directory().join(side.name);
    let config = json!({
        "gateway": {
            "name": "g0@gateway-0",
            "certificate": found["certificate"],
            "routes": {other: [address(there, 4371)]},
        },
        "identity": {"files": {"bundle": found["bundle"]}},
        "policy": {"directory": cluster.join("policy")},
        "peers": {"static": [{"nodes": NODE, "address": address(agent, 4370)}]},
    });
    clusters::start(host, &cluster, side.name, &config).await
}

#[tokio::test]
async fn a_server_is_called_through_gateways_whose_certificates_are_files() {
    if !root::or_skip("gateways with certificates from files") {
        return;
    }
    let network = Network::new(4, false);
    let mut ours = Side::start(&network, "ours", &[0, 1], &[3]).await;
    let mut theirs = Side::start(&network, "theirs", &[2, 3], &[1]).await;
    ours.link(&theirs, Policy::open(), &imports()).await;
    theirs.link(&ours, Policy::open(), &exports()).await;
    theirs.node.eval(SERVER, PATIENCE).await.unwrap();
    let first = replaced(&network, &mut ours, [0, 1, 3]).await;
    let second = replaced(&network, &mut theirs, [2, 3, 1]).await;
    let called = ours.node.wait_for(CALL, "stock@theirs", PATIENCE);
    called.await.unwrap();
    for gateway in [&first, &second] {
        let open = |line: &Value| line["message"] == "way open";
        gateway.wait_log(0, "a way", PATIENCE, open).await.unwrap();
    }
    // One that is for another gateway is not taken, and the one that was stays in use.
    let mark = first.log_mark();
    files(&ours, network.host(1).directory(), "g7", "gateway-0");
    first.reload().await.unwrap_err();
    let told = |line: &Value| line.to_string().contains("skans/gateway/g7");
    first
        .wait_log(mark, "what is not taken", PATIENCE, told)
        .await
        .unwrap();
    let anew = "erlang:disconnect_node('stock@theirs')";
    ours.node.eval(anew, PATIENCE).await.unwrap();
    let called = ours.node.wait_for(CALL, "stock@theirs", PATIENCE);
    called.await.unwrap();
}

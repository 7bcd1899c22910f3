//! Two clusters, each with a control plane of its own: certificates of gateways, bundles of the other domain and links all come from there, and
//! what is taken back there ends what was carried.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use skans_lab::{AgentProcess, ErlNode, until};
use skans_policy::{File, Source};
use skans_promises::PATIENCE;

use crate::clusters::{self, NODE};
use crate::netns::Network;
use crate::plane::Plane;
use crate::root;

/// A cluster: its control plane on a host that both share, agent, gateway and node each on theirs.
struct Side {
    node: ErlNode,
    agent: AgentProcess,
    _gateway: AgentProcess,
    plane: Plane,
    name: &'static str,
}

const GATEWAY_PORT: u16 = 4371;

impl Side {
    async fn start(
        network: &Network,
        name: &'static str,
        [at, gateway, there]: [usize; 3],
    ) -> Self {
        let own = json!({
            "trustDomain": format!("{name}.test"),
            "cluster": name,
            "listen": format!("{}:0", network.host(0).four()),
        });
        let plane = Plane::start(&own).await;
        let directory = network.directory().join(name);
        let address = |host: usize, port: u16| format!("{}:{port}", network.host(host).four());
        let identity = |token, label: &str| json!({"control": {"joinToken": token, "stateDirectory": plane.state(label)}});
        let token = plane.token("nodes", &[NODE]).await;
        let agent = json!({
            "nodes": [{"name": NODE, "workload": "lab"}],
            "identity": identity(token, "nodes"),
            "peers": {"gateways": [address(gateway, GATEWAY_PORT)]},
        });
        let agent = clusters::start(network.host(at), &directory, name, &agent).await;
        let other = if name == "ours" { "theirs" } else { "ours" };
        let token = plane
            .token_of("gateway", "gateways", &["gateway/g1@gw"])
            .await;
        let gateway_config = json!({
            "gateway": {"name": "g1@gw", "routes": {other: [address(there, GATEWAY_PORT)]}},
            "identity": identity(token, "gateways"),
            "peers": {"static": [{"nodes": NODE, "address": address(at, 4370)}]},
        });
        let gateway =
            clusters::start(network.host(gateway), &directory, name, &gateway_config).await;
        Self {
            node: clusters::node(network.host(at)).await,
            agent,
            _gateway: gateway,
            plane,
            name,
        }
    }

    /// Puts a set in force that links the other cluster and permits what the link does.
    async fn link(&self, to: &Self, exports: &[Value], imports: &[Value]) {
        let domain = to.plane.trust_domain();
        let link = json!([{
            "name": to.name,
            "trustDomain": domain,
            "cluster": to.name,
            "notAfter": skans_lab_now() + 86_400,
            "bundle": {
                "url": format!("https://{}/v1/federation/bundle", to.plane.address()),
                "profile": "https_spiffe",
                "endpointId": format!("spiffe://{domain}/skans/control/one"),
                "roots": std::fs::read_to_string(to.plane.root()).unwrap(),
            },
            "gateways": [format!("spiffe://{domain}/skans/gateway/g1")],
            "forwards": [format!("spiffe://{domain}/cluster/{}/ns/default/sa/*/node/*", to.name)],
            "exports": exports,
            "imports": imports,
        }]);
        let set = "apiVersion: skans.io/v1alpha1\nname: linked\nmode: enforce\n";
        let permits = r#"@id("all") permit(principal, action, resource);"#;
        let file = |name: &str, text: &str| File {
            name: name.to_owned(),
            text: text.to_owned(),
        };
        let files = [
            file("set.yaml", set),
            file("open.cedar", permits),
            file("links.yaml", &link.to_string()),
        ];
        let source = Source::read(&files).unwrap();
        let owner = self.plane.owner();
        let body = json!({ "source": source.to_canonical() });
        let made: Value = owner.send("POST", "/v1/policies", &body).await.unwrap();
        let path = format!("/v1/policies/{}/activate", made["n"]);
        owner.call("POST", &path, None).await.unwrap();
    }
}

fn skans_lab_now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap().as_secs()
}

/// Runs a test on the host that both control planes are on.
fn on_a_network<F: Future<Output = ()>>(test: impl FnOnce(Arc<Network>) -> F + Send + 'static) {
    let network = Arc::new(Network::new(5, false));
    let within = Arc::clone(&network);
    network.host(0).inside(move || {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        runtime.block_on(test(within));
    });
}

/// Two clusters, of which theirs exports a server, and ours has called it.
async fn linked(network: &Network) -> (Side, Side) {
    let ours = Side::start(network, "ours", [1, 2, 4]).await;
    let theirs = Side::start(network, "theirs", [3, 4, 2]).await;
    let item = json!({"node": NODE, "process": "server"});
    let mut import = item.clone();
    import["alias"] = json!("stock@theirs");
    ours.link(&theirs, &[], &[import]).await;
    theirs.link(&ours, &[item], &[]).await;
    let server = "Loop = fun Loop() -> receive {'$gen_call', From, X} -> gen_server:reply(From, {got, X}), Loop() end end,
        register(server, spawn(Loop))";
    theirs.node.eval(server, PATIENCE).await.unwrap();
    called(&ours).await;
    (ours, theirs)
}

async fn called(ours: &Side) {
    let call = "catch gen_server:call({server, 'stock@theirs'}, 7)";
    ours.node.wait_for(call, "{got,7}", PATIENCE).await.unwrap();
}

#[test]
fn clusters_reach_each_other_with_both_control_planes_away() {
    if !root::or_skip("two clusters without their control planes") {
        return;
    }
    on_a_network(async |network| {
        let (mut ours, mut theirs) = linked(&network).await;
        ours.plane.stop().await;
        theirs.plane.stop().await;
        called(&ours).await;
        // Also anew, and by agents that have nothing but what they kept.
        for side in [&mut ours, &mut theirs] {
            side.agent.replace().await.unwrap();
        }
        ours.node
            .eval("erlang:disconnect_node('stock@theirs')", PATIENCE)
            .await
            .unwrap();
        called(&ours).await;
    });
}

#[test]
fn a_domain_that_is_distrusted_is_cut_off_within_seconds() {
    if !root::or_skip("a domain that is distrusted") {
        return;
    }
    on_a_network(async |network| distrusted(&network).await);
}

async fn distrusted(network: &Network) {
    let (ours, theirs) = linked(network).await;
    // The first that was made: heads and revocations, which are each domain's own, disturb none.
    let links = theirs.agent.links().await.unwrap();
    assert!(
        matches!(links.as_slice(), [one] if one.id == 1 && one.state == "up"),
        "{links:?}"
    );
    let begun = Instant::now();
    let path = "/v1/federation/ours.test/distrust";
    theirs.plane.owner().call("POST", path, None).await.unwrap();
    let silent = until(PATIENCE, "the link to be silent", async || {
        let links = theirs.agent.links().await.unwrap();
        match links.iter().find(|link| link.state == "up") {
            None => Ok(()),
            Some(link) => Err(format!("{link:?}")),
        }
    });
    silent.await.unwrap();
    println!("distrusted: nothing passes after {:?}", begun.elapsed());
    let gone = "net_kernel:connect_node('stock@theirs')";
    ours.node.wait_for(gone, "false", PATIENCE).await.unwrap();
    assert!(ours.agent.links().await.unwrap().is_empty());
}

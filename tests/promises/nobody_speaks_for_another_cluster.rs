//! Between linked clusters everybody speaks for himself: who signs, answers, forwards or labels for somebody else is refused, and those
//! who have to know can read why on both sides.

use std::net::SocketAddr;

use rustls::pki_types::UnixTime;
use serde_json::{Value, json};
use skans_identity::forge::{Forged, Spec};
use skans_identity::id::TrustDomain;
use skans_identity::sni;
use skans_lab::{AgentProcess, Policy};
use skans_link::{Answer, Ask};
use skans_promises::PATIENCE;
use tokio::net::TcpStream;

use crate::asker;
use crate::clusters::{CALL, NODE, SERVER, Side, exports, imports};
use crate::hostile::{Got, LinkEnd, ours as speech};
use crate::netns::Network;
use crate::root;

/// What a node of ours is called at theirs.
const ALIAS: &str = "orders@host-a-ours";

/// Ours, which is up to no good, and theirs, which exports a server.
struct Two {
    ours: Side,
    theirs: Side,
    network: Network,
}

impl Two {
    async fn linked() -> Self {
        let network = Network::new(4, false);
        let ours = Side::start(&network, "ours", &[0, 1], &[3]).await;
        let theirs = Side::start(&network, "theirs", &[2, 3], &[1]).await;
        ours.link(&theirs, Policy::open(), &imports()).await;
        theirs.link(&ours, Policy::open(), &exports()).await;
        theirs.node.eval(SERVER, PATIENCE).await.unwrap();
        Self {
            ours,
            theirs,
            network,
        }
    }

    /// Signed by the authority of ours, whatever it says.
    fn signed(&self, id: &str, host: &str) -> Forged {
        let spec = Spec::good(id, host, UnixTime::now());
        self.ours.forge().leaf(&spec).unwrap()
    }

    /// Asks the gateway of theirs, from a host in the same network.
    async fn ask(&self, shown: &Forged, ask: Ask) -> std::io::Result<(Answer, TcpStream)> {
        let gateway = SocketAddr::new(self.network.host(3).four(), 4371);
        // Made there, and used here.
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let shown = Forged {
            chain: shown.chain.clone(),
            key: shown.key.clone_key(),
        };
        self.network.host(0).inside(move || {
            let runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = { runtime }.enable_all().build().unwrap();
            let asked: std::io::Result<_> = runtime.block_on(async {
                let (answer, socket) = asker::ask(gateway, "theirs", Some(&shown), &ask).await?;
                Ok((answer, socket.into_std()?))
            });
            sender.send(asked).map_err(drop).unwrap();
        });
        let (answer, socket) = receiver.await.unwrap()?;
        Ok((answer, TcpStream::from_std(socket)?))
    }

    /// A way of the gateway of ours, in the name of a node, to the server's agent.
    async fn way(&self, from: &str, session: [u8; 16]) -> TcpStream {
        let gateway = self.signed("spiffe://ours.test/skans/gateway/g0", "gateway-0");
        let ask = Ask {
            session,
            from: asker::end("ours", from),
            to: asker::end("theirs", NODE),
        };
        match self.ask(&gateway, ask).await.unwrap() {
            (Answer::Open { .. }, socket) => socket,
            (other, _) => panic!("{other:?}"),
        }
    }

    /// What comes back from the agent of theirs when somebody inside of a way says who he is.
    async fn inside(&self, way: TcpStream, shown: &Forged, from: &str) -> Got {
        let domain = TrustDomain::parse("theirs.test").unwrap();
        let name = sni::server_name_for(&domain, NODE).unwrap();
        match LinkEnd::over(way, name, Some(shown), &speech()).await {
            Ok(mut end) => end.greet(from, NODE).await,
            Err(error) => Got::Broken(error),
        }
    }

    /// Everything is as it was for those who are who they are.
    async fn reached(&self) {
        let called = self.ours.node.wait_for(CALL, "stock@theirs", PATIENCE);
        called.await.unwrap();
    }
}

/// Waits for a line of a log that has all of these texts; what it says.
async fn logged(process: &AgentProcess, texts: &[&str]) -> Value {
    let has = |line: &Value| {
        let line = line.to_string();
        texts.iter().all(|text| line.contains(text))
    };
    let what = format!("a line with {texts:?}");
    process.wait_log(0, &what, PATIENCE, has).await.unwrap()
}

fn welcome(got: &Got) -> bool {
    matches!(got, Got::Frame(skans_link::Frame::Welcome(_)))
}

#[tokio::test]
async fn an_authority_signs_for_its_own_domain_alone() {
    if !root::or_skip("an authority that signs for another domain") {
        return;
    }
    let two = Two::linked().await;
    two.reached().await;
    let own = "spiffe://ours.test/cluster/ours/ns/default/sa/orders/node/orders";
    let theirs = own.replace("ours", "theirs");
    // A node of theirs would be led to what theirs imports, and be a member of its cluster at each agent.
    let member = two.signed(&theirs, "host-a");
    let ask = Ask {
        session: [1; 16],
        from: asker::end("theirs", NODE),
        to: asker::end("ours", NODE),
    };
    let heard = two.ask(&member, ask).await;
    assert!(heard.is_err(), "{heard:?}");
    let gateway = &two.theirs.gateways[0];
    let told = logged(gateway, &["not heard by the gateway", "untrusted"]).await;
    assert_eq!(told["blame"], "Peer", "{told}");
    // The same inside of a way that a gateway of ours asked for, as it may: neither it nor the gateway of theirs sees who is in there.
    for (number, from) in [(2_u8, ALIAS), (3, "orders@host-b"), (4, NODE)] {
        let way = two.way(NODE, [number; 16]).await;
        let got = two.inside(way, &member, from).await;
        assert!(matches!(got, Got::Broken(_) | Got::End), "{from}: {got:?}");
        let session = hex([number; 16]);
        logged(gateway, &["way open", &session, "ours.test"]).await;
        logged(gateway, &["way ended", &session]).await;
    }
    let refused = ["link refused, inbound", "untrusted"];
    logged(&two.theirs.agent, &refused).await;
    // Its own names it may sign: what was refused is the domain.
    let way = two.way(NODE, [5; 16]).await;
    let got = two.inside(way, &two.signed(own, "host-a"), ALIAS).await;
    assert!(welcome(&got), "{got:?}");
    two.reached().await;
}

#[tokio::test]
async fn a_gateway_forwards_nobody_under_another_name_and_nobody_beyond_its_scope() {
    if !root::or_skip("a gateway that forwards others") {
        return;
    }
    let two = Two::linked().await;
    two.reached().await;
    let id = "spiffe://ours.test/cluster/ours/ns/default/sa/orders/node/orders";
    let orders = two.signed(id, "host-a");
    // The gateway says one name, the certificate another.
    let way = two.way("billing@host-a", [1; 16]).await;
    let got = two.inside(way, &orders, "billing@host-a-ours").await;
    assert!(!welcome(&got), "{got:?}");
    let told = ["link refused, inbound", "wrong_name", "billing@host-a-ours"];
    logged(&two.theirs.agent, &told).await;
    logged(&two.theirs.gateways[0], &["way open", "billing@host-a"]).await;
    // A node of another cluster of ours, which `forwards` does not name.
    let other = two.signed(&id.replace("cluster/ours", "cluster/other"), "host-a");
    let way = two.way(NODE, [2; 16]).await;
    let got = two.inside(way, &other, ALIAS).await;
    assert!(!welcome(&got), "{got:?}");
    let told = ["link refused, inbound", "spiffe://ours.test/cluster/other/"];
    logged(&two.theirs.agent, &told).await;
    // A node that is honest and out of scope reads why in its own agent's log.
    let mut says = exports();
    says.more = json!({"forwards": ["spiffe://ours.test/cluster/ours/ns/default/sa/web/node/*"]});
    two.theirs.link(&two.ours, Policy::open(), &says).await;
    let connect = "net_kernel:connect_node('stock@theirs')";
    two.ours
        .node
        .wait_for(connect, "false", PATIENCE)
        .await
        .unwrap();
    for (agent, direction) in [
        (&two.theirs.agent, "inbound"),
        (&two.ours.agent, "outbound"),
    ] {
        let refused = format!("link refused, {direction}");
        logged(agent, &[&refused, "`forwards` names"]).await;
    }
    two.theirs.link(&two.ours, Policy::open(), &exports()).await;
    two.reached().await;
}

/// Labels are what a set says of nodes, each side for itself. A caller is what the set over there makes of it, whatever its own set says, and
/// whatever a node there is that is called the same.
#[tokio::test]
async fn a_label_counts_where_it_was_given() {
    if !root::or_skip("a node that claims a label of another cluster") {
        return;
    }
    let two = Two::linked().await;
    two.reached().await;
    let node = "cluster/CLUSTER/ns/default/sa/orders/node/orders";
    let id = |of: &str| format!("spiffe://{of}.test/{}", node.replace("CLUSTER", of));
    let tagged = r#"@id("trusted") permit(principal, action, resource) when { principal.hasTag("clearance") && principal.getTag("clearance") == "high" };"#;
    let labelled = |of: &[&str]| {
        let nodes: serde_json::Map<_, _> = of
            .iter()
            .map(|of| (id(of), json!({"clearance": "high"})))
            .collect();
        Policy::enforced(tagged, "").file("entities.yaml", &json!({"nodes": nodes}).to_string())
    };
    let connect = "net_kernel:connect_node('stock@theirs')";
    // Ours says so of its node, and theirs of its own of the same name and workload.
    two.ours
        .link(&two.theirs, labelled(&["ours"]), &imports())
        .await;
    two.theirs
        .link(&two.ours, labelled(&["theirs"]), &exports())
        .await;
    two.ours
        .node
        .wait_for(connect, "false", PATIENCE)
        .await
        .unwrap();
    let refused = |event: &Value| event["activity_name"] == "Refuse";
    let told = two.theirs.agent.wait_event("a denial", PATIENCE, refused);
    let told = told.await.unwrap();
    assert_eq!(told["src_endpoint"]["uid"], id("ours").as_str(), "{told}");
    for (agent, direction) in [
        (&two.theirs.agent, "inbound"),
        (&two.ours.agent, "outbound"),
    ] {
        let refused = format!("link refused, {direction}");
        logged(agent, &[&refused, "not_permitted"]).await;
    }
    // Theirs says so of it: then it is so.
    let given = labelled(&["theirs", "ours"]);
    two.theirs.link(&two.ours, given, &exports()).await;
    two.reached().await;
}

fn hex(session: [u8; 16]) -> String {
    session.iter().map(|byte| format!("{byte:02x}")).collect()
}

//! A node's key that somebody copied, used from a third host, is found, replaced and denied without a person, and the honest node
//! loses nothing by it; whoever only claims that a key is stolen achieves less than that. `docs/compromise.md` says how it is seen.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::{PrivateKeyDer, ServerName, UnixTime};
use serde_json::{Value, json};
use skans_api::v1;
use skans_api::v1::agents_client::AgentsClient;
use skans_api::v1::watch_request::Message as Say;
use skans_identity::bundle::{Bundle, Bundles};
use skans_identity::control_tls::{self, ControlPlane};
use skans_identity::credential::Credential;
use skans_identity::forge::Forged;
use skans_identity::head::Audience;
use skans_identity::trust::{SharedTrust, Trust};
use skans_identity::verify::Verifier;
use skans_lab::plan::find_skans;
use skans_lab::{Cluster, until};
use skans_promises::{PATIENCE, plan};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;

use crate::hostile::{Got, LinkEnd, domain};
use crate::plane::Plane;

const PAGE: &str = include_str!("../../docs/compromise.md");
/// For so long an agent must have been there to say that a link is not its own.
const WHILE: Duration = Duration::from_secs(12);
/// The third host. The agents of the lab are at 127.0.0.1.
const THIEF: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 66));

/// Watches n2 from n3: how many calls it has answered, how many it has not, and whether it was seen to go.
const WATCH: &str = "register(watch, spawn(fun() ->
    net_kernel:monitor_nodes(true, [{node_type, all}]),
    F = fun Loop(Ok, Bad, Gone) ->
        receive {ask, From} -> From ! {watched, Ok, Bad, Gone}, Loop(Ok, Bad, Gone);
                {nodedown, 'n2@n2.lab', _} -> Loop(Ok, Bad, Gone + 1)
        after 2 ->
            case catch gen_server:call({net_kernel, 'n2@n2.lab'}, {is_auth, node()}, 5000) of
                yes -> Loop(Ok + 1, Bad, Gone);
                _ -> Loop(Ok, Bad + 1, Gone)
            end
        end
    end, F(0, 0, 0) end))";

struct Three {
    plane: Plane,
    cluster: Cluster,
}

impl Three {
    /// Three nodes, of which n3 talks to n2 without a pause. What the thief does to n1's link with n2 is not to be answered by `global`.
    async fn start(own: &Value) -> Self {
        let plane = Plane::start(own).await;
        let mut lab = plan();
        for label in ["n1", "n2", "n3"] {
            let alone = ["-kernel", "prevent_overlapping_partitions", "false"];
            let host = plane
                .host_of(label, |node| node.args(alone), &json!({}))
                .await;
            lab = lab.host(host);
        }
        let silence = json!({"links": {"silence": "1s"}});
        let cluster = lab.config(&silence).start().await.unwrap();
        let this = Self { plane, cluster };
        this.cluster
            .node(2)
            .unwrap()
            .eval(WATCH, PATIENCE)
            .await
            .unwrap();
        this.flows().await;
        this
    }

    /// An agent says whose a link is not only of what was a while after its start: until then it could have forgotten.
    async fn grown_up(&self) {
        let begun = Instant::now();
        until(PATIENCE, "agents that remember a while", async || {
            if begun.elapsed() > WHILE {
                Ok(())
            } else {
                Err(format!("{:?}", begun.elapsed()))
            }
        })
        .await
        .unwrap();
    }

    /// Answered calls, failed ones, and how often n2 was seen to go.
    async fn watched(&self) -> (u64, u64, u64) {
        let ask = "watch ! {ask, self()}, receive {watched, Ok, Bad, Gone} -> {Ok, Bad, Gone} end";
        let said = self
            .cluster
            .node(2)
            .unwrap()
            .eval(ask, PATIENCE)
            .await
            .unwrap();
        let numbers: Vec<u64> = said
            .trim_matches(['{', '}'])
            .split(',')
            .map(|one| one.parse().unwrap())
            .collect();
        (numbers[0], numbers[1], numbers[2])
    }

    /// Waits until calls are answered that were not made yet.
    async fn flows(&self) {
        let (before, ..) = self.watched().await;
        until(PATIENCE, "calls to be answered", async || {
            let now = self.watched().await;
            if now.0 > before + 20 {
                Ok(())
            } else {
                Err(format!("{now:?}"))
            }
        })
        .await
        .unwrap();
    }

    /// The certificate that n2 has shown on its link with n3.
    async fn key_of_link(&self) -> String {
        let links = self.cluster.agent(2).unwrap().links().await.unwrap();
        let link = links.into_iter().find(|link| link.peer == "n2@n2.lab");
        link.map(|link| link.serial).unwrap_or_default()
    }

    /// What a thief copies from the disk of n2's host.
    fn stolen(&self) -> Forged {
        let nodes = self.plane.state("n2").join("nodes");
        for entry in std::fs::read_dir(nodes).unwrap() {
            let credential = credential(&entry.unwrap().path());
            if credential.identity().id.as_str().ends_with("/node/n2") {
                return Forged {
                    chain: credential.chain().to_vec(),
                    key: clone(credential.key()),
                };
            }
        }
        panic!("n2 has no certificate");
    }

    async fn incidents(&self) -> Vec<Value> {
        let all: Value = self.plane.owner().get("/v1/incidents").await.unwrap();
        all["items"].as_array().unwrap().clone()
    }

    /// The first incident, once nothing more is to be done about it.
    async fn ended(&self) -> Value {
        until(PATIENCE, "an incident", async || {
            match self.incidents().await.len() {
                0 => Err("none".to_owned()),
                _ => Ok(()),
            }
        })
        .await
        .unwrap();
        self.plane
            .owner()
            .get("/v1/incidents/1?wait=60")
            .await
            .unwrap()
    }
}

fn clone(key: &PrivateKeyDer<'_>) -> PrivateKeyDer<'static> {
    key.clone_key()
}

/// A certificate with its key, as an agent keeps them.
fn credential(path: &Path) -> Credential {
    let both = std::fs::read(path).unwrap();
    Credential::from_pem(&both, &both, UnixTime::now()).unwrap()
}

fn steps(incident: &Value) -> Vec<&str> {
    let all = incident["timeline"].as_array().unwrap().iter();
    all.map(|step| step["kind"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn used_from_a_third_host_it_is_found_replaced_and_cut_off_without_a_person() {
    let three = Three::start(&json!({})).await;
    three.grown_up().await;
    let (stolen, before) = (three.stolen(), three.key_of_link().await);
    let n1 = three.cluster.agent(0).unwrap();
    let address = n1.link_address().unwrap();
    let mut thief = LinkEnd::dial_from(THIEF, address, "n1@n1.lab", &stolen)
        .await
        .unwrap();
    let begun = Instant::now();
    thief.up("n2@n2.lab", "n1@n1.lab").await;
    // It is in, for a while: whatever it is asked, it says nothing more.
    let close = loop {
        match thief.data().await {
            Ok(_) => {}
            Err(Got::Frame(skans_link::Frame::Close(close))) => break Some(close),
            Err(_) => break None,
        }
    };
    let took = begun.elapsed();
    let incident = three.ended().await;
    println!("the thief was out after {took:?} ({close:?})\n{incident:#}");
    assert_eq!(incident["state"], "over", "{incident:#}");
    assert_eq!(incident["cause"], "key-in-two-places");
    assert_eq!(
        steps(&incident),
        ["opened", "renewed", "denied", "held", "over"],
        "{incident:#}"
    );
    let first = incident["timeline"][0]["text"].as_str().unwrap();
    assert!(first.contains("127.0.0.66"), "{first}");
    // Its key opens nothing any more.
    let again = LinkEnd::dial_from(THIEF, address, "n1@n1.lab", &stolen).await;
    if let Ok(mut again) = again {
        let got = again.greet("n2@n2.lab", "n1@n1.lab").await;
        assert!(
            !matches!(got, Got::Frame(skans_link::Frame::Welcome(_))),
            "{got:?}"
        );
    }
    // The honest node lost nothing, lives on another key, and reaches whom the thief was with.
    three.flows().await;
    let (_, failed, gone) = three.watched().await;
    assert_eq!((failed, gone), (0, 0));
    assert_ne!(three.key_of_link().await, before);
    let n2 = three.cluster.node(1).unwrap();
    n2.wait_for("net_adm:ping('n1@n1.lab')", "pong", PATIENCE)
        .await
        .unwrap();
    three.cluster.stop().await.unwrap();
}

/// The agent of n3, in somebody else's hands, reports a link that there never was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_forges_the_trigger_costs_the_honest_node_no_call() {
    let three = Three::start(&json!({})).await;
    three.grown_up().await;
    let (honest, before) = (three.stolen(), three.key_of_link().await);
    let liar = credential(&three.plane.state("n3").join("agent.pem"));
    let said = watch_as(&three, &liar).await;
    for session in 0..5_u8 {
        let shown = v1::Shown {
            session_sha256: vec![session; 32],
            address: vec![10, 0, 0, session],
            seconds_ago: 0,
        };
        let observed = v1::Observed {
            leaves: vec![honest.chain[0].to_vec()],
            shown: vec![shown],
        };
        let message = Some(Say::Observed(observed));
        said.send(v1::WatchRequest { message }).await.unwrap();
    }
    let incident = three.ended().await;
    assert_eq!(incident["state"], "over", "{incident:#}");
    assert_eq!(
        incident["sources"].as_array().unwrap().len(),
        1,
        "{incident:#}"
    );
    assert_eq!(three.incidents().await.len(), 1);
    three.flows().await;
    let (_, failed, gone) = three.watched().await;
    assert_eq!((failed, gone), (0, 0), "{incident:#}");
    assert_ne!(three.key_of_link().await, before);
    three.cluster.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_person_calls_compromised_is_gone_at_once_and_the_page_says_how() {
    let three = Three::start(&json!({"response": {"mode": "dry-run"}})).await;
    let lines: Vec<&str> = PAGE
        .lines()
        .filter_map(|line| line.strip_prefix("    skans "))
        .map(|line| line.split(" #").next().unwrap().trim())
        .collect();
    let [compromise, dry_run, keep_links, list, one] = lines.as_slice() else {
        panic!("commands that nobody tries: {lines:?}");
    };
    let (said, code) = type_in(&three.plane, dry_run).await;
    assert!(code == 0 && said.contains("none: a dry run"), "{said}");
    assert!(three.incidents().await.is_empty());
    // Keeping links: nothing is noticed.
    let before = three.key_of_link().await;
    let (said, code) = type_in(&three.plane, keep_links).await;
    assert_eq!(code, 0, "{said}");
    let incident = three.ended().await;
    assert_eq!(incident["state"], "over", "{incident:#}");
    three.flows().await;
    assert_eq!((three.watched().await.1, three.watched().await.2), (0, 0));
    let between = three.key_of_link().await;
    assert_ne!(between, before);
    // At once: the node comes back by itself, under another key.
    let (said, code) = type_in(&three.plane, compromise).await;
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("laptop lost") && said.contains("over"),
        "{said}"
    );
    three.flows().await;
    assert_ne!(three.key_of_link().await, between);
    let (said, code) = type_in(&three.plane, list).await;
    assert!(code == 0 && said.lines().count() == 3, "{said}");
    let (said, code) = type_in(&three.plane, one).await;
    assert!(code == 0 && said.contains("AFTER"), "{said}");
    three.cluster.stop().await.unwrap();
}

/// Types a command of the page. What stands there for a node is n2.
async fn type_in(plane: &Plane, line: &str) -> (String, i32) {
    let line = line.replace("rabbit@host-a", "n2@n2.lab");
    let quoted = line.split('"').enumerate();
    let words = quoted.flat_map(|(at, part)| match at % 2 {
        0 => part.split_whitespace().map(str::to_owned).collect(),
        _ => vec![part.to_owned()],
    });
    let output = tokio::process::Command::new(find_skans().unwrap())
        .args(words)
        .env("SKANS_CONTROL_SOCKET", plane.socket())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        String::from_utf8_lossy(&said).into_owned(),
        output.status.code().unwrap_or(-1),
    )
}

/// A stream to the control plane with an agent's own certificate.
async fn watch_as(three: &Three, agent: &Credential) -> mpsc::Sender<v1::WatchRequest> {
    let root = std::fs::read(three.plane.root()).unwrap();
    let bundle = Bundle::from_pem(domain(), &root).unwrap();
    let verifier = Verifier::new(SharedTrust::new(Trust {
        bundles: Bundles::from(bundle),
        ..Trust::default()
    }));
    let audience = Audience {
        trust_domain: domain(),
        cluster: "lab".to_owned(),
    };
    let plane = ControlPlane::new(verifier, audience);
    let config = control_tls::client_config(plane, Some(agent), control_tls::HTTP2).unwrap();
    let address = three.plane.address();
    let connector = tower::service_fn(move |_| {
        let config = Arc::clone(&config);
        async move {
            let stream = TcpStream::connect(address).await?;
            let name = ServerName::try_from("control.skans").unwrap();
            let stream = tokio_rustls::TlsConnector::from(config)
                .connect(name, stream)
                .await?;
            Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(stream))
        }
    });
    let channel = Endpoint::from_static("http://control.skans")
        .connect_with_connector(connector)
        .await
        .unwrap();
    let (say, said) = mpsc::channel(16);
    let start = v1::WatchStart {
        program_version: "0.1.0".to_owned(),
        ..v1::WatchStart::default()
    };
    let message = Some(Say::Start(start));
    say.send(v1::WatchRequest { message }).await.unwrap();
    let heard = AgentsClient::new(channel)
        .watch(ReceiverStream::new(said))
        .await;
    let mut heard = heard.unwrap().into_inner();
    tokio::spawn(async move { while let Ok(Some(_)) = heard.message().await {} });
    say
}

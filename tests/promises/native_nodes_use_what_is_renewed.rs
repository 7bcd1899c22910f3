//! `mode: native`: nodes that speak TLS themselves, with what the agent writes for them and no other configuration. They
//! take nobody who is no node of their cluster, and a renewed certificate at the next connection.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};
use serde_json::json;
use skans_identity::authority::Authority;
use skans_identity::bundle::Bundles;
use skans_identity::control_tls::client_config;
use skans_identity::credential::Credential;
use skans_identity::host::Host;
use skans_identity::id::SpiffeId;
use skans_identity::trust::{SharedTrust, Trust};
use skans_identity::verify::Verifier;
use skans_lab::{Cluster, ErlNode, HostPlan, NodePlan, erl, until};
use skans_promises::{PATIENCE, plan};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// An agent that keeps the files of two nodes, and those nodes.
struct Natives {
    cluster: Cluster,
    nodes: Vec<ErlNode>,
    _epmd: Child,
    _homes: tempfile::TempDir,
}

impl Natives {
    async fn start() -> Self {
        let mut host = HostPlan::new("natives");
        for name in ["n1@localhost", "n2@localhost"] {
            let node = NodePlan::new(name).not_started();
            host = host.node(node.config(&json!({"mode": "native"})));
        }
        let short = json!({"identity": {"authority": {"leafLifetime": "15s"}}});
        let cluster = plan().host(host.config(&short)).start().await.unwrap();
        let port = free_port().await;
        // In the foreground: it ends with the test.
        let epmd = Command::new("epmd")
            .args(["-port", &port.to_string(), "-address", "127.0.0.1"])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let homes = tempfile::tempdir().unwrap();
        let mut nodes = Vec::new();
        for name in ["n1", "n2"] {
            nodes.push(start_node(&cluster, homes.path(), name, port).await);
        }
        Self {
            cluster,
            nodes,
            _epmd: epmd,
            _homes: homes,
        }
    }

    fn directory(&self, name: &str) -> PathBuf {
        self.cluster.runtime(0).unwrap().join("native").join(name)
    }

    /// The leaf that stands in a node's file.
    fn on_disk(&self, name: &str) -> CertificateDer<'static> {
        let text = std::fs::read(self.directory(name).join("node.pem")).unwrap();
        CertificateDer::from_pem_slice(&text).unwrap()
    }

    async fn port_of(&self, name: &str) -> u16 {
        let ask = format!("{{port, P, _}} = erl_epmd:port_please(\"{name}\", \"localhost\"), P");
        let port = self.nodes[0].eval(&ask, PATIENCE).await.unwrap();
        port.parse().unwrap()
    }

    async fn stop(self) {
        drop(self.nodes);
        self.cluster.stop().await.unwrap();
    }
}

async fn free_port() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

/// With the environment that the agent wrote, and what every node has anyway.
async fn start_node(cluster: &Cluster, homes: &Path, name: &str, epmd: u16) -> ErlNode {
    let file = cluster.runtime(0).unwrap().join(format!("env/{name}.env"));
    let text = std::fs::read_to_string(file).unwrap();
    let variables = text.lines().filter_map(|line| line.split_once('='));
    let mut env: Vec<_> = variables
        .map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()))
        .collect();
    assert!(
        env.iter()
            .any(|(name, value)| name == "ERL_AFLAGS" && value.contains("inet_tls"))
    );
    env.push(("ERL_EPMD_PORT".to_owned(), epmd.to_string()));
    let home = homes.join(name);
    std::fs::create_dir(&home).unwrap();
    let args = [
        "-sname",
        &format!("{name}@localhost"),
        "-setcookie",
        "theirs",
    ];
    let options = erl::Options {
        label: name.to_owned(),
        erl: erl::find().unwrap(),
        home,
        args: args.map(str::to_owned).into(),
        env,
    };
    ErlNode::start(&options).await.unwrap()
}

/// Somebody whom the authority of the cluster has given a certificate.
fn insider(authority: &Authority, id: &str) -> Credential {
    let id = SpiffeId::parse(id).unwrap();
    let host = Host::parse("localhost").unwrap();
    let life = Duration::from_secs(600);
    authority.issue(&id, &host, life, UnixTime::now()).unwrap()
}

async fn dial(
    authority: &Authority,
    port: u16,
    shown: Option<&Credential>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let trust = Trust {
        bundles: Bundles::from(authority.bundle().unwrap()),
        ..Trust::default()
    };
    let verifier = Verifier::new(SharedTrust::new(trust));
    let config = client_config(verifier, shown, b"h2").unwrap();
    let socket = TcpStream::connect(("127.0.0.1", port)).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::clone(&config))
        .connect(name, socket)
        .await
}

/// Whether the node ends the connection by itself. One that it takes waits for us to speak first.
async fn is_refused(dialled: std::io::Result<TlsStream<TcpStream>>) -> bool {
    let Ok(mut stream) = dialled else { return true };
    let mut byte = [0];
    let read = tokio::time::timeout(Duration::from_secs(3), stream.read(&mut byte)).await;
    matches!(read, Ok(Ok(0) | Err(_)))
}

#[tokio::test]
async fn a_new_certificate_is_used_at_the_next_connection() {
    let natives = Natives::start().await;
    let (n1, n2) = (&natives.nodes[0], &natives.nodes[1]);
    assert_eq!(
        n1.eval("net_adm:ping('n2@localhost')", PATIENCE)
            .await
            .unwrap(),
        "pong"
    );
    let port = natives.port_of("n2").await;
    let authority = natives.cluster.authority().unwrap();
    let me = insider(
        &authority,
        "spiffe://lab.test/cluster/lab/ns/default/sa/x/node/x",
    );
    let first = natives.on_disk("n2");
    // ssl by itself would look after two minutes; the certificates live fifteen seconds.
    until(
        PATIENCE,
        "n2 shows the certificate that was renewed",
        async || {
            let stream = dial(&authority, port, Some(&me))
                .await
                .map_err(|e| e.to_string())?;
            let shown = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
            if shown == first {
                Err("the first one".to_owned())
            } else if shown == natives.on_disk("n2") {
                Ok(())
            } else {
                Err("an old one".to_owned())
            }
        },
    )
    .await
    .unwrap();
    // Past the end of what they started with, both ways.
    until(PATIENCE, "the first certificate is past", async || {
        let end = skans_identity::peer::PeerIdentity::from_der(&first)
            .unwrap()
            .not_after;
        if UnixTime::now().as_secs() > end {
            Ok(())
        } else {
            Err(format!("it ends at {end}"))
        }
    })
    .await
    .unwrap();
    for (from, to) in [(n1, "n2"), (n2, "n1")] {
        let again =
            format!("erlang:disconnect_node('{to}@localhost'), net_adm:ping('{to}@localhost')");
        from.wait_for(&again, "pong", PATIENCE).await.unwrap();
    }
    natives.stop().await;
}

#[tokio::test]
async fn only_nodes_of_the_cluster_get_in() {
    let natives = Natives::start().await;
    let port = natives.port_of("n2").await;
    let authority = natives.cluster.authority().unwrap();
    let node = insider(
        &authority,
        "spiffe://lab.test/cluster/lab/ns/default/sa/x/node/x",
    );
    assert!(
        !is_refused(dial(&authority, port, Some(&node)).await).await,
        "a node"
    );
    assert!(
        is_refused(dial(&authority, port, None).await).await,
        "nobody"
    );
    let agent = insider(&authority, "spiffe://lab.test/skans/agent/x");
    assert!(
        is_refused(dial(&authority, port, Some(&agent)).await).await,
        "an agent"
    );
    // The node that calls is as careful as the one that is called.
    let roots = natives.directory("n1").join("ssl_dist.conf");
    let options = std::fs::read_to_string(roots).unwrap();
    assert_eq!(options.matches("verify_peer").count(), 2);
    natives.stop().await;
}

#[tokio::test]
async fn a_key_is_readable_by_its_node_alone() {
    use std::os::unix::fs::MetadataExt;
    let natives = Natives::start().await;
    let node = natives.directory("n1").join("node.pem").metadata().unwrap();
    assert_eq!(node.mode() & 0o777, 0o400);
    natives.stop().await;
}

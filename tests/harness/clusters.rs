//! Two clusters of two trust domains, each with a node, its agent and a gateway, every one of them on a host of its own in one network.
//! Both nodes bear the same name, each has a cookie of its own, and neither cluster signs for the other.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on has failed"
)]

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use skans_identity::authority::{Authority, AuthorityPem};
use skans_identity::forge::Forge;
use skans_lab::agent::Files;
use skans_lab::erl::{self, Options};
use skans_lab::plan::find_skans;
use skans_lab::{AgentProcess, ErlNode, Policy};
use skans_promises::PATIENCE;

use crate::netns::{Host, Network};

/// What both nodes call themselves.
pub const NODE: &str = "orders@host-a";
const LINK_PORT: u16 = 4370;
const GATEWAY_PORT: u16 = 4371;

/// One of two clusters.
pub struct Side {
    // In this order: the node goes first.
    /// Its node.
    pub node: ErlNode,
    /// The agent of that.
    pub agent: AgentProcess,
    /// Its gateways.
    pub gateways: Vec<AgentProcess>,
    /// What the cluster is called, and before `.test` its trust domain.
    pub name: &'static str,
    directory: PathBuf,
}

fn addresses(network: &Network, hosts: &[usize]) -> Vec<IpAddr> {
    let addresses = hosts.iter().map(|index| network.host(*index).four());
    addresses.collect()
}

/// What a link of one side says.
#[derive(Clone, Debug, Default)]
pub struct Says {
    /// What theirs may use.
    pub exports: Vec<Value>,
    /// What ours may use.
    pub imports: Vec<Value>,
    /// What else is there, or another value of what is.
    pub more: Value,
}

impl Side {
    /// Starts agent, gateways and node; nothing is linked yet. The first of `hosts` is that of the agent, the others have gateways.
    pub async fn start(
        network: &Network,
        name: &'static str,
        hosts: &[usize],
        theirs: &[usize],
    ) -> Self {
        Self::start_with(network, name, hosts, theirs, &erl::find().unwrap()).await
    }

    /// The same with something added to the configuration of its agent and its gateways.
    pub async fn start_and(
        network: &Network,
        name: &'static str,
        (hosts, theirs): (&[usize], &[usize]),
        more: &Value,
    ) -> Self {
        let erl = erl::find().unwrap();
        let there = addresses(network, theirs);
        Self::begin(network, name, (hosts, &there), &erl, more).await
    }

    /// The same with a node of this OTP.
    pub async fn start_with(
        network: &Network,
        name: &'static str,
        hosts: &[usize],
        theirs: &[usize],
        erl: &Path,
    ) -> Self {
        let there = addresses(network, theirs);
        Self::begin(network, name, (hosts, &there), erl, &json!({})).await
    }

    /// The same where the gateways of the other side are reached at these addresses.
    pub async fn start_to(
        network: &Network,
        name: &'static str,
        hosts: &[usize],
        theirs: &[IpAddr],
        erl: &Path,
    ) -> Self {
        Self::begin(network, name, (hosts, theirs), erl, &json!({})).await
    }

    async fn begin(
        network: &Network,
        name: &'static str,
        (hosts, theirs): (&[usize], &[IpAddr]),
        erl: &Path,
        more: &Value,
    ) -> Self {
        let with = |mut own: Value| {
            for (key, value) in more.as_object().into_iter().flatten() {
                own[key] = value.clone();
            }
            own
        };
        let directory = network.directory().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        let (first, rest) = hosts.split_first().unwrap();
        let at = |index: &usize, port| format!("{}:{port}", network.host(*index).four());
        let own: Vec<_> = rest.iter().map(|index| at(index, GATEWAY_PORT)).collect();
        let there: Vec<_> = theirs
            .iter()
            .map(|ip| SocketAddr::new(*ip, GATEWAY_PORT).to_string())
            .collect();
        set(&directory, &Policy::open());
        let agent = json!({
            "nodes": [{"name": NODE}],
            "peers": {"gateways": own},
        });
        let agent = start(network.host(*first), &directory, name, &with(agent)).await;
        let mut gateways = Vec::new();
        for (index, host) in rest.iter().enumerate() {
            let gateway = json!({
                "gateway": {
                    "name": format!("g{index}@gateway-{index}"),
                    "routes": {other(name): there},
                },
                "peers": {"static": [{"nodes": NODE, "address": at(first, LINK_PORT)}]},
            });
            gateways.push(start(network.host(*host), &directory, name, &with(gateway)).await);
        }
        let node = node_of(network.host(*first), erl).await;
        Self {
            node,
            agent,
            gateways,
            name,
            directory,
        }
    }

    /// The roots of its trust domain, as PEM.
    pub fn roots(&self) -> String {
        std::fs::read_to_string(self.directory.join("authority/root.pem")).unwrap()
    }

    /// Its authority, as somebody has it who stole it, or to whom it belongs.
    pub fn forge(&self) -> Forge {
        let read = |name: &str| {
            std::fs::read_to_string(self.directory.join("authority").join(name)).unwrap()
        };
        let authority = Authority::from_pem(&AuthorityPem {
            root_cert: read("root.pem"),
            root_key: Some(read("root.key").into()),
            issuer_cert: read("issuer.pem"),
            issuer_key: read("issuer.pem").into(),
        });
        Forge::stolen(&authority.unwrap()).unwrap()
    }

    /// Puts a policy set with a link to the other side in force, at its agent and its gateways.
    pub async fn link(&self, to: &Self, policy: Policy, says: &Says) {
        let (name, domain) = (to.name, format!("{}.test", to.name));
        let gateways = 0..to.gateways.len();
        let gateways = gateways.map(|index| format!("spiffe://{domain}/skans/gateway/g{index}"));
        let mut link = json!({
            "name": name,
            "trustDomain": domain,
            "cluster": name,
            "notAfter": 4_000_000_000_u64,
            "bundle": {
                "url": format!("https://control.{domain}/v1/federation/bundle"),
                "profile": "https_spiffe",
                "endpointId": format!("spiffe://{domain}/skans/control/one"),
                "roots": to.roots(),
            },
            "gateways": gateways.collect::<Vec<_>>(),
            "forwards": [format!("spiffe://{domain}/cluster/{name}/ns/default/sa/*/node/*")],
            "exports": says.exports,
            "imports": says.imports,
        });
        for (key, value) in says.more.as_object().into_iter().flatten() {
            link[key] = value.clone();
        }
        set(
            &self.directory,
            &policy.file("links.yaml", &json!([link]).to_string()),
        );
        self.reload().await;
    }

    /// Puts a policy set without any link in force.
    pub async fn unlink(&self) {
        set(&self.directory, &Policy::open());
        self.reload().await;
    }

    async fn reload(&self) {
        for process in self.gateways.iter().chain([&self.agent]) {
            process.reload().await.unwrap();
        }
    }
}

/// A server at theirs, and another one that nobody exports.
pub const SERVER: &str = r"
Loop = fun Loop() ->
    receive
        {'$gen_call', From, {who, Words}} ->
            gen_server:reply(From, {node(), node(element(1, From)), Words, self()}),
            Loop();
        {'$gen_call', _, crash} -> exit(crashed);
        {'$gen_cast', {tell, Pid}} -> Pid ! {told, self()}, Loop()
    end
end,
register(order_server, spawn(Loop)), register(secret, spawn(Loop)), ok
";

/// What ours says in a link: it may use the server, by an alias of its node.
pub fn imports() -> Says {
    Says {
        imports: vec![json!({"alias": "stock@theirs", "node": NODE, "process": "order_server"})],
        ..Says::default()
    }
}

/// What theirs says: that server may be used.
pub fn exports() -> Says {
    Says {
        exports: vec![json!({"node": NODE, "process": "order_server"})],
        ..Says::default()
    }
}

/// What a call says, by the one who gets through.
pub const CALL: &str =
    "catch element(1, gen_server:call({order_server, 'stock@theirs'}, {who, 7}))";

/// Whatever a client of a server does, and what it sees when that fails.
pub async fn calls(ours: &Side) {
    let called = ours.node.wait_for(CALL, "stock@theirs", PATIENCE);
    called.await.unwrap();
    let all = "{There, Caller, Words, Pid} = gen_server:call({order_server, 'stock@theirs'}, {who, [orders, node()]}),
               {There, Caller, Words, node(Pid)}";
    // Each name means here what it means here, whoever said it.
    assert_eq!(
        ours.node.eval(all, PATIENCE).await.unwrap(),
        "{stock@theirs,'orders@host-a',[orders,'orders@host-a'],stock@theirs}"
    );
    // What goes in fragments, with names on their borders.
    let large = "Words = [{node(), self(), make_ref(), N} || N <- lists:seq(1, 30000)],
        {_, _, Same, _} = gen_server:call({order_server, 'stock@theirs'}, {who, Words}), Same =:= Words";
    assert_eq!(ours.node.eval(large, PATIENCE).await.unwrap(), "true");
    // A connection that is made anew by a call, which is queued until it is there.
    let anew = "true = erlang:disconnect_node('stock@theirs'),
        element(3, gen_server:call({order_server, 'stock@theirs'}, {who, lists:seq(1, 100000)})) =:= lists:seq(1, 100000)";
    assert_eq!(ours.node.eval(anew, PATIENCE).await.unwrap(), "true");
    // Its failures are those of any server.
    let down = "Ref = monitor(process, {order_server, 'stock@theirs'}),
        {'EXIT', {Why, _}} = (catch gen_server:call({order_server, 'stock@theirs'}, crash)),
        Down = receive {'DOWN', Ref, process, Who, Reason} -> {Who, Reason} after 5000 -> none end,
        {'EXIT', {Gone, _}} = (catch gen_server:call({order_server, 'stock@theirs'}, x)),
        {Why, Down, Gone}";
    assert_eq!(
        ours.node.eval(down, PATIENCE).await.unwrap(),
        "{crashed,{{order_server,stock@theirs},crashed},noproc}"
    );
}

/// What the other one is called.
fn other(name: &str) -> &'static str {
    if name == "ours" { "theirs" } else { "ours" }
}

fn set(directory: &Path, policy: &Policy) {
    policy.write(&directory.join("policy")).unwrap();
}

/// An agent or a gateway.
pub async fn start(host: &Host, cluster: &Path, name: &str, own: &Value) -> AgentProcess {
    let mut config = json!({
        "apiVersion": "skans.io/v1alpha1",
        "trustDomain": format!("{name}.test"),
        "cluster": name,
        "runtimeDirectory": host.directory().join("run"),
        "identity": {"authority": {"directory": cluster.join("authority")}},
        "policy": {"directory": cluster.join("policy")},
        "drain": {"timeout": "1s"},
        "log": {"format": "json"},
        "events": {"file": host.directory().join("events.jsonl"), "window": "500ms"},
    });
    if own.get("identity").is_some() {
        // The control plane's sets count.
        config.as_object_mut().unwrap().remove("policy");
    }
    for (key, value) in own.as_object().into_iter().flatten() {
        config[key] = value.clone();
    }
    let files = Files::within(host.directory());
    files.write_config(&config).unwrap();
    let skans = host.program(&find_skans().unwrap());
    let label = format!("{name} at {}", host.four());
    let starting = if own.get("gateway").is_some() {
        AgentProcess::spawn_gateway(&skans, &label, files)
    } else {
        AgentProcess::spawn(&skans, &label, files)
    };
    let starting = starting.unwrap();
    starting.ready().await.unwrap()
}

/// The node beside an agent, of the OTP on this machine.
pub async fn node(host: &Host) -> ErlNode {
    node_of(host, &erl::find().unwrap()).await
}

/// The node beside an agent.
pub async fn node_of(host: &Host, erl: &Path) -> ErlNode {
    let home = host.directory().join("home");
    std::fs::create_dir_all(&home).unwrap();
    let quiet = ["+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none"];
    let options = Options {
        label: NODE.to_owned(),
        erl: host.program(erl),
        home,
        args: ["-sname", NODE]
            .iter()
            .chain(&quiet)
            .map(|arg| (*arg).to_owned())
            .collect(),
        env: erl::environment(&host.directory().join("run/env/orders.env")).unwrap(),
    };
    ErlNode::start(&options).await.unwrap()
}

//! Two clusters, each with a control plane of its own: certificates of gateways, bundles of the other domain and links all come from there, and
//! what is taken back there ends what was carried.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use skans_agent::admin::ask;
use skans_lab::{AgentProcess, ErlNode, until};
use skans_link::{Answer, Ask};
use skans_policy::{File, Source};
use skans_promises::PATIENCE;

use crate::asker::{self, under};
use crate::clusters::{self, NODE};
use crate::netns::Network;
use crate::plane::Plane;
use crate::root;

/// A cluster: its control plane on a host that both share, agent, gateway and node each on theirs.
struct Side {
    node: ErlNode,
    agent: AgentProcess,
    gateway: AgentProcess,
    plane: Plane,
    name: &'static str,
}

const GATEWAY_PORT: u16 = 4371;

impl Side {
    async fn start(
        network: &Network,
        name: &'static str,
        [at, gateway, there]: [usize; 3],
        more: &Value,
    ) -> Self {
        let mut own = json!({
            "trustDomain": format!("{name}.test"),
            "cluster": name,
            "listen": format!("{}:0", network.host(0).four()),
        });
        let members = own.as_object_mut().unwrap();
        members.extend(more.as_object().unwrap().clone());
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
            gateway,
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
    linked_with(network, &json!({})).await
}

/// The same with something else in the configuration of both control planes.
async fn linked_with(network: &Network, more: &Value) -> (Side, Side) {
    let ours = Side::start(network, "ours", [1, 2, 4], more).await;
    let theirs = Side::start(network, "theirs", [3, 4, 2], more).await;
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

/// How it stands with theirs, by what is counted: at the control plane, the agent and the gateway of ours.
async fn counted(ours: &Side) -> [Vec<String>; 3] {
    let own = |text: &str| {
        let lines = text
            .lines()
            .filter(|line| line.starts_with("skans_foreign_bundle_"));
        // It grows older while it is looked at.
        let lines = lines.filter(|line| !line.starts_with("skans_foreign_bundle_age_seconds{"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let of = async |process: &AgentProcess| {
        let socket = &process.files().socket;
        own(&ask(socket, "GET", "/metrics", "").await.unwrap())
    };
    [
        own(&ours.plane.metrics().await),
        of(&ours.agent).await,
        of(&ours.gateway).await,
    ]
}

#[test]
fn everybody_counts_the_same_of_other_domains() {
    if !root::or_skip("metrics of other domains") {
        return;
    }
    on_a_network(async |network| {
        let (ours, theirs) = linked(&network).await;
        let seen = async |wanted: &[&str]| {
            until(PATIENCE, "all three to count the same", async || {
                let all = counted(&ours).await;
                let fits = |lines: &Vec<String>| {
                    wanted
                        .iter()
                        .all(|line| lines.iter().any(|one| one == line))
                };
                if all.iter().all(fits) {
                    Ok(())
                } else {
                    Err(format!("{all:#?}"))
                }
            })
            .await
            .unwrap();
        };
        seen(&[
            "skans_foreign_bundle_standing{trust_domain=\"theirs.test\",standing=\"fresh\"} 1",
            "skans_foreign_bundle_standing{trust_domain=\"theirs.test\",standing=\"stale\"} 0",
            "skans_foreign_bundle_sequence{trust_domain=\"theirs.test\"} 1",
            "skans_foreign_bundle_roots{trust_domain=\"theirs.test\"} 1",
        ])
        .await;
        let text = ours.plane.metrics().await;
        let age = "skans_foreign_bundle_age_seconds{trust_domain=\"theirs.test\"} ";
        let age = text
            .lines()
            .find_map(|line| line.strip_prefix(age))
            .unwrap();
        assert!(age.parse::<u64>().unwrap() < 300, "{age}");
        let pem = std::fs::read_to_string(theirs.plane.make_root("next").join("root.pem"));
        let body = json!({ "certificate": pem.unwrap() });
        let owner = theirs.plane.owner();
        let _: Value = owner.send("POST", "/v1/roots", &body).await.unwrap();
        seen(&[
            "skans_foreign_bundle_sequence{trust_domain=\"theirs.test\"} 2",
            "skans_foreign_bundle_roots{trust_domain=\"theirs.test\"} 2",
        ])
        .await;
        let path = "/v1/federation/theirs.test/distrust";
        ours.plane.owner().call("POST", path, None).await.unwrap();
        seen(&[
            "skans_foreign_bundle_standing{trust_domain=\"theirs.test\",standing=\"fresh\"} 0",
            "skans_foreign_bundle_standing{trust_domain=\"theirs.test\",standing=\"distrusted\"} 1",
            "skans_foreign_bundle_roots{trust_domain=\"theirs.test\"} 0",
        ])
        .await;
    });
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

/// Calls the server all the time, and remembers what did not come back as it should, and whether the node was ever missed.
const CALLER: &str = r"
Caller = fun Loop(N, Wrong) ->
    receive {stop, Who} -> Who ! {stopped, N, Wrong}
    after 5 ->
        case catch gen_server:call({server, 'stock@theirs'}, N) of
            {got, N} -> Loop(N + 1, Wrong);
            Else -> Loop(N + 1, lists:sublist([Else | Wrong], 5))
        end
    end
end,
register(caller, spawn(fun() -> Caller(0, []) end)),
register(watcher, spawn(fun() -> monitor_node('stock@theirs', true), receive stop -> ok end end)), ok
";
const CALLED: &str =
    "caller ! {stop, self()}, {messages, Missed} = process_info(whereis(watcher), messages),
    receive {stopped, N, Wrong} -> [N, Wrong, Missed] end";

/// Certificates are renewed, links moved over and roots taken out at their own pace, which is that of the leaves.
const LIMIT: Duration = Duration::from_secs(200);

#[test]
fn the_root_of_whom_is_called_is_replaced_and_no_call_fails() {
    replaced(async |network| {
        let (ours, theirs) = linked_with(network, &short()).await;
        replace_root(network, &theirs, (&ours, &theirs), 2).await;
    });
}

#[test]
fn the_root_of_who_calls_is_replaced_and_no_call_fails() {
    replaced(async |network| {
        let (ours, theirs) = linked_with(network, &short()).await;
        replace_root(network, &ours, (&ours, &theirs), 4).await;
    });
}

fn replaced(test: impl AsyncFnOnce(&Network) + Send + 'static) {
    if root::or_skip("a root that is replaced under traffic between clusters") {
        on_a_network(async move |network| test(&network).await);
    }
}

/// Leaves that are renewed soon.
fn short() -> Value {
    json!({"leaves": {"lifetime": "30s", "laboratory": true}})
}

/// Replaces the root of one of two clusters while ours calls theirs through gateways. `far` is the host of the other's gateway.
async fn replace_root(network: &Network, of: &Side, (ours, theirs): (&Side, &Side), far: usize) {
    let other = if of.name == "ours" { theirs } else { ours };
    // Good for longer than all of this takes, and under the old root: what refuses it later is that.
    let id = format!("spiffe://{}.test/skans/gateway/g1", of.name);
    let old = under(&of.plane.root_directory("root"), of.name, &id, "gw");
    let gateway = SocketAddr::new(network.host(far).four(), GATEWAY_PORT);
    let way = Ask {
        session: [9; 16],
        from: asker::end(of.name, NODE),
        to: asker::end(other.name, "nobody@host-a"),
    };
    let heard = asker::ask(gateway, other.name, Some(&old), &way).await;
    // Nobody of that name is exported; but it was heard.
    assert!(matches!(heard, Ok((Answer::Refused(_), _))), "{heard:?}");
    ours.node.eval(CALLER, PATIENCE).await.unwrap();
    let before = issuers(ours, theirs).await;

    let owner = of.plane.owner();
    let pem = std::fs::read_to_string(of.plane.make_root("next").join("root.pem")).unwrap();
    let body = json!({ "certificate": pem });
    let _: Value = owner.send("POST", "/v1/roots", &body).await.unwrap();
    believed(other, of, 2).await;
    let made: Value = owner
        .send("POST", "/v1/authorities", &json!({}))
        .await
        .unwrap();
    let certificate = of.plane.sign_by("next", made["request"].as_str().unwrap());
    let path = format!("/v1/authorities/{}", made["id"].as_str().unwrap());
    let body = json!({ "certificate": certificate }).to_string();
    owner
        .call("PUT", &format!("{path}/certificate"), Some(body))
        .await
        .unwrap();
    let activated = until(PATIENCE, "all agents to have the new root", async || {
        let done = owner.call("POST", &format!("{path}/activate"), None).await;
        done.map_err(|error| error.to_string())
    });
    activated.await.unwrap();
    // It leaves by itself, once nothing hangs on it over there.
    believed(other, of, 1).await;
    until(LIMIT, "every link to stand on the new root", async || {
        let now = issuers(ours, theirs).await;
        let changed = now.len() == 2 && now.iter().filter(|one| before.contains(one)).count() == 1;
        if changed {
            Ok(())
        } else {
            Err(format!("{before:?} {now:?}"))
        }
    })
    .await
    .unwrap();
    let heard = asker::ask(gateway, other.name, Some(&old), &way).await;
    assert!(heard.is_err(), "{heard:?}");
    let untrusted = |line: &Value| {
        let text = line["message"].as_str().unwrap_or_default();
        text.starts_with("not heard by the gateway") && line["reason"] == "untrusted"
    };
    let told = other
        .gateway
        .wait_log(0, "who is not believed", PATIENCE, untrusted);
    told.await.unwrap();

    let said = ours.node.eval(CALLED, PATIENCE).await.unwrap();
    println!("calls, what went wrong, whether the node was missed: {said}");
    let calls = said
        .strip_prefix('[')
        .and_then(|said| said.strip_suffix(",[],[]]"));
    let calls: u64 = calls.unwrap_or_else(|| panic!("{said}")).parse().unwrap();
    assert!(calls > 1000, "{said}");
    assert_eq!(ours.node.eval("nodes()", PATIENCE).await.unwrap(), "[]");
}

/// Waits until one side believes so many roots of the other.
async fn believed(here: &Side, of: &Side, roots: usize) {
    until(LIMIT, "the roots to be known", async || {
        let all: Value = here.plane.owner().get("/v1/federation").await.unwrap();
        let one = all["items"].as_array().unwrap().first().cloned();
        let one = one.unwrap_or_default();
        assert_eq!(one["trust_domain"], of.plane.trust_domain());
        if one["roots"] == roots && one["standing"] == "fresh" {
            Ok(())
        } else {
            Err(one.to_string())
        }
    })
    .await
    .unwrap();
}

/// Who issued the certificates at the other end of the link, at both of its ends.
async fn issuers(ours: &Side, theirs: &Side) -> Vec<String> {
    let mut all = Vec::new();
    for side in [ours, theirs] {
        let links = side.agent.links().await.unwrap();
        all.extend(links.into_iter().map(|link| link.issuer));
    }
    all
}

//! A service is reached by whom the policy permits it by name, from processes that the configuration names, for as long as that holds; all
//! else is refused at once, and told.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use skans_lab::{Cluster, HostPlan, NodePlan, until};
use skans_link::{Frame, Hello, Reason, VERSION_RESUME};
use skans_promises::{PATIENCE, plan};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::hostile::{Got, LinkEnd, hello, insider, ours, spec};
use crate::plane::Plane;
use crate::root;
use crate::services::{answered, echo, free, policy, refused, reset};

/// An agent that offers, and one that uses: `n1` of `n2`.
struct Two {
    cluster: Cluster,
    /// Where clients of `n1` find them.
    echo: SocketAddr,
    down: SocketAddr,
    gone: SocketAddr,
}

impl Two {
    async fn start(names: &[&str]) -> Self {
        let (target, nobody) = (echo().await, free());
        let (echo, down, gone) = (free(), free(), free());
        let node = |n: u8| NodePlan::new(format!("n{n}@n{n}.lab")).not_started();
        let used = |name: &str, listen: SocketAddr| json!({"name": name, "from": "n2@n2.lab", "listen": listen});
        let uses = [used("echo", echo), used("down", down), used("gone", gone)];
        let offers =
            json!([{"name": "echo", "target": target}, {"name": "down", "target": nobody}]);
        let cluster = plan()
            .host(
                HostPlan::new("n1")
                    .node(node(1))
                    .config(&json!({"services": {"uses": uses}})),
            )
            .host(
                HostPlan::new("n2")
                    .node(node(2))
                    .config(&json!({"services": {"offers": offers}})),
            )
            .policy(policy(names))
            .start()
            .await
            .unwrap();
        // What is found by a peer's port is known once all agents run.
        Self {
            cluster,
            echo,
            down,
            gone,
        }
    }

    async fn event(&self, host: usize, activity: &'static str, reason: &'static str) -> Value {
        let agent = self.cluster.agent(host).unwrap();
        agent
            .wait_event(activity, PATIENCE, |event| {
                event["activity_name"] == activity && event["status_detail"] == reason
            })
            .await
            .unwrap()
    }
}

#[tokio::test]
async fn who_has_no_permit_for_a_service_by_name_is_refused_and_it_is_told() {
    let two = Two::start(&[]).await;
    println!("refused after {:?}", refused(two.echo).await);
    let told = two.event(0, "Refuse", "policy").await;
    let resource = &told["unmapped"]["skans"]["resources"][0];
    assert_eq!(
        (&resource["type"], &resource["name"]),
        (&json!("Service"), &json!("echo")),
        "{told}"
    );

    // The agent of the service decides itself: a peer whose agent asks nobody gets no further.
    let address = two.cluster.agent(1).unwrap().link_address().unwrap();
    let thief = insider(&two.cluster).leaf(&spec("n1@n1.lab")).unwrap();
    for (service, wanted) in [
        ("echo", Reason::NotPermitted),
        // Nobody learns what there is.
        ("no-such-service", Reason::NotPermitted),
        ("Echo; rm -rf /", Reason::WrongName),
    ] {
        let mut link = LinkEnd::dial(address, "n2@n2.lab", Some(&thief), &ours())
            .await
            .unwrap();
        let asked = Hello {
            version_min: VERSION_RESUME + 1,
            service: service.to_owned(),
            ..hello("n1@n1.lab", "n2@n2.lab")
        };
        link.send(&asked.encode()).await;
        assert_eq!(link.closed().await.reason, wanted, "{service}");
    }
    let told = two.event(1, "Refuse", "policy").await;
    assert_eq!(
        told["actor"]["user"]["uid"],
        "spiffe://lab.test/cluster/lab/ns/default/sa/n1/node/n1"
    );
    // Below the version that knows services it would be a node's connection.
    let mut link = LinkEnd::dial(address, "n2@n2.lab", Some(&thief), &ours())
        .await
        .unwrap();
    let old = Hello {
        version_max: 4,
        service: "echo".to_owned(),
        ..hello("n1@n1.lab", "n2@n2.lab")
    };
    let mut cut = old.encode();
    cut[9] = VERSION_RESUME;
    link.send(&cut).await;
    match link.recv().await {
        Got::Frame(Frame::Close(close)) => assert_ne!(close.reason, Reason::Done),
        Got::Frame(Frame::Welcome(welcome)) => {
            assert_eq!(welcome.version, VERSION_RESUME, "a node's")
        }
        other => assert!(matches!(other, Got::End | Got::Broken(_)), "{other:?}"),
    }
    two.cluster.stop().await.unwrap();
}

#[tokio::test]
async fn what_is_permitted_passes_and_what_is_down_or_gone_is_refused_at_once() {
    let two = Two::start(&["echo", "down", "gone"]).await;
    let mut client = answered(two.echo).await;
    // One direction ends, the other goes on.
    client.write_all(b"and more").await.unwrap();
    client.shutdown().await.unwrap();
    let mut heard = Vec::new();
    tokio::time::timeout(PATIENCE, client.read_to_end(&mut heard))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(heard, b"and more");
    for (address, reason) in [(two.down, "service_down"), (two.gone, "unknown_service")] {
        println!("{reason}: refused after {:?}", refused(address).await);
        let told = two.event(1, "Fail", reason).await;
        assert_eq!(
            told["unmapped"]["skans"]["resources"][0]["type"], "Service",
            "{told}"
        );
    }
    let status = two.cluster.agent(0).unwrap().status().await.unwrap();
    let shown = |name: &str| {
        status
            .services
            .iter()
            .find(|one| one.name == name)
            .unwrap()
            .clone()
    };
    assert_eq!((shown("echo").established, shown("echo").refused), (1, 0));
    assert_eq!(
        (shown("echo").sent_bytes, shown("echo").received_bytes),
        (13, 13)
    );
    assert_eq!((shown("down").established, shown("down").refused), (0, 1));
    let there = two.cluster.agent(1).unwrap();
    let metrics = skans_agent::admin::ask(&there.files().socket, "GET", "/metrics", "")
        .await
        .unwrap();
    for line in [
        "skans_service_connections{service=\"echo\",direction=\"inbound\",node=\"n2@n2.lab\",from=\"\"} 0",
        "skans_service_set_ups_total{service=\"echo\",direction=\"inbound\",result=\"ok\"} 1",
        "skans_service_set_ups_total{service=\"down\",direction=\"inbound\",result=\"service_down\"} 1",
        "skans_service_set_ups_total{service=\"unknown\",direction=\"inbound\",result=\"unknown_service\"} 1",
        "skans_service_bytes_total{service=\"echo\",direction=\"inbound\",way=\"sent\"} 13",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    two.cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_change_of_policy_or_configuration_cuts_what_it_no_longer_lets_be() {
    let mut two = Two::start(&["echo"]).await;
    let client = answered(two.echo).await;
    let begun = Instant::now();
    two.cluster.put_policy(&policy(&[])).await.unwrap();
    reset(client).await;
    println!(
        "cut {:?} after the change of the policy was begun",
        begun.elapsed()
    );
    assert!(begun.elapsed() < Duration::from_secs(2));
    refused(two.echo).await;

    two.cluster.put_policy(&policy(&["echo"])).await.unwrap();
    let client = answered(two.echo).await;
    // What is not offered any more is cut by who offered it.
    let none = json!({"services": {"offers": []}});
    two.cluster.reconfigure(1, &none).await.unwrap();
    reset(client).await;
    refused(two.echo).await;

    let target = echo().await;
    let again = json!({"services": {"offers": [{"name": "echo", "target": target}]}});
    two.cluster.reconfigure(1, &again).await.unwrap();
    let client = answered(two.echo).await;
    // And what is not used any more by who used it, with the door it had.
    let none = json!({"services": {"uses": []}});
    two.cluster.reconfigure(0, &none).await.unwrap();
    reset(client).await;
    until(
        PATIENCE,
        "the door to be shut",
        async || match TcpStream::connect(two.echo).await {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await
    .unwrap();
    // A Unix socket will do as well.
    let socket = two.cluster.directory().join("echo.sock");
    let unix = format!("unix:{}", socket.display());
    let used =
        json!({"services": {"uses": [{"name": "echo", "from": "n2@n2.lab", "listen": unix}]}});
    two.cluster.reconfigure(0, &used).await.unwrap();
    let mut client = tokio::net::UnixStream::connect(&socket).await.unwrap();
    client.write_all(b"hello").await.unwrap();
    client.shutdown().await.unwrap();
    let mut heard = Vec::new();
    tokio::time::timeout(PATIENCE, client.read_to_end(&mut heard))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(heard, b"hello");
    two.cluster.stop().await.unwrap();
}

#[tokio::test]
async fn another_user_of_the_host_does_not_use_a_service() {
    if !root::or_skip("to be another user") {
        return;
    }
    let mut two = Two::start(&["echo"]).await;
    let socket = two.cluster.directory().join("echo.sock");
    // Programs of other users look for the socket below.
    std::fs::set_permissions(
        two.cluster.directory(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let ask = format!(
        "exec 3<>/dev/tcp/{}/{}; printf hello >&3; head -c 5 <&3",
        two.echo.ip(),
        two.echo.port()
    );
    let heard = |script: String| async move {
        let run = root::as_nobody("bash").args(["-c", &script]).output();
        let output = tokio::time::timeout(PATIENCE, run).await.unwrap().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let mark = two.cluster.agent(0).unwrap().log_mark();
    assert_eq!(heard(ask.clone()).await, "");
    let agent = two.cluster.agent(0).unwrap();
    let line = agent
        .wait_log(mark, "the stranger", PATIENCE, |line| {
            line["reason"] == "local_stranger"
        })
        .await
        .unwrap();
    assert!(
        line["message"]
            .as_str()
            .unwrap()
            .contains(&format!("user {}", root::NOBODY)),
        "{line}"
    );
    drop(answered(two.echo).await);

    // Whom the configuration names may; by a Unix socket, that is the kernel's word as well.
    let unix = format!("unix:{}", socket.display());
    for (users, wanted) in [(json!(["0"]), ""), (json!(["nobody"]), "hello")] {
        let uses = json!([
            {"name": "echo", "from": "n2@n2.lab", "listen": two.echo, "users": users},
            {"name": "echo", "from": "n2@n2.lab", "listen": unix, "users": users},
        ]);
        two.cluster
            .reconfigure(0, &json!({"services": {"uses": uses}}))
            .await
            .unwrap();
        assert_eq!(heard(ask.clone()).await, wanted);
        let script = "use Socket; socket(S, PF_UNIX, SOCK_STREAM, 0); connect(S, sockaddr_un($ARGV[0])) or die $!; \
            syswrite(S, 'hello'); sysread(S, $heard, 5); print $heard";
        let run = root::as_nobody("perl")
            .args(["-e", script])
            .arg(&socket)
            .output();
        let output = tokio::time::timeout(PATIENCE, run).await.unwrap().unwrap();
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            wanted,
            "{output:?}"
        );
    }
    two.cluster.stop().await.unwrap();
}

/// Goes through a door again and again until it is told to stop: how often it was answered, how long that took at most, and how often it was
/// reset, since it was in the midst of it. Somebody listens at any moment.
async fn callers(address: SocketAddr, stop: CancellationToken) -> (u32, Duration, u32) {
    let (mut answered, mut slowest, mut reset) = (0, Duration::ZERO, 0);
    while !stop.is_cancelled() {
        let since = Instant::now();
        let mut heard = [0; 5];
        let call = async {
            let mut client = TcpStream::connect(address).await?;
            client.write_all(b"hello").await?;
            client.read_exact(&mut heard).await
        };
        match tokio::time::timeout(PATIENCE, call).await.unwrap() {
            Ok(_) => {
                assert_eq!(&heard, b"hello");
                answered += 1;
                slowest = slowest.max(since.elapsed());
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                reset += 1;
            }
        }
    }
    (answered, slowest, reset)
}

#[tokio::test]
async fn a_door_is_never_shut_while_its_agent_is_replaced_and_connections_through_it_are_reset() {
    let mut two = Two::start(&["echo"]).await;
    let unix = two.cluster.directory().join("echo.sock");
    let uses = json!([
        {"name": "echo", "from": "n2@n2.lab", "listen": two.echo},
        {"name": "echo", "from": "n2@n2.lab", "listen": format!("unix:{}", unix.display())},
    ]);
    two.cluster
        .reconfigure(0, &json!({"services": {"uses": uses}}))
        .await
        .unwrap();
    for turn in 0..3 {
        let before = answered(two.echo).await;
        let stop = CancellationToken::new();
        let calling = tokio::spawn(callers(two.echo, stop.clone()));
        two.cluster.replace_agent(0).await.unwrap();
        // Nothing that was cut short looks like an end.
        reset(before).await;
        drop(answered(two.echo).await);
        stop.cancel();
        let (calls, slowest, reset) = calling.await.unwrap();
        println!("turn {turn}: {calls} calls, the slowest {slowest:?}; {reset} reset");
        assert!(reset <= 1, "{reset}: only who was in the midst of it");
        // On the Unix socket somebody listens as well.
        let mut client = tokio::net::UnixStream::connect(&unix).await.unwrap();
        client.write_all(b"hello").await.unwrap();
        let mut heard = [0; 5];
        let read = tokio::time::timeout(PATIENCE, client.read_exact(&mut heard)).await;
        read.unwrap().unwrap();
    }
    // The agent of the service as well: who calls it next is served by the new one.
    let before = answered(two.echo).await;
    two.cluster.replace_agent(1).await.unwrap();
    reset(before).await;
    drop(answered(two.echo).await);
    two.cluster.stop().await.unwrap();
}

/// Members in the order of the canonical form, which is not that of the alphabet.
fn canonical(source: &Value) -> String {
    let keys = [
        "apiVersion",
        "name",
        "mode",
        "roles",
        "policies",
        "entities",
    ];
    let members = keys.map(|key| format!("\"{key}\":{}", source[key]));
    format!("{{{}}}", members.join(","))
}

#[tokio::test]
async fn who_is_revoked_loses_a_service_within_a_second() {
    let plane = Plane::start(&json!({})).await;
    let door = free();
    let offers = json!({"services": {"offers": [{"name": "echo", "target": echo().await}]}});
    let uses =
        json!({"services": {"uses": [{"name": "echo", "from": "n2@n2.lab", "listen": door}]}});
    let mut lab = plan();
    for (label, own) in [("n1", uses), ("n2", offers)] {
        lab = lab.host(plane.host_of(label, NodePlan::not_started, &own).await);
    }
    let cluster = lab.start().await.unwrap();
    // The default set knows of no service.
    refused(door).await;
    let text = "@id(\"echo\") permit(principal, action == Skans::Action::\"connect\", resource == Skans::Service::\"echo\");";
    let source = json!({
        "apiVersion": "skans.io/v1alpha1",
        "name": "echo",
        "mode": "enforce",
        "roles": [],
        "policies": [{"name": "echo.cedar", "text": text}],
        "entities": {},
    });
    let (owner, body) = (plane.owner(), json!({"source": canonical(&source)}));
    let made: Value = owner.send("POST", "/v1/policies", &body).await.unwrap();
    let path = format!("/v1/policies/{}/activate", made["n"]);
    let _: Value = owner.send("POST", &path, &json!({})).await.unwrap();
    until(PATIENCE, "the set to be in force", async || {
        let mut client = TcpStream::connect(door)
            .await
            .map_err(|error| error.to_string())?;
        client
            .write_all(b"hello")
            .await
            .map_err(|error| error.to_string())?;
        let mut heard = [0; 5];
        client
            .read_exact(&mut heard)
            .await
            .map(drop)
            .map_err(|error| error.to_string())
    })
    .await
    .unwrap();
    let client = answered(door).await;
    let second = plane.a_second().await;
    let begun = Instant::now();
    let cutting = tokio::spawn(reset(client));
    let spread = plane.deny("n1@n1.lab", 30).await;
    let acknowledged = begun.elapsed();
    cutting.await.unwrap();
    let cut = begun.elapsed();
    println!("acknowledged by all after {acknowledged:?}, cut after {cut:?} of {second:?}");
    assert!(cut < second, "{cut:?} of {second:?}: {spread}");
    refused(door).await;
    cluster.stop().await.unwrap();
}

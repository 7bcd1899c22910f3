//! A certificate of our own trust domain, fit for its use and valid now, opens a link. Nothing else
//! does, on either end, and the log of whoever refuses says why. On a host, a process opens nothing
//! without its node's own cookie and its node's own user.

use std::process::Stdio;

use skans_dist::handshake::{self, ChallengeReply};
use skans_identity::forge::{ExtendedKeyUsagePurpose, Forge, Forged, Spec, Speech};
use skans_lab::{Cluster, HostPlan, NodePlan};
use skans_promises::{PATIENCE, plan};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::hostile::{
    CLUSTER, DOMAIN, DistEnd, Got, Impostor, LinkEnd, RawNode, agents, bounded, foreign_root,
    hello, insider, logged, neighbour, old_send_name, ours, send_name, spec, spec_in, stand_in,
};
use crate::root;

const OUR_NODE: &str = "n1@n1.lab";
const THEIR_NODE: &str = "n2@n2.lab";

/// A stranger: what is wrong, what it shows, how it speaks.
struct Stranger {
    what: &'static str,
    shown: Option<Forged>,
    speech: Speech,
}

impl Stranger {
    fn new(what: &'static str, shown: Forged) -> Self {
        Self {
            what,
            shown: Some(shown),
            speech: ours(),
        }
    }
}

/// Everybody whose certificate, for the node `name`, is to be refused, with the reason that is to
/// be logged. All but the first two are signed by the cluster's own authority.
fn strangers(cluster: &Cluster, name: &str) -> Vec<(Stranger, &'static str)> {
    let insider = insider(cluster);
    let but = |change: &dyn Fn(&mut Spec)| {
        let mut spec = spec(name);
        change(&mut spec);
        insider.leaf(&spec).unwrap()
    };
    let now = spec(name).not_before + 60;
    let honest = insider.leaf(&spec(name)).unwrap();
    let below = Forge::with_key(crate::hostile::domain(), &honest.chain, &honest.key).unwrap();
    vec![
        (
            Stranger::new(
                "another trust domain",
                foreign_root("other.test")
                    .leaf(&spec_in("other.test", CLUSTER, name))
                    .unwrap(),
            ),
            "unknown_trust_domain",
        ),
        (
            Stranger::new(
                "our name, signed by a foreign authority",
                foreign_root(DOMAIN).leaf(&spec(name)).unwrap(),
            ),
            "untrusted",
        ),
        (
            Stranger::new(
                "our name, signed by another cluster under the same root",
                neighbour(cluster, "other").leaf(&spec(name)).unwrap(),
            ),
            "other_cluster",
        ),
        (
            Stranger::new("signed by a node", below.leaf(&spec(name)).unwrap()),
            "untrusted",
        ),
        (
            Stranger::new(
                "expired a minute ago",
                but(&|spec| (spec.not_before, spec.not_after) = (now - 3600, now - 60)),
            ),
            "expired",
        ),
        (
            Stranger::new(
                "valid from in an hour",
                but(&|spec| (spec.not_before, spec.not_after) = (now + 3600, now + 7200)),
            ),
            "not_yet_valid",
        ),
        (
            Stranger::new(
                "two URI names",
                but(&|spec| {
                    spec.uris.push(format!(
                        "spiffe://{DOMAIN}/cluster/{CLUSTER}/ns/default/sa/n9/node/n9"
                    ))
                }),
            ),
            "uri_names",
        ),
        (
            Stranger::new(
                "no URI name, the node in the common name",
                but(&|spec| {
                    spec.common_name = spec.uris.pop().unwrap_or_default();
                }),
            ),
            "uri_names",
        ),
        (
            Stranger::new("two hosts", but(&|spec| spec.dns.push("n9.lab".to_owned()))),
            "host_names",
        ),
        (
            Stranger::new(
                "meant for signing code",
                but(&|spec| spec.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning]),
            ),
            "extended_key_usage",
        ),
    ]
}

#[tokio::test]
async fn an_agent_that_is_dialled_takes_nobody_else() {
    let cluster = agents(1).await;
    let agent = cluster.agent(0).unwrap();
    let address = agent.link_address().unwrap();
    let node = RawNode::register(agent.epmd_port(), "n1").await;
    let honest = || insider(&cluster).leaf(&spec(THEIR_NODE)).unwrap();

    let mut all = strangers(&cluster, THEIR_NODE);
    let speaks = |alpn: &[&[u8]], versions| Speech {
        alpn: alpn.iter().map(|name| name.to_vec()).collect(),
        versions,
    };
    all.push((
        Stranger {
            what: "no certificate",
            shown: None,
            speech: ours(),
        },
        "no_certificate",
    ));
    all.push((
        Stranger {
            what: "TLS 1.2",
            shown: Some(honest()),
            speech: speaks(&[b"skans/1"], vec![&rustls::version::TLS12]),
        },
        "incompatible",
    ));
    for (what, alpn) in [
        ("another protocol", &[b"h2".as_slice()][..]),
        ("no protocol", &[]),
    ] {
        let speech = speaks(alpn, vec![&rustls::version::TLS13]);
        all.push((
            Stranger {
                what,
                shown: Some(honest()),
                speech,
            },
            "not_served",
        ));
    }

    for (stranger, reason) in all {
        let mark = agent.log_mark();
        if let Ok(mut link) =
            LinkEnd::dial(address, OUR_NODE, stranger.shown.as_ref(), &stranger.speech).await
        {
            let got = link.greet(THEIR_NODE, OUR_NODE).await;
            assert!(
                !matches!(got, Got::Frame(_)),
                "{}: found {got:?}, wanted no frame",
                stranger.what
            );
        }
        logged(agent, mark, "inbound", reason, stranger.what).await;
    }
    assert!(agent.links().await.unwrap().is_empty());
    node.assert_nobody_called();

    // The same call with a certificate that is in order.
    let mut link = LinkEnd::dial(address, OUR_NODE, Some(&honest()), &ours())
        .await
        .unwrap();
    link.welcome(THEIR_NODE, OUR_NODE).await;
}

#[tokio::test]
async fn an_agent_that_dials_talks_to_nobody_else() {
    let mut cluster = agents(2).await;
    let epmd = cluster.agent(0).unwrap().epmd_port();
    let _node = RawNode::register(epmd, "n1").await;
    let honest = insider(&cluster).leaf(&spec(THEIR_NODE)).unwrap();

    let mut all = strangers(&cluster, THEIR_NODE);
    // These are refused by the other side's TLS, before it gets a certificate of ours.
    let speaks = |alpn: &[&[u8]], versions| Speech {
        alpn: alpn.iter().map(|name| name.to_vec()).collect(),
        versions,
    };
    let honest = || insider_leaf(&honest);
    all.push((
        Stranger {
            what: "TLS 1.2",
            shown: Some(honest()),
            speech: speaks(&[b"skans/1"], vec![&rustls::version::TLS12]),
        },
        "refused_by_peer",
    ));
    all.push((
        Stranger {
            what: "no protocol",
            shown: Some(honest()),
            speech: speaks(&[], vec![&rustls::version::TLS13]),
        },
        "protocol",
    ));

    for (stranger, reason) in all {
        let impostor = Impostor::new(stranger.shown.as_ref().unwrap(), &stranger.speech).await;
        let (got, _) = called(&mut cluster, &impostor, reason, stranger.what).await;
        assert!(
            !matches!(got, Ok(Got::Frame(_))),
            "{}: found {got:?}, wanted no frame",
            stranger.what
        );
    }

    // The same call to somebody whose certificate is in order.
    let impostor = Impostor::new(&honest(), &ours()).await;
    cluster
        .detour(0, THEIR_NODE, Some(impostor.address()))
        .await
        .unwrap();
    let mut caller = DistEnd::dial_stand_in(epmd, THEIR_NODE).await;
    caller.send(&send_name(OUR_NODE).encode()).await;
    let got = impostor.accept().await.unwrap().recv().await;
    assert!(
        matches!(&got, Got::Frame(skans_link::Frame::Hello(hello)) if hello.from == OUR_NODE && hello.to == THEIR_NODE),
        "found {got:?}, wanted HELLO"
    );
}

fn insider_leaf(forged: &Forged) -> Forged {
    Forged {
        chain: forged.chain.clone(),
        key: forged.key.clone_key(),
    }
}

/// Lets the first agent call an impostor in the place of the second: what the impostor gets, and
/// what the agent logs.
async fn called(
    cluster: &mut Cluster,
    impostor: &Impostor,
    reason: &str,
    what: &str,
) -> (std::io::Result<Got>, String) {
    cluster
        .detour(0, THEIR_NODE, Some(impostor.address()))
        .await
        .unwrap();
    let agent = cluster.agent(0).unwrap();
    let mark = agent.log_mark();
    let mut caller = DistEnd::dial_stand_in(agent.epmd_port(), THEIR_NODE).await;
    caller.send(&send_name(OUR_NODE).encode()).await;
    let got = match impostor.accept().await {
        Ok(mut link) => Ok(link.recv().await),
        Err(error) => Err(error),
    };
    caller.hung_up().await;
    (got, logged(agent, mark, "outbound", reason, what).await)
}

#[tokio::test]
async fn what_is_not_tls_gets_no_word_of_ours() {
    let mut cluster = agents(2).await;
    let agent = cluster.agent(0).unwrap();
    let address = agent.link_address().unwrap();
    let node = RawNode::register(agent.epmd_port(), "n1").await;
    let hellos: [(&str, Vec<u8>); 4] = [
        (
            "distribution of OTP 23 and later",
            handshake::frame_u16(&send_name(THEIR_NODE).encode()),
        ),
        (
            "distribution of OTP 22 and before",
            old_send_name(THEIR_NODE),
        ),
        (
            "our own HELLO without TLS",
            hello(THEIR_NODE, OUR_NODE).encode(),
        ),
        ("HTTP", b"GET / HTTP/1.1\r\nhost: n1.lab\r\n\r\n".to_vec()),
    ];
    for (what, bytes) in &hellos {
        let mark = agent.log_mark();
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(bytes).await.unwrap();
        // A message that is not complete may wait for its rest.
        socket.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = bounded(what, socket.read_to_end(&mut answer)).await;
        // Nothing, or an alert of TLS: content type 21, seven bytes in all.
        assert!(
            answer.is_empty() || (answer.len() == 7 && answer[0] == 21),
            "{what}: {answer:?}"
        );
        let text = logged(agent, mark, "inbound", "not_tls", what).await;
        assert!(text.contains("does not speak TLS"), "{what}: {text}");
    }
    node.assert_nobody_called();

    // The other way round: a plain node answers where an agent should be.
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    cluster
        .detour(0, THEIR_NODE, Some(plain.local_addr().unwrap()))
        .await
        .unwrap();
    let agent = cluster.agent(0).unwrap();
    let mark = agent.log_mark();
    let mut caller = DistEnd::dial_stand_in(agent.epmd_port(), THEIR_NODE).await;
    caller.send(&send_name(OUR_NODE).encode()).await;
    let (mut socket, _) = bounded("a call", plain.accept()).await.unwrap();
    socket.write_all(b"\0\x03sok").await.unwrap();
    caller.hung_up().await;
    let text = logged(agent, mark, "outbound", "not_tls", "a plain node").await;
    assert!(text.contains("does not speak TLS"), "{text}");
    // What the agent said first is a TLS record, and no node name stands in it.
    let mut said = Vec::new();
    let _ = bounded("the end", socket.read_to_end(&mut said)).await;
    assert_eq!(said.first(), Some(&22), "{said:?}");
    assert!(
        ![b"n1@n1", b"n1.la", b"n2@n2", b"n2.la"]
            .iter()
            .any(|name| said.windows(name.len()).any(|part| part == *name)),
        "a name went out in clear"
    );
}

/// Remembers whatever `net_kernel` tells of nodes that come, hidden ones too.
const WATCH: &str = "register(watch, spawn(fun() -> net_kernel:monitor_nodes(true, [{node_type, all}]), \
    (fun Loop(Seen) -> receive {get, From} -> From ! {seen, Seen}, Loop(Seen); Event -> Loop([Event | Seen]) end end)([]) \
    end)), true";
const SEEN: &str = "watch ! {get, self()}, receive {seen, Seen} -> Seen end";

#[tokio::test]
async fn a_node_with_another_cookie_reaches_nobody_and_is_reached_by_nobody() {
    let cookies = tempfile::tempdir().unwrap();
    let file = cookies.path().join("n1.cookie");
    std::fs::write(&file, "NOT_THE_ONE_THAT_THE_AGENT_WROTE").unwrap();
    let mut mode = std::fs::metadata(&file).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0o400);
    std::fs::set_permissions(&file, mode).unwrap();

    let own_cookie = NodePlan::new(OUR_NODE)
        .not_started()
        .env("SKANS_COOKIES", cookies.path().display().to_string());
    let mut cluster = plan()
        .host(HostPlan::new("n1").node(own_cookie))
        .host(HostPlan::numbered(2))
        .start()
        .await
        .unwrap();
    cluster.start_node(0).await.unwrap();
    let (one, two) = (cluster.node(0).unwrap(), cluster.node(1).unwrap());
    assert_eq!(
        one.eval("erlang:get_cookie()", PATIENCE).await.unwrap(),
        "'NOT_THE_ONE_THAT_THE_AGENT_WROTE'"
    );
    assert_eq!(two.eval(WATCH, PATIENCE).await.unwrap(), "true");

    let agent = cluster.agent(0).unwrap();
    let mark = agent.log_mark();
    assert_eq!(
        one.eval("net_adm:ping('n2@n2.lab')", PATIENCE)
            .await
            .unwrap(),
        "pang"
    );
    let text = logged(
        agent,
        mark,
        "outbound",
        "cookie",
        "a node with another cookie",
    )
    .await;
    assert!(
        text.contains("n1@n1.lab and its agent hold different cookies"),
        "{text}"
    );
    assert!(text.contains("n1.cookie"), "{text}");

    let mark = agent.log_mark();
    assert_eq!(
        two.eval("net_adm:ping('n1@n1.lab')", PATIENCE)
            .await
            .unwrap(),
        "pang"
    );
    logged(
        agent,
        mark,
        "inbound",
        "cookie",
        "a node with another cookie, called",
    )
    .await;

    for node in [one, two] {
        assert_eq!(
            node.eval("nodes(connected)", PATIENCE).await.unwrap(),
            "[]",
            "{}",
            node.label()
        );
    }
    assert_eq!(two.eval(SEEN, PATIENCE).await.unwrap(), "[]");
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn neither_a_wrong_nor_a_stolen_cookie_completes_a_call() {
    let cluster = agents(2).await;
    let (agent, other) = (cluster.agent(0).unwrap(), cluster.agent(1).unwrap());
    let _caller = RawNode::register(agent.epmd_port(), "n1").await;
    let called = RawNode::register(other.epmd_port(), "n2").await;
    let own = std::fs::read(cluster.cookie_file(0).unwrap()).unwrap();
    // Whoever stole the cookie of the called node, and is on the host of the calling one.
    let stolen = std::fs::read(cluster.cookie_file(1).unwrap()).unwrap();
    assert_ne!(own, stolen);

    for cookie in [b"guess".as_slice(), b"", &stolen] {
        let mark = agent.log_mark();
        let mut caller = DistEnd::dial_stand_in(agent.epmd_port(), THEIR_NODE).await;
        let call = async {
            let mut callee = called.call().await;
            let hello = callee.challenge(THEIR_NODE).await;
            assert_eq!(hello.name, OUR_NODE);
            // No challenge_reply: for the node that is called, the handshake was never completed.
            callee.hung_up().await;
        };
        let attempt = async {
            let challenge = caller.challenged(OUR_NODE).await;
            let digest = handshake::digest(cookie, challenge.challenge);
            caller
                .send(
                    &ChallengeReply {
                        challenge: 1,
                        digest,
                    }
                    .encode(),
                )
                .await;
            caller.hung_up().await;
        };
        tokio::join!(call, attempt);
        logged(agent, mark, "outbound", "cookie", "a wrong digest").await;
        let text = logged(
            other,
            0,
            "inbound",
            "node_handshake",
            "a wrong digest over there",
        )
        .await;
        assert!(
            !text.contains(".cookie"),
            "a path of the other host: {text}"
        );
    }

    // The same call with the cookie of the calling node, which the agent translates.
    let mut caller = DistEnd::dial_stand_in(agent.epmd_port(), THEIR_NODE).await;
    let call = async {
        let mut callee = called.call().await;
        callee.challenge(THEIR_NODE).await;
        let reply = ChallengeReply::decode(&callee.recv().await.expect("challenge_reply")).unwrap();
        assert!(
            handshake::digest_matches(&stolen, 4711, &reply.digest),
            "not answered with its own cookie"
        );
        assert!(!handshake::digest_matches(&own, 4711, &reply.digest));
    };
    let attempt = async {
        let challenge = caller.challenged(OUR_NODE).await;
        let digest = handshake::digest(&own, challenge.challenge);
        caller
            .send(
                &ChallengeReply {
                    challenge: 1,
                    digest,
                }
                .encode(),
            )
            .await;
    };
    tokio::join!(call, attempt);
}

#[tokio::test]
async fn a_process_of_another_user_opens_nothing() {
    if !root::or_skip("a process of another user opens nothing") {
        return;
    }
    let cluster = agents(2).await;
    let (agent, other) = (cluster.agent(0).unwrap(), cluster.agent(1).unwrap());
    let _caller = RawNode::register(agent.epmd_port(), "n1").await;
    let called = RawNode::register(other.epmd_port(), "n2").await;

    // It knows everything: the port, the protocol, the name.
    let port = stand_in(agent.epmd_port(), THEIR_NODE).await.unwrap();
    let mark = agent.log_mark();
    let answer = say_as_nobody(port, &handshake::frame_u16(&send_name(OUR_NODE).encode())).await;
    assert_eq!(answer, b"", "wanted no answer");
    let text = logged(
        agent,
        mark,
        "outbound",
        "local_stranger",
        "a process of nobody",
    )
    .await;
    assert!(text.contains("user 65534 claims n1"), "{text}");

    // Nor can it take the name while the node is away.
    drop(_caller);
    let mark = agent.log_mark();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let alive = skans_dist::epmd::Request::Alive2(skans_dist::epmd::Registration {
        port: listener.local_addr().unwrap().port(),
        node_type: skans_dist::epmd::NODE_NORMAL,
        protocol: skans_dist::epmd::PROTOCOL_TCP,
        highest: 6,
        lowest: 5,
        name: "n1".to_owned(),
        extra: Vec::new(),
    });
    let answer = say_as_nobody(agent.epmd_port(), &handshake::frame_u16(&alive.encode())).await;
    assert_eq!(answer, [b'v', 1, 0, 0, 0, 0], "wanted ALIVE2 refused");
    agent
        .wait_log(mark, "a refused registration", PATIENCE, |line| {
            line["message"].as_str().is_some_and(|text| {
                text.starts_with("registration refused") && text.contains("user 65534 claims n1")
            })
        })
        .await
        .unwrap();
    called.assert_nobody_called();

    // And it can read no cookie.
    let cookie = cluster.cookie_file(0).unwrap();
    let cat = root::as_nobody("cat")
        .arg(&cookie)
        .stderr(Stdio::null())
        .output();
    let cat = bounded("cat", cat).await.unwrap();
    assert!(
        !cat.status.success() && cat.stdout.is_empty(),
        "nobody could read {}",
        cookie.display()
    );
}

/// What comes back when a process of the user `nobody` says this to a port of 127.0.0.1.
async fn say_as_nobody(port: u16, bytes: &[u8]) -> Vec<u8> {
    let escaped: String = bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect();
    let script = r#"exec 3<>"/dev/tcp/127.0.0.1/$1"; printf "$2" >&3; cat <&3"#;
    let mut command = root::as_nobody("bash");
    command.args(["-c", script, "bash", &port.to_string(), &escaped]);
    let output = bounded("a process of nobody", command.output())
        .await
        .unwrap();
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

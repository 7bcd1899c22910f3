//! A node is who its certificate says. Whoever claims another name is refused, whether it calls or is
//! called, in whichever message it lies, and whatever else about it is in order: every certificate
//! here is signed by the cluster's own authority, or by that of a cluster under the same root.

use skans_dist::handshake::{Challenge, SendName, Status};
use skans_dist::{Flags, NodeName};
use skans_identity::forge::{Forged, Spec};
use skans_lab::{Cluster, HostPlan, NodePlan};
use skans_link::{Frame, Reason};
use skans_promises::{PATIENCE, plan};

use crate::hostile::{
    DOMAIN, DistEnd, Got, Impostor, LinkEnd, RawNode, agents, hello, insider, logged, neighbour,
    ours, send_name, spec, spec_in,
};

const ONE: &str = "n1@n1.lab";
const TWO: &str = "n2@n2.lab";
const THREE: &str = "n3@n3.lab";

fn sign(cluster: &Cluster, spec: &Spec) -> Forged {
    let authority = if spec.uris[0].contains("/cluster/other/") {
        neighbour(cluster, "other")
    } else {
        insider(cluster)
    };
    authority.leaf(spec).unwrap()
}

/// The certificate of the short-lived nodes of a host.
fn cli(host: &str) -> Spec {
    spec(&format!("cli@{host}"))
}

/// A certificate of a part of Skans that is no node.
fn no_node() -> Spec {
    let mut spec = spec(TWO);
    spec.uris = vec![format!("spiffe://{DOMAIN}/skans/agent/n2")];
    spec
}

#[tokio::test]
async fn a_caller_that_claims_another_name_is_refused() {
    let cluster = agents(1).await;
    let agent = cluster.agent(0).unwrap();
    let address = agent.link_address().unwrap();
    let node = RawNode::register(agent.epmd_port(), "n1").await;

    // What the certificate says, what the caller says.
    let other_host = "n2@n1.lab";
    let lies = [
        (spec(TWO), THREE, "the name of another node"),
        (spec(TWO), ONE, "the name of the node that is called"),
        (spec(TWO), other_host, "its own name at another host"),
        (
            spec(TWO),
            "rem-4711-n2@n2.lab",
            "a short-lived name with the certificate of a node",
        ),
        (
            spec(TWO),
            "@n2.lab",
            "to be given a name with the certificate of a node",
        ),
        (
            cli("n2.lab"),
            TWO,
            "the name of a node with the certificate of a tool",
        ),
        (
            cli("n2.lab"),
            "rem-4711-n3@n3.lab",
            "a short-lived name of another host",
        ),
        (
            cli("n2.lab"),
            "@n3.lab",
            "to be given a name at another host",
        ),
        (
            spec_in(DOMAIN, "other", TWO),
            TWO,
            "its own name, in another cluster",
        ),
        (
            no_node(),
            TWO,
            "the name of a node with the certificate of something else",
        ),
    ];
    for (spec, claimed, what) in lies {
        let mark = agent.log_mark();
        let shown = sign(&cluster, &spec);
        let mut link = LinkEnd::dial(address, ONE, Some(&shown), &ours())
            .await
            .unwrap();
        link.send(&hello(claimed, ONE).encode()).await;
        let close = link.closed().await;
        assert_eq!(close.reason, Reason::WrongName, "{what}: {}", close.text);
        // Both ends get to know who it is, and who it would be.
        let text = logged(agent, mark, "inbound", "wrong_name", what).await;
        for text in [&close.text, &text] {
            assert!(text.contains(&spec.uris[0]), "{what}: {text}");
        }
    }
    node.assert_nobody_called();
    assert!(agent.links().await.unwrap().is_empty());

    // The truth is welcome.
    for (spec, claimed) in [
        (spec(TWO), TWO),
        (cli("n2.lab"), "rem-4711-n2@n2.lab"),
        (cli("n2.lab"), "@n2.lab"),
    ] {
        let shown = sign(&cluster, &spec);
        let mut link = LinkEnd::dial(address, ONE, Some(&shown), &ours())
            .await
            .unwrap();
        link.welcome(claimed, ONE).await;
    }
}

#[tokio::test]
async fn a_caller_that_changes_its_name_in_the_handshake_is_refused() {
    let cluster = agents(1).await;
    let agent = cluster.agent(0).unwrap();
    let node = RawNode::register(agent.epmd_port(), "n1").await;
    let unnamed = SendName {
        flags: Flags::KNOWN,
        creation: 0,
        name: "n2.lab".to_owned(),
    };
    for (spec, greeted, claimed) in [
        (spec(TWO), TWO, send_name(THREE)),
        (spec(TWO), TWO, unnamed),
        (cli("n2.lab"), "rem-1-n2@n2.lab", send_name(TWO)),
        (cli("n2.lab"), "@n2.lab", send_name(TWO)),
    ] {
        let mark = agent.log_mark();
        let shown = sign(&cluster, &spec);
        let address = agent.link_address().unwrap();
        let mut link = LinkEnd::dial(address, ONE, Some(&shown), &ours())
            .await
            .unwrap();
        link.welcome(greeted, ONE).await;
        link.send(&skans_link::handshake(&claimed.encode())).await;
        let close = link.closed().await;
        assert_eq!(close.reason, Reason::WrongName, "{}", close.text);
        let text = logged(agent, mark, "inbound", "wrong_name", &claimed.name).await;
        assert!(text.contains(&claimed.name), "{text}");
    }
    node.assert_nobody_called();
}

#[tokio::test]
async fn asking_for_one_node_and_calling_another_is_refused() {
    let host = HostPlan::new("n1")
        .node(NodePlan::new(ONE).not_started())
        .node(NodePlan::new("other@n1.lab").not_started());
    let cluster = plan().host(host).start().await.unwrap();
    let agent = cluster.agent(0).unwrap();
    let nodes = [
        RawNode::register(agent.epmd_port(), "n1").await,
        RawNode::register(agent.epmd_port(), "other").await,
    ];
    let shown = sign(&cluster, &spec(TWO));
    let mark = agent.log_mark();
    let mut link = LinkEnd::dial(agent.link_address().unwrap(), ONE, Some(&shown), &ours())
        .await
        .unwrap();
    link.send(&hello(TWO, "other@n1.lab").encode()).await;
    let close = link.closed().await;
    assert_eq!(close.reason, Reason::WrongName, "{}", close.text);
    let text = logged(agent, mark, "inbound", "wrong_name", "another certificate").await;
    assert!(text.contains("other@n1.lab"), "{text}");
    for node in &nodes {
        node.assert_nobody_called();
    }
}

/// The first agent, with a real node, and a second that is known and not there.
async fn caller() -> Cluster {
    plan()
        .host(HostPlan::numbered(1))
        .host(HostPlan::new("n2").node(NodePlan::new(TWO).not_started()))
        .host(HostPlan::new("n3").node(NodePlan::new(THREE).not_started()))
        .start()
        .await
        .unwrap()
}

#[tokio::test]
async fn whoever_answers_with_another_certificate_is_refused() {
    let mut cluster = caller().await;
    let answers = [
        (spec(THREE), "another node"),
        (spec("n2@n3.lab"), "a node of that name at another host"),
        (cli("n2.lab"), "a tool of its host"),
        (
            spec_in(DOMAIN, "other", TWO),
            "a node of that name in another cluster",
        ),
        (no_node(), "something that is no node"),
    ];
    for (spec, what) in answers {
        let impostor = Impostor::new(&sign(&cluster, &spec), &ours()).await;
        cluster
            .detour(0, TWO, Some(impostor.address()))
            .await
            .unwrap();
        let agent = cluster.agent(0).unwrap();
        let mark = agent.log_mark();
        let node = cluster.node(0).unwrap();
        let call = async {
            assert_eq!(
                node.eval("net_adm:ping('n2@n2.lab')", PATIENCE)
                    .await
                    .unwrap(),
                "pang"
            )
        };
        let answer = async {
            let mut link = impostor.accept().await.unwrap();
            // No HELLO: it does not even get to know who calls.
            let close = link.closed().await;
            assert_eq!(close.reason, Reason::WrongName, "{what}: {}", close.text);
            assert!(close.text.contains(&spec.uris[0]), "{what}: {}", close.text);
        };
        tokio::join!(call, answer);
        let text = logged(agent, mark, "outbound", "wrong_name", what).await;
        assert!(text.contains(&spec.uris[0]), "{what}: {text}");
    }
    let node = cluster.node(0).unwrap();
    assert_eq!(node.eval("nodes(connected)", PATIENCE).await.unwrap(), "[]");
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn whoever_answers_in_another_name_is_refused() {
    let mut cluster = caller().await;
    let impostor = Impostor::new(&sign(&cluster, &spec(TWO)), &ours()).await;
    cluster
        .detour(0, TWO, Some(impostor.address()))
        .await
        .unwrap();
    let agent = cluster.agent(0).unwrap();
    let mark = agent.log_mark();
    let node = cluster.node(0).unwrap();
    let call = async {
        assert_eq!(
            node.eval("net_adm:ping('n2@n2.lab')", PATIENCE)
                .await
                .unwrap(),
            "pang"
        )
    };
    let answer = async {
        let mut link = greeted(&impostor).await;
        let claimed = SendName::decode(&link.handshake().await).unwrap();
        assert_eq!(claimed.name, ONE);
        link.send(&skans_link::handshake(&Status::Ok.encode()))
            .await;
        let challenge = Challenge {
            flags: Flags::KNOWN.without(Flags::NAME_ME),
            challenge: 1,
            creation: 99_999,
            name: THREE.parse().unwrap(),
        };
        link.send(&skans_link::handshake(&challenge.encode())).await;
        let close = link.closed().await;
        assert_eq!(close.reason, Reason::WrongName, "{}", close.text);
    };
    tokio::join!(call, answer);
    let text = logged(agent, mark, "outbound", "wrong_name", "another name").await;
    assert!(text.contains(TWO) && text.contains(THREE), "{text}");
    assert_eq!(node.eval("nodes(connected)", PATIENCE).await.unwrap(), "[]");
    cluster.stop().await.unwrap();
}

/// Takes a call as far as the first message of the nodes' handshake.
async fn greeted(impostor: &Impostor) -> LinkEnd {
    let mut link = impostor.accept().await.unwrap();
    let hello = match link.recv().await {
        Got::Frame(Frame::Hello(hello)) => hello,
        other => panic!("found {other:?}, wanted HELLO"),
    };
    let welcome = skans_link::Welcome {
        version: hello.version_max,
        session: hello.session,
        offset: 0,
        tick_seconds: 60,
        clique: None,
    };
    link.send(&welcome.encode()).await;
    link
}

#[tokio::test]
async fn a_tool_takes_no_name_of_a_node_from_whom_it_calls() {
    let mut cluster = agents(2).await;
    let impostor = Impostor::new(&sign(&cluster, &spec(TWO)), &ours()).await;
    cluster
        .detour(0, TWO, Some(impostor.address()))
        .await
        .unwrap();
    let agent = cluster.agent(0).unwrap();
    // The name of a node of the tool's own host, and a short-lived one of another.
    for given in [ONE, "ABCDEFGHIJKL@n2.lab"] {
        let mark = agent.log_mark();
        let mut tool = DistEnd::dial_stand_in(agent.epmd_port(), TWO).await;
        let unnamed = SendName {
            flags: Flags::KNOWN,
            creation: 0,
            name: "n1.lab".to_owned(),
        };
        tool.send(&unnamed.encode()).await;
        let answer = async {
            let mut link = greeted(&impostor).await;
            link.handshake().await;
            let name: NodeName = given.parse().unwrap();
            link.send(&skans_link::handshake(
                &Status::Named { name, creation: 1 }.encode(),
            ))
            .await;
            let close = link.closed().await;
            assert_eq!(close.reason, Reason::WrongName, "{}", close.text);
        };
        let told = async {
            assert_eq!(
                tool.recv().await.as_deref(),
                Some(b"snot_allowed".as_slice())
            )
        };
        tokio::join!(answer, told);
        let text = logged(
            agent,
            mark,
            "outbound",
            "wrong_name",
            "a name that was given",
        )
        .await;
        assert!(text.contains(given), "{text}");
    }
}

#[tokio::test]
async fn an_agent_at_the_address_of_another_says_that_it_is_not_the_one() {
    let mut cluster = caller().await;
    // A mistake in a configuration: the address of the third host stands beside the second's name.
    let third = cluster.agent(2).unwrap().link_address().unwrap();
    cluster.detour(0, TWO, Some(third)).await.unwrap();
    let (agent, other) = (cluster.agent(0).unwrap(), cluster.agent(2).unwrap());
    let (mark, other_mark) = (agent.log_mark(), other.log_mark());
    let ping = cluster
        .node(0)
        .unwrap()
        .eval("net_adm:ping('n2@n2.lab')", PATIENCE);
    assert_eq!(ping.await.unwrap(), "pang");
    let text = logged(
        agent,
        mark,
        "outbound",
        "refused_by_peer",
        "an agent that is another",
    )
    .await;
    assert!(text.contains("its log says why"), "{text}");
    let text = logged(
        other,
        other_mark,
        "inbound",
        "not_served",
        "a call for another agent",
    )
    .await;
    assert!(
        text.contains("asked for a node that is not served here"),
        "{text}"
    );
    cluster.stop().await.unwrap();
}

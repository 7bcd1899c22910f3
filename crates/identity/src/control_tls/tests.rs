use rustls::Connection;

use super::*;
use crate::authority::{Authority, Lifetimes};
use crate::forge::{self, Forge, Spec, Speech};
use crate::id::SpiffeId;
use crate::testing::{HOUR, NODE_A, NOW, authority, credential, host, lab, later, verifier};
use crate::tls::tests::Pair;

struct World {
    authority: Authority,
    root: CertificateDer<'static>,
    served: Served,
    verifier: Arc<Verifier>,
    server: Arc<ServerConfig>,
}

fn control(authority: &Authority, id: &str) -> Credential {
    let id = SpiffeId::control(authority.trust_domain(), id).unwrap();
    authority.issue(&id, &host(), HOUR, NOW).unwrap()
}

fn world() -> World {
    let authority = authority();
    let bundle = authority.bundle().unwrap();
    let root = bundle.roots().next().unwrap().clone();
    let served = Served::new(&control(&authority, "c1"), &root).unwrap();
    let verifier = verifier([bundle]);
    World {
        server: server_config(served.clone(), Arc::clone(&verifier)).unwrap(),
        authority,
        root,
        served,
        verifier,
    }
}

impl World {
    fn control_plane(&self) -> Arc<ControlPlane> {
        let audience = Audience {
            trust_domain: lab(),
            cluster: "main".into(),
        };
        ControlPlane::new(Arc::clone(&self.verifier), audience)
    }

    fn client(&self, credential: Option<&Credential>, protocol: &[u8]) -> Arc<ClientConfig> {
        client_config(self.control_plane(), credential, protocol).unwrap()
    }

    fn agent(&self) -> Credential {
        let id = SpiffeId::agent(&lab(), "host-a").unwrap();
        self.authority.issue(&id, &host(), HOUR, NOW).unwrap()
    }
}

fn meet(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> Pair {
    let mut pair = Pair::of(client, server, "b@host-a", NOW);
    let outcome = pair.run();
    assert_eq!((outcome.client, outcome.server), (Ok(()), Ok(())));
    pair
}

#[test]
fn a_caller_is_known_by_its_certificate_or_is_a_stranger() {
    let world = world();
    let agent = world.agent();
    for protocol in [HTTP2, HTTP11] {
        let pair = meet(&world.client(Some(&agent), protocol), &world.server);
        let found = caller(&pair.server, &world.verifier, NOW).unwrap().unwrap();
        assert_eq!(found.peer, *agent.identity());
        assert_eq!(pair.server.alpn_protocol(), Some(protocol));
        let pair = meet(&world.client(None, protocol), &world.server);
        assert_eq!(caller(&pair.server, &world.verifier, NOW), Ok(None));
    }
    // A person, whose certificate is for calling only.
    let id = SpiffeId::user(&lab(), "ann").unwrap();
    let ann = world
        .authority
        .issuer()
        .issue(&id, None, HOUR, NOW)
        .unwrap();
    let pair = meet(&world.client(Some(&ann), HTTP11), &world.server);
    let found = caller(&pair.server, &world.verifier, NOW).unwrap().unwrap();
    assert_eq!(found.peer.id, id);
}

#[test]
fn a_bad_certificate_is_not_a_stranger() {
    let world = world();
    let speech = Speech {
        alpn: vec![HTTP2.to_vec()],
        ..Speech::default()
    };
    let dial = |forged: &forge::Forged| {
        let client = forge::client_config(Some(forged), &speech).unwrap();
        Pair::of(&client, &world.server, "b@host-a", NOW)
            .run()
            .server
    };
    let good = Spec::good(NODE_A, "host-a", NOW);
    let own = Forge::stolen(&world.authority).unwrap();
    assert_eq!(
        dial(&own.leaf(&good).unwrap()),
        Ok(()),
        "the control: without a fault it is taken"
    );
    let stranger = Forge::new(&lab(), NOW).unwrap();
    let error = dial(&stranger.leaf(&good).unwrap()).unwrap_err();
    assert_eq!(Refusal::of(&error).unwrap().label(), "untrusted");
    let mut old = good;
    old.not_after = NOW.as_secs() - 1;
    let error = dial(&own.leaf(&old).unwrap()).unwrap_err();
    assert_eq!(Refusal::of(&error).unwrap().label(), "expired");
}

#[test]
fn a_caller_is_judged_under_the_trust_of_the_moment() {
    let world = world();
    let agent = world.agent();
    let pair = meet(&world.client(Some(&agent), HTTP2), &world.server);
    assert!(caller(&pair.server, &world.verifier, NOW).is_ok());
    assert_eq!(
        caller(&pair.server, &world.verifier, later(3601))
            .unwrap_err()
            .label(),
        "expired"
    );
    let id = agent.identity().id.clone();
    world
        .verifier
        .trust()
        .update(|trust| _ = trust.deny.ids.insert(id.clone()));
    assert_eq!(
        caller(&pair.server, &world.verifier, NOW)
            .unwrap_err()
            .label(),
        "denied"
    );
}

#[test]
fn nobody_else_answers_for_the_control_plane() {
    let world = world();
    let speech = Speech {
        alpn: vec![HTTP2.to_vec()],
        ..Speech::default()
    };
    let client = world.client(Some(&world.agent()), HTTP2);
    let forge = Forge::stolen(&world.authority).unwrap();
    let dial = |id: &str| {
        let forged = forge.leaf(&Spec::good(id, "host-a", NOW)).unwrap();
        let server = forge::server_config(&forged, &speech).unwrap();
        let error = Pair::of(&client, &server, "b@host-a", NOW).run().client;
        error.map_err(|error| Refusal::of(&error).unwrap().label())
    };
    assert_eq!(dial("spiffe://lab.test/skans/control/c1"), Ok(()));
    for id in [
        NODE_A,
        "spiffe://lab.test/skans/agent/a",
        "spiffe://lab.test/skans/gateway/a",
    ] {
        assert_eq!(dial(id), Err("not_control"), "{id}");
    }
    // The control plane of another cluster or trust domain, though its own chain is trusted.
    let other = Authority::generate(&lab(), "other", NOW, Lifetimes::default()).unwrap();
    let foreign = Authority::generate(
        &"other.test".parse().unwrap(),
        "main",
        NOW,
        Lifetimes::default(),
    )
    .unwrap();
    for (authority, label) in [(other, "other_cluster"), (foreign, "not_control")] {
        let bundle = authority.bundle().unwrap();
        let root = bundle.roots().next().unwrap().clone();
        world
            .verifier
            .trust()
            .update(|trust| trust.bundles.insert(bundle.clone()).unwrap());
        let chain = control(&authority, "c1").chain().to_vec();
        let refusal = world.control_plane().judge(&chain, NOW).unwrap_err();
        assert_eq!(refusal.label(), label);
        let served = Served::new(&control(&authority, "c1"), &root).unwrap();
        let server = server_config(served, Arc::clone(&world.verifier)).unwrap();
        let error = Pair::of(&client, &server, "b@host-a", NOW)
            .run()
            .client
            .unwrap_err();
        assert_eq!(Refusal::of(&error).unwrap().label(), label);
    }
}

#[test]
fn what_is_shown_ends_in_the_root_and_is_replaced_at_once() {
    let world = world();
    let client = world.client(None, HTTP2);
    let chain = |pair: &Pair| pair.client.peer_certificates().unwrap().to_vec();
    let before = chain(&meet(&client, &world.server));
    assert_eq!(before.len(), 3);
    assert_eq!(before.last(), Some(&world.root));
    let renewed = control(&world.authority, "c1");
    world.served.replace(&renewed, &world.root).unwrap();
    let after = chain(&meet(&client, &world.server));
    assert_eq!(after[..2], *renewed.chain());
    assert_ne!(before[0], after[0]);
    let node = credential(&world.authority, "a");
    assert!(world.served.replace(&node, &world.root).is_err());
}

#[test]
fn nothing_is_resumed_and_tls_1_2_is_refused() {
    let world = world();
    let forged = Forge::stolen(&world.authority)
        .unwrap()
        .leaf(&Spec::good(NODE_A, "host-a", NOW))
        .unwrap();
    let speech = Speech {
        alpn: vec![HTTP2.to_vec()],
        ..Speech::default()
    };
    let eager = forge::client_config(Some(&forged), &speech).unwrap();
    for _ in 0..2 {
        let pair = meet(&eager, &world.server);
        assert_eq!(pair.client.handshake_kind(), Some(HandshakeKind::Full));
        let Connection::Client(client) = &pair.client else {
            unreachable!()
        };
        assert_eq!(client.tls13_tickets_received(), 0);
    }
    assert!(!world.server.session_storage.can_cache() && !world.server.ticketer.enabled());
    assert_eq!(
        (
            world.server.send_tls13_tickets,
            world.server.max_early_data_size
        ),
        (0, 0)
    );
    let old = Speech {
        versions: vec![&rustls::version::TLS12],
        ..speech
    };
    let client = forge::client_config(Some(&forged), &old).unwrap();
    assert!(
        Pair::of(&client, &world.server, "b@host-a", NOW)
            .run()
            .server
            .is_err()
    );
    // And who asks about a connection that is not yet one is told so.
    let pair = Pair::of(&eager, &world.server, "b@host-a", NOW);
    assert_eq!(
        caller(&pair.server, &world.verifier, NOW)
            .unwrap_err()
            .label(),
        "tls_version"
    );
}

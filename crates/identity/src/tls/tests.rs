use std::io::{Cursor, Read as _};
use std::sync::Arc;

use rustls::{AlertDescription, ClientConnection, Connection, NamedGroup, ServerConnection};
use rustls::{CipherSuite, time_provider::TimeProvider};
use rustls_pki_types::UnixTime;

use super::*;
use crate::authority::Authority;
use crate::forge::{self, Forge, Forged, Spec, Speech};
use crate::sni::{Credentials, server_name_for};
use crate::testing::{NODE_A, NOW, authority, credential, lab, later, verifier};

/// The same time for everybody, so that no test asks the clock.
#[derive(Debug)]
struct Fixed(UnixTime);

impl TimeProvider for Fixed {
    fn current_time(&self) -> Option<UnixTime> {
        Some(self.0)
    }
}

pub(crate) struct Pair {
    pub(crate) client: Connection,
    pub(crate) server: Connection,
}

/// What each side makes of the handshake.
pub(crate) struct Outcome {
    pub(crate) client: Result<(), rustls::Error>,
    pub(crate) server: Result<(), rustls::Error>,
}

impl Pair {
    pub(crate) fn of(
        client: &Arc<ClientConfig>,
        server: &Arc<ServerConfig>,
        node: &str,
        now: UnixTime,
    ) -> Self {
        let mut client = ClientConfig::clone(client);
        let mut server = ServerConfig::clone(server);
        client.time_provider = Arc::new(Fixed(now));
        server.time_provider = Arc::new(Fixed(now));
        let name = server_name_for(&lab(), node).unwrap();
        Self {
            client: ClientConnection::new(Arc::new(client), name)
                .unwrap()
                .into(),
            server: ServerConnection::new(Arc::new(server)).unwrap().into(),
        }
    }

    /// Carries bytes until nobody has any left, past the first error of either side.
    pub(crate) fn run(&mut self) -> Outcome {
        let (mut client, mut server) = (Ok(()), Ok(()));
        loop {
            let there = carry(&mut self.client, &mut self.server, &mut server);
            let back = carry(&mut self.server, &mut self.client, &mut client);
            if !there && !back {
                return Outcome { client, server };
            }
        }
    }
}

fn carry(
    from: &mut Connection,
    to: &mut Connection,
    result: &mut Result<(), rustls::Error>,
) -> bool {
    let mut wire = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut wire).unwrap();
    }
    let size = u64::try_from(wire.len()).unwrap();
    let mut wire = Cursor::new(wire);
    while wire.position() < size && result.is_ok() {
        to.read_tls(&mut wire).unwrap();
        *result = to.process_new_packets().map(|_| ());
    }
    size > 0
}

struct Lab {
    authority: Authority,
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

/// Node a dials, node b is served; both trust the same authority.
fn fixture() -> Lab {
    let authority = authority();
    let verifier = verifier([authority.bundle().unwrap()]);
    let credentials = Credentials::default();
    credentials
        .insert(&lab(), "b@host-a", &credential(&authority, "b"))
        .unwrap();
    Lab {
        client: client_config(&credential(&authority, "a"), Arc::clone(&verifier)).unwrap(),
        server: server_config(Arc::new(credentials), verifier).unwrap(),
        authority,
    }
}

fn stolen(lab: &Lab, change: impl FnOnce(&mut Spec)) -> Forged {
    let mut spec = Spec::good(NODE_A, "host-a", NOW);
    change(&mut spec);
    Forge::stolen(&lab.authority).unwrap().leaf(&spec).unwrap()
}

fn hostile_client(lab: &Lab, forged: Option<&Forged>, speech: &Speech) -> Pair {
    Pair::of(
        &forge::client_config(forged, speech).unwrap(),
        &lab.server,
        "b@host-a",
        NOW,
    )
}

fn hostile_server(lab: &Lab, forged: &Forged, speech: &Speech) -> Pair {
    Pair::of(
        &lab.client,
        &forge::server_config(forged, speech).unwrap(),
        "b@host-a",
        NOW,
    )
}

#[test]
fn two_nodes_meet() {
    let lab = fixture();
    let mut pair = Pair::of(&lab.client, &lab.server, "b@host-a", NOW);
    let outcome = pair.run();
    assert_eq!((outcome.client, outcome.server), (Ok(()), Ok(())));
    let (a, b) = (
        established(&pair.server).unwrap(),
        established(&pair.client).unwrap(),
    );
    assert!(a.may_carry("a", "host-a", &[]).is_ok());
    assert!(b.may_carry("b", "host-a", &[]).is_ok());
    assert!(b.may_carry("a", "host-a", &[]).is_err());
}

#[test]
fn a_link_is_judged_again_under_the_trust_of_the_moment() {
    let lab = fixture();
    let mut pair = Pair::of(&lab.client, &lab.server, "b@host-a", NOW);
    pair.run();
    let verifier = verifier([lab.authority.bundle().unwrap()]);
    let look = |now| evidence(&pair.server, &verifier, Usage::Client, now);
    let found = look(NOW).unwrap();
    assert_eq!(found.peer, established(&pair.server).unwrap());
    assert_eq!(found.signers.len(), 2);
    assert_eq!(look(later(3601)).unwrap_err().label(), "expired");
    // Denied between the handshake and the registration of the link.
    verifier
        .trust()
        .update(|trust| _ = trust.deny.ids.insert(found.peer.id.clone()));
    assert_eq!(look(NOW).unwrap_err().label(), "denied");
    assert!(verifier.recheck(&found, NOW).is_err());
}

#[test]
fn what_is_preferred_is_negotiated() {
    let lab = fixture();
    let mut pair = Pair::of(&lab.client, &lab.server, "b@host-a", NOW);
    pair.run();
    for side in [&pair.client, &pair.server] {
        assert_eq!(side.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        assert_eq!(
            side.negotiated_cipher_suite().unwrap().suite(),
            CipherSuite::TLS13_AES_128_GCM_SHA256
        );
        assert_eq!(
            side.negotiated_key_exchange_group().unwrap().name(),
            NamedGroup::X25519MLKEM768
        );
        assert_eq!(side.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(side.alpn_protocol(), Some(ALPN));
    }
}

#[test]
fn no_node_name_goes_over_the_wire_in_clear() {
    let lab = fixture();
    let mut pair = Pair::of(&lab.client, &lab.server, "b@host-a", NOW);
    let mut hello = Vec::new();
    pair.client.write_tls(&mut hello).unwrap();
    let holds = |needle: &[u8]| hello.windows(needle.len()).any(|window| window == needle);
    assert!(holds(b".skans"));
    // None shorter: among 1,700 bytes, most of them keys and randomness, any two are found by chance once in forty times.
    for secret in ["host-a", "lab.test", "spiffe"] {
        assert!(!holds(secret.as_bytes()), "{secret}");
    }
}

#[test]
fn a_trusted_peer_without_fault_gets_in() {
    // The control for the tests below: without a fault, the same forged peers are taken.
    let lab = fixture();
    let mut pair = hostile_client(&lab, Some(&stolen(&lab, |_| {})), &Speech::default());
    assert_eq!(pair.run().server, Ok(()));
    assert!(established(&pair.server).is_ok());
    let mut pair = hostile_server(&lab, &stolen(&lab, |_| {}), &Speech::default());
    assert_eq!(pair.run().client, Ok(()));
    assert!(established(&pair.client).is_ok());
}

#[test]
fn hostile_certificates_are_refused_on_both_ends() {
    let lab = fixture();
    let two = |spec: &mut Spec| spec.uris.push(NODE_A.replace("node/a", "node/b"));
    let old = |spec: &mut Spec| spec.not_after = NOW.as_secs() - 1;
    let ca = |spec: &mut Spec| spec.ca = true;
    let other = |spec: &mut Spec| spec.uris = vec![NODE_A.replace("lab.test", "other.test")];
    let cases: [(&str, Forged); 5] = [
        ("uri_names", stolen(&lab, two)),
        ("expired", stolen(&lab, old)),
        ("ca_leaf", stolen(&lab, ca)),
        ("unknown_trust_domain", stolen(&lab, other)),
        ("untrusted", {
            let stranger = Forge::new(&crate::testing::lab(), NOW).unwrap();
            stranger.leaf(&Spec::good(NODE_A, "host-a", NOW)).unwrap()
        }),
    ];
    for (label, forged) in cases {
        let error = hostile_client(&lab, Some(&forged), &Speech::default())
            .run()
            .server
            .unwrap_err();
        assert_eq!(Refusal::of(&error).unwrap().label(), label, "{error}");
        let error = hostile_server(&lab, &forged, &Speech::default())
            .run()
            .client
            .unwrap_err();
        assert_eq!(Refusal::of(&error).unwrap().label(), label, "{error}");
    }
}

#[test]
fn our_own_leaf_is_refused_once_it_expired() {
    let lab = fixture();
    let mut pair = Pair::of(&lab.client, &lab.server, "b@host-a", later(3601));
    let error = pair.run().client.unwrap_err();
    assert_eq!(Refusal::of(&error).unwrap().label(), "expired");
}

#[test]
fn no_client_certificate_no_connection() {
    let lab = fixture();
    let outcome = hostile_client(&lab, None, &Speech::default()).run();
    assert_eq!(outcome.server, Err(rustls::Error::NoCertificatesPresented));
}

#[test]
fn a_server_that_asks_for_no_certificate_still_has_to_show_its_own() {
    let lab = fixture();
    let stranger = Forge::new(&crate::testing::lab(), NOW).unwrap();
    let forged = stranger.leaf(&Spec::good(NODE_A, "host-a", NOW)).unwrap();
    let error = hostile_server(&lab, &forged, &Speech::default())
        .run()
        .client
        .unwrap_err();
    assert!(Refusal::of(&error).is_some());
}

#[test]
fn tls_1_2_is_refused_on_both_ends() {
    let lab = fixture();
    let forged = stolen(&lab, |_| {});
    let speech = Speech {
        versions: vec![&rustls::version::TLS12],
        ..Speech::default()
    };
    let outcome = hostile_client(&lab, Some(&forged), &speech).run();
    assert!(
        matches!(outcome.server, Err(rustls::Error::PeerIncompatible(_))),
        "{:?}",
        outcome.server
    );
    assert_eq!(
        outcome.client,
        Err(rustls::Error::AlertReceived(
            AlertDescription::ProtocolVersion
        ))
    );
    let outcome = hostile_server(&lab, &forged, &speech).run();
    assert!(outcome.client.is_err() && outcome.server.is_err());
}

#[test]
fn another_application_protocol_is_refused() {
    let lab = fixture();
    let forged = stolen(&lab, |_| {});
    let http = Speech {
        alpn: vec![b"h2".to_vec()],
        ..Speech::default()
    };
    let none = Speech {
        alpn: vec![],
        ..Speech::default()
    };
    for speech in [&http, &none] {
        assert!(
            hostile_client(&lab, Some(&forged), speech)
                .run()
                .server
                .is_err()
        );
    }
    assert!(hostile_server(&lab, &forged, &http).run().client.is_err());
    // A server may ignore ALPN: the handshake passes, the check after it does not.
    let mut pair = hostile_server(&lab, &forged, &none);
    assert_eq!(pair.run().client, Ok(()));
    assert_eq!(established(&pair.client).unwrap_err().label(), "protocol");
}

#[test]
fn an_unknown_node_gets_no_certificate() {
    let lab = fixture();
    let mut pair = Pair::of(&lab.client, &lab.server, "c@host-a", NOW);
    let outcome = pair.run();
    assert!(outcome.server.is_err());
    assert!(outcome.client.is_err());
    assert!(pair.client.peer_certificates().is_none());
}

#[test]
fn nothing_is_resumed() {
    let lab = fixture();
    // A client that would resume gladly, and keeps what it is given between two connections.
    let eager = forge::client_config(Some(&stolen(&lab, |_| {})), &Speech::default()).unwrap();
    for _ in 0..2 {
        let mut pair = Pair::of(&eager, &lab.server, "b@host-a", NOW);
        let outcome = pair.run();
        assert_eq!((outcome.client, outcome.server), (Ok(()), Ok(())));
        assert_eq!(pair.client.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(pair.server.handshake_kind(), Some(HandshakeKind::Full));
        let Connection::Client(client) = &pair.client else {
            unreachable!()
        };
        assert_eq!(client.tls13_tickets_received(), 0);
    }
    // Each of these alone would do today; neither may go unnoticed.
    assert!(!lab.server.session_storage.can_cache());
    assert!(!lab.server.ticketer.enabled());
    assert_eq!(lab.server.send_tls13_tickets, 0);
    assert_eq!(lab.server.max_early_data_size, 0);
    assert!(!lab.client.enable_early_data);
}

#[test]
fn our_client_resumes_nothing_even_where_tickets_are_given() {
    let lab = fixture();
    let forged = stolen(&lab, |_| {});
    let generous = forge::server_config(&forged, &Speech::default()).unwrap();
    for _ in 0..2 {
        let mut pair = Pair::of(&lab.client, &generous, "b@host-a", NOW);
        assert_eq!(pair.run().client, Ok(()));
        let Connection::Client(client) = &pair.client else {
            unreachable!()
        };
        assert!(
            client.tls13_tickets_received() > 0,
            "the control: tickets are offered"
        );
        assert_eq!(pair.client.handshake_kind(), Some(HandshakeKind::Full));
    }
    // The control: the same server resumes whoever asks.
    let eager = forge::client_config(Some(&forged), &Speech::default()).unwrap();
    let kinds = [(); 2].map(|()| {
        let mut pair = Pair::of(&eager, &generous, "b@host-a", NOW);
        pair.run();
        pair.client.handshake_kind()
    });
    assert_eq!(
        kinds,
        [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)]
    );
    let mut pair = Pair::of(&eager, &generous, "b@host-a", NOW);
    pair.run();
    assert_eq!(established(&pair.client).unwrap_err().label(), "resumed");
}

#[test]
fn garbage_ends_in_an_error() {
    let lab = fixture();
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0, 19, b'N', 0, 0],
        &[0xff; 5000],
        &[22, 3, 1, 0xff, 0xff],
    ] {
        let mut server = ServerConnection::new(Arc::clone(&lab.server)).unwrap();
        let mut wire = Cursor::new(garbage);
        let mut result = Ok(());
        while result.is_ok() && wire.position() < u64::try_from(garbage.len()).unwrap() {
            server.read_tls(&mut wire).unwrap();
            result = server.process_new_packets().map(|_| ());
        }
        assert!(result.is_err() || server.is_handshaking());
        assert!(server.reader().read(&mut [0; 16]).is_err());
    }
}

#[test]
fn an_unfinished_handshake_is_not_established() {
    let lab = fixture();
    let pair = Pair::of(&lab.client, &lab.server, "b@host-a", NOW);
    assert_eq!(
        established(&pair.server).unwrap_err().label(),
        "tls_version"
    );
}

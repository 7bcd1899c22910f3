//! Messages come back as they were, nothing else is taken for one, and what a release writes is read by the next.

use proptest::prelude::*;

use super::*;
use crate::HEADER;

/// As another process reads it.
fn read_back(message: &Message, fds: usize) -> Result<Message, Error> {
    let (head, bytes) = message.encode(fds)?;
    let (header, text) = head.split_first_chunk::<HEADER>().unwrap();
    let header = Header::decode(*header)?;
    assert_eq!(
        (header.text, header.bytes, header.fds),
        (text.len(), bytes.len(), fds)
    );
    Message::decode(&header, text, &bytes)
}

fn evidence() -> impl Strategy<Value = Evidence> {
    let host = proptest::option::of("[a-z]{1,9}");
    let times = (any::<u64>(), any::<u64>(), any::<u64>());
    let keys = proptest::collection::vec(any::<[u8; 32]>(), 0..4);
    (
        "spiffe://[a-z/]{1,30}",
        host,
        "[0-9a-f]{0,9}",
        ".{0,20}",
        times,
        any::<[u8; 32]>(),
        keys,
    )
        .prop_map(
            |(id, host, serial, issuer, (not_before, not_after, ends), key, signers)| Evidence {
                id,
                cluster: host.clone(),
                host,
                not_before,
                not_after,
                serial,
                issuer,
                key,
                signers,
                ends,
            },
        )
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..300)
}

fn link() -> impl Strategy<Value = Link> {
    let numbers = proptest::array::uniform8(any::<u64>());
    let small = (any::<u32>(), any::<u16>(), any::<bool>(), any::<bool>());
    let names = (
        "[a-z]{1,5}@[a-z.]{1,9}",
        proptest::option::of("[a-z]{1,5}@[a-z.]{1,9}"),
    );
    (numbers, small, names, (evidence(), evidence())).prop_map(
        |(
            [
                id,
                since,
                flags,
                takeovers,
                resumed,
                adrift_ms,
                sent_bytes,
                sent_ticks,
            ],
            small,
            (local, given),
            (peer, own),
        )| Link {
            id,
            since,
            peer: local.clone(),
            local,
            given,
            outbound: small.2,
            visible: small.3,
            peer_creation: small.0,
            flags,
            takeovers,
            resumed,
            tick_seconds: small.1,
            adrift_ms,
            proof: Proof {
                peer,
                own,
                address: ([127, 0, 0, 1], small.1).into(),
                suite: "TLS13_AES_256_GCM_SHA384".into(),
                group: "X25519MLKEM768".into(),
            },
            traffic: Traffic {
                sent_bytes,
                sent_ticks,
                received_bytes: id,
                received_ticks: since,
            },
        },
    )
}

prop_compose! {
    fn link_parts()(parts in proptest::array::uniform8(bytes())) -> LinkParts {
        let [session, window, sent, received, held, backlog, to_node, to_peer] = parts;
        LinkParts { session, window, sent, received, held, backlog, to_node, to_peer }
    }
}

fn message() -> impl Strategy<Value = Message> {
    let numbers = || proptest::collection::vec(any::<u64>(), 0..40);
    let table = prop_oneof![
        "[a-z]{1,5}@[a-z]{1,5}".prop_map(|node| Table::Handles { node }),
        ("[a-z]{1,5}@[a-z]{1,5}", any::<u32>(), ".{0,20}").prop_map(|(node, creation, peer)| {
            Table::Atoms {
                node,
                creation,
                peer,
            }
        }),
    ];
    prop_oneof![
        (any::<u16>(), any::<u16>(), ".{0,9}").prop_map(|(min, max, release)| Message::Ask(Ask {
            min,
            max,
            release
        })),
        ".{0,99}".prop_map(|why| Message::Refused(Refused { why })),
        (any::<usize>(), any::<bool>(), any::<u64>()).prop_map(|(count, settled, handovers)| {
            Message::Done(Done {
                nodes: count,
                stand_ins: 1,
                tables: 2,
                links: 3,
                settled,
                counts: Counts {
                    handovers,
                    links: 7,
                    creations: 8,
                },
            })
        }),
        (link(), link_parts()).prop_map(|(link, parts)| Message::Link(Box::new(link), parts)),
        (table, any::<[u8; 16]>(), numbers(), numbers()).prop_map(|(table, key, young, old)| {
            Message::Table(table, TableParts { key, young, old })
        }),
        Just(Message::Ready),
        Just(Message::Taken),
        Just(Message::Go),
    ]
}

proptest! {
    #[test]
    fn a_message_comes_back_as_it_was(message in message()) {
        let fds = usize::from(message.kind() == Kind::Link);
        prop_assert_eq!(read_back(&message, fds), Ok(message));
    }

    #[test]
    fn no_bytes_are_read_to_a_panic(
        kind in 0..14_u8,
        fds in any::<u8>(),
        text in prop_oneof![bytes(), message().prop_map(|m| m.encode(1).or_else(|_| m.encode(0)).unwrap().0[HEADER..].to_vec())],
        bytes in prop_oneof![bytes(), message().prop_map(|m| m.encode(1).or_else(|_| m.encode(0)).unwrap().1)],
    ) {
        if let Ok(kind) = Kind::from_byte(kind) {
            let header = Header { kind, fds: fds.into(), text: text.len(), bytes: bytes.len() };
            if let Ok(message) = Message::decode(&header, &text, &bytes) {
                prop_assert_eq!(message.kind(), kind);
            }
        }
    }

    #[test]
    fn no_header_announces_more_than_is_taken(header in any::<[u8; HEADER]>()) {
        if let Ok(header) = Header::decode(header) {
            prop_assert!(header.text <= crate::MAX_TEXT && header.fds <= crate::MAX_FDS && header.bytes <= 1100 << 20);
        }
    }
}

#[test]
fn what_no_release_writes_is_refused() {
    let go = |text: &[u8], bytes: &[u8], fds| {
        let header = Header {
            kind: Kind::Done,
            fds,
            text: text.len(),
            bytes: bytes.len(),
        };
        Message::decode(&header, text, bytes)
    };
    let done = br#"{"nodes":1,"standIns":0,"tables":0,"links":0,"settled":true,"counts":{"handovers":0,"links":0,"creations":0}}"#;
    assert!(go(done, &[], 0).is_ok());
    assert!(matches!(go(done, &[1], 0), Err(Error::Parts { .. })));
    assert!(matches!(go(done, &[], 1), Err(Error::Sockets { .. })));
    let more = String::from_utf8_lossy(done).replace("{\"nodes", "{\"more\":1,\"nodes");
    assert!(matches!(
        go(more.as_bytes(), &[], 0),
        Err(Error::Text { .. })
    ));
    let long = vec![0; crate::MAX_FDS + 1].len();
    assert!(matches!(
        Message::Go.encode(long),
        Err(Error::Sockets { .. })
    ));
    assert!(matches!(Kind::from_byte(12), Err(Error::Unknown(12))));
}

#[test]
fn two_releases_use_the_highest_format_that_both_know() {
    let ask = |min, max| Ask {
        min,
        max,
        release: String::new(),
    };
    assert_eq!(agree(&ask(FORMAT_MIN, FORMAT_MAX + 3)), Ok(FORMAT_MAX));
    assert_eq!(agree(&ask(FORMAT_MIN, FORMAT_MIN)), Ok(FORMAT_MIN));
    let refused = agree(&ask(FORMAT_MAX + 1, FORMAT_MAX + 2)).unwrap_err();
    assert!(
        refused.to_string().contains("restart the agent instead"),
        "{refused}"
    );
    assert!(agree(&ask(0, FORMAT_MIN - 1)).is_err());
}

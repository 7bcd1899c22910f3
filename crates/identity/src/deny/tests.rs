use proptest::prelude::*;

use super::*;
use crate::testing::{NODE_A, authority, credential, host, node};

fn order(target: Target) -> Order {
    Order {
        target,
        time: 100,
        until: 0,
        reason: "laptop lost, #17".into(),
    }
}

fn targets() -> impl Strategy<Value = Target> {
    prop_oneof![
        any::<[u8; 32]>().prop_map(Target::Key),
        any::<[u8; 32]>().prop_map(Target::Issuer),
        "spiffe://[a-z]{1,9}(/[a-zA-Z0-9]{1,9}){1,3}"
            .prop_map(|id| Target::Id(SpiffeId::parse(&id).unwrap())),
        "[a-zA-Z0-9_-]{1,9}@[a-z]{1,9}"
            .prop_map(|name| Target::Node(NodeName::parse(&name).unwrap())),
        (1u64..50).prop_map(Target::Allow),
    ]
}

proptest! {
    #[test]
    fn an_entry_survives_its_encoding(
        target in targets(), seq in 50u64.., previous: [u8; 32], time: u32, until in 0u32..9, reason in "\\PC{0,100}",
    ) {
        let time = u64::from(time);
        let until = if until == 0 { 0 } else { time + u64::from(until) };
        let order = Order { target, time, until, reason };
        let entry = Entry::after(seq, previous, order.clone()).unwrap();
        let bytes = entry.encode();
        prop_assert!(bytes.len() <= MAX_ENTRY);
        let again = Entry::decode(&bytes).unwrap();
        prop_assert_eq!(&again, &entry);
        prop_assert_eq!(again.order(), &order);
        prop_assert_eq!(again.hash(), sha256(&bytes));
    }

    #[test]
    fn what_decodes_encodes_to_the_same_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(entry) = Entry::decode(&bytes) {
            prop_assert_eq!(entry.encode(), bytes);
        }
    }

    #[test]
    fn a_bent_entry_is_another_one_or_none(at in 0usize..1000, bit in 0u8..8) {
        let entry = Entry::after(3, [7; 32], order(Target::Key([9; 32]))).unwrap();
        let mut bytes = entry.encode();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        match Entry::decode(&bytes) {
            Ok(other) => {
                prop_assert_ne!(other.hash(), entry.hash());
                prop_assert_eq!(other.encode(), bytes);
            }
            Err(error) => prop_assert!(matches!(error, Error::Encoding { .. } | Error::Name { .. }), "{}", error),
        }
    }
}

#[test]
fn the_bytes_are_those_of_the_record() {
    let order = Order {
        target: Target::Allow(1),
        time: 2,
        until: 3,
        reason: "x".into(),
    };
    let entry = Entry::after(4, [5; 32], order).unwrap();
    let mut wanted = b"SKD1\0\0\0\0\0\0\0\x05".to_vec();
    wanted.extend([5; 32]);
    wanted.extend(b"\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x03\x05\0\x011\0\x01x");
    assert_eq!(entry.encode(), wanted);
}

#[test]
fn what_is_not_understood_is_refused() {
    let good = Entry::after(3, [7; 32], order(Target::Key([9; 32])))
        .unwrap()
        .encode();
    assert!(Entry::decode(&good).is_ok());
    let why = |bytes: &[u8]| Entry::decode(bytes).unwrap_err().to_string();
    for end in 0..good.len() {
        let _ = why(&good[..end]);
    }
    let mut long = good.clone();
    long.push(0);
    assert!(why(&long).contains("after its end"));
    let kind = 4 + 8 + 32 + 8 + 8;
    for unknown in [0, 6, 255] {
        let mut bytes = good.clone();
        bytes[kind] = unknown;
        assert!(why(&bytes).contains("kind"), "{unknown}");
    }
    let mut version = good.clone();
    version[3] = b'2';
    assert!(why(&version).contains("version"));
    let mut zero = good.clone();
    zero[4..12].fill(0);
    assert!(why(&zero).contains("number 0"));
    // One key has one spelling.
    let hex = kind + 3;
    let mut upper = good;
    upper[hex..hex + 2].copy_from_slice(b"0A");
    assert!(why(&upper).contains("hex"));
}

#[test]
fn texts_and_numbers_are_bounded() {
    let why = |change: &dyn Fn(&mut Order)| {
        let mut order = order(Target::Key([1; 32]));
        change(&mut order);
        Entry::after(9, [0; 32], order).unwrap_err().to_string()
    };
    assert!(why(&|o| o.reason = "a".repeat(513)).contains("512"));
    assert!(why(&|o| o.reason = "a\u{1b}[2J".into()).contains("control"));
    assert!(why(&|o| o.until = 99).contains("end after"));
    assert!(why(&|o| o.target = Target::Allow(10)).contains("earlier"));
    assert!(why(&|o| o.target = Target::Allow(11)).contains("earlier"));
    assert!(Entry::after(u64::MAX, [0; 32], order(Target::Key([1; 32]))).is_err());
    for text in ["", "0", "01", "+1", "-1", " 1", "18446744073709551616"] {
        assert!(Target::parse(5, text).is_err(), "{text}");
    }
    for text in ["ab", &"g".repeat(64), &"0".repeat(66)] {
        assert!(Target::parse(1, text).is_err(), "{text}");
        assert!(Target::parse(4, text).is_err(), "{text}");
    }
    assert!(Target::parse(3, "a").is_err());
    assert!(Target::parse(2, "spiffe://Lab/a").is_err());
    assert!(Target::parse(6, "1").is_err());
}

#[test]
fn each_kind_touches_what_it_names() {
    let authority = authority();
    let peer = credential(&authority, "a").identity().clone();
    let (issuer, root) = ([1; 32], [2; 32]);
    let touches = |target: &Target| target.touches(&peer, &[issuer, root]);
    assert!(touches(&Target::Key(peer.spki_sha256)));
    assert!(touches(&Target::Key(issuer)));
    assert!(!touches(&Target::Key([3; 32])));
    assert!(touches(&Target::Id(SpiffeId::parse(NODE_A).unwrap())));
    assert!(!touches(&Target::Id(node("b").id().clone())));
    assert!(touches(&Target::Node(NodeName::new("a", host()).unwrap())));
    assert!(!touches(&Target::Node(
        NodeName::parse("a@host-b").unwrap()
    )));
    assert!(touches(&Target::Issuer(issuer)) && touches(&Target::Issuer(root)));
    assert!(!touches(&Target::Issuer(peer.spki_sha256)));
    assert!(!touches(&Target::Allow(1)));
    // The deny set says the same.
    for target in [
        Target::Key(peer.spki_sha256),
        Target::Key(issuer),
        Target::Id(peer.id.clone()),
        Target::Node(peer.node_name().unwrap()),
        Target::Issuer(root),
    ] {
        let mut set = crate::trust::DenySet::default();
        set.insert(&target);
        assert!(set.denies(&peer, &[issuer, root]).is_some(), "{target:?}");
    }
    let mut set = crate::trust::DenySet::default();
    set.insert(&Target::Issuer(peer.spki_sha256));
    assert_eq!(
        set.denies(&peer, &[issuer, root]),
        None,
        "a leaf is no issuer"
    );
}

#[test]
fn short_lived_nodes_of_a_host_are_denied_together() {
    let authority = authority();
    let cli = crate::id::NodeId::cli(&crate::testing::lab(), "main", "default", "web").unwrap();
    let peer = authority
        .issue(cli.id(), &host(), crate::testing::HOUR, crate::testing::NOW)
        .unwrap();
    let peer = peer.identity();
    assert!(Target::parse(3, "cli@host-a").unwrap().touches(peer, &[]));
    assert!(!Target::parse(3, "rem-1@host-a").unwrap().touches(peer, &[]));
}

//! Each once for each address, and never more than may be held.

use super::*;

const SESSION: SessionId = [7; 16];

fn at(address: &str) -> Option<(SessionId, IpAddr)> {
    Some((SESSION, address.parse().unwrap()))
}

fn leaves(seen: &[Seen]) -> Vec<&[u8]> {
    seen.iter().map(|one| one.leaf.as_slice()).collect()
}

#[test]
fn each_is_reported_once_and_what_could_not_be_is_kept() {
    let observed = Observed::default();
    for leaf in [b"a", b"b", b"a"] {
        observed.saw(leaf, at("10.0.0.1"));
    }
    let taken = observed.take();
    assert_eq!(leaves(&taken), [b"a", b"b"]);
    observed.put_back(taken);
    observed.saw(b"c", at("10.0.0.1"));
    assert_eq!(leaves(&observed.take()), [b"a", b"b", b"c"]);
    observed.saw(b"b", at("10.0.0.1"));
    assert!(observed.take().is_empty());
}

#[test]
fn a_certificate_at_another_address_is_reported_again_and_without_a_link_as_well() {
    let observed = Observed::default();
    let links = [
        None,
        at("10.0.0.1"),
        at("10.0.0.2"),
        at("::ffff:10.0.0.1"),
        at("2001:db8::1"),
        None,
    ];
    for link in links {
        observed.saw(b"a", link);
    }
    let report = report(&observed.take());
    assert_eq!(report.leaves, vec![b"a".to_vec(); 4]);
    let shown: Vec<_> = report
        .shown
        .iter()
        .map(|shown| (shown.address.clone(), shown.session_sha256.clone()))
        .collect();
    let session = own_links::named(&SESSION).to_vec();
    let mut six = [0; 16];
    six[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    six[15] = 1;
    assert_eq!(
        shown,
        [
            (vec![], vec![]),
            (vec![10, 0, 0, 1], session.clone()),
            (vec![10, 0, 0, 2], session.clone()),
            (six.to_vec(), session),
        ]
    );
}

#[test]
fn a_flood_costs_no_more_than_the_bound() {
    let observed = Observed::default();
    for number in 0..REMEMBERED + 100 {
        observed.saw(&number.to_be_bytes(), at("10.0.0.1"));
    }
    let inner = observed.lock();
    assert_eq!(inner.waiting.len(), WAITING);
    assert_eq!(inner.known.len(), REMEMBERED);
    assert_eq!(inner.addresses.len(), REMEMBERED);
    assert_eq!(inner.order.len(), REMEMBERED);
    drop(inner);
    assert_eq!(observed.take().len(), BATCH);
}

#[test]
fn one_certificate_from_a_network_of_addresses_pushes_out_nobody() {
    let observed = Observed::default();
    observed.saw(b"b", at("10.0.0.1"));
    for number in 0..10_000u128 {
        let address = std::net::Ipv6Addr::from_bits(0x2001_0db8 << 96 | number);
        observed.saw(b"a", Some((SESSION, address.into())));
    }
    let taken = observed.take();
    assert_eq!(taken.len(), 1 + ADDRESSES);
    observed.saw(b"b", at("10.0.0.1"));
    assert!(observed.take().is_empty(), "still remembered");
}

//! How much is told of whom.

use super::*;
use crate::proof::testing::evidence;

fn peer(number: usize) -> PeerIdentity {
    let mut peer = evidence("c", "b", Some("there")).peer;
    peer.spki_sha256[..8].copy_from_slice(&number.to_be_bytes());
    peer
}

/// Suspects that know the certificates of so many peers.
fn knowing(count: usize) -> Suspects {
    let suspects = Suspects::default();
    for number in 0..count {
        suspects.remember(&number.to_be_bytes(), &peer(number));
    }
    suspects
}

fn counts(suspects: &Suspects) -> Vec<(i32, u32)> {
    let taken = suspects.take();
    taken.iter().map(|(_, one)| (one.kind, one.count)).collect()
}

const SPOOFED: i32 = Kind::NameSpoofed as i32;
const BURST: i32 = Kind::DenialBurst as i32;

#[test]
fn one_thing_is_told_of_one_certificate_once_a_minute_with_how_often() {
    let suspects = knowing(1);
    let key = peer(0).spki_sha256;
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let did = |kind, count, now| suspects.did(&key, kind, count, "c@there", now);
    did(Kind::NameSpoofed, 1, at(0));
    did(Kind::NameSpoofed, 1, at(1));
    did(Kind::DenialBurst, 500, at(1));
    assert_eq!(counts(&suspects), [(SPOOFED, 2), (BURST, 500)]);
    for _ in 0..10 {
        did(Kind::NameSpoofed, 1, at(59));
    }
    assert_eq!(counts(&suspects), []);
    did(Kind::NameSpoofed, 1, at(60));
    assert_eq!(counts(&suspects), [(SPOOFED, 11)]);
}

#[test]
fn of_whom_nothing_was_seen_nothing_is_told() {
    let suspects = knowing(1);
    suspects.did(&[9; 32], Kind::NameSpoofed, 1, "c@there", Instant::now());
    assert_eq!(counts(&suspects), []);
    assert_eq!(
        suspects.newest(peer(0).id.as_str()),
        Some(peer(0).spki_sha256)
    );
    assert_eq!(suspects.newest("spiffe://test/other"), None);
}

#[test]
fn a_flood_of_certificates_costs_no_more_than_the_bounds() {
    let suspects = knowing(LEAVES + 100);
    let now = Instant::now();
    for number in 0..LEAVES + 100 {
        let key = peer(number).spki_sha256;
        for kind in [Kind::NameSpoofed, Kind::DenialBurst] {
            suspects.did(&key, kind, 1, "c@there", now);
        }
    }
    let inner = suspects.inner();
    assert_eq!((inner.leaves.len(), inner.order.len()), (LEAVES, LEAVES));
    assert_eq!(inner.told.len(), TOLD);
    assert_eq!(inner.waiting.len(), WAITING);
    drop(inner);
    let taken = suspects.take();
    suspects.put_back(taken);
    assert_eq!(suspects.take().len(), WAITING);
}

#[test]
fn a_name_is_told_in_printable_ascii_and_not_at_length() {
    let suspects = knowing(1);
    let name = format!("\n\u{1b}[31m\u{202e}é{}", "x".repeat(10_000));
    let key = peer(0).spki_sha256;
    suspects.did(&key, Kind::NameSpoofed, 1, &name, Instant::now());
    let (_, told) = suspects.take().remove(0);
    assert_eq!(told.detail.len(), DETAIL);
    assert!(
        told.detail
            .bytes()
            .all(|byte| (b' '..=b'~').contains(&byte))
    );
    assert!(told.detail.starts_with("\\n\\u{1b}[31m\\u{202e}\\u{e9}xx"));
    assert_eq!(told.leaf, 0usize.to_be_bytes());
}

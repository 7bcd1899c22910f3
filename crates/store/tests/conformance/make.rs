//! Things to store. Their bytes mean nothing, as nothing means anything to the store.

use skans_store::certificates::Certificate;
use skans_store::registrations::{Evidence, Registration};
use skans_store::{Result, Tx, registrations, tokens};

/// The time at which tests happen, unless they say otherwise.
pub const NOW: u64 = 1_800_000_000;

/// 32 bytes that only this number gives.
pub fn hash(number: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    // Spread, as hashes are: databases behave otherwise with keys in order.
    bytes[8..16].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    bytes.rotate_left(8);
    bytes
}

/// A certificate of 700 bytes, valid for an hour from [`NOW`].
pub fn certificate(number: u64) -> Certificate {
    let mut der = vec![0x30; 700];
    der[..32].copy_from_slice(&hash(number));
    Certificate {
        serial: hash(number)[..16].to_vec(),
        leaf_hash: hash(number),
        spki: hash(number + (1 << 32)),
        spiffe_id: format!("spiffe://example.org/cluster/c/ns/n/sa/w/node/n{number}@h"),
        host: "h".into(),
        issuer_spki: hash(7 << 40),
        not_before: NOW - 60,
        not_after: NOW + 3600,
        agent: "agent-1".into(),
        owner: "team".into(),
        issued_at: NOW,
        revoked_at: None,
        der,
    }
}

/// A registration by join token.
pub fn registration(name: &str) -> Registration {
    Registration {
        id: format!("id-{name}"),
        name: name.into(),
        evidence: Evidence::JoinToken,
        patterns: vec!["*@h".into(), "cli@h".into()],
        namespace: "n".into(),
        workload: "w".into(),
        cli: true,
        leaf_life: 3600,
        disabled: false,
        owner: "team".into(),
        created: NOW,
        changed: NOW,
    }
}

/// A registration and a token for it, good for an hour.
pub fn token(tx: &mut Tx<'_>, id: u8) -> Result<()> {
    let name = format!("r{id}");
    registrations::create(tx, &registration(&name))?;
    tokens::create(
        tx,
        &tokens::NewToken {
            id: &[id; 16],
            secret_hash: &[id; 32],
            registration: &format!("id-{name}"),
            owner: "unix:0",
            expires: NOW + 3600,
        },
        NOW,
    )
}

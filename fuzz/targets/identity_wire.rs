//! What travels between agents and control planes, and what they keep on disk: deny entries and snapshots, heads,
//! recovery statements, horizons, policy sets, join tokens, sealed secrets, bundle documents.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skans_fuzz as _;
use skans_identity::bundle::document::Document;
use skans_identity::deny::{Chain, Entry};
use skans_identity::head::{Head, Horizon, SignedHead};
use skans_identity::id::TrustDomain;
use skans_identity::policy_set::{self, PolicySet, SignedSet};
use skans_identity::recovery::{Recovery, SignedRecovery};
use skans_identity::seal::SealingKey;
use skans_identity::token::{Address, JoinToken};

const SAME: &str = "one meaning has one encoding";

fuzz_target!(|bytes: &[u8]| {
    let Some((&what, rest)) = bytes.split_first() else {
        return;
    };
    let text = std::str::from_utf8(rest).unwrap_or_default();
    match what % 13 {
        0 => {
            if let Ok(entry) = Entry::decode(rest) {
                assert_eq!(entry.encode(), rest, "{SAME}");
                // What one reader takes as the next entry, every reader does.
                let mut chain = Chain::default();
                assert!(chain.apply(entry.clone()).is_err() || entry.seq() == 1);
            }
        }
        1 => {
            if let Ok(chain) = Chain::from_bytes(rest) {
                assert_eq!(chain.to_bytes(), rest, "{SAME}");
            }
        }
        2 => {
            if let Ok(head) = Head::decode(rest) {
                assert_eq!(head.encode(), rest, "{SAME}");
            }
        }
        3 => {
            if let Ok(signed) = SignedHead::decode(rest) {
                assert_eq!(signed.encode(), rest, "{SAME}");
            }
        }
        4 => {
            if let Ok(statement) = Recovery::decode(rest) {
                assert_eq!(statement.encode(), rest, "{SAME}");
            }
        }
        5 => {
            if let Ok(signed) = SignedRecovery::decode(rest) {
                assert_eq!(signed.encode(), rest, "{SAME}");
            }
        }
        6 => {
            if let Ok(horizon) = Horizon::from_bytes(rest) {
                assert_eq!(horizon.to_bytes(), rest, "{SAME}");
            }
        }
        7 => {
            if let Ok(token) = JoinToken::parse(text) {
                assert_eq!(*token.to_text(), text.trim_ascii(), "{SAME}");
            }
            if let Ok(address) = Address::parse(text) {
                assert_eq!(address.to_string(), text, "{SAME}");
            }
        }
        8 => {
            let key = SealingKey::new([7; 32].into());
            assert!(key.open("fuzz", rest).is_err(), "a secret that nobody sealed");
        }
        10 => {
            if let Ok(set) = PolicySet::decode(rest) {
                assert_eq!(set.encode(), rest, "{SAME}");
            }
        }
        11 => {
            if let Ok(signed) = SignedSet::decode(rest) {
                assert_eq!(signed.encode(), rest, "{SAME}");
            }
        }
        12 => {
            if let Ok(horizon) = policy_set::Horizon::from_bytes(rest) {
                assert_eq!(horizon.to_bytes(), rest, "{SAME}");
            }
        }
        _ => {
            if let Ok(domain) = TrustDomain::parse("fuzz.test")
                && let Ok(document) = Document::from_json(domain.clone(), text)
                && let Ok(again) = document.to_json()
            {
                let again = Document::from_json(domain, &again).map(|again| again.bundle.len());
                assert_eq!(again, Ok(document.bundle.len()));
            }
        }
    }
});

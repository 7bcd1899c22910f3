//! Clocks differ, jump and stand still. Nothing is valid for longer than what signed it, and nobody's clock but the
//! reader's decides whether something has run out.

use core::time::Duration;

use proptest::prelude::*;

use crate::authority::{Issuer, MAX_LEAF, Root};
use crate::bundle::Bundle;
use crate::csr::ProvenKey;
use crate::signer::SoftwareKey;
use crate::testing::{HOUR, NOW, at, authority, credential, host, lab, node, verifier};
use crate::verify::Usage;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn nothing_outlives_what_signed_it(
        root_life in 1u64..10_000_000, issuer_life in 1u64..1_000_000, leaf_life in 1u64..=86_400,
        issuer_at in 0u64..10_000_000, leaf_at in 0u64..1_000_000,
    ) {
        let seconds = Duration::from_secs;
        let root = Root::new(&lab(), SoftwareKey::generate().unwrap(), NOW, seconds(root_life)).unwrap();
        let then = at(NOW.as_secs() + issuer_at);
        let key = SoftwareKey::generate().unwrap();
        let Ok(signed) = root.sign_issuer("main", &ProvenKey::of(&key), seconds(issuer_life), then) else {
            prop_assert!(then.as_secs() >= root.not_after());
            return Ok(());
        };
        let issuer = Issuer::load(signed, key).unwrap();
        prop_assert!(issuer.not_after() <= root.not_after());
        let then = at(then.as_secs() + leaf_at);
        let leaf = issuer.issue(node("a").id(), Some(&host()), seconds(leaf_life), then);
        let Ok(leaf) = leaf else {
            prop_assert!(then.as_secs() >= issuer.not_after());
            return Ok(());
        };
        let (from, to) = (leaf.identity().not_before, leaf.identity().not_after);
        prop_assert!(to <= issuer.not_after());
        prop_assert!(to - then.as_secs() <= leaf_life);
        prop_assert!(from < to && from <= then.as_secs());
        // Whoever takes it now refuses it a second after its end.
        let bundle = Bundle::new(lab(), core::slice::from_ref(root.certificate())).unwrap();
        let verifier = verifier([bundle]);
        let evidence = verifier.evidence(leaf.chain(), Usage::Client, then).unwrap();
        prop_assert_eq!(evidence.not_after, to);
        prop_assert!(verifier.recheck(&evidence, at(to)).is_ok());
        prop_assert!(verifier.recheck(&evidence, at(to + 1)).is_err());
        prop_assert!(verifier.verify(leaf.chain(), Usage::Client, at(to + 1)).is_err());
    }

    /// The reader's clock is off by up to five minutes: a fresh leaf is taken if that is at most a minute behind, and as
    /// long ahead as the leaf lives.
    #[test]
    fn clocks_may_differ_by_a_minute(skew in -300i64..=300) {
        let authority = authority();
        let leaf = credential(&authority, "a");
        let verifier = verifier([authority.bundle().unwrap()]);
        let theirs = at(NOW.as_secs().checked_add_signed(skew).unwrap());
        let verdict = verifier.verify(leaf.chain(), Usage::Server, theirs);
        prop_assert_eq!(verdict.is_ok(), skew >= -60);
    }

    /// A machine that slept, or whose clock jumps about, decides by the time that it has now, each time.
    #[test]
    fn a_jump_is_judged_by_where_it_ends(jumps in proptest::collection::vec(0u64..8000, 1..20)) {
        let authority = authority();
        let verifier = verifier([authority.bundle().unwrap()]);
        let evidence = verifier.evidence(credential(&authority, "a").chain(), Usage::Client, NOW).unwrap();
        for jump in jumps {
            let now = at(NOW.as_secs() - 2000 + jump);
            let inside = (evidence.peer.not_before..=evidence.peer.not_after).contains(&now.as_secs());
            prop_assert_eq!(verifier.recheck(&evidence, now).is_ok(), inside);
        }
    }
}

#[test]
fn a_leaf_in_the_last_minute_of_its_issuer_is_short_and_not_wrong() {
    let authority = authority();
    let end = authority.issuer_not_after();
    let sign = |now| authority.issue(node("a").id(), &host(), MAX_LEAF, at(now));
    assert_eq!(sign(end - 1).unwrap().identity().not_after, end);
    assert!(sign(end).is_err() && sign(end + 1).is_err());
    assert!(
        authority
            .issue(node("a").id(), &host(), HOUR, at(0))
            .is_err(),
        "nor before its time"
    );
}

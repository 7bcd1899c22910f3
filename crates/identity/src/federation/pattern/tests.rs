use proptest::prelude::*;

use super::*;

fn theirs() -> TrustDomain {
    "theirs.test".parse().unwrap()
}

fn pattern(text: &str) -> Result<IdPattern, Error> {
    IdPattern::parse(text, &theirs(), "main")
}

fn fits(pattern: &IdPattern, id: &str) -> bool {
    pattern.matches(&id.parse().unwrap())
}

#[test]
fn a_star_is_one_segment() {
    let shop = pattern("spiffe://theirs.test/cluster/main/ns/shop/sa/*/node/*").unwrap();
    for (id, wanted) in [
        (
            "spiffe://theirs.test/cluster/main/ns/shop/sa/web/node/a",
            true,
        ),
        (
            "spiffe://theirs.test/cluster/main/ns/shop/sa/db/node/cli",
            true,
        ),
        (
            "spiffe://theirs.test/cluster/main/ns/bank/sa/web/node/a",
            false,
        ),
        (
            "spiffe://theirs.test/cluster/other/ns/shop/sa/web/node/a",
            false,
        ),
        (
            "spiffe://theirs.test/cluster/main/ns/shop/sa/web/node/a/b",
            false,
        ),
        (
            "spiffe://theirs.test/cluster/main/ns/shop/sa/web/node",
            false,
        ),
        (
            "spiffe://ours.test/cluster/main/ns/shop/sa/web/node/a",
            false,
        ),
        (
            "spiffe://theirs.test.ours.test/cluster/main/ns/shop/sa/web/node/a",
            false,
        ),
        ("spiffe://theirs.test/skans/user/a", false),
    ] {
        assert_eq!(fits(&shop, id), wanted, "{id}");
    }
    // Other authorities give other shapes.
    let spire = pattern("spiffe://theirs.test/ns/*/sa/web").unwrap();
    assert!(fits(&spire, "spiffe://theirs.test/ns/shop/sa/web"));
    assert!(!fits(&spire, "spiffe://theirs.test/ns/shop/sa/db"));
}

#[test]
fn a_pattern_names_domain_cluster_and_kind() {
    for text in [
        "",
        "*",
        "spiffe://*/cluster/main/ns/shop/sa/*/node/*",
        "spiffe://ours.test/cluster/main/ns/shop/sa/*/node/*",
        "spiffe://THEIRS.test/ns/a",
        "spiffe://theirs.test./ns/a",
        "spiffe://theirs.test",
        "spiffe://theirs.test/",
        "spiffe://theirs.test/*",
        "spiffe://theirs.test/*/main/ns/shop/sa/web/node/a",
        "spiffe://theirs.test/cluster",
        "spiffe://theirs.test/cluster/*/ns/shop/sa/*/node/*",
        "spiffe://theirs.test/cluster/other/ns/shop/sa/*/node/*",
        "spiffe://theirs.test/skans/user/*",
        "spiffe://theirs.test/skans/gateway/g1",
        "spiffe://theirs.test/ns/sh*",
        "spiffe://theirs.test/ns/**",
        "spiffe://theirs.test/ns/?",
        "spiffe://theirs.test/ns/../*",
    ] {
        assert!(pattern(text).is_err(), "{text}");
    }
}

proptest! {
    /// Whatever was written: what fits is of that domain, has as many segments, and is no reserved name.
    #[test]
    fn nothing_fits_beyond_domain_and_cluster(
        wanted in "spiffe://theirs\\.test(/(\\*|cluster|main|skans|user|a)){1,4}",
        id in "spiffe://(theirs|ours)\\.test(/(cluster|main|skans|user|a)){1,4}",
    ) {
        if let Ok(pattern) = pattern(&wanted) {
            let id: SpiffeId = id.parse().unwrap();
            if pattern.matches(&id) {
                prop_assert_eq!(id.trust_domain(), &theirs());
                prop_assert_eq!(id.path().matches('/').count() + 2, wanted.matches('/').count());
                prop_assert!(!id.path().starts_with("/skans/"));
            }
            prop_assert_eq!(pattern.as_str(), wanted);
        }
    }
}

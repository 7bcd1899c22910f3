use super::*;
use crate::proof::testing::proof;

#[test]
fn a_link_is_found_by_all_that_it_was_decided_on() {
    let old = Arc::<Registry>::default();
    let new = NewLink {
        across: None,
        service: None,
        local: name("?@here").unwrap(),
        peer: name("b@there").unwrap(),
        direction: Direction::Outbound,
        proof: proof("c", "b", Some("there")),
    };
    let link = old.register(new, 1).unwrap();
    link.give(&name("x@here").unwrap());
    link.flags.store(77, Relaxed);
    link.takeovers.store(3, Relaxed);
    link.traffic.sent.bytes.store(99, Relaxed);
    link.adrift_since
        .store(crate::keeper::now().as_secs() - 7, Relaxed);
    let told = tell(&link);
    let registry = Arc::<Registry>::default();
    let again = register(&registry, &told).unwrap();
    let mut once_more = tell(&again);
    // The clock may have gone on.
    once_more.adrift_ms = told.adrift_ms;
    assert_eq!(once_more, told);
    assert_eq!(again.names(), link.names());
    assert_eq!(again.ends_at(), link.ends_at());
    assert!(again.proof().is_same_peer(&link.proof()));
    let key = skans_identity::deny::Target::Key(link.proof().peer.peer.spki_sha256);
    assert_eq!(registry.touched_by(&key).len(), 1);
    assert!(
        register(&registry, &told).is_err(),
        "there is one of that number"
    );
    let next = registry.register(
        NewLink {
            across: None,
            service: None,
            local: name("a@here").unwrap(),
            peer: name("b@there").unwrap(),
            direction: Direction::Outbound,
            proof: proof("c", "b", Some("there")),
        },
        9,
    );
    assert!(next.unwrap().id > again.id);
}

#[test]
fn names_and_identities_are_read_strictly() {
    let old = Arc::<Registry>::default();
    let new = NewLink {
        across: None,
        service: None,
        local: name("a@here").unwrap(),
        peer: name("b@there").unwrap(),
        direction: Direction::Inbound,
        proof: proof("c", "b", Some("there")),
    };
    let told = tell(&old.register(new, 1).unwrap());
    let registry = Arc::<Registry>::default();
    let spoilt: [fn(&mut told::Link); 4] = [
        |told| "nobody".clone_into(&mut told.local),
        |told| told.given = Some("x".to_owned()),
        |told| "https://b".clone_into(&mut told.proof.peer.id),
        |told| told.proof.own.host = Some("a b".to_owned()),
    ];
    for spoil in spoilt {
        let mut bad = told.clone();
        spoil(&mut bad);
        assert!(register(&registry, &bad).is_err(), "{bad:?}");
    }
    assert!(registry.snapshot().is_empty(), "nothing is left behind");
}

use super::*;
use crate::testing::{authority, credential, lab};

#[test]
fn the_name_is_a_hash_of_domain_and_node() {
    let name = |td: &str, node| {
        server_name_for(&td.parse().unwrap(), node)
            .unwrap()
            .to_str()
            .into_owned()
    };
    // printf 'skans-sni-v1\0lab.test\0a@host-a' | sha256sum | cut -c1-32
    assert_eq!(
        name("lab.test", "a@host-a"),
        "5ca5bfbe855c416ff4dc854342a487d4.skans"
    );
    assert_ne!(name("lab.test", "a@host-a"), name("lab.test", "b@host-a"));
    assert_ne!(name("lab.test", "a@host-a"), name("lab.tes", "ta@host-a"));
}

#[test]
fn names_come_and_go() {
    let authority = authority();
    let credentials = Credentials::default();
    let (a, b) = (credential(&authority, "a"), credential(&authority, "b"));
    credentials.insert(&lab(), "a@host-a", &a).unwrap();
    credentials.insert(&lab(), "b@host-a", &b).unwrap();
    credentials.insert(&lab(), "a@host-a", &a).unwrap();
    assert_eq!(credentials.len(), 2);
    credentials.remove(&lab(), "a@host-a").unwrap();
    credentials.remove(&lab(), "a@host-a").unwrap();
    assert_eq!(credentials.len(), 1);
    let all = [("a@host-a", &a), ("c@host-a", &b)];
    credentials.replace(&lab(), all).unwrap();
    assert_eq!(credentials.len(), 2);
    credentials.remove(&lab(), "b@host-a").unwrap();
    assert_eq!(credentials.len(), 2);
    credentials.remove(&lab(), "c@host-a").unwrap();
    assert_eq!(format!("{credentials:?}"), "Credentials { names: 1 }");
}

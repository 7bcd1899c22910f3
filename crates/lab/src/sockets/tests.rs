//! Listeners of this very process.

use std::net::{TcpListener, TcpStream};

use super::*;

#[test]
fn finds_listeners_and_only_those() {
    let all = TcpListener::bind("0.0.0.0:0").unwrap();
    let loopback = TcpListener::bind("127.0.0.1:0").unwrap();
    let connection = TcpStream::connect(loopback.local_addr().unwrap()).unwrap();
    let found = listeners(std::process::id()).unwrap();
    assert!(found.contains(&all.local_addr().unwrap()), "{found:?}");
    assert!(found.contains(&loopback.local_addr().unwrap()), "{found:?}");
    assert!(
        !found.contains(&connection.local_addr().unwrap()),
        "{found:?}"
    );
    let closed = all.local_addr().unwrap();
    drop(all);
    assert!(!listeners(std::process::id()).unwrap().contains(&closed));
}

#[test]
fn ipv6_is_read_as_well() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        // This machine has no IPv6.
        assert_eq!(
            address("00000000000000000000000001000000:1112").map(|a| a.port()),
            Some(0x1112)
        );
        return;
    };
    let found = listeners(std::process::id()).unwrap();
    assert!(found.contains(&listener.local_addr().unwrap()), "{found:?}");
}

//! The table as the kernel writes it, and the sockets of this very test.

use super::*;
use std::net::{TcpListener, TcpStream};

#[test]
fn a_row_of_the_kernel_is_read() {
    let line = "   0: 0100007F:1112 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 21 1";
    assert_eq!(
        row(line),
        Some(Row {
            local: "127.0.0.1:4370".parse().unwrap(),
            remote: "0.0.0.0:0".parse().unwrap(),
            listening: true,
            uid: 1000,
            held: true,
        })
    );
    let line = "   0: 0000000000000000FFFF00000100007F:1112 00000000000000000000000001000000:0001 01 0:0 0:0 0 7 0 1";
    let row = row(line).unwrap();
    assert_eq!(row.local, "127.0.0.1:4370".parse().unwrap());
    assert_eq!(row.remote, "[::1]:1".parse().unwrap());
}

#[test]
fn garbage_is_no_row() {
    for line in [
        "",
        "0:",
        "0: zz:1 0:0 0A",
        "0: 0100007F:1112 00000000:0000 0A 0 0 0 x",
        "0: 01:1 01:1 0A 0 0 0 1",
    ] {
        assert_eq!(row(line), None, "{line:?}");
    }
}

#[test]
fn our_own_sockets_belong_to_us() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let (_server, theirs) = listener.accept().unwrap();
    let me = rustix::process::geteuid().as_raw();
    assert_eq!(owner(theirs, client.peer_addr().unwrap()), Some(me));
    assert_eq!(listeners(port, me), vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]);
    let everywhere = TcpListener::bind("0.0.0.0:0").unwrap();
    assert_eq!(
        listeners(everywhere.local_addr().unwrap().port(), me),
        vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)]
    );
}

#[test]
fn a_socket_that_was_closed_is_nobodys_and_not_roots() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = listener.local_addr().unwrap();
    let client = TcpStream::connect(ours).unwrap();
    // This end stays open, so that the client's goodbye lasts.
    let (_server, theirs) = listener.accept().unwrap();
    assert!(owner(theirs, ours).is_some());
    drop(client);
    assert!(
        table()
            .iter()
            .any(|row| row.local == theirs && row.remote == ours && row.uid == 0),
        "the kernel still shows it, as root's"
    );
    assert_eq!(owner(theirs, ours), None);
}

#[test]
fn a_port_of_another_user_is_not_the_nodes() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let other = rustix::process::geteuid().as_raw() + 1;
    assert_eq!(listeners(port, other), Vec::<IpAddr>::new());
}

#[test]
fn netlink_and_the_table_agree() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let listener = TcpListener::bind(address).unwrap();
        let ours = listener.local_addr().unwrap();
        let client = TcpStream::connect(ours).unwrap();
        let (_server, theirs) = listener.accept().unwrap();
        let found = diag::find(theirs, ours).unwrap().unwrap();
        let me = rustix::process::geteuid().as_raw();
        assert_eq!(
            found,
            diag::Found {
                uid: me,
                held: true
            }
        );
        let row = table()
            .into_iter()
            .find(|row| row.local == theirs && row.remote == ours)
            .unwrap();
        assert_eq!((row.uid, row.held), (me, true));
        drop(client);
        assert!(!diag::find(theirs, ours).unwrap().unwrap().held);
        // Nobody is connected from there: not found, and not whoever listens.
        let nobody = SocketAddr::new(ours.ip(), 1);
        assert_eq!(diag::find(ours, nobody).unwrap(), None);
        assert_eq!(diag::find(nobody, ours).unwrap(), None);
    }
}

#[test]
fn an_ipv4_connection_of_an_ipv6_socket_is_found() {
    let listener = TcpListener::bind("[::]:0").unwrap();
    let ours = SocketAddr::new(
        Ipv4Addr::LOCALHOST.into(),
        listener.local_addr().unwrap().port(),
    );
    let _client = TcpStream::connect(ours).unwrap();
    let (_server, theirs) = listener.accept().unwrap();
    // The client's end, and the end of the socket that is both.
    assert!(diag::find(plain(theirs), ours).unwrap().unwrap().held);
    assert!(owner(ours, theirs).is_some());
}

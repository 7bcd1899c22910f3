//! The client's side of epmd's protocol, against the epmd of the installation.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use skans_dist::epmd::{
    Alive2Response, NODE_NORMAL, NamesResponse, PROTOCOL_TCP, PortResponse, Registration, Request,
    VERSION,
};
use skans_dist::handshake::frame_u16;

struct Epmd(Child);

impl Drop for Epmd {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn start() -> (Epmd, u16) {
    // epmd cannot be given port 0: take one that is free now.
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let child = Command::new("epmd")
        .args(["-port", &port.to_string(), "-address", "127.0.0.1"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let child = child.unwrap_or_else(|error| {
        panic!("cannot start `epmd`: {error}. This test needs Erlang/OTP in PATH")
    });
    let epmd = Epmd(child);
    let deadline = Instant::now() + Duration::from_secs(30);
    let (_keep, never) = channel::<()>();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        assert!(Instant::now() < deadline, "epmd does not listen");
        assert!(never.recv_timeout(Duration::from_millis(20)).is_err());
    }
    (epmd, port)
}

fn ask(port: u16, request: &Request) -> TcpStream {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    stream.write_all(&frame_u16(&request.encode())).unwrap();
    stream
}

fn all(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_node_is_registered_found_and_listed() {
    let (_epmd, port) = start();
    let registration = Registration {
        port: 4711,
        node_type: NODE_NORMAL,
        protocol: PROTOCOL_TCP,
        highest: VERSION,
        lowest: 5,
        name: "skans_test".to_owned(),
        extra: b"extra".to_vec(),
    };
    let please = Request::PortPlease2 {
        name: "skans_test".to_owned(),
    };
    assert_eq!(
        PortResponse::decode(&all(ask(port, &please))),
        Ok(PortResponse::NOT_FOUND)
    );

    let mut alive = ask(port, &Request::Alive2(registration.clone()));
    let mut tag = [0];
    alive.read_exact(&mut tag).unwrap();
    let mut rest = vec![0; Alive2Response::length(tag[0]).unwrap() - 1];
    alive.read_exact(&mut rest).unwrap();
    let response = Alive2Response::decode(&[&tag[..], &rest].concat()).unwrap();
    assert!(
        response.is_ok() && matches!(response, Alive2Response::Wide { .. }),
        "{response:?}"
    );

    assert_eq!(
        PortResponse::decode(&all(ask(port, &please))),
        Ok(PortResponse::Found(registration))
    );
    let names = NamesResponse::decode(&all(ask(port, &Request::Names))).unwrap();
    assert_eq!(
        names,
        NamesResponse {
            epmd_port: port.into(),
            nodes: vec![("skans_test".to_owned(), 4711)]
        }
    );
    assert_eq!(
        all(ask(port, &Request::Kill)),
        b"NO",
        "not while a node is registered"
    );
}

use core::time::Duration;
use std::sync::Arc;

use rustls::{ClientConnection, Connection, ServerConnection};
use rustls_pki_types::UnixTime;

use super::*;
use crate::authority::{Authority, Lifetimes};
use crate::host::Host;
use crate::id::{NodeId, TrustDomain};
use crate::sni::{Credentials, server_name_for};
use crate::trust::{SharedTrust, Trust};

fn pump(client: &mut Connection, server: &mut Connection) -> Result<(), rustls::Error> {
    let mut wire = Vec::new();
    while client.is_handshaking()
        || server.is_handshaking()
        || client.wants_write()
        || server.wants_write()
    {
        for (from, to) in [(&mut *client, &mut *server)] {
            let _ = (&from, &to);
        }
        wire.clear();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets()?;
        }
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets()?;
        }
    }
    Ok(())
}

#[test]
fn two_nodes_meet() {
    let td = TrustDomain::parse("lab.test").unwrap();
    let now = UnixTime::now();
    let authority = Authority::generate(&td, "main", now, Lifetimes::default()).unwrap();
    let host = Host::parse("host-a").unwrap();
    let issue = |node| {
        let id = NodeId::new(&td, "main", "default", "web", node).unwrap();
        authority
            .issue(id.id(), &host, Duration::from_secs(3600), now)
            .unwrap()
    };
    let (a, b) = (issue("a"), issue("b"));
    let trust = Trust {
        bundles: authority.bundle().unwrap().into(),
        ..Trust::default()
    };
    let verifier = Verifier::new(SharedTrust::new(trust));
    let credentials = Credentials::default();
    credentials.insert(&td, "b@host-a", &b).unwrap();
    let client = client_config(&a, Arc::clone(&verifier)).unwrap();
    let server = server_config(Arc::new(credentials), verifier).unwrap();
    let name = server_name_for(&td, "b@host-a").unwrap();
    let mut client = Connection::Client(ClientConnection::new(client, name).unwrap());
    let mut server = Connection::Server(ServerConnection::new(server).unwrap());
    pump(&mut client, &mut server).unwrap();
    assert_eq!(established(&client).unwrap(), *b.identity());
    assert_eq!(established(&server).unwrap(), *a.identity());
}

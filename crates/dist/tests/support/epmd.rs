//! An epmd for tests, made of this crate's own messages. It sends whoever asks for a node to where the test wants.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use skans_dist::epmd::{Alive2Response, PortResponse, Registration, Request};
use skans_dist::handshake::split_u16;

use super::PATIENCE;

#[derive(Default)]
struct Book {
    /// What nodes have registered.
    nodes: HashMap<String, Registration>,
    /// Where to send who asks for a node.
    instead: HashMap<String, u16>,
}

#[derive(Clone)]
pub struct Epmd {
    port: u16,
    book: Arc<(Mutex<Book>, Condvar)>,
}

impl Epmd {
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let epmd = Self {
            port,
            book: Arc::default(),
        };
        let serving = epmd.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let epmd = serving.clone();
                thread::spawn(move || epmd.serve(stream));
            }
        });
        epmd
    }

    /// What a node needs to find this epmd.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("ERL_EPMD_PORT", self.port.to_string()),
            ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
        ]
    }

    /// Waits until a node has registered.
    pub fn registered(&self, name: &str) -> Registration {
        let (book, changed) = &*self.book;
        let book = book.lock().expect("no panic while held");
        let (book, _) = changed
            .wait_timeout_while(book, PATIENCE, |book| !book.nodes.contains_key(name))
            .expect("no panic while held");
        book.nodes
            .get(name)
            .cloned()
            .unwrap_or_else(|| panic!("{name} has not registered"))
    }

    /// Registers a node that the test plays itself.
    pub fn register(&self, registration: Registration) {
        let mut book = self.book.0.lock().expect("no panic while held");
        book.nodes.insert(registration.name.clone(), registration);
    }

    /// Sends whoever asks for a node to another port.
    pub fn send_instead(&self, name: &str, port: u16) {
        self.book
            .0
            .lock()
            .expect("no panic while held")
            .instead
            .insert(name.to_owned(), port);
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut buffer = Vec::new();
        let request = loop {
            if let Some((body, _)) = split_u16(&buffer).expect("a real node asks within bounds") {
                break Request::decode(body).expect("a real node asks what can be read");
            }
            let mut chunk = [0; 512];
            match stream.read(&mut chunk) {
                Ok(count @ 1..) => buffer.extend_from_slice(&chunk[..count]),
                _ => return,
            }
        };
        let (book, changed) = &*self.book;
        match request {
            Request::Alive2(registration) => {
                let name = registration.name.clone();
                book.lock()
                    .expect("no panic while held")
                    .nodes
                    .insert(name.clone(), registration);
                changed.notify_all();
                let response = Alive2Response::Wide {
                    result: 0,
                    creation: 4711,
                };
                stream
                    .write_all(&response.encode())
                    .expect("the node reads its answer");
                // The registration lives as long as the connection.
                while let Ok(1..) = stream.read(&mut [0; 64]) {}
                book.lock()
                    .expect("no panic while held")
                    .nodes
                    .remove(&name);
            }
            Request::PortPlease2 { name } => {
                let book = book.lock().expect("no panic while held");
                let response =
                    book.nodes
                        .get(&name)
                        .map_or(PortResponse::NOT_FOUND, |registration| {
                            let port = book
                                .instead
                                .get(&name)
                                .copied()
                                .unwrap_or(registration.port);
                            PortResponse::Found(Registration {
                                port,
                                ..registration.clone()
                            })
                        });
                stream
                    .write_all(&response.encode())
                    .expect("the node reads its answer");
            }
            other => panic!("no node asks {other:?}"),
        }
    }
}

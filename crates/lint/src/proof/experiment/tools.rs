//! What tools and probes reach that speak to a node in another way than it does.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use super::{Bench, FAR, NEAR, Outcome, Result, said};
use crate::error::Error;
use crate::proof::machine::{Machine, PATIENCE};

impl Bench<'_> {
    /// Whether a tool without the flags of its node reaches it, and with them.
    pub(super) fn tool(&mut self) -> Result<Outcome> {
        let (node, up) = self.node(FAR, "")?;
        if !up {
            return Ok(Self::does_not_boot(&node, false));
        }
        let other = self.taken.name(FAR);
        let ours = format!("io:format(\"skans-answer ~p~n\", [net_adm:ping('{other}')]), halt().");
        let ping = |arguments: Vec<String>| {
            let mut tool = Machine::erl(self.erl, self.scratch, &arguments)?;
            said(&mut tool, "skans-answer ")
        };
        let without = ping(self.taken.bare_arguments(NEAR, self.port, &ours))?;
        let with = ping(self.taken.arguments(NEAR, self.port, &ours))?;
        let shown = without == "pang" && with == "pong";
        let consequence = match (without.as_str(), with.as_str()) {
            ("pang", "pong") => "a tool that is not told of TLS does not reach the node",
            (_, "pong") => "a tool without these flags reaches the node",
            _ => "no tool reaches the node, which another rule may know: mend that first",
        };
        Ok(Outcome::new(
            shown,
            consequence,
            vec![
                format!(
                    "net_adm:ping('{other}') with the cookie of the node, without its other flags: {without}"
                ),
                format!("the same with its flags: {with}"),
            ],
        ))
    }

    /// What a probe by plain HTTP hears from a listener of TLS.
    pub(super) fn http(&mut self) -> Result<Outcome> {
        let mut listener = self.start_stranger("listen", NEAR, "node")?;
        said(&mut listener, "skans-listens")?;
        let heard = get(self.port).map_err(|error| Error::Proof {
            what: format!("cannot connect to the listener of the proof: {error}"),
        })?;
        let answer = said(&mut listener, "skans-answer ")?;
        let shown = !heard.starts_with(b"HTTP/");
        // An alert is `21`, the version, a length of two, then level and description (RFC 8446, 5.1 and 6).
        let heard = match heard.as_slice() {
            [] => "the connection is closed".to_owned(),
            [21, _, _, 0, 2, _, description, ..] => format!("an alert of TLS, {description}"),
            other => format!("{} bytes, no HTTP", other.len()),
        };
        Ok(Outcome::new(
            shown,
            if shown {
                "the probe hears no HTTP, so that it never succeeds"
            } else {
                "the listener answered by HTTP"
            },
            vec![
                "a connection by TCP alone, as of tcpSocket: accepted".to_owned(),
                format!("\"GET / HTTP/1.1\" in clear: {heard}"),
                format!("the listener: {answer}"),
            ],
        ))
    }
}

/// The first bytes of an answer to a request in clear.
fn get(port: u16) -> std::io::Result<Vec<u8>> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(Duration::from_secs(15)))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut heard = Vec::new();
    // A reset is an answer, too.
    let _ = stream.take(1024).read_to_end(&mut heard);
    Ok(heard)
}

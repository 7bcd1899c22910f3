//! What people put in front of plain distribution today: TLS tunnels of others, as fast and as strict as they can be
//! configured. Two processes, as with the agents: one beside each node.

use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::error::{Doing, Error, Result};
use crate::process::{Process, START};

/// Which program.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A process that does nothing else, a thread for each connection.
    Stunnel,
    /// The fastest of the common proxies.
    Haproxy,
}

/// A tunnel that this machine has.
#[derive(Clone, Debug)]
pub struct Tunnel {
    /// Which program.
    pub kind: Kind,
    /// Where it is.
    pub program: PathBuf,
    /// What it says of itself.
    pub version: String,
}

/// One end of a tunnel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// Takes plain connections and goes on with TLS; beside `a`.
    Dial,
    /// The other way round; beside `b`.
    Accept,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Stunnel, Self::Haproxy];

    /// The program, as in Debian's package.
    pub const fn program(self) -> &'static str {
        match self {
            Self::Stunnel => "stunnel",
            Self::Haproxy => "haproxy",
        }
    }

    const fn package(self) -> &'static str {
        match self {
            Self::Stunnel => "stunnel4",
            Self::Haproxy => "haproxy",
        }
    }

    /// What to say if it is not there.
    pub fn missing(self) -> String {
        format!(
            "NOT MEASURED: {} was not found (Debian: apt-get install {}; script/bootstrap bench does it)",
            self.program(),
            self.package()
        )
    }

    /// Both configuration files, on one line each.
    pub fn configuration(self) -> String {
        let shown = |side, text: &str| {
            let text = text.trim().replace('\n', "; ");
            format!("{side}: `{text}`")
        };
        let ports = [(1, 2)];
        let directory = Path::new("DIR");
        [
            shown("beside a", &self.file(Side::Dial, directory, &ports)),
            shown("beside b", &self.file(Side::Accept, directory, &ports)),
        ]
        .join(", ")
    }

    /// A configuration file; it takes connections on each first port, and goes on to the second.
    fn file(self, side: Side, directory: &Path, ports: &[(u16, u16)]) -> String {
        match self {
            Self::Stunnel => stunnel(side, directory, ports),
            Self::Haproxy => haproxy(side, directory, ports),
        }
    }

    fn find(self) -> Option<Tunnel> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        // Where Debian has haproxy: not in everybody's PATH.
        let more = [PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")];
        let program = std::env::split_paths(&path)
            .chain(more)
            .map(|directory| directory.join(self.program()))
            .find(|program| program.is_file())?;
        let argument = match self {
            Self::Stunnel => "-version",
            Self::Haproxy => "-vv",
        };
        let said = Command::new(&program).arg(argument).output().ok()?;
        // One of them says it on standard error.
        let said = [said.stdout, said.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        let line = |what: &str| {
            said.lines()
                .find(|line| line.contains(what))
                .map_or("", str::trim)
        };
        let [own, library] = match self {
            Self::Stunnel => ["stunnel ", "Running  with OpenSSL"],
            Self::Haproxy => ["HAProxy version", "Running on OpenSSL version"],
        };
        Some(Tunnel {
            kind: self,
            version: format!("{}; {}", line(own), line(library)),
            program,
        })
    }
}

/// Those that are installed.
pub fn installed() -> Vec<Tunnel> {
    Kind::ALL.into_iter().filter_map(Kind::find).collect()
}

/// Its own buffers are compiled in (18 KiB). Those of sockets are best left to the kernel, which makes them grow.
fn stunnel(side: Side, directory: &Path, ports: &[(u16, u16)]) -> String {
    let (client, name) = match side {
        Side::Dial => ("yes", "a"),
        Side::Accept => ("no", "b"),
    };
    let directory = directory.display();
    let mut text = format!(
        "foreground = yes\n\
         pid =\n\
         debug = warning\n\
         socket = a:SO_REUSEADDR=1\n\
         socket = l:TCP_NODELAY=1\n\
         socket = r:TCP_NODELAY=1\n\
         client = {client}\n\
         sslVersion = TLSv1.3\n\
         ciphersuites = TLS_AES_128_GCM_SHA256\n\
         curves = X25519\n\
         cert = {directory}/{name}.pem\n\
         key = {directory}/{name}.key\n\
         CAfile = {directory}/roots.pem\n\
         verifyChain = yes\n"
    );
    for (at, (accept, connect)) in ports.iter().enumerate() {
        let _ = write!(
            text,
            "[node{at}]\naccept = 127.0.0.1:{accept}\nconnect = 127.0.0.1:{connect}\n"
        );
    }
    text
}

/// It sets `TCP_NODELAY` on both sides by itself. Buffers of 64 KiB are four times the default, and of those that were
/// tried the fastest.
fn haproxy(side: Side, directory: &Path, ports: &[(u16, u16)]) -> String {
    let directory = directory.display();
    let mut text = "global\n\
         tune.bufsize 65536\n\
         defaults\n\
         mode tcp\n\
         timeout connect 5s\n\
         timeout client 1h\n\
         timeout server 1h\n"
        .to_owned();
    for (at, (accept, connect)) in ports.iter().enumerate() {
        let tls = |name: &str| {
            format!(
                "ssl crt {directory}/{name}.both.pem ca-file {directory}/roots.pem verify required ssl-min-ver TLSv1.3 ciphersuites TLS_AES_128_GCM_SHA256"
            )
        };
        let (taking, going) = match side {
            Side::Dial => (String::new(), tls("a")),
            Side::Accept => (format!("{} curves X25519", tls("b")), String::new()),
        };
        let _ = write!(
            text,
            "frontend take{at}\n\
             bind 127.0.0.1:{accept} {taking}\n\
             default_backend go{at}\n\
             backend go{at}\n\
             server other 127.0.0.1:{connect} {going}\n"
        );
    }
    text
}

impl Tunnel {
    /// Starts one end, and waits until it takes connections.
    pub async fn start(
        &self,
        side: Side,
        certificates: &Path,
        directory: &Path,
        ports: &[(u16, u16)],
    ) -> Result<Process> {
        let name = format!("{}-{side:?}", self.kind.program()).to_lowercase();
        let file = directory.join(format!("{name}.conf"));
        fs::write(&file, self.kind.file(side, certificates, ports)).doing(&name)?;
        self.run(&name, &file, ports.iter().map(|(accept, _)| *accept))
            .await
    }

    /// Starts the program with any configuration, and waits until it takes connections on these ports.
    pub async fn run(
        &self,
        name: &str,
        file: &Path,
        ports: impl Iterator<Item = u16>,
    ) -> Result<Process> {
        let path = file.display().to_string();
        let args = match self.kind {
            Kind::Stunnel => vec![path],
            // In the foreground, without a word.
            Kind::Haproxy => ["-db", "-q", "-f", &path].map(str::to_owned).into(),
        };
        let log = file.with_extension("log");
        let mut process = Process::start(name, &self.program, &args, &[], &log)?;
        let deadline = Instant::now() + START;
        for port in ports {
            while TcpStream::connect((Ipv4Addr::LOCALHOST, port))
                .await
                .is_err()
            {
                if !process.is_running() {
                    return Err(process.failed("it ended"));
                }
                if Instant::now() >= deadline {
                    return Err(Error::new(name, process.failed("it does not start")));
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(process)
    }
}

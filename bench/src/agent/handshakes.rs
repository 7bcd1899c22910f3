//! Full TLS 1.3 handshakes with certificates on both sides, for a second of the server's processor time: the agent's link port,
//! and haproxy with the same certificates. Clients are threads of this process; what they cost does not count.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::kx_group;
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::sign::SingleCertAndKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection};
use rustls_pki_types::ServerName;
use skans_identity::id::TrustDomain;
use skans_identity::{sni, tls};

use super::{Agent, Args};
use crate::certificates::{DOMAIN, Issuer};
use crate::error::{Doing, Error, Result};
use crate::pair::free_port;
use crate::process::Process;
use crate::stats::spread;
use crate::tunnels::Tunnel;

/// No answer takes longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is measured in each round, and what was found.
struct Series<'a> {
    title: String,
    server: &'a Process,
    address: SocketAddr,
    config: Arc<ClientConfig>,
    /// What is asked for.
    wanted: &'static str,
    found: Vec<f64>,
    /// Handshakes in a second of a clock.
    rate: Vec<f64>,
}

/// Measures, and gives a section of the report.
pub async fn measure(
    args: &Args,
    directory: &Path,
    skans: &Path,
    haproxy: Option<&Tunnel>,
) -> Result<String> {
    let issuer = Issuer::new()?;
    issuer.write(directory, &["b".to_owned()])?;
    let (agent, _) = Agent::start("agent-handshakes", directory, skans).await?;
    let proxy = match haproxy {
        Some(haproxy) => Some(start_proxy(haproxy, directory).await?),
        None => None,
    };
    let hybrid = client(&issuer, kx_group::X25519MLKEM768, true)?;
    let classic = client(&issuer, kx_group::X25519, true)?;
    let series = |title: &str, server, address, config, wanted| Series {
        title: title.to_owned(),
        server,
        address,
        config,
        wanted,
        found: Vec::new(),
        rate: Vec::new(),
    };
    let mut all = vec![
        series(
            "Skans, X25519",
            &agent.process,
            agent.links,
            Arc::clone(&classic),
            "at least 3,000",
        ),
        series(
            "Skans, X25519MLKEM768",
            &agent.process,
            agent.links,
            Arc::clone(&hybrid),
            "at least 2,500",
        ),
    ];
    let mut remarks = String::new();
    if let Some((process, address)) = &proxy {
        all.push(series("haproxy, X25519", process, *address, classic, ""));
        match shake(&hybrid, *address) {
            Ok(()) => all.push(series(
                "haproxy, X25519MLKEM768",
                process,
                *address,
                hybrid,
                "",
            )),
            Err(why) => {
                let _ = writeln!(
                    remarks,
                    "- haproxy does not do the hybrid here ({why}): OpenSSL knows it from 3.5 on."
                );
            }
        }
    } else {
        let _ = writeln!(remarks, "- **{}**", crate::tunnels::Kind::Haproxy.missing());
    }
    // A server that lets everybody in would be faster, and measure nothing.
    let stranger = client(&issuer, kx_group::X25519, false)?;
    for one in &all {
        shake(&one.config, one.address).doing(format!("{}: a handshake", one.title))?;
        if shake(&stranger, one.address).is_ok() {
            return Err(Error::new(
                &one.title,
                "it takes clients without a certificate",
            ));
        }
    }
    let count = all.len();
    for round in 0..usize::from(args.rounds) {
        for turn in 0..count {
            let Some(one) = all.get_mut((round + turn) % count) else {
                continue;
            };
            let (found, rate) = one.take(args)?;
            one.found.push(found);
            one.rate.push(rate);
            eprintln!(
                "round {} of {}: {}: {found:.0} for a second of a core",
                round + 1,
                args.rounds,
                one.title
            );
        }
    }
    Ok(section(args, &all, &remarks))
}

fn section(args: &Args, all: &[Series<'_>], remarks: &str) -> String {
    let mut text = "\n## Handshakes for a second of the server's processor time\n\n| | found | wanted | in a second |\n|---|---|---|---|\n".to_owned();
    for one in all {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} |",
            one.title,
            spread(&one.found, 0),
            one.wanted,
            spread(&one.rate, 0)
        );
    }
    let _ = write!(
        text,
        "\n- TLS 1.3, full, certificates of ECDSA P-256 on both sides with one issuing certificate between leaf and root, AES-128-GCM; {} clients at once, {} s each time, series in turn. \
         Processor time is user and system time of the server, all threads, from the first byte of TCP to the last.\n\
         - The agent's link port does what it does for every caller: it verifies the chain, records who called, waits for HELLO, and finds that the client hangs up.\n\
         - haproxy: `{}`\n{remarks}",
        args.clients,
        args.seconds,
        proxy_file(Path::new("DIR"), 1).trim().replace('\n', "; ")
    );
    text
}

/// It closes each connection as soon as its handshake is over: it does nothing else. One thread: with more, OpenSSL 3.0 takes a
/// fifth more processor time for each, for its locks.
fn proxy_file(directory: &Path, port: u16) -> String {
    let directory = directory.display();
    format!(
        "global\n\
         nbthread 1\n\
         tune.ssl.cachesize 0\n\
         defaults\n\
         mode tcp\n\
         timeout connect 5s\n\
         timeout client 10s\n\
         timeout server 10s\n\
         frontend take\n\
         bind 127.0.0.1:{port} ssl crt {directory}/b.both.pem ca-file {directory}/roots.pem verify required ssl-min-ver TLSv1.3 ciphersuites TLS_AES_128_GCM_SHA256 no-tls-tickets\n\
         tcp-request session reject\n"
    )
}

async fn start_proxy(haproxy: &Tunnel, directory: &Path) -> Result<(Process, SocketAddr)> {
    let port = free_port()?;
    let file = directory.join("haproxy-handshakes.conf");
    fs::write(&file, proxy_file(directory, port)).doing("write haproxy's configuration")?;
    let process = haproxy.run("haproxy", &file, [port].into_iter()).await?;
    Ok((process, SocketAddr::from((Ipv4Addr::LOCALHOST, port))))
}

/// A client that offers this key exchange alone.
fn client(
    issuer: &Issuer,
    group: &'static dyn SupportedKxGroup,
    shows: bool,
) -> Result<Arc<ClientConfig>> {
    let doing = "set a client up";
    let provider = CryptoProvider {
        kx_groups: vec![group],
        ..tls::provider()
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13])
        .doing(doing)?
        .dangerous()
        .with_custom_certificate_verifier(issuer.verifier()?);
    let mut config = if shows {
        let own = issuer.credential("a")?.certified_key();
        builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own)))
    } else {
        builder.with_no_client_auth()
    };
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![tls::ALPN.to_vec()];
    Ok(Arc::new(config))
}

impl Series<'_> {
    /// Handshakes for a second of the server's processor time, and in a second of a clock.
    fn take(&self, args: &Args) -> Result<(f64, f64)> {
        let limit = Duration::from_secs(args.seconds.into());
        let before = self.server.cpu_seconds()?;
        let start = Instant::now();
        let count = thread::scope(|scope| {
            let clients: Vec<_> = (0..args.clients)
                .map(|_| {
                    scope.spawn(|| {
                        let mut count = 0_u32;
                        while start.elapsed() < limit {
                            shake(&self.config, self.address)?;
                            count += 1;
                        }
                        Ok::<_, io::Error>(count)
                    })
                })
                .collect();
            let mut all = 0;
            for client in clients {
                let count = client
                    .join()
                    .map_err(|_| Error::new(&self.title, "a client ended"))?;
                all += count.doing(&self.title)?;
            }
            Ok(all)
        })?;
        let took = start.elapsed().as_secs_f64();
        let used = self.server.cpu_seconds()? - before;
        let count = f64::from(count);
        Ok((count / used.max(0.01), count / took))
    }
}

/// One handshake, to its very end: the server has verified us, and has hung up.
fn shake(config: &Arc<ClientConfig>, address: SocketAddr) -> io::Result<()> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut tls =
        ClientConnection::new(Arc::clone(config), server_name()?).map_err(io::Error::other)?;
    while tls.is_handshaking() || tls.wants_write() {
        tls.complete_io(&mut socket)?;
    }
    socket.shutdown(Shutdown::Write)?;
    // TLS 1.3: a refusal of our certificate comes now, as an alert.
    loop {
        match tls.read_tls(&mut socket) {
            Ok(0) => return Ok(()),
            Ok(_) => {
                tls.process_new_packets().map_err(io::Error::other)?;
                drop(tls.reader().read(&mut [0; 1024]));
            }
            Err(error) => return Err(error),
        }
    }
}

fn server_name() -> io::Result<ServerName<'static>> {
    let domain = TrustDomain::parse(DOMAIN).map_err(io::Error::other)?;
    sni::server_name_for(&domain, "b@localhost").map_err(io::Error::other)
}

//! What one gateway carries: the memory and the work of ways over which nothing goes, and how long a message takes through one of
//! them. A real gateway; behind it a port that gives back what it gets, before it the gateway of another cluster, by hand.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use skans_identity::UnixTime;
use skans_identity::authority::{Authority, Lifetimes};
use skans_identity::bundle::{Bundle, Bundles};
use skans_identity::host::Host;
use skans_identity::id::{SpiffeId, TrustDomain};
use skans_identity::trust::{DenySet, SharedTrust, Trust};
use skans_identity::verify::Verifier;
use skans_identity::{sni, tls};
use skans_link::{Answer, Ask, End};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::across::Cluster;
use crate::error::{Doing, Error, Result};

/// What is measured.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many ways are open in the end; a tenth of them first.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(10..=60_000))]
    ways: u32,
    /// The skans binary; the one beside this program unless given.
    #[arg(long)]
    skans: Option<PathBuf>,
}

/// Ways that are asked for at once.
const AT_ONCE: usize = 32;
/// Round trips of one byte.
const TRIPS: usize = 2000;
/// For how long the work of a gateway is looked at over whose ways nothing goes.
const REST: Duration = Duration::from_secs(10);

/// Measures, and gives a report in Markdown.
pub async fn measure(args: &Args, directory: &Path, skans: &Path) -> Result<String> {
    let skans = args.skans.as_deref().unwrap_or(skans);
    let echo = echo().await?;
    let ours = Cluster::new("a", "b", 1, directory, None)?;
    let theirs = Cluster::new("b", "a", 1, directory, Some(echo.port()))?;
    let asker = Asker::new(&ours.directory)?;
    theirs.decide("")?;
    let mut gateway = theirs.start(skans, "gateway", &theirs.gateway_config(&ours))?;
    gateway.wait_for_file(&theirs.socket("gateway")).await?;
    theirs.decide(&theirs.links(&ours)?)?;
    theirs.reload(skans, "gateway").await?;
    let asker = Arc::new(asker.knowing(&theirs.directory, theirs.gateway)?);

    let mut text = "\n| ways | opened, a second | resident, MiB | KiB for each | CPU at rest, % of a core | one byte there and back, us, p50 |\n|---|---|---|---|---|---|\n".to_owned();
    let mut ways: Vec<TcpStream> = Vec::new();
    let mut before = None;
    for count in [1, args.ways / 10, args.ways] {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let (new, begun) = (count - ways.len(), Instant::now());
        let mut asking = JoinSet::new();
        for number in 0..new {
            if asking.len() >= AT_ONCE {
                ways.extend(asked(&mut asking).await?);
            }
            let asker = Arc::clone(&asker);
            let number = u32::try_from(ways.len() + asking.len() + number).unwrap_or(0);
            asking.spawn(async move { asker.ask(number).await });
        }
        while !asking.is_empty() {
            ways.extend(asked(&mut asking).await?);
        }
        let opened = begun.elapsed();
        let memory = gateway.settled_memory().await?;
        let (work, begun) = (gateway.cpu_seconds()?, Instant::now());
        tokio::time::sleep(REST).await;
        let work = (gateway.cpu_seconds()? - work) / begun.elapsed().as_secs_f64();
        let trip = trip(ways.last_mut().ok_or_else(|| Error::new("ways", "none"))?).await?;
        let first = *before.get_or_insert(memory);
        let new = f64::from(u32::try_from(new).unwrap_or(u32::MAX));
        let all = f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        let _ = writeln!(
            text,
            "| {count} | {:.0} | {memory:.1} | {:.2} | {:.1} | {:.0} |",
            new / opened.as_secs_f64(),
            (memory - first) * 1024.0 / (all - 1.0).max(1.0),
            work * 100.0,
            trip.as_secs_f64() * 1e6,
        );
        eprintln!("{count} ways: {memory:.1} MiB");
    }
    let _ = write!(
        text,
        "\n- Each way is asked for over TLS 1.3 with certificates of two trust domains, {AT_ONCE} at once, and then carries bytes as they are; whoever asks and whoever is asked for share the machine with the gateway. \
         Memory is VmRSS once it stays; work is looked at for {} s. Round trips: {TRIPS}, one after the other, over one way while all others are idle.\n",
        REST.as_secs()
    );
    Ok(text)
}

/// The next way that is open.
async fn asked(asking: &mut JoinSet<Result<TcpStream>>) -> Result<Option<TcpStream>> {
    match asking.join_next().await {
        None => Ok(None),
        Some(Ok(way)) => way.map(Some),
        Some(Err(error)) => Err(Error::new("ways", error.to_string())),
    }
}

/// The median of a byte's way there and back.
async fn trip(way: &mut TcpStream) -> Result<Duration> {
    let mut all = Vec::with_capacity(TRIPS);
    for _ in 0..TRIPS {
        let begun = Instant::now();
        way.write_all(&[7]).await.doing("send a byte")?;
        way.read_exact(&mut [0]).await.doing("get it back")?;
        all.push(begun.elapsed());
    }
    all.sort_unstable();
    Ok(all.get(TRIPS / 2).copied().unwrap_or_default())
}

/// A port that gives back what it gets.
async fn echo() -> Result<SocketAddr> {
    let doing = "open a port";
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let listener = listener.doing(doing)?;
    let address = listener.local_addr().doing(doing)?;
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = socket.set_nodelay(true);
                let mut byte = [0; 64];
                while let Ok(count @ 1..) = socket.read(&mut byte).await {
                    if socket
                        .write_all(byte.get(..count).unwrap_or_default())
                        .await
                        .is_err()
                    {
                        return;
                    }
                }
            });
        }
    });
    Ok(address)
}

/// The gateway of the other cluster.
struct Asker {
    authority: Authority,
    domain: TrustDomain,
    connector: Option<(TlsConnector, ServerName<'static>, SocketAddr)>,
}

impl Asker {
    /// With an authority whose root lies where that of a real one would.
    fn new(directory: &Path) -> Result<Self> {
        let doing = "make an authority";
        let domain = TrustDomain::parse("a.test").doing(doing)?;
        let now = UnixTime::now();
        let authority = Authority::generate(&domain, "a", now, Lifetimes::default());
        let authority = authority.doing(doing)?;
        let own = directory.join("authority");
        fs::create_dir_all(&own).doing(doing)?;
        let roots = authority.bundle().doing(doing)?.to_pem();
        fs::write(own.join("root.pem"), roots).doing(doing)?;
        Ok(Self {
            authority,
            domain,
            connector: None,
        })
    }

    /// Knows the roots of whoever it asks.
    fn knowing(mut self, other: &Path, port: u16) -> Result<Self> {
        let doing = "make a gateway";
        let now = UnixTime::now();
        let domain = TrustDomain::parse("b.test").doing(doing)?;
        let roots = fs::read(other.join("authority/root.pem")).doing(doing)?;
        let mut bundles = Bundles::default();
        let bundle = Bundle::from_pem(domain.clone(), &roots).doing(doing)?;
        bundles.insert(bundle).doing(doing)?;
        let verifier = Verifier::new(SharedTrust::new(Trust {
            bundles,
            deny: DenySet::default(),
        }));
        let id = SpiffeId::gateway(&self.domain, "g1").doing(doing)?;
        let host = Host::parse("localhost").doing(doing)?;
        let life = Duration::from_secs(3600);
        let own = self.authority.issue(&id, &host, life, now).doing(doing)?;
        let config = tls::client_config(&own, verifier).doing(doing)?;
        let name = sni::server_name_for(&domain, sni::GATEWAY).doing(doing)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        self.connector = Some((TlsConnector::from(tls::to_gateway(&config)), name, address));
        Ok(self)
    }

    /// Asks for a way, and has it.
    async fn ask(&self, number: u32) -> Result<TcpStream> {
        let doing = "ask for a way";
        let Some((connector, name, address)) = &self.connector else {
            return Err(Error::new(doing, "it knows nobody"));
        };
        let end = |name: &str| End {
            trust_domain: format!("{name}.test"),
            cluster: name.to_owned(),
            node: format!("{name}@localhost"),
        };
        let mut session = [0; 16];
        aws_lc_rs::rand::fill(&mut session).map_err(|_| Error::new(doing, "no random numbers"))?;
        let ask = Ask {
            session,
            from: end("a"),
            to: end("b"),
        };
        let what = format!("{doing} ({number})");
        let socket = TcpStream::connect(address).await.doing(&what)?;
        socket.set_nodelay(true).doing(&what)?;
        let mut tls = connector.connect(name.clone(), socket).await.doing(&what)?;
        tls.write_all(&ask.encode()).await.doing(&what)?;
        tls.flush().await.doing(&what)?;
        let mut length = [0; 2];
        tls.read_exact(&mut length).await.doing(&what)?;
        let mut body = vec![0; usize::from(u16::from_be_bytes(length))];
        tls.read_exact(&mut body).await.doing(&what)?;
        match Answer::decode(&body).doing(&what)? {
            Answer::Open { .. } => Ok(tls.into_inner().0),
            other => Err(Error::new(&what, format!("{other:?}"))),
        }
    }
}

//! A relay that knows nothing: bytes from one socket to another, both ways, on one thread.
//!
//! Two of them between two nodes are the ceiling: nothing that also reads what it relays, or
//! encrypts it, can be faster. Two with TLS in between are the floor: what a tunnel reaches that
//! takes no trouble.
//!
//! Prints the port on which it listens, and relays every connection to the given address until its
//! standard input ends.

mod tls;

use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::ExitCode;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

const USAGE: &str = "usage: skans-bench-relay ADDRESS              plain on both sides
       skans-bench-relay ADDRESS dial DIRECTORY     TLS towards ADDRESS, with DIRECTORY's a.pem
       skans-bench-relay ADDRESS accept DIRECTORY   TLS towards whoever connects, with b.pem";

/// Bytes for each direction: what the agent's buffers grow to.
const BUFFER: usize = 128 * 1024;

/// On which side there is TLS.
#[derive(Clone)]
enum Mode {
    Plain,
    Dial(TlsConnector),
    Accept(TlsAcceptor),
}

// One thread: every hand-over between two is a wake-up more.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (target, mode) = match args.as_slice() {
        [target] => (*target, Ok(Mode::Plain)),
        [target, "dial", directory] => (
            *target,
            tls::connector(Path::new(directory)).map(Mode::Dial),
        ),
        [target, "accept", directory] => (
            *target,
            tls::acceptor(Path::new(directory)).map(Mode::Accept),
        ),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    let serve = async {
        let mode = mode?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        println!("{}", listener.local_addr()?.port());
        loop {
            let (socket, _) = listener.accept().await?;
            let (target, mode) = (target.to_owned(), mode.clone());
            tokio::spawn(async move {
                // A connection that cannot be relayed is closed: both nodes see that.
                if let Err(error) = relay(socket, &target, mode).await {
                    eprintln!("skans-bench-relay: {error}");
                }
            });
        }
    };
    let end: io::Result<()> = tokio::select! {
        end = serve => end,
        () = end_of_stdin() => Ok(()),
    };
    match end {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("skans-bench-relay: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn relay(near: TcpStream, target: &str, mode: Mode) -> io::Result<()> {
    let far = TcpStream::connect(target).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    match mode {
        Mode::Plain => copy(near, far).await,
        Mode::Dial(connector) => {
            copy(near, connector.connect(tls::server_name()?, far).await?).await
        }
        Mode::Accept(acceptor) => copy(acceptor.accept(near).await?, far).await,
    }
}

async fn copy(
    mut near: impl AsyncRead + AsyncWrite + Unpin,
    mut far: impl AsyncRead + AsyncWrite + Unpin,
) -> io::Result<()> {
    tokio::io::copy_bidirectional_with_sizes(&mut near, &mut far, BUFFER, BUFFER).await?;
    Ok(())
}

async fn end_of_stdin() {
    let mut sink = [0; 64];
    while matches!(tokio::io::stdin().read(&mut sink).await, Ok(1..)) {}
}

//! A relay that knows nothing: bytes from one socket to another, both ways. Two of them between two
//! nodes cost what any pair of agents must cost; nothing without TLS and parsing can be faster.
//!
//! `skans-bench-relay ADDRESS` prints the port on which it listens, and relays every connection to
//! `ADDRESS` until its standard input ends.

use std::io;
use std::net::Ipv4Addr;
use std::process::ExitCode;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

/// Bytes for each direction: what the agent's buffers grow to.
const BUFFER: usize = 128 * 1024;

// One thread: every hand-over between two is a wake-up more.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Some(target) = std::env::args().nth(1) else {
        eprintln!("usage: skans-bench-relay ADDRESS");
        return ExitCode::from(2);
    };
    let serve = async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        println!("{}", listener.local_addr()?.port());
        loop {
            let (socket, _) = listener.accept().await?;
            // A connection that cannot be relayed is closed: both nodes see that.
            tokio::spawn(relay(socket, target.clone()));
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

async fn relay(mut near: TcpStream, target: String) -> io::Result<()> {
    let mut far = TcpStream::connect(target).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    tokio::io::copy_bidirectional_with_sizes(&mut near, &mut far, BUFFER, BUFFER).await?;
    Ok(())
}

async fn end_of_stdin() {
    let mut sink = [0; 64];
    while matches!(tokio::io::stdin().read(&mut sink).await, Ok(1..)) {}
}

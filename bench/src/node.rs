//! One Erlang node under load, and the socket by which it is told what to do.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::error::{Doing, Error, Result};
use crate::process::{Process, START};

/// No command takes longer: the longest samples take seconds.
const ANSWER: Duration = Duration::from_secs(120);

/// A node that runs `skans_load`.
#[derive(Debug)]
pub struct Node {
    /// `alive@host`.
    pub name: String,
    /// Its process.
    pub process: Process,
    control: BufReader<TcpStream>,
}

impl Node {
    /// Starts a node, named `alive@localhost`, with more arguments and environment variables, and
    /// waits until it is there. `load` is the directory of the compiled driver.
    pub async fn start(
        alive: &str,
        args: &[String],
        env: &[(String, String)],
        load: &Path,
        log: &Path,
    ) -> Result<Self> {
        let name = format!("{alive}@localhost");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .doing("open a control port")?;
        let port = listener.local_addr().doing("open a control port")?.port();
        // Only what is measured connects: `global` would connect again after a disconnect that comes early.
        let mut all: Vec<String> = [
            "-noinput",
            "-sname",
            &name,
            "-kernel",
            "dist_auto_connect",
            "never",
            "-pa",
        ]
        .map(str::to_owned)
        .into();
        all.push(load.display().to_string());
        all.extend_from_slice(args);
        all.extend(["-run", "skans_load", "start", &port.to_string()].map(str::to_owned));
        let mut process = Process::start(&name, "erl", &all, env, log)?;
        let deadline = tokio::time::Instant::now() + START;
        let socket = loop {
            let pause = Duration::from_millis(200);
            match tokio::time::timeout(pause, listener.accept()).await {
                Ok(accepted) => break accepted.doing("accept a control connection")?.0,
                Err(_) if !process.is_running() => return Err(process.failed("it ended")),
                Err(_) if tokio::time::Instant::now() >= deadline => {
                    return Err(process.failed("it does not start"));
                }
                Err(_) => {}
            }
        };
        socket
            .set_nodelay(true)
            .doing("set up a control connection")?;
        Ok(Self {
            name,
            process,
            control: BufReader::new(socket),
        })
    }

    /// Runs a command of `skans_load`; the numbers that it answers with.
    pub async fn run<const N: usize>(&mut self, command: &str) -> Result<[u64; N]> {
        self.ask(command).await?;
        self.answer(command).await
    }

    /// Begins with a command, and does not wait for its end.
    pub async fn ask(&mut self, command: &str) -> Result<()> {
        let line = format!("{command}\n");
        let asked = self.control.write_all(line.as_bytes()).await;
        asked.map_err(|error| self.process.failed(format!("{command}: {error}")))
    }

    /// What comes of a command that was begun.
    pub async fn answer<const N: usize>(&mut self, command: &str) -> Result<[u64; N]> {
        let asked = async {
            let mut answer = String::new();
            self.control.read_line(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        let answer = match tokio::time::timeout(ANSWER, asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(self.process.failed(format!("{command}: {error}"))),
            Err(_) => return Err(self.process.failed(format!("{command}: no answer"))),
        };
        let numbers = answer.trim().strip_prefix("ok").map(|numbers| {
            numbers
                .split_whitespace()
                .filter_map(|number| number.parse().ok())
                .collect::<Vec<u64>>()
        });
        numbers
            .and_then(|numbers| numbers.try_into().ok())
            .ok_or_else(|| {
                Error::new(
                    format!("{}: {command}", self.name),
                    self.process.failed(answer.trim()),
                )
            })
    }
}

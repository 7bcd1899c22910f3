//! Real nodes for tests: started, talked to, and stopped by their id. No knowledge of the protocol lives here.
// Each test binary uses a part of this.
#![allow(dead_code)]

pub mod epmd;
pub mod relay;

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// How long anything may take. A node answers in milliseconds; a loaded machine in seconds.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running `erl` that answers requests, see `probe:serve/0`.
pub struct Node {
    child: Child,
    stdin: Option<ChildStdin>,
    replies: Receiver<Vec<u8>>,
    said: Arc<Mutex<String>>,
}

impl Node {
    /// Starts `erl` with further arguments and environment.
    pub fn start(arguments: &[&str], environment: &[(&str, String)]) -> Self {
        let probe = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/probe.erl");
        let boot = format!(
            "{{ok,M,B}} = compile:file({:?}, [binary, report_errors]), {{module,M}} = code:load_binary(M, \"probe\", B), spawn(probe, serve, []).",
            probe.to_str().expect("the path of this crate is UTF-8")
        );
        // Standard output belongs to the replies: the logger must not write to it.
        let started = Command::new("erl")
            .args([
                "-noinput",
                "-start_epmd",
                "false",
                "-setcookie",
                "probe",
                "-kernel",
                "logger_level",
                "none",
            ])
            .args(arguments)
            .args(["-eval", &boot])
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .env_remove("ERL_FLAGS")
            .env_remove("ERL_AFLAGS")
            .env_remove("ERL_ZFLAGS")
            .env_remove("ERL_LIBS")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = started.unwrap_or_else(|error| {
            panic!("cannot start `erl`: {error}. These tests need Erlang/OTP 25 or later in PATH (Debian: erlang-base, erlang-dev)")
        });
        let (sender, replies) = channel();
        let mut stdout = child.stdout.take().expect("piped");
        thread::spawn(move || {
            let mut length = [0; 4];
            while stdout.read_exact(&mut length).is_ok() {
                let mut reply = vec![0; u32::from_be_bytes(length) as usize];
                if stdout.read_exact(&mut reply).is_err() || sender.send(reply).is_err() {
                    return;
                }
            }
        });
        let said = Arc::new(Mutex::new(String::new()));
        let (mut stderr, saying) = (child.stderr.take().expect("piped"), Arc::clone(&said));
        thread::spawn(move || {
            let mut chunk = [0; 1024];
            while let Ok(count @ 1..) = stderr.read(&mut chunk) {
                saying
                    .lock()
                    .expect("no panic while held")
                    .push_str(&String::from_utf8_lossy(&chunk[..count]));
            }
        });
        Self {
            stdin: child.stdin.take(),
            child,
            replies,
            said,
        }
    }

    /// A node that is not distributed.
    pub fn alone() -> Self {
        Self::start(&[], &[])
    }

    fn ask(&mut self, kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 1)
            .expect("a small request")
            .to_be_bytes();
        let stdin = self.stdin.as_mut().expect("open until dropped");
        let sent = stdin
            .write_all(&[&length[..], &[kind], body].concat())
            .and_then(|()| stdin.flush());
        let reply = sent.map_err(|error| error.to_string()).and_then(|()| {
            self.replies
                .recv_timeout(PATIENCE)
                .map_err(|error| error.to_string())
        });
        match reply {
            Ok(reply) if reply.starts_with(b"ok ") => reply[3..].to_vec(),
            Ok(reply) => panic!(
                "the node says: {}\n{}",
                String::from_utf8_lossy(&reply),
                self.said()
            ),
            Err(error) => panic!("the node does not answer: {error}\n{}", self.said()),
        }
    }

    fn said(&self) -> String {
        self.said.lock().expect("no panic while held").clone()
    }

    /// Evaluates an expression, which ends with a full stop. The value comes back as text; a binary as it is.
    pub fn eval(&mut self, expression: &str) -> Vec<u8> {
        self.ask(b'e', expression.as_bytes())
    }

    /// As [`Node::eval`], as text.
    pub fn text(&mut self, expression: &str) -> String {
        String::from_utf8(self.eval(expression)).expect("UTF-8")
    }

    /// What `term_to_binary(binary_to_term(Bytes))` makes of an encoded term.
    pub fn there_and_back(&mut self, term: &[u8]) -> Vec<u8> {
        self.ask(b't', term)
    }

    /// Whether two encoded terms are the same.
    pub fn same(&mut self, a: &[u8], b: &[u8]) -> bool {
        let length = u32::try_from(a.len()).expect("a small term").to_be_bytes();
        self.ask(b'=', &[&length[..], a, b].concat()) == b"true"
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // The node halts when its standard input ends; if it does not, it is killed.
        drop(self.stdin.take());
        while let Ok(_late) = self.replies.recv_timeout(Duration::from_secs(5)) {}
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The release of the `erl` in PATH: 25, 26, ...
pub fn otp_release() -> u32 {
    let release = Node::alone().text("list_to_binary(erlang:system_info(otp_release)).");
    release.parse().expect("a number")
}

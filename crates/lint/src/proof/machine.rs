//! A scratch directory, and `erl` in it: started, heard, stopped. Nothing of the reader's and no meaning.

use std::collections::hash_map::RandomState;
use std::fs::{self, DirBuilder};
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Read};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// How long anything is waited for. A node starts within a second on an idle machine; a busy one takes ten.
pub(super) const PATIENCE: Duration = Duration::from_secs(40);
/// How long a node lives at most, should nobody be left to stop it, in milliseconds. Longer than all waits of a proof.
pub(super) const LIFE: u32 = 180_000;
/// How much of the output of a node is kept, in bytes and in lines: enough for the report of a crash.
const HEARD: u64 = 64 << 10;
const LINES: usize = 400;

/// Which `erl` is started.
#[derive(Debug, Clone)]
pub struct Erl {
    program: PathBuf,
    root: Option<PathBuf>,
}

impl Default for Erl {
    fn default() -> Self {
        Self::at("erl")
    }
}

impl Erl {
    /// This program: a path, or a name that is looked up in `PATH`.
    #[must_use]
    pub fn at(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            root: None,
        }
    }

    /// The one of a system that is unpacked into a directory. It is entered by `chroot`, which needs root.
    #[must_use]
    pub fn in_root(root: impl Into<PathBuf>) -> Self {
        Self {
            program: "erl".into(),
            root: Some(root.into()),
        }
    }

    /// Whether it is of this system.
    pub(super) const fn is_here(&self) -> bool {
        self.root.is_none()
    }

    fn command(&self, program: &Path) -> Command {
        match &self.root {
            None => Command::new(program),
            Some(root) => {
                let mut command = Command::new("chroot");
                command.arg(root).arg(program);
                command
            }
        }
    }
}

/// A directory of our own, gone when this is.
#[derive(Debug)]
pub(super) struct Scratch {
    outside: PathBuf,
    /// As what is started sees it.
    inside: PathBuf,
}

impl Scratch {
    pub(super) fn new(erl: &Erl) -> Result<Self> {
        let base = match &erl.root {
            None => std::env::temp_dir(),
            Some(root) => root.join("tmp"),
        };
        for _ in 0..16 {
            let name = format!("skans-proof-{:016x}", random());
            let outside = base.join(&name);
            match builder().create(&outside) {
                Ok(()) => {
                    let inside = match &erl.root {
                        None => outside.clone(),
                        Some(_) => Path::new("/tmp").join(&name),
                    };
                    return Ok(Self { outside, inside });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(scratch(&outside, error)),
            }
        }
        Err(scratch(&base, io::ErrorKind::AlreadyExists.into()))
    }

    /// Writes a file; its path as what is started sees it.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<String> {
        let path = self.outside.join(name);
        fs::write(&path, text).map_err(|error| scratch(&path, error))?;
        Ok(self.path(name))
    }

    /// Writes a file that everybody may read, as those of a Secret volume are unless a mode is given.
    pub(super) fn write_open(&self, name: &str, text: &str) -> Result<()> {
        self.write(name, text)?;
        let path = self.outside.join(name);
        open_to_all(&path).map_err(|error| scratch(&path, error))
    }

    /// Puts one of its files in the place of another.
    pub(super) fn copy(&self, from: &str, to: &str) -> Result<()> {
        let path = self.outside.join(to);
        fs::copy(self.outside.join(from), &path).map_err(|error| scratch(&path, error))?;
        Ok(())
    }

    /// The path of a file in it.
    pub(super) fn path(&self, name: &str) -> String {
        self.inside.join(name).display().to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing can be done about what cannot be removed.
        let _ = fs::remove_dir_all(&self.outside);
    }
}

fn scratch(path: &Path, source: io::Error) -> Error {
    Error::Read {
        path: path.display().to_string(),
        source,
    }
}

#[cfg(unix)]
fn builder() -> DirBuilder {
    use std::os::unix::fs::DirBuilderExt;
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    builder
}

#[cfg(unix)]
fn open_to_all(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn open_to_all(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(not(unix))]
fn builder() -> DirBuilder {
    DirBuilder::new()
}

/// A number that others do not know: the seed of the hash maps of this process.
pub(super) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// A port that is free on both addresses of a proof.
pub(super) fn free_port() -> Result<u16> {
    let refused = |source| Error::Proof {
        what: format!("no port of loopback is free: {source}"),
    };
    for _ in 0..32 {
        let one = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(refused)?;
        let port = one.local_addr().map_err(refused)?.port();
        if TcpListener::bind((Ipv4Addr::new(127, 0, 0, 2), port)).is_ok() {
            return Ok(port);
        }
    }
    Err(Error::Proof {
        what: "found no port that is free on 127.0.0.1 and 127.0.0.2".to_owned(),
    })
}

/// Something that runs, and what it has said.
#[derive(Debug)]
pub(super) struct Machine {
    child: Child,
    heard: Receiver<String>,
    /// The lines so far, without what a terminal would obey.
    pub(super) said: Vec<String>,
}

/// What came of waiting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Waited {
    /// The rest of the line that began so.
    Said(String),
    /// It has ended, or closed its output, and never said so.
    Ended,
}

impl Machine {
    /// Starts `erl` with an environment of its own.
    pub(super) fn erl(erl: &Erl, scratch: &Scratch, arguments: &[String]) -> Result<Self> {
        Self::start(erl, &erl.program, scratch, arguments)
    }

    /// Starts another program in the same way.
    pub(super) fn start(
        erl: &Erl,
        program: &Path,
        scratch: &Scratch,
        arguments: &[String],
    ) -> Result<Self> {
        let mut child = erl
            .command(program)
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &scratch.inside)
            .env("ERL_CRASH_DUMP_SECONDS", "0")
            // Nobody listens there: an epmd of this machine hears nothing of a proof.
            .env("ERL_EPMD_PORT", "1")
            .current_dir(&scratch.outside)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| Error::Proof {
                what: format!(
                    "cannot start {}: {error}; wanted Erlang/OTP in PATH, or --erl PATH",
                    program.display()
                ),
            })?;
        let (sender, heard) = channel();
        if let Some(output) = child.stdout.take() {
            listen(output, sender.clone());
        }
        if let Some(output) = child.stderr.take() {
            listen(output, sender);
        }
        Ok(Self {
            child,
            heard,
            said: Vec::new(),
        })
    }

    /// The id of its process.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line that begins so.
    pub(super) fn wait(&mut self, mark: &str) -> Result<Waited> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.heard.recv_timeout(left) {
                Ok(line) => {
                    if let Some((_, rest)) = line.split_once(mark) {
                        return Ok(Waited::Said(rest.trim().to_owned()));
                    }
                    if self.said.len() < LINES && !line.trim().is_empty() {
                        self.said.push(line);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(Waited::Ended),
                Err(RecvTimeoutError::Timeout) => {
                    return Err(Error::Proof {
                        what: format!(
                            "waited {} s for {mark:?}; the node said: {}",
                            PATIENCE.as_secs(),
                            self.said.join(" | ")
                        ),
                    });
                }
            }
        }
    }

    /// Takes what else it says within a moment: reports of a node come after the fact.
    pub(super) fn linger(&mut self, moment: Duration) {
        let deadline = Instant::now() + moment;
        while let Ok(line) = self
            .heard
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            if self.said.len() < LINES && !line.trim().is_empty() {
                self.said.push(line);
            }
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listen(output: impl Read + Send + 'static, lines: Sender<String>) {
    thread::spawn(move || {
        let mut output = output.take(HEARD);
        let mut open = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = output.read(&mut buffer) {
            for byte in buffer.iter().take(read) {
                if *byte == b'\n' {
                    if lines.send(clean(&open)).is_err() {
                        return;
                    }
                    open.clear();
                } else {
                    open.push(*byte);
                }
            }
        }
        let _ = lines.send(clean(&open));
        // What is too much is not kept, and must not stop who says it.
        let _ = io::copy(&mut output.into_inner(), &mut io::sink());
    });
}

/// A line that may be shown: a bounded part, and nothing that a terminal would obey.
fn clean(line: &[u8]) -> String {
    String::from_utf8_lossy(line)
        .chars()
        .filter(|c| !c.is_control())
        .take(400)
        .collect()
}

//! A real `erl`, driven over its standard input: expressions in, terms out.
//!
//! The driver is one `-eval`, so that nothing has to be compiled. When its input ends the node
//! halts: no node survives whoever started it, however that one ended.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::{ChildStdin, Command};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::Error;
use crate::process::{Process, Tail, lines};
use crate::wait::PAUSE;

/// Reads `<number> <base64 of an expression>` lines and answers `\x02<number> ok|error <term>`.
/// Each expression has a process of its own, so that one that hangs holds up nothing.
const DRIVER: &str = r#"
Answer = fun(Number, Text) -> io:put_chars(user, [2, Number, " ", Text, 10]) end,
Evaluate = fun(Base64) ->
    try
        {ok, Tokens, _} = erl_scan:string(unicode:characters_to_list(base64:decode(Base64))),
        {ok, Forms} = erl_parse:parse_exprs(Tokens),
        {value, Value, _} = erl_eval:exprs(Forms, []),
        io_lib:format("ok ~0p", [Value])
    catch Class:Reason -> io_lib:format("error ~0p", [{Class, Reason}]) end
end,
Loop = fun Next() ->
    case io:get_line(user, []) of
        Line when is_list(Line) ->
            [Number, Base64] = string:lexemes(Line, " \n"),
            spawn(fun() -> Answer(Number, Evaluate(Base64)) end),
            Next();
        _ -> erlang:halt(0, [{flush, false}])
    end
end,
spawn(fun() -> Answer("0", "ok ready"), Loop() end).
"#;

/// A node boots in well under a second; on a loaded machine of two cores, ten at once take a few.
const BOOT: Duration = Duration::from_secs(30);

/// How to start a node.
#[derive(Clone, Debug)]
pub struct Options {
    /// What error messages call it: its node name.
    pub label: String,
    /// The program, see [`find`].
    pub erl: PathBuf,
    /// Its home and working directory. It must be the node's own, for a node writes there.
    pub home: PathBuf,
    /// Arguments, such as `-name a@host`.
    pub args: Vec<String>,
    /// The environment, beside `PATH` and `HOME`. Nothing else is inherited.
    pub env: Vec<(String, String)>,
}

/// A running node.
#[derive(Debug)]
pub struct ErlNode {
    label: String,
    process: Process,
    /// `None` once it was told to halt.
    input: tokio::sync::Mutex<Option<ChildStdin>>,
    waiting: Waiting,
    next: AtomicU64,
    said: Tail,
}

/// Who waits for which answer. Dropped senders mean that the node is gone.
type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Result<String, String>>>>>;

/// The first `erl` in `PATH`.
///
/// # Errors
/// [`Error::NoErl`], which says how to get it.
pub fn find() -> Result<PathBuf, Error> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|directory| directory.join("erl"))
        .find(|file| file.is_file())
        .ok_or(Error::NoErl)
}

impl ErlNode {
    /// Starts a node and waits until it takes expressions.
    ///
    /// # Errors
    /// [`Error::Ended`] with what it said if it does not boot, [`Error::TimedOut`] after 30 s.
    pub async fn start(options: &Options) -> Result<Self, Error> {
        Self::spawn(options)?.booted().await
    }

    /// Starts a node without waiting for it; [`Starting::booted`] waits.
    ///
    /// # Errors
    /// [`Error::System`] if the process cannot be started.
    pub fn spawn(options: &Options) -> Result<Starting, Error> {
        let mut command = Command::new(&options.erl);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &options.home)
            // A node that does not boot would leave its dump behind.
            .env("ERL_CRASH_DUMP_SECONDS", "0")
            .envs(options.env.iter().map(|(name, value)| (name, value)))
            .current_dir(&options.home)
            .args(&options.args)
            .args(["-noshell", "-eval", DRIVER])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut process = Process::spawn(&options.label, &mut command)?;
        let said = Tail::default();
        let waiting = Waiting::default();
        let (ready, is_ready) = oneshot::channel();
        lock(&waiting).insert(0, ready);
        let child = process.child();
        let (input, output, errors) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        if let Some(output) = output {
            let (said, waiting) = (said.clone(), Arc::clone(&waiting));
            tokio::spawn(async move {
                lines(output, |line| sort(line, &waiting, &said)).await;
                // Nobody will be answered any more.
                lock(&waiting).clear();
            });
        }
        if let Some(errors) = errors {
            let said = said.clone();
            tokio::spawn(lines(errors, move |line| said.push(line)));
        }
        let node = Self {
            label: options.label.clone(),
            process,
            input: tokio::sync::Mutex::new(input),
            waiting,
            next: AtomicU64::new(1),
            said,
        };
        Ok(Starting { node, is_ready })
    }

    /// What it is called.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The end of what it wrote, besides answers.
    #[must_use]
    pub fn said(&self) -> String {
        self.said.text()
    }

    /// Evaluates an expression (or several, with commas) and returns the term as `~0p` prints it.
    /// Several may run at once.
    ///
    /// # Errors
    /// [`Error::Raised`], [`Error::TimedOut`], or [`Error::Ended`] if the node is gone.
    pub async fn eval(&self, expression: &str, limit: Duration) -> Result<String, Error> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        lock(&self.waiting).insert(number, answer);
        let exchange = async {
            let mut input = self.input.lock().await;
            if let Some(input) = input.as_mut() {
                let dot = if expression.trim_end().ends_with('.') {
                    ""
                } else {
                    "."
                };
                let line = format!(
                    "{number} {}\n",
                    base64(format!("{expression}{dot}").as_bytes())
                );
                // A node that is gone shows in the answer that does not come.
                let _ = input.write_all(line.as_bytes()).await;
            } else {
                lock(&self.waiting).remove(&number);
            }
            drop(input);
            answered.await
        };
        let result = tokio::time::timeout(limit, exchange).await;
        lock(&self.waiting).remove(&number);
        match result {
            Ok(Ok(Ok(term))) => Ok(term),
            Ok(Ok(Err(exception))) => Err(Error::Raised {
                node: self.label.clone(),
                expression: short(expression),
                exception,
            }),
            Ok(Err(_)) => Err(self.gone("its output ended")),
            Err(_) => Err(Error::TimedOut {
                what: format!("{}: {}", self.label, short(expression)),
                limit,
                last: "no answer".to_owned(),
            }),
        }
    }

    /// Evaluates until the expression yields `wanted`.
    ///
    /// # Errors
    /// [`Error::TimedOut`] with the last value; otherwise as [`ErlNode::eval`].
    pub async fn wait_for(
        &self,
        expression: &str,
        wanted: &str,
        limit: Duration,
    ) -> Result<(), Error> {
        let deadline = Instant::now() + limit;
        let mut last = "nothing yet".to_owned();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.eval(expression, left).await {
                Ok(value) if value == wanted => return Ok(()),
                Ok(value) => last = value,
                Err(Error::TimedOut { .. }) => {}
                Err(other) => return Err(other),
            }
            if left <= PAUSE {
                let what = format!("{}: {} to be {wanted}", self.label, short(expression));
                return Err(Error::TimedOut { what, limit, last });
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Evaluates until the expression yields `true`.
    ///
    /// # Errors
    /// As [`ErlNode::wait_for`].
    pub async fn wait_until(&self, expression: &str, limit: Duration) -> Result<(), Error> {
        self.wait_for(expression, "true", limit).await
    }

    /// SIGKILL, and until it is gone.
    ///
    /// # Errors
    /// [`Error::System`].
    pub async fn kill(mut self) -> Result<(), Error> {
        self.process.kill().await
    }

    /// `init:stop()`, as an operator would; killed if it takes longer than `limit`.
    ///
    /// # Errors
    /// [`Error::TimedOut`] if it had to be killed.
    pub async fn stop(self, limit: Duration) -> Result<(), Error> {
        let _ = self.eval("init:stop()", limit).await;
        self.leave(limit).await
    }

    /// Halts at once, by the end of its input; killed if it takes longer than `limit`.
    ///
    /// # Errors
    /// [`Error::TimedOut`] if it had to be killed.
    pub async fn halt(self, limit: Duration) -> Result<(), Error> {
        self.input.lock().await.take();
        self.leave(limit).await
    }

    async fn leave(mut self, limit: Duration) -> Result<(), Error> {
        if self.process.wait(limit).await.is_some() {
            return Ok(());
        }
        self.process.kill().await?;
        let last = "it had to be killed".to_owned();
        Err(Error::TimedOut {
            what: format!("{} to end", self.label),
            limit,
            last,
        })
    }

    fn gone(&self, how: &str) -> Error {
        Error::Ended {
            what: self.label.clone(),
            how: how.to_owned(),
            output: self.said.text(),
        }
    }
}

/// A node that was started and may not have booted yet.
#[derive(Debug)]
pub struct Starting {
    node: ErlNode,
    is_ready: oneshot::Receiver<Result<String, String>>,
}

impl Starting {
    /// Waits until the node takes expressions.
    ///
    /// # Errors
    /// As [`ErlNode::start`].
    pub async fn booted(mut self) -> Result<ErlNode, Error> {
        match tokio::time::timeout(BOOT, &mut self.is_ready).await {
            Ok(Ok(_)) => Ok(self.node),
            Ok(Err(_)) => {
                let status = self.node.process.wait(Duration::from_secs(5)).await;
                let how = status.map_or_else(
                    || "its output ended".to_owned(),
                    |status| status.to_string(),
                );
                Err(self.node.gone(&how))
            }
            Err(_) => Err(Error::TimedOut {
                what: format!("{} to boot", self.node.label),
                limit: BOOT,
                last: self.node.said.text(),
            }),
        }
    }
}

/// Answers to whoever waits for them, everything else to the tail.
fn sort(line: String, waiting: &Waiting, said: &Tail) {
    let answer = line.split_once('\u{2}').and_then(|(before, answer)| {
        let (number, rest) = answer.split_once(' ')?;
        let (kind, term) = rest.split_once(' ')?;
        let sender = lock(waiting).remove(&number.parse().ok()?)?;
        let term = term.to_owned();
        // Whoever asked may have given up.
        let _ = sender.send(if kind == "ok" { Ok(term) } else { Err(term) });
        Some(before.to_owned())
    });
    match answer {
        Some(before) if before.is_empty() => {}
        Some(before) => said.push(before),
        None => said.push(line),
    }
}

fn lock(
    waiting: &Waiting,
) -> std::sync::MutexGuard<'_, HashMap<u64, oneshot::Sender<Result<String, String>>>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The beginning of an expression, for messages.
fn short(expression: &str) -> String {
    let line = expression.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= 160 {
        return line;
    }
    line.chars().take(160).chain("…".chars()).collect()
}

/// RFC 4648, section 4: keeps newlines and quotes of an expression out of the line protocol.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for index in 0..4 {
            let sextet = (group >> (18 - 6 * index)) & 63;
            let digit = ALPHABET.get(sextet as usize).copied().unwrap_or(b'=');
            out.push(if index > chunk.len() {
                '='
            } else {
                char::from(digit)
            });
        }
    }
    out
}

/// Quotes a name as an Erlang atom.
#[must_use]
pub fn atom(name: &str) -> String {
    format!("'{}'", name.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// The variables of an environment file as the agent writes them: `NAME="value"` lines.
///
/// # Errors
/// [`Error::System`] if it cannot be read.
pub fn environment(file: &Path) -> Result<Vec<(String, String)>, Error> {
    let text = std::fs::read_to_string(file).map_err(Error::system(file.display().to_string()))?;
    Ok(text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()))
        .collect())
}

#[cfg(test)]
mod tests;

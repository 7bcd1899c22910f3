//! Whoever holds the key of a log can rewrite it and sign it anew. A witness in another process, with its own key and disk, cosigns no
//! second history: not the first time, not after SIGKILL at any moment. Set up as docs/audit.md has it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use skans_audit::checkpoint::Checkpoint;
use skans_audit::export::Export;
use skans_audit::merkle::Hash;
use skans_audit::note::{self, Note, SigningKey, VerifyingKey};
use skans_audit::proof::consistency;
use skans_audit::tile::{Kind, Tile, Tiles};
use skans_audit::witness::Request;
use skans_lab::plan::find_skans;
use skans_promises::PATIENCE;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

const PAGE: &str = include_str!("../../docs/audit.md");
const ORIGIN: &str = "prod.example/cluster/main/audit/1";

fn key() -> SigningKey {
    SigningKey::from_seed(ORIGIN, &[1; 32]).unwrap()
}

/// A log in memory, as its owner has it: able to prove whatever is true of it.
struct Log {
    export: Export,
    tiles: BTreeMap<Tile, Vec<Hash>>,
    heads: Vec<Hash>,
}

impl Log {
    fn new(entries: impl Iterator<Item = String>) -> Self {
        let mut log = Self {
            export: Export::new(),
            tiles: BTreeMap::new(),
            heads: Vec::new(),
        };
        log.heads.push(log.export.root().unwrap());
        for entry in entries {
            let mut files = log.export.push(entry.as_bytes()).unwrap();
            files.extend(log.export.partial().unwrap());
            for (path, bytes) in files {
                let tile = Tile::parse(&path).unwrap();
                if tile.kind() != Kind::Entries {
                    log.tiles.insert(tile, tile.decode_hashes(&bytes).unwrap());
                }
            }
            log.heads.push(log.export.root().unwrap());
        }
        log
    }

    fn honest() -> Self {
        Self::new((0..600).map(|n| format!("entry {n}")))
    }

    /// The same, but for one entry.
    fn rewritten(changed: usize) -> Self {
        Self::new((0..600).map(|n| format!("{} {n}", if n == changed { "never" } else { "entry" })))
    }

    fn request(&self, old: u64, size: u64) -> Request {
        let tree = Tiles::new(size, |tile: Tile| {
            Ok::<_, skans_audit::Error>(self.tiles[&tile].clone())
        });
        let root = self.heads[usize::try_from(size).unwrap()];
        let note = Checkpoint::new(ORIGIN, size, root).sign(&key()).unwrap();
        Request {
            old,
            proof: consistency(&tree, old, size).unwrap(),
            note: Note::parse(note.as_bytes()).unwrap(),
        }
    }
}

/// A witness, and where it lives.
struct Witness {
    directory: tempfile::TempDir,
    key: VerifyingKey,
    process: Child,
    address: String,
}

impl Witness {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let here = |text: &str| {
            text.replace("/etc/skans", &directory.path().display().to_string())
                .replace("/var/lib/skans", &directory.path().display().to_string())
        };
        let made = skans(&here(&command("# Make the key of a witness")))
            .output()
            .await
            .unwrap();
        assert!(made.status.success());
        let vkey = String::from_utf8(made.stdout).unwrap();
        let (_, config) = PAGE.split_once("# /etc/skans/witness.yaml\n").unwrap();
        let (config, _) = config.split_once("```").unwrap();
        // Without its certificate, for which the page's names stand: on loopback alone.
        let (head, rest) = config.split_once("tls:").unwrap();
        let (_, logs) = rest.split_once("\nlogs:").unwrap();
        let config = here(&format!("{head}logs:{logs}"))
            .replace("0.0.0.0:4373", "127.0.0.1:0")
            .replace("LOG-KEY", &key().vkey());
        std::fs::write(directory.path().join("witness.yaml"), config).unwrap();
        let (process, address) = run(&directory).await;
        Self {
            directory,
            key: VerifyingKey::parse(vkey.trim()).unwrap(),
            process,
            address,
        }
    }

    /// SIGKILL, and another process over the same directory.
    async fn kill_and_restart(&mut self) {
        self.process.kill().await.unwrap();
        (self.process, self.address) = run(&self.directory).await;
    }

    fn state(&self) -> PathBuf {
        self.directory.path().join("witness")
    }

    async fn ask(&self, request: &Request) -> Option<(u16, String)> {
        ask(&self.address, request).await
    }

    /// It cosigned: whether by its key.
    fn check(&self, request: &Request, line: &str) {
        let mut note = request.note.clone();
        for signature in note::signatures(line).unwrap() {
            note.add(signature).unwrap();
        }
        note.verify(&[&self.key]).unwrap();
    }
}

fn command(first: &str) -> String {
    let mut lines = PAGE.lines();
    assert!(lines.any(|line| line == first), "the page has no {first:?}");
    lines.next().unwrap().to_owned()
}

fn skans(line: &str) -> Command {
    let mut words = line.split_whitespace();
    assert_eq!(words.next(), Some("skans"));
    let mut command = Command::new(find_skans().unwrap());
    command.args(words).kill_on_drop(true);
    command
}

async fn run(directory: &tempfile::TempDir) -> (Child, String) {
    let line = command("# Run it").replace("/etc/skans", &directory.path().display().to_string());
    let mut process = skans(&line)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
    let mut said = String::new();
    let ready = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if let Some((_, rest)) = line.split_once("address=") {
                return rest.split_whitespace().next().unwrap().to_owned();
            }
            said += &line;
        }
        panic!("it ended: {said}")
    };
    let address = tokio::time::timeout(PATIENCE, ready)
        .await
        .expect("it is ready");
    // Whoever logs must find a reader.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (process, address)
}

/// Status and body; `None` if it went away.
async fn ask(address: &str, request: &Request) -> Option<(u16, String)> {
    let body = request.encode();
    let mut socket = TcpStream::connect(address).await.ok()?;
    let length = body.len();
    let text = format!(
        "POST /add-checkpoint HTTP/1.1\r\nhost: witness\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    socket.write_all(text.as_bytes()).await.ok()?;
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, socket.read_to_string(&mut answer))
        .await
        .expect("it answers or goes away")
        .ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

#[tokio::test]
async fn a_second_history_is_refused_also_by_the_next_process() {
    let (honest, rewritten) = (Log::honest(), Log::rewritten(7));
    let mut witness = Witness::start().await;
    for (old, size) in [(0, 10), (10, 300)] {
        let request = honest.request(old, size);
        let (status, line) = witness.ask(&request).await.unwrap();
        assert_eq!(status, 200, "{line}");
        witness.check(&request, &line);
    }
    for restarted in [false, true] {
        if restarted {
            witness.kill_and_restart().await;
        }
        let refused = async |old, size| witness.ask(&rewritten.request(old, size)).await.unwrap();
        assert_eq!(
            refused(300, 300).await,
            (409, "300\n".to_owned()),
            "the same size, another root"
        );
        assert_eq!(refused(300, 600).await.0, 422, "longer, by another way");
        assert_eq!(
            refused(0, 600).await,
            (409, "300\n".to_owned()),
            "as if it were new"
        );
        assert_eq!(
            refused(10, 600).await,
            (409, "300\n".to_owned()),
            "from before the change"
        );
        assert_eq!(
            refused(7, 7).await,
            (409, "300\n".to_owned()),
            "back to before the change"
        );
    }
    // What it signed is kept, for others to see.
    let evidence = std::fs::read_dir(witness.state()).unwrap().filter(|file| {
        let name = file.as_ref().unwrap().file_name();
        let name = name.to_string_lossy();
        name.ends_with(".forked-0") || name.ends_with(".inconsistent-0")
    });
    assert_eq!(evidence.count(), 2);
    // The log that it knows goes on.
    let request = honest.request(300, 600);
    let (status, line) = witness.ask(&request).await.unwrap();
    assert_eq!(status, 200, "{line}");
    witness.check(&request, &line);
}

#[tokio::test]
async fn killed_at_any_moment_it_cosigns_one_history() {
    let logs = [Log::honest(), Log::rewritten(0)];
    let mut witness = Witness::start().await;
    let mut answered: BTreeMap<u64, Hash> = BTreeMap::new();
    let (mut size, mut kills) = (0, 0);
    for round in 0..40u64 {
        // Both histories ask at once, for the same next size; it dies somewhere in it.
        let next = size + 1;
        let requests = [logs[0].request(size, next), logs[1].request(size, next)];
        let address = witness.address.clone();
        let asked = tokio::spawn(async move {
            tokio::join!(ask(&address, &requests[0]), ask(&address, &requests[1]))
        });
        tokio::time::sleep(Duration::from_micros(round * 150)).await;
        if round % 4 != 3 {
            witness.kill_and_restart().await;
            kills += 1;
        }
        let (one, other) = asked.await.unwrap();
        for (answer, log) in [(one, &logs[0]), (other, &logs[1])] {
            if let Some((200, line)) = answer {
                witness.check(&log.request(size, next), &line);
                let root = log.heads[usize::try_from(next).unwrap()];
                assert_eq!(
                    *answered.entry(next).or_insert(root),
                    root,
                    "two roots of {next}"
                );
            }
        }
        // Where it stands, it says; and no answer is forgotten.
        let probe = logs[0].request(next.min(599) + 1, next.min(599) + 1);
        let (status, body) = witness.ask(&probe).await.unwrap();
        assert_eq!(status, 409, "{body}");
        let stands: u64 = body.trim().parse().unwrap();
        let told = answered.keys().last().copied().unwrap_or(0);
        assert!(
            stands >= told && stands <= next,
            "stands at {stands}, told {told}"
        );
        size = stands;
    }
    assert!(kills == 30 && size > 5, "{kills} kills, {size} entries");
    // From the first entry on there are two histories: all answers are of one.
    let fits = |log: &Log| {
        let mut all = answered.iter();
        all.all(|(size, root)| log.heads[usize::try_from(*size).unwrap()] == *root)
    };
    assert!(
        logs.iter().any(fits),
        "{} answers of two histories",
        answered.len()
    );
}

#[tokio::test]
async fn other_hosts_are_let_in_by_tls_alone() {
    let witness = Witness::start().await;
    let path = witness.directory.path().join("witness.yaml");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, config.replace("127.0.0.1:0", "0.0.0.0:0")).unwrap();
    let line = format!("skans witness --config {}", path.display());
    let said = skans(&line).stdin(Stdio::null()).output().await.unwrap();
    assert_eq!(said.status.code(), Some(1));
    let said = String::from_utf8(said.stderr).unwrap();
    assert!(
        said.contains("listen: found 0.0.0.0:0, wanted a loopback address"),
        "{said}"
    );
}

//! A real PostgreSQL: made in a temporary directory, reached by a Unix socket, never run as root, and gone with the process
//! that started it, however that ends.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use skans_store::PostgresConfig;
use tempfile::TempDir;

/// How long the server may take to start, to stop, or to answer.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Cluster {
    directory: TempDir,
    programs: PathBuf,
    user: Option<(u32, u32)>,
    server: Mutex<Option<Server>>,
    /// The TCP port, where it has one, and what it shows there.
    port: Option<u16>,
}

/// An authority and a certificate for `localhost`, as files.
pub struct Tls(TempDir);

impl Tls {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority_key = rcgen::KeyPair::generate().unwrap();
        let mut authority = rcgen::CertificateParams::new([]).unwrap();
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let root = authority.self_signed(&authority_key).unwrap();
        let issuer = rcgen::Issuer::new(authority, authority_key);
        let key = rcgen::KeyPair::generate().unwrap();
        let leaf = rcgen::CertificateParams::new(["localhost".into()])
            .unwrap()
            .signed_by(&key, &issuer)
            .unwrap();
        for (name, content) in [
            ("root.pem", root.pem()),
            ("leaf.pem", leaf.pem()),
            ("leaf.key", key.serialize_pem()),
        ] {
            fs::write(directory.path().join(name), content).unwrap();
        }
        Self(directory)
    }

    /// The file with the authority.
    pub fn authority(&self) -> PathBuf {
        self.0.path().join("root.pem")
    }
}

/// A server whose processes stand still, until this goes.
pub struct Frozen(Vec<u32>);

impl Drop for Frozen {
    fn drop(&mut self) {
        for id in &self.0 {
            let _ = Command::new("kill")
                .args(["-CONT", &id.to_string()])
                .status();
        }
    }
}

struct Server {
    child: Child,
    /// Waits for this process to end, and then stops the server and removes the directory.
    guardian: Child,
}

impl Cluster {
    /// The server that tests share which leave it running.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Makes a server and starts it.
    pub fn start() -> Self {
        Self::make(None)
    }

    /// Makes a server that is reached by TCP and TLS too.
    pub fn start_with_tls(tls: &Tls) -> Self {
        Self::make(Some(tls))
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port.unwrap()
    }

    fn make(tls: Option<&Tls>) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("skans-pg-")
            .tempdir()
            .unwrap();
        let cluster = Self {
            programs: programs(),
            user: user(),
            server: Mutex::new(None),
            // PostgreSQL takes no port 0: one that was free a moment ago.
            port: tls.map(|_| {
                let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
                free.local_addr().unwrap().port()
            }),
            directory,
        };
        if let Some((uid, gid)) = cluster.user {
            chown(cluster.directory.path(), Some(uid), Some(gid)).unwrap();
        }
        let made = cluster
            .command("initdb")
            .args([
                "-U",
                "skans",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C.UTF-8",
                "-N",
                "-D",
            ])
            .arg(cluster.data())
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        if let Some(tls) = tls {
            cluster.show(tls);
        }
        cluster.resume();
        cluster
    }

    /// Puts the certificate where the server finds it, and lets it in whoever comes by TLS only.
    fn show(&self, tls: &Tls) {
        for name in ["leaf.pem", "leaf.key"] {
            let copy = self.directory.path().join(name);
            fs::copy(tls.0.path().join(name), &copy).unwrap();
            fs::set_permissions(&copy, fs::Permissions::from_mode(0o600)).unwrap();
            if let Some((uid, gid)) = self.user {
                chown(&copy, Some(uid), Some(gid)).unwrap();
            }
        }
        fs::write(
            self.data().join("pg_hba.conf"),
            "local all all trust\nhostssl all all 127.0.0.1/32 trust\n",
        )
        .unwrap();
        let settings = format!(
            "ssl = on\nssl_cert_file = '{0}/leaf.pem'\nssl_key_file = '{0}/leaf.key'\nport = {1}\n",
            self.directory.path().display(),
            self.port(),
        );
        fs::write(self.data().join("postgresql.auto.conf"), settings).unwrap();
    }

    /// Starts the server again after [`Cluster::stop`].
    pub fn resume(&self) {
        let mut server = self.server.lock().unwrap();
        assert!(server.is_none());
        let log = fs::File::create(self.directory.path().join("log")).unwrap();
        let child = self
            .command("postgres")
            .arg("-D")
            .arg(self.data())
            .arg("-c")
            .arg(match self.port {
                Some(_) => "listen_addresses=127.0.0.1",
                None => "listen_addresses=",
            })
            .arg("-c")
            .arg(format!(
                "unix_socket_directories={}",
                self.directory.path().display()
            ))
            .args(["-c", "shared_buffers=32MB", "-c", "max_connections=200"])
            .stderr(log)
            .spawn()
            .unwrap();
        let guardian = Command::new("/bin/sh")
            .arg("-c")
            .arg("read -r _; kill -QUIT \"$0\"; for _ in 1 2 3 4 5 6 7 8 9; do kill -0 \"$0\" || break; sleep 0.1; done; rm -rf \"$1\"")
            .arg(child.id().to_string())
            .arg(self.directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        *server = Some(Server { child, guardian });
        drop(server);
        let deadline = Instant::now() + PATIENCE;
        while !self.sql("postgres", "SELECT 1").status.success() {
            assert!(
                Instant::now() < deadline,
                "PostgreSQL did not start: {}",
                fs::read_to_string(self.directory.path().join("log")).unwrap()
            );
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Stops the server as an operator in a hurry does, and waits for its end.
    pub fn stop(&self) {
        self.signal("-INT");
        let mut server = self.server.lock().unwrap().take().unwrap();
        server.child.wait().unwrap();
        dismiss(&mut server.guardian);
    }

    /// Sends the server's first process a signal.
    pub fn signal(&self, signal: &str) {
        let server = self.server.lock().unwrap();
        let id = server.as_ref().unwrap().child.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &id])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Lets every process of the server stand still.
    pub fn freeze(&self) -> Frozen {
        let server = self.server.lock().unwrap();
        let first = server.as_ref().unwrap().child.id();
        let stop = |id: u32| {
            let stopped = Command::new("kill")
                .args(["-STOP", &id.to_string()])
                .status();
            assert!(stopped.unwrap().success());
        };
        // The first one first: it starts no more of them.
        stop(first);
        let children = fs::read_to_string(format!("/proc/{first}/task/{first}/children")).unwrap();
        let mut all: Vec<u32> = children
            .split_whitespace()
            .map(|id| id.parse().unwrap())
            .collect();
        all.iter().copied().for_each(stop);
        all.push(first);
        Frozen(all)
    }

    pub fn create_database(&self, name: &str) {
        let made = self.sql("postgres", &format!("CREATE DATABASE {name}"));
        assert!(made.status.success(), "{made:?}");
    }

    /// Runs SQL beside the store, by PostgreSQL's own client.
    pub fn sql(&self, database: &str, sql: &str) -> std::process::Output {
        self.command("psql")
            .args(["-XAtq", "-U", "skans", "-d", database, "-h"])
            .arg(self.directory.path())
            .args(["-p", &self.port.unwrap_or(5432).to_string()])
            .args(["-c", sql])
            .output()
            .unwrap()
    }

    pub fn config(&self, database: &str) -> PostgresConfig {
        let mut config = PostgresConfig::new(format!(
            "host={} port={} user=skans dbname={database}",
            self.directory.path().display(),
            self.port.unwrap_or(5432),
        ));
        // Many tests share one server.
        config.writers = 4;
        config.readers = 2;
        config
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .current_dir(self.directory.path())
            .env_clear()
            .env("PATH", "/usr/bin:/bin");
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.server.lock().unwrap().is_some() {
            self.stop();
        }
    }
}

fn dismiss(guardian: &mut Child) {
    guardian.kill().unwrap();
    guardian.wait().unwrap();
}

/// The newest PostgreSQL that Debian's packages installed.
pub fn programs() -> PathBuf {
    let found = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let version: u32 = path.file_name()?.to_str()?.parse().ok()?;
            let programs = path.join("bin");
            programs
                .join("initdb")
                .exists()
                .then_some((version, programs))
        })
        .max();
    found
        .unwrap_or_else(|| {
            panic!("no PostgreSQL in /usr/lib/postgresql: script/bootstrap test installs it")
        })
        .1
}

/// PostgreSQL refuses to run as root: then it is run as its own user, or as nobody.
fn user() -> Option<(u32, u32)> {
    if !Path::new("/proc/self").exists() || fs::metadata("/proc/self").map(owner).ok()? != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    ["postgres", "nobody"].iter().find_map(|name| {
        let line = users
            .lines()
            .find(|line| line.starts_with(&format!("{name}:")))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    })
}

fn owner(meta: fs::Metadata) -> u32 {
    use std::os::unix::fs::MetadataExt;
    meta.uid()
}

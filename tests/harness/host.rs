//! Hosts in a box: each is a set of Linux namespaces with a name, an address, files and processes of
//! its own, so that software runs as installed, on its default ports and paths. One cable joins them.
//!
//! Files are overlays in memory over this machine's; processes end with the namespace they are in,
//! and that one ends with a pipe from this process: no process is left behind, however a test ends.
//! What runs on the hosts is not here.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use skans_lab::agent::Files;
use skans_lab::{AgentProcess, Error, Policy, until};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// How long a host may take to come up: a handful of mounts and addresses.
const UP: Duration = Duration::from_secs(20);

/// Makes the host inside its fresh namespaces, says `up`, and lives until its input ends. The shell
/// stays as process 1, since somebody has to reap orphans.
const INIT: &str = r#"
set -e
hostname "$NAME"
ip link set lo up
if [ -n "$BRIDGE" ]; then
    ip link add cable type bridge
    ip link set cable up
else
    mount -t tmpfs -o mode=755 run /run
    for directory in $OVERLAID; do
        mkdir -p "/run/box$directory/upper" "/run/box$directory/work"
        mount -t overlay box -o \
            "lowerdir=${PACKAGE:+$PACKAGE$directory:}$directory,upperdir=/run/box$directory/upper,workdir=/run/box$directory/work" \
            "$directory"
    done
    mkdir -p /run/box/opt && mount --bind /run/box/opt /opt
    cp "$HOSTS" /etc/hosts
    printf 'rabbitmq:x:61001:61001::/var/lib/rabbitmq:/usr/sbin/nologin\napp:x:61002:61002::/opt/app:/bin/sh\n' >> /etc/passwd
    printf 'rabbitmq:!:19000::::::\napp:!:19000::::::\n' >> /etc/shadow
    printf 'rabbitmq:x:61001:\napp:x:61002:\n' >> /etc/group
fi
echo up
cat > /dev/null
"#;

/// Hosts that reach each other by name.
#[derive(Debug)]
pub struct Hosts {
    // Processes go before the files that they use.
    agents: Vec<AgentProcess>,
    hosts: Vec<Host>,
    _cable: Namespaces,
    directory: TempDir,
}

/// One host.
#[derive(Debug)]
pub struct Host {
    name: String,
    namespaces: Namespaces,
    directory: PathBuf,
}

impl Hosts {
    /// Starts hosts with these names. The files of `package`, an unpacked Debian package, are
    /// installed on each.
    ///
    /// # Errors
    /// [`Error::Unexpected`] if this is not root, or whatever a host lacks.
    pub async fn start(names: &[&str], package: Option<&Path>) -> Result<Self, Error> {
        if !is_root() {
            return Err(Error::Unexpected(
                "this test makes hosts out of namespaces, and that takes root".to_owned(),
            ));
        }
        let directory = tempfile::Builder::new()
            .prefix("skans-hosts-")
            .tempdir()
            .map_err(system("cannot make a directory for hosts"))?;
        // Users of the hosts look for their things here.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))
            .map_err(system("chmod"))?;
        let cable = Namespaces::start(&[("NAME", "cable".into()), ("BRIDGE", "1".into())])?;
        let mut hosts = Vec::new();
        for (index, name) in names.iter().enumerate() {
            let own = directory.path().join(name);
            fs::create_dir(&own).map_err(system("mkdir"))?;
            let mut table = "127.0.0.1 localhost\n::1 localhost\n".to_owned();
            for (other, other_name) in names.iter().enumerate() {
                // As Debian's installer writes it: a host's own name is on its loopback.
                let address = if other == index {
                    Ipv4Addr::new(127, 0, 1, 1)
                } else {
                    address(other)
                };
                table.push_str(&format!("{address} {other_name}\n"));
            }
            let table_file = own.join("hosts");
            fs::write(&table_file, table).map_err(system("hosts"))?;
            let mut variables = vec![
                ("NAME", (*name).into()),
                ("HOSTS", table_file.into_os_string()),
                ("OVERLAID", "/etc /usr /var".into()),
            ];
            variables.extend(package.map(|package| ("PACKAGE", package.as_os_str().to_owned())));
            let namespaces = Namespaces::start(&variables)?;
            let number = index + 1;
            let pid = namespaces.init;
            let plug = format!(
                "ip link add port{number} type veth peer name eth0 netns {pid} && ip link set port{number} master cable up"
            );
            let mut shell = cable.enter("--net");
            output(shell.args(["sh", "-c", &plug]), &plug, UP).await?;
            let host = Host {
                name: (*name).to_owned(),
                namespaces,
                directory: own,
            };
            host.run(
                &format!(
                    "ip address add {}/24 dev eth0 && ip link set eth0 up",
                    address(index)
                ),
                UP,
            )
            .await?;
            hosts.push(host);
        }
        Ok(Self {
            agents: Vec::new(),
            hosts,
            _cable: cable,
            directory,
        })
    }

    /// Starts an agent on each host: runtime directory, ports and all as by default, one authority
    /// for all, and each knows where the others are by their names. Their policy lets everything pass. `own` is what is in the
    /// configuration of each host beside that: its `nodes`.
    ///
    /// # Errors
    /// As [`AgentProcess::spawn`] and [`skans_lab::agent::Starting::ready`].
    pub async fn start_agents(&mut self, own: &[Value]) -> Result<(), Error> {
        self.start_agents_with(own, &Policy::open()).await
    }

    /// The same with a policy set of one's own.
    ///
    /// # Errors
    /// As [`Hosts::start_agents`].
    pub async fn start_agents_with(&mut self, own: &[Value], policy: &Policy) -> Result<(), Error> {
        let directory = self.policy_directory();
        policy.write(&directory)?;
        let skans = skans_lab::plan::find_skans()?;
        for (host, own) in self.hosts.iter().zip(own) {
            let peers: Vec<_> = self
                .hosts
                .iter()
                .filter(|other| other.name != host.name)
                .map(|other| json!({"nodes": format!("*@{}", other.name), "address": format!("{}:4370", other.name)}))
                .collect();
            let files = Files::within(&host.directory);
            fs::create_dir_all(host.directory.join("run")).map_err(system("mkdir"))?;
            let mut config = json!({
                "apiVersion": "skans.io/v1alpha1",
                "trustDomain": "prod.example",
                "identity": {"authority": {"directory": self.directory.path().join("authority")}},
                "peers": {"static": peers},
                // The only thing that is read from outside of the host.
                "admin": {"socket": files.socket},
                "log": {"format": "json"},
                "events": {"file": files.events, "window": "500ms"},
            });
            config["policy"] = json!({"directory": directory});
            for (key, value) in own.as_object().into_iter().flatten() {
                config[key] = value.clone();
            }
            files.write_config(&config)?;
            let program = host.script("skans", &[&skans.display().to_string()])?;
            let agent = AgentProcess::spawn(&program, &host.name, files)?
                .ready()
                .await?;
            self.agents.push(agent);
        }
        Ok(())
    }

    /// Another policy set from now on: returns when each agent goes by it.
    ///
    /// # Errors
    /// What an agent says of it.
    pub async fn put_policy(&self, policy: &Policy) -> Result<(), Error> {
        policy.write(&self.policy_directory())?;
        for agent in &self.agents {
            agent.reload().await?;
        }
        Ok(())
    }

    fn policy_directory(&self) -> PathBuf {
        self.directory.path().join("policy")
    }

    /// The agents, host by host.
    #[must_use]
    pub fn agents(&self) -> &[AgentProcess] {
        &self.agents
    }

    /// The directory of all hosts, seen by each of them.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A host, counted from 0.
    #[must_use]
    pub fn host(&self, host: usize) -> &Host {
        &self.hosts[host]
    }

    /// All hosts.
    pub fn iter(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter()
    }

    /// The agent of a host.
    #[must_use]
    pub fn agent(&self, host: usize) -> &AgentProcess {
        &self.agents[host]
    }
}

impl Host {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A directory of its own that is seen from outside as well.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Runs shell commands there as root, with an empty environment but for `PATH`, and returns what
    /// they wrote to standard output.
    ///
    /// # Errors
    /// [`Error::Ended`] with all they wrote if they fail, [`Error::TimedOut`].
    pub async fn run(&self, commands: &str, limit: Duration) -> Result<String, Error> {
        let mut command = self.namespaces.enter("--all");
        output(
            command.args(["sh", "-c", commands]),
            &format!("{}: {commands}", self.name),
            limit,
        )
        .await
    }

    /// The same as a user.
    ///
    /// # Errors
    /// As [`Host::run`].
    pub async fn run_as(
        &self,
        user: &str,
        commands: &str,
        limit: Duration,
    ) -> Result<String, Error> {
        let mut command = self.namespaces.enter("--all");
        command.args([
            "setpriv",
            "--reuid",
            user,
            "--regid",
            user,
            "--clear-groups",
            "--reset-env",
            "sh",
            "-c",
            commands,
        ]);
        output(&mut command, &format!("{}: {commands}", self.name), limit).await
    }

    /// Starts shell commands as a user, as a service manager would; what they write goes to a file.
    /// They end with the host, or when they are killed in it.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn serve(&self, user: &str, commands: &str) -> Result<Service, Error> {
        let log = self.directory.join(format!("{user}.log"));
        let file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(system("log"))?;
        let errors = file.try_clone().map_err(system("log"))?;
        let mut command = self.namespaces.enter("--all");
        command
            .args([
                "setpriv",
                "--reuid",
                user,
                "--regid",
                user,
                "--clear-groups",
                "--reset-env",
                "sh",
                "-c",
                commands,
            ])
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .kill_on_drop(true);
        let child = command.spawn().map_err(system("nsenter"))?;
        Ok(Service {
            what: format!("{}: {commands}", self.name),
            child,
            log,
        })
    }

    /// Runs a program of a user on a terminal of its own, a remote shell, for as long as the host is
    /// there.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn terminal(&self, user: &str, commands: &str) -> Result<Terminal, Error> {
        let screen = self.directory.join(format!("{user}.screen"));
        let file = fs::File::create(&screen).map_err(system("screen"))?;
        let mut command = self.namespaces.enter("--all");
        command
            // Erlang gives its shell up on a terminal that cannot move the cursor.
            .env("TERM", "xterm")
            .args([
                "setpriv",
                "--reuid",
                user,
                "--regid",
                user,
                "--clear-groups",
                "--reset-env",
                "sh",
                "-c",
            ])
            // Never an end of input: that is Ctrl-D, and a remote shell takes it as an order to halt
            // the node that it is on.
            .arg("(cat; exec sleep infinity) | script --quiet --return --command \"$0\" /dev/null")
            .arg(commands)
            .stdin(Stdio::piped())
            .stdout(file)
            .kill_on_drop(true);
        let child = command.spawn().map_err(system("nsenter"))?;
        Ok(Terminal { child, screen })
    }

    /// Writes a program, seen from outside, that runs `words` and its own arguments on the host.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn script(&self, name: &str, words: &[&str]) -> Result<PathBuf, Error> {
        let path = self.directory.join(name);
        let words: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
        let text = format!(
            "#!/bin/sh\nexec nsenter --target {} --all -- {} \"$@\"\n",
            self.namespaces.init,
            words.join(" ")
        );
        fs::write(&path, text).map_err(system("script"))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(system("chmod"))?;
        Ok(path)
    }
}

/// Something that runs on a host.
#[derive(Debug)]
pub struct Service {
    what: String,
    child: tokio::process::Child,
    log: PathBuf,
}

impl Service {
    /// Waits until it has ended; whether well or not.
    ///
    /// # Errors
    /// [`Error::TimedOut`] with the end of what it wrote.
    pub async fn ended(&mut self, limit: Duration) -> Result<bool, Error> {
        match tokio::time::timeout(limit, self.child.wait()).await {
            Ok(status) => Ok(status.map_err(system("wait"))?.success()),
            Err(_) => Err(Error::TimedOut {
                what: format!("{} to end", self.what),
                limit,
                last: self.said(),
            }),
        }
    }

    /// What it wrote, to both outputs.
    #[must_use]
    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// A terminal on a host.
#[derive(Debug)]
pub struct Terminal {
    child: tokio::process::Child,
    screen: PathBuf,
}

impl Terminal {
    /// Waits until a text is on the screen.
    ///
    /// # Errors
    /// [`Error::TimedOut`] with all that is there instead.
    pub async fn shows(&self, text: &str, limit: Duration) -> Result<(), Error> {
        until(limit, &format!("{text:?} on a terminal"), async || {
            let screen = fs::read(&self.screen).unwrap_or_default();
            let screen = String::from_utf8_lossy(&screen);
            if screen.contains(text) {
                Ok(())
            } else {
                Err(screen.into_owned())
            }
        })
        .await
    }

    /// Types a line. What it echoes is on the screen too.
    ///
    /// # Errors
    /// [`Error::System`] if nobody reads any more.
    pub async fn enter(&mut self, line: &str) -> Result<(), Error> {
        let Some(input) = self.child.stdin.as_mut() else {
            return Ok(());
        };
        input
            .write_all(format!("{line}\n").as_bytes())
            .await
            .map_err(system("terminal"))
    }
}

/// The namespaces of one host, and the process that holds them.
#[derive(Debug)]
struct Namespaces {
    holder: std::process::Child,
    /// The host's process 1, by the id that it has out here.
    init: u32,
}

impl Namespaces {
    fn start(variables: &[(&str, std::ffi::OsString)]) -> Result<Self, Error> {
        let mut command = std::process::Command::new("unshare");
        command
            .args([
                "--net",
                "--uts",
                "--mount",
                "--pid",
                "--fork",
                "--mount-proc",
                "--propagation",
                "private",
            ])
            .args(["sh", "-c", INIT])
            .env_clear()
            .env("PATH", PATH)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut holder = command.spawn().map_err(system("cannot start unshare"))?;
        let mut line = String::new();
        if let Some(output) = holder.stdout.take() {
            BufReader::new(output)
                .read_line(&mut line)
                .map_err(system("unshare"))?;
        }
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", holder.id()))
            .unwrap_or_default();
        let init = children
            .split_whitespace()
            .next()
            .and_then(|pid| pid.parse().ok());
        let mut started = Self {
            holder,
            init: init.unwrap_or_default(),
        };
        if line.trim() == "up" && init.is_some() {
            return Ok(started);
        }
        started.end();
        Err(Error::Unexpected(
            "cannot make a host out of namespaces; standard error says why".to_owned(),
        ))
    }

    fn enter(&self, which: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.init.to_string(), which, "--"])
            .env_clear()
            .env("PATH", PATH);
        command
    }

    /// The end of its input is the end of process 1, and with it of all others; the kernel reports
    /// it when the last of them is gone.
    fn end(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        self.end();
    }
}

/// As for root on Debian.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// On the cable.
fn address(host: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, u8::try_from(host + 1).unwrap_or(u8::MAX))
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

async fn output(command: &mut Command, what: &str, limit: Duration) -> Result<String, Error> {
    let running = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = match tokio::time::timeout(limit, running).await {
        Ok(output) => output.map_err(system("nsenter"))?,
        Err(_) => {
            return Err(Error::TimedOut {
                what: what.to_owned(),
                limit,
                last: "it still runs".to_owned(),
            });
        }
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(Error::Ended {
        what: what.to_owned(),
        how: output.status.to_string(),
        output: format!("{text}{errors}"),
    })
}

fn system(what: &str) -> impl FnOnce(std::io::Error) -> Error {
    move |source| Error::System {
        what: what.to_owned(),
        source,
    }
}

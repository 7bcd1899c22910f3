//! Hosts that share nothing but a cable: a network namespace each, with an address of either family,
//! joined by a bridge on which everything that passes is captured. Processes and files are this
//! machine's own.
//!
//! A namespace lives as long as the process that holds it, which reads a pipe from this process:
//! nothing is left behind, however a test ends.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use skans_lab::until;
use skans_promises::PATIENCE;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt};

use crate::forwarder::Forwarder;

/// The last packet of a capture.
const END: &[u8] = b"the end of the capture";

/// Some hosts and the cable between them.
pub struct Network {
    // In this order: what uses the directory goes before it.
    hosts: Vec<Host>,
    cable: Namespace,
    resolver: bool,
    directory: TempDir,
}

/// One host.
pub struct Host {
    namespace: Namespace,
    number: u8,
    directory: PathBuf,
}

impl Network {
    /// `count` hosts. With `resolver`, programs on them ask the name server at 127.0.0.1 of their host.
    pub fn new(count: u8, resolver: bool) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("skans-net-")
            .tempdir()
            .unwrap();
        // Programs of other users look for their things below.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let cable = Namespace::start(
            "ip link set lo up && ip link add cable type bridge mcast_snooping 0 && ip link set cable up",
        );
        let resolv = directory.path().join("resolv.conf");
        fs::write(
            &resolv,
            "nameserver 127.0.0.1\noptions timeout:1 attempts:2\n",
        )
        .unwrap();
        let mut network = Self {
            hosts: Vec::new(),
            cable,
            resolver,
            directory,
        };
        for number in 1..=count {
            let own = network.directory().join(format!("h{number}"));
            fs::create_dir(&own).unwrap();
            let host = Host {
                namespace: network.start(number),
                number,
                directory: own,
            };
            network.hosts.push(host);
        }
        network
    }

    /// Starts the namespace of a host and plugs it in.
    fn start(&self, number: u8) -> Namespace {
        let mut setup = "ip link set lo up".to_owned();
        if self.resolver {
            // The link may lead nowhere in here: what it stands for is replaced.
            setup += &format!(
                " && mount --bind {} $(realpath /etc/resolv.conf)",
                self.directory().join("resolv.conf").display()
            );
        }
        let namespace = Namespace::start(&setup);
        self.at_the_cable(&format!(
            "ip link add port{number} type veth peer name eth0 address 02:00:00:00:00:{number:02x} netns {pid} \
             && ip link set port{number} master cable up \
             && nsenter --target {pid} --net -- sh -c '\
                ip address add {four}/24 dev eth0 && ip address add {six}/64 dev eth0 nodad && ip link set eth0 up'",
            pid = namespace.pid(),
            four = four(number),
            six = six(number),
        ));
        namespace
    }

    /// Runs shell commands where the cable is.
    fn at_the_cable(&self, commands: &str) -> String {
        let pid = self.cable.pid().to_string();
        run(Command::new("nsenter")
            .args(["--target", &pid, "--net", "--mount", "--", "sh", "-c"])
            .arg(commands))
    }

    /// A host, counted from 0.
    pub fn host(&self, index: usize) -> &Host {
        &self.hosts[index]
    }

    /// Pulls the cable of a host, counted from 0, or puts it back: what is sent meanwhile is lost, and nobody is told.
    pub fn plug(&self, index: usize, plugged: bool) {
        let number = self.hosts[index].number;
        let state = if plugged { "up" } else { "down" };
        self.at_the_cable(&format!("ip link set port{number} {state}"));
    }

    /// Takes a host away, with its network and all that is under way in it, and puts another in its place, with the same
    /// addresses and files. Its processes are killed before.
    pub fn reboot(&mut self, index: usize) {
        let number = self.hosts[index].number;
        self.at_the_cable(&format!("ip link delete port{number}"));
        self.hosts[index].namespace = self.start(number);
    }

    /// Lets no more through to and from a host, counted from 0, than so many kilobits a second; 0 for as much as there is.
    pub fn throttle(&self, index: usize, kilobits: u32) {
        let host = &self.hosts[index];
        // Half a second of it may wait, as before a slow line; at least a few packets.
        let shape = |device: &str| match kilobits {
            0 => format!("tc qdisc delete dev {device} root"),
            rate => format!(
                "tc qdisc replace dev {device} root tbf rate {rate}kbit burst 4kb latency 500ms"
            ),
        };
        self.at_the_cable(&format!(
            "{} && nsenter --target {} --net -- {}",
            shape(&format!("port{}", host.number)),
            host.namespace.pid(),
            // Packets that are sent as one are more than the line ever has room for.
            format_args!(
                "sh -c 'ip link set eth0 gso_max_segs 1 && {}'",
                shape("eth0")
            ),
        ));
        let others = self
            .hosts
            .iter()
            .filter(|other| other.number != host.number);
        others.for_each(|other| other.in_single_packets());
    }

    /// Has all that passes between a host, counted from 0, and the others go through a [`Forwarder`].
    pub fn forwarder(&self, index: usize) -> Forwarder {
        let number = self.hosts[index].number;
        let directory = self.directory().display();
        // A tap on either side: what arrives there is read by the forwarder, and what it writes leaves.
        self.at_the_cable(&format!(
            "mount -t sysfs sysfs /sys && ip link set port{number} nomaster \
             && ip link add mid{number} type veth peer name way{number} \
             && ip link set way{number} master cable up && ip link set mid{number} up \
             && for side in port mid; do tap=${{side}}tap{number} \
                && ip link add link ${{side}}{number} name $tap type macvtap mode passthru && ip link set $tap up \
                && mknod {directory}/$tap c $(cat /sys/class/net/$tap/macvtap/*/dev | tr : ' ') || exit 1; done"
        ));
        self.hosts.iter().for_each(Host::in_single_packets);
        let tap = |side| self.directory().join(format!("{side}tap{number}"));
        Forwarder::between(&tap("port"), &tap("mid"))
    }

    /// Lays a cable between a host, counted from 0, and one of another network, which may have the same addresses: those that the two
    /// have there, in this order. Nobody else has any way to it.
    pub fn cable_to(&self, index: usize, other: &Self, there: usize) -> [IpAddr; 2] {
        let (near, far) = (&self.hosts[index].namespace, &other.hosts[there].namespace);
        let ends = [1, 2].map(|end| IpAddr::from(Ipv4Addr::new(10, 78, 0, end)));
        run(Command::new("nsenter").args(["--target", &near.pid().to_string(), "--net", "--"]).args([
            "sh",
            "-c",
            &format!(
                "ip link add outside type veth peer name outside netns {pid} \
                 && ip address add {}/24 dev outside && ip link set outside up \
                 && nsenter --target {pid} --net -- sh -c 'ip address add {}/24 dev outside && ip link set outside up'",
                ends[0],
                ends[1],
                pid = far.pid(),
            ),
        ]));
        ends
    }

    /// A directory that all hosts see.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Captures all that passes the cable from here on.
    pub async fn capture(&self) -> Capture {
        let file = self.directory.path().join("cable.pcap");
        let mut child = tokio::process::Command::new("nsenter")
            .args(["--target", &self.cable.pid().to_string(), "--net", "--"])
            // Every packet whole, at once, with room for a burst of 64 MB.
            .args([
                "tcpdump", "-i", "cable", "-Z", "root", "-U", "-s", "0", "-B", "65536", "-w",
            ])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("nsenter");
        let mut said = tokio::io::BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        let listening = async {
            while !line.contains("listening on") {
                line.clear();
                assert!(
                    said.read_line(&mut line).await.unwrap() > 0,
                    "tcpdump did not start; is it installed?"
                );
            }
        };
        tokio::time::timeout(PATIENCE, listening)
            .await
            .expect("tcpdump listens");
        Capture { child, said, file }
    }
}

impl Host {
    /// Its address on the cable, IPv4.
    pub fn four(&self) -> IpAddr {
        four(self.number).into()
    }

    /// Its address on the cable, IPv6.
    pub fn six(&self) -> IpAddr {
        six(self.number).into()
    }

    /// Resets every connection that has `port` at either end, as a firewall does that has forgotten them; how many.
    pub fn reset(&self, port: u16) -> usize {
        let pid = self.namespace.pid().to_string();
        let killed = run(Command::new("nsenter")
            .args([
                "--target",
                &pid,
                "--net",
                "--",
                "ss",
                "-KHtn",
                "state",
                "established",
            ])
            .arg(format!("( sport = :{port} or dport = :{port} )")));
        killed.lines().count()
    }

    /// Each packet that it sends is one on the cable as well; ordinarily the kernel passes on dozens as one, and loses them
    /// as one.
    fn in_single_packets(&self) {
        let pid = self.namespace.pid().to_string();
        run(Command::new("nsenter").args([
            "--target",
            &pid,
            "--net",
            "--",
            "ip",
            "link",
            "set",
            "eth0",
            "gso_max_segs",
            "1",
        ]));
    }

    /// A directory of its own.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Writes a program that runs `program` on this host, with its own arguments and environment.
    pub fn program(&self, program: &Path) -> PathBuf {
        let path = self.directory.join(program.file_name().unwrap());
        let text = format!(
            "#!/bin/sh\nexec nsenter --target {} --net --mount -- '{}' \"$@\"\n",
            self.namespace.pid(),
            program.display()
        );
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// Calls `act` in the network of this host. Sockets that it makes stay there.
    pub fn inside<T: Send + 'static>(&self, act: impl FnOnce() -> T + Send + 'static) -> T {
        let network = File::open(format!("/proc/{}/ns/net", self.namespace.pid())).unwrap();
        let thread = std::thread::spawn(move || {
            move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            act()
        });
        thread
            .join()
            .expect("what is called on a host does not panic")
    }

    /// The TCP ports on which anything listens on this host, on whichever address.
    pub fn listening(&self) -> BTreeSet<u16> {
        ["tcp", "tcp6"]
            .iter()
            .map(|table| {
                fs::read_to_string(format!("/proc/{}/net/{table}", self.namespace.pid())).unwrap()
            })
            .flat_map(|table| {
                table
                    .lines()
                    .skip(1)
                    .filter_map(listening_port)
                    .collect::<Vec<_>>()
            })
            .collect()
    }
}

/// The port of a row that listens (Linux, Documentation/networking/proc_net_tcp.rst).
fn listening_port(row: &str) -> Option<u16> {
    let mut fields = row.split_ascii_whitespace().skip(1);
    let (local, _, state) = (fields.next()?, fields.next()?, fields.next()?);
    let (_, port) = local.split_once(':')?;
    (state == "0A").then(|| u16::from_str_radix(port, 16).ok())?
}

/// A running capture.
pub struct Capture {
    child: tokio::process::Child,
    said: tokio::io::BufReader<tokio::process::ChildStderr>,
    file: PathBuf,
}

impl Capture {
    /// Ends it, and returns what was captured, as a pcap file. Not a packet may be missing.
    pub async fn stop(mut self, network: &Network) -> Vec<u8> {
        // tcpdump forgets what it has not looked at when it ends: it has to see this first.
        network.host(0).inside(|| {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.set_broadcast(true).unwrap();
            socket.send_to(END, "10.77.0.255:9").unwrap();
        });
        until(PATIENCE, "the last packet to be captured", async || {
            let file = fs::read(&self.file).unwrap();
            end_of(&file)
                .map(drop)
                .ok_or_else(|| format!("{} bytes", file.len()))
        })
        .await
        .unwrap();
        let pid = self
            .child
            .id()
            .and_then(|id| Pid::from_raw(id.cast_signed()))
            .expect("tcpdump runs");
        kill_process(pid, Signal::INT).unwrap();
        let mut said = String::new();
        let ended = async {
            self.said.read_to_string(&mut said).await.unwrap();
            self.child.wait().await.unwrap()
        };
        tokio::time::timeout(PATIENCE, ended)
            .await
            .expect("tcpdump ends");
        assert!(
            said.contains("\n0 packets dropped by kernel"),
            "packets are missing:\n{said}"
        );
        let mut file = fs::read(&self.file).unwrap();
        file.truncate(end_of(&file).expect("it was there"));
        file
    }
}

/// Where the last packet begins. Behind it may be what hosts say when nobody asks: neighbour discovery.
fn end_of(file: &[u8]) -> Option<usize> {
    let payload = file.windows(END.len()).rposition(|part| part == END)?;
    // The headers of file format, Ethernet, IP and UDP come first.
    Some(payload - (16 + 14 + 20 + 8))
}

/// A network and mount namespace, and the process that holds it.
struct Namespace(Child);

impl Namespace {
    fn start(setup: &str) -> Self {
        let mut holder = Command::new("unshare")
            .args(["--net", "--mount", "--propagation", "private", "sh", "-c"])
            .arg(format!("{setup} && echo up && exec cat >/dev/null"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare");
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let namespace = Self(holder);
        assert_eq!(
            line, "up\n",
            "cannot make a host out of a namespace: {setup}"
        );
        namespace
    }

    /// Of the process that lives in it.
    fn pid(&self) -> u32 {
        // Without --fork, unshare becomes the program that it starts.
        self.0.id()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn four(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, number)
}

fn six(number: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, number.into())
}

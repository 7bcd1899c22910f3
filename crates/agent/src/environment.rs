//! What a node needs to find its agent: the shim on disk, and environment files that point at it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use skans_host::files::{self, Access};

use crate::Error;
use crate::config::{Config, Family, Mode, Node};
use crate::native;

/// The shim, compiled from `beam/src` by `beam/build`; the two are compared byte for byte in tests.
pub const SHIM: &[(&str, &[u8])] = &[
    (
        "erl_epmd.beam",
        include_bytes!("../../../beam/ebin/erl_epmd.beam"),
    ),
    ("skans.app", include_bytes!("../../../beam/ebin/skans.app")),
    (
        "skans_agent.beam",
        include_bytes!("../../../beam/ebin/skans_agent.beam"),
    ),
    (
        "skans_cookie.beam",
        include_bytes!("../../../beam/ebin/skans_cookie.beam"),
    ),
    (
        "skans_env.beam",
        include_bytes!("../../../beam/ebin/skans_env.beam"),
    ),
    (
        "skans_epmd.beam",
        include_bytes!("../../../beam/ebin/skans_epmd.beam"),
    ),
    (
        "skans_host.beam",
        include_bytes!("../../../beam/ebin/skans_host.beam"),
    ),
    (
        "skans_names.beam",
        include_bytes!("../../../beam/ebin/skans_names.beam"),
    ),
    (
        "skans_tls.beam",
        include_bytes!("../../../beam/ebin/skans_tls.beam"),
    ),
];

/// Everyone may read these: they hold code and paths, no secret.
const PUBLIC: Access = Access {
    mode: 0o644,
    owner: None,
};

/// Where things are inside the runtime directory.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The shim's directory, for `-pa`.
    pub shim: PathBuf,
    /// The cookies' directory.
    pub cookies: PathBuf,
    /// The environment files: `<alive>.env`, and `cli.env` for tools.
    pub environment: PathBuf,
    /// What nodes need that speak TLS themselves.
    pub native: PathBuf,
}

impl Layout {
    /// The layout under a runtime directory.
    #[must_use]
    pub fn of(runtime: &Path) -> Self {
        Self {
            shim: runtime.join("ebin"),
            cookies: runtime.join("cookies"),
            environment: runtime.join("env"),
            native: runtime.join("native"),
        }
    }
}

/// Writes the shim and the environment files.
///
/// # Errors
/// [`Error::File`].
pub fn write(config: &Config, layout: &Layout, epmd_port: u16) -> Result<(), Error> {
    files::directory(&layout.shim, 0o755)?;
    for (name, content) in SHIM {
        files::write(&layout.shim.join(name), content, PUBLIC)?;
    }
    files::directory(&layout.environment, 0o755)?;
    for node in &config.nodes {
        let alive = node.name.split('@').next().unwrap_or_default();
        let text = match node.mode {
            Mode::Guarded => render(&variables(layout, epmd_port, node.family)),
            Mode::Native => render(&native::variables(layout, alive, node.family)),
        };
        files::write(
            &layout.environment.join(format!("{alive}.env")),
            text.as_bytes(),
            PUBLIC,
        )?;
    }
    if !config.guards() {
        return Ok(());
    }
    let family = config
        .guarded()
        .next()
        .map_or(Family::Inet, |node: &Node| node.family);
    let text = render(&variables(layout, epmd_port, family));
    files::write(&layout.environment.join("cli.env"), text.as_bytes(), PUBLIC)?;
    Ok(())
}

/// How a node treats its connection to the agent (inet, OTP): messages that processes send at the same time leave in one system
/// call, and come in by 64 KiB instead of 1,460 bytes. A message of 64 bytes costs the nodes half of what it does without,
/// and nobody waits longer for one. The memory of the buffer is taken while something is read.
const SOCKET: &str = "[{delay_send,true},{buffer,65536}]";

/// The variables that point a node, or a tool, at its agent.
///
/// `ERL_AFLAGS` comes before the command line, and the first of a flag counts: it wins over
/// `vm.args` and `sys.config`, and whatever is started from there inherits it. The shim goes by the
/// name of `erl_epmd`, because a release in embedded mode loads that module and no other this early.
/// `-nocookie` keeps the node from reading or making `~/.erlang.cookie`; the shim sets the real one.
#[must_use]
pub fn variables(layout: &Layout, epmd_port: u16, family: Family) -> Vec<(&'static str, String)> {
    let (interface, address) = match family {
        Family::Inet => ("{127,0,0,1}", "127.0.0.1"),
        Family::Inet6 => ("{0,0,0,0,0,0,0,1}", "::1"),
    };
    let flags = format!(
        "-pa {} -epmd_module erl_epmd -start_epmd false -nocookie -kernel inet_dist_use_interface {interface} inet_dist_listen_options {SOCKET} inet_dist_connect_options {SOCKET}",
        layout.shim.display()
    );
    vec![
        ("ERL_AFLAGS", flags),
        ("ERL_EPMD_ADDRESS", address.to_owned()),
        ("ERL_EPMD_PORT", epmd_port.to_string()),
        ("SKANS_COOKIES", layout.cookies.display().to_string()),
    ]
}

/// One `NAME="value"` a line: what systemd's `EnvironmentFile=` and `set -a; . FILE; set +a` of a
/// shell (and so of `rabbitmq-env.conf`) read alike.
fn render(variables: &[(&str, String)]) -> String {
    let mut text = String::from("# Written by skans agent; changes are lost when it starts.\n");
    for (name, value) in variables {
        // Paths of ours hold no quote; one of somebody else's would end the value.
        let value = value.replace(['"', '\\', '$', '`', '\n'], "_");
        let _ = writeln!(text, "{name}=\"{value}\"");
    }
    text
}

//! The commands that talk to a control plane, or make what one needs. What they say is in the rooms below.

mod backups;
mod bundles;
mod ca;
mod grants;
mod identities;
mod incidents;
mod tokens;

use std::io::{Read as _, Write as _};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use skans_control::client::Client;
use skans_control::rest::Listed;
use skans_control::rest::agents::Agent;
use skans_control::rest::events::Event;
use skans_control::rest::general::Status;
use skans_control::setup::{self, Initialised, RootIs};
use skans_policy::Mode;

use tokio::io::AsyncReadExt as _;

use crate::arguments::Output;
use crate::arguments::control::{Ask, Control, ControlCommand, Login, Plane};
use crate::failure::{FAILED, Failure, NOT_CHECKED};
use crate::table;

pub use backups::backup;
pub use bundles::bundle;
pub use ca::ca;
pub use grants::grant;
pub use identities::identity;
pub use tokens::token;

/// `skans control`.
pub async fn control(arguments: Control) -> Result<(), Failure> {
    match (arguments.command, arguments.config) {
        (
            Some(ControlCommand::Init {
                config,
                root,
                root_certificate,
                request,
                brownfield,
            }),
            _,
        ) => {
            let root = match (root, root_certificate) {
                (Some(directory), _) => RootIs::Here(directory),
                (None, Some(certificate)) => RootIs::Elsewhere(certificate),
                (None, None) => {
                    return Err(Failure::new(FAILED, "wanted --root or --root-certificate"));
                }
            };
            init(&config, &root, &request, brownfield).await
        }
        (Some(ControlCommand::Status(ask)), _) => status(&ask).await,
        (Some(ControlCommand::Recover { root, plane, .. }), _) => {
            backups::recover(&root, &plane).await
        }
        (None, Some(config)) => {
            Ok(skans_control::run(&config, orphaned(arguments.until_stdin_closes)).await?)
        }
        (None, None) => Err(Failure::new(FAILED, "wanted --config")),
    }
}

/// Returns when standard input ends, if that is to count: whoever started this is gone.
pub async fn orphaned(counts: bool) {
    if !counts {
        std::future::pending::<()>().await;
    }
    let mut sink = [0; 64];
    while matches!(tokio::io::stdin().read(&mut sink).await, Ok(1..)) {}
}

/// Says what the first policy set does, and how to change that.
fn first_policy(mode: Mode) -> String {
    match mode {
        Mode::Enforce => "policy: same-cluster-members is ENFORCED from the first message on. For nodes that ran without Skans \
             before, such as RabbitMQ's, begin with a dry run: init --brownfield, or a set of your own\n"
            .to_owned(),
        Mode::DryRun { until } => format!(
            "policy: same-cluster-members is a DRY RUN until {}: nothing is refused, what would be is told. From then on it \
             is enforced, if no other set is pushed (docs/policy.md)\n",
            table::moment(until)
        ),
    }
}

async fn init(
    config: &Path,
    root: &RootIs,
    request: &Path,
    brownfield: Option<u64>,
) -> Result<(), Failure> {
    let config = skans_control::config::load(config)?;
    let mode = brownfield.map_or(Mode::Enforce, |days| Mode::dry_run(table::now(), days));
    let done = setup::init_with(&config, root, mode).await?;
    say(&first_policy(mode))?;
    match done {
        Initialised::Ready { root } => say(&format!("ready; the root's key is {root}\n")),
        Initialised::Request { id, csr } => {
            write_file(request, &csr)?;
            say(&format!(
                "The first authority, {id}, waits for the root. Where the root is:\n\
                 \x20 skans ca sign --dir DIRECTORY --request {} --cluster {} --out issuer.pem\n\
                 Then start the control plane, and here:\n\
                 \x20 skans ca import {id} --certificate issuer.pem\n",
                request.display(),
                config.cluster,
            ))
        }
    }
}

/// What to say of a dry run behind the name of a set: that nothing is refused, and until when.
pub fn dry_run(until: Option<u64>, now: u64) -> String {
    match until {
        None => String::new(),
        Some(until) if until <= now => {
            format!(
                ", enforced since {}: its dry run is over",
                table::moment(until)
            )
        }
        Some(until) => format!(
            ", DRY RUN: nothing is refused until {}, {}",
            table::moment(until),
            table::relative(until, now)
        ),
    }
}

async fn status(ask: &Ask) -> Result<(), Failure> {
    show(ask, "/v1/status", |status: Status| {
        let now = table::now();
        let issuer = status
            .issuer_not_after
            .map_or_else(|| "none".to_owned(), |at| table::relative(at, now));
        table::facts(&[
            ("version", status.version),
            ("replica", status.replica),
            ("trust domain", status.trust_domain),
            ("cluster", status.cluster),
            ("class", status.class),
            ("epoch", status.epoch.to_string()),
            ("deny entries", status.deny_seq.to_string()),
            ("bundle version", status.bundle_version.to_string()),
            (
                "policy set",
                status.policy.to_string() + &dry_run(status.policy_dry_run_until, now),
            ),
            ("certificates", status.certificates.to_string()),
            ("authority expires", issuer),
            (
                "writer",
                format!("{} (epoch {})", status.writer, status.writer_epoch),
            ),
            (
                "read only",
                status.read_only.unwrap_or_else(|| "no".to_owned()),
            ),
        ])
    })
    .await
}

/// `skans agents`.
pub async fn agents(ask: &Ask) -> Result<(), Failure> {
    list(ask, "/v1/agents", |agents: Vec<Agent>| {
        let now = table::now();
        let rows: Vec<_> = agents
            .into_iter()
            .map(|one| {
                [
                    one.id,
                    one.host,
                    one.program_version,
                    table::relative(one.last_seen, now),
                    format!("({}, {})", one.epoch, one.deny_seq),
                    one.bundle_version.to_string(),
                    one.policy.to_string(),
                ]
            })
            .collect();
        table::render(
            [
                "AGENT",
                "HOST",
                "VERSION",
                "SEEN",
                "DENY ENTRIES",
                "BUNDLE",
                "POLICY",
            ],
            &rows,
        )
    })
    .await
}

/// `skans events`.
pub async fn events(ask: &Ask, after: u64) -> Result<(), Failure> {
    let path = format!("/v1/events?limit=1000&after={after}");
    show(ask, &path, |events: Listed<Event>| {
        let rows: Vec<_> = events
            .items
            .into_iter()
            .map(|one| {
                [
                    one.seq.to_string(),
                    table::moment(one.time_ms / 1000),
                    one.kind,
                    one.actor,
                    one.object,
                ]
            })
            .collect();
        table::render(["EVENT", "TIME", "KIND", "BY", "OBJECT"], &rows)
    })
    .await
}

/// `skans login`.
pub async fn login(arguments: &Login) -> Result<(), Failure> {
    // Never on the command line, where every process of the host can read it.
    let mut token = String::new();
    let read = if arguments.token.as_os_str() == "-" {
        std::io::stdin().take(8192).read_to_string(&mut token)
    } else {
        std::fs::File::open(&arguments.token)
            .and_then(|file| file.take(8192).read_to_string(&mut token))
    };
    read.map_err(|error| Failure::new(FAILED, format!("{}: {error}", arguments.token.display())))?;
    let id = skans_control::client::login(&token, &arguments.dir).await?;
    say(&format!("{id}\n"))
}

pub(crate) fn client(plane: &Plane) -> Client {
    match &plane.login {
        Some(directory) => Client::Person(directory.clone()),
        None => Client::Socket(plane.socket.clone()),
    }
}

/// Asks for one thing, and prints it as JSON or as `draw` has it.
pub(crate) async fn show<T: DeserializeOwned + Serialize>(
    ask: &Ask,
    path: &str,
    draw: impl FnOnce(T) -> String,
) -> Result<(), Failure> {
    let found: T = client(&ask.plane).get(path).await.map_err(look)?;
    print(ask.output, found, draw)
}

/// Asks for all pages of a list.
pub(crate) async fn list<T: DeserializeOwned + Serialize>(
    ask: &Ask,
    path: &str,
    draw: impl FnOnce(Vec<T>) -> String,
) -> Result<(), Failure> {
    let client = client(&ask.plane);
    let mut all = Vec::new();
    let mut next = None;
    loop {
        let sign = if path.contains('?') { '&' } else { '?' };
        let after = next
            .map(|after: String| format!("&after={}", escaped(&after)))
            .unwrap_or_default();
        let page: Listed<T> = client
            .get(&format!("{path}{sign}limit=1000{after}"))
            .await
            .map_err(look)?;
        all.extend(page.items);
        next = page.next;
        if next.is_none() {
            return print(ask.output, all, draw);
        }
    }
}

pub(crate) fn print<T: Serialize>(
    output: Output,
    found: T,
    draw: impl FnOnce(T) -> String,
) -> Result<(), Failure> {
    match output {
        Output::Table => say(&draw(found)),
        Output::Json => {
            let text = serde_json::to_string_pretty(&found).map_err(std::io::Error::from)?;
            say(&(text + "\n"))
        }
    }
}

pub(crate) fn say(text: &str) -> Result<(), Failure> {
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(())
}

fn read_file(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::new(FAILED, format!("{}: {error}", path.display())))
}

fn write_file(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text)
        .map_err(|error| Failure::new(FAILED, format!("{}: {error}", path.display())))
}

/// It was only a look: nothing was changed, and nothing could be told.
pub(crate) fn look(error: skans_control::Error) -> Failure {
    match error {
        skans_control::Error::Remote(_) => Failure::new(FAILED, error.to_string()),
        _ => Failure::new(NOT_CHECKED, error.to_string()),
    }
}

/// A part of a query, with everything escaped that could be another part (RFC 3986 2.3).
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

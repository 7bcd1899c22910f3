//! Production releases, built from the small sources in `tests/releases` by their own tools, and
//! installed on hosts. What they are put through is in the promise.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use skans_lab::Error;
use tokio::process::Command;

use crate::host::Host;

/// For a compiler on a loaded machine.
const BUILD: Duration = Duration::from_secs(120);

/// `MIX_ENV=prod mix release`: where the release is.
///
/// # Errors
/// What the tool said.
pub async fn mix(name: &str, directory: &Path) -> Result<PathBuf, Error> {
    let sources = sources(name, directory).await?;
    let mut command = Command::new("mix");
    command.args(["release", "--quiet"]).env("MIX_ENV", "prod");
    build(command, &sources).await?;
    Ok(sources.join("_build/prod/rel").join(name))
}

/// `rebar3 as prod release`: where the release is.
///
/// # Errors
/// What the tool said.
pub async fn relx(name: &str, directory: &Path) -> Result<PathBuf, Error> {
    let sources = sources(name, directory).await?;
    let mut command = Command::new("rebar3");
    command.args(["as", "prod", "release"]);
    build(command, &sources).await?;
    Ok(sources.join("_build/prod/rel").join(name))
}

/// Copies a release to `/opt/app` of a host, owned by the user `app`.
///
/// # Errors
/// As [`Host::run`].
pub async fn install(host: &Host, release: &Path) -> Result<(), Error> {
    let copy = format!(
        "cp -a '{}' /opt/app && chown -R app:app /opt/app",
        release.display()
    );
    host.run(&copy, BUILD).await.map(drop)
}

/// A copy, so that nothing is built in the source tree.
async fn sources(name: &str, directory: &Path) -> Result<PathBuf, Error> {
    let from = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("releases")
        .join(name);
    let into = directory.join(name);
    let mut command = Command::new("cp");
    command.arg("-a").arg(&from).arg(&into);
    build(command, directory).await?;
    Ok(into)
}

async fn build(mut command: Command, directory: &Path) -> Result<(), Error> {
    // No cache, no configuration of whoever runs the tests; and no network, for nothing is fetched.
    command
        .env("HOME", directory)
        .env("LANG", "C.UTF-8")
        .env_remove("ERL_AFLAGS")
        .current_dir(directory);
    let running = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let what = format!("{command:?}");
    let output = tokio::time::timeout(BUILD, running)
        .await
        .map_err(|_| Error::TimedOut {
            what: what.clone(),
            limit: BUILD,
            last: "it still runs".to_owned(),
        })?
        .map_err(|source| Error::System {
            what: what.clone(),
            source,
        })?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(Error::Ended {
        what,
        how: output.status.to_string(),
        output: String::from_utf8_lossy(&said).into_owned(),
    })
}

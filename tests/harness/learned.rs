//! A policy set that is learned from what agents saw, as an operator learns one: by the command, from their events.

use std::path::Path;
use std::process::Output;

use serde_json::Value;
use skans_lab::{AgentProcess, Error, Policy, until};
use tempfile::TempDir;
use tokio::process::Command;

use crate::PATIENCE;

/// A set that has been learned.
#[derive(Debug)]
pub struct Learned {
    directory: TempDir,
    /// What the command said, as JSON.
    pub said: Value,
}

/// A dry run under these roles of `set.yaml`: everything passes, and is told.
#[must_use]
pub fn dry_run(roles: &str) -> Policy {
    let set = format!(
        "apiVersion: skans.io/v1alpha1\nname: watched\nmode: dry-run\nuntil: 2100-01-01\n{roles}"
    );
    Policy::enforced("", "").file("set.yaml", &set)
}

/// Whether an event tells that something was asked of what is called so.
#[must_use]
pub fn tells_of(event: &Value, name: &str) -> bool {
    let skans = &event["unmapped"]["skans"];
    let resources = skans["resources"].as_array().into_iter().flatten();
    skans["observedBy"].is_string()
        && resources
            .into_iter()
            .any(|one| one["name"] == name || one["module"] == name || one["function"] == name)
}

impl Learned {
    /// Learns from all that these agents tell; that they have told it is the caller's to know.
    ///
    /// # Errors
    /// What the command says, and what `check` and `test` say of what came out.
    pub async fn of(agents: impl IntoIterator<Item = &AgentProcess>) -> Result<Self, Error> {
        let directory =
            tempfile::tempdir().map_err(|error| Error::Unexpected(error.to_string()))?;
        let mut arguments = vec![
            "policy".to_owned(),
            "learn".to_owned(),
            "--events".to_owned(),
        ];
        arguments.extend(
            agents
                .into_iter()
                .map(|agent| agent.files().events.display().to_string()),
        );
        let set = directory.path().join("set");
        let out = set.display().to_string();
        arguments.extend(["--out", &out, "--output", "json"].map(str::to_owned));
        let output = skans(&arguments).await?;
        let said = serde_json::from_slice(&output.stdout)
            .map_err(|error| Error::Unexpected(format!("{error}: {output:?}")))?;
        for command in ["check", "test"] {
            skans(&["policy".to_owned(), command.to_owned(), out.clone()]).await?;
        }
        Ok(Self { directory, said })
    }

    /// A file of it.
    ///
    /// # Errors
    /// [`Error::Unexpected`].
    pub fn text(&self, name: &str) -> Result<String, Error> {
        let path = self.path().join(name);
        std::fs::read_to_string(&path)
            .map_err(|error| Error::Unexpected(format!("{}: {error}", path.display())))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("set")
    }

    /// The same set, enforced.
    ///
    /// # Errors
    /// [`Error::Unexpected`].
    pub fn enforced(&self) -> Result<Policy, Error> {
        let set = self.text("set.yaml")?;
        let lines = set.lines().filter(|line| !line.starts_with("until:"));
        let set: Vec<_> = lines
            .map(|line| {
                if line.starts_with("mode:") {
                    "mode: enforce"
                } else {
                    line
                }
            })
            .collect();
        let mut policy = Policy::enforced("", "").file("set.yaml", &(set.join("\n") + "\n"));
        for name in ["learned.cedar", "entities.yaml"] {
            if self.path().join(name).exists() {
                policy = policy.file(name, &self.text(name)?);
            }
        }
        Ok(policy)
    }

    /// Whether something with this in its words was left out as that.
    #[must_use]
    pub fn left_out(&self, why: &str, words: &str) -> bool {
        let all = self.said["leftOut"].as_array().into_iter().flatten();
        all.into_iter().any(|one| {
            one["why"] == why
                && one["request"]
                    .as_str()
                    .is_some_and(|text| text.contains(words))
        })
    }
}

/// Waits until an agent has told that something was asked of what is called so.
///
/// # Errors
/// [`Error::TimedOut`].
pub async fn has_told(agent: &AgentProcess, name: &str) -> Result<(), Error> {
    until(
        PATIENCE,
        &format!("{} to tell of {name}", agent.label()),
        async || {
            let events = agent.events().map_err(|error| error.to_string())?;
            if events.iter().any(|event| tells_of(event, name)) {
                Ok(())
            } else {
                Err(format!("{} events", events.len()))
            }
        },
    )
    .await
}

async fn skans(arguments: &[String]) -> Result<Output, Error> {
    let program = skans_lab::plan::find_skans()?;
    let program: &Path = program.as_ref();
    let mut command = Command::new(program);
    command.args(arguments).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await;
    let output = output
        .map_err(|_| Error::Unexpected(format!("skans {}: no end", arguments.join(" "))))?
        .map_err(|error| Error::Unexpected(error.to_string()))?;
    if output.status.success() {
        return Ok(output);
    }
    Err(Error::Unexpected(format!(
        "skans {}: {}{}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )))
}

//! The configuration of a witness: what may be written, what it means, what is refused. Nothing is read here but the file itself.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use skans_audit::note::{Algorithm, VerifyingKey};
use skans_audit::witness;
use skans_host::files;
use skans_host::logs::Log as Logging;

use crate::Error;

#[cfg(test)]
mod tests;

/// The only version of the format so far.
pub const API_VERSION: &str = "skans.io/v1alpha1";

/// Largest file in bytes: 256 logs of 1 KiB at most.
const MAX_FILE: u64 = 512 * 1024;

/// Most logs. Each is a cluster that asks every few seconds, and takes one synchronised write each time.
const MAX_LOGS: usize = 256;

/// What a witness is told.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Must be [`API_VERSION`].
    pub api_version: String,
    /// Where it is asked. Loopback unless given: other hosts are let in by those who say so, and by TLS.
    #[serde(default = "port")]
    pub listen: SocketAddr,
    /// Its secret key, as `skans witness key` made it.
    pub key: PathBuf,
    /// Where it remembers what it cosigned. 0700. It must survive, and never go back: not in a backup that is restored, not on a memory
    /// file system.
    pub state: PathBuf,
    /// The logs that it knows.
    pub logs: Vec<Log>,
    /// Its certificate. Without one it listens on loopback only.
    pub tls: Option<Tls>,
    /// What is logged, and how.
    #[serde(default)]
    pub log: Logging,
}

/// A log that is witnessed.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Log {
    /// The first line of its checkpoints: `<trust domain>/cluster/<cluster>/audit/<epoch>`.
    pub origin: String,
    /// Its public key, `<name>+<id>+<base64>`.
    pub key: String,
}

/// The certificate of a witness. Read again every minute, so that whoever renews it has no one to tell.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tls {
    /// PEM, leaf first.
    pub certificate: PathBuf,
    /// PEM.
    pub key: PathBuf,
}

/// Beside the ports of the other parts, which end at 4372.
fn port() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 4373))
}

/// Reads a file.
///
/// # Errors
/// [`Error::Config`]: which key, what was found, what was wanted. [`Error::File`].
pub fn load(path: &Path) -> Result<Config, Error> {
    parse(
        &files::read_text(path, MAX_FILE)?,
        &path.display().to_string(),
    )
}

/// Reads a text; `origin` stands for the file in errors.
///
/// # Errors
/// As [`load`].
pub fn parse(text: &str, origin: &str) -> Result<Config, Error> {
    let wrong = |problem: String| Error::Config {
        origin: origin.to_owned(),
        problem,
    };
    let config: Config = serde_saphyr::from_str(text).map_err(|error| wrong(error.to_string()))?;
    config.check().map_err(wrong)?;
    Ok(config)
}

impl Config {
    fn check(&self) -> Result<(), String> {
        if self.api_version != API_VERSION {
            let found = &self.api_version;
            return Err(format!(
                "apiVersion: found {found:?}, wanted {API_VERSION:?}"
            ));
        }
        let mut paths = vec![("key", &self.key), ("state", &self.state)];
        if let Some(tls) = &self.tls {
            paths.extend([("tls.certificate", &tls.certificate), ("tls.key", &tls.key)]);
        } else if !self.listen.ip().is_loopback() {
            return Err(format!(
                "listen: found {}, wanted a loopback address (127.0.0.1), or tls: what passes between hosts is encrypted",
                self.listen
            ));
        }
        for (key, path) in paths {
            if !path.is_absolute() {
                return Err(format!("{key}: found {path:?}, wanted an absolute path"));
            }
        }
        self.logs().map(drop)
    }

    /// The logs, as they are asked for.
    ///
    /// # Errors
    /// Which of them makes no sense.
    pub fn logs(&self) -> Result<Vec<witness::Log>, String> {
        let count = self.logs.len();
        if count == 0 || count > MAX_LOGS {
            return Err(format!("logs: found {count}, wanted 1 to {MAX_LOGS}"));
        }
        let mut logs: Vec<witness::Log> = Vec::with_capacity(count);
        for (at, log) in self.logs.iter().enumerate() {
            let key = VerifyingKey::parse(&log.key)
                .map_err(|error| format!("logs[{at}].key: {error}"))?;
            if key.algorithm() != Algorithm::Ed25519 {
                return Err(format!(
                    "logs[{at}].key: found that of a witness, wanted that of a log (1)"
                ));
            }
            // The key of another log here is a mistake; two of one origin could not both be held against one memory.
            if key.name() != log.origin {
                let (origin, name) = (&log.origin, key.name());
                return Err(format!(
                    "logs[{at}].origin: found {origin:?}, wanted the name of its key, {name:?}"
                ));
            }
            if logs.iter().any(|other| other.origin == log.origin) {
                return Err(format!(
                    "logs[{at}].origin: found {:?} again, wanted each once",
                    log.origin
                ));
            }
            logs.push(witness::Log {
                origin: log.origin.clone(),
                key,
            });
        }
        Ok(logs)
    }
}

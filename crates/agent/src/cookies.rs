//! Cookies: one of its own for every node of this host, and one for its short-lived ones.
//!
//! A cookie proves a local process to its agent and nothing more; it opens nothing from another
//! host. It stands in a file that only the node's user can read, never in arguments or environment.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use skans_host::files::{self, Access};

use crate::Error;

/// 32 characters of base 32: 160 bits. OTP makes up 20 letters.
const LENGTH: usize = 32;
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The cookies of this host.
pub struct Cookies {
    directory: PathBuf,
    nodes: HashMap<String, String>,
    cli: String,
}

impl std::fmt::Debug for Cookies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cookies")
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

impl Cookies {
    /// Writes what is missing, and keeps what is there: a node that outlives its agent goes on with
    /// the cookie that it has.
    ///
    /// `nodes` are the parts of the names before `@`, each with the user that runs the node.
    ///
    /// # Errors
    /// [`Error::File`]; giving a file to another user takes root.
    pub fn prepare(
        directory: &Path,
        nodes: &[(String, Option<u32>)],
        cli_user: Option<u32>,
    ) -> Result<Self, Error> {
        // Others must pass through to their own file, and see no names.
        files::directory(directory, 0o711)?;
        let mut cookies = HashMap::new();
        for (alive, user) in nodes {
            let path = directory.join(format!("{alive}.cookie"));
            cookies.insert(alive.clone(), keep_or_make(&path, *user)?);
        }
        // A home of its own, since erl_call reads $HOME/.erlang.cookie and nothing else.
        let home = directory.join("cli");
        files::directory_of(&home, 0o700, cli_user)?;
        let cli = keep_or_make(&home.join(".erlang.cookie"), cli_user)?;
        Ok(Self {
            directory: directory.to_owned(),
            nodes: cookies,
            cli,
        })
    }

    /// The cookie of a node, by the part of its name before `@`; that of the short-lived ones if it
    /// is none of the configured.
    #[must_use]
    pub fn of(&self, alive: &str) -> &[u8] {
        self.nodes.get(alive).unwrap_or(&self.cli).as_bytes()
    }

    /// The file that [`Cookies::of`] stands in.
    #[must_use]
    pub fn file(&self, alive: &str) -> PathBuf {
        if self.nodes.contains_key(alive) {
            self.directory.join(format!("{alive}.cookie"))
        } else {
            self.directory.join("cli/.erlang.cookie")
        }
    }
}

fn keep_or_make(path: &Path, user: Option<u32>) -> Result<String, Error> {
    let access = Access {
        mode: 0o400,
        owner: user,
    };
    // What others may have read or written is no secret any more, and no reason not to start.
    if let Some(text) = files::read_own(path, access, LENGTH as u64)
        && text.len() == LENGTH
        && text.bytes().all(|byte| ALPHABET.contains(&byte))
    {
        return Ok(text);
    }
    let mut random = [0; LENGTH];
    aws_lc_rs::rand::fill(&mut random)
        .map_err(|_| Error::Internal("the system gave no random bytes".to_owned()))?;
    let cookie: String = random
        .iter()
        .filter_map(|byte| ALPHABET.get(usize::from(byte % 32)))
        .map(|&byte| char::from(byte))
        .collect();
    files::write(path, cookie.as_bytes(), access)?;
    Ok(cookie)
}

#[cfg(test)]
mod tests;

//! A copy of the log as files, laid out as C2SP tlog-tiles says: what `skans audit verify` reads, on any machine, without asking anybody.

use std::path::Path;

use skans_audit::checkpoint::Checkpoint;
use skans_audit::note::VerifyingKey;
pub use skans_audit::redact::Redaction;
use skans_audit::tile::{self, Kind, Tile};
use skans_host::files::{self, Access};

use super::Client;
use crate::error::Error;
use crate::rest::Listed;
use crate::rest::audit::Log;

/// Largest file of rules, or of a key, in bytes.
const MAX_RULES: u64 = 256 * 1024;

/// What was copied.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
pub struct Exported {
    /// What the log is called.
    pub origin: String,
    /// Its public key. Whoever verifies should have it from elsewhere.
    pub key: String,
    /// Entries.
    pub size: u64,
    /// How many of them, from the first on, are only there as hashes.
    pub pruned: u64,
    /// Files that were written; what was there from an earlier export is not fetched again.
    pub written: u64,
    /// Whether the checkpoint has the signatures of witnesses.
    pub witnessed: bool,
}

/// Rules that say what of events does not leave, out of a file, and the key that they hash under out of another, which nobody else can read.
///
/// # Errors
/// [`Error::File`] if one cannot be read or used.
pub fn rules_of_redaction(rules: &Path, key: Option<&Path>) -> Result<Redaction, Error> {
    let text = files::read_text(rules, MAX_RULES)?;
    let policy =
        serde_saphyr::from_str(&text).map_err(|error| Error::file(rules, error.to_string()))?;
    let key = key
        .map(|key| files::read_secret(key, MAX_RULES))
        .transpose()?;
    Redaction::new(policy, key.as_ref().map(|key| key.as_slice()))
        .map_err(|error| Error::file(rules, error.to_string()))
}

/// Copies a log into a directory: the newest, or that of an epoch. What was copied before is added to.
///
/// The checkpoint is written last: a copy that was interrupted is one of what was there before.
///
/// # Errors
/// As [`Client::get`]; [`Error::NotFound`] if there is no such log, or nothing is in it yet; [`Error::File`]; [`Error::Audit`] if what the control
/// plane says is no log.
pub async fn export(
    client: &Client,
    epoch: Option<u64>,
    directory: &Path,
) -> Result<Exported, Error> {
    let logs: Listed<Log> = client.get("/v1/audit/logs").await?;
    let wanted = |log: &Log| epoch.is_none_or(|epoch| log.epoch == epoch);
    let log = logs.items.into_iter().rfind(wanted);
    let name = || epoch.map_or_else(|| "the newest".to_owned(), |epoch| epoch.to_string());
    let log = log.ok_or_else(|| Error::not_found("log", name()))?;
    let witnessed = !log.witnessed_checkpoint.is_empty();
    let note = if witnessed {
        &log.witnessed_checkpoint
    } else {
        &log.checkpoint
    };
    if note.is_empty() {
        return Err(Error::not_found("checkpoint of log", name()));
    }
    let key = VerifyingKey::parse(&log.key)?;
    let checkpoint = Checkpoint::open(note.as_bytes(), &key)?;
    files::private_directory(directory)?;
    let mut written = 0;
    for tile in tile::of_tree(checkpoint.size) {
        let path = directory.join(tile.path());
        let gone = tile.kind() == Kind::Entries && tile.start() < log.pruned;
        // A full tile never changes.
        if gone || tile.is_full() && path.exists() {
            continue;
        }
        let Some(bytes) = fetch(client, log.epoch, &tile).await? else {
            continue;
        };
        private_directories(directory, &path)?;
        files::write(&path, &bytes, Access::PRIVATE)?;
        written += 1;
    }
    let path = directory.join(skans_audit::export::CHECKPOINT);
    files::write(&path, note.as_bytes(), Access::PRIVATE)?;
    Ok(Exported {
        origin: log.origin,
        key: log.key,
        size: checkpoint.size,
        pruned: log.pruned,
        written,
        witnessed,
    })
}

/// What a tile was when the tree had its size: it may have grown since. `None` if it was pruned since.
async fn fetch(client: &Client, epoch: u64, tile: &Tile) -> Result<Option<Vec<u8>>, Error> {
    let n = tile.number();
    let path = match tile.kind() {
        Kind::Hashes(level) => format!("/v1/audit/logs/{epoch}/tiles/{level}/{n}"),
        Kind::Entries => format!("/v1/audit/logs/{epoch}/entries/{n}"),
    };
    let bytes = match client.octets(&path).await {
        Err(Error::Remote(problem)) if problem.status == 404 && tile.kind() == Kind::Entries => {
            return Ok(None);
        }
        other => other?,
    };
    let width = usize::from(tile.width());
    let short = |found: usize, what: &str| {
        Error::Unreachable(format!("{path}: found {found} {what}, wanted {width}"))
    };
    match tile.kind() {
        Kind::Hashes(_) => {
            let (hashes, _) = bytes.as_chunks::<32>();
            let wanted = hashes.get(..width);
            let wanted = wanted.ok_or_else(|| short(hashes.len(), "hashes"))?;
            Ok(Some(tile::encode_hashes(wanted)))
        }
        Kind::Entries => {
            // What was deleted from the database, not by age, is missing in the middle of a bundle.
            let wanted = first(&bytes, width).map_err(|found| short(found, "entries"))?;
            tile.decode_bundle(wanted)?;
            Ok(Some(wanted.to_vec()))
        }
    }
}

/// The bytes of the first entries of a bundle; how many whole ones it has if they are fewer.
fn first(bytes: &[u8], entries: usize) -> Result<&[u8], usize> {
    let mut end = 0_usize;
    for found in 0..entries {
        let length = bytes.get(end..).and_then(|rest| rest.first_chunk());
        let length = length.ok_or(found)?;
        end += 2 + usize::from(u16::from_be_bytes(*length));
        if end > bytes.len() {
            return Err(found);
        }
    }
    Ok(&bytes[..end])
}

/// Makes the directories that lead to a file, for nobody else.
fn private_directories(root: &Path, file: &Path) -> Result<(), Error> {
    let below: Vec<_> = file
        .ancestors()
        .skip(1)
        .take_while(|path| *path != root)
        .collect();
    for path in below.into_iter().rev() {
        files::private_directory(path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::first;

    #[test]
    fn a_bundle_that_lacks_entries_says_how_many_it_has() {
        let bundle = b"\0\x01a\0\0\0\x02bc";
        assert_eq!(first(bundle, 2), Ok(&b"\0\x01a\0\0"[..]));
        assert_eq!(first(bundle, 3), Ok(&bundle[..]));
        assert_eq!(first(bundle, 4), Err(3));
        assert_eq!(first(&bundle[..8], 3), Err(2));
        assert_eq!(first(&bundle[..1], 1), Err(0));
    }
}

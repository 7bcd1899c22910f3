//! Certificates that others put into files (cert-manager, Vault, a script): read at start, and again when they change.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::UnixTime;
use skans_host::files;
use skans_identity::bundle::Bundle;
use skans_identity::credential::Credential;
use skans_identity::id::TrustDomain;

use crate::Error;
use crate::agent::Agent;
use crate::config::{CertificateFiles, Config, FilesSource};
use crate::subjects::{self, Subject};

/// Largest PEM file in bytes: far above any chain or bundle, far below what would hurt.
const MAX_PEM: u64 = 256 * 1024;
/// How often files are looked at. Looking costs a few system calls; a Kubernetes volume itself follows its Secret within
/// a minute or two, and inotify does not see through the links that it is made of.
const POLL: Duration = Duration::from_secs(5);

/// Reads the bundle, and the certificate of each subject.
pub(super) fn read(
    config: &Config,
    source: &FilesSource,
    subjects: &[&Subject],
) -> Result<(Bundle, Vec<(String, Credential)>), Error> {
    let trust_domain = TrustDomain::parse(&config.trust_domain)
        .map_err(|error| Error::config("trustDomain", error.to_string()))?;
    let text = files::read_text(&source.bundle, MAX_PEM)?;
    let bundle = Bundle::from_pem(trust_domain, text.as_bytes())
        .map_err(|error| Error::file(&source.bundle, error.to_string()))?;
    let fresh = subjects
        .iter()
        .map(|subject| {
            let files = subject.files.as_ref().ok_or_else(|| {
                let beside = source.bundle.display();
                Error::config(
                    &subject.key,
                    format!("found no certificate, wanted one beside {beside}"),
                )
            })?;
            let credential = read_credential(files)?;
            subject.check(&credential)?;
            Ok((subject.name.clone(), credential))
        })
        .collect::<Result<_, Error>>()?;
    Ok((bundle, fresh))
}

fn read_credential(files: &CertificateFiles) -> Result<Credential, Error> {
    let chain = files::read_text(&files.chain, MAX_PEM)?;
    let key = files::read_secret(&files.key, MAX_PEM)?;
    Credential::from_pem(chain.as_bytes(), &key, UnixTime::now()).map_err(|error| {
        let key = files.key.display();
        Error::file(&files.chain, format!("with the key {key}: {error}"))
    })
}

/// What tells one state of a file from another: a file that is replaced gets another inode, one that is written to
/// another time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Mark(Option<(u64, i64, i64, u64)>);

fn mark(path: &Path) -> Mark {
    let meta = std::fs::metadata(path).ok();
    Mark(meta.map(|meta| (meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.size())))
}

/// The files as they were when they were last looked at.
#[derive(Debug, Default)]
pub(super) struct Watched {
    marks: BTreeMap<PathBuf, Mark>,
    /// What stands there could not be used; it is tried again until it can.
    failed: Option<String>,
}

/// Reads all again if any has changed. Says how long to wait.
pub(super) async fn turn(
    agent: &Arc<Agent>,
    config: &Config,
    source: &FilesSource,
    watched: &mut Watched,
) -> Duration {
    let Ok(subjects) = subjects::of(config) else {
        return POLL; // Checked when it was loaded.
    };
    let (config, source) = (config.clone(), source.clone());
    let before = std::mem::take(&mut watched.marks);
    let again = watched.failed.is_some();
    // A volume may be slow, or gone.
    let looked = tokio::task::spawn_blocking(move || {
        let marks: BTreeMap<_, _> = paths(&source, &subjects)
            .map(|path| (path.clone(), mark(path)))
            .collect();
        let first = before.is_empty();
        if !again && (first || before == marks) {
            return (marks, None);
        }
        let all: Vec<_> = subjects.iter().collect();
        (marks, Some(read(&config, &source, &all)))
    });
    let Ok((marks, read)) = looked.await else {
        return POLL;
    };
    watched.marks = marks;
    match read.map(|read| read.and_then(|(bundle, fresh)| take(agent, bundle, fresh))) {
        None => {}
        Some(Ok(())) => watched.failed = None,
        Some(Err(error)) => {
            let text = error.to_string();
            // Said once: half of a pair is there while somebody writes the other.
            if watched.failed.as_ref() != Some(&text) {
                agent.lifecycle.renewals.count(error.label());
                tracing::warn!("certificate files not used, the old ones stay: {text}");
                watched.failed = Some(text);
            }
        }
    }
    POLL
}

/// Puts in use what is new.
fn take(agent: &Agent, bundle: Bundle, mut fresh: Vec<(String, Credential)>) -> Result<(), Error> {
    fresh.retain(|(name, credential)| {
        agent
            .identities
            .credential(name)
            .is_none_or(|old| old.chain() != credential.chain())
    });
    let names: Vec<_> = fresh.iter().map(|(name, _)| name.clone()).collect();
    agent.identities.install(Some(bundle), fresh)?;
    for name in names {
        agent.lifecycle.renewals.count("ok");
        tracing::info!(%name, "certificate read again");
    }
    Ok(())
}

fn paths<'a>(
    source: &'a FilesSource,
    subjects: &'a [Subject],
) -> impl Iterator<Item = &'a PathBuf> {
    let files = subjects.iter().filter_map(|subject| subject.files.as_ref());
    files
        .flat_map(|files| [&files.chain, &files.key])
        .chain([&source.bundle])
}

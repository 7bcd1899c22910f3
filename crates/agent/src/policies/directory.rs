//! A set of local files, for an agent without a control plane.

use std::path::Path;
use std::sync::Arc;

use skans_host::files::{Whose, read_tree};
use skans_identity::head::Audience;
use skans_identity::id::TrustDomain;
use skans_policy::source::{MAX_BYTES, MAX_FILES};
use skans_policy::{Engine, File, Home, Problems, Source};

use super::{InForce, Standing};
use crate::Error;
use crate::config::Config;

/// Reads and compiles it, for the nodes of this cluster.
///
/// # Errors
/// [`Error::File`] if a file cannot be read, or can be changed by others; [`Error::Policy`] with every problem and its place.
pub fn load(directory: &Path, config: &Config) -> Result<InForce, Error> {
    let files = read_tree(directory, MAX_FILES, MAX_BYTES as u64, Whose::Ours)?;
    let files: Vec<File> = files
        .into_iter()
        .map(|(name, text)| File { name, text })
        .collect();
    let wrong = |problems: Problems| Error::Policy {
        problem: format!("{}: {problems}", directory.display()),
        label: "compile",
    };
    let source = Source::read(&files).map_err(wrong)?;
    let home = Home::new(&config.trust_domain, &config.cluster);
    let own = Audience {
        trust_domain: TrustDomain::parse(&config.trust_domain)
            .map_err(|error| Error::config("trustDomain", error.to_string()))?,
        cluster: config.cluster.clone(),
    };
    Ok(InForce {
        engine: Arc::new(Engine::compile_for(&source, &home).map_err(wrong)?),
        links: super::links(&source, &own)?,
        standing: Standing::Directory,
        name: source.name,
        expires: None,
    })
}

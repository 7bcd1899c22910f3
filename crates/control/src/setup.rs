//! `skans control init`: a store with a name, its encryption key, a root and a first issuing authority.

use std::path::PathBuf;

use rustls::pki_types::CertificateDer;
use serde_json::json;
use skans_host::files;
use skans_identity::authority::Issuer;
use skans_identity::bundle::Bundle;
use skans_identity::csr::{self, ProvenKey};
use skans_identity::signer::SoftwareKey;
use skans_policy::Mode;
use skans_store::authorities::{self, Kind, NewAuthority, Slot};
use skans_store::requests::Request;
use skans_store::{PostgresConfig, SqliteConfig, Store, Tx, bundle, meta, writer};

use crate::authority::{Kept, keep_request, waiting};
use crate::config::{Config, Database, Postgres};
use crate::error::Error;
use crate::event::{self, Kind as Event};
use crate::news::sealing_label;
use crate::state::Home;
use crate::{clock, encryption_key, hex, pem, policies, rest, root};

/// Longest URL of a database, in bytes.
const MAX_URL: u64 = 4096;

/// Where the root is.
#[derive(Clone, Debug)]
pub enum RootIs {
    /// In a directory, with its key: `skans ca init` made it.
    Here(PathBuf),
    /// Elsewhere; this is its certificate.
    Elsewhere(PathBuf),
}

/// What was done, and what is left to do.
#[derive(Clone, Debug)]
pub enum Initialised {
    /// All of it.
    Ready {
        /// SHA-256 of the root's `SubjectPublicKeyInfo`, in hex.
        root: String,
    },
    /// The root has to sign this; then `skans ca import`.
    Request {
        /// The name of the authority that is to be.
        id: String,
        /// PEM.
        csr: String,
    },
}

/// Makes a control plane, its first policy set enforced. What is there is never overwritten; what failed half-way can be run again.
///
/// # Errors
/// [`Error::Store`] if there is one already; those of files, the root and the database.
pub async fn init(config: &Config, root_is: &RootIs) -> Result<Initialised, Error> {
    init_with(config, root_is, Mode::Enforce).await
}

/// The same, with the first policy set in this mode: a dry run is for nodes that ran without Skans before.
///
/// # Errors
/// As [`init`].
pub async fn init_with(
    config: &Config,
    root_is: &RootIs,
    mode: Mode,
) -> Result<Initialised, Error> {
    let home = Home::of(config)?;
    files::private_directory(&config.directory)?;
    let (certificate, signer) = match root_is {
        RootIs::Here(directory) => {
            let root = root::load(directory)?;
            (root.certificate().clone(), Some(root))
        }
        RootIs::Elsewhere(path) => (root::read_certificate(path)?, None),
    };
    let trusted = Trusted::check(&home, certificate)?;
    let sealing = encryption_key::load_or_make(config)?;
    let id = rest::registrations::random_id()?;
    let key = SoftwareKey::generate()?;
    let sealed = sealing.seal(&sealing_label(&id), key.pkcs8())?;
    let store = open(config).await?;
    let done = match signer {
        Some(root) => {
            let lifetime = config.authority.lifetime;
            let signed =
                root.sign_issuer(&home.cluster, &ProvenKey::of(&key), lifetime, clock::now())?;
            let issuer = Issuer::load(signed, key)?;
            issuer.check_under(&trusted.bundle, clock::now())?;
            let kept = Kept::of(id, &issuer, sealed);
            let root = hex::of(&trusted.spki);
            make(&store, config, &home, trusted, First::Signed(kept), mode).await?;
            Initialised::Ready { root }
        }
        None => {
            let csr = pem::request(&csr::request(&key)?);
            let request = waiting(&id, &key, sealed, &actor());
            make(
                &store,
                config,
                &home,
                trusted,
                First::Requested(request),
                mode,
            )
            .await?;
            Initialised::Request { id, csr }
        }
    };
    store.close().await;
    Ok(done)
}

/// Opens the store that the configuration names.
///
/// # Errors
/// Those of the store.
pub(crate) async fn open(config: &Config) -> Result<Store, Error> {
    match &config.database {
        Database::Sqlite => Ok(Store::sqlite(SqliteConfig::new(config.sqlite())).await?),
        Database::Postgres(postgres) => Ok(Store::postgres(postgres_config(postgres)?).await?),
    }
}

/// How PostgreSQL is reached.
///
/// # Errors
/// [`Error::File`] if the URL's file cannot be read, or can be read by others.
pub(crate) fn postgres_config(postgres: &Postgres) -> Result<PostgresConfig, Error> {
    let url = match (&postgres.url, &postgres.url_file) {
        (Some(url), _) => url.clone(),
        (None, Some(file)) => {
            let text = files::read_secret(file, MAX_URL)?;
            let text = str::from_utf8(&text)
                .map_err(|_| Error::file(file, "found bytes, wanted a URL"))?;
            text.trim().to_owned()
        }
        (None, None) => {
            return Err(Error::config(
                "database.postgres",
                "found neither url nor urlFile",
            ));
        }
    };
    let mut config = PostgresConfig::new(url);
    config.ca_file.clone_from(&postgres.authorities);
    Ok(config)
}

/// The root certificate, looked at.
struct Trusted {
    bundle: Bundle,
    der: CertificateDer<'static>,
    spki: [u8; 32],
    not_before: u64,
    not_after: u64,
}

impl Trusted {
    fn check(home: &Home, der: CertificateDer<'static>) -> Result<Self, Error> {
        let (bundle, facts) = crate::roots::check(&home.trust_domain, &der)?;
        Ok(Self {
            bundle,
            der,
            spki: facts.spki,
            not_before: facts.not_before,
            not_after: facts.not_after,
        })
    }
}

/// The first issuing authority.
enum First {
    Signed(Kept),
    /// The root is elsewhere, and has to sign.
    Requested(Request),
}

/// Whoever runs this, as events name them.
fn actor() -> String {
    format!("unix:{}", rustix::process::geteuid().as_raw())
}

async fn make(
    store: &Store,
    config: &Config,
    home: &Home,
    trusted: Trusted,
    first: First,
    mode: Mode,
) -> Result<(), Error> {
    let (name, home) = (config.name.clone(), home.clone());
    let instance = rest::registrations::random_id()?;
    let actor = actor();
    let work = move |tx: &mut Tx<'_>| {
        let now = clock::seconds();
        meta::init(
            tx,
            home.trust_domain.as_str(),
            &home.cluster,
            &instance,
            now,
        )?;
        let writer = writer::claim(tx, &name, now)?;
        let id = hex::of(trusted.spki.get(..8).unwrap_or_default());
        let root = NewAuthority {
            id: &id,
            kind: Kind::Root,
            slot: Slot::A,
            certificate: &trusted.der,
            sealed_key: None,
            spki: &trusted.spki,
            not_before: trusted.not_before,
            not_after: trusted.not_after,
        };
        authorities::prepare(tx, writer, &root, now)?;
        authorities::activate(tx, writer, &id, now)?;
        bundle::publish(tx, writer, &[&trusted.der], now)?;
        match &first {
            First::Signed(issuer) => {
                issuer.prepare(tx, writer, &actor, now)?;
                authorities::activate(tx, writer, &issuer.id, now)?;
            }
            First::Requested(request) => keep_request(tx, request)?,
        }
        policies::first(tx, writer, &home, &actor, now, mode)?;
        let details = json!({ "trust_domain": home.trust_domain.as_str(), "cluster": home.cluster, "instance": instance, "root": id });
        event::tell(tx, Event::ControlInitialised, &actor, &name, &details)?;
        Ok::<_, Error>(())
    };
    store.try_write(work).await
}

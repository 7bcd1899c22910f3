//! What the types of a configuration cannot refuse by themselves. Each text names the key, what was found, and what was
//! wanted.

use std::path::Path;
use std::time::Duration;

use skans_audit::note::VerifyingKey;
use skans_identity::host::Host;
use skans_identity::id::{NodeId, SpiffeId, TrustDomain};
use skans_otlp::Signal;

use super::{API_VERSION, Config, Database, EncryptionKey};

/// Most addresses in a join token: its format counts them in one byte, and nobody dials more than a few.
const MAX_ADDRESSES: usize = 8;

/// Most witnesses of the log: each is asked in turn.
const MAX_WITNESSES: usize = 16;

/// Most other trust domains.
const MAX_FEDERATED: usize = 64;

impl Config {
    pub(super) fn check(&self) -> Result<(), String> {
        if self.api_version != API_VERSION {
            return Err(format!(
                "apiVersion: found {:?}, wanted {API_VERSION:?}",
                self.api_version
            ));
        }
        let domain = TrustDomain::parse(&self.trust_domain)
            .map_err(|error| format!("trustDomain: {error}"))?;
        NodeId::cli(&domain, &self.cluster, "x", "x")
            .map_err(|error| format!("cluster: {error}"))?;
        SpiffeId::control(&domain, &self.name).map_err(|error| format!("name: {error}"))?;
        absolute("directory", &self.directory)?;
        if let Some(socket) = &self.socket {
            absolute("socket", socket)?;
        }
        if let Some(root) = &self.authority.root {
            absolute("authority.root", root)?;
        }
        if let Some(witness) = &self.witness {
            absolute("witness", witness)?;
        }
        self.check_federation(&domain)?;
        self.check_database()?;
        self.check_encryption_key()?;
        if self.advertise.len() > MAX_ADDRESSES {
            return Err(format!(
                "advertise: found {} addresses, wanted at most {MAX_ADDRESSES}",
                self.advertise.len()
            ));
        }
        for (index, one) in self.advertise.iter().enumerate() {
            address(one).map_err(|why| format!("advertise[{index}]: {why}"))?;
        }
        self.check_bounds()
    }

    fn check_federation(&self, own: &TrustDomain) -> Result<(), String> {
        if self.federation.len() > MAX_FEDERATED {
            return Err(format!(
                "federation: found {} trust domains, wanted at most {MAX_FEDERATED}",
                self.federation.len()
            ));
        }
        let mut seen = vec![own.clone()];
        for (at, one) in self.federation.iter().enumerate() {
            let key = format!("federation[{at}].trustDomain");
            let domain =
                TrustDomain::parse(&one.trust_domain).map_err(|error| format!("{key}: {error}"))?;
            // Pooled roots could each speak for the other.
            if seen.contains(&domain) {
                return Err(format!(
                    "{key}: found {domain} again, wanted each trust domain once, and not our own"
                ));
            }
            seen.push(domain);
            absolute(&format!("federation[{at}].bundle"), &one.bundle)?;
        }
        Ok(())
    }

    fn check_witnesses(&self) -> Result<(), String> {
        let witnesses = &self.events.witnesses;
        count("events.witnesses", witnesses.len(), 0, MAX_WITNESSES)?;
        for (at, one) in witnesses.iter().enumerate() {
            let key = format!("events.witnesses[{at}]");
            one.uri().map_err(|error| format!("{key}.url: {error}"))?;
            VerifyingKey::parse(&one.key).map_err(|error| format!("{key}.key: {error}"))?;
            if let Some(file) = &one.authorities {
                absolute(&format!("{key}.authorities"), file)?;
            }
            if witnesses.iter().take(at).any(|other| other.key == one.key) {
                return Err(format!(
                    "{key}.key: found it again, wanted each witness once"
                ));
            }
        }
        match self.events.witness_quorum {
            Some(quorum) => count("events.witnessQuorum", quorum, 1, witnesses.len().max(1)),
            None => Ok(()),
        }
    }

    fn check_copy(&self) -> Result<(), String> {
        let Some(copy) = &self.events.copy else {
            return Ok(());
        };
        let checked = copy.otlp.check(Signal::Logs);
        checked.map_err(|why| format!("events.copy.otlp.{why}"))?;
        let files = [("redact", &copy.redact), ("redactKey", &copy.redact_key)];
        for (key, file) in files {
            if let Some(file) = file {
                absolute(&format!("events.copy.{key}"), file)?;
            }
        }
        if copy.redact.is_none() && copy.redact_key.is_some() {
            return Err("events.copy.redactKey: found one, wanted redact beside it".to_owned());
        }
        Ok(())
    }

    fn check_database(&self) -> Result<(), String> {
        let Database::Postgres(postgres) = &self.database else {
            return Ok(());
        };
        if let Some(authorities) = &postgres.authorities {
            absolute("database.postgres.authorities", authorities)?;
        }
        match (&postgres.url, &postgres.url_file) {
            (Some(url), None) => {
                let authority = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
                let user = authority.split_once('@').map_or("", |(user, _)| user);
                if user.contains(':') || url.contains("password=") {
                    return Err(
                        "database.postgres.url: found a password, wanted none: put the URL \
                                into a file of its own (urlFile)"
                            .to_owned(),
                    );
                }
                Ok(())
            }
            (None, Some(file)) => absolute("database.postgres.urlFile", file),
            (found, _) => Err(format!(
                "database.postgres: found {}, wanted one of url and urlFile",
                if found.is_some() { "both" } else { "neither" }
            )),
        }
    }

    fn check_encryption_key(&self) -> Result<(), String> {
        match &self.encryption_key {
            EncryptionKey::Default => Ok(()),
            EncryptionKey::File(path) => absolute("encryptionKey.file", path),
            EncryptionKey::SystemdCredential(name) => {
                let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
                let fits = !name.is_empty() && name.len() <= 255 && !name.starts_with('.');
                if fits && name.bytes().all(plain) {
                    return Ok(());
                }
                Err(format!(
                    "encryptionKey.systemdCredential: found {name:?}, wanted the name of a credential, such as \
                     skans.encryption-key"
                ))
            }
        }
    }

    fn check_bounds(&self) -> Result<(), String> {
        const fn seconds(n: u64) -> Duration {
            Duration::from_secs(n)
        }
        let least = if self.leaves.laboratory { 10 } else { 300 };
        within(
            "leaves.lifetime",
            self.leaves.lifetime,
            seconds(least),
            seconds(86_400),
        )?;
        let least = if self.leaves.laboratory { 10 } else { 3600 };
        within(
            "policy.lifetime",
            self.policy.lifetime,
            seconds(least),
            seconds(skans_identity::policy_set::MAX_LIFE),
        )?;
        let year = 365 * 86_400;
        within(
            "authority.lifetime",
            self.authority.lifetime,
            seconds(120),
            seconds(year),
        )?;
        // Otherwise leaves are cut short by the authority that signs them: it is replaced at 5/6 of its life.
        if self.authority.lifetime / 6 < self.leaves.lifetime {
            return Err(format!(
                "authority.lifetime: found {:?}, wanted at least six times leaves.lifetime ({:?})",
                self.authority.lifetime, self.leaves.lifetime
            ));
        }
        within(
            "events.retention",
            self.events.retention,
            seconds(86_400),
            seconds(10 * year),
        )?;
        if !(100..=10_000_000_000).contains(&self.events.at_most) {
            return Err(format!(
                "events.atMost: found {}, wanted 100 to 10000000000",
                self.events.at_most
            ));
        }
        within(
            "events.placeWithin",
            self.events.place_within,
            seconds(10),
            seconds(86_400),
        )?;
        self.check_witnesses()?;
        self.check_copy()?;
        if !(1..=1000).contains(&self.response.at_most) {
            return Err(format!(
                "response.atMost: found {}, wanted 1 to 1000",
                self.response.at_most
            ));
        }
        let timeout = self.limits.handshake_timeout;
        within(
            "limits.handshakeTimeout",
            timeout,
            Duration::from_millis(100),
            seconds(60),
        )?;
        count(
            "limits.maxConnections",
            self.limits.max_connections,
            16,
            1_000_000,
        )?;
        count("limits.maxPending", self.limits.max_pending, 16, 65_536)?;
        let rates = [
            (
                "limits.enrolmentsPerAddress",
                self.limits.enrolments_per_address,
            ),
            ("limits.issuesPerIdentity", self.limits.issues_per_identity),
        ];
        for (key, found) in rates {
            count(
                key,
                usize::try_from(found).unwrap_or(usize::MAX),
                1,
                1_000_000,
            )?;
        }
        Ok(())
    }
}

fn within(key: &str, found: Duration, least: Duration, most: Duration) -> Result<(), String> {
    if (least..=most).contains(&found) {
        return Ok(());
    }
    Err(format!(
        "{key}: found {found:?}, wanted {least:?} to {most:?}"
    ))
}

fn count(key: &str, found: usize, least: usize, most: usize) -> Result<(), String> {
    if (least..=most).contains(&found) {
        return Ok(());
    }
    Err(format!("{key}: found {found}, wanted {least} to {most}"))
}

fn absolute(key: &str, path: &Path) -> Result<(), String> {
    if path.is_absolute() {
        return Ok(());
    }
    Err(format!("{key}: found {path:?}, wanted an absolute path"))
}

/// `host:port`, as it is dialled; an IPv6 address stands in brackets.
pub(crate) fn address(text: &str) -> Result<(Host, u16), String> {
    let wanted = || format!("found {text:?}, wanted host:port, such as control.prod.example:8443");
    let (host, port) = text.rsplit_once(':').ok_or_else(wanted)?;
    let port = port
        .parse::<u16>()
        .ok()
        .filter(|&port| port != 0)
        .ok_or_else(wanted)?;
    let host = host
        .strip_prefix('[')
        .map_or(Some(host), |rest| rest.strip_suffix(']'))
        .and_then(|host| Host::parse(host).ok())
        .ok_or_else(wanted)?;
    if text.len() > 255 {
        return Err(format!("found {} bytes, wanted at most 255", text.len()));
    }
    Ok((host, port))
}

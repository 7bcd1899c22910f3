//! Foreign bundles: which roots of another domain are believed, since when, and for how long.
//!
//! A bundle is believed because it was brought by hand with the link ([`Source::roots`]), or because it came over the
//! authenticated way that the link names. Nothing else gets in: a document proves nothing about itself.

#[cfg(test)]
mod simulation;
mod stored;
#[cfg(test)]
pub(super) mod tests;

use std::collections::{BTreeMap, BTreeSet};

use rustls_pki_types::UnixTime;

use super::endpoint::Profile;
use super::link::{Links, MAX_LINKS, Source};
use crate::bundle::Bundle;
use crate::bundle::document::Document;
use crate::error::Error;
use crate::id::TrustDomain;
use crate::keys::sha256;
use crate::refusal::Refusal;
use crate::verify::Evidence;

/// Most foreign domains that are remembered, those without a link in force included.
pub const MAX_FOREIGN: usize = 2 * MAX_LINKS;
/// How often a bundle is fetched whose publisher does not say, in seconds (Federation 4.1).
pub const REFRESH: u64 = 300;
/// The least and the most between two fetches, in seconds, whatever the publisher asks for: it must not make us call without
/// end, nor keep us from hearing of a root that was taken out.
pub const REFRESH_BOUNDS: (u64, u64) = (60, 3600);

/// How a document came here. Whoever fetches it says so, and has checked what its profile asks for up to there.
#[derive(Debug, Clone, Copy)]
pub enum Channel<'a> {
    /// From the URL of the link, over TLS with a certificate of a public authority for its host.
    Web,
    /// From whoever proved this identity, by the bundle that [`Foreign::to_fetch_with`] gave.
    Spiffe(&'a Evidence),
}

/// What a document that was accepted means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The same as before, and as fresh as now.
    Same,
    /// A newer one: write the state down, then put it in force.
    Forward,
}

/// How it stands with the bundle of a foreign domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// No link in force, or never heard of.
    Unknown,
    /// Lately confirmed.
    Fresh,
    /// It is time to fetch it.
    Due,
    /// It could not be fetched for too long: nothing of theirs is verified by it.
    Stale,
    /// Somebody here has taken trust back: nothing of theirs is believed until [`Foreign::forget`].
    Distrusted,
}

/// How it stands with another domain, in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overview<'a> {
    /// Which.
    pub domain: &'a TrustDomain,
    /// Whether its bundle counts.
    pub standing: Standing,
    /// The sequence of the bundle that was accepted last, if one ever was.
    pub sequence: Option<u64>,
    /// How many roots are held.
    pub roots: usize,
    /// Seconds since the bundle was last confirmed, in either direction of the clock; `None` where none is held.
    pub age: Option<u64>,
}

impl Standing {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Unknown,
        Self::Fresh,
        Self::Due,
        Self::Stale,
        Self::Distrusted,
    ];

    /// A stable word for it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Fresh => "fresh",
            Self::Due => "due",
            Self::Stale => "stale",
            Self::Distrusted => "distrusted",
        }
    }
}

/// What is believed of other domains. Write it down, by [`Foreign::to_bytes`], before anything is put in force that was
/// accepted: what a restart forgets can be played again.
#[derive(Debug, Clone, Default)]
pub struct Foreign(BTreeMap<TrustDomain, Held>);

#[derive(Debug, Clone, Default)]
struct Held {
    /// The highest sequence that was accepted and the hash of what it said; none while only brought roots are here.
    seen: Option<(u64, [u8; 32])>,
    /// The hash of the roots that were brought last.
    brought: Option<[u8; 32]>,
    /// What is believed; none before the first one, and of those who are distrusted.
    bundle: Option<Bundle>,
    /// When that was last confirmed, Unix time.
    confirmed: u64,
    /// Seconds from there to the next fetch.
    refresh: u64,
    distrusted: bool,
}

impl Foreign {
    /// Follows the links as they are now: takes the roots that are brought with them, where they are others than before.
    /// **Call it whenever links change, and at a start.** Gives whether anything changed.
    ///
    /// Roots that people bring again stand until the next fetch (Federation 4.2); what was seen is remembered all the same.
    ///
    /// # Errors
    /// [`Refusal::ForeignBundle`] if they are keys of ours, or of another domain; or beyond [`MAX_FOREIGN`]. The others are
    /// taken all the same.
    pub fn follow(&mut self, links: &Links, own: &Bundle, now: UnixTime) -> Result<bool, Refusal> {
        let mut result = Ok(false);
        for (domain, source) in links.sources(now) {
            match self.bring(domain, source, own, now) {
                Ok(changed) => result = result.map(|any| any || changed),
                Err(refusal) => result = Err(refusal),
            }
        }
        result
    }

    fn bring(
        &mut self,
        domain: &TrustDomain,
        source: &Source,
        own: &Bundle,
        now: UnixTime,
    ) -> Result<bool, Refusal> {
        let Some(roots) = &source.roots else {
            return Ok(false);
        };
        let brought = Some(content(roots));
        let known = self.0.get(domain);
        if known.is_some_and(|held| held.distrusted || held.brought == brought) {
            return Ok(false);
        }
        self.check_keys(roots, own)?;
        let held = self.entry(domain)?;
        held.brought = brought;
        held.bundle = Some(roots.clone());
        held.confirmed = now.as_secs();
        // At once: what was brought may be old.
        held.refresh = 0;
        Ok(true)
    }

    /// The bundle to verify whoever answers at the endpoint by, and nobody else: also one that is stale by now.
    #[must_use]
    pub fn to_fetch_with(&self, domain: &TrustDomain) -> Option<&Bundle> {
        self.0.get(domain)?.bundle.as_ref()
    }

    /// Takes a document of this domain, or refuses it; then everything stays as it was.
    ///
    /// # Errors
    /// [`Refusal::ForeignBundle`]: no link in force, another way than its link names, or a document that cannot be used;
    /// [`Refusal::ForeignRolledBack`] and [`Refusal::ForeignForked`] by its sequence.
    pub fn accept(
        &mut self,
        domain: &TrustDomain,
        text: &str,
        channel: Channel<'_>,
        links: &Links,
        own: &Bundle,
        now: UnixTime,
    ) -> Result<Step, Refusal> {
        let refused = |found: String, wanted| refusal(domain, found, wanted);
        let Some(source) = links.source(domain, now) else {
            return Err(refused("no link in force".into(), "one to a cluster of it"));
        };
        if self.standing(domain, links, now) == Standing::Distrusted {
            return Err(refused(
                "it is distrusted".into(),
                "trust to be given again",
            ));
        }
        self.check_channel(domain, source, channel, now)?;
        let Document {
            bundle,
            sequence,
            refresh_hint,
        } = Document::from_json(domain.clone(), text)
            .map_err(|error| refused(error.to_string(), "a SPIFFE bundle of that domain"))?;
        let Some(sequence) = sequence else {
            let found = "no spiffe_sequence".into();
            return Err(refused(
                found,
                "one: without it an old bundle looks like a new one",
            ));
        };
        if bundle.anchors_at(now).is_empty() {
            return Err(refused(
                "no root is valid now".into(),
                "one at least (clocks?)",
            ));
        }
        self.check_keys(&bundle, own)?;
        let content = content(&bundle);
        let held = self.entry(domain)?;
        if let Some((remembered, seen)) = held.seen {
            if sequence < remembered {
                return Err(Refusal::ForeignRolledBack {
                    trust_domain: domain.clone(),
                    found: sequence,
                    remembered,
                });
            }
            if sequence == remembered && content != seen {
                return Err(Refusal::ForeignForked {
                    trust_domain: domain.clone(),
                    found: sequence,
                });
            }
        }
        let before = held.bundle.replace(bundle);
        let same = before.is_some_and(|before| self::content(&before) == content)
            && held.seen == Some((sequence, content));
        held.seen = Some((sequence, content));
        held.confirmed = now.as_secs();
        let (least, most) = REFRESH_BOUNDS;
        held.refresh = refresh_hint.unwrap_or(REFRESH).clamp(least, most);
        Ok(if same { Step::Same } else { Step::Forward })
    }

    /// Takes trust back, at once and until [`Foreign::forget`], whatever links and documents say.
    ///
    /// # Errors
    /// [`Refusal::ForeignBundle`] beyond [`MAX_FOREIGN`].
    pub fn distrust(&mut self, domain: &TrustDomain) -> Result<(), Refusal> {
        let held = self.entry(domain)?;
        held.distrusted = true;
        held.bundle = None;
        Ok(())
    }

    /// Forgets a domain, so that it begins anew with its link: to trust it again, or when its control plane was set back.
    /// For people alone: after it an old bundle is as good as a new one.
    pub fn forget(&mut self, domain: &TrustDomain) {
        self.0.remove(domain);
    }

    /// How it stands with a domain.
    #[must_use]
    pub fn standing(&self, domain: &TrustDomain, links: &Links, now: UnixTime) -> Standing {
        let held = self.0.get(domain);
        if held.is_some_and(|held| held.distrusted) {
            return Standing::Distrusted;
        }
        let Some(source) = links.source(domain, now) else {
            return Standing::Unknown;
        };
        match held.filter(|held| held.bundle.is_some()) {
            None => Standing::Due,
            Some(held) => {
                // In both directions: a clock that is set back makes nothing young.
                let age = now.as_secs().abs_diff(held.confirmed);
                if age > source.staleness {
                    Standing::Stale
                } else if age >= held.refresh {
                    Standing::Due
                } else {
                    Standing::Fresh
                }
            }
        }
    }

    /// How it stands with each domain that a link is with, or that something is remembered of, by name: for people and metrics.
    #[must_use]
    pub fn overview<'a>(&'a self, links: &'a Links, now: UnixTime) -> Vec<Overview<'a>> {
        let linked = links.iter().map(|link| &link.peer.trust_domain);
        let all: BTreeSet<_> = linked.chain(self.domains()).collect();
        let one = |domain: &'a TrustDomain| Overview {
            domain,
            standing: self.standing(domain, links, now),
            sequence: self.sequence(domain),
            roots: self.to_fetch_with(domain).map_or(0, Bundle::len),
            age: self.confirmed(domain).map(|at| now.as_secs().abs_diff(at)),
        };
        all.into_iter().map(one).collect()
    }

    /// The domains that something is remembered of.
    pub fn domains(&self) -> impl Iterator<Item = &TrustDomain> {
        self.0.keys()
    }

    /// When the bundle was last confirmed, Unix time; `None` where none is held.
    #[must_use]
    pub fn confirmed(&self, domain: &TrustDomain) -> Option<u64> {
        let held = self.0.get(domain)?;
        held.bundle.is_some().then_some(held.confirmed)
    }

    /// The sequence of the bundle that was accepted last, if one ever was.
    #[must_use]
    pub fn sequence(&self, domain: &TrustDomain) -> Option<u64> {
        Some(self.0.get(domain)?.seen?.0)
    }

    /// The bundles by which foreign identities are judged now: of domains with a link in force, neither distrusted nor stale.
    /// Ours is never among them.
    pub fn in_force<'a>(
        &'a self,
        links: &'a Links,
        now: UnixTime,
    ) -> impl Iterator<Item = &'a Bundle> {
        let counts = move |domain: &TrustDomain| {
            let standing = self.standing(domain, links, now);
            matches!(standing, Standing::Fresh | Standing::Due)
        };
        let counting = self.0.iter().filter(move |(domain, _)| counts(domain));
        counting.filter_map(|(_, held)| held.bundle.as_ref())
    }

    /// Whether the document came the way that the link names. A link of `https_spiffe` takes nothing over the web: whoever
    /// holds a public authority would then hold the domain.
    fn check_channel(
        &self,
        domain: &TrustDomain,
        source: &Source,
        channel: Channel<'_>,
        now: UnixTime,
    ) -> Result<(), Refusal> {
        let refused = |found: String, wanted| Err(refusal(domain, found, wanted));
        match (&source.profile, channel) {
            (Profile::Web, Channel::Web) => Ok(()),
            (Profile::Web, Channel::Spiffe(by)) => refused(
                format!("served by {}", by.peer.id),
                "https_web, as its link says",
            ),
            (Profile::Spiffe(_), Channel::Web) => refused(
                "fetched by https_web".into(),
                "https_spiffe, as its link says",
            ),
            (Profile::Spiffe(endpoint), Channel::Spiffe(by)) => {
                if by.peer.id != *endpoint {
                    let found = format!("served by {}", by.peer.id);
                    return refused(found, "the endpoint that its link names");
                }
                let root = by.signers.last();
                let bundle = self.to_fetch_with(domain);
                let holds = |(root, bundle): (&[u8; 32], &Bundle)| bundle.holds_at(root, now);
                if by.not_after < now.as_secs() || !root.zip(bundle).is_some_and(holds) {
                    let found = "an endpoint whose proof does not hold by the bundle we have";
                    return refused(found.into(), "one that does");
                }
                Ok(())
            }
        }
    }

    /// No key may vouch for two domains: somebody's bundle was taken for another's, or one domain wants to look like two
    /// (Bundle 6.4).
    fn check_keys(&self, bundle: &Bundle, own: &Bundle) -> Result<(), Refusal> {
        let domain = bundle.trust_domain();
        let others = self.0.iter().filter(|(other, _)| *other != domain);
        let others = others.filter_map(|(_, held)| held.bundle.as_ref());
        for other in others.chain([own]) {
            if other.keys().any(|key| bundle.keys().any(|one| one == key)) {
                let found = format!("a root that is one of {}", other.trust_domain());
                return Err(refusal(domain, found, "roots of its own"));
            }
        }
        Ok(())
    }

    fn entry(&mut self, domain: &TrustDomain) -> Result<&mut Held, Refusal> {
        if self.0.len() >= MAX_FOREIGN && !self.0.contains_key(domain) {
            let found = format!("{} foreign domains", self.0.len());
            return Err(refusal(domain, found, "at most 128: have some forgotten"));
        }
        Ok(self.0.entry(domain.clone()).or_default())
    }

    /// For a file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        stored::encode(&self.0)
    }

    /// Reads what [`Foreign::to_bytes`] wrote. A file that cannot be read is no reason to start with none: refuse to run.
    ///
    /// # Errors
    /// [`Error::Encoding`], [`Error::Name`], [`Error::Bundle`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        stored::decode(bytes).map(Self)
    }
}

/// SHA-256 over the roots, in the order of their bytes: two documents of one sequence must say the same.
fn content(bundle: &Bundle) -> [u8; 32] {
    let mut hashes: Vec<_> = bundle.roots().map(|der| sha256(der)).collect();
    hashes.sort_unstable();
    hashes.dedup();
    sha256(hashes.as_flattened())
}

fn refusal(trust_domain: &TrustDomain, found: String, wanted: &'static str) -> Refusal {
    Refusal::ForeignBundle {
        trust_domain: trust_domain.clone(),
        found,
        wanted,
    }
}

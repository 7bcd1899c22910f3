//! What is believed of the trust domains that this cluster has links with (docs/decisions/0019): the writer fetches their bundles
//! and keeps them in the store; every replica reads them there. How one is fetched is in `federation/fetch.rs`, what makes it
//! believable in `skans_identity::federation`.

pub(crate) mod fetch;
mod push;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;
use skans_identity::Refusal;
use skans_identity::federation::foreign::{Foreign, Standing, Step};
use skans_identity::federation::link::{Links, Source};
use skans_identity::id::TrustDomain;
use skans_store::{Tx, foreign, writer};
use tokio::task::JoinSet;

use crate::clock;
use crate::error::Error;
use crate::event::{self, Kind};
use crate::gate::By;
use crate::news::News;
use crate::state::Control;
use crate::writer::Urgency;
use fetch::Fetched;
pub(crate) use fetch::public_roots;
pub(crate) use push::Told;

/// Between two looks at what is due. They cost nothing where there is no link.
const ROUND: Duration = Duration::from_secs(1);
/// How many bundles are fetched at once.
const AT_ONCE: usize = 8;
/// Between two attempts that failed: doubles from here to the longest, which is the least between two that succeed.
const RETRY: Duration = Duration::from_secs(5);
const LONGEST_RETRY: Duration = Duration::from_secs(60);
/// Longest problem that is kept, in characters: a part of it is what a stranger said.
const MAX_PROBLEM: usize = 500;

/// The least between two attempts, whatever a domain says of news: anybody can say that.
const GAP: Duration = Duration::from_secs(5);

/// How it went lately with each domain, on this replica.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    by_domain: Mutex<BTreeMap<TrustDomain, Attempt>>,
    followed: Mutex<Option<Followed>>,
}

/// The links whose roots were looked at last, and what was there then: while it is the same, there is nothing to do.
#[derive(Debug)]
struct Followed {
    links: Arc<Links>,
    believed: u64,
    own: (u64, u64),
}

impl PartialEq for Followed {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.links, &other.links)
            && (self.believed, self.own) == (other.believed, other.own)
    }
}

#[derive(Clone, Debug)]
struct Attempt {
    last: Instant,
    /// How long to wait from there on; no time once it succeeded.
    wait: Duration,
    problem: Option<String>,
    /// Somebody has said that there is something new.
    called: bool,
}

impl Attempts {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<TrustDomain, Attempt>> {
        self.by_domain
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn followed(&self) -> MutexGuard<'_, Option<Followed>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What went wrong the last time, if it did.
    pub(crate) fn problem(&self, domain: &TrustDomain) -> Option<String> {
        self.lock().get(domain)?.problem.clone()
    }

    /// Somebody says that there is something new. Where nothing was ever tried it is due anyway.
    pub(crate) fn call(&self, domain: &TrustDomain) {
        if let Some(attempt) = self.lock().get_mut(domain) {
            attempt.called = true;
        }
    }

    fn is_called(&self, domain: &TrustDomain) -> bool {
        self.lock()
            .get(domain)
            .is_some_and(|attempt| attempt.called)
    }

    /// Whether it may be tried again.
    fn may(&self, domain: &TrustDomain, now: Instant) -> bool {
        let all = self.lock();
        all.get(domain).is_none_or(|attempt| {
            let wait = if attempt.called { GAP } else { attempt.wait };
            now.saturating_duration_since(attempt.last) >= wait.max(GAP)
        })
    }

    fn succeeded(&self, domain: &TrustDomain, now: Instant) {
        let attempt = Attempt {
            last: now,
            wait: Duration::ZERO,
            problem: None,
            called: false,
        };
        self.lock().insert(domain.clone(), attempt);
    }

    /// Notes what went wrong, and gives whether it is something else than the last time.
    fn failed(&self, domain: &TrustDomain, problem: &str, now: Instant) -> bool {
        let problem: String = problem.chars().take(MAX_PROBLEM).collect();
        let mut all = self.lock();
        let before = all.get(domain);
        let wait = before.map_or(RETRY, |before| {
            (before.wait * 2).clamp(RETRY, LONGEST_RETRY)
        });
        let news = before.is_none_or(|before| before.problem.as_ref() != Some(&problem));
        let attempt = Attempt {
            last: now,
            wait,
            problem: Some(problem),
            called: false,
        };
        all.insert(domain.clone(), attempt);
        news
    }

    /// Forgets domains without a link: their number is then bounded by that of links.
    fn retain(&self, links: &Links) {
        self.lock().retain(|domain, _| links.is_with(domain));
    }
}

/// What a store holds of other trust domains, and which version of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Believed {
    pub(crate) version: u64,
    pub(crate) foreign: Foreign,
}

/// Reads it.
///
/// # Errors
/// Those of the store, and [`Error::Identity`] if it cannot be read: to begin anew would take old bundles for new ones.
pub(crate) fn read(tx: &mut Tx<'_>) -> Result<Believed, Error> {
    let Some(kept) = foreign::get(tx)? else {
        return Ok(Believed::default());
    };
    Ok(Believed {
        version: kept.version,
        foreign: Foreign::from_bytes(&kept.state)?,
    })
}

fn write(tx: &mut Tx<'_>, writer: writer::Epoch, believed: &Foreign) -> Result<(), Error> {
    foreign::set(tx, writer, &believed.to_bytes())?;
    Ok(())
}

impl Control {
    /// Follows links, fetches bundles and tells others of ours, until the process stops.
    pub(crate) async fn federate(self: Arc<Self>) {
        let mut rounds = clock::turns(ROUND);
        loop {
            tokio::select! {
                _ = rounds.tick() => {}
                () = self.stopping.cancelled() => return,
            }
            if self.store.read_only().is_some() {
                continue;
            }
            if let Err(error) = self.federate_once().await {
                tracing::warn!("other trust domains: {error}");
            }
            self.push().await;
        }
    }

    async fn federate_once(&self) -> Result<(), Error> {
        let news = Arc::clone(&self.news.borrow());
        self.attempts.retain(&news.links);
        if self.writer().is_some() {
            self.follow_links(&news).await?;
        }
        // With the roots that came with links.
        let news = Arc::clone(&self.news.borrow());
        let due = self.due(&news);
        if due.is_empty() {
            return Ok(());
        }
        let mut fetching = JoinSet::new();
        for (domain, source) in due {
            let held = news.believed.foreign.to_fetch_with(&domain).cloned();
            fetching.spawn(async move {
                let fetched = fetch::fetch(&domain, &source, held).await;
                (domain, fetched)
            });
        }
        let mut changed = false;
        while let Some(done) = fetching.join_next().await {
            // One that fails keeps none of the others back.
            let (domain, fetched) = match done {
                Ok(done) => done,
                Err(error) => {
                    tracing::error!("a bundle was not fetched: {error}");
                    continue;
                }
            };
            let taken = match fetched {
                Ok(fetched) => self.take_bundle(&news, &domain, fetched).await,
                Err(problem) => Err(Error::Unreachable(problem)),
            };
            match taken {
                Ok(()) => {
                    self.attempts.succeeded(&domain, Instant::now());
                    changed = true;
                }
                Err(error) => {
                    if let Err(error) = self.not_taken(&domain, &error).await {
                        tracing::warn!(trust_domain = %domain, "an event could not be told: {error}");
                    }
                }
            }
        }
        if changed {
            self.refresh().await?;
        }
        Ok(())
    }

    /// Takes the roots that came with links, where these are others than before.
    async fn follow_links(&self, news: &News) -> Result<(), Error> {
        let present = Followed {
            links: Arc::clone(&news.links),
            believed: news.believed.version,
            own: (news.epoch, news.bundle.version),
        };
        if self.attempts.followed().as_ref() == Some(&present) {
            return Ok(());
        }
        self.follow_anew(news).await?;
        *self.attempts.followed() = Some(present);
        Ok(())
    }

    async fn follow_anew(&self, news: &News) -> Result<(), Error> {
        let own = news.own_bundle(&self.home)?;
        let Some(own) = own else {
            return Ok(());
        };
        let mut would = news.believed.foreign.clone();
        match would.follow(&news.links, &own, clock::now()) {
            Ok(false) => return Ok(()),
            Ok(true) => {}
            // The others are taken all the same.
            Err(refusal) => {
                if let Refusal::ForeignBundle {
                    trust_domain: domain,
                    ..
                } = &refusal
                    && self
                        .attempts
                        .failed(domain, &refusal.to_string(), Instant::now())
                {
                    tracing::warn!(trust_domain = %domain, "its roots are not taken: {refusal}");
                }
                if would.to_bytes() == news.believed.foreign.to_bytes() {
                    return Ok(());
                }
            }
        }
        let links = Arc::clone(&news.links);
        self.as_writer(Urgency::Ordinary, move |tx, writer, _| {
            let mut believed = read(tx)?.foreign;
            // What is refused was told above.
            let _ = believed.follow(&links, &own, clock::now());
            write(tx, writer, &believed)
        })
        .await?;
        self.refresh().await
    }

    /// Whose bundle is to be fetched now, and where from.
    fn due(&self, news: &News) -> BTreeMap<TrustDomain, Source> {
        let now = clock::now();
        // The writer sees to what is due. Who was told of something new looks itself.
        let writes = self.writer().is_some();
        let is_due = |domain: &TrustDomain| {
            let due = match news.believed.foreign.standing(domain, &news.links, now) {
                Standing::Due | Standing::Stale => writes || self.attempts.is_called(domain),
                Standing::Fresh => self.attempts.is_called(domain),
                Standing::Unknown | Standing::Distrusted => false,
            };
            due && self.attempts.may(domain, Instant::now())
        };
        let sources = news.links.sources(now).filter(|(domain, _)| is_due(domain));
        let sources = sources.map(|(domain, source)| (domain.clone(), source.clone()));
        let all: BTreeMap<_, _> = sources.collect();
        all.into_iter().take(AT_ONCE).collect()
    }

    async fn take_bundle(
        &self,
        news: &News,
        domain: &TrustDomain,
        fetched: Fetched,
    ) -> Result<(), Error> {
        let own = news.own_bundle(&self.home)?;
        let own = own.ok_or_else(|| Error::NoAuthority("no root of our own yet".to_owned()))?;
        let (links, domain, fetched) = (Arc::clone(&news.links), domain.clone(), Arc::new(fetched));
        let actor = self.config.name.clone();
        self.as_writer(Urgency::Ordinary, move |tx, writer, _| {
            let mut believed = read(tx)?.foreign;
            let (text, channel) = (fetched.text.as_str(), fetched.channel());
            let step = believed
                .accept(&domain, text, channel, &links, &own, clock::now())
                .map_err(|refusal| Error::Invalid(refusal.to_string()))?;
            write(tx, writer, &believed)?;
            if step == Step::Forward {
                let details = json!({
                    "sequence": believed.sequence(&domain),
                    "roots": believed.to_fetch_with(&domain).map(|bundle| bundle.len()),
                });
                let actor = format!("control/{actor}");
                event::tell(tx, Kind::ForeignBundle, &actor, domain.as_str(), &details)?;
            }
            Ok(())
        })
        .await
    }

    /// Tells of it once: what fails again in the same way is no news.
    async fn not_taken(&self, domain: &TrustDomain, error: &Error) -> Result<(), Error> {
        let problem = error.to_string();
        if !self.attempts.failed(domain, &problem, Instant::now()) {
            return Ok(());
        }
        tracing::warn!(trust_domain = %domain, "its bundle stays as it was: {problem}");
        let (domain, actor) = (domain.clone(), format!("control/{}", self.config.name));
        let problem: String = problem.chars().take(MAX_PROBLEM).collect();
        self.as_writer(Urgency::Ordinary, move |tx, _, _| {
            let details = json!({ "problem": problem });
            event::tell(
                tx,
                Kind::ForeignBundleRefused,
                &actor,
                domain.as_str(),
                &details,
            )?;
            Ok(())
        })
        .await
    }

    /// Takes trust back from a domain, at once: urgent, since it denies.
    ///
    /// # Errors
    /// [`Error::Conflict`] if so many domains are remembered that one has to be forgotten first; those of the store.
    pub(crate) async fn distrust(&self, by: &By, domain: TrustDomain) -> Result<(), Error> {
        if domain == self.home.trust_domain {
            return Err(Error::Invalid(format!(
                "trust domain {domain}: wanted another than our own, whose authorities are tainted or revoked (skans ca)"
            )));
        }
        let actor = by.actor.clone();
        self.as_writer(Urgency::Urgent, move |tx, writer, _| {
            let mut believed = read(tx)?.foreign;
            believed
                .distrust(&domain)
                .map_err(|refusal| Error::Conflict(refusal.to_string()))?;
            write(tx, writer, &believed)?;
            event::tell(tx, Kind::Distrusted, &actor, domain.as_str(), &json!({}))?;
            Ok(())
        })
        .await?;
        self.refresh().await
    }

    /// Forgets all that is known of a domain: it begins anew with its link.
    ///
    /// # Errors
    /// [`Error::NotFound`] if nothing is known of it; those of the store.
    pub(crate) async fn forget_domain(&self, by: &By, domain: TrustDomain) -> Result<(), Error> {
        let actor = by.actor.clone();
        self.as_writer(Urgency::Ordinary, move |tx, writer, _| {
            let mut believed = read(tx)?.foreign;
            if !believed.domains().any(|known| *known == domain) {
                return Err(Error::not_found("trust domain", domain.to_string()));
            }
            believed.forget(&domain);
            write(tx, writer, &believed)?;
            event::tell(tx, Kind::TrustedAnew, &actor, domain.as_str(), &json!({}))?;
            Ok(())
        })
        .await?;
        self.refresh().await
    }
}

//! What agents are to hear of, kept in memory and brought up to date from the store: the deny stream, the bundle, the head
//! that this replica signs over them. Trust of this replica itself follows the same news.
//!
//! Any replica signs heads, over what it has just read: the time in a head is from before the read, so that one that was
//! suspended in between signs nothing that looks fresh. How news travel to agents is said in `grpc::watch`.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use skans_api::v1;
use skans_host::files;
use skans_identity::authority::Issuer;
use skans_identity::bundle::{Bundle, Bundles, MAX_BUNDLE};
use skans_identity::deny::{Chain, Entry, MAX_DENIED, Target};
use skans_identity::federation::link::Links;
use skans_identity::head::{Head, SignedHead};
use skans_identity::id::TrustDomain;
use skans_identity::signer::SoftwareKey;
use skans_identity::trust::Trust;
use skans_policy::{Source, Version};
use skans_store::authorities::{self, Authority, State};
use skans_store::rollouts::{self, Rollout};
use skans_store::shown::{self, Shown};
use skans_store::{Tx, bounds, bundle, deny, foreign, incidents, log, meta, policies};

use crate::clock;
use crate::error::Error;
use crate::federation::{self, Believed};
use crate::own;
use crate::policies::Countersigned;
use crate::rollout::UnderWay;
use crate::state::{Control, Home};

/// Everything as of one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct News {
    /// Counts restores.
    pub(crate) epoch: u64,
    /// The deny stream.
    pub(crate) chain: Arc<Chain>,
    /// The roots.
    pub(crate) bundle: Arc<v1::Bundle>,
    /// The roots of other trust domains, whose certificates may enrol.
    pub(crate) foreign: Arc<[Bundle]>,
    /// What opened the epoch, if it is not the first.
    pub(crate) recovery: Option<Arc<[u8]>>,
    /// The version of the policy set.
    pub(crate) policy: u64,
    /// The set itself, as agents get it; none where none was ever put in force, or nothing can sign.
    pub(crate) policy_set: Option<Arc<Countersigned>>,
    /// The set that is about to take its place.
    pub(crate) rollout: Option<Arc<UnderWay>>,
    /// The newest head, as agents get it; none before there is an authority.
    pub(crate) head: Option<Arc<v1::SignedHead>>,
    /// The links of that set.
    pub(crate) links: Arc<Links>,
    /// What is believed of the trust domains that they are with.
    pub(crate) believed: Arc<Believed>,
    /// What was signed by these is to be replaced.
    pub(crate) tainted: Arc<[[u8; 32]]>,
    /// The keys that whoever has them is to replace at once.
    pub(crate) renewing: Arc<[[u8; 32]]>,
    /// The links that agents are asked about.
    pub(crate) asks: Arc<[Shown]>,
    /// All authorities that are still something.
    pub(crate) authorities: Arc<[Authority]>,
    /// The newest checkpoint of the log, with the signature of the log alone; empty before there is one.
    pub(crate) checkpoint: Arc<str>,
}

/// What one read of the store found.
struct Read {
    epoch: u64,
    policy: u64,
    /// The set, if it is another than the one known.
    policy_set: Option<policies::PolicySet>,
    rollout: Option<Rollout>,
    /// Its candidate, if it is another than the one known.
    candidate: Option<policies::PolicySet>,
    recovery: Option<Vec<u8>>,
    /// What is believed of other trust domains, if it is something else than what is known.
    believed: Option<Arc<Believed>>,
    tail: deny::Tail,
    denied: Denied,
    bundle: Option<bundle::Bundle>,
    renewing: Vec<[u8; 32]>,
    asks: Vec<Shown>,
    authorities: Vec<Authority>,
    checkpoint: String,
}

enum Denied {
    /// What came after the entry that is known.
    More(Vec<Vec<u8>>),
    /// Everything.
    All(Vec<Vec<u8>>),
}

impl News {
    /// When the dry run of the set in force ends, Unix time, if it is one.
    pub(crate) fn dry_run_until(&self) -> Option<u64> {
        self.policy_set.as_ref()?.dry_run_until()
    }

    /// The bundle of this trust domain; none before there is a root.
    ///
    /// # Errors
    /// [`Error::Identity`]: none that the store would have taken.
    pub(crate) fn own_bundle(&self, home: &Home) -> Result<Option<Bundle>, Error> {
        let roots = self.bundle.roots.iter();
        let roots: Vec<_> = roots
            .map(|der| CertificateDer::from(der.as_slice()))
            .collect();
        if roots.is_empty() {
            return Ok(None);
        }
        Ok(Some(Bundle::new(home.trust_domain.clone(), &roots)?))
    }
}

impl Control {
    /// Reads the store, and tells everybody what is new. After every change, and every ten seconds for the sake of the head.
    ///
    /// # Errors
    /// Those of the store; [`Error::Internal`] if what it holds makes no sense. Then everything stays as it was.
    pub(crate) async fn refresh(&self) -> Result<(), Error> {
        let _one_at_a_time = self.refreshing.lock().await;
        let known = Arc::clone(&self.news.borrow());
        let time = clock::seconds();
        let (epoch, seq, version) = (known.epoch, known.chain.seq(), known.bundle.version);
        let policy = known.policy_set.as_ref().map_or(0, |set| set.version().1);
        let candidate = known.rollout.as_ref().map_or(0, |one| one.row.n);
        let believed = known.believed.version;
        let read = self
            .store
            .try_read(move |tx| {
                let mut read = read(tx, epoch, seq, version, policy, time)?;
                read.rollout = rollouts::under_way(tx)?;
                if let Some(row) = read.rollout.as_ref().filter(|row| row.n != candidate) {
                    read.candidate = policies::get(tx, row.n)?;
                }
                if foreign::version(tx)? != believed {
                    read.believed = Some(Arc::new(federation::read(tx)?));
                }
                Ok::<_, Error>(read)
            })
            .await?;
        let mut news = News::clone(&known);
        if let Some(set) = &read.policy_set {
            news.links = Arc::new(self.links_of(set));
        }
        if let Some(believed) = &read.believed {
            news.believed = Arc::clone(believed);
        }
        let mut trust_changed = news.head.is_none();
        news.policy = read.policy;
        news.recovery = read.recovery.as_deref().map(Arc::from);
        if news.epoch != read.epoch || news.chain.seq() != read.tail.seq {
            news.chain = Arc::new(chain(&news.chain, &read)?);
            trust_changed = true;
        }
        news.epoch = read.epoch;
        let foreign = self.foreign(&news.foreign);
        if !same(&foreign, &news.foreign) {
            news.foreign = foreign.into();
            trust_changed = true;
        }
        if let Some(found) = read
            .bundle
            .filter(|found| found.version != news.bundle.version || news.bundle.roots.is_empty())
        {
            news.bundle = Arc::new(v1::Bundle {
                trust_domain: self.home.trust_domain.to_string(),
                version: found.version,
                roots: found.roots,
                refresh_hint: own::REFRESH_HINT,
                epoch: news.epoch,
            });
            trust_changed = true;
        }
        if news.bundle.epoch != news.epoch {
            let bundle = v1::Bundle::clone(&news.bundle);
            news.bundle = Arc::new(v1::Bundle {
                epoch: news.epoch,
                ..bundle
            });
        }
        let tainted = read
            .authorities
            .iter()
            .filter(|one| one.state == State::Tainted);
        news.tainted = tainted.map(|one| one.spki).collect();
        news.renewing = read.renewing.into();
        news.asks = read.asks.into();
        news.checkpoint = crate::log::signed_by_the_log(&read.checkpoint).into();
        if trust_changed {
            self.trust(&news)?;
        }
        let taken = match self.take_issuer(&read.authorities) {
            Ok(()) => self.take_next(&read.authorities, news.epoch).await,
            failed => failed,
        };
        if let Err(error) = taken {
            // Heads and revocations go on; at the start there is nothing yet that could.
            if self.own.load().is_none() {
                return Err(error);
            }
            tracing::error!("the authorities as they are now cannot be used: {error}");
        }
        news.authorities = read.authorities.into();
        let mut signed = None;
        if self.issuer.load().is_some() {
            self.renew_own(&news).await?;
            match self.countersign(&news, read.policy_set) {
                Ok(set) => news.policy_set = set,
                // Heads and revocations go on.
                Err(error) => tracing::error!("the policy set in force cannot be signed: {error}"),
            }
            match self.follow_rollout(&news, read.rollout, read.candidate) {
                Ok(rollout) => news.rollout = rollout,
                // It stands still where it is.
                Err(error) => tracing::error!("agents hear nothing new of the roll-out: {error}"),
            }
            news.head = Some(Arc::new(self.head(&news, time)?));
            signed = Some(time);
        }
        let issuer_not_after = self
            .issuer
            .load()
            .as_ref()
            .map_or(0, |issuer| issuer.not_after());
        let (seq, version) = (news.chain.seq(), news.bundle.version);
        self.metrics
            .news(news.epoch, seq, version, signed, issuer_not_after);
        self.metrics.policy(news.policy, news.dry_run_until());
        let rollout = news.rollout.as_ref();
        self.metrics.rollout(
            rollout.is_some(),
            rollout.is_some_and(|one| !one.row.held.is_empty()),
        );
        self.news.send_replace(Arc::new(news));
        Ok(())
    }

    /// Whether somebody else has written what agents are to hear of.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn is_behind(&self) -> Result<bool, Error> {
        let known = Arc::clone(&self.news.borrow());
        let read = self.store.read(|tx| {
            let epoch = meta::get(tx)?.map_or(0, |meta| meta.epoch);
            let seq = deny::tail(tx)?.seq;
            Ok((
                epoch,
                seq,
                bundle::version(tx)?,
                meta::policy_version(tx)?,
                foreign::version(tx)?,
                incidents::to_renew(tx)?,
                shown::open(tx, clock::seconds().saturating_sub(shown::ASKED))?,
                authorities::list(tx)?,
                rollouts::under_way(tx)?,
            ))
        });
        let (epoch, seq, version, policy, believed, renewing, asks, authorities, rollout) =
            read.await?;
        let same = epoch == known.epoch
            && seq == known.chain.seq()
            && version == known.bundle.version
            && policy == known.policy
            && believed == known.believed.version
            && rollout.as_ref() == known.rollout.as_ref().map(|one| &one.row)
            && *renewing == *known.renewing
            // Those that were answered, or are too old, make no news.
            && asks.iter().all(|ask| known.asks.contains(ask))
            && *authorities == *known.authorities;
        Ok(!same)
    }

    fn trust(&self, news: &News) -> Result<(), Error> {
        let own = news.own_bundle(&self.home)?;
        let mut bundles = own.map(Bundles::from).unwrap_or_default();
        for foreign in news.foreign.iter() {
            bundles.insert(foreign.clone())?;
        }
        self.verifier.trust().replace(Trust {
            bundles,
            deny: news.chain.deny_set(clock::now()),
        });
        Ok(())
    }

    /// The roots of other trust domains as their files are now; of a file that cannot be used, what it was before.
    fn foreign(&self, known: &[Bundle]) -> Vec<Bundle> {
        let read = |one: &crate::config::Federated| {
            let text = files::read_text(&one.bundle, MAX_BUNDLE as u64)?;
            let domain = TrustDomain::parse(&one.trust_domain)?;
            Ok::<_, Error>(Bundle::from_pem(domain, text.as_bytes())?)
        };
        let mut all = Vec::new();
        for one in &self.config.federation {
            match read(one) {
                Ok(bundle) => all.push(bundle),
                Err(error) => {
                    tracing::warn!(
                        trust_domain = one.trust_domain,
                        "its bundle stays as it was: {error}"
                    );
                    all.extend(
                        known
                            .iter()
                            .find(|old| old.trust_domain().as_str() == one.trust_domain)
                            .cloned(),
                    );
                }
            }
        }
        all
    }

    /// The links of a set. One that this release cannot read links nothing: its proposal was checked by another one.
    fn links_of(&self, set: &policies::PolicySet) -> Links {
        let content = String::from_utf8_lossy(&set.content);
        let read = Source::from_canonical(&content, Version::default())
            .map_err(|problems| problems.to_string())
            .and_then(|source| {
                crate::policies::links(&source, &self.home).map_err(|error| error.to_string())
            });
        read.unwrap_or_else(|problem| {
            tracing::error!(
                n = set.summary.n,
                "the links of the policy set in force cannot be read: there are none: {problem}"
            );
            Links::default()
        })
    }

    /// Signs with the active authority from now on. One that has run out is none: what it signs everybody refuses, and a control plane that
    /// was off for so long has to come up, so that there can be another.
    fn take_issuer(&self, authorities: &[Authority]) -> Result<(), Error> {
        let active = authorities
            .iter()
            .find(|one| one.kind == authorities::Kind::Issuer && one.state == State::Active);
        let Some(active) = active else {
            self.issuer.store(None);
            return Ok(());
        };
        let now = clock::seconds();
        if active.not_after <= now {
            tracing::error!(
                id = active.id,
                not_after = active.not_after,
                now,
                "the active authority has run out: nobody gets a certificate, and nobody is let in (if the clock is right: skans ca rotate)"
            );
            self.issuer.store(None);
            return Ok(());
        }
        if self
            .issuer
            .load()
            .as_ref()
            .is_some_and(|present| present.spki_sha256() == active.spki)
        {
            return Ok(());
        }
        self.issuer.store(Some(Arc::new(self.open_issuer(active)?)));
        Ok(())
    }

    /// Opens the key of an authority.
    ///
    /// # Errors
    /// [`Error::Identity`] if it was sealed under another key, [`Error::NoAuthority`] if it is not here.
    pub(crate) fn open_issuer(&self, authority: &Authority) -> Result<Issuer, Error> {
        let sealed = authority.sealed_key.as_ref().ok_or_else(|| {
            Error::NoAuthority(format!("authority {} has no key here", authority.id))
        })?;
        let key = self.sealing.open(&sealing_label(&authority.id), sealed)?;
        let key = SoftwareKey::from_pkcs8(&key)?;
        Ok(Issuer::load(
            CertificateDer::from(authority.certificate.clone()),
            key,
        )?)
    }

    fn head(&self, news: &News, time: u64) -> Result<v1::SignedHead, Error> {
        let credential = self.own.load_full().ok_or_else(|| {
            Error::NoAuthority("this replica has no certificate of its own".to_owned())
        })?;
        let head = Head {
            epoch: news.epoch,
            deny_seq: news.chain.seq(),
            deny_hash: *news.chain.hash(),
            bundle: news.bundle.version,
            policy: news.policy,
            time,
            trust_domain: self.home.trust_domain.clone(),
            cluster: self.home.cluster.clone(),
            checkpoint: news.checkpoint.to_string(),
        };
        let signed = SignedHead::sign(&head, &credential)?;
        Ok(v1::SignedHead {
            head: signed.head,
            signature: signed.signature,
            chain: signed.chain.iter().map(|der| der.to_vec()).collect(),
        })
    }
}

fn same(one: &[Bundle], other: &[Bundle]) -> bool {
    one.len() == other.len()
        && one
            .iter()
            .zip(other)
            .all(|(one, other)| one.to_pem() == other.to_pem())
}

/// What a sealed key is bound to: moved to another row, it does not open.
pub(crate) fn sealing_label(authority: &str) -> String {
    format!("authority {authority}")
}

fn read(
    tx: &mut Tx<'_>,
    epoch: u64,
    seq: u64,
    version: u64,
    policy: u64,
    now: u64,
) -> Result<Read, Error> {
    let meta = meta::get(tx)?.ok_or_else(|| {
        Error::NoAuthority("this store has no control plane yet (skans control init)".to_owned())
    })?;
    let tail = deny::tail(tx)?;
    let denied = match more(tx, &meta, epoch, seq)? {
        Some(entries) => Denied::More(entries),
        None => Denied::All(all(tx, now)?),
    };
    let bundle = if version == 0 || bundle::version(tx)? != version {
        bundle::current(tx)?
    } else {
        None
    };
    let present = meta::policy_version(tx)?;
    let policy_set = if present == policy {
        None
    } else {
        policies::active(tx)?
    };
    Ok(Read {
        epoch: meta.epoch,
        policy: present,
        policy_set,
        rollout: None,
        candidate: None,
        recovery: meta::recovery(tx)?,
        believed: None,
        tail,
        denied,
        bundle,
        renewing: incidents::to_renew(tx)?,
        asks: shown::open(tx, now.saturating_sub(shown::ASKED))?,
        authorities: authorities::list(tx)?,
        checkpoint: log::get(tx, meta.epoch)?
            .map(|log| log.checkpoint)
            .unwrap_or_default(),
    })
}

/// The entries after the one that is known, unless some of them are forgotten already.
fn more(
    tx: &mut Tx<'_>,
    meta: &meta::Meta,
    epoch: u64,
    seq: u64,
) -> Result<Option<Vec<Vec<u8>>>, Error> {
    if meta.epoch != epoch {
        return Ok(None);
    }
    let mut entries = Vec::new();
    let mut after = seq;
    loop {
        let Some(page) = deny::since(tx, after, bounds::MAX_PAGE)? else {
            return Ok(None);
        };
        let Some(last) = page.last() else {
            return Ok(Some(entries));
        };
        after = last.seq;
        entries.extend(page.into_iter().map(|entry| entry.entry));
    }
}

/// Everything that denies: neither lifted nor run out.
fn all(tx: &mut Tx<'_>, now: u64) -> Result<Vec<Vec<u8>>, Error> {
    let (_, entries) = deny::snapshot(tx, now, 2 * MAX_DENIED)?;
    let lift = Target::Allow(1).kind();
    let lifted: std::collections::HashSet<String> = entries
        .iter()
        .filter(|entry| entry.kind == lift)
        .map(|entry| entry.target.clone())
        .collect();
    Ok(entries
        .into_iter()
        .filter(|entry| entry.kind != lift && !lifted.contains(&entry.seq.to_string()))
        .map(|entry| entry.entry)
        .collect())
}

fn chain(known: &Chain, read: &Read) -> Result<Chain, Error> {
    match &read.denied {
        Denied::All(entries) => Ok(Chain::restore(read.tail.seq, read.tail.hash, entries)?),
        Denied::More(entries) => {
            let mut chain = known.clone();
            for entry in entries {
                chain.apply(Entry::decode(entry)?)?;
            }
            Ok(chain)
        }
    }
}

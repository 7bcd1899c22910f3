//! Policy sets: taken from their authors, put in force by somebody else, and countersigned for agents as long as they are in
//! force (docs/decisions/0015).
//!
//! Every replica countersigns for the agents that it serves, as it signs heads: with its own leaf, over what it has just read,
//! again when it has a new leaf and when half of the set's life is over.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use serde_json::json;
use skans_identity::federation::link::Links;
use skans_identity::head::Audience;
use skans_identity::policy_set::{
    Author, PolicySet, SignedSet, Version, decode_authors, encode_authors,
};
use skans_policy::{Engine, Mode, Source};
use skans_store::policies::{self, Proposal, State};
use skans_store::{Tx, writer};

use crate::caller::sha256;
use crate::clock;
use crate::error::Error;
use crate::event::{self, Kind};
use crate::gate::By;
use crate::news::News;
use crate::rollout;
use crate::state::{Control, Home};
use crate::writer::Urgency;

/// What an author sends, looked at: it can be read, compiles, and its author is who called.
#[derive(Clone, Debug)]
pub(crate) struct Checked {
    name: String,
    mode: String,
    content: Vec<u8>,
    hash: [u8; 32],
    schema: [u8; 32],
    authors: Vec<u8>,
}

impl Checked {
    /// Looks at a content, which is for this cluster. It compiles here as it will on every agent.
    ///
    /// # Errors
    /// [`Error::Invalid`], with the places and what would be right.
    pub(crate) fn new(content: &str, authors: &[Author], home: &Home) -> Result<Self, Error> {
        let wrong = |problems: &dyn std::fmt::Display| Error::Invalid(format!("{problems}"));
        let source = Source::from_canonical(content, skans_policy::Version::default())
            .map_err(|problems| wrong(&problems))?;
        links(&source, home)
            .and_then(|links| links.check_life(clock::now()))
            .map_err(|problem| wrong(&problem))?;
        Self::made_of(content, authors, home)
    }

    /// The same of a content that is made of sets that were looked at: links of it may have ended meanwhile, and must not keep anybody from
    /// forbidding something or from taking something back.
    ///
    /// # Errors
    /// [`Error::Invalid`], as [`Checked::new`].
    pub(crate) fn made_of(content: &str, authors: &[Author], home: &Home) -> Result<Self, Error> {
        let wrong = |problems: &dyn std::fmt::Display| Error::Invalid(format!("{problems}"));
        let source = Source::from_canonical(content, skans_policy::Version::default())
            .map_err(|problems| wrong(&problems))?;
        let own = skans_policy::Home::new(home.trust_domain.as_str(), &home.cluster);
        Engine::compile_for(&source, &own).map_err(|problems| wrong(&problems))?;
        links(&source, home).map_err(|problem| wrong(&problem))?;
        Ok(Self {
            name: source.name.clone(),
            mode: mode(source.mode),
            hash: sha256(content.as_bytes()),
            schema: sha256(skans_policy::SCHEMA.as_bytes()),
            content: content.as_bytes().to_vec(),
            authors: encode_authors(authors),
        })
    }

    fn propose(
        &self,
        tx: &mut Tx<'_>,
        writer: writer::Epoch,
        author: &str,
        now: u64,
    ) -> Result<u64, Error> {
        let n = policies::propose(tx, writer, &self.proposal(author), now)?;
        self.tell(tx, author, n)
    }

    /// The same, however many wait: what is forbidden or taken back is not kept from it by whoever proposes a lot.
    pub(crate) fn propose_in_any_case(
        &self,
        tx: &mut Tx<'_>,
        writer: writer::Epoch,
        author: &str,
        now: u64,
    ) -> Result<u64, Error> {
        self.propose_for(tx, writer, author, author, now)
    }

    /// The same, by somebody who adds to what another one wrote, and does not become its author by that.
    pub(crate) fn propose_for(
        &self,
        tx: &mut Tx<'_>,
        writer: writer::Epoch,
        author: &str,
        actor: &str,
        now: u64,
    ) -> Result<u64, Error> {
        let n = policies::propose_in_any_case(tx, writer, &self.proposal(author), now)?;
        self.tell(tx, actor, n)
    }

    fn proposal<'a>(&'a self, author: &'a str) -> Proposal<'a> {
        Proposal {
            name: &self.name,
            mode: &self.mode,
            content: &self.content,
            content_hash: &self.hash,
            schema_hash: &self.schema,
            signatures: &self.authors,
            author,
        }
    }

    fn tell(&self, tx: &mut Tx<'_>, author: &str, n: u64) -> Result<u64, Error> {
        let details =
            json!({ "name": self.name, "mode": self.mode, "sha256": crate::hex::of(&self.hash) });
        event::tell(tx, Kind::PolicyProposed, author, &n.to_string(), &details)?;
        Ok(n)
    }
}

/// The same, on a thread where nobody waits for it: thousands of policies take a while.
///
/// # Errors
/// As [`Checked::new`].
pub(crate) async fn check(
    content: String,
    authors: Vec<Author>,
    home: Home,
) -> Result<Checked, Error> {
    tokio::task::spawn_blocking(move || Checked::new(&content, &authors, &home))
        .await
        .map_err(|error| Error::Internal(format!("checking a policy set: {error}")))?
}

/// The links to other clusters that a set carries.
///
/// # Errors
/// Those of [`Links::parse`].
pub(crate) fn links(source: &Source, home: &Home) -> Result<Links, skans_identity::Error> {
    if source.links.is_empty() {
        return Ok(Links::default());
    }
    Links::parse(&audience(home), &source.links.to_json())
}

/// As the store and people have it.
pub(crate) fn mode(mode: Mode) -> String {
    match mode {
        Mode::Enforce => "enforce".to_owned(),
        Mode::DryRun { until } => format!("dry-run {until}"),
    }
}

/// What [`mode`] wrote: the word, and when a dry run ends, Unix time.
pub(crate) fn mode_and_end(kept: &str) -> (&str, Option<u64>) {
    match kept.split_once(' ') {
        Some((word, until)) => (word, until.parse().ok()),
        None => (kept, None),
    }
}

/// For whom sets of this control plane are.
pub(crate) fn audience(home: &Home) -> Audience {
    Audience {
        trust_domain: home.trust_domain.clone(),
        cluster: home.cluster.clone(),
    }
}

/// For how many days the first set is a dry run where nodes run already: a month has in it what happens once
/// a month. Istio's PERMISSIVE and Cilium's audit mode have no end: what has none becomes the rule.
pub const FIRST_DRY_RUN_DAYS: u64 = 30;

/// The set that a control plane begins with, `same-cluster-members`.
///
/// # Errors
/// [`Error::Internal`]: a build that cannot pass its own tests; those of the store.
pub(crate) fn first(
    tx: &mut Tx<'_>,
    writer: writer::Epoch,
    home: &Home,
    actor: &str,
    now: u64,
    mode: Mode,
) -> Result<(), Error> {
    let source = Source {
        mode,
        ..Source::same_cluster_members(home.trust_domain.as_str(), &home.cluster)
    };
    let content = source.to_canonical();
    let checked = Checked::new(&content, &[], home)
        .map_err(|error| Error::Internal(format!("the default policy set: {error}")))?;
    let n = checked.propose(tx, writer, actor, now)?;
    activate(tx, writer, n, actor, now)
}

/// Puts a proposed set in force, with its event.
///
/// # Errors
/// Those of the store.
pub(crate) fn activate(
    tx: &mut Tx<'_>,
    writer: writer::Epoch,
    n: u64,
    actor: &str,
    now: u64,
) -> Result<(), Error> {
    policies::activate(tx, writer, n, actor, now)?;
    event::tell(tx, Kind::PolicyActivated, actor, &n.to_string(), &json!({}))?;
    Ok(())
}

/// The set that is in force, as agents get it.
#[derive(Debug)]
pub(crate) struct Countersigned {
    row: Arc<policies::PolicySet>,
    epoch: u64,
    /// The leaf that it was signed with.
    leaf: CertificateDer<'static>,
    not_before: u64,
    /// Until when it may be used.
    pub(crate) not_after: u64,
    /// [`SignedSet::encode`].
    pub(crate) signed: Vec<u8>,
}

impl Countersigned {
    /// Its place in the order.
    pub(crate) fn version(&self) -> (u64, u64) {
        (self.epoch, self.row.summary.n)
    }

    /// When its dry run ends, Unix time, if it is one.
    pub(crate) fn dry_run_until(&self) -> Option<u64> {
        mode_and_end(&self.row.summary.mode).1
    }

    /// Whether an agent that has this version until then should get it again: half of the life is over.
    pub(crate) const fn is_due(&self, held_until: u64, now: u64) -> bool {
        let half = (self.not_after - self.not_before) / 2;
        held_until < self.not_after && now.saturating_add(half) >= held_until
    }
}

impl Control {
    /// Puts a first set in force where a release without policies left none: in a dry run, as its nodes have said to each other
    /// what they liked until now, and nobody was asked.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn first_policy(&self) -> Result<(), Error> {
        if self.news.borrow().policy_set.is_some() || self.store.read_only().is_some() {
            return Ok(());
        }
        // It is there, and nothing can sign it yet.
        if self.store.read(policies::active).await?.is_some() {
            return Ok(());
        }
        let (home, actor) = (self.home.clone(), "control".to_owned());
        let made = self
            .as_writer(Urgency::Ordinary, move |tx, writer, now| {
                // Another replica may have been faster.
                if policies::active(tx)?.is_some() {
                    return Ok(false);
                }
                let mode = Mode::dry_run(now, FIRST_DRY_RUN_DAYS);
                first(tx, writer, &home, &actor, now, mode)?;
                Ok(true)
            })
            .await?;
        if made {
            tracing::warn!(
                days = FIRST_DRY_RUN_DAYS,
                "this store is of a release without policies: same-cluster-members is in force as a dry run, and enforced after that (skans policy list)"
            );
        }
        self.refresh().await
    }

    /// Keeps a set until somebody else approves it. Gives its number.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it cannot be read or does not compile; those of the store.
    pub(crate) async fn propose(&self, by: &By, checked: Checked) -> Result<u64, Error> {
        let actor = by.actor.clone();
        let n = self
            .as_writer(Urgency::Ordinary, move |tx, writer, now| {
                checked.propose(tx, writer, &actor, now)
            })
            .await?;
        Ok(n)
    }

    /// Puts a set in force, on agents as fast as they can be told.
    ///
    /// # Errors
    /// [`Error::Conflict`] if `by` wrote it, unless through the socket; those of the store.
    pub(crate) async fn activate_policy(&self, by: &By, local: bool, n: u64) -> Result<(), Error> {
        let actor = by.actor.clone();
        let set = self.store.read(move |tx| policies::get(tx, n)).await?;
        let set = set.ok_or_else(|| Error::not_found("policy set", n.to_string()))?;
        // Whoever holds the socket holds the keys as well: a second person would be for show.
        if set.summary.author == actor && !local {
            return Err(Error::Conflict(format!(
                "policy set {n}: written by {actor}; wanted the approval of somebody else"
            )));
        }
        // What was checked by another release may not compile here. What a number says never changes.
        let content = String::from_utf8_lossy(&set.content).into_owned();
        check(content, Vec::new(), self.home.clone()).await?;
        self.as_writer(Urgency::Ordinary, move |tx, writer, now| {
            rollout::make_way(tx, writer, n, &actor, now)?;
            activate(tx, writer, n, &actor, now)
        })
        .await?;
        self.refresh().await
    }

    /// Takes a set back that is not in force yet.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn withdraw_policy(&self, by: &By, n: u64) -> Result<(), Error> {
        let actor = by.actor.clone();
        self.as_writer(Urgency::Ordinary, move |tx, _, _| {
            rollout::not_under_way(tx, n)?;
            policies::withdraw(tx, n)?;
            event::tell(
                tx,
                Kind::PolicyWithdrawn,
                &actor,
                &n.to_string(),
                &json!({}),
            )?;
            Ok(())
        })
        .await
    }

    /// What agents get of the set that is in force: what they got before, unless it has to be signed anew.
    ///
    /// # Errors
    /// [`Error::Identity`] if it cannot be signed.
    pub(crate) fn countersign(
        &self,
        news: &News,
        read: Option<policies::PolicySet>,
    ) -> Result<Option<Arc<Countersigned>>, Error> {
        debug_assert!(
            read.as_ref()
                .is_none_or(|row| row.summary.state == State::Active)
        );
        self.signed(news, news.policy_set.as_ref(), read)
    }

    /// The same of any set: of the one that was read, else of the one that is known.
    ///
    /// # Errors
    /// [`Error::Identity`] if it cannot be signed.
    pub(crate) fn signed(
        &self,
        news: &News,
        known: Option<&Arc<Countersigned>>,
        read: Option<policies::PolicySet>,
    ) -> Result<Option<Arc<Countersigned>>, Error> {
        let row = read
            .map(Arc::new)
            .or_else(|| known.map(|known| Arc::clone(&known.row)));
        let Some(row) = row else {
            return Ok(None);
        };
        let Some(own) = self.own.load_full() else {
            return Ok(None);
        };
        let Some(leaf) = own.chain().first() else {
            return Ok(None);
        };
        let now = clock::seconds();
        let life = self.config.policy.lifetime.as_secs();
        let good = known.filter(|known| {
            known.version() == (news.epoch, row.summary.n)
                && known.leaf == *leaf
                && now < known.not_before.midpoint(known.not_after)
        });
        if let Some(good) = good {
            return Ok(Some(Arc::clone(good)));
        }
        let set = PolicySet {
            version: Version {
                epoch: news.epoch,
                n: row.summary.n,
            },
            not_before: now,
            not_after: now.saturating_add(life),
            accepted: row.summary.proposed,
            schema_hash: row.summary.schema_hash,
            audience: audience(&self.home),
            content: row.content.clone(),
            authors: decode_authors(&row.signatures)?,
        };
        let signed = SignedSet::sign(&set, &own)?.encode();
        Ok(Some(Arc::new(Countersigned {
            epoch: news.epoch,
            leaf: leaf.clone(),
            not_before: set.not_before,
            not_after: set.not_after,
            signed,
            row,
        })))
    }
}

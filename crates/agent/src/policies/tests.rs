use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use rustls::pki_types::UnixTime;
use skans_identity::authority::{Authority, Lifetimes};
use skans_identity::bundle::Bundles;
use skans_identity::credential::Credential;
use skans_identity::head::{Audience, Head, SignedHead};
use skans_identity::host::Host;
use skans_identity::id::{NodeId, SpiffeId, TrustDomain};
use skans_identity::policy_set::{PolicySet, SignedSet};
use skans_identity::trust::{SharedTrust, Trust};
use skans_identity::verify::Verifier;
use skans_policy::source::Kind;
use skans_policy::{File, Source};
use tempfile::TempDir;

use super::delivery::{Delivered, schema};
use super::keep::DryRun;
use super::*;
use crate::control::{Item, State};
use crate::revocation::{From, Revocation};
use crate::standing::Class;

const WEEK: u64 = 7 * 86_400;

/// A control plane's key, and an agent that trusts it.
struct World {
    dir: TempDir,
    trust: SharedTrust,
    credential: Credential,
}

fn domain() -> TrustDomain {
    TrustDomain::parse("lab.test").unwrap()
}

fn audience() -> Audience {
    Audience {
        trust_domain: domain(),
        cluster: "main".into(),
    }
}

fn now() -> u64 {
    UnixTime::now().as_secs()
}

fn source(name: &str) -> Source {
    Source {
        name: name.into(),
        ..Source::same_cluster_members("lab.test", "main")
    }
}

impl World {
    fn new() -> Self {
        let at = UnixTime::now();
        let authority = Authority::generate(&domain(), "main", at, Lifetimes::default()).unwrap();
        let trust = Trust {
            bundles: Bundles::from(authority.bundle().unwrap()),
            ..Trust::default()
        };
        let id = SpiffeId::control(&domain(), "c1").unwrap();
        let host = Host::parse("host-a").unwrap();
        let hour = Duration::from_secs(3600);
        Self {
            dir: tempfile::tempdir().unwrap(),
            trust: SharedTrust::new(trust),
            credential: authority.issue(&id, &host, hour, at).unwrap(),
        }
    }

    /// The agent, started: what it kept is there.
    fn agent(&self) -> (Policies, Revocation) {
        let state = Arc::new(State::open(&self.dir.path().join("state")).unwrap());
        let verifier = Verifier::new(self.trust.clone());
        let revocation = Revocation::open(
            Arc::clone(&state),
            self.trust.clone(),
            Arc::clone(&verifier),
            audience(),
            Class::Available,
        )
        .unwrap();
        let signed = Signed {
            state,
            verifier,
            audience: audience(),
            arrived: watch::Sender::default(),
            candidate: watch::Sender::default(),
        };
        (Policies::open(signed, &revocation).unwrap(), revocation)
    }

    fn sign(&self, change: impl FnOnce(&mut PolicySet)) -> Vec<u8> {
        let mut set = PolicySet {
            version: skans_identity::policy_set::Version { epoch: 1, n: 1 },
            not_before: now() - 5,
            not_after: now() + WEEK,
            accepted: now() - 5,
            schema_hash: schema(),
            audience: audience(),
            content: source("one").to_canonical().into_bytes(),
            authors: Vec::new(),
        };
        change(&mut set);
        SignedSet::sign(&set, &self.credential).unwrap().encode()
    }

    fn set(&self, n: u64, name: &str) -> Vec<u8> {
        self.sign(|set| {
            set.version.n = n;
            set.content = source(name).to_canonical().into_bytes();
        })
    }

    fn head(&self, policy: u64) -> Vec<u8> {
        let head = Head {
            epoch: 1,
            deny_seq: 0,
            deny_hash: [0; 32],
            bundle: 1,
            policy,
            time: now(),
            trust_domain: domain(),
            cluster: "main".into(),
            checkpoint: String::new(),
        };
        SignedHead::sign(&head, &self.credential).unwrap().encode()
    }
}

fn at(policies: &Policies) -> (u64, Standing) {
    let present = policies.current();
    (present.version().n, present.standing)
}

fn refused(taken: Result<Delivered, Error>) -> &'static str {
    taken.unwrap_err().label()
}

#[test]
fn the_newest_set_decides_and_an_older_one_never_again() {
    let world = World::new();
    let first = world.set(4, "first");
    {
        let (policies, revocation) = world.agent();
        assert_eq!(at(&policies), (0, Standing::BuiltIn));
        let mut changes = policies.changes();
        assert_eq!(
            policies.take(&first, &revocation).unwrap(),
            Delivered::InForce
        );
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        assert_eq!(
            policies.take(&first, &revocation).unwrap(),
            Delivered::Known
        );
        assert!(!changes.has_changed().unwrap());
        policies.take(&world.set(5, "second"), &revocation).unwrap();
        assert_eq!(
            refused(policies.take(&first, &revocation)),
            "policy_rolled_back"
        );
        assert_eq!(at(&policies), (5, Standing::Signed));
    }
    // A restart: the last good one is there, and nothing was forgotten.
    let (policies, revocation) = world.agent();
    assert_eq!(at(&policies), (5, Standing::Signed));
    assert_eq!(policies.current().name, "second");
    assert_eq!(
        refused(policies.take(&first, &revocation)),
        "policy_rolled_back"
    );
    assert_eq!(
        refused(policies.take(&world.set(5, "another"), &revocation)),
        "policy_forked"
    );
    let next_epoch = world.sign(|set| set.version.epoch = 2);
    assert_eq!(
        refused(policies.take(&next_epoch, &revocation)),
        "policy_epoch"
    );
    assert_eq!(at(&policies), (5, Standing::Signed));
    assert_eq!(policies.refused.of("policy_rolled_back"), 1);
}

#[test]
fn whoever_puts_an_older_file_in_the_place_of_what_was_kept_gains_nothing() {
    let world = World::new();
    let first = world.set(4, "first");
    {
        let (policies, revocation) = world.agent();
        policies.take(&first, &revocation).unwrap();
        policies.take(&world.set(5, "second"), &revocation).unwrap();
        let own = policies.signed.as_ref().unwrap();
        own.state.write(Item::Policy, &first).unwrap();
    }
    for reason in ["policy_rolled_back", "encoding"] {
        let (policies, _) = world.agent();
        assert_eq!(at(&policies), (5, Standing::Missing));
        assert_eq!(policies.refused.of(reason), 1);
        // To be told as one that was delivered.
        let told = policies.lock().refused_at_start.take().unwrap();
        assert_eq!(told.label(), reason);
        let own = policies.signed.as_ref().unwrap();
        own.state.write(Item::Policy, b"nonsense").unwrap();
    }
}

#[test]
fn what_is_broken_leaves_the_old_one() {
    let world = World::new();
    let (policies, revocation) = world.agent();
    policies.take(&world.set(1, "good"), &revocation).unwrap();
    let broken = |change: &dyn Fn(&mut PolicySet)| {
        world.sign(|set| {
            set.version.n = 2;
            change(set);
        })
    };
    let cases = [
        ("encoding", b"SKQ1 nonsense".to_vec()),
        ("compile", broken(&|set| set.content = b"{}".to_vec())),
        (
            "compile",
            broken(&|set| {
                let file = File {
                    name: "a.cedar".into(),
                    text: "permit (principal, action == Skans::Action::\"fly\", resource);".into(),
                };
                let source = Source {
                    policies: vec![file],
                    ..source("bad")
                };
                set.content = source.to_canonical().into_bytes();
            }),
        ),
        ("policy_schema", broken(&|set| set.schema_hash = [0; 32])),
        (
            "policy_expired",
            broken(&|set| (set.not_before, set.not_after) = (now() - 100, now() - 1)),
        ),
        (
            "statement",
            broken(&|set| set.audience.cluster = "other".into()),
        ),
    ];
    for (label, bytes) in cases {
        assert_eq!(refused(policies.take(&bytes, &revocation)), label);
        assert_eq!(at(&policies), (1, Standing::Signed));
    }
    // None of them has used the number up.
    policies.take(&world.set(2, "mended"), &revocation).unwrap();
    assert_eq!(at(&policies), (2, Standing::Signed));
}

#[test]
fn what_has_expired_refuses_everything_until_it_is_signed_again() {
    let world = World::new();
    let (policies, revocation) = world.agent();
    // Of this second, whatever second it is when the set is signed.
    let until = now() + WEEK;
    let first = world.sign(|set| {
        set.content = source("one").to_canonical().into_bytes();
        set.not_after = until;
    });
    policies.take(&first, &revocation).unwrap();
    let later = Duration::from_secs(until);
    let mut dry = None;
    let nap = policies
        .tick(later - Duration::from_secs(1), &mut dry)
        .unwrap();
    assert_eq!(nap, Duration::from_secs(2));
    assert_eq!(at(&policies), (1, Standing::Signed), "its last second");
    policies
        .tick(later + Duration::from_secs(5), &mut dry)
        .unwrap();
    assert_eq!(at(&policies), (1, Standing::Expired));
    assert_eq!(policies.current().engine.policies(), 0);
    // Signed again: the same version, for longer.
    let again = world.sign(|set| {
        set.content = source("one").to_canonical().into_bytes();
        set.not_after = until + 100;
    });
    assert_eq!(
        policies.take(&again, &revocation).unwrap(),
        Delivered::InForce
    );
    assert_eq!(at(&policies), (1, Standing::Signed));
}

#[test]
fn a_set_is_prolonged_without_being_decided_anew() {
    let world = World::new();
    let (policies, revocation) = world.agent();
    policies.take(&world.sign(|_| {}), &revocation).unwrap();
    let before = policies.current();
    let longer = world.sign(|set| set.not_after += 100);
    assert_eq!(
        policies.take(&longer, &revocation).unwrap(),
        Delivered::Prolonged
    );
    let after = policies.current();
    assert!(Arc::ptr_eq(&before.engine, &after.engine));
    assert!(after.expires > before.expires);
    // What was signed before runs out earlier, and is of no use.
    assert_eq!(
        policies.take(&world.sign(|_| {}), &revocation).unwrap(),
        Delivered::Known
    );
    drop((policies, revocation));
    assert!(world.agent().0.current().expires >= after.expires);
}

#[test]
fn a_head_that_names_a_set_that_is_not_here_refuses_everything() {
    let world = World::new();
    let (policies, revocation) = world.agent();
    revocation.hear(&world.head(0), From::Control).unwrap();
    policies.look_at(&revocation).unwrap();
    assert_eq!(at(&policies), (0, Standing::BuiltIn), "none was ever made");
    drop((policies, revocation));
    let world = World::new();
    let (policies, revocation) = world.agent();
    revocation.hear(&world.head(3), From::Peer).unwrap();
    policies.look_at(&revocation).unwrap();
    assert_eq!(at(&policies), (3, Standing::Missing));
    policies.take(&world.set(3, "three"), &revocation).unwrap();
    assert_eq!(at(&policies), (3, Standing::Signed));
}

#[test]
fn the_end_of_a_dry_run_is_a_change() {
    let world = World::new();
    let (policies, revocation) = world.agent();
    let ends = now() + 60;
    let dry = world.sign(|set| {
        let source = Source {
            mode: Mode::DryRun { until: ends },
            ..source("dry")
        };
        set.content = source.to_canonical().into_bytes();
    });
    policies.take(&dry, &revocation).unwrap();
    assert_eq!(policies.current().dry_until(), Some(ends));
    let mut changes = policies.changes();
    let mut was_dry = None;
    let nap = policies
        .tick(Duration::from_secs(ends - 2), &mut was_dry)
        .unwrap();
    assert_eq!(nap, Duration::from_secs(2));
    assert!(!changes.has_changed().unwrap());
    policies
        .tick(Duration::from_secs(ends), &mut was_dry)
        .unwrap();
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();
    policies
        .tick(Duration::from_secs(ends + 1), &mut was_dry)
        .unwrap();
    assert!(!changes.has_changed().unwrap(), "once");
}

#[test]
fn a_dry_run_is_told_when_it_begins_and_once_a_day_in_its_last_week() {
    const DAY: u64 = 86_400;
    let ends = 1_000 * DAY;
    let mut dry = None;
    let mut told = |at| DryRun::look(&mut dry, ends, at);
    assert_eq!(told(ends - 30 * DAY), Some(30), "it begins");
    assert_eq!(told(ends - 20 * DAY), None);
    assert_eq!(told(ends - 7 * DAY - 1), None);
    assert_eq!(told(ends - 7 * DAY), Some(7));
    assert_eq!(told(ends - 7 * DAY + 5), None, "once");
    assert_eq!(told(ends - 6 * DAY), Some(6));
    assert_eq!(told(ends - 1), Some(1));
    assert_eq!(told(ends - 1), None);
    let mut another = dry;
    assert_eq!(
        DryRun::look(&mut another, ends + DAY, ends - 1),
        Some(2),
        "another end"
    );
}

fn local(directory: &std::path::Path) -> Config {
    let text = format!(
        "apiVersion: skans.io/v1alpha1\ntrustDomain: lab.test\nnodes: [{{ name: a@host-a }}]\n\
         identity: {{ authority: {{ directory: /nowhere }} }}\npolicy: {{ directory: {} }}\n",
        directory.display()
    );
    crate::config::parse(&text, "test", |_| None).unwrap()
}

#[test]
fn a_directory_is_read_again_and_a_broken_one_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let set = |mode: &str| {
        let text = format!("apiVersion: skans.io/v1alpha1\nname: here\nmode: {mode}\n");
        std::fs::write(dir.path().join("set.yaml"), text).unwrap();
    };
    set("enforce");
    let config = local(dir.path());
    let policies = Policies::local(&config).unwrap();
    assert_eq!(policies.current().standing, Standing::Directory);
    set("nonsense");
    let broken = policies.reread(&config);
    assert_eq!(broken.map(drop).unwrap_err().label(), "compile");
    assert!(
        Policies::local(&config).is_err(),
        "nor does an agent start with it"
    );
    assert_eq!(policies.current().name, "here");
    set("dry-run\nuntil: 2100-01-01");
    let next = policies.reread(&config).unwrap().unwrap();
    policies.install(&config, next);
    assert!(policies.current().dry_until().is_some());
}

proptest! {
    /// `policy` does not know how certificates are read, and reads IDs alike all the same.
    #[test]
    fn an_id_that_a_set_may_name_is_one_that_a_certificate_may_have(
        domain in "[a-z.]{0,3}|[a-zA-Z0-9._:@-]{1,12}|[a-z]{250,260}",
        parts in proptest::array::uniform3("[a-z.]{0,3}|[a-zA-Z0-9._%@-]{1,12}|[a-z]{60,66}"),
        node in "cli|[a-z.]{0,3}|[a-zA-Z0-9._@-]{1,12}|[a-z]{195,205}",
        host in "[a-z0-9.-]{0,12}|[0-9.]{1,12}|[a-f0-9:]{2,9}|[a-zA-Z_:]{1,6}|([a-z]{50,64}\\.){1,5}a",
    ) {
        let [cluster, namespace, workload] = &parts;
        let id = format!("spiffe://{domain}/cluster/{cluster}/ns/{namespace}/sa/{workload}/node/{node}");
        let made = TrustDomain::parse(&domain).and_then(|domain| match node.as_str() {
            "cli" => NodeId::cli(&domain, cluster, namespace, workload),
            node => NodeId::new(&domain, cluster, namespace, workload, node),
        });
        let kind = made.is_ok().then_some(Kind::Node);
        // What stands behind an `@` is a host.
        if !node.contains('@') {
            prop_assert_eq!(Kind::of(&id), kind, "{}", id);
        }
        let kind = kind.filter(|_| Host::parse(&host).is_ok());
        let id = format!("{id}@{host}");
        prop_assert_eq!(Kind::of(&id), kind, "{}", id);
    }
}

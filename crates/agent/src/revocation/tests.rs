//! Heads and entries from the control plane and from peers of all kinds; what a restart remembers.

use skans_identity::authority::{Authority, Lifetimes};
use skans_identity::bundle::Bundles;
use skans_identity::credential::Credential;
use skans_identity::deny::Order;
use skans_identity::host::Host;
use skans_identity::id::{SpiffeId, TrustDomain};
use skans_identity::recovery::{Recovery, Signature, SignedRecovery};
use skans_identity::trust::{DenySet, Trust};

use super::*;

/// A control plane, as far as revocation goes.
struct Plane {
    authority: Authority,
    signer: Credential,
    chain: Chain,
    epoch: u64,
    clock: u64,
}

impl Plane {
    fn new() -> Self {
        let domain = TrustDomain::parse("test.example").unwrap();
        let authority =
            Authority::generate(&domain, "main", UnixTime::now(), Lifetimes::default()).unwrap();
        let id = SpiffeId::control(&domain, "one").unwrap();
        let signer = authority
            .issue(
                &id,
                &Host::parse("control").unwrap(),
                Duration::from_secs(3600),
                UnixTime::now(),
            )
            .unwrap();
        Self {
            authority,
            signer,
            chain: Chain::default(),
            epoch: 1,
            clock: UnixTime::now().as_secs() - 50,
        }
    }

    fn revoke(&mut self, name: &str) -> Vec<u8> {
        let id = format!("spiffe://test.example/cluster/main/ns/default/sa/{name}/node/{name}");
        self.entry(Target::Id(SpiffeId::parse(&id).unwrap()))
    }

    fn entry(&mut self, target: Target) -> Vec<u8> {
        let order = Order {
            target,
            time: self.clock,
            until: 0,
            reason: String::new(),
        };
        let entry = Entry::after(self.chain.seq(), *self.chain.hash(), order).unwrap();
        let bytes = entry.encode();
        self.chain.apply(entry).unwrap();
        bytes
    }

    /// The next head: each is a second newer than the one before.
    fn head(&mut self) -> Vec<u8> {
        self.clock += 1;
        let head = Head {
            epoch: self.epoch,
            deny_seq: self.chain.seq(),
            deny_hash: *self.chain.hash(),
            bundle: 1,
            policy: 0,
            time: self.clock,
            trust_domain: self.authority.trust_domain().clone(),
            cluster: "main".to_owned(),
            checkpoint: String::new(),
        };
        SignedHead::sign(&head, &self.signer).unwrap().encode()
    }
}

struct Agent {
    revocation: Revocation,
    trust: SharedTrust,
    directory: tempfile::TempDir,
}

fn agent(plane: &Plane) -> Agent {
    open(plane, tempfile::tempdir().unwrap()).unwrap()
}

fn open(plane: &Plane, directory: tempfile::TempDir) -> Result<Agent, Error> {
    let trust = SharedTrust::new(Trust {
        bundles: Bundles::from(plane.authority.bundle().unwrap()),
        deny: DenySet::default(),
    });
    let state = Arc::new(State::open(&directory.path().join("agent")).unwrap());
    let audience = Audience {
        trust_domain: plane.authority.trust_domain().clone(),
        cluster: "main".to_owned(),
    };
    let verifier = Verifier::new(trust.clone());
    let revocation = Revocation::open(state, trust.clone(), verifier, audience, Class::Strict)?;
    Ok(Agent {
        revocation,
        trust,
        directory,
    })
}

impl Agent {
    fn restart(self, plane: &Plane) -> Result<Self, Error> {
        drop(self.revocation);
        open(plane, self.directory)
    }

    fn denied(&self) -> usize {
        self.trust.load().deny.ids.len()
    }

    fn hear(&self, head: &[u8], from: From) -> Result<Option<Staging>, Error> {
        self.revocation.hear(head, from)
    }
}

fn slices(entries: &[Vec<u8>]) -> impl Iterator<Item = &[u8]> {
    entries.iter().map(Vec::as_slice)
}

#[test]
fn what_the_control_plane_says_is_in_force_at_once_and_links_are_told() {
    let mut plane = Plane::new();
    let agent = agent(&plane);
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&told);
    let trust = agent.trust.clone();
    agent.revocation.on_denied(Box::new(move |targets| {
        let in_force = trust.load().deny.ids.len();
        tell.lock().unwrap().push((targets.len(), in_force));
    }));
    let entries = [plane.revoke("a"), plane.revoke("b")];
    agent.revocation.delta(&entries).unwrap();
    assert_eq!(
        *told.lock().unwrap(),
        [(2, 2)],
        "links after the verifier, or one could slip through between them"
    );
    assert!(agent.hear(&plane.head(), From::Control).unwrap().is_none());
    assert!(agent.revocation.newest().borrow().is_some());
}

/// Who was away for both has links with a peer that is allowed: they stay.
#[test]
fn what_is_lifted_again_by_the_time_it_is_heard_touches_no_link() {
    let mut plane = Plane::new();
    let agent = agent(&plane);
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&told);
    agent.revocation.on_denied(Box::new(move |targets| {
        tell.lock()
            .unwrap()
            .extend(targets.iter().map(Target::text));
    }));
    let entries = [
        plane.revoke("a"),
        plane.revoke("b"),
        plane.entry(Target::Allow(1)),
        plane.revoke("c"),
        plane.revoke("c"),
        plane.entry(Target::Allow(4)),
    ];
    agent.revocation.delta(&entries).unwrap();
    let last = told
        .lock()
        .unwrap()
        .iter()
        .map(|id| id[id.len() - 1..].to_owned())
        .collect::<Vec<_>>();
    assert_eq!(last, ["b", "c"], "that one entry is lifted lifts no other");
    assert_eq!(agent.denied(), 2);
}

#[test]
fn a_head_whose_entries_are_missing_makes_nothing_fresh() {
    let mut plane = Plane::new();
    let agent = agent(&plane);
    let newest = agent.revocation.newest();
    assert!(agent.hear(&plane.head(), From::Peer).unwrap().is_none());
    let first = newest.borrow().clone();
    let entry = plane.revoke("a");
    let staging = agent.hear(&plane.head(), From::Peer).unwrap().unwrap();
    assert_eq!(staging.next(), 1);
    assert_eq!(*newest.borrow(), first, "not handed on, not counted");
    assert_eq!(agent.denied(), 0);
    let mut staging = staging;
    let done = agent.revocation.stage(&mut staging, [entry.as_slice()]);
    assert!(matches!(done, Ok(Staged::Done)));
    assert_eq!(agent.denied(), 1);
    assert_ne!(*newest.borrow(), first);
}

#[test]
fn entries_of_a_peer_count_once_they_lead_to_a_signed_head() {
    let mut plane = Plane::new();
    let agent = agent(&plane);
    let entries: Vec<_> = ["a", "b", "c"].map(|name| plane.revoke(name)).into();
    let head = plane.head();
    let mut staging = agent.hear(&head, From::Peer).unwrap().unwrap();
    let part = agent.revocation.stage(&mut staging, slices(&entries[..2]));
    assert!(matches!(part, Ok(Staged::More)));
    assert_eq!(agent.denied(), 0, "nothing vouches for these two yet");
    assert_eq!(staging.next(), 3);
    let done = agent.revocation.stage(&mut staging, slices(&entries[2..]));
    assert!(matches!(done, Ok(Staged::Done)));
    assert_eq!(agent.denied(), 3);
    assert_eq!(agent.revocation.entries_from(2), entries[1..]);
}

/// A disk may take a second, or nothing at all.
#[test]
fn entries_of_a_peer_do_not_wait_for_the_disk() {
    let mut plane = Plane::new();
    let agent = agent(&plane);
    agent.hear(&plane.head(), From::Control).unwrap();
    let horizon = agent.revocation.state.path(Item::Horizon);
    let kept = std::fs::read(&horizon).unwrap();
    std::fs::remove_file(&horizon).unwrap();
    std::fs::create_dir_all(horizon.join("in the way")).unwrap();
    let entry = plane.revoke("a");
    let head = plane.head();
    let mut staging = agent.hear(&head, From::Peer).unwrap().unwrap();
    let staged = agent
        .revocation
        .stage(&mut staging, slices(std::slice::from_ref(&entry)));
    assert!(matches!(staged, Err(Error::File { .. })), "{staged:?}");
    assert_eq!(agent.denied(), 1, "in force all the same");
    assert!(agent.revocation.keep().is_err());
    std::fs::remove_dir_all(&horizon).unwrap();
    agent.revocation.keep().unwrap();
    assert_ne!(std::fs::read(&horizon).unwrap(), kept, "once it can be");
}

/// Of a peer that has told of entries, and keeps them to itself, is remembered that there are some.
#[test]
fn a_head_whose_entries_never_come_is_written_down_all_the_same() {
    let mut plane = Plane::new();
    let agent = agent(&plane);
    plane.revoke("a");
    assert!(agent.hear(&plane.head(), From::Peer).unwrap().is_some());
    agent.revocation.keep().unwrap();
    assert!(agent.revocation.state.path(Item::Horizon).exists());
}

#[test]
fn a_peer_cannot_revoke_anybody() {
    let mut plane = Plane::new();
    let agent = agent(&plane);
    let mut forger = Plane::new();
    let forged = [forger.revoke("a")];
    assert!(agent.hear(&forger.head(), From::Peer).is_err(), "its head");

    plane.revoke("b");
    let mut staging = agent.hear(&plane.head(), From::Peer).unwrap().unwrap();
    let error = agent.revocation.stage(&mut staging, slices(&forged));
    assert!(matches!(error, Err(Error::Unverifiable(_))), "its entries");
    assert_eq!(agent.denied(), 0);
    // An honest one is not blamed for it.
    let mut staging = agent.hear(&plane.head(), From::Peer).unwrap().unwrap();
    let honest: Vec<_> = plane.chain.since(0).unwrap().map(Entry::encode).collect();
    let done = agent.revocation.stage(&mut staging, slices(&honest));
    assert!(matches!(done, Ok(Staged::Done)));
}

#[test]
fn a_peer_that_has_no_entries_any_more_is_not_asked_for_ever() {
    let mut plane = Plane::new();
    let agent = agent(&plane);
    plane.revoke("a");
    let mut staging = agent.hear(&plane.head(), From::Peer).unwrap().unwrap();
    let none = agent.revocation.stage(&mut staging, []);
    assert!(matches!(none, Ok(Staged::Done)));
}

#[test]
fn an_old_head_of_a_peer_is_no_crime_and_no_news() {
    let mut plane = Plane::new();
    let agent = agent(&plane);
    let old = plane.head();
    agent.revocation.delta(&[plane.revoke("a")]).unwrap();
    let new = plane.head();
    agent.hear(&new, From::Control).unwrap();
    let age = agent.revocation.age().0;
    assert!(agent.hear(&old, From::Peer).unwrap().is_none());
    assert!(agent.revocation.age().0 >= age);
    let agent = agent.restart(&plane).unwrap();
    assert!(agent.hear(&old, From::Peer).unwrap().is_none());
    assert!(
        agent.hear(&old, From::Control).is_err(),
        "a control plane that forgets is another matter"
    );
}

#[test]
fn a_restart_forgets_nothing_and_a_restored_control_plane_is_refused() {
    let mut plane = Plane::new();
    let agent = agent(&plane);
    agent.revocation.delta(&[plane.revoke("a")]).unwrap();
    agent.hear(&plane.head(), From::Control).unwrap();
    let backup = (plane.chain.clone(), plane.epoch);
    agent.revocation.delta(&[plane.revoke("b")]).unwrap();
    let newest = plane.head();
    agent.hear(&newest, From::Control).unwrap();

    let agent = agent.restart(&plane).unwrap();
    assert_eq!(agent.denied(), 2);
    assert_eq!(agent.revocation.position().1, 2);
    assert_eq!(
        agent.revocation.newest().borrow().as_deref(),
        Some(newest.as_slice()),
        "and can be handed on"
    );

    // The database of yesterday, played again.
    (plane.chain, plane.epoch) = backup;
    assert!(agent.hear(&plane.head(), From::Control).is_err());
    let old = plane.chain.snapshot();
    let error = agent.revocation.snapshot(old.seq, old.hash, &old.entries);
    assert!(error.is_err());
    // It goes on from there with entries of its own, or calls itself a new epoch.
    plane.revoke("c");
    assert!(agent.hear(&plane.head(), From::Control).is_err(), "forked");
    plane.epoch = 2;
    plane.revoke("d");
    plane.revoke("e");
    let forked = plane.chain.snapshot();
    agent
        .revocation
        .snapshot(forked.seq, forked.hash, &forked.entries)
        .unwrap();
    let restored = plane.head();
    assert!(agent.hear(&restored, From::Control).is_err(), "new epoch");
    assert_eq!(agent.denied(), 2, "what was known stays in force");
    // A peer that believes in it is no criminal, and convinces nobody.
    assert!(agent.hear(&restored, From::Peer).unwrap().is_none());
    assert_eq!(agent.denied(), 2);
}

impl Plane {
    /// Signed by the root: the epoch that comes next, from here on.
    fn recovery(&self, signed_by: &Authority) -> Vec<u8> {
        let statement = Recovery {
            epoch: self.epoch,
            deny_seq: self.chain.seq(),
            time: self.clock,
            trust_domain: self.authority.trust_domain().clone(),
            cluster: "main".to_owned(),
        };
        let signature = Signature::by_root(&statement, signed_by.root().unwrap()).unwrap();
        let signed = SignedRecovery {
            statement: statement.encode(),
            signatures: vec![signature],
        };
        signed.encode()
    }
}

#[test]
fn a_restored_control_plane_is_believed_once_the_root_has_said_so() {
    let mut plane = Plane::new();
    let agent = agent(&plane);
    agent.revocation.delta(&[plane.revoke("a")]).unwrap();
    agent.hear(&plane.head(), From::Control).unwrap();
    let backup = plane.chain.clone();
    let later = [plane.revoke("b"), plane.revoke("c")];
    agent.revocation.delta(&later).unwrap();
    agent.hear(&plane.head(), From::Control).unwrap();
    (plane.chain, plane.epoch) = (backup, 2);

    let stranger = Plane::new();
    let forged = plane.recovery(&stranger.authority);
    assert!(agent.revocation.recover(&forged).is_err(), "another root");
    let take = |agent: &Agent, plane: &mut Plane| {
        let snapshot = plane.chain.snapshot();
        agent
            .revocation
            .snapshot(snapshot.seq, snapshot.hash, &snapshot.entries)?;
        agent.hear(&plane.head(), From::Control).map(drop)
    };
    assert!(take(&agent, &mut plane).is_err());
    assert_eq!(agent.denied(), 3);

    let recovery = plane.recovery(&plane.authority);
    agent.revocation.recover(&recovery).unwrap();
    assert_eq!(agent.denied(), 3, "until the new list is here");
    // Also if it restarts in between.
    let agent = agent.restart(&plane).unwrap();
    let (epoch, seq, _) = agent.revocation.position();
    assert_eq!((epoch, seq), (1, 3), "what is in force is of the old epoch");
    take(&agent, &mut plane).unwrap();
    assert_eq!(agent.denied(), 1);
    let (epoch, seq, _) = agent.revocation.position();
    assert_eq!((epoch, seq), (2, 1));
    agent.revocation.recover(&recovery).unwrap();
    agent.revocation.delta(&[plane.revoke("d")]).unwrap();
    agent.hear(&plane.head(), From::Control).unwrap();
    assert_eq!(agent.denied(), 2);
}

#[test]
fn a_snapshot_counts_once_a_head_bears_it_out() {
    let mut plane = Plane::new();
    let agent = agent(&plane);
    for name in ["a", "b", "c"] {
        plane.revoke(name);
    }
    let snapshot = plane.chain.snapshot();
    let take = |entries: &[Vec<u8>]| {
        agent
            .revocation
            .snapshot(snapshot.seq, snapshot.hash, entries)
    };
    take(&snapshot.entries).unwrap();
    assert_eq!(agent.denied(), 0);
    // One more meanwhile.
    agent.revocation.delta(&[plane.revoke("d")]).unwrap();
    agent.hear(&plane.head(), From::Control).unwrap();
    assert_eq!(agent.denied(), 4);
    let agent = agent.restart(&plane).unwrap();
    assert_eq!(agent.denied(), 4);
}

#[test]
fn a_file_that_cannot_be_read_stops_the_start() {
    for item in [Item::Horizon, Item::Denials] {
        let mut plane = Plane::new();
        let agent = agent(&plane);
        agent.revocation.delta(&[plane.revoke("a")]).unwrap();
        agent.hear(&plane.head(), From::Control).unwrap();
        let path = agent.revocation.state.path(item);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.pop();
        std::fs::write(&path, bytes).unwrap();
        assert!(agent.restart(&plane).is_err(), "{item:?}");
    }
}

#[test]
fn strict_goes_by_the_age_of_what_is_complete() {
    let mut plane = Plane::new();
    plane.clock -= 400;
    let agent = agent(&plane);
    agent.hear(&plane.head(), From::Control).unwrap();
    let (opens, holds, age) = agent.revocation.verdict();
    assert_eq!((opens, holds, age), (false, true, Age::Old));
    plane.revoke("a");
    plane.clock += 400;
    agent.hear(&plane.head(), From::Peer).unwrap();
    assert!(!agent.revocation.verdict().0, "its entries are missing");
    agent.revocation.set_class(Class::Available);
    assert!(agent.revocation.verdict().0);
}

#[test]
fn two_heads_of_one_second_are_two_heads() {
    let mut plane = Plane::new();
    let agent = agent(&plane);
    agent.hear(&plane.head(), From::Control).unwrap();
    agent.revocation.delta(&[plane.revoke("a")]).unwrap();
    plane.clock -= 1;
    let second = plane.head();
    agent.hear(&second, From::Control).unwrap();
    assert_eq!(
        agent.revocation.newest().borrow().as_deref(),
        Some(second.as_slice())
    );
}

#[test]
fn garbage_is_refused() {
    let plane = Plane::new();
    let agent = agent(&plane);
    for bytes in [&b""[..], b"SKG1", &[0xff; 4096]] {
        assert!(agent.hear(bytes, From::Peer).is_err());
    }
    assert!(agent.revocation.delta(&[vec![0; 64]]).is_err());
    assert!(agent.revocation.snapshot(1, [0; 32], &[vec![1]]).is_err());
    assert!(agent.revocation.entries_from(0).is_empty());
    assert!(agent.revocation.entries_from(u64::MAX).is_empty());
}

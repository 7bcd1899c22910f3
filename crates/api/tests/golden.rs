//! Messages of each release, as they went over the wire then, read by this one. A file in `fixtures/` is what one release
//! wrote, a line for each message with every field set, and never changes: a new release gets a new file.
// Fields come: what is written down here is what there was.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::needless_update
)]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::{Path, PathBuf};

use prost::{DecodeError, Message};
use skans_api::v1::*;

/// The release whose fixture is written today.
const RELEASE: &str = env!("CARGO_PKG_VERSION");

/// Reads a message, and says all that it holds; written again, it is the same bytes.
type Read = fn(&[u8]) -> Result<(String, Vec<u8>), DecodeError>;
type Sent = (&'static str, Vec<u8>, Read);

fn read<M: Message + Default + Debug>(bytes: &[u8]) -> Result<(String, Vec<u8>), DecodeError> {
    let message = M::decode(bytes)?;
    Ok((format!("{message:?}"), message.encode_to_vec()))
}

fn one<M: Message + Default + Debug>(name: &'static str, message: &M) -> Sent {
    (name, message.encode_to_vec(), read::<M>)
}

fn bundle() -> Bundle {
    Bundle {
        trust_domain: "prod.example".into(),
        version: 7,
        roots: vec![vec![0x30, 1], vec![0x30, 2]],
        refresh_hint: 300,
        epoch: 2,
        ..Default::default()
    }
}

fn enrolment() -> Vec<Sent> {
    use enrol_request::Evidence;
    let enrol = |evidence| EnrolRequest {
        evidence: Some(evidence),
        csr: vec![0x30, 3],
        host: "host-a.prod.example".into(),
        ..Default::default()
    };
    let token = JoinToken {
        id: "00ff".into(),
        secret: vec![1; 32],
        ..Default::default()
    };
    let pod = KubernetesToken {
        token: "a.b.c".into(),
        ..Default::default()
    };
    let certificate = Evidence::ClientCertificate(ClientCertificate {});
    let reply = EnrolReply {
        spiffe_id: "spiffe://prod.example/x".into(),
        chain: vec![vec![0x30, 5]],
        bundle: Some(bundle()),
        ..Default::default()
    };
    vec![
        one("GetBundleRequest", &GetBundleRequest {}),
        one("Bundle", &bundle()),
        one(
            "EnrolRequest join_token",
            &enrol(Evidence::JoinToken(token)),
        ),
        one("EnrolRequest kubernetes", &enrol(Evidence::Kubernetes(pod))),
        one("EnrolRequest client_certificate", &enrol(certificate)),
        one("EnrolReply", &reply),
    ]
}

fn issuing() -> Vec<Sent> {
    use issue_reply::result::Result as Outcome;
    use issue_request::request::Subject;
    let wanted = |subject| issue_request::Request {
        subject: Some(subject),
        csr: vec![0x30, 4],
        lifetime: 3600,
        ..Default::default()
    };
    let node = NodeSubject {
        name: "rabbit@host-a".into(),
        namespace: "shop".into(),
        workload: "till".into(),
        ..Default::default()
    };
    let issued = Issued {
        spiffe_id: "spiffe://prod.example/x".into(),
        chain: vec![vec![0x30, 5], vec![0x30, 6]],
        ..Default::default()
    };
    let refused = Refused {
        reason: "not_registered".into(),
        message: "no".into(),
        may_retry: true,
        ..Default::default()
    };
    let result = |result| issue_reply::Result {
        result: Some(result),
    };
    let requests = vec![
        wanted(Subject::Node(node)),
        wanted(Subject::Own(OwnSubject {})),
    ];
    let results = vec![
        result(Outcome::Issued(issued)),
        result(Outcome::Refused(refused)),
    ];
    vec![
        one("IssueRequest", &IssueRequest { requests }),
        one("IssueReply", &IssueReply { results }),
    ]
}

fn watching() -> Vec<Sent> {
    use watch_reply::Message as Reply;
    use watch_request::Message as Request;
    let said = |name, message| {
        let message = Some(message);
        one(name, &WatchRequest { message })
    };
    let heard = |name, message| {
        let message = Some(message);
        one(name, &WatchReply { message })
    };
    let policy = PolicyVersion {
        epoch: 3,
        n: 4,
        not_after: 5,
        ..Default::default()
    };
    let start = WatchStart {
        deny_seq: 9,
        deny_hash: vec![2; 32],
        epoch: 3,
        bundle_version: 7,
        program_version: "0.1.0".into(),
        policy: Some(policy),
        ..Default::default()
    };
    let ack = WatchAck {
        epoch: 3,
        deny_seq: 9,
        bundle_version: 7,
        policy: Some(policy),
        ..Default::default()
    };
    let observed = Observed {
        leaves: vec![vec![0x30, 7]],
        ..Default::default()
    };
    let shown = Observed {
        leaves: vec![vec![0x30, 7]],
        shown: vec![Shown {
            session_sha256: vec![3; 32],
            address: vec![10, 0, 0, 1],
            seconds_ago: 2,
        }],
    };
    let mine = WhoseAnswer {
        session_sha256: vec![3; 32],
        spki_sha256: vec![4; 32],
        answer: whose_answer::Answer::NotMine.into(),
    };
    let whose = Whose {
        session_sha256: vec![3; 32],
        spki_sha256: vec![4; 32],
        seconds_ago: 2,
    };
    let suspected = Suspected {
        suspicions: vec![Suspicion {
            leaf: vec![0x30, 7],
            kind: suspicion::Kind::NameSpoofed.into(),
            count: 5,
            detail: "c@host-c".into(),
        }],
    };
    let head = SignedHead {
        head: vec![3],
        signature: vec![4],
        chain: vec![vec![0x30, 8]],
        ..Default::default()
    };
    let snapshot = DenySnapshot {
        entries: vec![vec![5]],
        seq: 9,
        hash: vec![6; 32],
        more: true,
        ..Default::default()
    };
    let delta = DenyDelta {
        entries: vec![vec![5], vec![6]],
        ..Default::default()
    };
    let renew = RenewNow {
        issuer_spki_sha256: vec![7; 32],
        within: 60,
        ..Default::default()
    };
    let settings = Settings {
        class: settings::Class::Strict.into(),
        ..Default::default()
    };
    let rollout = RolloutReport {
        epoch: 3,
        n: 5,
        stage: 1,
        permitted: 100,
        differences: vec![rollout_report::Difference {
            principal: "spiffe://d/a".into(),
            target: "spiffe://d/b".into(),
            action: "call".into(),
            resource: "m:f/1".into(),
            active: rollout_report::Verdict::Permit.into(),
            candidate: rollout_report::Verdict::Deny.into(),
            forbidden: true,
            count: 7,
        }],
        unlisted: 2,
    };
    let candidate = CandidateSet {
        signed: vec![9],
        stage: 1,
        n: 5,
    };
    vec![
        said("WatchRequest start", Request::Start(start)),
        said("WatchRequest ack", Request::Ack(ack)),
        said("WatchRequest observed", Request::Observed(observed)),
        said("WatchRequest observed, shown", Request::Observed(shown)),
        said("WatchRequest whose", Request::Whose(mine)),
        said("WatchRequest suspected", Request::Suspected(suspected)),
        said("WatchRequest rollout", Request::Rollout(rollout)),
        heard("WatchReply head", Reply::Head(head)),
        heard("WatchReply deny_snapshot", Reply::DenySnapshot(snapshot)),
        heard("WatchReply deny_delta", Reply::DenyDelta(delta)),
        heard("WatchReply bundle", Reply::Bundle(bundle())),
        heard("WatchReply renew_now", Reply::RenewNow(renew)),
        heard("WatchReply settings", Reply::Settings(settings)),
        heard(
            "WatchReply recovery",
            Reply::Recovery(Recovery { signed: vec![8] }),
        ),
        heard(
            "WatchReply policy",
            Reply::Policy(PolicySet { signed: vec![9] }),
        ),
        heard(
            "WatchReply foreign",
            Reply::Foreign(ForeignBundles { state: vec![10] }),
        ),
        heard("WatchReply whose", Reply::Whose(whose)),
        heard("WatchReply candidate", Reply::Candidate(candidate)),
    ]
}

/// What goes into the log, and what is proved of it.
fn logging() -> Vec<Sent> {
    let tell = TellRequest {
        spool: vec![7; 16],
        first: 3,
        events: vec![b"{}".to_vec()],
        gap: true,
        ..Default::default()
    };
    let consistency = LogConsistencyRequest {
        epoch: 2,
        old_size: 5,
        new_size: 9,
        ..Default::default()
    };
    let hashes = vec![vec![4; 32], vec![5; 32]];
    vec![
        one("TellRequest", &tell),
        one("TellReply", &TellReply { taken: 3 }),
        one("LogConsistencyRequest", &consistency),
        one("LogConsistencyReply", &LogConsistencyReply { hashes }),
    ]
}

/// Every message that is sent as such, with every field set: one for each branch.
fn messages() -> Vec<Sent> {
    [enrolment(), issuing(), watching(), logging()].concat()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = (0..text.len()).step_by(2).map(|at| &text[at..at + 2]);
    digits
        .map(|two| u8::from_str_radix(two, 16).unwrap())
        .collect()
}

fn fixtures() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures"))
}

/// A fixture: what each message was called, what it said, and its bytes.
fn kept(path: &Path) -> BTreeMap<String, (String, Vec<u8>)> {
    let text = std::fs::read_to_string(path).unwrap();
    let line = |line: &str| {
        let parts: Vec<&str> = line.splitn(3, '\t').collect();
        (parts[0].to_owned(), (parts[2].to_owned(), unhex(parts[1])))
    };
    text.lines().map(line).collect()
}

/// Fails where a message of today is not the bytes that it was when this release was begun.
#[test]
fn what_this_release_writes_is_its_fixture() {
    let path = fixtures().join(format!("skans.v1-{RELEASE}.txt"));
    if !path.exists() && std::env::var_os("SKANS_UPDATE_SNAPSHOTS").is_some() {
        let line = |(name, bytes, read): Sent| {
            let meant = read(&bytes).unwrap().0;
            format!("{name}\t{}\t{meant}\n", hex(&bytes))
        };
        let text: String = messages().into_iter().map(line).collect();
        std::fs::write(&path, text).unwrap();
    }
    let kept = kept(&path);
    for (name, bytes, _) in messages() {
        let (_, wanted) = kept
            .get(name)
            .unwrap_or_else(|| panic!("{name} is not in {}", path.display()));
        assert_eq!(hex(&bytes), hex(wanted), "{name}");
    }
    assert_eq!(kept.len(), messages().len(), "{}", path.display());
}

/// Fields may come; whatever was said before is understood as it was meant.
#[test]
fn what_every_release_wrote_is_read() {
    let own = fixtures().join(format!("skans.v1-{RELEASE}.txt"));
    let readers = messages().into_iter().map(|(name, _, read)| (name, read));
    let readers: BTreeMap<&str, Read> = readers.collect();
    for entry in std::fs::read_dir(fixtures()).unwrap() {
        let path = entry.unwrap().path();
        for (name, (meant, bytes)) in kept(&path) {
            let read = readers
                .get(name.as_str())
                .unwrap_or_else(|| panic!("{name}: nobody reads it any more"));
            let (said, again) = read(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(hex(&again), hex(&bytes), "{name}: not all of it was read");
            // New fields stand beside what was said.
            for part in meant.split(", ") {
                let part = part.trim_end_matches([' ', '}', ')']);
                assert!(said.contains(part), "{name}: {part:?} became {said}");
            }
        }
    }
    assert!(own.exists(), "{}", own.display());
}

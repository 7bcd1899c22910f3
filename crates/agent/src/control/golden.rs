//! State directories of each release, as an agent left them then, read by this one. `fixtures/state-X` never changes: a
//! new release gets a new directory. The key in it has never been good for anything.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use skans_identity::authority::{Authority, Lifetimes};
use skans_identity::deny::{Chain, Entry, Order, Target};
use skans_identity::head::{Head, Horizon, SignedHead};
use skans_identity::id::{NodeId, SpiffeId};
use skans_identity::signer::SoftwareKey;

use super::*;

/// When the fixtures were written. Whatever they hold ended an hour later; who reads them says what time it is.
const THEN: u64 = 1_795_215_600;
const NODE: &str = "a@host";

fn then() -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(THEN))
}

fn domain() -> TrustDomain {
    TrustDomain::parse("test.example").unwrap()
}

fn fixtures() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures"))
}

/// Writes what an agent keeps, as this release does it.
fn write(directory: &Path) {
    let state = State::open(directory).unwrap();
    let (host, hour) = (Host::parse("host").unwrap(), Duration::from_secs(3600));
    let authority = Authority::generate(&domain(), "main", then(), Lifetimes::default()).unwrap();
    let agent = SpiffeId::agent(&domain(), "host-1").unwrap();
    let node = NodeId::new(&domain(), "main", "default", "w", "a").unwrap();
    for (item, id) in [(Item::Agent, &agent), (Item::Node(NODE), node.id())] {
        let issued = authority.issue(id, &host, hour, then()).unwrap();
        let text = issued.chain_pem() + &issued.key_pem();
        state.write(item, text.as_bytes()).unwrap();
    }
    let enrolment = Enrolment {
        addresses: vec!["control.example:8443".to_owned()],
        token: "00112233445566778899aabbccddeeff".to_owned(),
        class: crate::standing::Class::Strict,
    };
    write_json(&state, Item::Enrolment, &enrolment).unwrap();
    let bundle = KeptBundle {
        epoch: 2,
        version: 3,
        pem: authority.bundle().unwrap().to_pem(),
    };
    write_json(&state, Item::Bundle, &bundle).unwrap();
    let key = SoftwareKey::generate().unwrap();
    let pending = [b"with\n".as_slice(), key.pkcs8()].concat();
    state.write(Item::Pending, &pending).unwrap();
    let order = Order {
        target: Target::Id(agent.clone()),
        time: THEN,
        until: 0,
        reason: "lost".to_owned(),
    };
    let mut chain = Chain::default();
    let entry = Entry::after(chain.seq(), *chain.hash(), order).unwrap();
    chain.apply(entry).unwrap();
    state.write(Item::Denials, &chain.to_bytes()).unwrap();
    let head = Head {
        epoch: 2,
        deny_seq: chain.seq(),
        deny_hash: *chain.hash(),
        bundle: 3,
        policy: 0,
        time: THEN,
        trust_domain: domain(),
        cluster: "main".to_owned(),
        checkpoint: String::new(),
    };
    let control = SpiffeId::control(&domain(), "one").unwrap();
    let signer = authority.issue(&control, &host, hour, then()).unwrap();
    let signed = SignedHead::sign(&head, &signer).unwrap();
    state.write(Item::Head, &signed.encode()).unwrap();
    let horizon = [
        b"SKZ1".as_slice(),
        &2u64.to_be_bytes(),
        &1u64.to_be_bytes(),
        &[1],
        chain.hash(),
    ]
    .concat();
    let horizon = Horizon::from_bytes(&horizon).unwrap();
    state.write(Item::Horizon, &horizon.to_bytes()).unwrap();
}

/// As the agent finds it: 0600 in 0700, whatever a checkout made of it.
fn copied(from: &Path) -> (tempfile::TempDir, State) {
    let place = tempfile::tempdir().unwrap();
    let to = place.path().join("agent");
    drop(State::open(&to).unwrap());
    for part in ["", "nodes"] {
        for entry in std::fs::read_dir(from.join(part)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                let copy = to.join(part).join(entry.file_name());
                std::fs::copy(entry.path(), &copy).unwrap();
                std::fs::set_permissions(&copy, PermissionsExt::from_mode(0o600)).unwrap();
            }
        }
    }
    let state = State::open(&to).unwrap();
    (place, state)
}

#[test]
fn what_an_agent_of_each_release_kept_is_read() {
    let own = fixtures().join(concat!("state-", env!("CARGO_PKG_VERSION")));
    if !own.exists() && std::env::var_os("SKANS_UPDATE_SNAPSHOTS").is_some() {
        write(&own);
        std::fs::remove_file(own.join("lock")).unwrap();
    }
    assert!(
        own.exists(),
        "SKANS_UPDATE_SNAPSHOTS=1 makes {}",
        own.display()
    );
    for entry in std::fs::read_dir(fixtures()).unwrap() {
        let path = entry.unwrap().path();
        let (_place, state) = copied(&path);
        let shown = path.display();
        let bytes = |item| {
            state
                .read(item)
                .unwrap()
                .unwrap_or_else(|| panic!("{item:?} in {shown}"))
        };
        let enrolment: Enrolment = read_json(&state, Item::Enrolment).unwrap().unwrap();
        assert_eq!(enrolment.addresses, ["control.example:8443"], "{shown}");
        assert_eq!(
            enrolment.token, "00112233445566778899aabbccddeeff",
            "{shown}"
        );
        assert_eq!(enrolment.class, crate::standing::Class::Strict, "{shown}");
        let kept: KeptBundle = read_json(&state, Item::Bundle).unwrap().unwrap();
        assert_eq!(kept.version, 3, "{shown}");
        // It was not kept at first.
        let epoch = if path.ends_with("state-5dc2270") {
            1
        } else {
            2
        };
        assert_eq!(kept.epoch, epoch, "{shown}");
        let bundle = Bundle::from_pem(domain(), kept.pem.as_bytes()).unwrap();
        let verifier = skans_identity::verify::Verifier::new(
            skans_identity::trust::SharedTrust::new(skans_identity::trust::Trust {
                bundles: skans_identity::bundle::Bundles::from(bundle),
                ..Default::default()
            }),
        );
        for (item, id) in [
            (Item::Agent, "spiffe://test.example/skans/agent/host-1"),
            (
                Item::Node(NODE),
                "spiffe://test.example/cluster/main/ns/default/sa/w/node/a",
            ),
        ] {
            let text = bytes(item);
            let own = Credential::from_pem(&text, &text, then()).unwrap();
            assert_eq!(own.identity().id.as_str(), id, "{shown}");
            let usage = skans_identity::verify::Usage::Client;
            assert!(
                verifier.verify(own.chain(), usage, then()).is_ok(),
                "{id} in {shown}"
            );
        }
        let pending = bytes(Item::Pending);
        SoftwareKey::from_pkcs8(pending.strip_prefix(b"with\n").unwrap()).unwrap();
        let chain = Chain::from_bytes(&bytes(Item::Denials)).unwrap();
        assert_eq!((chain.seq(), chain.denied().len()), (1, 1), "{shown}");
        let signed = SignedHead::decode(&bytes(Item::Head)).unwrap();
        assert_eq!(signed.encode(), **bytes(Item::Head), "{shown}");
        let horizon = Horizon::from_bytes(&bytes(Item::Horizon)).unwrap();
        let mark = horizon.mark().unwrap();
        assert_eq!((mark.epoch, mark.deny_seq), (2, 1), "{shown}");
        // And written by this release it is what that one can read: the same bytes.
        assert_eq!(chain.to_bytes(), **bytes(Item::Denials), "{shown}");
        assert_eq!(horizon.to_bytes(), **bytes(Item::Horizon), "{shown}");
        write_json(&state, Item::Enrolment, &enrolment).unwrap();
        let again = std::fs::read_to_string(path.join("enrolment.json")).unwrap();
        assert_eq!(
            String::from_utf8_lossy(&bytes(Item::Enrolment)),
            again,
            "{shown}"
        );
    }
}

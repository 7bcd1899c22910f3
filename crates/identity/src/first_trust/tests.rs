use super::*;
use crate::authority::{Issuer, Root};
use crate::control_tls::{HTTP2, Served, client_config, server_config};
use crate::credential::Credential;
use crate::csr::ProvenKey;
use crate::forge::{Forge, Spec};
use crate::id::SpiffeId;
use crate::signer::{Signer, SoftwareKey};
use crate::template::{self, Serial, Validity};
use crate::testing::{HOUR, NOW, host, lab, later, node, verifier};
use crate::tls::tests::Pair;

struct World {
    root: Root,
    issuer: Issuer,
}

fn world() -> World {
    let root = Root::new(&lab(), SoftwareKey::generate().unwrap(), NOW, HOUR * 240).unwrap();
    let issuer = issuer(&root, "main");
    World { root, issuer }
}

fn issuer(root: &Root, cluster: &str) -> Issuer {
    let key = SoftwareKey::generate().unwrap();
    let signed = root.sign_issuer(cluster, &ProvenKey::of(&key), HOUR * 240, NOW);
    Issuer::load(signed.unwrap(), key).unwrap()
}

impl World {
    fn control(&self) -> Credential {
        let id = SpiffeId::control(&lab(), "c1").unwrap();
        self.issuer.issue(&id, Some(&host()), HOUR, NOW).unwrap()
    }

    /// What the control plane shows.
    fn chain(&self) -> Vec<CertificateDer<'static>> {
        with(&self.control(), &self.root)
    }

    fn trust(&self) -> Arc<FirstTrust> {
        FirstTrust::new(self.root.spki_sha256(), Some("main"))
    }
}

fn with(credential: &Credential, root: &Root) -> Vec<CertificateDer<'static>> {
    [
        credential.chain(),
        core::slice::from_ref(root.certificate()),
    ]
    .concat()
}

fn label(result: Result<Introduced, Refusal>) -> &'static str {
    result.unwrap_err().label()
}

#[test]
fn a_hash_is_enough_to_know_the_control_plane() {
    let world = world();
    let introduced = world.trust().judge(&world.chain(), NOW).unwrap();
    assert_eq!(
        introduced.control.peer.id.as_str(),
        "spiffe://lab.test/skans/control/c1"
    );
    // What is learned is the root, and verifies everybody else.
    let a = world
        .issuer
        .issue(node("a").id(), Some(&host()), HOUR, NOW)
        .unwrap();
    let verifier = verifier([introduced.bundle]);
    assert!(verifier.verify(a.chain(), Usage::Client, NOW).is_ok());
    let unknown = FirstTrust::new(world.root.spki_sha256(), None);
    assert!(
        unknown.judge(&world.chain(), NOW).is_ok(),
        "the cluster need not be known"
    );
}

#[test]
fn a_stranger_enrols_over_tls() {
    let world = world();
    let served = Served::new(&world.control(), world.root.certificate()).unwrap();
    let bundle = Bundle::new(lab(), core::slice::from_ref(world.root.certificate())).unwrap();
    let server = server_config(served, verifier([bundle])).unwrap();
    let trust = world.trust();
    let client = client_config(trust.clone(), None, HTTP2).unwrap();
    let mut pair = Pair::of(&client, &server, "b@host-a", NOW);
    let outcome = pair.run();
    assert_eq!((outcome.client, outcome.server), (Ok(()), Ok(())));
    assert!(trust.introduced(&pair.client, NOW).is_ok());
    // With the hash of another root nothing is said at all.
    let other = FirstTrust::new([7; 32], Some("main"));
    let client = client_config(other, None, HTTP2).unwrap();
    let error = Pair::of(&client, &server, "b@host-a", NOW)
        .run()
        .client
        .unwrap_err();
    assert_eq!(Refusal::of(&error).unwrap().label(), "root");
}

#[test]
fn only_the_root_that_is_named_will_do() {
    let (ours, theirs) = (world(), world());
    assert_eq!(label(ours.trust().judge(&theirs.chain(), NOW)), "root");
    // Our root beside a chain that it has nothing to do with.
    let spliced = with(&theirs.control(), &ours.root);
    assert_eq!(label(ours.trust().judge(&spliced, NOW)), "untrusted");
    // Without the root there is only a hash of nothing that is there.
    assert_eq!(
        label(ours.trust().judge(ours.control().chain(), NOW)),
        "root"
    );
    assert_eq!(label(ours.trust().judge(&[], NOW)), "no_certificate");
    let root = [ours.root.certificate().clone()];
    assert!(ours.trust().judge(&root, NOW).is_err());
    // The hash of the issuing key or of the leaf's names no root.
    for key in [
        ours.issuer.spki_sha256(),
        ours.control().identity().spki_sha256,
    ] {
        assert_eq!(
            label(FirstTrust::new(key, None).judge(&ours.chain(), NOW)),
            "root"
        );
    }
}

#[test]
fn only_a_control_plane_is_believed() {
    let world = world();
    for id in [
        node("a").id().clone(),
        SpiffeId::agent(&lab(), "host-a").unwrap(),
        SpiffeId::gateway(&lab(), "g").unwrap(),
    ] {
        let other = world.issuer.issue(&id, Some(&host()), HOUR, NOW).unwrap();
        let chain = with(&other, &world.root);
        assert_eq!(
            label(world.trust().judge(&chain, NOW)),
            "not_control",
            "{id}"
        );
    }
}

#[test]
fn under_a_shared_root_it_is_the_control_plane_of_our_cluster() {
    let world = world();
    let other = issuer(&world.root, "other");
    let id = SpiffeId::control(&lab(), "c1").unwrap();
    let control = other.issue(&id, None, HOUR, NOW).unwrap();
    let chain = with(&control, &world.root);
    assert_eq!(label(world.trust().judge(&chain, NOW)), "other_cluster");
}

/// Shows one key, signs with another.
struct Impostor {
    shown: [u8; 65],
    own: SoftwareKey,
}

impl Signer for Impostor {
    fn public_key(&self) -> &[u8; 65] {
        &self.shown
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, crate::error::Error> {
        self.own.sign(message)
    }
}

#[test]
fn a_right_key_in_a_certificate_of_ones_own_is_no_root() {
    // Anybody can put the root's public key into a CA certificate that he signs himself: right hash, right name, and
    // times and limits as he likes. The chain below it is the real one.
    let world = world();
    let impostor = Impostor {
        shown: *world.root.key().public_key(),
        own: SoftwareKey::generate().unwrap(),
    };
    let validity = Validity {
        not_before: 0,
        not_after: 4_000_000_000,
    };
    let root = |key: &dyn Signer| {
        template::root(&lab(), &key, validity, &Serial::random().unwrap()).unwrap()
    };
    let chain = |root| [world.control().chain(), &[root]].concat();
    let good = chain(root(world.root.key()));
    assert!(
        world.trust().judge(&good, NOW).is_ok(),
        "the control: the root itself may renew its certificate"
    );
    assert_eq!(
        label(world.trust().judge(&chain(root(&impostor)), NOW)),
        "root"
    );
    // Nor is it a cross-certificate, by which another CA vouches for the root's key.
    let forge = Forge::new(&lab(), NOW).unwrap();
    let mut spec = Spec::good("spiffe://lab.test", "h", NOW);
    (spec.ca, spec.dns) = (true, vec![]);
    spec.key_usages = vec![crate::forge::KeyUsagePurpose::KeyCertSign];
    spec.extended_key_usages = vec![];
    let cross = forge
        .certificate_for(&spec, &ProvenKey::of(world.root.key()))
        .unwrap();
    assert_eq!(label(world.trust().judge(&chain(cross), NOW)), "root");
}

#[test]
fn a_control_plane_must_be_fit_to_answer() {
    let world = world();
    let key = SoftwareKey::from_pkcs8(world.issuer.key().pkcs8()).unwrap();
    let issuer = core::slice::from_ref(world.issuer.certificate());
    let forge = Forge::with_key(lab(), issuer, &key.to_der()).unwrap();
    let judge = |usages| {
        let mut spec = Spec::good("spiffe://lab.test/skans/control/c1", "h", NOW);
        spec.extended_key_usages = usages;
        let mut chain = forge.leaf(&spec).unwrap().chain;
        chain.push(world.root.certificate().clone());
        world.trust().judge(&chain, NOW)
    };
    use crate::forge::ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
    assert!(judge(vec![ClientAuth, ServerAuth]).is_ok());
    assert_eq!(label(judge(vec![ClientAuth])), "extended_key_usage");
}

#[test]
fn a_root_speaks_for_its_own_trust_domain() {
    // The right root, with an issuing certificate below it that makes control planes of another domain.
    let world = world();
    let key = SoftwareKey::from_pkcs8(world.root.key().pkcs8()).unwrap();
    let forge = Forge::with_key(
        lab(),
        core::slice::from_ref(world.root.certificate()),
        &key.to_der(),
    )
    .unwrap();
    let spec = Spec::good("spiffe://other.test/skans/control/c1", "h", NOW);
    let chain = forge.leaf(&spec).unwrap().chain;
    let trust = FirstTrust::new(world.root.spki_sha256(), None);
    assert_eq!(label(trust.judge(&chain, NOW)), "root");
}

#[test]
fn time_and_size_are_checked() {
    let world = world();
    let judge = |chain: &[CertificateDer<'static>], now| label(world.trust().judge(chain, now));
    assert_eq!(judge(&world.chain(), later(3601)), "expired");
    let long = [world.chain(), world.chain()].concat();
    assert_eq!(judge(&long, NOW), "chain_too_long");
    let mut garbage = world.chain();
    garbage[1] = CertificateDer::from(vec![0x30; 20_000]);
    assert_eq!(judge(&garbage, NOW), "too_large");
    garbage[1] = CertificateDer::from(vec![0x30; 20]);
    assert_eq!(judge(&garbage, NOW), "encoding");
}

#[test]
fn an_expired_root_introduces_nobody() {
    let forge = Forge::with_validity(&lab(), NOW.as_secs() - 60, NOW.as_secs() + 60).unwrap();
    let spec = Spec::good("spiffe://lab.test/skans/control/c1", "h", NOW);
    let mut chain = forge.leaf(&spec).unwrap().chain;
    chain.push(forge.certificate().clone());
    let key = sha256(leaf::parse(forge.certificate()).unwrap().public_key().raw);
    let trust = FirstTrust::new(key, None);
    // A leaf right below the root is of no cluster, so not even a valid one would do.
    assert_eq!(label(trust.judge(&chain, NOW)), "other_cluster");
    assert_eq!(label(trust.judge(&chain, later(61))), "no_valid_root");
}

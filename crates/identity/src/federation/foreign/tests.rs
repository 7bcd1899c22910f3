use serde_json::json;

use super::*;
use crate::federation::link::tests::{ENDPOINT, NODE, evidence, link, links, with};
use crate::forge::Forge;
use crate::testing::{NOW, authority, lab, later};

pub(in crate::federation) fn theirs() -> TrustDomain {
    "theirs.test".parse().unwrap()
}

pub(super) fn root(of: &TrustDomain) -> Forge {
    Forge::new(of, NOW).unwrap()
}

pub(in crate::federation) fn document(roots: &[&Forge], sequence: u64) -> String {
    let certificates: Vec<_> = roots
        .iter()
        .map(|root| root.certificate().clone())
        .collect();
    let document = Document {
        bundle: Bundle::new(theirs(), &certificates).unwrap(),
        sequence: Some(sequence),
        refresh_hint: Some(120),
    };
    document.to_json().unwrap()
}

/// Our link to them, by their own endpoint, with these roots brought.
pub(in crate::federation) fn by_spiffe(roots: &Forge) -> Links {
    links(&[with(|link| {
        link["bundle"]["profile"] = json!("https_spiffe");
        link["bundle"]["endpointId"] = json!(ENDPOINT);
        link["bundle"]["roots"] = json!(roots.bundle().unwrap().to_pem());
    })])
    .unwrap()
}

/// What an endpoint proves whose chain ends in this root.
pub(super) fn proof(id: &str, root: &Forge) -> Evidence {
    Evidence {
        signers: vec![*root.bundle().unwrap().keys().next().unwrap()],
        ..evidence(id, Some("main"))
    }
}

fn own() -> Bundle {
    authority().bundle().unwrap()
}

/// One that follows links over the web, and takes what it is given.
struct Web {
    foreign: Foreign,
    links: Links,
    own: Bundle,
}

impl Web {
    fn new() -> Self {
        Self {
            foreign: Foreign::default(),
            links: links(&[link()]).unwrap(),
            own: own(),
        }
    }

    fn take(&mut self, text: &str, now: UnixTime) -> Result<Step, Refusal> {
        self.foreign
            .accept(&theirs(), text, Channel::Web, &self.links, &self.own, now)
    }

    fn restart(&mut self) {
        let bytes = self.foreign.to_bytes();
        self.foreign = Foreign::from_bytes(&bytes).unwrap();
        assert_eq!(self.foreign.to_bytes(), bytes);
    }

    fn held(&self, now: UnixTime) -> Vec<[u8; 32]> {
        let bundles = self.foreign.in_force(&self.links, now);
        bundles.flat_map(Bundle::keys).copied().collect()
    }
}

fn keys(roots: &[&Forge]) -> Vec<[u8; 32]> {
    let key = |root: &&Forge| *root.bundle().unwrap().keys().next().unwrap();
    roots.iter().map(key).collect()
}

#[test]
fn a_newer_bundle_takes_the_place_and_an_older_one_never_does_also_after_a_restart() {
    let [a, b, c] = [(); 3].map(|()| root(&theirs()));
    let mut web = Web::new();
    assert_eq!(web.take(&document(&[&a], 5), NOW), Ok(Step::Forward));
    assert_eq!(web.take(&document(&[&a], 5), NOW), Ok(Step::Same));
    assert_eq!(web.take(&document(&[&a, &b], 6), NOW), Ok(Step::Forward));
    for restarted in [false, true] {
        if restarted {
            web.restart();
        }
        let older = web.take(&document(&[&a], 5), NOW).unwrap_err();
        assert_eq!(older.label(), "foreign_rolled_back");
        let forked = web.take(&document(&[&a, &c], 6), NOW).unwrap_err();
        assert_eq!(forked.label(), "foreign_forked");
        // The same, in another order: the same.
        assert_eq!(web.take(&document(&[&b, &a], 6), NOW), Ok(Step::Same));
        assert_eq!(web.foreign.sequence(&theirs()), Some(6));
        assert_eq!(web.held(NOW).len(), 2);
    }
    assert_eq!(web.take(&document(&[&c], 9), NOW), Ok(Step::Forward));
    assert_eq!(web.held(NOW), keys(&[&c]));
    // Without a link it is not in force, and what was seen is not forgotten.
    let with_link = std::mem::take(&mut web.links);
    assert!(web.held(NOW).is_empty());
    assert_eq!(
        web.take(&document(&[&c], 10), NOW).unwrap_err().label(),
        "foreign_bundle"
    );
    web.links = with_link;
    assert_eq!(
        web.take(&document(&[&a], 5), NOW).unwrap_err().label(),
        "foreign_rolled_back"
    );
    // Their control plane was set back, and people here know it.
    web.foreign.forget(&theirs());
    assert_eq!(web.take(&document(&[&a], 1), NOW), Ok(Step::Forward));
}

#[test]
fn a_bundle_that_cannot_tell_its_age_or_proves_nothing_now_is_refused() {
    let mut web = Web::new();
    let a = root(&theirs());
    let ageless = document(&[&a], 1).replace("\"spiffe_sequence\":1,", "");
    let why = web.take(&ageless, NOW).unwrap_err();
    assert!(why.to_string().contains("spiffe_sequence"), "{why}");
    let past = Forge::with_validity(&theirs(), NOW.as_secs() - 200, NOW.as_secs() - 100).unwrap();
    let why = web.take(&document(&[&past], 1), NOW).unwrap_err();
    assert!(why.to_string().contains("valid now"), "{why}");
    assert!(web.take("{\"keys\": []}", NOW).is_err());
    assert!(web.held(NOW).is_empty());
    assert_eq!(web.foreign.sequence(&theirs()), None);
}

#[test]
fn what_could_not_be_fetched_for_too_long_counts_for_nothing_until_it_is() {
    let a = root(&theirs());
    let mut web = Web::new();
    let standing = |web: &Web, now| web.foreign.standing(&theirs(), &web.links, now);
    assert_eq!(standing(&web, NOW), Standing::Due);
    web.take(&document(&[&a], 1), NOW).unwrap();
    let day = 24 * 3600;
    for (age, wanted) in [
        (0, Standing::Fresh),
        (119, Standing::Fresh),
        (120, Standing::Due),
        (day, Standing::Due),
        (day + 1, Standing::Stale),
    ] {
        assert_eq!(standing(&web, later(age)), wanted, "{age}");
        assert_eq!(web.held(later(age)).is_empty(), wanted == Standing::Stale);
    }
    // A restart makes nothing young, nor does a clock that is set back.
    web.restart();
    assert_eq!(standing(&web, later(day + 1)), Standing::Stale);
    let back = crate::testing::at(NOW.as_secs() - day - 1);
    assert_eq!(standing(&web, back), Standing::Stale);
    // The same bundle, told again, is fresh; one that is refused makes nothing fresh.
    assert!(web.take(&document(&[&a], 0), later(day + 1)).is_err());
    assert_eq!(standing(&web, later(day + 1)), Standing::Stale);
    let forged = Forge::with_validity(&theirs(), NOW.as_secs(), NOW.as_secs() + 9 * day).unwrap();
    assert!(web.take(&document(&[&forged], 1), later(day + 1)).is_err());
    let mut web = Web::new();
    web.take(&document(&[&forged], 1), NOW).unwrap();
    assert_eq!(
        web.take(&document(&[&forged], 1), later(day + 1)),
        Ok(Step::Same)
    );
    assert_eq!(standing(&web, later(day + 1)), Standing::Fresh);
}

#[test]
fn a_publishers_wish_is_followed_within_bounds() {
    for (hint, wanted) in [
        (None, 300),
        (Some(0), 60),
        (Some(600), 600),
        (Some(u64::MAX), 3600),
    ] {
        let mut web = Web::new();
        let document = Document {
            bundle: root(&theirs()).bundle().unwrap(),
            sequence: Some(1),
            refresh_hint: hint,
        };
        web.take(&document.to_json().unwrap(), NOW).unwrap();
        let standing = |now| web.foreign.standing(&theirs(), &web.links, now);
        assert_eq!(standing(later(wanted - 1)), Standing::Fresh, "{hint:?}");
        assert_eq!(standing(later(wanted)), Standing::Due, "{hint:?}");
    }
}

#[test]
fn only_the_endpoint_that_the_link_names_hands_over_a_bundle() {
    let [a, b, stranger] = [(); 3].map(|()| root(&theirs()));
    let (links, own) = (by_spiffe(&a), own());
    let mut foreign = Foreign::default();
    let forged = document(&[&stranger], 9);
    // Before the roots are here there is nobody to believe.
    let endpoint = proof(ENDPOINT, &a);
    let early = foreign.accept(
        &theirs(),
        &forged,
        Channel::Spiffe(&endpoint),
        &links,
        &own,
        NOW,
    );
    assert!(early.is_err());
    assert_eq!(foreign.follow(&links, &own, NOW), Ok(true));
    assert_eq!(foreign.follow(&links, &own, NOW), Ok(false));
    let outlived = Evidence {
        not_after: NOW.as_secs() - 1,
        ..proof(ENDPOINT, &a)
    };
    let unsigned = Evidence {
        signers: vec![],
        ..proof(ENDPOINT, &a)
    };
    for by in [
        proof(NODE, &a),
        proof("spiffe://theirs.test/skans/control/c2", &a),
        proof("spiffe://other.test/skans/control/c1", &a),
        proof("spiffe://lab.test/skans/control/c1", &a),
        proof(ENDPOINT, &stranger),
        outlived,
        unsigned,
    ] {
        let taken = foreign.accept(&theirs(), &forged, Channel::Spiffe(&by), &links, &own, NOW);
        assert_eq!(
            taken.unwrap_err().label(),
            "foreign_bundle",
            "{}",
            by.peer.id
        );
    }
    let web = foreign.accept(&theirs(), &forged, Channel::Web, &links, &own, NOW);
    assert!(web.unwrap_err().to_string().contains("https_spiffe"));
    assert_eq!(foreign.to_fetch_with(&theirs()).unwrap().len(), 1);
    // It rotates its root: announced by the old one, and from then on proven by the new one.
    let mut take = |roots: &[&Forge], sequence, by: &Forge| {
        let (text, by) = (document(roots, sequence), proof(ENDPOINT, by));
        foreign.accept(&theirs(), &text, Channel::Spiffe(&by), &links, &own, NOW)
    };
    assert_eq!(take(&[&a, &b], 2, &a), Ok(Step::Forward));
    assert_eq!(take(&[&b], 3, &b), Ok(Step::Forward));
    assert!(take(&[&a], 4, &a).is_err(), "the old root is out");
    // And over the web nobody is asked for an identity.
    let mut web = Web::new();
    let by = proof(ENDPOINT, &a);
    let text = document(&[&a], 1);
    let taken = web.foreign.accept(
        &theirs(),
        &text,
        Channel::Spiffe(&by),
        &web.links,
        &web.own,
        NOW,
    );
    assert!(taken.unwrap_err().to_string().contains("https_web"));
}

#[test]
fn roots_that_people_bring_again_stand_until_the_next_fetch() {
    let [a, b, c] = [(); 3].map(|()| root(&theirs()));
    let own = own();
    let mut foreign = Foreign::default();
    let links = by_spiffe(&a);
    foreign.follow(&links, &own, NOW).unwrap();
    assert_eq!(
        foreign.standing(&theirs(), &links, NOW),
        Standing::Due,
        "fetched at once"
    );
    let by = proof(ENDPOINT, &a);
    let fetched = document(&[&b], 7);
    foreign
        .accept(&theirs(), &fetched, Channel::Spiffe(&by), &links, &own, NOW)
        .unwrap();
    // The same link again, and a restart: what was fetched stays.
    foreign = Foreign::from_bytes(&foreign.to_bytes()).unwrap();
    assert_eq!(foreign.follow(&links, &own, NOW), Ok(false));
    assert!(
        foreign
            .to_fetch_with(&theirs())
            .unwrap()
            .keys()
            .eq(&keys(&[&b]))
    );
    // They lost all their roots: somebody brings the new one.
    let links = by_spiffe(&c);
    assert_eq!(foreign.follow(&links, &own, NOW), Ok(true));
    assert!(
        foreign
            .to_fetch_with(&theirs())
            .unwrap()
            .keys()
            .eq(&keys(&[&c]))
    );
    let by = proof(ENDPOINT, &c);
    let mut take = |sequence| {
        let text = document(&[&c], sequence);
        foreign.accept(&theirs(), &text, Channel::Spiffe(&by), &links, &own, NOW)
    };
    assert!(take(6).is_err(), "what was seen is remembered");
    assert_eq!(take(8), Ok(Step::Forward));
}

#[test]
fn no_key_vouches_for_two_domains() {
    let other_domain: TrustDomain = "other.test".parse().unwrap();
    let mut web = Web::new();
    web.links = links(&[
        link(),
        with(|link| {
            link["name"] = json!("other");
            link["trustDomain"] = json!("other.test");
            link["gateways"] = json!([]);
            link["forwards"] = json!([]);
            link["imports"] = json!([]);
        }),
    ])
    .unwrap();
    // A root need not say whose it is: then the key tells that the bundle is another's.
    let unnamed = unnamed_root();
    let bundle = Bundle::new(theirs(), &[unnamed]).unwrap();
    let text = Document {
        bundle: bundle.clone(),
        sequence: Some(1),
        refresh_hint: None,
    };
    let text = text.to_json().unwrap();
    web.take(&text, NOW).unwrap();
    let taken = web.foreign.accept(
        &other_domain,
        &text,
        Channel::Web,
        &web.links,
        &web.own,
        NOW,
    );
    assert!(taken.unwrap_err().to_string().contains("theirs.test"));
    // Nor ours for anybody.
    let mut web = Web::new();
    web.own = Bundle::new(lab(), &bundle.roots().cloned().collect::<Vec<_>>()).unwrap();
    let why = web.take(&text, NOW).unwrap_err().to_string();
    assert!(why.contains("lab.test"), "{why}");
}

fn unnamed_root() -> rustls_pki_types::CertificateDer<'static> {
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    params.self_signed(&key).unwrap().into()
}

#[test]
fn who_is_distrusted_comes_back_by_no_document_and_no_restart() {
    let a = root(&theirs());
    let (links, own) = (by_spiffe(&a), own());
    let mut foreign = Foreign::default();
    foreign.follow(&links, &own, NOW).unwrap();
    assert_eq!(foreign.in_force(&links, NOW).count(), 1);
    foreign.distrust(&theirs()).unwrap();
    for _ in 0..2 {
        assert_eq!(foreign.in_force(&links, NOW).count(), 0);
        assert_eq!(foreign.follow(&links, &own, NOW), Ok(false));
        let by = proof(ENDPOINT, &a);
        let text = document(&[&a], 1);
        let taken = foreign.accept(&theirs(), &text, Channel::Spiffe(&by), &links, &own, NOW);
        assert!(taken.unwrap_err().to_string().contains("distrusted"));
        assert_eq!(
            foreign.standing(&theirs(), &links, NOW),
            Standing::Distrusted
        );
        foreign = Foreign::from_bytes(&foreign.to_bytes()).unwrap();
    }
    foreign.forget(&theirs());
    assert_eq!(foreign.follow(&links, &own, NOW), Ok(true));
    assert_eq!(foreign.in_force(&links, NOW).count(), 1);
}

#[test]
fn what_is_remembered_is_bounded_and_read_strictly() {
    let mut foreign = Foreign::default();
    for n in 0..MAX_FOREIGN {
        let domain = format!("d{n}.test").parse().unwrap();
        foreign.distrust(&domain).unwrap();
    }
    assert!(foreign.distrust(&theirs()).is_err());
    let bytes = foreign.to_bytes();
    assert_eq!(Foreign::from_bytes(&bytes).unwrap().to_bytes(), bytes);
    let mut web = Web::new();
    web.take(&document(&[&root(&theirs())], 1), NOW).unwrap();
    let good = web.foreign.to_bytes();
    for end in 0..good.len() {
        assert!(Foreign::from_bytes(&good[..end]).is_err(), "cut at {end}");
    }
    let mut longer = good.clone();
    longer.push(0);
    assert!(Foreign::from_bytes(&longer).is_err());
    let flags = 4 + 2 + 2 + "theirs.test".len();
    let mut unknown = good.clone();
    unknown[flags] |= 8;
    assert!(Foreign::from_bytes(&unknown).is_err());
    let mut distrusted = good;
    distrusted[flags] |= 1;
    assert!(
        Foreign::from_bytes(&distrusted).is_err(),
        "distrusted, with roots"
    );
}

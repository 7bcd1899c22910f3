//! What another trust domain publishes, what a link with it says, and what is remembered of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skans_fuzz as _;
use skans_identity::bundle::document::Document;
use skans_identity::federation::endpoint::Url;
use skans_identity::federation::foreign::Foreign;
use skans_identity::federation::link::Links;
use skans_identity::federation::pattern::IdPattern;
use skans_identity::head::Audience;
use skans_identity::id::{SpiffeId, TrustDomain};

fuzz_target!(|bytes: &[u8]| {
    let Some((&what, rest)) = bytes.split_first() else {
        return;
    };
    let text = std::str::from_utf8(rest).unwrap_or_default();
    let Ok(domain) = TrustDomain::parse("fuzz.test") else {
        return;
    };
    match what % 5 {
        0 => {
            if let Ok(document) = Document::from_json(domain.clone(), text) {
                // What was compared with its certificate can be written, and says the same.
                let again = document.to_json().map(|text| Document::from_json(domain, &text));
                let Ok(Ok(again)) = again else {
                    panic!("a document that is read and cannot be written")
                };
                assert!(again.bundle.roots().eq(document.bundle.roots()));
                assert_eq!(again.sequence, document.sequence);
            }
        }
        1 => {
            let own = Audience {
                trust_domain: domain,
                cluster: "main".into(),
            };
            if let Ok(links) = Links::parse(&own, text) {
                for link in links.iter() {
                    assert_ne!(link.peer.trust_domain, own.trust_domain);
                    assert!(link.gateways.iter().all(|id| *id.trust_domain() == link.peer.trust_domain));
                }
            }
        }
        2 => {
            if let Ok(url) = Url::parse(text) {
                assert_eq!(Url::parse(&url.to_string()), Ok(url));
            }
        }
        3 => {
            let (pattern, id) = text.split_once(' ').unwrap_or((text, ""));
            if let (Ok(pattern), Ok(id)) = (IdPattern::parse(pattern, &domain, "main"), SpiffeId::parse(id))
                && pattern.matches(&id)
            {
                assert_eq!(*id.trust_domain(), domain);
                assert!(!id.path().starts_with("/skans/"));
            }
        }
        _ => {
            if let Ok(foreign) = Foreign::from_bytes(rest) {
                assert_eq!(foreign.to_bytes(), rest, "one state has one encoding");
            }
        }
    }
});

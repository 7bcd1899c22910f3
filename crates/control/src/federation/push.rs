//! Telling other trust domains that our bundle is another one, so that they fetch it now and not when they would have. It says no more
//! than that, and proves nothing: what they believe they fetch.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use http_body_util::Empty;
use hyper::Method;
use hyper::body::Bytes;
use skans_identity::bundle::Bundle;
use skans_identity::federation::link::{Links, Source};
use skans_identity::id::TrustDomain;

use super::fetch;
use crate::rest::federation::{PATH, sequence};
use crate::state::Control;

impl Control {
    /// Tells the next domain that has not been told, if this replica is the writer.
    pub(super) async fn push(&self) {
        let news = Arc::clone(&self.news.borrow());
        self.pushes.retain(&news.links);
        self.told.retain(&news.links);
        if self.writer().is_none() {
            return;
        }
        let ours = sequence(news.epoch, news.bundle.version);
        let now = crate::clock::now();
        let next = news.links.sources(now).find(|(domain, source)| {
            source.url.path() == PATH
                && !self.told.holds(domain, ours)
                && self.pushes.may(domain, Instant::now())
        });
        let Some((domain, source)) = next else {
            return;
        };
        let held = news.believed.foreign.to_fetch_with(domain).cloned();
        match say(&self.home.trust_domain, domain, source, held).await {
            Ok(()) => {
                self.pushes.succeeded(domain, Instant::now());
                self.told.note(domain, ours);
            }
            Err(problem) => {
                if self.pushes.failed(domain, &problem, Instant::now()) {
                    tracing::warn!(trust_domain = %domain, "cannot be told of our roots, and fetches them when it would have: {problem}");
                }
            }
        }
    }
}

async fn say(
    own: &TrustDomain,
    domain: &TrustDomain,
    source: &Source,
    held: Option<Bundle>,
) -> Result<(), String> {
    let path = format!("/v1/federation/{own}/changed");
    let request = hyper::Request::builder()
        .method(Method::POST)
        .uri(path)
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    fetch::ask(domain, source, held, request).await.map(drop)
}

/// Which sequence of ours each domain was told of.
#[derive(Debug, Default)]
pub(crate) struct Told(Mutex<BTreeMap<TrustDomain, u64>>);

impl Told {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<TrustDomain, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn holds(&self, domain: &TrustDomain, sequence: u64) -> bool {
        self.lock().get(domain) == Some(&sequence)
    }

    fn note(&self, domain: &TrustDomain, sequence: u64) {
        self.lock().insert(domain.clone(), sequence);
    }

    fn retain(&self, links: &Links) {
        self.lock().retain(|domain, _| links.is_with(domain));
    }
}

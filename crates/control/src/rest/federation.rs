//! Our own bundle as other trust domains fetch it (0019): a SPIFFE bundle endpoint. What is fetched from others is not said here.

use std::sync::Arc;

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use rustls::pki_types::CertificateDer;
use skans_identity::bundle::Bundle;
use skans_identity::bundle::document::Document;

use crate::error::Error;
use crate::gate::Permit;
use crate::own::REFRESH_HINT;
use crate::problem::Problem;

/// The roots of the trust domain as a SPIFFE bundle, for other trust domains
#[utoipa::path(get, path = "/v1/federation/bundle", responses((status = 200, content_type = "application/json", body = String), (status = "default", body = Problem)))]
pub(crate) async fn bundle(permit: Permit) -> Result<Response, Error> {
    let control = &permit.control;
    let news = Arc::clone(&control.news.borrow());
    let roots = news.bundle.roots.iter();
    let roots: Vec<_> = roots
        .map(|der| CertificateDer::from(der.as_slice()))
        .collect();
    let document = Document {
        bundle: Bundle::new(control.home.trust_domain.clone(), &roots)?,
        sequence: Some(sequence(news.epoch, news.bundle.version)),
        refresh_hint: Some(u64::from(REFRESH_HINT)),
    };
    let headers = [
        (CONTENT_TYPE, "application/json".to_owned()),
        (CACHE_CONTROL, format!("public, max-age={REFRESH_HINT}")),
    ];
    Ok((headers, document.to_json()?).into_response())
}

/// One number that rises with every change of the roots, also when the control plane was restored and counts versions anew:
/// the epoch above, the version below. In the first epoch it is the version. JSON is read with 53 bits in places: that is
/// two million restores.
fn sequence(epoch: u64, version: u64) -> u64 {
    let restores = epoch.saturating_sub(1);
    restores
        .saturating_mul(1 << 32)
        .saturating_add(version.min(u64::from(u32::MAX)))
}

#[cfg(test)]
mod tests {
    use super::sequence;

    #[test]
    fn a_restore_counts_more_than_any_version() {
        assert_eq!(sequence(1, 7), 7);
        assert!(sequence(2, 1) > sequence(1, u64::MAX));
        assert!(sequence(3, 1) > sequence(2, 9));
    }
}

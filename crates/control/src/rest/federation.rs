//! Other trust domains (0019): our bundle as they fetch it, how it stands with theirs, and taking trust back.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use skans_identity::bundle::document::Document;
use skans_identity::federation::endpoint::Profile;
use skans_identity::federation::link::Link;
use skans_identity::id::TrustDomain;
use utoipa::ToSchema;

use super::{Listed, Paging};
use crate::clock;
use crate::error::Error;
use crate::gate::Permit;
use crate::news::News;
use crate::own::REFRESH_HINT;
use crate::problem::Problem;
use crate::state::Control;

/// Where our bundle is.
pub(crate) const PATH: &str = "/v1/federation/bundle";

/// Another trust domain.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Domain {
    /// Its name.
    pub trust_domain: String,
    /// How it stands with its bundle: `fresh`, `due` to be fetched, `stale` (nothing of theirs is believed until it could be
    /// fetched), `distrusted`, or `unknown` where no link is in force.
    pub standing: String,
    /// The sequence of the bundle that was accepted last.
    pub sequence: Option<u64>,
    /// How many roots it has.
    pub roots: usize,
    /// When it was last confirmed, Unix time.
    pub confirmed: Option<u64>,
    /// Where it comes from, while a link is in force.
    pub url: Option<String>,
    /// How whoever answers there proves itself: `https_spiffe` or `https_web`.
    pub profile: Option<String>,
    /// What went wrong the last time, as far as this replica knows: the writer fetches.
    pub problem: Option<String>,
    /// The links to its clusters.
    pub links: Vec<ClusterLink>,
}

/// What our side consents to of one foreign cluster, in short: all of it is in the policy set in force.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct ClusterLink {
    /// What we call it.
    pub name: String,
    /// Their cluster.
    pub cluster: String,
    /// The last second in which it counts, Unix time.
    pub not_after: u64,
    /// How much of ours they may use, policies permitting.
    pub exports: usize,
    /// How much of theirs ours may use.
    pub imports: usize,
}

/// The roots of the trust domain as a SPIFFE bundle, for other trust domains
#[utoipa::path(get, path = "/v1/federation/bundle", responses((status = 200, content_type = "application/json", body = String), (status = "default", body = Problem)))]
pub(crate) async fn bundle(permit: Permit) -> Result<Response, Error> {
    let control = &permit.control;
    let news = Arc::clone(&control.news.borrow());
    let own = news.own_bundle(&control.home)?;
    let document = Document {
        bundle: own.ok_or_else(|| Error::NoAuthority("no root yet".to_owned()))?,
        sequence: Some(sequence(news.epoch, news.bundle.version)),
        refresh_hint: Some(u64::from(REFRESH_HINT)),
    };
    let headers = [
        (CONTENT_TYPE, "application/json".to_owned()),
        (CACHE_CONTROL, format!("public, max-age={REFRESH_HINT}")),
    ];
    Ok((headers, document.to_json()?).into_response())
}

/// How it stands with other trust domains, by name
#[utoipa::path(get, path = "/v1/federation", params(Paging), responses((status = 200, body = Listed<Domain>), (status = "default", body = Problem)))]
pub(crate) async fn list(
    permit: Permit,
    Query(paging): Query<Paging>,
) -> Result<Json<Listed<Domain>>, Error> {
    permit.within_home()?;
    let (control, limit) = (&permit.control, paging.limit());
    let news = Arc::clone(&control.news.borrow());
    let linked = news.links.iter().map(|link| &link.peer.trust_domain);
    let mut names: Vec<_> = linked.chain(news.believed.foreign.domains()).collect();
    names.sort();
    names.dedup();
    let page = names
        .into_iter()
        .filter(|name| name.as_str() > paging.after());
    let items = page.take(limit).map(|name| domain(control, &news, name));
    Ok(Json(Listed::new(items.collect(), limit, |one: &Domain| {
        one.trust_domain.clone()
    })))
}

fn domain(control: &Control, news: &News, name: &TrustDomain) -> Domain {
    let (now, foreign) = (clock::now(), &news.believed.foreign);
    let source = news.links.source(name, now);
    let links = news
        .links
        .iter()
        .filter(|link| link.peer.trust_domain == *name);
    Domain {
        trust_domain: name.to_string(),
        standing: foreign.standing(name, &news.links, now).label().to_owned(),
        sequence: foreign.sequence(name),
        roots: foreign.to_fetch_with(name).map_or(0, |bundle| bundle.len()),
        confirmed: foreign.confirmed(name),
        url: source.map(|source| source.url.to_string()),
        profile: source.map(|source| match source.profile {
            Profile::Spiffe(_) => "https_spiffe".to_owned(),
            Profile::Web => "https_web".to_owned(),
        }),
        problem: control.attempts.problem(name),
        links: links.map(link).collect(),
    }
}

fn link(link: &Link) -> ClusterLink {
    ClusterLink {
        name: link.name.to_string(),
        cluster: link.peer.cluster.clone(),
        not_after: link.not_after,
        exports: link.exports.len(),
        imports: link.imports.len(),
    }
}

/// Says that another trust domain has a new bundle, which is then fetched: for their control plane, which proves nothing by it
#[utoipa::path(post, path = "/v1/federation/{domain}/changed", params(("domain" = String, Path)), responses((status = 204), (status = "default", body = Problem)))]
pub(crate) async fn changed(permit: Permit, Path(text): Path<String>) -> Result<StatusCode, Error> {
    // Nobody learns with whom there are links.
    let domain = TrustDomain::parse(&text)?;
    permit.control.attempts.call(&domain);
    Ok(StatusCode::NO_CONTENT)
}

/// Takes trust back from a trust domain, at once, whatever links say, until it is forgotten
#[utoipa::path(post, path = "/v1/federation/{domain}/distrust", params(("domain" = String, Path)), responses((status = 204), (status = "default", body = Problem)))]
pub(crate) async fn distrust(
    permit: Permit,
    Path(text): Path<String>,
) -> Result<StatusCode, Error> {
    let domain = TrustDomain::parse(&text)?;
    let by = permit.within_home()?;
    permit.control.distrust(&by, domain).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Forgets all that is known of a trust domain, distrust included: it begins anew with its link. Two people
#[utoipa::path(delete, path = "/v1/federation/{domain}", params(("domain" = String, Path)), responses((status = 204), (status = 202, description = "A second person has to ask for the same."), (status = "default", body = Problem)))]
pub(crate) async fn forget(
    permit: Permit,
    Path(text): Path<String>,
) -> Result<(StatusCode, &'static str), Error> {
    let domain = TrustDomain::parse(&text)?;
    let control = &permit.control;
    let by = permit
        .with_a_second(&control.home.scope, &text, &[])
        .await?;
    let Some(by) = by else {
        return Ok((
            StatusCode::ACCEPTED,
            "a second person has to ask for the same",
        ));
    };
    control.forget_domain(&by, domain).await?;
    Ok((StatusCode::NO_CONTENT, ""))
}

/// One number that rises with every change of the roots, also when the control plane was restored and counts versions anew:
/// the epoch above, the version below. In the first epoch it is the version. JSON is read with 53 bits in places: that is
/// two million restores.
pub(crate) const fn sequence(epoch: u64, version: u64) -> u64 {
    let restores = epoch.saturating_sub(1);
    let low = if version < 1 << 32 {
        version
    } else {
        (1 << 32) - 1
    };
    restores.saturating_mul(1 << 32).saturating_add(low)
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

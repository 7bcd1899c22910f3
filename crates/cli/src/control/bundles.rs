//! `skans bundle`: our roots, and how it stands with those of other trust domains.

use std::fmt::Write as _;
use std::path::Path;

use skans_control::network_policies::{Routes, render};
use skans_control::rest::federation::Domain;
use skans_control::rest::general::Status;
use skans_control::rest::policies::PolicyContent;
use skans_identity::UnixTime;
use skans_identity::bundle::Bundle as Roots;
use skans_identity::federation::endpoint::Url;
use skans_identity::federation::link::Links;
use skans_identity::head::Audience;
use skans_identity::id::{SpiffeId, TrustDomain};
use skans_policy::{Source, Version};

use super::ca::second;
use super::{client, list, look, read_file, say};
use crate::arguments::control::{Bundle, BundleFormat, BundleStatus, Federate};
use crate::failure::{Failure, NOT_CHECKED, USAGE};
use crate::table;

/// `skans bundle`.
pub async fn bundle(command: Bundle) -> Result<(), Failure> {
    match command {
        Bundle::Show { format, plane } => {
            let path = match format {
                BundleFormat::Pem => "/v1/bundle",
                BundleFormat::Spiffe => "/v1/federation/bundle",
            };
            let text = client(&plane).call("GET", path, None).await.map_err(look)?;
            say(&text)
        }
        Bundle::Status(wanted) if wanted.network_policy => say(&network_policies(&wanted).await?),
        Bundle::Status(wanted) => list(&wanted.ask, "/v1/federation", rows).await,
        Bundle::Federate(wanted) => say(&federate(&wanted)?),
        Bundle::Distrust { domain, plane } => {
            let path = format!("/v1/federation/{}/distrust", name(&domain)?);
            client(&plane).call("POST", &path, None).await?;
            Ok(())
        }
        Bundle::Forget { domain, plane } => {
            let path = format!("/v1/federation/{}", name(&domain)?);
            let said = client(&plane).call("DELETE", &path, None).await?;
            if said.is_empty() {
                Ok(())
            } else {
                Err(second())
            }
        }
    }
}

/// Nothing but a name becomes a part of a path.
fn name(text: &str) -> Result<TrustDomain, Failure> {
    TrustDomain::parse(text).map_err(|error| wrong(&error))
}

fn wrong(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(USAGE, error.to_string())
}

fn rows(domains: Vec<Domain>) -> String {
    let rows: Vec<_> = domains
        .iter()
        .map(|one| {
            let links = one
                .links
                .iter()
                .map(|link| format!("{} ({})", link.name, link.cluster));
            [
                one.trust_domain.clone(),
                one.standing.clone(),
                one.sequence
                    .map_or_else(|| "-".to_owned(), |n| n.to_string()),
                one.roots.to_string(),
                one.confirmed.map_or_else(
                    || "never".to_owned(),
                    |at| table::relative(at, table::now()),
                ),
                links.collect::<Vec<_>>().join(", "),
            ]
        })
        .collect();
    let headings = [
        "TRUST DOMAIN",
        "BUNDLE",
        "SEQUENCE",
        "ROOTS",
        "CONFIRMED",
        "LINKS",
    ];
    let mut text = table::render(headings, &rows);
    for one in &domains {
        if let Some(problem) = &one.problem {
            let _ = writeln!(text, "{}: {problem}", one.trust_domain);
        }
    }
    text
}

/// What the links in force need of a Kubernetes network.
async fn network_policies(wanted: &BundleStatus) -> Result<String, Failure> {
    let routes = match &wanted.gateway {
        None => None,
        Some(file) => Some(routes(file)?),
    };
    let client = client(&wanted.ask.plane);
    let status: Status = client.get("/v1/status").await.map_err(look)?;
    let (mut set, mut links) = ("none".to_owned(), Links::default());
    if status.policy != 0 {
        let found: PolicyContent = client.get("/v1/policies/active").await.map_err(look)?;
        let own = Audience {
            trust_domain: name(&status.trust_domain)?,
            cluster: status.cluster,
        };
        let unread = |problem: &dyn std::fmt::Display| {
            let text = format!("the policy set in force, {}: {problem}", found.policy.n);
            Failure::new(NOT_CHECKED, text)
        };
        let source = Source::from_canonical(&found.source, Version::default());
        let source = source.map_err(|problems| unread(&problems))?;
        if !source.links.is_empty() {
            let read = Links::parse(&own, &source.links.to_json());
            links = read.map_err(|error| unread(&error))?;
        }
        set = format!("{} ({})", found.policy.n, found.policy.name);
    }
    let now = UnixTime::now();
    Ok(render(&set, &links, routes.as_ref(), now))
}

fn routes(file: &Path) -> Result<Routes, Failure> {
    let config = skans_agent::config::load(file)
        .map_err(|error| Failure::new(NOT_CHECKED, error.to_string()))?;
    let gateway = config.gateway.ok_or_else(|| {
        let text = format!(
            "{}: found no gateway, wanted one with routes",
            file.display()
        );
        Failure::new(USAGE, text)
    })?;
    Ok(gateway.routes)
}

/// An entry of `links.yaml`. All that can be checked without asking anybody is.
fn federate(wanted: &Federate) -> Result<String, Failure> {
    let domain = name(&wanted.domain)?;
    let pem = read_file(&wanted.roots)?;
    let roots = Roots::from_pem(domain.clone(), pem.as_bytes())
        .map_err(|error| wrong(&format_args!("{}: {error}", wanted.roots.display())))?;
    let url = format!("https://{}/v1/federation/bundle", wanted.control);
    let url = Url::parse(&url).map_err(|error| wrong(&error))?;
    let id = format!("spiffe://{domain}/skans/control/{}", wanted.replica);
    let id = SpiffeId::parse(&id).map_err(|error| wrong(&error))?;
    let cluster = &wanted.cluster;
    let link = wanted.name.as_ref().unwrap_or(cluster);
    let ends = table::now().saturating_add(wanted.life.as_secs());
    let mut text = format!(
        "- name: {link}
  trustDomain: {domain}
  cluster: {cluster}
  # {moment}
  notAfter: {ends}
  bundle:
    url: {url}
    profile: https_spiffe
    endpointId: {id}
    roots: |
",
        moment = table::moment(ends),
    );
    for line in roots.to_pem().lines() {
        let _ = writeln!(text, "      {line}");
    }
    let _ = write!(
        text,
        "  gateways: [spiffe://{domain}/skans/gateway/GATEWAY]
  forwards: [spiffe://{domain}/cluster/{cluster}/ns/NAMESPACE/sa/WORKLOAD/node/NODE]
  exports:
    - {{node: NODE@HOST, process: SERVER}}
  imports:
    - {{alias: ALIAS@{link}, node: NODE@HOST, process: SERVER}}
"
    );
    Ok(text)
}

//! A certificate of another trust domain enrols where a registration names its SPIFFE ID, and opens nothing else.

use std::time::Duration;

use rustls::pki_types::CertificateDer;
use serde_json::json;
use skans_api::v1;
use skans_api::v1::agents_client::AgentsClient;
use skans_api::v1::enrollment_client::EnrollmentClient;
use skans_identity::authority::{Authority, Lifetimes};
use skans_identity::control_tls;
use skans_identity::credential::Credential;
use skans_identity::csr;
use skans_identity::first_trust::FirstTrust;
use skans_identity::host::Host;
use skans_identity::id::{NodeId, TrustDomain};
use tonic::transport::Channel;

use crate::support::{Agent, Plane, channel, now};

/// Somebody else's authority, such as SPIRE, and a workload of it.
fn elsewhere(domain: &str) -> (Authority, Credential) {
    let domain = TrustDomain::parse(domain).unwrap();
    let authority = Authority::generate(&domain, "theirs", now(), Lifetimes::default()).unwrap();
    let id = NodeId::new(&domain, "theirs", "default", "w", "web").unwrap();
    let host = Host::parse("host-a").unwrap();
    let own = authority
        .issue(id.id(), &host, Duration::from_secs(3600), now())
        .unwrap();
    (authority, own)
}

async fn dial(plane: &Plane, own: &Credential) -> Result<Channel, String> {
    let root = skans_control::root::load(plane.config.authority.root.as_ref().unwrap()).unwrap();
    let first = FirstTrust::new(root.spki_sha256(), None);
    let config = control_tls::client_config(first, Some(own), control_tls::HTTP2).unwrap();
    channel(&plane.api(), config).await
}

async fn enrol(plane: &Plane, own: &Credential) -> Result<Agent, String> {
    let (key, csr) = csr::fresh().unwrap();
    let wanted = v1::EnrolRequest {
        evidence: Some(v1::enrol_request::Evidence::ClientCertificate(
            v1::ClientCertificate {},
        )),
        csr,
        host: "host-a".to_owned(),
    };
    let answer = EnrollmentClient::new(dial(plane, own).await?)
        .enrol(wanted)
        .await;
    let answer = answer
        .map_err(|status| status.message().to_owned())?
        .into_inner();
    let chain = answer.chain.into_iter().map(CertificateDer::from).collect();
    Ok(Agent {
        id: answer.spiffe_id,
        address: plane.api(),
        credential: Credential::new(chain, key.to_der(), now()).unwrap(),
        bundle: plane.bundle().await,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn where_it_is_registered_and_nowhere_else() {
    let dir = tempfile::tempdir().unwrap();
    let (authority, own) = elsewhere("theirs.test");
    let bundle = dir.path().join("theirs.pem");
    std::fs::write(&bundle, authority.bundle().unwrap().to_pem()).unwrap();
    let more = format!(
        "federation: [{{ trustDomain: theirs.test, bundle: {} }}]\n",
        bundle.display()
    );
    let plane = Plane::with(&more).await;
    assert!(
        enrol(&plane, &own)
            .await
            .err()
            .unwrap()
            .contains("no registration")
    );
    let wanted =
        json!({ "name": "web", "spiffe_id": own.identity().id.as_str(), "names": ["web@host-a"] });
    plane.post("/v1/registrations", wanted).await;
    let first = enrol(&plane, &own).await.unwrap();
    assert!(first.issue(&["web@host-a"], "web").await.unwrap()[0].is_ok());
    // It comes back with its next certificate, and is the same agent.
    let again = enrol(&plane, &own).await.unwrap();
    assert_eq!(first.id, again.id);
    // What enrols is no agent itself, and of theirs nobody else gets in.
    let mut client = AgentsClient::new(dial(&plane, &own).await.unwrap());
    let (_, csr) = csr::fresh().unwrap();
    let wanted = crate::support::wanted_node("web@host-a", "web", csr);
    let refused = client
        .issue(v1::IssueRequest {
            requests: vec![wanted],
        })
        .await
        .err()
        .unwrap();
    assert_eq!(refused.code(), tonic::Code::PermissionDenied);
    let id = NodeId::new(authority.trust_domain(), "theirs", "default", "w", "other").unwrap();
    let other = authority
        .issue(
            id.id(),
            &Host::parse("h").unwrap(),
            Duration::from_secs(60),
            now(),
        )
        .unwrap();
    assert!(enrol(&plane, &other).await.is_err());
    // A domain that is not named gets no connection.
    let (_, stranger) = elsewhere("strangers.test");
    assert!(enrol(&plane, &stranger).await.is_err());
}

/// Their authority signs an ID of ours: judged by our roots, whatever else is trusted.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_vouches_for_another_domain() {
    let dir = tempfile::tempdir().unwrap();
    let (authority, _) = elsewhere("theirs.test");
    let bundle = dir.path().join("theirs.pem");
    std::fs::write(&bundle, authority.bundle().unwrap().to_pem()).unwrap();
    let more = format!(
        "federation: [{{ trustDomain: theirs.test, bundle: {} }}]\n",
        bundle.display()
    );
    let plane = Plane::with(&more).await;
    // The same keys, under our name.
    let (ours, own) = elsewhere("lab.test");
    assert!(enrol(&plane, &own).await.is_err());
    let agent = skans_identity::id::SpiffeId::agent(ours.trust_domain(), "host-a").unwrap();
    let agent = ours
        .issue(
            &agent,
            &Host::parse("host-a").unwrap(),
            Duration::from_secs(60),
            now(),
        )
        .unwrap();
    assert!(enrol(&plane, &agent).await.is_err());
}

//! Tokens of Kubernetes service accounts, reviewed by a real API server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test

#[allow(dead_code, reason = "shared with the promises")]
#[path = "support/kubernetes.rs"]
mod kubernetes;

use kubernetes::Kubernetes;
use skans_control::kubernetes::{ApiServer, Refusal};

/// The server as the control plane sees it, by a service account of its own that may review.
fn as_control_plane(cluster: &Kubernetes, account: &str) -> ApiServer {
    cluster.service_account(account);
    let own = cluster.token(account, "https://kubernetes.default.svc", None);
    ApiServer {
        address: cluster.address(),
        authorities: cluster.authorities(),
        token: cluster.file(account, &own),
    }
}

async fn refused_token(server: &ApiServer, token: &str) -> String {
    match server.review(token, "skans").await {
        Err(Refusal::Token(why)) => why,
        other => panic!("found {other:?}, wanted the token refused"),
    }
}

#[tokio::test]
async fn a_projected_token_of_a_living_pod_is_accepted_and_nothing_else() {
    let cluster = Kubernetes::start();
    let server = as_control_plane(&cluster, "skans");

    // One that may not review is our mistake, not the caller's.
    cluster.service_account("rabbit");
    let uid = cluster.pod("rabbit-0", "rabbit");
    let bound = Some(("rabbit-0", &*uid));
    let token = cluster.token("rabbit", "skans", bound);
    let unable = server.review(&token, "skans").await;
    assert!(
        matches!(&unable, Err(Refusal::Server { problem, .. }) if problem.contains("403")),
        "{unable:?}"
    );

    cluster.may_review("skans");
    // RBAC takes a moment to see the binding.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let pod = loop {
        match server.review(&token, "skans").await {
            Ok(pod) => break pod,
            Err(error) => assert!(std::time::Instant::now() < deadline, "{error}"),
        }
    };
    assert_eq!(
        (
            &*pod.namespace,
            &*pod.service_account,
            &*pod.name,
            &*pod.uid
        ),
        ("tests", "rabbit", "rabbit-0", &*uid)
    );

    // Made for somebody else: whoever got it could pass it on to us.
    let elsewhere = cluster.token("rabbit", "vault", bound);
    refused_token(&server, &elsewhere).await;
    // Bound to nothing: it would outlive every pod.
    let unbound = cluster.token("rabbit", "skans", None);
    let why = refused_token(&server, &unbound).await;
    assert!(why.contains("bound to no pod"), "{why}");
    // Changed on the way.
    let (head, signature) = token.rsplit_once('.').unwrap();
    let forged = format!("{head}.{}", signature.chars().rev().collect::<String>());
    refused_token(&server, &forged).await;
    // Of another cluster that has a pod of the same name.
    let other = Kubernetes::start();
    other.service_account("rabbit");
    let theirs = other.pod("rabbit-0", "rabbit");
    let foreign = other.token("rabbit", "skans", Some(("rabbit-0", &theirs)));
    refused_token(&server, &foreign).await;

    // The pod is gone, and another has taken its name.
    cluster.delete_pod("rabbit-0");
    cluster.pod("rabbit-0", "rabbit");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    // API servers remember a token that they have verified for ten seconds.
    while server.review(&token, "skans").await.is_ok() {
        assert!(
            std::time::Instant::now() < deadline,
            "the token of a deleted pod is still accepted"
        );
    }
}

#[tokio::test]
async fn an_impostor_of_the_api_server_learns_no_token() {
    let cluster = Kubernetes::start();
    let impostor = Kubernetes::start();
    let mut server = as_control_plane(&cluster, "skans");
    server.address = impostor.address();
    impostor.service_account("rabbit");
    let uid = impostor.pod("rabbit-0", "rabbit");
    let token = impostor.token("rabbit", "skans", Some(("rabbit-0", &uid)));
    let refused = server.review(&token, "skans").await;
    assert!(
        matches!(&refused, Err(Refusal::Server { problem, .. }) if problem.contains("certificate")),
        "{refused:?}"
    );
}

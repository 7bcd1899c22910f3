//! The SPIFFE Workload API gives whoever runs a node that node's certificate, and again each time it is renewed; whoever
//! runs none gets nothing.

use std::path::Path;

use hyper_util::rt::TokioIo;
use serde_json::json;
use skans_lab::{Cluster, HostPlan, NodePlan};
use skans_promises::{PATIENCE, plan};
use spiffe::{WorkloadApiClient, X509Source};
use tokio::net::UnixStream;
use tonic::Code;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::root;

async fn cluster() -> Cluster {
    let config = json!({"workloadApi": {}, "identity": {"authority": {"leafLifetime": "15s"}}});
    plan().nodes(1).config(&config).start().await.unwrap()
}

fn endpoint(cluster: &Cluster) -> String {
    let socket = cluster.runtime(0).unwrap().join("workload.sock");
    format!("unix:{}", socket.display())
}

#[tokio::test]
async fn a_stock_client_follows_the_renewals() {
    let cluster = cluster().await;
    let source = X509Source::builder().endpoint(endpoint(&cluster));
    let source = tokio::time::timeout(PATIENCE, source.build())
        .await
        .unwrap()
        .unwrap();
    let first = source.svid().unwrap();
    assert_eq!(
        first.spiffe_id().to_string(),
        "spiffe://lab.test/cluster/lab/ns/default/sa/n1/node/n1"
    );
    let bundles = source.bundle_set().unwrap();
    let domain = spiffe::TrustDomain::try_from("lab.test").unwrap();
    let bundle = bundles.get(&domain).unwrap();
    assert_eq!(bundle.authorities().len(), 1);
    let mut updates = source.updated();
    tokio::time::timeout(PATIENCE, updates.changed())
        .await
        .unwrap()
        .unwrap();
    let second = source.svid().unwrap();
    assert_ne!(first.leaf().as_bytes(), second.leaf().as_bytes());
    assert_ne!(
        first.private_key().as_bytes(),
        second.private_key().as_bytes(),
        "a fresh key for every certificate"
    );
    drop(source);
    cluster.stop().await.unwrap();
}

/// Whether the caller runs a node is the kernel's word, not the caller's.
#[tokio::test]
async fn another_user_gets_nothing() {
    if !root::or_skip("another user asks for a certificate") {
        return;
    }
    let node = NodePlan::new("n1@n1.lab")
        .not_started()
        .config(&json!({"user": "nobody"}));
    let host = HostPlan::new("n1")
        .node(node)
        .config(&json!({"workloadApi": {}}));
    let cluster = plan().host(host).start().await.unwrap();
    let client = WorkloadApiClient::connect_to(endpoint(&cluster))
        .await
        .unwrap();
    let refused = tokio::time::timeout(PATIENCE, client.fetch_x509_svid())
        .await
        .unwrap();
    let error = refused.unwrap_err().to_string();
    assert!(error.to_lowercase().contains("permission"), "{error}");
    cluster.stop().await.unwrap();
}

async fn channel(socket: &Path) -> Channel {
    let path = socket.to_owned();
    Endpoint::from_static("http://workload")
        .connect_with_connector(tower::service_fn(move |_: Uri| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        }))
        .await
        .unwrap()
}

/// A web page, or a server that can be made to fetch things, cannot set the metadata.
#[tokio::test]
async fn a_call_without_the_metadata_is_refused() {
    let cluster = cluster().await;
    let socket = cluster.runtime(0).unwrap().join("workload.sock");
    for method in ["FetchX509SVID", "FetchX509Bundles"] {
        let mut client = tonic::client::Grpc::new(channel(&socket).await);
        client.ready().await.unwrap();
        let path = format!("/SpiffeWorkloadAPI/{method}").parse().unwrap();
        let codec = tonic_prost::ProstCodec::<(), ()>::default();
        let answer = client
            .server_streaming(tonic::Request::new(()), path, codec)
            .await;
        assert_eq!(
            answer.err().unwrap().code(),
            Code::InvalidArgument,
            "{method}"
        );
    }
    cluster.stop().await.unwrap();
}

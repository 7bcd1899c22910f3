//! Certificates come and go under traffic, and no node notices. Ten minutes of it are run by `script/soak`.

use std::time::Duration;

use skans_promises::up::Summary;

#[tokio::test]
async fn certificates_rotate_under_traffic_and_no_node_notices() {
    let summary = Summary::of("60s", "100s", Duration::from_secs(180)).await;
    summary.assert_unseen();
    // Six streams, a message every 5 ms or so; a loaded machine sends fewer.
    assert!(summary.count("received") > 10_000, "{summary}");
    // Three agents, each with a node's certificate and one for tools; each lives a minute.
    assert!(summary.count("renewals") >= 6, "{summary}");
    // Three links; none may be older than the certificates that it began with.
    assert!(summary.count("takeovers") >= 3, "{summary}");
}

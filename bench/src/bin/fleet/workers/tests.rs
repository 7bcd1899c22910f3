use std::path::Path;
use std::time::{Duration, Instant};

use tokio::process::Command;

use super::Workers;
use crate::wire::Order;

/// Processes that answer orders as a shell script does.
fn shells(script: &str) -> Workers {
    Workers::start(3, || {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    })
    .unwrap()
}

const ANSWER: &str = r#"echo '{"done":{"count":4,"seconds":1.5,"cpu_seconds":0.5}}'"#;

#[tokio::test]
async fn answers_of_all_are_gathered() {
    let mut workers = shells(&format!("while read -r order; do {ANSWER}; done"));
    for _ in 0..2 {
        let done = workers.all(&Order::Enrol).await.unwrap();
        assert_eq!(done.iter().map(|done| done.count).sum::<u64>(), 12);
    }
    workers.stop().await;
}

/// The others never answer; nobody waits for them.
#[tokio::test]
async fn one_that_ends_is_named_at_once_and_all_are_stopped() {
    let mut workers =
        shells("read -r order; case $order in *watch*) exit 7;; esac; exec sleep 600");
    let began = Instant::now();
    workers.tell(0, &Order::Enrol).await.unwrap();
    workers.tell(1, &Order::Enrol).await.unwrap();
    workers.tell(2, &Order::Watch).await.unwrap();
    let ids: Vec<_> = workers.all.iter().map(|worker| worker.id).collect();
    let error = workers.answers(&Order::Watch).await.unwrap_err();
    let wanted = format!(
        "process 3 of 3 (id {}) has ended (exit status: 7), told to open streams",
        ids[2]
    );
    assert_eq!(error, wanted);
    workers.stop().await;
    assert!(began.elapsed() < Duration::from_secs(60));
    for id in ids {
        assert!(!Path::new(&format!("/proc/{id}")).exists(), "{id}");
    }
}

#[tokio::test]
async fn one_that_fails_says_why() {
    let mut workers = shells(r#"read -r order; echo '{"failed":"no route"}'; exec sleep 600"#);
    let error = workers.all(&Order::Enrol).await.unwrap_err();
    assert!(error.ends_with("told to enrol: no route"), "{error}");
    workers.stop().await;
}

#[tokio::test]
async fn one_that_says_something_else_is_an_error() {
    let mut workers = shells("read -r order; echo hello; exec sleep 600");
    let error = workers.all(&Order::Enrol).await.unwrap_err();
    assert!(error.contains("no answer"), "{error}");
    workers.stop().await;
}

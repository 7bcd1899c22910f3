use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::*;

/// Counts up at each turn.
fn counting(brake: &Arc<Brake>, count: &Arc<AtomicU32>) -> tokio::task::JoinHandle<Option<()>> {
    let (brake, count) = (Arc::clone(brake), Arc::clone(count));
    tokio::spawn(async move {
        brake
            .hold(async {
                loop {
                    count.fetch_add(1, Relaxed);
                    tokio::task::yield_now().await;
                }
            })
            .await
    })
}

async fn moves(count: &AtomicU32) -> bool {
    // On one thread: each of these is a turn of all others.
    tokio::task::yield_now().await;
    let before = count.load(Relaxed);
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    count.load(Relaxed) > before
}

#[tokio::test]
async fn what_is_held_stands_still_and_goes_on_or_is_over() {
    let (brake, count) = (Arc::<Brake>::default(), Arc::<AtomicU32>::default());
    let task = counting(&brake, &count);
    assert!(moves(&count).await);
    let _pieces = brake.pull();
    assert!(brake.collector().is_some());
    assert!(!moves(&count).await);
    brake.release();
    assert!(moves(&count).await);
    let _pieces = brake.pull();
    brake.finish();
    assert_eq!(task.await.unwrap(), None);
    assert!(brake.is_over() && brake.collector().is_none());
    brake.pulled().await;
    brake.over().await;
}

//! Spans on their way to the collector. Whoever makes one waits for nobody: what finds no room is dropped, and counted.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use prost::Message as _;

use skans_otlp::wire::Span;

/// Bytes of spans that wait, at most. Ours: 4 MiB are some 5,000 spans; the OpenTelemetry SDKs keep 2,048.
const MAX_WAITING: usize = 4 * 1024 * 1024;
/// Spans in one request, at most, as the OpenTelemetry SDKs have it.
const MAX_SPANS: usize = 512;
/// Bytes of spans in one request, at most. Collectors take 20 MiB by default, gRPC behind them 4 MiB.
const MAX_BATCH: usize = 1024 * 1024;
/// What a span takes besides its bytes, about.
const OVERHEAD: usize = 64;

/// Spans that wait.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: Mutex<Waiting>,
    exported: AtomicU64,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    spans: VecDeque<Vec<u8>>,
    bytes: usize,
}

impl Queue {
    /// Puts a span behind those that wait. What waits already goes first: its beginning says more than its end.
    pub fn put(&self, span: &Span) {
        // A trace of zeros is none (W3C Trace Context 2, 3.2.2.3), and a peer may choose it.
        if span.trace_id.iter().all(|byte| *byte == 0) {
            return self.lose(1);
        }
        let bytes = span.encode_to_vec();
        let size = bytes.len() + OVERHEAD;
        let mut waiting = self.waiting();
        if waiting.bytes + size > MAX_WAITING {
            drop(waiting);
            return self.lose(1);
        }
        waiting.bytes += size;
        waiting.spans.push_back(bytes);
    }

    /// Takes what goes into one request; nothing if nothing waits.
    pub fn take(&self) -> Vec<Vec<u8>> {
        let mut waiting = self.waiting();
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while let Some(next) = waiting.spans.front() {
            let size = next.len() + OVERHEAD;
            if batch.len() >= MAX_SPANS || (bytes + size > MAX_BATCH && !batch.is_empty()) {
                break;
            }
            bytes += size;
            batch.extend(waiting.spans.pop_front());
        }
        waiting.bytes = waiting.bytes.saturating_sub(bytes);
        if waiting.spans.is_empty() {
            // What a burst took goes back.
            waiting.spans.shrink_to(MAX_SPANS);
        }
        batch
    }

    /// The collector has so many.
    pub fn sent(&self, count: u64) {
        self.exported.fetch_add(count, Relaxed);
    }

    /// Nobody will have so many.
    pub fn lose(&self, count: u64) {
        self.dropped.fetch_add(count, Relaxed);
    }

    /// Exported, dropped.
    pub fn counts(&self) -> (u64, u64) {
        (self.exported.load(Relaxed), self.dropped.load(Relaxed))
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

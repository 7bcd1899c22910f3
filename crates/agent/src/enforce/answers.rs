//! Answers to what was refused, on their way from the direction in which it was to the other one, which puts them between two
//! frames.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

/// Bytes that wait, at most. Ours: an answer has some hundred, and a caller has one under way for each of its processes.
/// Who asks for more than ten thousand refusals without reading any gets no more.
const MOST: usize = 1024 * 1024;

/// Whole frames that wait to be sent.
#[derive(Debug, Default)]
pub struct Answers {
    frames: Mutex<Vec<u8>>,
    /// There are some: looked at for each piece of a stream, without the lock.
    waiting: AtomicBool,
    bell: Notify,
}

impl Answers {
    /// Puts a frame behind those that wait.
    pub fn put(&self, frame: &[u8]) {
        let mut frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        if !frame.is_empty() && frames.len() + frame.len() <= MOST {
            frames.extend_from_slice(frame);
            self.waiting.store(true, Relaxed);
            self.bell.notify_one();
        }
    }

    /// What waits, if anything does.
    #[must_use]
    pub fn take(&self) -> Option<Vec<u8>> {
        if !self.waiting.load(Relaxed) {
            return None;
        }
        let mut frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        self.waiting.store(false, Relaxed);
        Some(std::mem::take(&mut *frames)).filter(|frames| !frames.is_empty())
    }

    /// What waits, which goes on waiting.
    #[must_use]
    pub fn copy(&self) -> Vec<u8> {
        let frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        frames.clone()
    }

    /// Returns when something was put.
    pub async fn rung(&self) {
        self.bell.notified().await;
    }
}

//! What this machine can do at all: bytes through loopback between two sockets, and authenticated encryption on one core.
//! No tunnel between two nodes of it can be faster than either.

use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, Algorithm, LessSafeKey, Nonce, UnboundKey};

use crate::error::{Doing, Error, Result};

/// What is written and read at once, in bytes: what the agent's buffers grow to.
const CHUNK: usize = 128 * 1024;
/// The plaintext of a full TLS record (RFC 8446, 5.1).
const RECORD: usize = 16 * 1024;

/// How the rows of [`measure`] are called; all in MB/s (10^6 bytes).
pub const ROWS: [&str; 3] = [
    "loopback TCP, one connection, MB/s",
    "AES-128-GCM, one core, MB/s",
    "AES-256-GCM, one core, MB/s",
];

/// Takes so much time for each row.
pub fn measure(time: Duration) -> Result<[f64; 3]> {
    Ok([
        loopback(time)?,
        seal(&AES_128_GCM, time)?,
        seal(&AES_256_GCM, time)?,
    ])
}

fn loopback(time: Duration) -> Result<f64> {
    let doing = "measure loopback";
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).doing(doing)?;
    let mut sender = TcpStream::connect(listener.local_addr().doing(doing)?).doing(doing)?;
    let (mut receiver, _) = listener.accept().doing(doing)?;
    let start = Instant::now();
    let receiving = thread::spawn(move || -> std::io::Result<u64> {
        let mut buffer = vec![0; CHUNK];
        let mut all = 0;
        loop {
            match receiver.read(&mut buffer)? {
                0 => return Ok(all),
                count => all += count as u64,
            }
        }
    });
    let chunk = vec![7; CHUNK];
    while start.elapsed() < time {
        sender.write_all(&chunk).doing(doing)?;
    }
    drop(sender);
    let received = receiving
        .join()
        .map_err(|_| Error::new(doing, "the receiver ended"))?
        .doing(doing)?;
    Ok(megabytes(received, start.elapsed()))
}

/// Records as TLS seals them: in place, each under another nonce.
fn seal(algorithm: &'static Algorithm, time: Duration) -> Result<f64> {
    let doing = "measure AES-GCM";
    let key = UnboundKey::new(algorithm, &vec![5; algorithm.key_len()]).doing(doing)?;
    let key = LessSafeKey::new(key);
    let mut record = vec![9; RECORD];
    let mut sealed = 0_u64;
    let start = Instant::now();
    while start.elapsed() < time {
        // The clock is read once in a while: for a single record it would count.
        for _ in 0..64 {
            let mut nonce = [0; 12];
            nonce[4..].copy_from_slice(&sealed.to_be_bytes());
            let tag = key
                .seal_in_place_separate_tag(
                    Nonce::assume_unique_for_key(nonce),
                    Aad::from([23, 3, 3, 0x40, 0x11]),
                    &mut record,
                )
                .doing(doing)?;
            let _ = black_box(tag);
            sealed += 1;
        }
    }
    Ok(megabytes(sealed * RECORD as u64, start.elapsed()))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "bytes of a few seconds are far below 2^53"
)]
fn megabytes(bytes: u64, took: Duration) -> f64 {
    bytes as f64 / took.as_secs_f64() / 1e6
}

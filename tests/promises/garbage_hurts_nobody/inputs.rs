//! What is said: garbage for every port, and breaches of the rules for every phase of a link, each
//! with the reason that it is to be closed for.

use std::collections::BTreeMap;

use skans_dist::handshake;
use skans_link::{Hello, MAX_CONTROL, Reason};

use super::{ONE, PEER};
use crate::hostile::{client_hello, hello, old_send_name, send_name};

/// Bytes without meaning, always the same: xorshift.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .flatten()
    .take(length)
    .collect()
}

/// What is said to every port.
pub fn garbage() -> BTreeMap<String, Vec<u8>> {
    let mut all: BTreeMap<String, Vec<u8>> = (1..=8)
        .map(|seed| (format!("noise {seed}"), noise(seed, 64 * 1024)))
        .collect();
    let tls = client_hello();
    let name = handshake::frame_u16(&send_name(ONE).encode());
    let long = |prefix: &[u8], length: usize| [prefix, &vec![b'x'; length]].concat();
    all.extend([
        ("nothing".to_owned(), Vec::new()),
        ("one byte".to_owned(), vec![0]),
        ("zeros".to_owned(), vec![0; 64 * 1024]),
        ("lengths of 4 GiB".to_owned(), vec![0xff; 64 * 1024]),
        (
            "a message of 65535 bytes".to_owned(),
            long(&[0xff, 0xff], 65_535),
        ),
        ("a message of 1025 bytes".to_owned(), long(&[4, 1], 1025)),
        ("half a message".to_owned(), vec![0, 20, b'z', b'n']),
        (
            "a TLS record of 64 KiB".to_owned(),
            long(&[22, 3, 1, 0xff, 0xff], 65_535),
        ),
        ("a TLS greeting, and silence".to_owned(), tls.clone()),
        (
            "half a TLS greeting".to_owned(),
            tls[..tls.len() / 2].to_vec(),
        ),
        (
            "HTTP".to_owned(),
            b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".to_vec(),
        ),
        (
            "HTTP with a header that never ends".to_owned(),
            long(b"GET / HTTP/1.1\r\nx: ", 1024 * 1024),
        ),
        ("send_name, and silence".to_owned(), name.clone()),
        (
            "half a send_name".to_owned(),
            name[..name.len() / 2].to_vec(),
        ),
        ("send_name of OTP 22".to_owned(), old_send_name(ONE)),
        (
            "our HELLO without TLS".to_owned(),
            hello(PEER, ONE).encode(),
        ),
        ("epmd: KILL".to_owned(), vec![0, 1, b'k']),
        ("epmd: STOP".to_owned(), b"\0\x03sn1".to_vec()),
        (
            "epmd: a name of 60000 bytes".to_owned(),
            long(&[0xea, 0x61, b'z'], 60_000),
        ),
        (
            "epmd: ALIVE2 cut short".to_owned(),
            b"\0\x0dx\x01\x01M\0\0\x06\0\x05\0\xffn1".to_vec(),
        ),
    ]);
    all
}

/// Breaches of the link protocol by somebody whose certificate is in order, at the first frame.
pub fn bad_first_frames() -> Vec<(&'static str, Vec<u8>, Reason)> {
    let good = hello(PEER, ONE);
    let encoded = good.encode();
    let edit = |at: usize, byte: u8| {
        let mut frame = encoded.clone();
        frame[at] = byte;
        frame
    };
    let version = Hello {
        version_min: 7,
        version_max: 9,
        ..good.clone()
    };
    vec![
        ("a wrong magic", edit(4, b'X'), Reason::Protocol),
        ("an unknown type", edit(0, 99), Reason::Protocol),
        ("type 0", edit(0, 0), Reason::Protocol),
        ("a HELLO of 16 MiB", edit(1, 0xff), Reason::Protocol),
        (
            "a HELLO that is cut short",
            vec![1, 0, 0, 6, b'S', b'K', b'N', b'S', 1, 1],
            Reason::Protocol,
        ),
        ("an empty HELLO", vec![1, 0, 0, 0], Reason::Protocol),
        (
            "a HELLO that is none of text",
            [&encoded[..encoded.len() - 7], &[0xff, 0xfe, 0, 0, 0, 0, 0]].concat(),
            Reason::Protocol,
        ),
        ("no version in common", version.encode(), Reason::Version),
        (
            "versions the wrong way round",
            Hello {
                version_min: 9,
                version_max: 1,
                ..good.clone()
            }
            .encode(),
            Reason::Version,
        ),
        (
            "a name without a host",
            Hello {
                from: "n9".to_owned(),
                ..good.clone()
            }
            .encode(),
            Reason::WrongName,
        ),
        (
            "no name",
            Hello {
                to: String::new(),
                ..good.clone()
            }
            .encode(),
            Reason::WrongName,
        ),
        (
            "a session to resume",
            Hello {
                offset: 5,
                ..good.clone()
            }
            .encode(),
            Reason::UnknownSession,
        ),
        (
            "a takeover of a session that there is not",
            Hello {
                takeover: 1,
                ..good.clone()
            }
            .encode(),
            Reason::UnknownSession,
        ),
        ("HEAD", skans_link::head(b"head"), Reason::Protocol),
        ("WANT", skans_link::want(1), Reason::Protocol),
        (
            "a node that nobody knows",
            hello(PEER, "n7@n1.lab").encode(),
            Reason::WrongName,
        ),
        (
            "WELCOME",
            [&[2, 0, 0, 60][..], &[0; 60]].concat(),
            Reason::Protocol,
        ),
        (
            "HANDSHAKE before HELLO",
            skans_link::handshake(&send_name(PEER).encode()),
            Reason::Protocol,
        ),
        (
            "DATA before HELLO",
            skans_link::data_header(0, 100).to_vec(),
            Reason::Protocol,
        ),
        ("ACK before HELLO", skans_link::ack(0), Reason::Protocol),
        ("noise", vec![0xff; 64 * 1024], Reason::Protocol),
        ("silence", Vec::new(), Reason::TimedOut),
        ("half a frame", encoded[..20].to_vec(), Reason::TimedOut),
    ]
}

/// The same in the place of the nodes' handshake.
pub fn bad_handshakes() -> Vec<(&'static str, Vec<u8>, Reason)> {
    let message = |body: &[u8]| skans_link::handshake(body);
    let name = send_name(PEER).encode();
    vec![
        ("an empty message", message(b""), Reason::BadStream),
        ("noise", message(&noise(3, 200)), Reason::BadStream),
        ("half a send_name", message(&name[..10]), Reason::BadStream),
        (
            "the hello of OTP 22",
            message(&old_send_name(PEER)[2..]),
            Reason::BadStream,
        ),
        (
            "a message of 4 KiB",
            message(&[b'N'; MAX_CONTROL]),
            Reason::BadStream,
        ),
        (
            "a HANDSHAKE of 16 MiB",
            vec![3, 0xff, 0xff, 0xff],
            Reason::Protocol,
        ),
        (
            "DATA in the handshake",
            skans_link::data_header(0, 100).to_vec(),
            Reason::Protocol,
        ),
        (
            "a second HELLO",
            hello(PEER, ONE).encode(),
            Reason::Protocol,
        ),
        ("silence", Vec::new(), Reason::TimedOut),
        (
            "a flood of pings, and silence",
            skans_link::ping(1).repeat(10_000),
            Reason::TimedOut,
        ),
    ]
}

/// The same once bytes flow: on the link, and inside the distribution stream.
pub fn bad_streams() -> Vec<(&'static str, Vec<u8>, Reason)> {
    let data = |bytes: &[u8]| [&skans_link::data_header(0, bytes.len())[..], bytes].concat();
    vec![
        (
            "DATA with a gap",
            [&skans_link::data_header(1, 4)[..], &[0; 4]].concat(),
            Reason::Protocol,
        ),
        (
            "DATA at the end of the world",
            [&skans_link::data_header(u64::MAX, 4)[..], &[0; 4]].concat(),
            Reason::Protocol,
        ),
        (
            "DATA of 16 MiB",
            vec![4, 0xff, 0xff, 0xff],
            Reason::Protocol,
        ),
        (
            "DATA without an offset",
            vec![4, 0, 0, 3, 0, 0, 0],
            Reason::Protocol,
        ),
        (
            "an ACK of what was never sent",
            skans_link::ack(u64::MAX),
            Reason::Protocol,
        ),
        (
            "a HANDSHAKE again",
            skans_link::handshake(&send_name(PEER).encode()),
            Reason::Protocol,
        ),
        ("an unknown type", vec![77, 0, 0, 0], Reason::Protocol),
        ("a frame of 4 GiB", data(&[0xff; 64]), Reason::BadStream),
        (
            "a frame of 1 GiB and a byte",
            data(&[0x40, 0, 0, 1, 112, 131]),
            Reason::BadStream,
        ),
        (
            "an unknown type of frame",
            data(&[0, 0, 0, 4, 1, 2, 3, 4]),
            Reason::BadStream,
        ),
        (
            "an unknown operation",
            data(&[0, 0, 0, 6, 112, 131, 104, 1, 97, 250]),
            Reason::BadStream,
        ),
        (
            "a control message that is no tuple",
            data(&[0, 0, 0, 4, 112, 131, 97, 1]),
            Reason::BadStream,
        ),
        (
            "a SEND of 200 elements",
            data(&[0, 0, 0, 6, 112, 131, 104, 200, 97, 2]),
            Reason::BadStream,
        ),
        (
            "a frame that ends before its operation",
            data(&[0, 0, 0, 3, 112, 131, 104, 0, 0, 0, 0]),
            Reason::BadStream,
        ),
        ("HTTP", data(b"GET / HTTP/1.1\r\n\r\n"), Reason::BadStream),
    ]
}

//! Streams made by hand, and the real thing made by rustls.

use super::*;

fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![kind, 3, 3];
    out.extend_from_slice(&u16::try_from(body.len()).unwrap().to_be_bytes());
    out.extend_from_slice(body);
    out
}

fn server_hello(extensions: &[u8]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend_from_slice(&[7; 32]);
    body.extend_from_slice(&[0, 0x13, 0x01, 0]);
    body.extend_from_slice(&u16::try_from(extensions.len()).unwrap().to_be_bytes());
    body.extend_from_slice(extensions);
    let mut message = vec![2, 0, 0, u8::try_from(body.len()).unwrap()];
    message.extend_from_slice(&body);
    record(HANDSHAKE, &message)
}

#[test]
fn tells_tls_1_3_from_1_2() {
    let new = server_hello(&[0, 51, 0, 1, 9, 0, 43, 0, 2, 3, 4]);
    let stream = [
        new,
        record(CHANGE_CIPHER_SPEC, &[1]),
        record(APPLICATION_DATA, &[0; 40]),
    ]
    .concat();
    let found = read(&stream).unwrap();
    assert_eq!(
        (
            found.version,
            found.handshake,
            found.encrypted,
            found.cut_off
        ),
        (Some(0x0304), 1, 1, 0)
    );
    assert_eq!(found.bytes, stream.len());
    assert_eq!(read(&server_hello(&[])).unwrap().version, Some(0x0303));
}

#[test]
fn refuses_what_is_not_tls() {
    // A distribution hello, a record that is too long, plain handshake after the keys.
    assert!(read(b"\x00\x15N\x00\x00\x00\x01\x03\xdf\x7f\xbd\x61").is_err());
    assert!(read(&[23, 3, 3, 0xff, 0xff, 0]).is_err());
    let late = [
        record(APPLICATION_DATA, &[0; 9]),
        record(HANDSHAKE, &[1, 0, 0, 0]),
    ]
    .concat();
    assert!(read(&late).unwrap_err().contains("in clear"));
    let after = [
        record(APPLICATION_DATA, &[0; 9]),
        b"n1@n1.lab in clear".to_vec(),
    ]
    .concat();
    assert!(read(&after).is_err());
}

#[test]
fn a_cut_last_record_is_counted() {
    let mut stream = record(APPLICATION_DATA, &[0; 40]);
    stream.truncate(20);
    assert_eq!(read(&stream).unwrap().cut_off, 20);
}

#[test]
fn finds_needles() {
    let needles = ["n1.lab".to_owned(), "COOKIE".to_owned()];
    assert_eq!(in_clear(b"xxn1.labxx", &needles), ["n1.lab"]);
    assert!(in_clear(b"n1.la", &needles).is_empty());
}

//! What is sent: things that look right, things that nobody expects, and what lies between. What should come of it is not
//! here.

use proptest::prelude::*;
use serde_json::Value;

/// What gets into strings that nobody expects, and what looks right.
pub fn text() -> BoxedStrategy<String> {
    let known = [
        "",
        "a",
        "a@b",
        "*@*",
        "../../etc/passwd",
        "a\0b",
        "a\nb",
        "\u{1b}[31m",
        "\u{202e}x",
        "'; DROP TABLE deny; --",
        "spiffe://lab.test/skans/user/x",
        "spiffe://other.test/a",
        "lab.test/main",
        "owner",
        "node",
        "id",
        "key",
        "issuer",
        "0011223344556677",
        "00112233445566778899aabbccddeeff",
        "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----",
        "-1",
        "18446744073709551616",
        "1e400",
        "true",
        "null",
    ];
    prop_oneof![
        4 => prop::sample::select(known.map(str::to_owned).to_vec()),
        1 => ".{0,40}",
        1 => (1usize..20_000).prop_map(|length| "x".repeat(length)),
    ]
    .boxed()
}

/// Any JSON of some depth.
fn any_json() -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((text(), inner), 0..4)
                .prop_map(|all| Value::Object(all.into_iter().collect())),
        ]
    })
    .boxed()
}

/// Something with the fields that a body has, each filled with anything; and things that are no such body at all.
pub fn body(fields: Vec<String>) -> BoxedStrategy<Vec<u8>> {
    let field = if fields.is_empty() {
        text()
    } else {
        prop::sample::select(fields).boxed()
    };
    let filled = prop::collection::vec((field, any_json()), 0..6).prop_map(|all| {
        Value::Object(all.into_iter().collect())
            .to_string()
            .into_bytes()
    });
    prop_oneof![
        6 => filled.clone(),
        2 => (filled, any::<prop::sample::Index>()).prop_map(|(mut bytes, at)| {
            bytes.truncate(at.index(bytes.len() + 1));
            bytes
        }),
        2 => any_json().prop_map(|value| value.to_string().into_bytes()),
        2 => prop::collection::vec(any::<u8>(), 0..200),
        1 => (1usize..30_000).prop_map(|deep| "[".repeat(deep).into_bytes()),
        1 => (60_000usize..80_000).prop_map(|long| vec![b' '; long]),
    ]
    .boxed()
}

/// A part of a path or a query, as it may stand in a request line.
pub fn part() -> BoxedStrategy<String> {
    let known = [
        "x",
        "0",
        "999999",
        "00",
        "..%2f..%2fetc",
        "%00",
        "%ff",
        "%zz",
        "%",
        "a%20b",
        "0011223344556677",
        "00112233445566778899aabbccddeeff",
        "18446744073709551616",
        "-1",
        "*",
        "a@b",
        "%f0%9f%92%a9",
    ];
    prop_oneof![
        3 => prop::sample::select(known.map(str::to_owned).to_vec()),
        1 => "[!$-;=@-~]{1,30}".prop_map(|text| text.replace(['?', '#', '/'], "_")),
        1 => (1usize..4000).prop_map(|length| "7".repeat(length)),
    ]
    .boxed()
}

pub fn headers() -> BoxedStrategy<Vec<(&'static str, Vec<u8>)>> {
    let names = [
        "content-type",
        "accept",
        "authorization",
        "x-forwarded-for",
        "x-forwarded-client-cert",
        "x-real-ip",
        "content-encoding",
        "expect",
        "range",
        "if-none-match",
        "cookie",
        "x-skans-caller",
        "grpc-timeout",
        "grpc-encoding",
        "te",
    ];
    let value = prop_oneof![
        prop::collection::vec(prop_oneof![0x20u8..0x7f, 0x80u8..=0xff], 0..40),
        Just(b"application/grpc".to_vec()),
        Just(b"gzip".to_vec()),
        Just(b"100-continue".to_vec()),
    ];
    prop::collection::vec((prop::sample::select(names.to_vec()), value), 0..4).boxed()
}

/// A message that nobody's parser expects: fields of any number and type, some of them messages again.
fn message() -> BoxedStrategy<Vec<u8>> {
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut all = vec![number << 3 | 2];
        let mut length = bytes.len();
        while length > 0x7f {
            all.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
            length >>= 7;
        }
        all.push(u8::try_from(length).unwrap());
        all.extend(bytes);
        all
    }
    let leaf = prop_oneof![
        (1u8..8, any::<u8>()).prop_map(|(number, value)| vec![number << 3, value & 0x7f]),
        (1u8..8, text()).prop_map(|(number, text)| field(number, text.as_bytes())),
        (1u8..8, prop::collection::vec(any::<u8>(), 0..64))
            .prop_map(|(number, bytes)| field(number, &bytes)),
        // A request for a certificate that proves possession, in some place.
        (1u8..8).prop_map(|number| field(number, &skans_identity::csr::fresh().unwrap().1)),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        (1u8..8, prop::collection::vec(inner, 0..5))
            .prop_map(|(number, all)| field(number, &all.concat()))
    })
    .boxed()
}

/// What stands in the body of a call: framed messages, and what is none.
pub fn call_body() -> BoxedStrategy<Vec<u8>> {
    let framed = prop::collection::vec(message(), 0..4).prop_map(|fields| {
        let message = fields.concat();
        let length = u32::try_from(message.len()).unwrap();
        [&[0], &length.to_be_bytes()[..], &message].concat()
    });
    prop_oneof![
        6 => framed.clone(),
        2 => prop::collection::vec(framed.clone(), 2..5).prop_map(|all| all.concat()),
        2 => (framed, any::<prop::sample::Index>(), any::<u8>()).prop_map(|(mut bytes, at, with)| {
            let at = at.index(bytes.len());
            bytes[at] = with;
            bytes
        }),
        1 => prop::collection::vec(any::<u8>(), 0..100),
        1 => Just([&[0], &u32::MAX.to_be_bytes()[..]].concat()),
        1 => Just(vec![1, 0, 0, 0, 1, 0]),
    ]
    .boxed()
}

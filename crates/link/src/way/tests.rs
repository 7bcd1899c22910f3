use proptest::prelude::*;

use super::*;

fn end() -> impl Strategy<Value = End> {
    let text = "[a-zåä@.-]{0,100}";
    (text, text, text).prop_map(|(trust_domain, cluster, node)| End {
        trust_domain,
        cluster,
        node,
    })
}

fn body(message: &[u8]) -> &[u8] {
    let (length, body) = message.split_first_chunk().unwrap();
    assert_eq!(usize::from(u16::from_be_bytes(*length)), body.len());
    assert!(body.len() <= MAX_WAY);
    body
}

proptest! {
    #[test]
    fn what_is_asked_and_answered_is_read_as_it_was_written(
        session in proptest::array::uniform16(0_u8..),
        (from, to) in (end(), end()),
        text in "[a-zå ]{0,400}",
        kind in 0..3,
        later in proptest::collection::vec(0_u8.., 0..20),
    ) {
        let ask = Ask { session, from, to };
        let mut message = body(&ask.encode()).to_vec();
        message.extend(&later);
        prop_assert_eq!(Ask::decode(&message), Ok(ask));
        let made: fn(String) -> Answer = match kind {
            0 => |alias| Answer::Open { alias },
            1 => Answer::Refused,
            _ => Answer::Unreachable,
        };
        let message = made(text.clone()).encode();
        let (Answer::Open { alias: found } | Answer::Refused(found) | Answer::Unreachable(found)) = Answer::decode(body(&message)).unwrap();
        prop_assert!(text.starts_with(&found) && (found == text || found.len() > 251));
        prop_assert_eq!(Answer::decode(body(&message)).unwrap(), made(found));
    }

    #[test]
    fn whatever_comes_is_read_or_refused(bytes in proptest::collection::vec(0_u8.., 0..600), cut in 0_usize..200) {
        let _ = (Ask::decode(&bytes), Answer::decode(&bytes));
        let end = || End { trust_domain: "a".repeat(200), cluster: "b".into(), node: "c@d".into() };
        let whole = Ask { session: [7; 16], from: end(), to: end() }.encode();
        let part = whole.get(2..2 + cut).unwrap();
        prop_assert!(Ask::decode(part).is_err());
    }
}

#[test]
fn a_message_has_one_form() {
    let end = |node: &str| End {
        trust_domain: "t".into(),
        cluster: "c".into(),
        node: node.into(),
    };
    let ask = Ask {
        session: [9; 16],
        from: end("a@b"),
        to: end("d@e"),
    };
    let mut wanted = b"\0\x25SKNW\x01".to_vec();
    wanted.extend([9; 16]);
    wanted.extend(b"\x01t\x01c\x03a@b\x01t\x01c\x03d@e");
    assert_eq!(ask.encode(), wanted);
    assert_eq!(
        Answer::Refused("no".into()).encode(),
        b"\0\x09SKNW\x01\x01\x02no".to_vec()
    );
    assert!(Ask::decode(b"SKNS\x01").is_err());
    assert!(Ask::decode(b"SKNW\0").is_err());
}

use proptest::prelude::*;

use super::*;

fn registration() -> Registration {
    Registration {
        port: 0x1234,
        node_type: NODE_NORMAL,
        protocol: PROTOCOL_TCP,
        highest: 6,
        lowest: 5,
        name: "rabbit".into(),
        extra: vec![],
    }
}

#[test]
fn vectors() {
    let request = Request::Alive2(registration());
    let bytes = b"x\x12\x34M\0\0\x06\0\x05\0\x06rabbit\0\0";
    assert_eq!(request.encode(), bytes);
    assert_eq!(Request::decode(bytes), Ok(request));
    assert_eq!(
        Request::decode(b"zrabbit@host"),
        Ok(Request::PortPlease2 {
            name: "rabbit@host".into()
        })
    );
    assert_eq!(
        Request::decode(b"srabbit\0"),
        Ok(Request::Stop {
            name: "rabbit".into()
        })
    );
    assert_eq!(
        Request::decode(b"srabbit"),
        Ok(Request::Stop {
            name: "rabbit".into()
        })
    );

    assert_eq!(
        Alive2Response::Wide {
            result: 0,
            creation: 0x0102_0304
        }
        .encode(),
        b"v\0\x01\x02\x03\x04"
    );
    assert_eq!(
        Alive2Response::Narrow {
            result: 1,
            creation: 2
        }
        .encode(),
        b"y\x01\0\x02"
    );
    assert_eq!(PortResponse::NOT_FOUND.encode(), b"w\x01");
    assert_eq!(
        PortResponse::Found(registration()).encode(),
        b"w\0\x12\x34M\0\0\x06\0\x05\0\x06rabbit\0\0"
    );

    let names = NamesResponse {
        epmd_port: 4369,
        nodes: vec![("a".into(), 1), ("b".into(), 65535)],
    };
    assert_eq!(
        names.encode(),
        b"\0\0\x11\x11name a at port 1\nname b at port 65535\n"
    );
}

#[test]
fn refusals() {
    assert!(matches!(Request::decode(b""), Err(Error::Truncated { .. })));
    assert!(matches!(
        Request::decode(b"q"),
        Err(Error::Unexpected { found: b'q', .. })
    ));
    assert!(matches!(Request::decode(b"z"), Err(Error::NodeName { .. })));
    assert!(matches!(
        Request::decode(b"za\nb"),
        Err(Error::NodeName { .. })
    ));
    assert!(matches!(
        Request::decode(b"x\x12\x34M\0\0\x06\0\x05\x01\0"),
        Err(Error::TooLarge { found: 256, .. })
    ));
    assert!(matches!(
        NamesResponse::decode(b"\0\0\x11\x11nonsense\n"),
        Err(Error::Invalid { .. })
    ));
    assert!(matches!(
        NamesResponse::decode(&vec![0; MAX_NAMES + 1]),
        Err(Error::TooLarge { .. })
    ));
    assert!(matches!(
        Alive2Response::length(b'w'),
        Err(Error::Unexpected { .. })
    ));
}

fn any_registration() -> impl Strategy<Value = Registration> {
    let extra = proptest::collection::vec(any::<u8>(), 0..40);
    (
        any::<u16>(),
        any::<u8>(),
        any::<u8>(),
        any::<u16>(),
        any::<u16>(),
        "[a-z0-9_-]{1,60}",
        extra,
    )
        .prop_map(
            |(port, node_type, protocol, highest, lowest, name, extra)| Registration {
                port,
                node_type,
                protocol,
                highest,
                lowest,
                name,
                extra,
            },
        )
}

fn any_request() -> impl Strategy<Value = Request> {
    prop_oneof![
        any_registration().prop_map(Request::Alive2),
        "[a-z0-9@_-]{1,60}".prop_map(|name| Request::PortPlease2 { name }),
        Just(Request::Names),
        Just(Request::Dump),
        Just(Request::Kill),
        "[a-z0-9_-]{1,60}".prop_map(|name| Request::Stop { name }),
    ]
}

proptest! {
    #[test]
    fn requests_survive(request in any_request()) {
        prop_assert_eq!(Request::decode(&request.encode()), Ok(request));
    }

    #[test]
    fn responses_survive(
        registration in any_registration(),
        result: u8,
        creation: u32,
        short: u16,
        nodes in proptest::collection::vec(("[a-z0-9]{1,20}", any::<u16>()), 0..20),
    ) {
        for response in [Alive2Response::Wide { result, creation }, Alive2Response::Narrow { result, creation: short }] {
            let bytes = response.encode();
            prop_assert_eq!(Alive2Response::length(bytes[0]), Ok(bytes.len()));
            prop_assert_eq!(Alive2Response::decode(&bytes), Ok(response));
            prop_assert_eq!(response.is_ok(), result == 0);
        }
        let found = PortResponse::Found(registration);
        prop_assert_eq!(PortResponse::decode(&found.encode()), Ok(found));
        let names = NamesResponse { epmd_port: creation, nodes };
        prop_assert_eq!(NamesResponse::decode(&names.encode()), Ok(names));
    }

    #[test]
    fn anything_is_survived(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        first in prop::sample::select(&b"xzndksvyw"[..]),
    ) {
        let mut tagged = bytes.clone();
        tagged.insert(0, first);
        for body in [&bytes, &tagged] {
            if let Ok(request) = Request::decode(body) { prop_assert_eq!(Request::decode(&request.encode()), Ok(request)); }
            if let Ok(response) = Alive2Response::decode(body) { prop_assert_eq!(Alive2Response::decode(&response.encode()), Ok(response)); }
            if let Ok(response) = PortResponse::decode(body) { prop_assert_eq!(PortResponse::decode(&response.encode()), Ok(response)); }
            if let Ok(response) = NamesResponse::decode(body) { prop_assert_eq!(NamesResponse::decode(&response.encode()), Ok(response)); }
        }
    }
}

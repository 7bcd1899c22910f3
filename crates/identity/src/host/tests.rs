use proptest::prelude::*;

use super::*;

#[test]
fn hosts_of_all_kinds() {
    for text in [
        "host-a",
        "a.b.example.com",
        "Host_1",
        "127.0.0.1",
        "::1",
        "fe80::1",
        "web-0.web.shop.svc.cluster.local",
    ] {
        assert_eq!(Host::parse(text).unwrap().to_string(), text);
    }
    assert!(matches!(Host::parse("10.0.0.1").unwrap(), Host::Ip(_)));
}

#[test]
fn what_is_no_host_is_refused() {
    let long = ["a".repeat(63).as_str(); 4].join(".");
    for text in [
        "",
        ".",
        "a.",
        ".a",
        "a..b",
        "-a",
        "a-",
        "a b",
        "a\n",
        "*.example.com",
        "a@b",
        "a/b",
        "::0001",
        "0:0:0:0:0:0:0:1",
        "FE80::1",
        "10.0.0",
        "1.2.3.256",
        "010.0.0.1",
        "\u{e9}",
        &"a".repeat(64),
        &long,
    ] {
        assert!(Host::parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn case_matters() {
    assert_ne!(Host::parse("Host").unwrap(), Host::parse("host").unwrap());
}

proptest! {
    #[test]
    fn parsing_is_the_identity_or_an_error(text in "[a-zA-Z0-9._:*-]{0,40}") {
        if let Ok(host) = Host::parse(&text) {
            prop_assert_eq!(host.to_string(), text);
        }
    }
}

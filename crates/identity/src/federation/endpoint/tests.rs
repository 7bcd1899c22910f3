use proptest::prelude::*;

use super::*;

#[test]
fn a_url_has_one_reading() {
    for text in [
        "https://skans.theirs.test/v1/federation/bundle",
        "https://skans.theirs.test:8443/v1/federation/bundle",
        "https://10.0.0.1:8443/",
        "https://[2001:db8::1]:8443/bundle.json",
    ] {
        assert_eq!(Url::parse(text).unwrap().to_string(), text);
    }
    let url = Url::parse("https://theirs.test/a").unwrap();
    assert_eq!((url.port(), url.path()), (443, "/a"));
    for text in [
        "",
        "http://theirs.test/",
        "HTTPS://theirs.test/",
        "https:/theirs.test/",
        "https://",
        "https:///bundle",
        "https://theirs.test",
        "https://user@theirs.test/",
        "https://theirs.test@evil.test/",
        "https://theirs.test:/",
        "https://theirs.test:0/",
        "https://theirs.test:0443/",
        "https://theirs.test:65536/",
        "https://theirs.test:+443/",
        "https://theirs.test/?a=b",
        "https://theirs.test/#a",
        "https://theirs.test/a/../b",
        "https://theirs.test/./a",
        "https://theirs.test//a",
        "https://theirs.test/a/",
        "https://theirs.test/%2e",
        "https://theirs.test\\@evil.test/",
        "https://Theirs.test/",
        "https://theirs.test./",
        "https://théirs.test/",
        "https://theirs.test/a b",
        "https://theirs.test/\r\nHost: evil",
        "https://[theirs.test]/",
        "https://[10.0.0.1]/",
        "https://2001:db8::1/",
        "https://[2001:db8::1/",
        "https://[2001:db8::1]x/",
        "https://[fe80::1%25eth0]/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://10.1/",
    ] {
        assert!(Url::parse(text).is_err(), "{text}");
    }
    let long = format!("https://theirs.test/{}", "a".repeat(MAX_URL));
    assert!(Url::parse(&long).unwrap_err().to_string().contains("1024"));
}

#[test]
fn the_host_itself_and_what_tells_its_credentials_are_never_asked() {
    let never = [
        "0.0.0.0",
        "0.1.2.3",
        "127.0.0.1",
        "127.255.0.1",
        "169.254.169.254",
        "169.254.0.1",
        "100.100.100.200",
        "192.0.0.192",
        "168.63.129.16",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "fd00:ec2::254",
    ];
    for text in never {
        let ip: IpAddr = text.parse().unwrap();
        assert!(!may_be_asked(ip), "{text}");
        let url = match ip {
            IpAddr::V4(_) => format!("https://{ip}/"),
            IpAddr::V6(_) => format!("https://[{ip}]/"),
        };
        assert!(Url::parse(&url).is_err(), "{url}");
    }
    for text in [
        "localhost",
        "a.localhost",
        "metadata",
        "metadata.google.internal",
    ] {
        assert!(Url::parse(&format!("https://{text}/")).is_err(), "{text}");
    }
    for text in [
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "203.0.113.7",
        "2001:db8::1",
        "fd12::1",
        "::ffff:10.0.0.1",
    ] {
        assert!(may_be_asked(text.parse().unwrap()), "{text}");
    }
}

#[test]
fn a_profile_says_how_whoever_answers_is_known() {
    let id = "spiffe://theirs.test/skans/control/c1";
    assert_eq!(profile("https_web", None), Ok(Profile::Web));
    assert!(matches!(
        profile("https_spiffe", Some(id)),
        Ok(Profile::Spiffe(found)) if found.as_str() == id
    ));
    for (word, id) in [
        ("https_web", Some(id)),
        ("https_spiffe", None),
        ("https_spiffe", Some("theirs.test")),
        ("http_spiffe", None),
        ("", None),
    ] {
        assert!(profile(word, id).is_err(), "{word} {id:?}");
    }
}

proptest! {
    #[test]
    fn what_is_taken_is_written_as_it_was(text in "https://[a-z0-9.:\\[\\]@/%?#-]{0,40}") {
        if let Ok(url) = Url::parse(&text) {
            // But for the port that goes without saying.
            let shown = url.to_string();
            prop_assert!(shown == text || text.replacen(":443/", "/", 1) == shown);
        }
    }

    /// However an address of IPv4 is dressed up.
    #[test]
    fn an_address_in_disguise_is_the_address(v4: [u8; 4]) {
        let v4 = Ipv4Addr::from(v4);
        let [a, b, c, d] = v4.octets();
        let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let translated = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low);
        let tunnel = Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1);
        for v6 in [v4.to_ipv6_mapped(), translated, tunnel] {
            prop_assert_eq!(may_be_asked(v6.into()), may_be_asked(v4.into()));
        }
    }
}

use super::*;

fn collector(endpoint: &str) -> Result<(Scheme, String, String), String> {
    let collector = Collector::parse(endpoint, Signal::Traces)?;
    Ok((collector.scheme, collector.authority(), collector.path))
}

#[test]
fn an_endpoint_is_what_is_posted_to() {
    for (endpoint, scheme, authority, path) in [
        (
            "http://127.0.0.1:4318",
            Scheme::Http,
            "127.0.0.1:4318",
            "/v1/traces",
        ),
        (
            "http://127.9.9.9",
            Scheme::Http,
            "127.9.9.9:80",
            "/v1/traces",
        ),
        ("http://[::1]:1/", Scheme::Http, "[::1]:1", "/v1/traces"),
        (
            "https://c.example/otlp/",
            Scheme::Https,
            "c.example:443",
            "/otlp/v1/traces",
        ),
        (
            "https://10.0.0.9:443",
            Scheme::Https,
            "10.0.0.9:443",
            "/v1/traces",
        ),
        (
            "https://[fd00::9]:443/a/b",
            Scheme::Https,
            "[fd00::9]:443",
            "/a/b/v1/traces",
        ),
    ] {
        let wanted = Ok((scheme, authority.to_owned(), path.to_owned()));
        assert_eq!(collector(endpoint), wanted, "{endpoint}");
    }
}

#[test]
fn who_talks_to_whom_leaves_no_host_in_the_clear() {
    for endpoint in [
        "http://10.0.0.9:4318",
        "http://collector:4318",
        // A name is what somebody says it is.
        "http://localhost:4318",
        "http://127.0.0.1.example:4318",
        "http://[::ffff:10.0.0.9]:4318",
        "http://0.0.0.0:4318",
        "http://[::]:4318",
        "http://2130706433:4318",
    ] {
        let why = collector(endpoint).unwrap_err();
        assert!(why.contains("in the clear"), "{endpoint}: {why}");
    }
}

#[test]
fn what_is_no_endpoint_is_refused() {
    for endpoint in [
        "",
        "127.0.0.1:4318",
        "grpc://127.0.0.1:4317",
        "HTTPS://c.example",
        "https://",
        "https:///v1/traces",
        "https://c.example:0",
        "https://c.example:65536",
        "https://c.example:",
        "https://c.example:43 18",
        "https://c.example:+1x",
        "https://fd00::9:443",
        "https://[c.example]:443",
        "https://[fd00::9:443",
        "https://me:secret@c.example",
        "https://c.example?token=1",
        "https://c.example/#x",
        "https://c.example/a\r\nHost: other",
        "http://127.0.0.1:4318\\@10.0.0.9",
        &format!("https://{}", "c".repeat(1025)),
    ] {
        assert!(collector(endpoint).is_err(), "{endpoint:?}");
    }
}

#[test]
fn each_signal_has_its_path() {
    let logs = Collector::parse("https://c.example/otlp", Signal::Logs).unwrap();
    assert_eq!(logs.path, "/otlp/v1/logs");
}

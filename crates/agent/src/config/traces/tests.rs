use std::path::PathBuf;

use super::*;

#[test]
fn what_is_wrong_with_traces_is_named_with_its_key() {
    let otlp = |endpoint: &str, roots: Option<&str>| Traces {
        otlp: Some(Otlp {
            endpoint: endpoint.to_owned(),
            roots: roots.map(PathBuf::from),
        }),
        ..Traces::default()
    };
    assert_eq!(Traces::default().check(), Ok(()));
    assert_eq!(otlp("http://127.0.0.1", None).check(), Ok(()));
    assert_eq!(otlp("https://c.example", Some("/r.pem")).check(), Ok(()));
    let often = Traces {
        interval: Duration::from_millis(999),
        ..Traces::default()
    };
    for (traces, key) in [
        (
            otlp("http://c.example", None),
            "traces.otlp.endpoint: found",
        ),
        (
            otlp("https://c.example", Some("r.pem")),
            "traces.otlp.roots: found",
        ),
        (
            otlp("http://127.0.0.1", Some("/r.pem")),
            "traces.otlp.roots: found",
        ),
        (often, "traces.interval: found 999ms"),
    ] {
        let why = traces.check().unwrap_err();
        assert!(why.starts_with(key), "{why}");
    }
}

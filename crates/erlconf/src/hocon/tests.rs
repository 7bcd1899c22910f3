use proptest::prelude::*;

use super::{Kind, parse};

#[test]
fn an_emqx_conf_is_read() {
    let text = r#"
## NOTE
node {
  name = "emqx@127.0.0.1"   // here
  cookie = "emqxsecretcookie"
  data_dir = "data"
}
cluster.discovery_strategy = manual, rpc : { mode = async }
listeners.ssl.default { bind = "0.0.0.0:8883", ssl_options { verify = verify_peer, versions = [tlsv1.3, "tlsv1.2"] } }
a = ${HOME}/x y
"#;
    let file = parse(text).unwrap();
    let get = |key: &[&str]| file.get(key).and_then(|value| value.text());
    assert_eq!(get(&["node", "cookie"]), Some("emqxsecretcookie"));
    assert_eq!(get(&["cluster", "discovery_strategy"]), Some("manual"));
    assert_eq!(get(&["rpc", "mode"]), Some("async"));
    assert_eq!(
        get(&["listeners", "ssl", "default", "ssl_options", "verify"]),
        Some("verify_peer")
    );
    assert_eq!(get(&["a"]), Some("${HOME}/x y"));
    let versions = file
        .get(&["listeners", "ssl", "default", "ssl_options", "versions"])
        .unwrap();
    let Kind::Array(versions) = &versions.kind else {
        panic!()
    };
    assert_eq!(versions.len(), 2);
    assert_eq!(
        file.get(&["node", "cookie"]).unwrap().span.text(text),
        "\"emqxsecretcookie\""
    );
}

#[test]
fn what_is_not_closed_is_refused() {
    for text in [
        "a {",
        "a = [1",
        "a = \"b",
        "a",
        "a = ",
        "= 1",
        "{ a = 1",
        "a = 1 } b = 2",
    ] {
        assert!(parse(text).is_err(), "{text}");
    }
    assert!(parse(&"a {".repeat(10_000)).is_err());
    assert!(parse("").unwrap().fields().is_empty());
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "[a-b=.#{}\\[\\]\", \n$:\\\\é]{0,60}") {
        drop(parse(&text));
    }
}

//! What is taken of a reader's files, and what is not. The experiments themselves are in `tests/proof.rs`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use skans_erlconf::term;

use super::files;

#[test]
fn of_the_options_of_tls_only_data_is_used() {
    let text = r#"[{server, [{certfile, "/etc/shop/node.pem"}, {verify_fun, {fun os:cmd/1, "id"}}, {depth, 2},
        {sni_fun, fun(_) -> os:cmd("id") end}, {password, os:getenv("PASSWORD")}]}]."#;
    let options = term::Options {
        code: true,
        ..term::Options::default()
    };
    let document = term::consult_with(text, options).unwrap();
    let changed = files::options(text, &document, &|key, _| format!("/scratch/{key}"));
    assert!(term::consult(&changed.text).is_ok(), "{}", changed.text);
    assert!(!changed.text.contains("os"), "{}", changed.text);
    assert!(changed.text.contains("/scratch/certfile") && changed.text.contains("{depth, 2}"));
    assert_eq!(changed.notes.len(), 3, "{:?}", changed.notes);
}

#[test]
fn of_a_configuration_what_reaches_out_is_not_used() {
    let text = r#"["/etc/shop/secret.config", {kernel, [{sync_nodes_mandatory, ['a@b']}, {logger_level, info},
        {inetrc, "/etc/inetrc"}]}, {shop, [{pool, 3}]}]."#;
    let document = term::consult(text).unwrap();
    let changed = files::config(text, Some(&document));
    for gone in ["secret", "a@b", "inetrc"] {
        assert!(!changed.text.contains(gone), "{gone}: {}", changed.text);
    }
    for kept in ["{logger_level, info}", "{shop, [{pool, 3}]}"] {
        assert!(changed.text.contains(kept), "{kept}: {}", changed.text);
    }
}

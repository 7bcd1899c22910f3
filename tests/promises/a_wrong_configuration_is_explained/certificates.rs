//! What can be wrong with the certificates that a configuration names, and their keys.

use std::fs;

use super::NODE;
use super::host::{Host, assert_says, chmod, refused};
use crate::hostile::{spec, spec_in};

/// A certificate, or a file around it, that cannot be used.
pub type Spoil = fn(&Host);

#[tokio::test]
async fn a_certificate_or_key_that_cannot_be_used_is_named() {
    let cases: &[(&str, Spoil, &[&str])] = &[
        (
            "a key that others may read",
            |h| chmod(&h.path("own.key"), 0o644),
            &["own.key", "0644", "chmod 600"],
        ),
        (
            "a key that the group may write",
            |h| chmod(&h.path("own.key"), 0o660),
            &["own.key", "0660"],
        ),
        (
            "no key",
            |h| fs::remove_file(h.path("own.key")).unwrap(),
            &["own.key", "cannot open"],
        ),
        (
            "no chain",
            |h| fs::remove_file(h.path("own.pem")).unwrap(),
            &["own.pem", "cannot open"],
        ),
        (
            "a key that is none",
            |h| h.write("own.key", "nobody may read this\n", 0o600),
            &["own.pem", "own.key", ": key"],
        ),
        (
            "a chain that is none",
            |h| h.write("own.pem", "-----BEGIN NONSENSE-----\n", 0o644),
            &["own.pem", "chain", "CERTIFICATE"],
        ),
        (
            "a directory for a key",
            |h| {
                fs::remove_file(h.path("own.key")).unwrap();
                fs::create_dir(h.path("own.key")).unwrap();
            },
            &["own.key", "regular file"],
        ),
        (
            "a key that does not fit",
            |h| {
                h.write(
                    "own.key",
                    &h.forge.leaf(&spec(NODE)).unwrap().key_pem(),
                    0o600,
                )
            },
            &["own.pem", "own.key", ": key"],
        ),
        (
            "a certificate for another node",
            |h| h.certificate("own", &h.forge.leaf(&spec("n2@n1.lab")).unwrap()),
            &["nodes[0]", "node/n2", "node/n1"],
        ),
        (
            "a certificate for another host",
            |h| h.certificate("own", &h.forge.leaf(&spec("n1@n9.lab")).unwrap()),
            &["nodes[0]", "n9.lab", "n1.lab"],
        ),
        (
            "a certificate of another cluster",
            |h| {
                h.certificate(
                    "own",
                    &h.forge.leaf(&spec_in("lab.test", "other", NODE)).unwrap(),
                )
            },
            &["nodes[0]", "cluster/other", "cluster/lab"],
        ),
        (
            "a certificate that is over",
            |h| {
                let mut s = spec(NODE);
                s.not_before -= 7200;
                s.not_after -= 7200;
                h.certificate("own", &h.forge.leaf(&s).unwrap());
            },
            &["own.pem", "valid now"],
        ),
        (
            "no bundle",
            |h| fs::remove_file(h.path("bundle.pem")).unwrap(),
            &["bundle.pem", "cannot open"],
        ),
        (
            "an empty bundle",
            |h| h.write("bundle.pem", "", 0o644),
            &["bundle.pem"],
        ),
        (
            "a bundle of a leaf",
            |h| {
                h.write(
                    "bundle.pem",
                    &h.forge.leaf(&spec(NODE)).unwrap().chain_pem(),
                    0o644,
                )
            },
            &["bundle.pem", "CA"],
        ),
    ];
    for (what, spoil, wanted) in cases {
        let host = Host::new();
        spoil(&host);
        let text = refused(what, host.agent(&host.config().to_string())).await;
        assert_says(what, &text, wanted);
        // Never what a key holds.
        assert!(!text.contains("nobody may read"), "{what}: {text}");
    }
}

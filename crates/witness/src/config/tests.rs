//! What a configuration says, and that each mistake is named with its key.

use skans_audit::cosignature::Cosigner;
use skans_audit::note::SigningKey;

use super::*;

const ORIGIN: &str = "prod.example/cluster/main/audit/1";

fn text(key: &str, more: &str) -> String {
    format!(
        "apiVersion: skans.io/v1alpha1\nkey: /etc/skans/witness.key\nstate: /var/lib/skans/witness\n\
         logs:\n- origin: {ORIGIN}\n  key: {key}\n{more}"
    )
}

fn vkey() -> String {
    SigningKey::from_seed(ORIGIN, &[1; 32]).unwrap().vkey()
}

#[test]
fn little_has_to_be_said() {
    let config = parse(&text(&vkey(), ""), "test").unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:4373");
    assert_eq!(config.logs().unwrap()[0].origin, ORIGIN);
    assert_eq!(config.tls, None);
}

#[test]
fn mistakes_are_named() {
    let key = vkey();
    let witness = Cosigner::from_seed(ORIGIN, &[1; 32]).unwrap().vkey();
    let other = SigningKey::from_seed("else", &[1; 32]).unwrap().vkey();
    let tls = "tls: {certificate: /c.pem, key: /k.pem}\n";
    let wrong = [
        (text(&key, "").replace("alpha1", "beta1"), "apiVersion"),
        (text(&key, "listen: 0.0.0.0:4373\n"), "listen"),
        (text(&key, "listen: '[::]:4373'\n"), "listen"),
        (text(&key, "").replace("/etc/skans/", ""), "key"),
        (text(&key, "").replace("/var/lib/", "./"), "state"),
        (
            text(&key, tls).replace("/c.pem", "c.pem"),
            "tls.certificate",
        ),
        (text(&witness, ""), "logs[0].key"),
        (text("x", ""), "logs[0].key"),
        (text(&other, ""), "logs[0].origin"),
        (
            text(&key, &format!("- origin: {ORIGIN}\n  key: {key}\n")),
            "logs[1].origin",
        ),
        (text(&key, "strict: true\n"), "strict"),
    ];
    for (text, wanted) in wrong {
        let error = parse(&text, "witness.yaml").unwrap_err().to_string();
        assert!(
            error.contains(wanted) && error.starts_with("witness.yaml"),
            "{error}"
        );
    }
    let none = text(&key, "").split("logs:").next().unwrap().to_owned() + "logs: []\n";
    assert!(
        parse(&none, "x")
            .unwrap_err()
            .to_string()
            .contains("logs: found 0")
    );
    assert!(parse(&text(&key, &format!("listen: 0.0.0.0:4373\n{tls}")), "x").is_ok());
    assert!(parse(&text(&key, "listen: '[::1]:1'\n"), "x").is_ok());
}

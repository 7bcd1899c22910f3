use super::*;

fn refusal(url: &str) -> Option<String> {
    check(&PostgresConfig::new(url))
        .err()
        .map(|error| error.to_string())
}

#[test]
fn a_server_on_another_machine_is_never_reached_in_plain_text() {
    for url in [
        "postgresql://u:secret@db.example.org/skans",
        "postgresql://u:secret@db.example.org/skans?sslmode=prefer",
        "postgresql://u:secret@db.example.org/skans?sslmode=disable",
        "host=localhost,db.example.org user=u password=secret",
        // The address is what counts, whatever the name says.
        "host=localhost hostaddr=192.0.2.1 user=u password=secret",
        "host=192.0.2.1 user=u password=secret",
        "host=0.0.0.0 user=u password=secret",
    ] {
        let refusal = refusal(url).unwrap_or_else(|| panic!("{url} was taken"));
        assert!(!refusal.contains("secret"), "{refusal}");
    }
}

#[test]
fn a_server_on_this_machine_needs_no_tls() {
    for url in [
        "host=/run/postgresql user=u",
        "postgresql://u@localhost/skans",
        "postgresql://u@127.0.0.1/skans",
        "postgresql://u@[::1]/skans",
        "host=name-of-a-tunnel hostaddr=127.0.0.1 user=u",
    ] {
        assert_eq!(refusal(url), None, "{url}");
    }
    assert!(refusal("postgresql://u@localhost/skans?sslmode=require").is_some());
}

#[test]
fn a_password_is_never_shown() {
    let config = PostgresConfig::new("postgresql://u:secret@db.example.org/skans");
    assert!(!format!("{config:?}").contains("secret"));
    for broken in [
        "postgresql://u:secret@db.example.org:port/skans",
        "host=localhost password=secret nonsense=1",
        "password=secret user=u",
        "secret",
    ] {
        let refusal = refusal(broken).unwrap_or_else(|| panic!("{broken} was taken"));
        assert!(!refusal.contains("secret"), "{broken}: {refusal}");
    }
}

#[test]
fn the_number_of_connections_is_bounded() {
    for (writers, readers) in [(0, 1), (1, 0), (65, 1), (1, 65)] {
        let mut config = PostgresConfig::new("host=/run/postgresql user=u");
        config.writers = writers;
        config.readers = readers;
        assert!(matches!(check(&config), Err(Error::Bound { .. })));
    }
}

use super::*;

#[test]
fn names_are_read_as_they_are_written() {
    for text in ["a@host", "cli@10.0.0.7", "a_b-C@h.example", "a@2001:db8::1"] {
        let name = NodeName::parse(text).unwrap();
        assert_eq!(name.to_string(), text);
        assert_eq!(format!("{name:?}"), text);
    }
    for text in [
        "", "a", "@host", "a@", "a@b@c", "a b@host", "a@h o", "a@1.2.3",
    ] {
        assert!(NodeName::parse(text).is_err(), "{text}");
    }
    assert_ne!(
        NodeName::parse("a@Host").unwrap(),
        NodeName::parse("a@host").unwrap()
    );
}

use proptest::prelude::*;

use super::*;

#[test]
fn names_read_as_erlang_writes_them() {
    for (text, parts) in [
        ("lists:map/2", ("lists", "map", 2)),
        (
            "Elixir.Shop.Stock:level!/1",
            ("Elixir.Shop.Stock", "level!", 1),
        ),
        ("erlang:'/'/2", ("erlang", "/", 2)),
        (r"'a\'b':'\\'/0", ("a'b", "\\", 0)),
        ("'':f/0", ("", "f", 0)),
    ] {
        assert_eq!(function(parts.0, parts.1, parts.2), text);
        let read = parse(text).unwrap();
        assert_eq!((&*read.0, &*read.1, read.2), parts);
    }
}

#[test]
fn what_is_not_written_so_is_no_name() {
    for text in [
        "",
        "lists",
        "lists:map",
        "lists:map/",
        "lists:map/x",
        "lists:map/02",
        "'lists':map/2",
        "lists:map/256",
        "a:b:c/1",
        "lists:map/+2",
    ] {
        assert_eq!(parse(text), None, "{text:?}");
    }
}

proptest! {
    #[test]
    fn two_functions_never_share_a_text(a in any::<(String, String)>(), n in 0u32..=255) {
        let text = function(&a.0, &a.1, n);
        prop_assert_eq!(parse(&text), Some((a.0, a.1, n)));
    }
}

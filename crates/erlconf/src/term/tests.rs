use proptest::prelude::*;

use super::{Kind, Options, Term, consult, consult_with, decode, parse};
use crate::limits::Limits;

fn term(text: &str) -> Term {
    parse(text).unwrap_or_else(|error| panic!("{text}: {}", error.in_text(text)))
}

fn refused(text: &str) -> String {
    parse(text).map_or_else(
        |error| error.in_text(text),
        |term| panic!("{text} is {term}"),
    )
}

fn atom(name: &str) -> Kind {
    Kind::Atom(name.to_owned())
}

#[test]
fn atoms_are_read_with_and_without_quotes() {
    assert_eq!(term("a@B_1").kind, atom("a@B_1"));
    assert_eq!(term("éa").kind, atom("éa"));
    assert_eq!(term(r"'it\'s \x41\101 \n'").kind, atom("it's AA \n"));
    assert_eq!(term("'if'").kind, atom("if"));
    assert_eq!(term("maybe").kind, atom("maybe"));
    assert_eq!(
        refused("if"),
        "line 1, column 1: found if, wanted an Erlang term"
    );
    assert!(refused("Variable").contains("found Variable"));
    assert!(refused(&"a".repeat(256)).contains("wanted at most 255"));
}

#[test]
fn numbers_are_read_in_all_their_forms() {
    for (text, value) in [
        ("1_000", 1000),
        ("-16#fF", -255),
        ("2#1_01", 5),
        ("36#z", 35),
        ("+7", 7),
        ("$a", 97),
        (r"$\n", 10),
        (r"-$\s", -32),
        ("- 1", -1),
        ("-(1)", -1),
        ("((1))", 1),
        ("-170141183460469231731687303715884105728", i128::MIN),
    ] {
        assert_eq!(term(text).kind, Kind::Integer(value), "{text}");
    }
    assert_eq!(
        term("170141183460469231731687303715884105728").kind,
        Kind::BigInteger("170141183460469231731687303715884105728".to_owned())
    );
    assert_eq!(term("-1.5e-3").kind, Kind::Float(-0.0015));
    for text in [
        "1.0e400", "37#1", "1#1", "16#", "1__0", "- -1", "-a", "1.5e",
    ] {
        refused(text);
    }
}

#[test]
fn strings_side_by_side_are_one() {
    assert_eq!(term("\"a\" \"b\"\n\"c\"").text(), Some("abc"));
    assert_eq!(term("\"ab\""), term("[97, 98]"));
    assert_eq!(term("\"\""), term("[]"));
    assert_eq!(
        term(r#""\^A\e\x{20ac}\d""#).text(),
        Some("\u{1}\u{1b}€\u{7f}")
    );
}

#[test]
fn triple_quotes_lose_the_indentation_of_their_end() {
    let text = "\"\"\"\n    a \"quoted\" \\n\n\n      b\n    \"\"\"";
    assert_eq!(term(text).text(), Some("a \"quoted\" \\n\n\n  b"));
    assert_eq!(term("~b\"\"\"\n a\\tb\n \"\"\"").text(), Some("a\tb"));
    assert!(refused("\"\"\"\n a\n  \"\"\"").contains("indented less"));
    assert!(refused("\"\"\"a\n\"\"\"").contains("new line"));
    assert!(refused("\"\"\"\na").contains("never closed"));
}

#[test]
fn sigils_make_binaries_and_strings() {
    assert_eq!(term(r#"~"é\n""#).kind, Kind::Binary("é\n".into()));
    assert_eq!(term(r"~B[a\n]").kind, Kind::Binary(r"a\n".into()));
    assert_eq!(term("~s'a'").text(), Some("a"));
    assert_eq!(term(r"~S/\/").text(), Some("\\"));
    for text in ["~x\"a\"", "~", "~s\"a\"i", "~ \"a\""] {
        refused(text);
    }
}

#[test]
fn binaries_are_put_together_from_their_segments() {
    for (text, bytes) in [
        ("<<>>", &[][..]),
        ("<<1, \"ab\", -1>>", &[1, 97, 98, 255]),
        ("<<\"é\">>", &[233]),
        ("<<\"é\"/utf8>>", &[0xc3, 0xa9]),
        ("<<1:16/little, 1:16>>", &[1, 0, 0, 1]),
        ("<<1:12/little, 3:4>>", &[1, 3]),
        ("<<\"a\":16>>", &[0, 97]),
        ("<<1.5:32/float>>", &[0x3f, 0xc0, 0, 0]),
        ("<<(<<1,2,3>>):2/binary>>", &[1, 2]),
        ("<<<<5:3>>/bits, 0:5>>", &[0xa0]),
        ("<<2:2/integer-unit:8>>", &[0, 2]),
    ] {
        assert_eq!(term(text).kind, Kind::Binary(bytes.to_vec()), "{text}");
    }
    assert_eq!(
        term("<<5:3>>").kind,
        Kind::Bits {
            bytes: vec![0xa0],
            last: 3
        }
    );
    for text in [
        "<<a>>",
        "<<1.5>>",
        "<<\"a\"/binary>>",
        "<<1/utf8-unit:8>>",
        "<<1/float-integer>>",
        "<<1:a>>",
        "<<1:99999999>>",
        "<<(<<1>>):2/binary>>",
        "<<1/unit:8>>",
        "<<1",
    ] {
        refused(text);
    }
}

#[test]
fn lists_maps_and_funs_are_read() {
    assert_eq!(term("[a|[b|[c]]]"), term("[a,b,c]"));
    assert_eq!(term("[a|b]").to_string(), "[a|b]");
    assert_eq!(term("#{a => 1, a => 2}"), term("#{a => 2}"));
    assert_ne!(term("#{a => 1}"), term("#{a => 2}"));
    assert_eq!(
        term("fun lists:map/2").kind,
        Kind::Fun {
            module: "lists".to_owned(),
            function: "map".to_owned(),
            arity: 2
        }
    );
    for text in [
        "#{a := 1}",
        "#r{}",
        "fun f/1",
        "fun M:f/1",
        "[a,]",
        "{a b}",
        "[a|b,c]",
        "[|a]",
        "fun a:b/256",
        "1 + 2",
        "f()",
    ] {
        refused(text);
    }
}

#[test]
fn a_document_is_terms_that_end_with_a_dot() {
    let text = "%% one\n{a, \"%\"}. % two\nb.\n";
    let document = consult(text).unwrap();
    assert_eq!(document.terms.len(), 2);
    let comments: Vec<_> = document
        .comments
        .iter()
        .map(|comment| comment.span.text(text))
        .collect();
    assert_eq!(comments, ["%% one", "% two"]);
    assert_eq!(document.terms[0].span.text(text), "{a, \"%\"}");
    assert_eq!(
        consult("[a]\n[b].").unwrap_err().in_text("[a]\n[b]."),
        "line 2, column 1: found [, wanted a dot and white space at the end of the term"
    );
    assert!(consult("a").is_err());
    assert!(consult("a.b.").is_err());
    assert!(consult("").unwrap().terms.is_empty());
}

#[test]
fn every_term_knows_its_place() {
    let text = "[{kernel, [{a, -1}, <<\"b\">>, #{c => [d | e]}, fun f:g/0]}]";
    let whole = term(text);
    for inner in whole.all() {
        let again = term(inner.span.text(text));
        assert_eq!(&again, inner);
    }
    assert_eq!(whole.all().len(), 14);
    // The place of what has a sign before its parentheses has both of them.
    for text in ["-(1).", "+($\\0).", "- ( (1.5) ) .", "[-(1)]."] {
        let whole = &consult(text).unwrap().terms[0];
        assert_eq!(whole.span.text(text), text.trim_end_matches([' ', '.']));
        assert_eq!(term(whole.span.text(text)), *whole);
    }
}

#[test]
fn placeholders_are_kept_where_terms_stand() {
    let options = Options {
        placeholders: true,
        ..Options::default()
    };
    let text =
        "[{port, ${PORT}}, {node, app@${HOST:-a.b}}, {s, \"${S}\"}, {e, <%= e() %>}, {c, $a}].";
    let document = consult_with(text, options).unwrap();
    let list = &document.terms[0];
    let kind = |key| list.get(key).unwrap().kind.clone();
    assert_eq!(kind("port"), Kind::Placeholder("${PORT}".to_owned()));
    assert_eq!(
        kind("node"),
        Kind::Placeholder("app@${HOST:-a.b}".to_owned())
    );
    assert_eq!(kind("s"), Kind::String("${S}".to_owned()));
    assert_eq!(kind("e"), Kind::Placeholder("<%= e() %>".to_owned()));
    assert_eq!(kind("c"), Kind::Integer(97));
    // To Erlang it is the character { and a variable.
    assert!(consult(text).is_err());
}

#[test]
fn calls_and_funs_are_kept_on_request() {
    let options = Options {
        code: true,
        ..Options::default()
    };
    let text = "[{m, public_key:f(https, [1])}, {v, {fun (_, X, S) when X =:= 1; S >= 2 -> case X of {_, A} -> A; _ -> fun m:f/1 end end, []}}].";
    let document = consult_with(text, options).unwrap();
    let list = &document.terms[0];
    assert_eq!(
        list.get("m").unwrap().to_string(),
        "public_key:f(https,[1])"
    );
    let code = &list.get("v").unwrap().elements().unwrap()[0];
    assert!(
        matches!(&code.kind, Kind::Code(text) if text.starts_with("fun (") && text.ends_with("end end"))
    );
    assert!(consult(text).is_err());
    assert!(consult_with("[fun (X) -> X].", options).is_err());
}

#[test]
fn property_lists_are_asked_as_proplists_asks_them() {
    let list = term("[{a, 1}, {a, 2}, b, {c, 1, 2}, 7, {\"a\", 3}]");
    assert_eq!(list.get("a").and_then(Term::as_integer), Some(1));
    assert!(list.entry("b").unwrap().is_true());
    assert!(list.entry("c").is_none());
    assert_eq!(list.entries().count(), 4);
    assert_eq!(
        term("#{a => #{b => 1}}")
            .path(&["a", "b"])
            .and_then(Term::as_integer),
        Some(1)
    );
}

#[test]
fn what_is_too_deep_or_too_large_is_refused() {
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    assert!(refused(&deep).contains("nesting: found 51"));
    assert!(refused(&"(".repeat(100_000)).contains("nesting"));
    let options = Options {
        limits: Limits {
            size: 10,
            ..Limits::DEFAULT
        },
        ..Options::default()
    };
    assert!(consult_with("[a,b,c,d,e].", options).is_err());
    let options = Options {
        limits: Limits {
            count: 10,
            ..Limits::DEFAULT
        },
        ..Options::default()
    };
    assert!(consult_with("[a,b,c,d,e].", options).is_err());
}

#[test]
fn latin_1_is_read_if_the_file_says_so() {
    assert_eq!(
        decode(b"%% -*- coding: latin-1 -*-\n'\xe9'.").unwrap(),
        "%% -*- coding: latin-1 -*-\n'é'."
    );
    assert_eq!(decode("'é'.".as_bytes()).unwrap(), "'é'.");
    assert_eq!(decode(b"abc\xe9").unwrap_err().span().start, 3);
}

/// Terms whose printed form is read as themselves.
pub(super) fn any_term() -> impl Strategy<Value = Term> {
    let leaf = prop_oneof![
        any::<String>()
            .prop_map(|text| text
                .chars()
                .filter(|c| !matches!(c, '\u{fffe}' | '\u{ffff}'))
                .take(255)
                .collect())
            .prop_map(Kind::Atom),
        "[a-z][a-z0-9_@]{0,8}".prop_map(Kind::Atom),
        any::<i128>().prop_map(Kind::Integer),
        any::<f64>()
            .prop_filter("finite", |value| value.is_finite())
            .prop_map(Kind::Float),
        "\\PC{0,20}"
            .prop_map(|text| text
                .chars()
                .filter(|c| !matches!(c, '\u{fffe}' | '\u{ffff}'))
                .collect())
            .prop_map(Kind::String),
        any::<Vec<u8>>().prop_map(Kind::Binary),
        ("[a-z]{1,5}", "[a-z]{1,5}", any::<u8>()).prop_map(|(module, function, arity)| Kind::Fun {
            module,
            function,
            arity
        }),
    ];
    let spanned = |kind| Term {
        kind,
        span: crate::Span::default(),
    };
    leaf.prop_map(spanned)
        .prop_recursive(6, 64, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Kind::Tuple),
                prop::collection::vec(inner.clone(), 0..6).prop_map(|list| Kind::List(list, None)),
                prop::collection::vec((inner.clone(), inner), 0..4).prop_map(Kind::Map),
            ]
            .prop_map(spanned)
        })
}

proptest! {
    #[test]
    fn what_is_printed_is_read_again(term in any_term()) {
        let text = format!("{term}.");
        let document = consult(&text).map_err(|error| TestCaseError::fail(error.in_text(&text)))?;
        prop_assert_eq!(&document.terms, &[term]);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,60}") {
        for options in [false, true].map(|placeholders| Options { placeholders, ..Options::default() }) {
            match consult_with(&text, options) {
                Ok(document) => for term in document.terms {
                    for inner in term.all() {
                        prop_assert!(!inner.span.text(&text).is_empty());
                    }
                },
                Err(error) => prop_assert!(error.span().end <= text.len()),
            }
        }
    }

    #[test]
    fn erlang_like_text_is_read_or_refused(text in "[\\[\\]{}()<>#,|.:/~$\"'\\\\%a-cA0-9 \n=+-]{0,40}") {
        for term in consult(&text).map(|document| document.terms).unwrap_or_default() {
            prop_assert_eq!(super::parse(term.span.text(&text)), Ok(term));
        }
    }
}

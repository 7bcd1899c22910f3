//! Terms, against a real node: what it writes is read, and what we write it reads as the same.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use std::cell::RefCell;
use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use skans_dist::Error;
use skans_dist::term::{Atom, Fun, Limits, Pid, Port, Reader, Reference, Term, Token, Writer};
use support::Node;

fn read(bytes: &[u8]) -> Term<'_> {
    let mut reader = Reader::new(bytes).unwrap();
    reader.version().unwrap();
    let term = reader.term().unwrap();
    assert!(reader.is_empty(), "left over: {:?}", reader.rest());
    term
}

fn write(term: &Term<'_>) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.version().term(term);
    writer.finish().unwrap()
}

/// Reads a list of terms that a node has written, and has the node compare each with what we write of it.
fn compare_each(node: &mut Node, list: &[u8]) -> usize {
    let mut reader = Reader::new(list).unwrap();
    reader.version().unwrap();
    let Ok(Token::List(count)) = reader.token() else {
        panic!("not a list")
    };
    for _ in 0..count {
        let span = reader.clone().skip().unwrap();
        let term = reader.term().unwrap();
        let original = [&[131], &list[span]].concat();
        assert!(node.same(&original, &write(&term)), "read as {term:?}");
    }
    assert_eq!(reader.token(), Ok(Token::Nil));
    assert!(reader.is_empty());
    usize::try_from(count).unwrap()
}

#[test]
fn something_of_everything_is_read() {
    let mut node = Node::alone();
    let list = node.eval("term_to_binary(probe:rich()).");
    assert!(compare_each(&mut node, &list) > 100);
    // The forms of old: floats in decimal, atoms in latin1.
    let old = node.eval("term_to_binary([1.5, -1.0e308, 0.1, 'å', ok], [{minor_version, 0}]).");
    assert!(old.contains(&b'c'), "FLOAT_EXT");
    assert_eq!(compare_each(&mut node, &old), 5);
    let old = node.eval(
        "term_to_binary(['å', ok, list_to_atom(lists:duplicate(255, $å))], [{minor_version, 1}]).",
    );
    assert!(old.contains(&b'd'), "ATOM_EXT");
    assert_eq!(compare_each(&mut node, &old), 3);
}

#[test]
fn random_terms_of_a_node_are_read() {
    let mut node = Node::alone();
    for seed in 1..=20 {
        let list = node.eval(&format!("term_to_binary(probe:random({seed}, 100))."));
        assert_eq!(compare_each(&mut node, &list), 100);
    }
}

#[test]
fn compressed_terms_are_recognised_and_refused() {
    let mut node = Node::alone();
    let bytes = node.eval("term_to_binary(lists:duplicate(1000, a), [compressed]).");
    let mut reader = Reader::new(&bytes).unwrap();
    reader.version().unwrap();
    assert!(
        matches!(reader.skip(), Err(Error::Unsupported { what }) if what.contains("compressed"))
    );
}

/// A boot file of the installation: read whole, spliced, and taken by the node as what was meant.
#[test]
fn a_boot_file_is_read_and_extended() {
    let mut node = Node::alone();
    let boot = node.eval(
        "{ok, B} = file:read_file(filename:join([code:root_dir(), \"bin\", \"start.boot\"])), B.",
    );
    let Term::Tuple(script) = read(&boot) else {
        panic!("not a tuple")
    };
    assert_eq!(script[0], Term::atom("script"));

    let mut reader = Reader::with_limits(&boot, Limits::DEFAULT).unwrap();
    reader.version().unwrap();
    assert_eq!(reader.tuple(), Ok(3));
    reader.skip().unwrap();
    reader.skip().unwrap();
    let head = reader.position();
    let Ok(Token::List(count)) = reader.token() else {
        panic!("not a list")
    };
    let mut extended = Writer::new();
    let mut added = 0;
    let elements = (0..count)
        .map(|_| reader.skip().unwrap())
        .map(|span| &boot[span])
        .collect::<Vec<_>>();
    assert_eq!(reader.token(), Ok(Token::Nil));
    extended.list(elements.len() + 2);
    for element in elements {
        if Reader::new(element).unwrap().term()
            == Ok(Term::Tuple(vec![Term::atom("kernel_load_completed")]))
        {
            extended
                .tuple(2)
                .atom("path")
                .list(1)
                .string(b"/skans")
                .nil();
            extended
                .tuple(2)
                .atom("primLoad")
                .list(1)
                .atom("skans_epmd")
                .nil();
            added += 1;
        }
        extended.raw(element);
    }
    extended.nil();
    assert_eq!(added, 1, "one place to insert");
    let spliced = [&boot[..head], &extended.finish().unwrap()].concat();

    // The node does the same in its own way.
    let wanted = node.eval(
        "{ok, B} = file:read_file(filename:join([code:root_dir(), \"bin\", \"start.boot\"])),
         {script, Id, L} = binary_to_term(B),
         {Before, After} = lists:splitwith(fun(E) -> E =/= {kernel_load_completed} end, L),
         term_to_binary({script, Id, Before ++ [{path, [\"/skans\"]}, {primLoad, [skans_epmd]}] ++ After}).",
    );
    assert!(node.same(&spliced, &wanted));
}

/// Any term that a node can take in. Two keys of a map that are one to Erlang are one here.
fn any_term() -> impl Strategy<Value = Term<'static>> {
    let node = || "[a-z]{1,9}@[a-z]{1,9}".prop_map(|text| Atom::Text(text.into()));
    let pid = move || {
        (node(), any::<[u32; 2]>(), 1..u32::MAX).prop_map(|(node, [id, serial], creation)| Pid {
            node,
            id,
            serial,
            creation,
        })
    };
    // The first word of a short reference has 18 bits.
    let reference = (
        node(),
        1..u32::MAX,
        0..1_u32 << 18,
        proptest::collection::vec(any::<u32>(), 0..5),
    )
        .prop_map(|(node, creation, first, more)| {
            Reference::new(node, creation, &[vec![first], more].concat()).unwrap()
        });
    let atom = || "\\PC{0,40}".prop_map(|text| Atom::Text(text.into()));
    let leaf = prop_oneof![
        any::<i64>().prop_map(Term::Integer),
        (-300..300_i64).prop_map(Term::Integer),
        (
            any::<bool>(),
            proptest::collection::vec(any::<u8>(), 9..300),
            1..=255_u8
        )
            .prop_map(|(negative, mut digits, top)| {
                digits.push(top);
                Term::Big {
                    negative,
                    digits: digits.into(),
                }
            }),
        any::<f64>()
            .prop_filter("finite", |value| value.is_finite())
            .prop_map(|value| Term::Float(value + 0.0)),
        atom().prop_map(Term::Atom),
        pid().prop_map(Term::Pid),
        (node(), any::<u64>(), 1..u32::MAX).prop_map(|(node, id, creation)| Term::Port(Port {
            node,
            id,
            creation
        })),
        reference.prop_map(Term::Reference),
        proptest::collection::vec(any::<u8>(), 1..80).prop_map(|bytes| Term::String(bytes.into())),
        proptest::collection::vec(any::<u8>(), 0..80).prop_map(|bytes| Term::Binary(bytes.into())),
        (proptest::collection::vec(any::<u8>(), 1..20), 1..8_u8).prop_map(|(mut bytes, last)| {
            *bytes.last_mut().unwrap() &= 0xFF << (8 - last);
            Term::Bits {
                bytes: bytes.into(),
                last,
            }
        }),
        (atom(), atom(), any::<u8>()).prop_map(|(module, function, arity)| Term::Export {
            module,
            function,
            arity
        }),
    ];
    leaf.prop_recursive(5, 60, 8, move |inner| {
        let several = || proptest::collection::vec(inner.clone(), 0..8);
        prop_oneof![
            several().prop_map(Term::Tuple),
            several().prop_map(Term::list),
            (
                proptest::collection::vec(inner.clone(), 1..4),
                inner.clone()
            )
                .prop_map(|(elements, tail)| Term::List {
                    elements,
                    tail: Some(Box::new(tail))
                }),
            proptest::collection::vec((inner.clone(), inner.clone()), 0..8).prop_map(Term::Map),
            (
                any::<[u8; 16]>(),
                any::<[u8; 1]>(),
                0..1000_u32,
                pid(),
                several(),
                -1000..1000_i64
            )
                .prop_map(|(unique, [arity], index, pid, free, old)| Term::Fun(
                    Box::new(Fun {
                        arity,
                        unique,
                        index,
                        module: Atom::new("no_such_module"),
                        old_index: i64::from(index),
                        old_unique: old,
                        pid,
                        free,
                    })
                )),
        ]
        .prop_map(normal)
    })
    .prop_map(normal)
}

/// One form for each term: what Erlang takes for the same looks the same.
fn normal(term: Term<'_>) -> Term<'_> {
    match term {
        Term::Tuple(elements) => Term::Tuple(elements.into_iter().map(normal).collect()),
        Term::List { elements, tail } => {
            let mut elements = elements.into_iter().map(normal).collect::<Vec<_>>();
            // A tail that is a list continues it.
            let tail = match tail.map(|tail| normal(*tail)) {
                Some(Term::List {
                    elements: rest,
                    tail,
                }) => {
                    elements.extend(rest);
                    tail
                }
                Some(Term::String(bytes)) => {
                    elements.extend(bytes.iter().map(|byte| Term::Integer((*byte).into())));
                    None
                }
                other => other.map(Box::new),
            };
            let bytes = elements.iter().map(|element| match element {
                Term::Integer(value) => u8::try_from(*value).ok(),
                _ => None,
            });
            match (tail, bytes.collect::<Option<Vec<_>>>()) {
                (None, Some(bytes)) if !bytes.is_empty() && bytes.len() <= 65_535 => {
                    Term::String(bytes.into())
                }
                (tail, _) => Term::List { elements, tail },
            }
        }
        Term::Map(pairs) => {
            let sorted = pairs
                .into_iter()
                .map(|(key, value)| (normal(key), normal(value)));
            Term::Map(
                sorted
                    .map(|(key, value)| (write(&key), (key, value)))
                    .collect::<BTreeMap<_, _>>()
                    .into_values()
                    .collect(),
            )
        }
        Term::Fun(mut fun) => {
            fun.free = fun.free.into_iter().map(normal).collect();
            Term::Fun(fun)
        }
        Term::Bits { bytes, last: 8 } => Term::Binary(bytes),
        other => other,
    }
}

#[test]
fn random_terms_of_ours_survive_a_node() {
    let node = RefCell::new(Node::alone());
    let mut runner = TestRunner::new(Config {
        cases: 2000,
        failure_persistence: None,
        ..Config::default()
    });
    let result = runner.run(&any_term(), |term| {
        let bytes = write(&term);
        prop_assert_eq!(normal(read(&bytes)), term.clone(), "our own reader");
        let back = node.borrow_mut().there_and_back(&bytes);
        prop_assert_eq!(normal(read(&back)), term);
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

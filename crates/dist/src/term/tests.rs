use proptest::prelude::*;

use super::*;
use crate::error::{Error, Result};

fn read(bytes: &[u8]) -> Result<Term<'_>> {
    let mut reader = Reader::new(bytes)?;
    let term = reader.term()?;
    assert!(reader.is_empty(), "left over: {:?}", reader.rest());
    Ok(term)
}

fn node() -> Atom<'static> {
    Atom::new("a@b")
}

const NODE: &[u8] = b"w\x03a@b";

/// One vector for every tag that a node of OTP 25 to 29 can send, written by hand from the description of the format.
#[test]
fn every_tag() {
    let with_node = |before: &[u8], after: &[u8]| [before, NODE, after].concat();
    let pid = Pid {
        node: node(),
        id: 1,
        serial: 2,
        creation: 3,
    };
    let vectors = vec![
        (b"a\xff".to_vec(), Term::Integer(255)),
        (b"b\xff\xff\xff\xfe".to_vec(), Term::Integer(-2)),
        (b"n\x08\x01\0\0\0\0\0\0\0\x80".to_vec(), Term::Integer(i64::MIN)),
        (b"n\x08\0\0\0\0\0\0\0\0\x80".to_vec(), Term::Big { negative: false, digits: vec![0, 0, 0, 0, 0, 0, 0, 128].into() }),
        (b"n\x02\x01\x05\0".to_vec(), Term::Integer(-5)),
        (b"o\0\0\0\x09\x01\x01\0\0\0\0\0\0\0\x01".to_vec(), Term::Big { negative: true, digits: vec![1, 0, 0, 0, 0, 0, 0, 0, 1].into() }),
        (b"F\x3f\xf8\0\0\0\0\0\0".to_vec(), Term::Float(1.5)),
        (b"c1.50000000000000000000e+00\0\0\0\0\0".to_vec(), Term::Float(1.5)),
        (b"w\x02ok".to_vec(), Term::atom("ok")),
        (b"v\0\x02\xc3\xa5".to_vec(), Term::atom("å")),
        (b"s\x01\xe5".to_vec(), Term::atom("å")),
        (b"d\0\x02ok".to_vec(), Term::atom("ok")),
        (b"R\x07".to_vec(), Term::Atom(Atom::Cached(7))),
        (with_node(b"X", b"\0\0\0\x01\0\0\0\x02\0\0\0\x03"), Term::Pid(pid.clone())),
        (with_node(b"g", b"\0\0\0\x01\0\0\0\x02\x03"), Term::Pid(pid.clone())),
        (with_node(b"Y", b"\0\0\0\x01\0\0\0\x03"), Term::Port(Port { node: node(), id: 1, creation: 3 })),
        (with_node(b"f", b"\0\0\0\x01\x03"), Term::Port(Port { node: node(), id: 1, creation: 3 })),
        (with_node(b"x", b"\0\0\0\x01\0\0\0\x02\0\0\0\x03"), Term::Port(Port { node: node(), id: 1 << 32 | 2, creation: 3 })),
        (with_node(b"Z\0\x02", b"\0\0\0\x03\0\0\0\x04\0\0\0\x05"), Term::Reference(Reference::new(node(), 3, &[4, 5]).unwrap())),
        (with_node(b"r\0\x02", b"\x03\0\0\0\x04\0\0\0\x05"), Term::Reference(Reference::new(node(), 3, &[4, 5]).unwrap())),
        (with_node(b"e", b"\0\0\0\x04\x03"), Term::Reference(Reference::new(node(), 3, &[4]).unwrap())),
        (b"h\x02a\x01j".to_vec(), Term::Tuple(vec![Term::Integer(1), Term::list(vec![])])),
        (b"i\0\0\0\x01a\x01".to_vec(), Term::Tuple(vec![Term::Integer(1)])),
        (b"k\0\x02\x01\x02".to_vec(), Term::String(vec![1, 2].into())),
        (b"l\0\0\0\x01a\x01j".to_vec(), Term::list(vec![Term::Integer(1)])),
        (b"l\0\0\0\x01a\x01a\x02".to_vec(), Term::List { elements: vec![Term::Integer(1)], tail: Some(Box::new(Term::Integer(2))) }),
        (b"m\0\0\0\x02xy".to_vec(), Term::Binary(b"xy".into())),
        (b"M\0\0\0\x01\x03\xe0".to_vec(), Term::Bits { bytes: vec![0xe0].into(), last: 3 }),
        (b"t\0\0\0\x01a\x01a\x02".to_vec(), Term::Map(vec![(Term::Integer(1), Term::Integer(2))])),
        (b"qw\x01mw\x01fa\x02".to_vec(), Term::Export { module: Atom::new("m"), function: Atom::new("f"), arity: 2 }),
        (
            [&b"p\0\0\0\x39\x01\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\0\0\0\x05\0\0\0\x01w\x01ma\x06b\xff\xff\xff\xffX"[..], NODE, b"\0\0\0\x01\0\0\0\x02\0\0\0\x03a\x09"].concat(),
            Term::Fun(Box::new(Fun { arity: 1, unique: [7; 16], index: 5, module: Atom::new("m"), old_index: 6, old_unique: -1, pid, free: vec![Term::Integer(9)] })),
        ),
        // `#r{a = 1, b = 2}` of module m, a native record of OTP 29.
        (
            b"C\0\0\0\x02\0w\x01mw\x01rw\x01aw\x01ba\x01a\x02".to_vec(),
            Term::Record(Box::new(Record {
                flags: 0,
                module: Atom::new("m"),
                name: Atom::new("r"),
                names: vec![Term::atom("a"), Term::atom("b")],
                values: vec![Term::Integer(1), Term::Integer(2)],
            })),
        ),
    ];
    for (bytes, term) in &vectors {
        assert_eq!(read(bytes).as_ref(), Ok(term));
        assert_eq!(Reader::new(bytes).unwrap().skip(), Ok(0..bytes.len()));
        // Whatever is read can be written, and means the same.
        let mut writer = Writer::new();
        let written = writer.term(term).clone().finish().unwrap();
        assert_eq!(read(&written).as_ref(), Ok(term));
        // Nothing of it can be missing.
        for end in 0..bytes.len() {
            assert!(
                matches!(
                    Reader::new(&bytes[..end]).unwrap().skip(),
                    Err(Error::Truncated { .. })
                ),
                "{term:?} cut at {end}"
            );
        }
    }
}

#[test]
fn what_is_recognised_and_refused() {
    assert!(
        matches!(read(b"P\0\0\0\x01x"), Err(Error::Unsupported { what }) if what.contains("80"))
    );
    assert!(matches!(read(b"yabc"), Err(Error::Unsupported { what }) if what.contains("121")));
    assert!(matches!(read(b"u\0\0\0\0"), Err(Error::Unsupported { what }) if what.contains("117")));
    assert!(matches!(
        read(b"h\x01P\0\0\0\x01x"),
        Err(Error::Unsupported { .. })
    ));
}

#[test]
fn what_cannot_be() {
    for other in (0..=255_u8).filter(|tag| !b"CFMPRXYZabcdefghijklmnopqrstuvwxy".contains(tag)) {
        assert!(
            matches!(read(&[other; 40]), Err(Error::Unexpected { found, .. }) if found == other)
        );
    }
    assert!(matches!(
        read(b"F\x7f\xf0\0\0\0\0\0\0"),
        Err(Error::Invalid { what: "float", .. })
    ));
    assert!(matches!(
        read(b"cinf\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        Err(Error::Invalid { what: "float", .. })
    ));
    assert!(matches!(
        read(b"M\0\0\0\x01\0x"),
        Err(Error::Invalid {
            what: "bit string",
            ..
        })
    ));
    assert!(matches!(
        read(b"M\0\0\0\x01\x09x"),
        Err(Error::Invalid {
            what: "bit string",
            ..
        })
    ));
    assert!(matches!(
        read(b"w\x01\xff"),
        Err(Error::Invalid { what: "atom", .. })
    ));
    assert!(
        matches!(read(b"Xa\x01"), Err(Error::Unexpected { .. })),
        "the node of a pid is an atom"
    );
    assert!(matches!(
        read(&[b"Z\0\x06", NODE, &[0; 28]].concat()),
        Err(Error::TooLarge {
            what: "reference",
            ..
        })
    ));
    assert!(matches!(
        read(&[b"Z\0\0", NODE, &[0; 4]].concat()),
        Err(Error::Invalid {
            what: "reference",
            ..
        })
    ));
    let long = [&b"v\x01\0"[..], &[b'a'; 256]].concat();
    assert!(matches!(
        read(&long),
        Err(Error::TooLarge {
            what: "atom",
            found: 256,
            ..
        })
    ));
    let wide = [&b"v\x01\xfe"[..], "å".repeat(255).as_bytes()].concat();
    assert!(matches!(read(&wide), Ok(Term::Atom(_))));
}

#[test]
fn limits_hold() {
    let reader = |bytes, limits| Reader::with_limits(bytes, limits);
    let bytes = b"h\x03a\x01a\x02a\x03";
    let limits = Limits {
        size: bytes.len(),
        count: 4,
        depth: 1,
    };
    assert!(reader(bytes, limits).unwrap().term().is_ok());
    assert!(matches!(
        reader(bytes, Limits { size: 7, ..limits }),
        Err(Error::TooLarge {
            found: 8,
            limit: 7,
            ..
        })
    ));
    let few = Limits { count: 3, ..limits };
    assert!(matches!(
        reader(bytes, few).unwrap().skip(),
        Err(Error::TooLarge {
            what: "term count",
            found: 4,
            limit: 3
        })
    ));
    let flat = Limits { depth: 0, ..limits };
    assert!(matches!(
        reader(bytes, flat).unwrap().term(),
        Err(Error::TooLarge {
            what: "term depth",
            ..
        })
    ));
    assert!(
        reader(bytes, flat).unwrap().skip().is_ok(),
        "passing over does not nest"
    );

    // As deep as anyone likes: refused as a tree, passed over without stack.
    let deep = [b"h\x01".repeat(200_000), b"j".to_vec()].concat();
    assert!(matches!(
        Reader::new(&deep).unwrap().term(),
        Err(Error::TooLarge {
            what: "term depth",
            found: 201,
            limit: 200
        })
    ));
    assert_eq!(Reader::new(&deep).unwrap().skip(), Ok(0..deep.len()));

    // Four billion elements in nine bytes: refused before anybody makes room for them.
    for bytes in [
        b"l\xff\xff\xff\xffjjjj",
        b"t\xff\xff\xff\xffjjjj",
        b"i\xff\xff\xff\xffjjjj",
    ] {
        assert!(matches!(
            Reader::new(bytes).unwrap().token(),
            Err(Error::Truncated { .. })
        ));
    }
    assert!(matches!(
        read(b"l\xff\xff\xff\xffjjjj"),
        Err(Error::Truncated { .. })
    ));
    assert!(matches!(
        read(b"t\xff\xff\xff\xffjjjj"),
        Err(Error::Truncated { .. })
    ));
    assert!(matches!(
        read(b"m\xff\xff\xff\xffjjjj"),
        Err(Error::Truncated { .. })
    ));
}

#[test]
fn cached_atoms_resolve() {
    let atoms = ["x".into(), "a@b".into()];
    let mut reader = Reader::new(b"h\x02R\0XR\x01\0\0\0\x01\0\0\0\x02\0\0\0\x03R\x02")
        .unwrap()
        .with_atoms(&atoms);
    assert_eq!(reader.tuple(), Ok(2));
    assert_eq!(reader.atom().unwrap(), "x");
    assert_eq!(reader.pid().unwrap().node, "a@b");
    assert!(matches!(
        reader.atom(),
        Err(Error::Invalid {
            what: "atom cache reference",
            ..
        })
    ));
}

#[test]
fn typed_reads_refuse_other_terms() {
    assert!(matches!(
        Reader::new(b"a\x01").unwrap().atom(),
        Err(Error::Unexpected { found: b'a', .. })
    ));
    assert!(matches!(
        Reader::new(b"a\x01").unwrap().pid(),
        Err(Error::Unexpected { found: b'a', .. })
    ));
    assert!(matches!(
        Reader::new(b"a\x01").unwrap().reference(),
        Err(Error::Unexpected { found: b'a', .. })
    ));
    assert!(matches!(
        Reader::new(b"a\x01").unwrap().tuple(),
        Err(Error::Unexpected { found: b'a', .. })
    ));
    assert!(matches!(
        Reader::new(b"j").unwrap().unsigned(),
        Err(Error::Unexpected { found: b'j', .. })
    ));
    assert!(matches!(
        Reader::new(b"b\xff\xff\xff\xff").unwrap().unsigned(),
        Err(Error::Invalid { .. })
    ));
    assert_eq!(
        Reader::new(b"n\x08\0\xff\xff\xff\xff\xff\xff\xff\xff")
            .unwrap()
            .unsigned(),
        Ok(u64::MAX)
    );
}

/// An insertion into a list without decoding what is in it: how a boot file is extended.
#[test]
fn lists_can_be_spliced() {
    let original = b"\x83h\x02w\x06scriptl\0\0\0\x02w\x01aw\x01bj";
    let mut reader = Reader::new(original).unwrap();
    reader.version().unwrap();
    reader.tuple().unwrap();
    reader.skip().unwrap();
    let head = reader.position();
    assert_eq!(reader.token(), Ok(Token::List(2)));
    let first = reader.skip().unwrap();
    let rest = reader.position();

    let mut list = Writer::new();
    list.list(3).raw(&original[first]).atom("new");
    for element in [&original[rest..rest + 3], &original[rest + 3..]] {
        list.raw(element);
    }
    let spliced = [&original[..head], &list.finish().unwrap()].concat();
    let wanted = ["a", "new", "b"].map(Term::atom).to_vec();
    assert_eq!(
        read(&spliced[1..]),
        Ok(Term::Tuple(vec![Term::atom("script"), Term::list(wanted)]))
    );
}

#[test]
fn the_writer_refuses_what_it_cannot_say() {
    let finish = |write: &dyn Fn(&mut Writer)| {
        let mut writer = Writer::new();
        write(&mut writer);
        writer.finish()
    };
    assert!(matches!(
        finish(&|w| {
            w.tuple(2).integer(1);
        }),
        Err(Error::Invalid { .. })
    ));
    assert!(
        matches!(
            finish(&|w| {
                w.list(1).integer(1);
            }),
            Err(Error::Invalid { .. })
        ),
        "the tail is missing"
    );
    assert!(matches!(
        finish(&|w| {
            w.float(f64::NAN);
        }),
        Err(Error::Invalid { .. })
    ));
    assert!(matches!(
        finish(&|w| {
            w.atom(&"a".repeat(256));
        }),
        Err(Error::TooLarge { .. })
    ));
    assert!(matches!(
        finish(&|w| {
            w.bits(b"", 3);
        }),
        Err(Error::Invalid { .. })
    ));
    assert_eq!(
        finish(&|w| {
            w.string(b"");
        })
        .unwrap(),
        b"j"
    );
    assert_eq!(
        finish(&|w| {
            w.unsigned(u64::MAX);
        })
        .unwrap(),
        b"n\x08\0\xff\xff\xff\xff\xff\xff\xff\xff"
    );
    assert_eq!(
        finish(&|w| {
            w.integer(i64::MIN);
        })
        .unwrap(),
        b"n\x08\x01\0\0\0\0\0\0\0\x80"
    );
    assert_eq!(
        finish(&|w| {
            w.string(&[1; 70_000]);
        })
        .unwrap()
        .len(),
        5 + 70_000 * 2 + 1
    );
    assert_eq!(
        finish(&|w| {
            w.big(true, &[1; 300]);
        })
        .unwrap()
        .len(),
        6 + 300
    );
    assert_eq!(
        finish(&|w| {
            w.tuple(300);
            for _ in 0..300 {
                w.nil();
            }
        })
        .unwrap()
        .len(),
        5 + 300
    );
}

fn likely_tags() -> impl Strategy<Value = u8> {
    prop_oneof![2 => Just(0), 1 => 1..4_u8, 6 => prop::sample::select(&b"CFMPRXYZabcdefghijklmnopqrstuvwxy"[..]), 1 => any::<u8>()]
}

proptest! {
    #[test]
    fn anything_is_survived_and_what_reads_writes(bytes in proptest::collection::vec(likely_tags(), 0..200)) {
        let skipped = Reader::new(&bytes).unwrap().skip();
        let mut reader = Reader::new(&bytes).unwrap();
        let term = reader.term();
        if let Ok(term) = term {
            prop_assert_eq!(skipped, Ok(0..reader.position()));
            let mut writer = Writer::new();
            writer.term(&term);
            let written = writer.finish().unwrap();
            prop_assert_eq!(read(&written), Ok(term));
        }
    }
}

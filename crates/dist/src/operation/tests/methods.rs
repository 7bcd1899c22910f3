//! Functions that `global` is told of.

use super::*;

fn exported(module: &'static str, function: &'static str, arity: u8) -> Term<'static> {
    Term::Export {
        module: Atom::new(module),
        function: Atom::new(function),
        arity,
    }
}

fn closure(module: &'static str, arity: u8, free: Vec<Term<'static>>) -> Term<'static> {
    indexed(module, arity, 0, free)
}

fn indexed(module: &'static str, arity: u8, index: u32, free: Vec<Term<'static>>) -> Term<'static> {
    Term::Fun(Box::new(crate::term::Fun {
        arity,
        unique: [7; 16],
        index,
        module: Atom::new(module),
        old_index: 0,
        old_unique: 90_000_000,
        pid: a_pid(),
        free,
    }))
}

/// The default, as nodes write it.
pub(super) fn own() -> Term<'static> {
    closure("global", 3, vec![])
}

/// Methods, and what they are beside what brings them: nothing, a function to be permitted, or refused.
fn methods() -> Vec<(Term<'static>, &'static str)> {
    vec![
        (own(), ""),
        (exported("global", "random_exit_name", 3), ""),
        (exported("global", "random_notify_name", 3), ""),
        (exported("global", "notify_all_name", 3), ""),
        (exported("shop", "settle", 3), "shop:settle/3"),
        (exported("os", "cmd", 3), "os:cmd/3"),
        (exported("global", "trans", 3), "global:trans/3"),
        (exported("global", "random_exit_name", 2), "refused"),
        (exported("os", "cmd", 1), "refused"),
        (closure("shop", 3, vec![]), "refused"),
        (closure("erl_eval", 3, vec![list([atom("os")])]), "refused"),
        (closure("global", 2, vec![]), "refused"),
        (indexed("global", 3, 6, vec![]), "refused"),
        (closure("global", 3, vec![atom("os")]), "refused"),
        (closure("global", 3, vec![own()]), "refused"),
        (tuple([exported("os", "cmd", 1), own()]), "refused"),
        (
            tuple([exported("shop", "settle", 3), exported("shop", "other", 3)]),
            "refused",
        ),
        (
            tuple([
                exported("shop", "settle", 3),
                own(),
                exported("shop", "settle", 3),
            ]),
            "shop:settle/3",
        ),
    ]
}

/// A name as `global` tells others of it.
fn named(method: Term<'static>) -> Term<'static> {
    tuple([tuple([atom("shop"), atom("till")]), pid(), method])
}

/// What brings a method, and what it is otherwise.
fn carriers(method: &Term<'static>) -> Vec<(Term<'static>, &'static str)> {
    let m = || method.clone();
    let names = || list([named(own()), named(m()), named(own())]);
    let ops = || {
        list([
            tuple([atom("delete"), atom("gone")]),
            tuple([atom("insert"), named(m())]),
        ])
    };
    let node = || atom("a@host");
    vec![
        (
            call(tuple([atom("register"), atom("till"), pid(), m()])),
            "register_global",
        ),
        (
            call(tuple([
                atom("register_ext"),
                atom("till"),
                pid(),
                m(),
                node(),
            ])),
            "register_global",
        ),
        (
            cast(tuple([
                atom("exchange"),
                node(),
                names(),
                list([]),
                int(77),
            ])),
            "send",
        ),
        (
            cast(tuple([
                atom("exchange_ops"),
                node(),
                int(77),
                ops(),
                list([]),
            ])),
            "send",
        ),
        (
            cast(tuple([
                atom("exchange_ops"),
                node(),
                int(77),
                list([]),
                ops(),
            ])),
            "send",
        ),
        (
            cast(tuple([
                atom("resolved"),
                node(),
                ops(),
                list([node()]),
                atom("unused"),
                list([]),
                int(77),
            ])),
            "send",
        ),
        (
            cast(tuple([
                atom("new_nodes"),
                node(),
                ops(),
                list([]),
                list([node()]),
                list([]),
            ])),
            "send",
        ),
        (
            cast(tuple([
                atom("init_connect"),
                tuple([int(8), int(77)]),
                node(),
                tuple([atom("locker"), m(), list([node()]), pid()]),
            ])),
            "send",
        ),
        (tuple([atom("to_come"), m()]), "send"),
        (
            Term::List {
                elements: vec![atom("to_come")],
                tail: Some(Box::new(m())),
            },
            "send",
        ),
    ]
}

/// Whether a message was found to be what it should be.
fn is(found: &Found<'_>, otherwise: &str, method: &str) -> bool {
    let also = found
        .also
        .as_ref()
        .map_or_else(String::new, ToString::to_string);
    match method {
        "refused" => told(&found.operation) == "unknown global_name_server",
        method => {
            told(&found.operation) == format!("{otherwise} global_name_server") && also == method
        }
    }
}

/// To the name, to a pid that bears it, and by way of `rex`.
fn by_all_ways(payload: &Term<'static>, choices: &mut Choices, is: impl Fn(&Found<'_>)) {
    is(&Made::new(to("global_name_server"), payload, choices).found());
    let bearer = Made::new(send_to(Target::Pid(a_pid())), payload, choices);
    match read_as(&bearer.whole(), "global_name_server").unwrap() {
        Read::Whole(found) => is(&found),
        Read::More => panic!("all of it is there"),
    }
    let passed_on = tuple([
        pid(),
        tuple([atom("sbcast"), atom("global_name_server"), payload.clone()]),
    ]);
    is(&Made::new(to("rex"), &passed_on, choices).found());
}

#[test]
fn a_method_is_looked_for_in_all_that_global_is_told() {
    for (method, wanted) in methods() {
        for (payload, otherwise) in carriers(&method) {
            by_all_ways(&payload, &mut Choices::plain(), |found| {
                assert!(
                    is(found, otherwise, wanted),
                    "{found:?} for {wanted:?} of {payload:?}"
                );
            });
        }
    }
}

#[test]
fn a_delegate_passes_on_no_method() {
    let request = tuple([
        atom("register"),
        atom("till"),
        pid(),
        closure("shop", 3, vec![]),
    ]);
    let arguments = list([request, atom("infinity")]);
    let group = Term::Map(vec![(atom("b@host"), list([pid()]))]);
    let payload = call(tuple([
        atom("invoke"),
        tuple([atom("gen_server2"), atom("call"), arguments]),
        group,
    ]));
    let made = Made::plain(to("delegate_0"), &payload);
    let read = read_as_told(&made.whole(), None, "global_name_server").unwrap();
    let Read::Whole(found) = read else {
        panic!("all of it is there");
    };
    assert_eq!(told(&found.operation), "unknown global_name_server");
}

#[test]
fn what_its_own_node_alone_tells_global_comes_from_no_other() {
    let fun = || closure("shop", 1, vec![]);
    let own = || closure("global", 0, vec![pid()]);
    for request in [
        tuple([atom("trans_all_known"), fun(), from()]),
        tuple([atom("trans_all_known"), exported("os", "cmd", 1), from()]),
        tuple([atom("resolve"), list([named(fun())]), atom("a@host")]),
        tuple([atom("cancel"), atom("a@host"), int(77), fun()]),
        tuple([atom("cancel"), atom("a@host"), int(77), own()]),
    ] {
        let made = Made::plain(send_to(Target::Pid(a_pid())), &request);
        assert_eq!(told(&made.found().operation), "unknown pid", "{request:?}");
    }
    for harmless in [
        tuple([atom("resolve"), list([int(104)]), atom("inet")]),
        tuple([atom("cancel"), atom("a@host"), int(77), atom("no_fun")]),
        tuple([atom("trans_all_known"), int(1), from()]),
    ] {
        let made = Made::plain(send_to(Target::Pid(a_pid())), &harmless);
        assert_eq!(told(&made.found().operation), "send pid", "{harmless:?}");
    }
}

/// An exchange of so many names of 16 bytes, as two nodes of OTP write it, its last method that of a module of this name. The atoms
/// are in the cache.
fn exchange(count: u32, last: u8) -> Made {
    let mut made = Made::plain(to("global_name_server"), &cast(atom("exchange")));
    made.atoms
        .extend(["a@host".into(), "global".into(), "shop".into()]);
    let cached = |index: u8| [crate::term::tag::ATOM_CACHE_REF, index];
    let mut out = made.payload;
    let exchange: [u8; 2] = out[out.len() - 2..].try_into().unwrap();
    out.truncate(out.len() - 2);
    out.extend([crate::term::tag::SMALL_TUPLE, 5]);
    out.extend(exchange);
    out.extend(cached(2));
    out.push(crate::term::tag::LIST);
    out.extend(count.to_be_bytes());
    for number in 1..=count {
        let pid = |out: &mut Vec<u8>| {
            out.push(crate::term::tag::NEW_PID);
            out.extend(cached(2));
            out.extend(number.to_be_bytes());
            out.extend([0; 8]);
        };
        out.extend([crate::term::tag::SMALL_TUPLE, 3]);
        out.push(crate::term::tag::BINARY);
        out.extend(16_u32.to_be_bytes());
        out.extend([b'x'; 16]);
        pid(&mut out);
        out.extend([crate::term::tag::NEW_FUN, 0, 0, 0, 60, 3]);
        out.extend([7; 16]);
        out.extend([0; 8]);
        out.extend(cached(if number == count { last } else { 3 }));
        out.extend([crate::term::tag::SMALL_INTEGER, 0]);
        out.extend([crate::term::tag::INTEGER, 5, 6, 7, 8]);
        pid(&mut out);
    }
    out.extend([crate::term::tag::NIL, crate::term::tag::NIL]);
    out.extend([crate::term::tag::SMALL_BIG, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
    made.payload = out;
    made
}

/// As a gate shows it, ever more of it and [`crate::gate::HOLD`] at most.
fn shown(made: &Made) -> String {
    let hold = crate::gate::HOLD - made.bytes.len();
    for cut in (0..made.payload.len().min(hold)).step_by(4096) {
        let part = made.part(&made.payload[..cut], false, false);
        assert!(matches!(read(&part), Ok(Read::More)), "{cut}");
    }
    let whole = made.payload.len() <= hold;
    let part = &made.payload[..made.payload.len().min(hold)];
    match read(&made.part(part, whole, !whole)).unwrap() {
        Read::Whole(found) => match &found.also {
            None => told(&found.operation),
            Some(also) => format!("{} and {also}", told(&found.operation)),
        },
        Read::More => panic!("there is no more"),
    }
}

#[test]
fn hundreds_of_names_are_read_to_their_end_or_refused() {
    const MOST: u32 = 680;
    assert_eq!(shown(&exchange(MOST, 3)), "send global_name_server");
    assert_eq!(shown(&exchange(MOST, 4)), "unknown global_name_server");
    for last in [3, 4] {
        assert_eq!(
            shown(&exchange(1000, last)),
            "send global_name_server and global:fun/3"
        );
    }
    assert_eq!(exchange(1000, 3).payload.len(), 92_028);
}

proptest! {
    #[test]
    fn no_encoding_hides_a_method(
        method in 0..methods().len(),
        carrier in 0..carriers(&own()).len(),
        choices in prop::collection::vec(any::<u16>(), 0..60),
    ) {
        let (method, wanted) = methods().swap_remove(method);
        let (payload, otherwise) = carriers(&method).swap_remove(carrier);
        by_all_ways(&payload, &mut Choices::new(choices), |found| {
            assert!(is(found, otherwise, wanted), "{found:?} for {wanted:?} of {payload:?}");
        });
    }

    #[test]
    fn a_method_that_is_not_seen_is_not_taken_for_a_good_one(
        method in 0..methods().len(),
        carrier in 0..carriers(&own()).len(),
    ) {
        let (method, wanted) = methods().swap_remove(method);
        let (payload, otherwise) = carriers(&method).swap_remove(carrier);
        let made = Made::plain(to("global_name_server"), &payload);
        for cut in 0..made.payload.len() {
            let part = &made.payload[..cut];
            if let Read::Whole(found) = read(&made.part(part, false, false)).unwrap() {
                prop_assert!(is(&found, otherwise, wanted), "{:?}", found);
            }
            if let Read::Whole(found) = read(&made.part(part, false, true)).unwrap() {
                prop_assert!(
                    told(&found.operation).starts_with("unknown")
                        || found.also.as_ref().is_some_and(|also| also.to_string() == "global:fun/3")
                        || is(&found, otherwise, wanted),
                    "{:?}", found
                );
            }
        }
    }
}

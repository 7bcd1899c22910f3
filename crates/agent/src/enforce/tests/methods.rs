//! What `global` is told is permitted, and the function that comes with it has to be, too.

use super::*;

const NAMES: &str = r#"@id("names") permit(principal, action in [Skans::Action::"send", Skans::Action::"register_global"], resource == Skans::Process::"global_name_server");"#;

/// The same, and one function.
fn and(function: &str) -> String {
    format!(
        "{NAMES} @id(\"method\") permit(principal, action == Skans::Action::\"call\", resource == Skans::Function::\"{function}\");"
    )
}

/// A name with `fun module:settle/3`.
fn register(module: &str) -> Vec<u8> {
    let mut payload = Writer::new();
    payload.tuple(3).atom("$gen_call");
    payload
        .tuple(2)
        .pid(&pid("a@here", 90))
        .reference(&reference(1));
    payload.tuple(4).atom("register").atom("till");
    payload.pid(&pid("a@here", 80));
    payload.export(&Atom::new(module), &Atom::new("settle"), 3);
    send(Target::Name(Atom::new("global_name_server")), &payload)
}

/// So many names, with a default that is as good as any.
fn exchange(count: u32) -> Vec<u8> {
    let mut payload = Writer::new();
    payload.tuple(2).atom("$gen_cast");
    payload.tuple(5).atom("exchange").atom("a@here");
    payload.list(usize::try_from(count).unwrap());
    for id in 0..count {
        payload
            .tuple(3)
            .binary(b"a name of a till")
            .pid(&pid("a@here", id));
        payload.export(&Atom::new("global"), &Atom::new("random_exit_name"), 3);
    }
    payload.nil().nil().integer(77);
    send(Target::Name(Atom::new("global_name_server")), &payload)
}

#[test]
fn a_method_has_to_be_permitted_besides_the_name() {
    for (cedar, passes) in [
        (NAMES.to_owned(), false),
        (OPEN.to_owned(), true),
        (and("shop:settle/3"), true),
        (and("shop:settle/2"), false),
        // The name itself is not permitted.
        (
            and("shop:settle/3").replace(r#""register_global""#, r#""link""#),
            false,
        ),
    ] {
        assert_eq!(
            Bench::new(&cedar, |_| {}).passes(&register("shop")),
            passes,
            "{cedar}"
        );
    }
    // What no conflict was made for has to be permitted by its name: no wildcard is enough.
    for cedar in [NAMES, OPEN, &and("shop:settle/3")] {
        assert!(
            !Bench::new(cedar, |_| {}).passes(&register("global")),
            "{cedar}"
        );
    }
}

#[test]
fn more_names_than_are_read_need_a_permit_by_name() {
    for (cedar, count, passes) in [
        (NAMES.to_owned(), 500, true),
        (NAMES.to_owned(), 2000, false),
        (OPEN.to_owned(), 2000, false),
        (and("global:fun/3"), 2000, true),
    ] {
        let mut bench = Bench::new(&cedar, |_| {});
        assert_eq!(bench.passes(&exchange(count)), passes, "{count}: {cedar}");
        assert_eq!(bench.denied().is_empty(), passes);
    }
}

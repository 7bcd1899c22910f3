//! Two real nodes of one name, each of which knows the other by an alias: what either says arrives as the other means it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use skans_dist::NodeName;
use skans_dist::gate::Edit;
use skans_dist::rename::{Names, Renamer};
use skans_dist::stream::MAX_FRAME;
use support::epmd::Epmd;
use support::relay::Aliases;
use support::{Node, relay};

const OWN: &str = "orders@127.0.0.1";
/// What A is called at B: longer than its own name.
const NORTH: &str = "north-orders@127.0.0.1";
/// What B is called at A.
const SOUTH: &str = "south-orders@127.0.0.1";

fn name(text: &str) -> NodeName {
    text.parse().unwrap()
}

/// Passes one direction on, its names changed, and counts what was changed.
fn pass(
    mut from: TcpStream,
    mut to: TcpStream,
    mut held: Vec<u8>,
    names: Names,
    changed: &AtomicUsize,
) {
    let mut renamer = Renamer::new(names.clone(), MAX_FRAME);
    let (mut edits, mut chunk) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        let decided = renamer.feed(&held, &mut edits).unwrap();
        // It may be replaced anywhere.
        renamer = Renamer::thaw(&renamer.freeze().unwrap(), names.clone(), MAX_FRAME).unwrap();
        changed.fetch_add(edits.len(), Ordering::Relaxed);
        let (mut out, mut at) = (Vec::new(), 0);
        for Edit { range, with } in &edits {
            out.extend_from_slice(&held[at..range.start]);
            out.extend_from_slice(with);
            at = range.end;
        }
        out.extend_from_slice(&held[at..decided]);
        held.drain(..decided);
        if to.write_all(&out).is_err() {
            break;
        }
        match from.read(&mut chunk) {
            Ok(count @ 1..) => held.extend_from_slice(&chunk[..count]),
            _ => break,
        }
    }
    // Either end may be gone already.
    drop(to.shutdown(Shutdown::Both));
    drop(from.shutdown(Shutdown::Both));
}

/// A and B, not connected yet, and how many changes have been made between them.
fn nodes() -> (Node, Node, Arc<AtomicUsize>) {
    let (north, south) = (Epmd::start(), Epmd::start());
    let start = |epmd: &Epmd| Node::start(&["-name", OWN], &epmd.environment());
    let (a, b) = (start(&north), start(&south));
    north.registered("orders");
    let out = Names::new(&[(name(OWN), name(NORTH)), (name(SOUTH), name(OWN))]).unwrap();
    let changed = Arc::new(AtomicUsize::new(0));
    let guard = {
        let changed = Arc::clone(&changed);
        move |a: TcpStream, from_a, b: TcpStream, from_b| {
            let (to_a, to_b) = (a.try_clone().unwrap(), b.try_clone().unwrap());
            let (names, there) = (out.clone(), Arc::clone(&changed));
            let there = thread::spawn(move || pass(a, to_b, from_a, names, &there));
            pass(b, to_a, from_b, out.inverse(), &changed);
            there.join().unwrap();
        }
    };
    let aliases = Aliases {
        a: name(NORTH),
        b: name(SOUTH),
    };
    relay::aliased(&north, south.registered("orders"), aliases, Arc::new(guard));
    (a, b, changed)
}

/// Has a node answer whoever sends it a function of no arguments with what that gives.
fn answers(node: &mut Node) {
    let told = node.text(
        "P = spawn(fun() -> (fun Loop() -> receive {From, F} -> From ! {answer, catch F()} end, Loop() end)() end), register(answers, P).",
    );
    assert_eq!(told, "true");
}

/// Evaluates an expression at A in which `S` is the alias of B.
fn at_a(a: &mut Node, expression: &str) -> String {
    a.text(&format!("S = '{SOUTH}', {expression}."))
}

#[test]
fn each_node_is_known_by_its_alias_and_none_notices() {
    let (mut a, mut b, changed) = nodes();
    assert_eq!(at_a(&mut a, "net_kernel:connect_node(S)"), "true");
    assert_eq!(at_a(&mut a, "nodes()"), format!("['{SOUTH}']"));
    assert_eq!(b.text("nodes()."), format!("['{NORTH}']"));
    for (expression, wanted) in [
        // What is an atom means the same node on both sides.
        ("erpc:call(S, erlang, node, []) =:= S", "true"),
        ("erpc:call(S, erlang, node, [self()]) =:= node()", "true"),
        ("erpc:call(S, erlang, nodes, []) =:= [node()]", "true"),
        ("node(erpc:call(S, erlang, self, [])) =:= S", "true"),
        ("erpc:call(S, lists, member, [S, [S, x]])", "true"),
        // What is text stays.
        (
            "erpc:call(S, fun() -> atom_to_list(node()) end)",
            "\"orders@127.0.0.1\"",
        ),
        (
            "Me = self(), erpc:call(S, fun() -> atom_to_list(node(Me)) end)",
            "\"north-orders@127.0.0.1\"",
        ),
        (
            "erpc:call(S, binary, copy, [<<\"orders@127.0.0.1\">>])",
            "orders@127.0.0.1",
        ),
        // Links, monitors, aliases and exits go where they should.
        (
            "{P, R} = spawn_monitor(S, timer, sleep, [infinity]), S = node(P), exit(P, enough), receive {'DOWN', R, process, P, Why} -> Why end",
            "enough",
        ),
        (
            "R = monitor(process, {nobody, S}), receive {'DOWN', R, process, {nobody, S}, Why} -> Why end",
            "noproc",
        ),
        (
            "process_flag(trap_exit, true), P = spawn_link(S, erlang, exit, [{left, S}]), receive {'EXIT', P, {left, S}} -> ok end",
            "ok",
        ),
        (
            "X = alias(), Me = self(), erpc:call(S, fun() -> X ! {hello, Me, node()} end), receive {hello, Me, S} -> ok end",
            "ok",
        ),
        (
            "gen_server:call({application_controller, S}, which_applications) =/= []",
            "true",
        ),
        ("global:sync(), global:register_name(some, self())", "yes"),
        (
            "erpc:call(S, global, whereis_name, [some]) =:= self()",
            "true",
        ),
        ("global:unregister_name(some)", "ok"),
        ("net_adm:ping(S)", "pong"),
    ] {
        assert_eq!(at_a(&mut a, expression), wanted, "{expression}");
    }
    // And from there.
    assert_eq!(
        b.text(&format!(
            "erpc:call('{NORTH}', erlang, node, [self()]) =:= node()."
        )),
        "true"
    );
    // Terms of every kind, there and back.
    assert_eq!(
        at_a(
            &mut a,
            "T = probe:rich(), erpc:call(S, erlang, hd, [[T]]) =:= T"
        ),
        "true"
    );
    assert!(changed.load(Ordering::Relaxed) > 0);
}

#[test]
fn atoms_that_stand_in_a_large_message_literally_are_changed_in_all_fragments() {
    let (mut a, _b, _) = nodes();
    // More atoms than a header takes, before the names: pids of B and its alias come literally, in a thousand places.
    let told = at_a(
        &mut a,
        "P = erpc:call(S, erlang, whereis, [init]), Atoms = [list_to_atom(\"x\" ++ integer_to_list(N)) || N <- lists:seq(1, 400)],
         Sent = [{P, S, self(), node(), Atoms, N} || N <- lists:seq(1, 300)],
         {Back, Good} = erpc:call(S, fun() ->
             {Sent, lists:all(fun({Q, Node, Me, Other, _, _}) -> Q =:= whereis(init) andalso Node =:= node() andalso node(Me) =:= Other andalso Other =/= Node end, Sent)}
         end),
         {Back =:= Sent, Good, erlang:external_size(Sent) > 300000}",
    );
    assert_eq!(told, "{true,true,true}");
}

/// What is said before the connection is up comes without atom cache, each message in one frame.
#[test]
fn what_was_queued_before_the_connection_was_up_is_changed_too() {
    for (size, count) in [(10, 3), (100_000, 30), (2_000_000, 3000)] {
        let (mut a, mut b, changed) = nodes();
        answers(&mut b);
        let told = at_a(
            &mut a,
            &format!(
                "Me = self(), Bin = binary:copy(<<\"orders@127.0.0.1\">>, {size} div 16), Many = lists:duplicate({count}, {{S, node(), Me}}),
                 [{{answers, S}} ! {{Me, fun() ->
                     {{N, node(), atom_to_list(node(Me)), byte_size(Bin), Bin, lists:usort(Many), length(Many)}}
                 end}} || N <- [1, 2, 3]],
                 [receive {{answer, {{N, S, \"north-orders@127.0.0.1\", L, Bin, [{{S, Node, Me}}], {count}}}}} when Node =:= node(), L =:= byte_size(Bin) -> ok; M -> {{unexpected, N, element(1, element(2, M))}}
                  after 20000 -> {{silent, nodes()}} end || N <- [1, 2, 3]]"
            ),
        );
        assert_eq!(told, "[ok,ok,ok]", "{size} bytes");
        assert!(changed.load(Ordering::Relaxed) > 0);
    }
}

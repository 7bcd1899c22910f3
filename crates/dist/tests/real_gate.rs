//! Two real nodes with gates between them: what is permitted arrives, what is refused does not, nobody waits.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use skans_dist::gate::{Edit, Gate, Judge, Shown, Verdict};
use skans_dist::operation::{self, Operation, To};
use skans_dist::stream::MAX_FRAME;
use skans_dist::{Error, Flags, answer};
use support::epmd::Epmd;
use support::{Node, relay};

/// What is asked of B, in order, but for housekeeping.
type Asked = Arc<Mutex<Vec<String>>>;

/// Refuses what the test says, and answers.
struct Refusing {
    refused: fn(&str) -> bool,
    asked: Asked,
    answers: Arc<Mutex<Vec<u8>>>,
}

impl Judge for Refusing {
    type Error = Error;

    fn judge(&mut self, message: &Shown<'_>) -> Result<Verdict, Error> {
        let operation::Read::Whole(found) = operation::read(message)? else {
            return Ok(Verdict::More);
        };
        let Some(told) = told(&found.operation) else {
            return Ok(Verdict::Forward);
        };
        let refused = (self.refused)(&told);
        self.asked.lock().unwrap().push(told);
        if !refused {
            return Ok(Verdict::Forward);
        }
        if let Some(caller) = &found.caller
            && let Some(frame) = answer::refusal_like(caller, message.frame)?
        {
            self.answers.lock().unwrap().extend(frame);
        }
        Ok(Verdict::Refuse)
    }
}

/// Lets everything pass.
struct Open;

impl Judge for Open {
    type Error = Error;

    fn judge(&mut self, message: &Shown<'_>) -> Result<Verdict, Error> {
        // Whatever a real node says can be read.
        Ok(match operation::read(message)? {
            operation::Read::Whole(_) => Verdict::Forward,
            operation::Read::More => Verdict::More,
        })
    }
}

fn told(operation: &Operation<'_>) -> Option<String> {
    let to = |what: &str, to: &To<'_>| match to {
        To::Name(name) => Some(format!("{what} {name}")),
        To::Pid(_) => Some(format!("{what} pid")),
        To::Alias(_) => Some(format!("{what} alias")),
        To::Told => Some(format!("{what} told")),
    };
    match operation {
        Operation::Housekeeping => None,
        Operation::Send { to: target } => to("send", target),
        Operation::Call(function) => Some(format!("call {function}")),
        Operation::Cast(function) => Some(format!("cast {function}")),
        Operation::Spawn(function) => Some(format!("spawn {function}")),
        Operation::Link { to: target } => to("link", target),
        Operation::Monitor { to: target } => to("monitor", target),
        Operation::Exit { to: target } => to("exit", target),
        Operation::GroupLeader { to: target } => to("group_leader", target),
        Operation::RegisterGlobal { to: target } => to("register_global", target),
        Operation::ManageCode { to: target } => to("manage_code", target),
        Operation::AccessFiles { to: target } => to("access_files", target),
        Operation::StopNode { to: target } => to("stop_node", target),
        Operation::ManageApplications { to: target } => to("manage_applications", target),
        Operation::Supervise { to: target } => to("supervise", target),
        Operation::Inspect { to: target } => to("inspect", target),
        Operation::SystemMessage { to: target } => to("system_message", target),
        Operation::Unknown { to: target } => to("unknown", target),
        other => panic!("not in this test: {other:?}"),
    }
}

/// Passes one direction on through a gate, and puts in `said` between two frames.
fn pass(
    mut from: TcpStream,
    mut to: TcpStream,
    mut held: Vec<u8>,
    judge: &mut impl Judge<Error = Error>,
    said: &Mutex<Vec<u8>>,
) {
    let mut gate = Gate::new(MAX_FRAME);
    let (mut edits, mut chunk) = (Vec::new(), vec![0; 64 * 1024]);
    // What is said must not wait for the other end to say something.
    from.set_read_timeout(Some(Duration::from_millis(5)))
        .unwrap();
    loop {
        let decided = gate.feed(&held, judge, &mut edits).unwrap();
        let (mut out, mut at) = (Vec::new(), 0);
        for Edit { range, with } in &edits {
            out.extend_from_slice(&held[at..range.start]);
            out.extend_from_slice(with);
            at = range.end;
        }
        out.extend_from_slice(&held[at..decided]);
        held.drain(..decided);
        if gate.is_between_frames() {
            out.append(&mut said.lock().unwrap());
        }
        if to.write_all(&out).is_err() {
            break;
        }
        match from.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => held.extend_from_slice(&chunk[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    // Either end may be gone already.
    drop(to.shutdown(Shutdown::Both));
    drop(from.shutdown(Shutdown::Both));
}

/// Two nodes; what A asks of B is refused where `refused` says so.
fn nodes(epmd: &Epmd, without: Flags, refused: fn(&str) -> bool) -> (Node, Node, Asked) {
    let start = |name| Node::start(&["+zdbbl", "64", "-name", name], &epmd.environment());
    let b = start("b@127.0.0.1");
    let asked = Asked::default();
    let guard = {
        let asked = Arc::clone(&asked);
        move |a: TcpStream, from_a, b: TcpStream, from_b| {
            let answers = Arc::new(Mutex::new(Vec::new()));
            let mut judge = Refusing {
                refused,
                asked: Arc::clone(&asked),
                answers: Arc::clone(&answers),
            };
            let (to_a, to_b) = (a.try_clone().unwrap(), b.try_clone().unwrap());
            let there = thread::spawn(move || pass(a, to_b, from_a, &mut judge, &Mutex::default()));
            pass(b, to_a, from_b, &mut Open, &answers);
            there.join().unwrap();
        }
    };
    relay::guarded(epmd, "b", without, Arc::new(guard));
    let mut a = start("a@127.0.0.1");
    assert_eq!(a.text("net_kernel:connect_node('b@127.0.0.1')."), "true");
    (a, b, asked)
}

/// What has been asked since the last time, without what nodes say to each other when they meet.
fn taken(asked: &Asked) -> Vec<String> {
    let all = std::mem::take(&mut *asked.lock().unwrap());
    all.into_iter()
        .filter(|told| told != "send global_name_server")
        .collect()
}

/// What each function of OTP says to another node. The names are those of the operations.
const SAID: &[(&str, &str)] = &[
    ("erpc:call(B, os, getpid, [])", "call os:getpid/0"),
    ("erpc:call(B, fun() -> ok end)", "call erlang:apply/2"),
    ("erpc:cast(B, erlang, now, [])", "cast erlang:now/0"),
    (
        "erpc:multicall([B], erlang, max, [1, 2])",
        "call erlang:max/2",
    ),
    (
        "erpc:receive_response(erpc:send_request(B, erlang, node, []))",
        "call erlang:node/0",
    ),
    (
        "rpc:call(B, lists, reverse, [\"ab\"])",
        "call lists:reverse/1",
    ),
    ("rpc:call(B, lists, seq, [1, 2], 5000)", "call lists:seq/2"),
    ("rpc:block_call(B, erlang, '+', [1, 2])", "call erlang:+/2"),
    ("rpc:cast(B, erlang, now, [])", "cast erlang:now/0"),
    (
        "rpc:eval_everywhere([B], erlang, now, [])",
        "cast erlang:now/0",
    ),
    ("rpc:multicall([B], erlang, node, [])", "call erlang:node/0"),
    ("rpc:sbcast([B], nobody, hi)", "send nobody"),
    ("rpc:abcast([B], nobody, hi)", "send nobody"),
    ("spawn(B, erlang, max, [1, 2])", "spawn erlang:max/2"),
    ("spawn_link(B, erlang, now, [])", "spawn erlang:now/0"),
    ("spawn_monitor(B, erlang, now, [])", "spawn erlang:now/0"),
    ("spawn(B, fun() -> ok end)", "spawn erlang:apply/2"),
    ("net_adm:ping(B)", "send net_kernel"),
    ("net_adm:ping(B)", "monitor net_kernel"),
    (
        "gen_server:call({file_server_2, B}, get_cwd)",
        "access_files file_server_2",
    ),
    (
        "{code_server, B} ! {code_call, self(), get_path}, receive M when element(1, M) =:= code_server -> ok end",
        "manage_code code_server",
    ),
    ("{init, B} ! {self(), get_status}", "send init"),
    (
        "{init, B} ! {self(), {set_script_name, {\"a\", \"b\"}}}",
        "stop_node init",
    ),
    (
        "gen_event:which_handlers({erl_signal_server, B})",
        "stop_node erl_signal_server",
    ),
    (
        "gen_server:call({application_controller, B}, which_applications)",
        "send application_controller",
    ),
    (
        "gen_server:call({application_controller, B}, {stop_application, nothing})",
        "manage_applications application_controller",
    ),
    (
        "global:register_name(some, self())",
        "register_global global_name_server",
    ),
    (
        "global:unregister_name(some)",
        "register_global global_name_server",
    ),
    (
        "supervisor:which_children({kernel_sup, B})",
        "send kernel_sup",
    ),
    (
        "supervisor:terminate_child({kernel_safe_sup, B}, none)",
        "supervise kernel_safe_sup",
    ),
    (
        "supervisor:start_child({kernel_safe_sup, B}, #{id => x, start => {no_such, start, []}})",
        "supervise kernel_safe_sup",
    ),
    ("sys:get_state({rex, B})", "inspect rex"),
    (
        "erpc:call(B, gen_event, start, [{local, events}]), gen_event:add_handler({events, B}, none, [])",
        "supervise events",
    ),
    (
        "io:format(erpc:call(B, erlang, whereis, [user]), \"\", [])",
        "send pid",
    ),
    ("link(erpc:call(B, erlang, whereis, [user]))", "link pid"),
    ("monitor(process, {rex, B})", "monitor rex"),
    ("exit(spawn(B, timer, sleep, [infinity]), kill)", "exit pid"),
    (
        "group_leader(self(), spawn(B, timer, sleep, [10]))",
        "group_leader pid",
    ),
    ("erpc:call(B, erlang, alias, []) ! hi", "send alias"),
];

#[test]
fn what_real_nodes_say_is_known_for_what_it_is() {
    for without in [
        Flags::EMPTY,
        Flags::DIST_HDR_ATOM_CACHE.with(Flags::FRAGMENTS),
    ] {
        let epmd = Epmd::start();
        let (mut a, _b, asked) = nodes(&epmd, without, |_| false);
        // Until the two know each other, names are registered without asking the other.
        assert_eq!(a.text("global:sync()."), "ok");
        for (expression, wanted) in SAID {
            taken(&asked);
            a.text(&format!(
                "B = 'b@127.0.0.1', process_flag(trap_exit, true), catch begin {expression} end, ok."
            ));
            // A call that the node answers comes behind what was said.
            a.text("erpc:call('b@127.0.0.1', erlang, is_alive, []).");
            let told = taken(&asked);
            assert!(
                told.iter().any(|told| told == wanted),
                "{expression}: {told:?}"
            );
            assert!(
                !told.iter().any(|told| told.starts_with("unknown")),
                "{expression}: {told:?}"
            );
        }
    }
}

fn refused(told: &str) -> bool {
    [
        "os:",
        "victim",
        "stop_node",
        "supervise",
        "sys",
        "access_files",
        "link ",
        "spawn ",
    ]
    .iter()
    .any(|what| told.contains(what))
}

#[test]
fn what_is_refused_does_not_arrive_and_what_is_permitted_does() {
    for without in [Flags::EMPTY, Flags::DIST_HDR_ATOM_CACHE, Flags::FRAGMENTS] {
        let epmd = Epmd::start();
        let (mut a, mut b, _asked) = nodes(&epmd, without, refused);
        b.text(
            "register(victim, spawn(probe, hold, [])),
             register(check, spawn(fun() ->
                 (fun Loop(Good, Bad) ->
                     receive
                         {how_many, From} -> From ! {Good, Bad}, Loop(Good, Bad);
                         {N, Atom, Bytes} ->
                             case {atom_to_list(Atom), binary:matches(Bytes, <<0>>)} of
                                 {\"atom_\" ++ Number, []} ->
                                     case list_to_integer(Number) of
                                         N -> Loop(Good + 1, Bad);
                                         _ -> Loop(Good, Bad + 1)
                                     end;
                                 _ -> Loop(Good, Bad + 1)
                             end
                     end
                 end)(0, 0)
             end)), ok.",
        );
        // What brings an atom along is refused, and the next message uses it. Eight senders of large messages, which
        // the node mixes.
        let seen = a.text(
            "B = 'b@127.0.0.1', Me = self(),
             Say = fun(N, Size) ->
                 Message = {N, list_to_atom(\"atom_\" ++ integer_to_list(N)), binary:copy(<<7>>, Size)},
                 {victim, B} ! Message, {check, B} ! Message
             end,
             [Say(N, 10) || N <- lists:seq(1, 600)],
             Senders = [spawn_monitor(fun() ->
                 [Say(1000 * S + N, 1000000) || N <- lists:seq(1, 5)], Me ! done
             end) || S <- lists:seq(1, 8)],
             [receive {'DOWN', R, _, _, _} -> ok end || {_, R} <- Senders],
             {check, B} ! {how_many, self()},
             receive {Good, Bad} when is_integer(Good) -> {Good, Bad} after 30000 -> silence end.",
        );
        assert_eq!(seen, "{640,0}");
        assert_eq!(
            b.text("process_info(whereis(victim), message_queue_len)."),
            "{message_queue_len,0}"
        );
        assert_eq!(a.text("nodes()."), "['b@127.0.0.1']");
    }
}

#[test]
fn who_is_refused_is_told_at_once() {
    for without in [
        Flags::EMPTY,
        Flags::DIST_HDR_ATOM_CACHE.with(Flags::FRAGMENTS),
    ] {
        let epmd = Epmd::start();
        let (mut a, mut b, _asked) = nodes(&epmd, without, refused);
        b.text("{ok, _} = gen_server:start({local, victim}, probe, [], []), {ok, P} = gen_server:start(probe, [], []), register(other, P).");
        for (expression, wanted) in [
            (
                "erpc:call(B, os, getpid, [])",
                "{'EXIT',{{erpc,eacces},[]}}",
            ),
            ("rpc:call(B, os, getpid, [])", "{badrpc,{'EXIT',eacces}}"),
            (
                "rpc:block_call(B, os, getpid, [])",
                "{badrpc,{'EXIT',{eacces,{gen_server,call,[{rex,'b@127.0.0.1'}]}}}}",
            ),
            (
                "gen_server:call({victim, B}, {echo, 1})",
                "{'EXIT',{eacces,{gen_server,call,[{victim,'b@127.0.0.1'}]}}}",
            ),
            (
                "gen_server:call({file_server_2, B}, get_cwd)",
                "{'EXIT',{eacces,{gen_server,call,[{file_server_2,'b@127.0.0.1'}]}}}",
            ),
            (
                "supervisor:terminate_child({kernel_safe_sup, B}, none)",
                "{'EXIT',{eacces,{gen_server,call,[{kernel_safe_sup,'b@127.0.0.1'}]}}}",
            ),
            (
                "receive_it(monitor(process, {victim, B}))",
                "{'DOWN',eacces}",
            ),
            (
                "receive_it(link(erpc:call(B, erlang, whereis, [other])))",
                "{'EXIT',eacces}",
            ),
            ("gen_server:call({other, B}, {echo, 1})", "1"),
            ("erpc:call(B, erlang, node, [])", "'b@127.0.0.1'"),
        ] {
            let asked = expression.replace("receive_it(", "Receive(");
            let told = a.text(&format!(
                "B = 'b@127.0.0.1', process_flag(trap_exit, true),
                 Receive = fun(_) -> receive
                     {{'DOWN', _, _, _, Why}} -> {{'DOWN', Why}};
                     {{'EXIT', P, Why}} when is_pid(P) -> {{'EXIT', Why}}
                 after 20000 -> silence end end,
                 Started = erlang:monotonic_time(millisecond),
                 Said = case (catch {asked}) of
                     {{'EXIT', {{{{erpc, E}}, _}}}} -> {{'EXIT', {{{{erpc, E}}, []}}}};
                     {{'EXIT', {{Why, {{M, F, [To | _]}}}}}} -> {{'EXIT', {{Why, {{M, F, [To]}}}}}};
                     {{badrpc, {{'EXIT', {{Why, {{M, F, [To | _]}}}}}}}} -> {{badrpc, {{'EXIT', {{Why, {{M, F, [To]}}}}}}}};
                     Other -> Other
                 end,
                 true = erlang:monotonic_time(millisecond) - Started < 4000,
                 Said."
            ));
            assert_eq!(told, wanted, "{expression}");
        }
    }
}

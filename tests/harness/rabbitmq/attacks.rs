//! What a node of RabbitMQ tries to do to another one, once it is somebody else's: evaluated inside of it.

use std::time::Duration;

use skans_lab::{Error, until};

use super::Rabbits;

/// What is promised: a refusal comes within a second.
const PROMISED: Duration = Duration::from_secs(1);
/// For an event, which waits for its window to end.
const TOLD: Duration = Duration::from_secs(30);

/// What is tried, and the action as which it is refused. `N` is the other node, `P` a process without a name over there, `A` its
/// application controller: where they are, may be asked.
const ATTACKS: &[(&str, &str)] = &[
    ("rpc:call(N, os, cmd, [\"touch /tmp/owned\"])", "call"),
    ("erpc:call(N, os, cmd, [\"touch /tmp/owned\"])", "call"),
    ("rpc:call(N, file, read_file, [\"/etc/passwd\"])", "call"),
    ("erpc:call(N, file, read_file, [\"/etc/passwd\"])", "call"),
    (
        "rpc:call(N, code, load_binary, [evil, \"evil\", <<1>>])",
        "call",
    ),
    ("rpc:call(N, init, stop, [])", "call"),
    ("rpc:block_call(N, os, cmd, [\"touch /tmp/owned\"])", "call"),
    ("{init, N} ! {stop, stop}", "stop_node"),
    ("spawn_monitor(N, os, cmd, [\"touch /tmp/owned\"])", "spawn"),
    // Through those of RabbitMQ and Mnesia that call, or tell others, what they are told to.
    (
        "gen_server:call({delegate_0, N}, {invoke, {erlang, halt, []}, #{N => [P]}}, 500)",
        "call",
    ),
    (
        "gen_server:call({delegate_0, N}, {invoke, fun init:stop/1, #{N => [P]}}, 500)",
        "call",
    ),
    (
        "gen_server:call({delegate_0, N}, {invoke, fun(_) -> os:cmd(\"touch /tmp/owned\") end, #{N => [P]}}, 500)",
        "call",
    ),
    (
        "gen_server:call({delegate_0, N}, {invoke, {gen_server2, call, [{stop_application, rabbit}, infinity]}, #{N => [A]}}, 500)",
        "manage_applications",
    ),
    (
        "gen_server:call({mnesia_rpc, N}, {apply, os, cmd, [\"touch /tmp/owned\"]}, 500)",
        "call",
    ),
    (
        "gen_server:call({list_to_atom(\"%2F_q-orders\"), N}, {local_query, fun(_) -> os:cmd(\"touch /tmp/owned\") end}, 500)",
        "call",
    ),
    (
        "gen_server:call({rabbit_amqqueue_sup_sup, N}, {local_query, {os, cmd, []}}, 500)",
        "call",
    ),
    (
        "gen_server:call(P, {submit, {os, cmd, [\"touch /tmp/owned\"]}, self(), reuse}, 500)",
        "call",
    ),
    (
        "gen_server:cast(P, {run_backing_queue, rabbit_variable_queue, fun(_, S) -> os:cmd(\"touch /tmp/owned\"), S end})",
        "cast",
    ),
    (
        "gen:call(P, list_to_atom([36 | \"with_state\"]), fun(_) -> os:cmd(\"touch /tmp/owned\") end, 500)",
        "call",
    ),
    (
        "supervisor:start_child({rabbit_sup, N}, {evil, {os, cmd, [\"touch /tmp/owned\"]}, temporary, 5000, worker, [os]})",
        "supervise",
    ),
    (
        "erpc:call(N, gen_server, call, [application_controller, {stop_application, rabbit}])",
        "call",
    ),
    (
        "erpc:call(N, gen_server2, call, [A, {stop_application, rabbit}])",
        "call",
    ),
    (
        "sys:replace_state({rabbit_node_monitor, N}, fun(S) -> os:cmd(\"touch /tmp/owned\"), S end, 500)",
        "system_message",
    ),
    (
        "gen_server:call({code_server_cache, N}, {maybe_call_mfa, {os, cmd, [\"touch /tmp/owned\"], x}}, 500)",
        "send",
    ),
];

/// How many there are.
pub const COUNT: usize = ATTACKS.len();

/// Tries all of them on host `from` against host `at`.
///
/// # Errors
/// What was not refused in time, not told, or has had an effect.
pub async fn all_are_refused(rabbits: &Rabbits, from: usize, at: usize) -> Result<(), Error> {
    let victim = format!("rabbit@{}", rabbits.host(at).name());
    rabbits.host(at).run("rm -f /tmp/owned", TOLD).await?;
    for (attack, action) in ATTACKS {
        let before = refused(rabbits, action)?;
        let asked = format!(
            "N = list_to_atom(\"{victim}\"), P = lists:last(rpc:call(N, erlang, processes, [])), \
             A = rpc:call(N, erlang, whereis, [application_controller]), \
             {{Took, Got}} = timer:tc(fun() -> catch {attack} end), {{Took div 1000, Got}}"
        );
        let found = rabbits.eval(from, &asked).await?;
        let took = found
            .trim_start_matches('{')
            .split(',')
            .next()
            .and_then(|milliseconds| milliseconds.parse().ok())
            .map(Duration::from_millis);
        match took {
            Some(took) if took < PROMISED => {}
            _ => return Err(Error::Unexpected(format!("{attack}: {found}"))),
        }
        until(
            TOLD,
            &format!("an event for {attack}"),
            async || match refused(rabbits, action) {
                Ok(now) if now > before => Ok(()),
                other => Err(format!("{other:?} after {before}; it got {found}")),
            },
        )
        .await?;
    }
    rabbits.host(at).run("test ! -e /tmp/owned", TOLD).await?;
    super::life::all_run(rabbits).await
}

/// How many messages were refused as an action, as events tell.
fn refused(rabbits: &Rabbits, action: &str) -> Result<u64, Error> {
    let mut refused = 0;
    for agent in rabbits.hosts().agents() {
        let events = agent.events()?;
        let told = events.iter().filter(|event| {
            event["action"] == "Denied" && event["unmapped"]["skans"]["action"] == action
        });
        refused += told
            .map(|event| event["count"].as_u64().unwrap_or(1))
            .sum::<u64>();
    }
    Ok(refused)
}

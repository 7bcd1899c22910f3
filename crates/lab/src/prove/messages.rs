//! What applications do: calls, links, monitors, names, groups; bulk and order.

use tokio::time::Instant;

use super::{Finding, STEP, ensure};
use crate::Cluster;

/// Bytes of the large binary: many fragments, still quick on a small machine.
const LARGE: usize = 16 * 1024 * 1024;
/// How many small messages are sent in a row.
const MANY: usize = 10_000;

/// A process of the application's own, `lab_server`, on the node that evaluates this: under the policy to begin with the
/// nodes of a cluster may talk to each other's processes, and not start any there.
pub(super) const SERVER: &str = "
    case whereis(lab_server) of
        undefined ->
            Starter = self(),
            spawn(fun() ->
                register(lab_server, self()),
                Starter ! ready,
                Take = fun Next(N, Max) when N > Max -> ok;
                           Next(N, Max) -> receive N -> Next(N + 1, Max); Other -> {at, N, got, Other} end end,
                Serve = fun Again() ->
                    receive
                        {'$gen_call', From, ping} -> gen_server:reply(From, pong), Again();
                        {echo, To, What} -> To ! {echo, node(), What}, Again();
                        {hash, To, B} -> To ! {got, byte_size(B), erlang:md5(B)}, Again();
                        {count, To, Last} -> To ! {result, Take(1, Last)}, Again();
                        stop -> exit(enough)
                    end
                end,
                Serve()
            end),
            receive ready -> ok end;
        _ -> ok
    end";

/// Each row: what it is, an expression on the first node where `There` is the second and `Here` the
/// first, and the value that it must yield.
const FEATURES: &[(&str, &str, &str)] = &[
    ("gen_server:call", "gen_server:call({lab_server, There}, ping)", "pong"),
    ("erpc:call", "There =:= erpc:call(There, erlang, node, [])", "true"),
    ("rpc:call", "There =:= rpc:call(There, erlang, node, [])", "true"),
    ("send", "{lab_server, There} ! {echo, self(), hello}, receive {echo, There, hello} -> true end", "true"),
    ("monitor", "R = monitor(process, {lab_server, There}), {lab_server, There} ! stop, receive {'DOWN', R, process, {lab_server, There}, Why} -> Why end", "enough"),
    (
        "global",
        // Nodes that have just met tell each other their names a moment later.
        "ok = global:sync(), P = spawn(timer, sleep, [infinity]), yes = global:register_name(lab_name, P), Found = erpc:call(There, global, whereis_name, [lab_name]), global:unregister_name(lab_name), exit(P, kill), Found =:= P",
        "true",
    ),
    (
        "pg",
        "P = erpc:call(There, erlang, whereis, [lab_server]),
         Wait = fun Again(0) -> pg:get_members(lab_scope, There); Again(Left) ->
             case pg:get_members(lab_scope, There) of [] -> timer:sleep(10), Again(Left - 1); Found -> Found end end,
         lists:usort(Wait(500)) =:= [P]",
        "true",
    ),
    ("os:cmd refused", "try erpc:call(There, os, cmd, [\"id\"]) catch error:Why -> Why end", "{erpc,eacces}"),
];

/// What both nodes have to do for that themselves.
const GROUP: &str =
    "_ = pg:start(lab_scope), ok = pg:join(lab_scope, node(), whereis(lab_server)), ok";

/// Tries each feature from the first node to the second, and back.
pub async fn features(cluster: &mut Cluster) -> Finding {
    let mut worked = Vec::new();
    for (name, expression, wanted) in FEATURES {
        for (here, there) in [(0, 1), (1, 0)] {
            let (process, other) = (cluster.node(here)?, cluster.node(there)?);
            for node in [process, other] {
                node.eval(SERVER, STEP).await?;
            }
            if *name == "pg" {
                for node in [process, other] {
                    node.eval(GROUP, STEP).await?;
                }
            }
            let whole = format!(
                "Here = {}, There = {}, {expression}",
                cluster.atom(here)?,
                cluster.atom(there)?
            );
            let found = process.eval(&whole, STEP).await?;
            ensure(found == *wanted, || {
                format!("{name} from {}: {found}, wanted {wanted}", process.label())
            })?;
        }
        worked.push(*name);
    }
    Ok(format!(
        "between {} and {}, both ways: {}",
        cluster.name(0)?,
        cluster.name(1)?,
        worked.join(", ")
    ))
}

/// Sends a large binary, compared by hash, and many small messages, compared by number.
pub async fn bulk_and_order(cluster: &mut Cluster) -> Finding {
    let (first, second) = (cluster.node(0)?, cluster.node(1)?);
    let there = cluster.atom(1)?;
    // Random, so that nothing but the bytes themselves gives the hash.
    for node in [first, second] {
        node.eval(SERVER, STEP).await?;
    }
    let send = format!(
        "B = rand:bytes({LARGE}), {{lab_server, {there}}} ! {{hash, self(), B}}, Sent = erlang:md5(B),
         receive {{got, Size, Hash}} -> {{Size, Hash =:= Sent, binary:encode_hex(Hash)}} end"
    );
    let began = Instant::now();
    let large = first.eval(&send, STEP).await?;
    let took = began.elapsed().as_millis();
    let hash = large
        .strip_prefix(&format!("{{{LARGE},true,<<\""))
        .and_then(|rest| rest.strip_suffix("\">>}"));
    let Some(hash) = hash else {
        return Err(
            format!("of {LARGE} bytes sent arrived (bytes, same hash, hash): {large}").into(),
        );
    };
    let hash = hash.to_owned();
    let here = cluster.atom(0)?;
    let count = format!(
        "P = {{lab_server, {here}}}, P ! {{count, self(), {MANY}}},
         [P ! N || N <- lists:seq(1, {MANY})], receive {{result, R}} -> R end"
    );
    let began = Instant::now();
    let order = second.eval(&count, STEP).await?;
    ensure(order == "ok", || format!("of {MANY} messages: {order}"))?;
    Ok(format!(
        "{LARGE} random bytes from {} to {} arrived with the MD5 that they left with ({hash}; {took} ms with making and hashing them); {MANY} numbered messages from {} to {} arrived in order ({} ms)",
        first.label(),
        second.label(),
        second.label(),
        first.label(),
        began.elapsed().as_millis()
    ))
}

//! What applications do: calls, links, monitors, names, groups; bulk and order.

use tokio::time::Instant;

use super::{Finding, STEP, ensure};
use crate::Cluster;

/// Bytes of the large binary: many fragments, still quick on a small machine.
const LARGE: usize = 16 * 1024 * 1024;
/// How many small messages are sent in a row.
const MANY: usize = 10_000;

/// Each row: what it is, an expression on the first node where `There` is the second and `Here` the
/// first, and the value that it must yield.
const FEATURES: &[(&str, &str, &str)] = &[
    ("gen_server:call", "proplists:is_defined(active, gen_server:call({kernel_sup, There}, count_children))", "true"),
    ("erpc:call", "There =:= erpc:call(There, erlang, node, [])", "true"),
    ("rpc:call", "There =:= rpc:call(There, erlang, node, [])", "true"),
    ("spawn and send", "Me = self(), spawn(There, fun() -> Me ! {from, node()} end), receive {from, There} -> true end", "true"),
    ("link", "process_flag(trap_exit, true), P = spawn_link(There, timer, sleep, [infinity]), exit(P, enough), receive {'EXIT', P, Why} -> {node(P) =:= There, Why} end", "{true,enough}"),
    ("monitor", "{P, R} = spawn_monitor(There, erlang, exit, [done]), receive {'DOWN', R, process, P, Why} -> {node(P) =:= There, Why} end", "{true,done}"),
    (
        "global",
        // Nodes that have just met tell each other their names a moment later.
        "ok = global:sync(), ok = erpc:call(There, global, sync, []), P = spawn(timer, sleep, [infinity]), yes = global:register_name(lab_name, P), Found = erpc:call(There, global, whereis_name, [lab_name]), global:unregister_name(lab_name), exit(P, kill), Found =:= P",
        "true",
    ),
    (
        "pg",
        "[erpc:call(N, pg, start, [lab_scope]) || N <- [Here, There]],
         P = spawn(There, timer, sleep, [infinity]), ok = erpc:call(There, pg, join, [lab_scope, group, P]),
         Wait = fun Again(0) -> pg:get_members(lab_scope, group); Again(Left) ->
             case pg:get_members(lab_scope, group) of [] -> timer:sleep(10), Again(Left - 1); Found -> Found end end,
         Members = Wait(500), exit(P, kill), [erpc:call(N, gen_server, stop, [lab_scope]) || N <- [Here, There]], Members =:= [P]",
        "true",
    ),
];

/// Tries each feature from the first node to the second, and back.
pub async fn features(cluster: &mut Cluster) -> Finding {
    let mut worked = Vec::new();
    for (name, expression, wanted) in FEATURES {
        for (here, there) in [(0, 1), (1, 0)] {
            let process = cluster.node(here)?;
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
    let send = format!(
        "B = rand:bytes({LARGE}), Me = self(),
         P = spawn({there}, fun() -> receive {{large, X}} -> Me ! {{got, byte_size(X), erlang:md5(X)}} end end),
         P ! {{large, B}}, Sent = erlang:md5(B),
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
        "Me = self(), P = spawn({here}, fun() ->
            Take = fun Next(N, Max) when N > Max -> ok; Next(N, Max) -> receive N -> Next(N + 1, Max); Other -> {{at, N, got, Other}} end end,
            Me ! {{result, Take(1, {MANY})}} end),
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

//! What runs through an experiment: calls of the exported server by its alias, numbered messages to it and back, and who was missed. All of it is
//! counted where it happens, so that what is lost, doubled or turned round is seen.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::two::{ALIAS, SERVER, Two};
use crate::{ErlNode, Error, until};

/// For one question to a node.
const STEP: Duration = Duration::from_secs(20);
/// For what is under way to arrive: longer than a link looks for another connection (20 s).
const SETTLE: Duration = Duration::from_secs(40);
/// Who call, at once.
const CALLERS: u32 = 4;

/// The exported server, and a process that nobody exports. The server counts what comes in its place, what comes twice and what comes late, and
/// answers each numbered message with a number of its own, to the process that was handed out with it.
const THEIRS: &str = r"
Loop = fun Loop(Last, Got, Doubled, Late, Missing) ->
    receive
        {'$gen_call', From, {number, Id, N}} ->
            gen_server:reply(From, {answered, Id, N}),
            Loop(Last, Got, Doubled, Late, Missing);
        {'$gen_call', From, who} ->
            gen_server:reply(From, self()),
            Loop(Last, Got, Doubled, Late, Missing);
        {'$gen_cast', {number, N, Sink}} ->
            Sink ! {echo, Got + 1},
            case N of
                _ when N =:= Last + 1 -> Loop(N, Got + 1, Doubled, Late, Missing);
                _ when N > Last -> Loop(N, Got + 1, Doubled, Late, maps:merge(Missing, maps:from_keys(lists:seq(Last + 1, N - 1), m)));
                _ when is_map_key(N, Missing) -> Loop(Last, Got + 1, Doubled, Late + 1, maps:remove(N, Missing));
                _ -> Loop(Last, Got + 1, Doubled + 1, Late, Missing)
            end;
        {count, Who} -> Who ! {counted, [Got, Doubled, Late]}, Loop(Last, Got, Doubled, Late, Missing);
        _ -> Loop(Last, Got, Doubled, Late, Missing)
    end
end,
register(order_server, spawn(fun() -> Loop(0, 0, 0, 0, #{}) end)),
Secret = fun Secret(N) -> receive {count, Who} -> Who ! {counted, N}, Secret(N); _ -> Secret(N + 1) end end,
register(secret, spawn(fun() -> Secret(0) end)),
ok
";

/// Who was missed, at either node.
const WATCH: &str = r"
Self = self(),
Watch = fun Watch(N) ->
    receive
        {nodedown, _, _} -> Watch(N + 1);
        {count, Who} -> Who ! {counted, N}, Watch(N);
        _ -> Watch(N)
    end
end,
register(skans_chaos_watch, spawn(fun() ->
    ok = net_kernel:monitor_nodes(true, [{node_type, all}]),
    Self ! watching,
    Watch(0)
end)),
receive watching -> ok end
";

/// The callers, the source of numbered messages, and the sink of what comes back. A table keeps the numbers, since callers wait for answers.
const OURS: &str = r"
Self = self(),
spawn(fun() -> skans_chaos = ets:new(skans_chaos, [named_table, public, {write_concurrency, true}]), Self ! table, receive never -> ok end end),
receive table -> ok end,
Add = fun(Key) -> ets:update_counter(skans_chaos, Key, 1, {Key, 0}) end,
Most = fun(Key, N) -> case ets:lookup(skans_chaos, Key) of [{_, M}] when M >= N -> ok; _ -> ets:insert(skans_chaos, {Key, N}) end end,
Why = fun({'EXIT', {{nodedown, _}, _}}) -> nodedown;
    ({'EXIT', {Reason, _}}) when is_atom(Reason) -> Reason;
    (_) -> other end,
Caller = fun Caller(Id, N) ->
    receive {stop, Who} -> Who ! {stopped, Id} after 10 ->
        From = erlang:monotonic_time(millisecond),
        Add(made),
        Got = (catch gen_server:call({order_server, 'ALIAS'}, {number, Id, N}, 60000)),
        Most({pause, Id}, erlang:monotonic_time(millisecond) - From),
        case Got of
            {answered, Id, N} -> Add(answered);
            {answered, _, _} -> Add(wrong);
            _ -> Add(failed), Add({failed, Why(Got)}), timer:sleep(100)
        end,
        Caller(Id, N + 1)
    end
end,
[register(list_to_atom([$c | integer_to_list(Id)]), spawn(fun() -> Caller(Id, 1) end)) || Id <- lists:seq(1, CALLERS)],
Sink = fun Sink(Last, Missing) ->
    receive {echo, N} ->
        Add(echoes),
        case N of
            _ when N =:= Last + 1 -> Sink(N, Missing);
            _ when N > Last -> Sink(N, maps:merge(Missing, maps:from_keys(lists:seq(Last + 1, N - 1), m)));
            _ when is_map_key(N, Missing) -> Add(echoes_late), Sink(Last, maps:remove(N, Missing));
            _ -> Add(echoes_doubled), Sink(Last, Missing)
        end
    end
end,
There = spawn(fun() -> Sink(0, #{}) end),
Source = fun Source(N) ->
    receive {stop, Who} -> Who ! {stopped, source} after 5 ->
        gen_server:cast({order_server, 'ALIAS'}, {number, N, There}),
        Add(sent),
        Source(N + 1)
    end
end,
register(skans_chaos_source, spawn(fun() -> Source(1) end)),
ok
";

const STOP_SOURCE: &str = "skans_chaos_source ! {stop, self()}, receive {stopped, source} -> ok after 15000 -> blocked end";
const STOP_CALLERS: &str = "[begin whereis(C) ! {stop, self()}, receive {stopped, _} -> ok after 70000 -> waits end end || C <- [list_to_atom([$c | integer_to_list(Id)]) || Id <- lists:seq(1, CALLERS)]], ok";
const COUNT: &str = "receive {counted, N} -> N after 5000 -> none end";

/// What became of the calls, from the caller's side.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Calls {
    /// How many were made.
    pub made: u64,
    /// How many were answered, each with its own number.
    pub answered: u64,
    /// How many raised an exception.
    pub failed: u64,
    /// Answers to another call.
    pub wrong: u64,
    /// The longest that a call took, in milliseconds.
    pub longest_pause_ms: u64,
    /// What exceptions said.
    pub failures: BTreeMap<String, u64>,
}

/// What became of numbered messages.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Casts {
    /// How many were sent.
    pub sent: u64,
    /// How many arrived.
    pub received: u64,
    /// How many never arrived.
    pub lost: u64,
    /// How many arrived again.
    pub doubled: u64,
    /// How many arrived behind later ones.
    pub out_of_order: u64,
}

/// What became of all of it.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Numbers {
    /// Calls.
    pub calls: Calls,
    /// Messages from caller to server.
    pub casts: Casts,
    /// Messages from server to caller.
    pub echoes: Casts,
    /// How often the node of ours missed another, and that of theirs.
    pub nodedowns: [u64; 2],
    /// How often the link has gone on with another connection.
    pub resumed: u64,
}

impl Numbers {
    /// Whether nothing was amiss until now; the last of it is under way.
    #[must_use]
    pub const fn unnoticed_so_far(&self) -> bool {
        self.calls.failed == 0
            && self.calls.wrong == 0
            && self.nodedowns[0] + self.nodedowns[1] == 0
            && self.in_order()
    }

    /// Whether no node has seen that anything was amiss.
    #[must_use]
    pub fn unnoticed(&self) -> bool {
        self.calls.failed == 0
            && self.calls.wrong == 0
            && self.calls.made == self.calls.answered
            && self.nodedowns == [0, 0]
            && [&self.casts, &self.echoes].iter().all(|one| {
                one.sent == one.received && one.lost + one.doubled + one.out_of_order == 0
            })
    }

    /// Whether nothing came twice, in another order, or to another than who asked, whatever was lost.
    #[must_use]
    pub const fn in_order(&self) -> bool {
        self.calls.wrong == 0
            && self.casts.doubled + self.casts.out_of_order == 0
            && self.echoes.doubled + self.echoes.out_of_order == 0
    }
}

/// Has all of it begin.
pub(super) async fn start(two: &Two) -> Result<(), Error> {
    for node in [&two.ours.node, &two.theirs.node] {
        node.eval(WATCH, STEP).await?;
    }
    two.theirs.node.eval(THEIRS, STEP).await?;
    if let Some(spare) = &two.theirs.spare {
        spare.eval(THEIRS, STEP).await?;
    }
    // Both sides are where they say they are once their agents have read what they were told.
    let reached = format!("is_pid(catch gen_server:call({{{SERVER}, '{ALIAS}'}}, who, 2000))");
    two.ours.node.wait_until(&reached, SETTLE).await?;
    let ours = OURS
        .replace("ALIAS", ALIAS)
        .replace("CALLERS", &CALLERS.to_string());
    two.ours.node.eval(&ours, STEP).await?;
    Ok(())
}

/// What is so far.
pub(super) async fn count(two: &Two) -> Result<Numbers, Error> {
    let text = "lists:flatten([io_lib:format(\"~0p=~b;\", [K, V]) || {K, V} <- ets:tab2list(skans_chaos)])";
    let text = two.ours.node.eval(text, STEP).await?;
    let table = table(&text);
    let of = |key: &str| table.get(key).copied().unwrap_or(0);
    let [received, doubled, out_of_order] = three(&ask(&two.theirs.node, SERVER).await?)?;
    let sent = of("sent");
    let failures = table.iter().filter_map(|(key, count)| {
        let why = key.strip_prefix("{failed,")?.strip_suffix('}')?;
        Some((why.to_owned(), *count))
    });
    let pauses = table.iter().filter(|(key, _)| key.starts_with("{pause,"));
    let links = two.ours.agent.links().await?;
    let watched = [&two.ours.node, &two.theirs.node];
    let mut nodedowns = [0, 0];
    for (node, downs) in watched.into_iter().zip(&mut nodedowns) {
        *downs = number(&ask(node, "skans_chaos_watch").await?)?;
    }
    Ok(Numbers {
        calls: Calls {
            made: of("made"),
            answered: of("answered"),
            failed: of("failed"),
            wrong: of("wrong"),
            longest_pause_ms: pauses.map(|(_, pause)| *pause).max().unwrap_or(0),
            failures: failures.collect(),
        },
        casts: Casts {
            sent,
            received,
            lost: (sent + doubled).saturating_sub(received),
            doubled,
            out_of_order,
        },
        echoes: Casts {
            sent: received,
            received: of("echoes"),
            lost: (received + of("echoes_doubled")).saturating_sub(of("echoes")),
            doubled: of("echoes_doubled"),
            out_of_order: of("echoes_late"),
        },
        nodedowns,
        resumed: links.iter().map(|link| link.resumed).sum(),
    })
}

/// Waits until so many more calls were answered.
pub(super) async fn answered(two: &Two, more: u64, limit: Duration) -> Result<(), Error> {
    let before = count(two).await?.calls.answered;
    until(limit, "calls to be answered", async || {
        let now = count(two).await.map_err(|error| error.to_string())?;
        if now.calls.answered < before + more {
            return Err(format!("{:?}, before {before}", now.calls));
        }
        Ok(())
    })
    .await
}

/// Ends all of it, waits for what is under way, and tells what became of everything.
pub(super) async fn end(two: &Two) -> Result<Numbers, Error> {
    two.ours.node.eval(STOP_SOURCE, STEP).await?;
    let callers = STOP_CALLERS.replace("CALLERS", &CALLERS.to_string());
    let patience = STEP + Duration::from_secs(70 * u64::from(CALLERS));
    two.ours.node.eval(&callers, patience).await?;
    let all = until(SETTLE, "the last messages to arrive", async || {
        let now = count(two).await.map_err(|error| error.to_string())?;
        if now.casts.lost + now.echoes.lost > 0 {
            return Err(format!("{now:?}"));
        }
        Ok(now)
    });
    // What does not come is lost: it is counted and no error. Where the link has ended, some is, and nobody waits for it.
    if count(two).await?.nodedowns == [0, 0] {
        match all.await {
            Ok(_) | Err(Error::TimedOut { .. }) => {}
            Err(other) => return Err(other),
        }
    }
    count(two).await
}

/// Messages that reached the process that nobody exports.
pub(super) async fn secrets(node: &ErlNode) -> Result<u64, Error> {
    number(&ask(node, "secret").await?)
}

async fn ask(node: &ErlNode, whom: &str) -> Result<String, Error> {
    let text = format!("{whom} ! {{count, self()}}, {COUNT}");
    node.eval(&text, STEP).await
}

/// `"made=12;{failed,nodedown}=3;"`, as Erlang prints it.
fn table(text: &str) -> BTreeMap<String, u64> {
    text.trim_matches('"')
        .split(';')
        .filter_map(|entry| {
            let (key, value) = entry.rsplit_once('=')?;
            Some((key.to_owned(), value.parse().ok()?))
        })
        .collect()
}

fn number(term: &str) -> Result<u64, Error> {
    term.parse()
        .map_err(|_| Error::Unexpected(format!("found {term}, wanted a number")))
}

fn three(term: &str) -> Result<[u64; 3], Error> {
    let numbers: Option<Vec<u64>> = term
        .trim_matches(['[', ']'])
        .split(',')
        .map(|number| number.trim().parse().ok())
        .collect();
    numbers
        .and_then(|numbers| numbers.try_into().ok())
        .ok_or_else(|| Error::Unexpected(format!("found {term}, wanted three numbers")))
}

#[cfg(test)]
mod tests;

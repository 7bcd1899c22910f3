//! `mnesia-peer`: Mnesia of OTP on two nodes, beside `global-member`, which lets them connect.

use super::{CLUSTER, Stage, bind};

/// A schema at the first node. `mnesia:create_schema` with two nodes has the other one write files that it names, and is for
/// nobody without a permit of its own.
const SCHEMA: &[(&str, &str)] = &[("mnesia:create_schema([{N1}])", "ok")];

/// Started by each, since no role starts Mnesia at another node.
const START: &[(&str, &str)] = &[("mnesia:start()", "ok")];

/// The other node joins, and there are tables of each kind.
const CREATE: &[(&str, &str)] = &[
    (
        "mnesia:change_config(extra_db_nodes, [{N2}])",
        "{ok,[{N2}]}",
    ),
    (
        "mnesia:change_table_copy_type(schema, {N2}, disc_copies)",
        "{atomic,ok}",
    ),
    (
        "lists:sort(mnesia:system_info(running_db_nodes))",
        "[{N1},{N2}]",
    ),
    (
        "mnesia:create_table(stock, [{disc_copies, [{N1}, {N2}]}])",
        "{atomic,ok}",
    ),
    (
        "mnesia:create_table(cart, [{ram_copies, [{N1}, {N2}]}])",
        "{atomic,ok}",
    ),
    (
        "mnesia:create_table(prices, [{disc_only_copies, [{N1}, {N2}]}])",
        "{atomic,ok}",
    ),
    (
        "mnesia:create_table(orders, [{ram_copies, [{N1}]}, {attributes, [key, value, shop]}])",
        "{atomic,ok}",
    ),
];

#[tokio::test]
async fn peers_of_mnesia_share_tables_and_nothing_else() {
    let roles = [
        bind("global-member", CLUSTER, CLUSTER, ""),
        bind("mnesia-peer", CLUSTER, CLUSTER, ""),
    ];
    let mut stage = Stage::start(&roles, "", &[]).await;
    stage.all(1, SCHEMA).await;
    for number in [1, 2] {
        stage.all(number, START).await;
    }
    stage.all(1, CREATE).await;
    for (number, key) in [(1, "pear"), (2, "fig")] {
        stage
            .all(number, &[(&transactions(key), "{atomic,ok}")])
            .await;
    }
    stage.all(2, ELSEWHERE).await;
    stage.all(1, CHANGES).await;
    stage.all(2, READ).await;
    contention(&stage).await;
    stage.all(2, STOP).await;
    stage
        .all(1, &[("mnesia:dirty_write({stock, meanwhile, 2})", "ok")])
        .await;
    stage.all(2, START).await;
    stage.all(2, &READ[..1]).await;
    stage.cluster.kill_node(1).await.unwrap();
    stage
        .wait(1, "mnesia:system_info(running_db_nodes) =:= [{N1}]")
        .await;
    stage
        .all(1, &[("mnesia:dirty_write({stock, late, 3})", "ok")])
        .await;
    stage.cluster.start_node(1).await.unwrap();
    stage
        .cluster
        .connect(skans_promises::PATIENCE)
        .await
        .unwrap();
    stage.all(2, START).await;
    stage.all(2, AGAIN).await;
    // The other copies of what a transaction wrote come after it.
    stage
        .wait(1, "mnesia:dirty_read(stock, back) =:= [{stock, back, 4}]")
        .await;
    stage.all(1, LEAVE).await;
    stage.and_nothing_else_passes(1, 2).await;
}

/// Writes to each table, and reads under locks.
fn transactions(key: &str) -> String {
    format!(
        "{{atomic, ok}} = mnesia:sync_transaction(fun() -> mnesia:write({{stock, {key}, 1}}), mnesia:write({{cart, {key}, 2}}), \
         mnesia:write({{prices, {key}, 3}}) end), \
         {{atomic, [{{cart, {key}, 2}}]}} = mnesia:sync_transaction(fun() -> mnesia:read(cart, {key}, write) end), \
         {{aborted, no}} = mnesia:transaction(fun() -> mnesia:write({{stock, {key}, 9}}), mnesia:abort(no) end), \
         ok = mnesia:dirty_write({{cart, {{dirty, {key}}}, 1}}), 1 = mnesia:dirty_update_counter(cart, {{count, {key}}}, 1), \
         ok = mnesia:activity(sync_dirty, fun() -> mnesia:write({{cart, {{sync, {key}}}, 1}}) end), \
         mnesia:transaction(fun() -> mnesia:write_lock_table(cart), mnesia:delete({{cart, {{dirty, {key}}}}}) end)"
    )
}

/// A table of which this node has no copy.
const ELSEWHERE: &[(&str, &str)] = &[
    (
        "mnesia:sync_transaction(fun() -> mnesia:write({orders, away, fig, there}), [_] = mnesia:read(orders, away), [] = mnesia:read(orders, none), ok end)",
        "{atomic,ok}",
    ),
    (
        "mnesia:dirty_write({orders, dirty, fig, there}), mnesia:dirty_read(orders, dirty)",
        "[{orders,dirty,fig,there}]",
    ),
    (
        "length(mnesia:dirty_match_object({orders, '_', fig, '_'}))",
        "2",
    ),
    (
        "length(mnesia:dirty_select(orders, [{{orders, '$1', '_', '_'}, [], ['$1']}]))",
        "2",
    ),
    (
        "K = mnesia:dirty_first(orders), {length(mnesia:dirty_all_keys(orders)), mnesia:dirty_next(orders, K) =/= K}",
        "{2,true}",
    ),
    (
        "{atomic, N} = mnesia:transaction(fun() -> mnesia:foldl(fun(_, Sum) -> Sum + 1 end, 0, orders) end), N",
        "2",
    ),
    (
        "{atomic, {[_], More}} = mnesia:transaction(fun() -> mnesia:select(orders, [{{orders, '$1', '_', '_'}, [], ['$1']}], 1, read) end), is_tuple(More)",
        "true",
    ),
    (
        "mnesia:dirty_delete(orders, dirty), mnesia:dirty_delete(orders, away), mnesia:dirty_all_keys(orders)",
        "[]",
    ),
];

/// Changes of the schema while both run.
const CHANGES: &[(&str, &str)] = &[
    (
        "mnesia:add_table_copy(orders, {N2}, ram_copies)",
        "{atomic,ok}",
    ),
    (
        "mnesia:change_table_copy_type(orders, {N2}, disc_copies)",
        "{atomic,ok}",
    ),
    ("mnesia:add_table_index(orders, value)", "{atomic,ok}"),
    (
        "mnesia:transform_table(orders, fun({orders, K, V, S}) -> {orders, K, V, S, new} end, [key, value, shop, note])",
        "{atomic,ok}",
    ),
    (
        "mnesia:sync_transaction(fun() -> mnesia:write({orders, 1, pear, here, big}) end)",
        "{atomic,ok}",
    ),
    // More than a message is held of to be judged.
    (
        "mnesia:sync_transaction(fun() -> [mnesia:write({orders, N, N, binary:copy(<<1>>, 1000), many}) || N <- lists:seq(2, 500)], ok end)",
        "{atomic,ok}",
    ),
    ("mnesia:set_master_nodes([])", "ok"),
];

const READ: &[(&str, &str)] = &[
    (
        "mnesia:wait_for_tables([stock, cart, prices, orders], 10000)",
        "ok",
    ),
    ("mnesia:dirty_read(stock, pear)", "[{stock,pear,1}]"),
    ("length(mnesia:dirty_all_keys(orders))", "500"),
    (
        "mnesia:dirty_index_read(orders, pear, value)",
        "[{orders,1,pear,here,big}]",
    ),
    (
        "{ok, _} = mnesia:subscribe({table, cart, simple}), ok = mnesia:dirty_write({cart, heard, 1}), \
         receive {mnesia_table_event, {write, {cart, heard, 1}, _}} -> heard end",
        "heard",
    ),
    (
        "{ok, Name, Nodes} = mnesia:activate_checkpoint([{name, saved}, {max, [stock, cart]}]), ok = mnesia:deactivate_checkpoint(Name), \
         lists:sort(Nodes)",
        "[{N1},{N2}]",
    ),
];

const STOP: &[(&str, &str)] = &[("mnesia:stop()", "stopped")];

/// The node that was away has what was written meanwhile.
const AGAIN: &[(&str, &str)] = &[
    (
        "mnesia:wait_for_tables([stock, cart, prices, orders], 20000)",
        "ok",
    ),
    ("mnesia:dirty_read(stock, late)", "[{stock,late,3}]"),
    (
        "mnesia:dirty_read(stock, meanwhile)",
        "[{stock,meanwhile,2}]",
    ),
    ("mnesia:dirty_read(cart, heard)", "[{cart,heard,1}]"),
    ("length(mnesia:dirty_all_keys(orders))", "500"),
    (
        "mnesia:transaction(fun() -> mnesia:write({stock, back, 4}) end)",
        "{atomic,ok}",
    ),
];

const LEAVE: &[(&str, &str)] = &[
    (
        "mnesia:move_table_copy(cart, {N2}, {N1})",
        "{aborted,{already_exists,cart,{N1}}}",
    ),
    ("mnesia:del_table_copy(prices, {N2})", "{atomic,ok}"),
    ("mnesia:delete_table(orders)", "{atomic,ok}"),
    ("mnesia:clear_table(cart)", "{atomic,ok}"),
];

/// Both count in one record: locks are waited for, and transactions start anew.
async fn contention(stage: &Stage) {
    let count = "[{atomic, _} = mnesia:transaction(fun() -> [{_, _, Old}] = mnesia:wread({stock, pear}), mnesia:write({stock, pear, Old + 1}) end) \
                 || _ <- lists:seq(1, 100)], ok";
    let rows = [(count, "ok")];
    tokio::join!(stage.all(1, &rows), stage.all(2, &rows));
    for number in [1, 2] {
        let read = "mnesia:dirty_read(stock, pear) =:= [{stock, pear, 201}]";
        stage.wait(number, read).await;
    }
}

//! `metrics-reader`: a node that asks another how it is, as exporters and observers do.

use super::{Stage, bind, node};

/// What is asked, and whether the answer is one.
const ASKED: &[(&str, &str)] = &[
    ("erlang, memory, []", "is_list(A)"),
    ("erlang, memory, [total]", "is_integer(A)"),
    ("erlang, system_info, [process_count]", "is_integer(A)"),
    ("erlang, system_info, [port_limit]", "is_integer(A)"),
    ("erlang, statistics, [run_queue]", "is_integer(A)"),
    ("erlang, statistics, [io]", "is_tuple(A)"),
    (
        "erlang, statistics, [scheduler_wall_time]",
        "A =:= undefined orelse is_list(A)",
    ),
    ("erlang, processes, []", "length(A) > 10"),
    ("erlang, ports, []", "is_list(A)"),
    ("erlang, registered, []", "lists:member(rex, A)"),
    ("erlang, whereis, [rex]", "is_pid(A)"),
    (
        "erlang, process_info, [erpc:call({N2}, erlang, whereis, [rex])]",
        "is_list(A)",
    ),
    (
        "erlang, process_info, [erpc:call({N2}, erlang, whereis, [rex]), [message_queue_len, memory]]",
        "length(A) =:= 2",
    ),
    (
        "erlang, port_info, [hd(erpc:call({N2}, erlang, ports, []))]",
        "is_list(A)",
    ),
    ("ets, all, []", "is_list(A)"),
    ("ets, info, [ac_tab]", "is_list(A)"),
    ("ets, info, [ac_tab, size]", "is_integer(A)"),
    ("application, which_applications, []", "is_list(A)"),
    ("mnesia, system_info, [is_running]", "A =:= no"),
    ("erlang, nodes, []", "A =:= [{N1}]"),
    ("os, type, []", "is_tuple(A)"),
    ("init, get_status, []", "is_tuple(A)"),
    ("observer_backend, sys_info, []", "is_list(A)"),
];

#[tokio::test]
async fn a_reader_of_metrics_sees_them_and_changes_nothing() {
    let role = bind("metrics-reader", &node(1), &node(2), "");
    let stage = Stage::start(&[role], "", &[]).await;
    for (call, sane) in ASKED {
        for by in ["erpc", "rpc"] {
            let asked = format!("A = {by}:call({{N2}}, {call}), {sane}");
            stage.all(1, &[(&asked, "true")]).await;
        }
    }
    stage.nothing_was_denied().await;
    stage.and_nothing_else_passes(1, 2).await;
}

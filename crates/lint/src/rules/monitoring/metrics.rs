//! Expressions of PromQL over metrics of the Erlang VM: names and labels that are not there.

use super::{dashboards, expressions, panels};
use crate::rule::{Context, Findings, Rule};

pub(super) const RULES: &[Rule] = &[
    rule!(
        DSH001,
        "unknown-metric",
        High,
        Beam,
        unknown_metric,
        "An expression asks for a metric of the Erlang VM that nobody exports.",
        "The panel stays empty, and the alert never fires.",
        "The names of prometheus.erl: `erlang_vm_memory_bytes_total{kind=\"processes\"}` (since version 6 without `_total`), `erlang_vm_process_count`."
    ),
    rule!(
        DSH006,
        "no-data-when-down",
        Medium,
        Beam,
        no_data,
        "A count of what is up gives nothing when all is down.",
        "The panel says \"no data\" and the alert stays silent, in the one case that it is for. And what is scraped is not what is connected.",
        "`count(up{...} == 1) or vector(0)`, or `sum(up{...})`; for the cluster `erlang_vm_dist_node_state`."
    ),
    rule!(
        DSH002,
        "unknown-label",
        Low,
        Beam,
        unknown_label,
        "A legend names a label that metrics of distribution do not have.",
        "Legends are empty, so that links cannot be told apart.",
        "`{{peer}}`."
    ),
];

/// Names of prometheus.erl after `erlang_vm_`, without `_total`: versions differ in whether they have it.
const NAMES: &[&str] = &[
    "allocators",
    "atom_count",
    "atom_limit",
    "dirty_cpu_schedulers",
    "dirty_cpu_schedulers_online",
    "dirty_io_schedulers",
    "dist_buf_busy_limit",
    "ets_limit",
    "ets_tables",
    "dets_tables",
    "logical_processors",
    "logical_processors_available",
    "logical_processors_online",
    "memory_atom_bytes",
    "memory_bytes",
    "memory_dets_tables",
    "memory_ets_tables",
    "memory_processes_bytes",
    "memory_system_bytes",
    "port_count",
    "port_limit",
    "process_count",
    "process_limit",
    "schedulers",
    "schedulers_online",
    "smp_support",
    "statistics_bytes_output",
    "statistics_bytes_received",
    "statistics_context_switches",
    "statistics_dirty_cpu_run_queue_length",
    "statistics_dirty_io_run_queue_length",
    "statistics_garbage_collection_bytes_reclaimed",
    "statistics_garbage_collection_number_of_gcs",
    "statistics_garbage_collection_words_reclaimed",
    "statistics_reductions",
    "statistics_run_queues_length",
    "statistics_runtime_milliseconds",
    "statistics_runtime_seconds",
    "statistics_wallclock_time_milliseconds",
    "statistics_wallclock_time_seconds",
    "system_info",
    "thread_pool_size",
    "threads",
    "time_correction",
    "wordsize_bytes",
    // Of RabbitMQ, of Skans, and of prometheus_telemetry.
    "uptime_seconds",
    "uptime",
    "memory",
    "memory_ets",
    "memory_atom",
    "memory_binary",
    "memory_processes",
    "memory_system",
    "memory_code",
];

/// Names after `erlang_vm_dist_`.
const OF_DIST: &[&str] = &[
    "node_queue_size_bytes",
    "node_state",
    "port_input_bytes",
    "port_memory_bytes",
    "port_output_bytes",
    "port_queue_size_bytes",
    "proc_heap_size_words",
    "proc_memory_bytes",
    "proc_message_queue_len",
    "proc_min_bin_vheap_size_words",
    "proc_min_heap_size_words",
    "proc_reductions",
    "proc_stack_size_words",
    "proc_status",
    "proc_total_heap_size_words",
    "recv_avg_bytes",
    "recv_bytes",
    "recv_cnt",
    "recv_dvi_bytes",
    "recv_max_bytes",
    "send_avg_bytes",
    "send_bytes",
    "send_cnt",
    "send_max_bytes",
    "send_pend_bytes",
];

const PREFIX: &str = "erlang_vm_";

fn is_known(name: &str) -> bool {
    let stem = name.strip_suffix("_total").unwrap_or(name);
    match stem.strip_prefix("dist_") {
        Some(of_dist) => OF_DIST.contains(&of_dist) || NAMES.contains(&stem),
        // One for each state of a thread, and more of them with each release.
        None => {
            NAMES.contains(&stem)
                || ["msacc_", "run_queue_", "system_counts_"]
                    .iter()
                    .any(|family| stem.starts_with(family))
        }
    }
}

/// The names of metrics of the VM in an expression.
fn names(expression: &str) -> impl Iterator<Item = &str> {
    expression
        .split(|c: char| {
            !(c.is_ascii_alphanumeric() || c == '_' || c == ':' || c == '.' || c == '*')
        })
        // A pattern over names is none; names with a colon come from recording rules.
        .filter(|word| !word.contains([':', '*', '.']))
        .filter_map(|word| word.strip_prefix(PREFIX))
        .filter(|name| !name.is_empty())
}

fn unknown_metric(context: &Context<'_>, found: &mut Findings<'_>) {
    // What a recording rule of the set makes is there.
    let recorded: Vec<&str> = context
        .set
        .of_kind("PrometheusRule")
        .flat_map(|object| object.node.all())
        .filter_map(|node| node.text(&["record"]))
        .collect();
    for (place, expression) in expressions(context) {
        for name in names(expression) {
            let whole = format!("{PREFIX}{name}");
            if !is_known(name) && !recorded.contains(&whole.as_str()) {
                let adding = found.add(
                    place,
                    format!("neither prometheus.erl nor RabbitMQ exports {whole}"),
                );
                if name.starts_with("memory_processes") {
                    adding.fix("erlang_vm_memory_bytes_total{kind=\"processes\"}");
                } else if name.starts_with("memory") {
                    adding.fix("sum by (instance) (erlang_vm_memory_bytes_total)");
                }
            }
        }
    }
}

fn no_data(context: &Context<'_>, found: &mut Findings<'_>) {
    for (place, expression) in expressions(context) {
        let squeezed: String = expression.chars().filter(|c| !c.is_whitespace()).collect();
        let counts = squeezed.contains("count(up") || squeezed.contains(")(up");
        let alive = squeezed.contains("==1)");
        let helped = squeezed.contains("orvector(")
            || squeezed.contains("absent(")
            || squeezed.contains("oron()");
        if counts && alive && !helped {
            found
                .add(place, "nothing at all when none is up")
                .fix(format!("({expression}) or vector(0)"));
        }
    }
}

fn unknown_label(context: &Context<'_>, found: &mut Findings<'_>) {
    for dashboard in dashboards(context) {
        for target in panels(dashboard.model)
            .into_iter()
            .flat_map(|panel| super::items(panel, &["targets"]))
        {
            let of_dist = target
                .text(&["expr"])
                .is_some_and(|expression| expression.contains("erlang_vm_dist_"));
            let Some(legend) = target.get("legendFormat").filter(|_| of_dist) else {
                continue;
            };
            let text = legend.as_str().unwrap_or_default().replace(' ', "");
            if text.contains("{{node}}") || text.contains("{{remote}}") {
                found
                    .add(
                        dashboard.place(legend),
                        "the label of the other node is peer",
                    )
                    .fix("{{peer}}");
            }
        }
    }
}

//! `sys.config` and its like: what the VM refuses, and what nothing reads.

use skans_erlconf::term::{Kind, Term};

use super::once::settings;
use crate::document::{Content, Terms};
use crate::rule::{Context, Findings, Rule};
use crate::setting::{Origin, Value};
use crate::source::{Place, SourceId};

pub(super) const RULES: &[Rule] = &[
    rule!(
        CFG000,
        "does-not-parse",
        Blocker,
        Beam,
        does_not_parse,
        "A file cannot be read by what it is for.",
        "The node does not start, or the object is rejected.",
        "What the message says was wanted."
    ),
    rule!(
        CFG001,
        "invalid-app-env",
        Blocker,
        Beam,
        invalid_app_env,
        "An entry of `sys.config` is not `{Application, [{Key, Value}]}`.",
        "The VM exits: `invalid config data`.",
        "One list of `{Application, [{Key, Value}, ...]}`, each application once, ended by a dot."
    ),
    rule!(
        CFG002,
        "logger-outside-kernel",
        Blocker,
        Beam,
        logger_outside_kernel,
        "`logger` is configured as if it were an application.",
        "The VM exits: `invalid config data: application: logger; invalid parameter`.",
        "`{kernel, [{logger_level, info}, {logger, [{handler, default, logger_std_h, #{...}}]}]}`."
    ),
    rule!(
        CFG006,
        "bad-logger-level",
        Blocker,
        Beam,
        bad_logger_level,
        "`logger_level` has a value that is no level.",
        "Kernel does not start: `bad_config`.",
        "`emergency`, `alert`, `critical`, `error`, `warning`, `notice`, `info`, `debug`, `all` or `none`."
    ),
    rule!(
        CFG005,
        "log-to-file-in-container",
        Medium,
        Beam,
        log_to_file,
        "Logs go to a file in a container.",
        "`kubectl logs` and log shippers see nothing, and the file fills the node's disk.",
        "The default handler, which writes to standard output."
    ),
    rule!(
        CFG003,
        "unknown-kernel-parameter",
        Low,
        Beam,
        unknown_kernel,
        "Kernel has no parameter of this name.",
        "It is ignored, without a word.",
        "The name as the documentation of kernel has it."
    ),
    rule!(
        CFG004,
        "legacy-sasl",
        Low,
        Beam,
        legacy_sasl,
        "Parameters of SASL's old logging.",
        "They have had no effect since OTP 21, unless `logger_sasl_compatible` is set.",
        "Leave them out; `logger_level` of kernel decides."
    ),
];

fn does_not_parse(context: &Context<'_>, found: &mut Findings<'_>) {
    for unread in &context.set.unread {
        if unread.broken {
            found.add(unread.place, unread.reason.clone());
        }
    }
}

/// The files that are configuration of applications.
fn configs<'c>(
    context: &Context<'c>,
) -> impl Iterator<Item = (SourceId, &'c skans_erlconf::term::Document)> {
    context
        .set
        .documents
        .iter()
        .filter_map(|document| match &document.content {
            Content::Terms(Terms::Config, terms) => Some((document.source, terms)),
            // More than one term, or one that is no list, in a file that is named as configuration.
            Content::Terms(Terms::Other, terms) => {
                let name = context.set.sources.get(document.source).file_name();
                let named = ["sys.config", "advanced.config", "app.config"].contains(&name);
                named.then_some((document.source, terms))
            }
            _ => None,
        })
}

fn invalid_app_env(context: &Context<'_>, found: &mut Findings<'_>) {
    for (source, document) in configs(context) {
        let place = |term: &Term| Place::new(source, term.span);
        let list = match document.terms.as_slice() {
            [list] if list.is_list() => list,
            [first, second, ..] => {
                found
                    .add(place(second), "a second term, where one list was wanted")
                    .related(place(first), "the first");
                continue;
            }
            [other] => {
                found.add(
                    place(other),
                    format!("{} where one list was wanted", other.kind.name()),
                );
                continue;
            }
            [] => continue,
        };
        let mut seen: Vec<&Term> = Vec::new();
        for entry in list.items() {
            // Names of further files, which releases allow in sys.config.
            if matches!(entry.kind, Kind::String(_) | Kind::Placeholder(_)) {
                continue;
            }
            let Some([app, parameters]) = entry.elements() else {
                found.add(
                    place(entry),
                    format!(
                        "{} where {{Application, Parameters}} was wanted",
                        entry.kind.name()
                    ),
                );
                continue;
            };
            if app.as_atom().is_none() {
                found.add(
                    place(app),
                    format!("{} where an application was wanted", app.kind.name()),
                );
                continue;
            }
            if let Some(first) = seen.iter().find(|other| **other == app) {
                found
                    .add(place(app), format!("{app} is configured twice"))
                    .related(place(first), "the first time");
            }
            seen.push(app);
            if !parameters.is_list() && !matches!(parameters.kind, Kind::Placeholder(_)) {
                found.add(
                    place(parameters),
                    format!(
                        "{} where a list of parameters was wanted",
                        parameters.kind.name()
                    ),
                );
            }
            if app.is_atom("logger") {
                continue;
            }
            for parameter in parameters.items() {
                let right = matches!(parameter.elements(), Some([key, _]) if key.as_atom().is_some())
                    || matches!(parameter.kind, Kind::Placeholder(_));
                if !right {
                    found.add(
                        place(parameter),
                        format!(
                            "of {app}: {} where {{Key, Value}} was wanted",
                            parameter.kind.name()
                        ),
                    );
                }
            }
        }
    }
}

fn logger_outside_kernel(context: &Context<'_>, found: &mut Findings<'_>) {
    for (source, document) in configs(context) {
        for entry in document.terms.iter().flat_map(Term::entries) {
            let Some(parameters) = entry.value.filter(|_| entry.key.is_atom("logger")) else {
                continue;
            };
            let handlers = parameters
                .items()
                .iter()
                .any(|item| item.elements().is_some_and(|parts| parts.len() != 2));
            if handlers {
                let place = Place::new(source, entry.key.span);
                found.add(
                    place,
                    "logger is no application here; its handlers belong to kernel",
                );
            }
        }
    }
}

fn bad_logger_level(context: &Context<'_>, found: &mut Findings<'_>) {
    const LEVELS: &[&str] = &[
        "emergency",
        "alert",
        "critical",
        "error",
        "warning",
        "notice",
        "info",
        "debug",
        "all",
        "none",
    ];
    for (_, setting) in settings(context) {
        let level = setting.app == "kernel" && setting.key == "logger_level";
        let wrong = match &setting.value {
            Value::Atom(level) => !LEVELS.contains(&level.as_str()),
            Value::Text(_) | Value::Integer(_) => true,
            _ => false,
        };
        if level && wrong {
            let value = setting.value.text().unwrap_or("this").to_owned();
            found.add(setting.place, format!("{value} is no level"));
        }
    }
}

fn log_to_file(context: &Context<'_>, found: &mut Findings<'_>) {
    for (unit, setting) in settings(context) {
        let logger = setting.app == "kernel" && setting.key == "logger";
        if !logger || unit.object.is_none() {
            continue;
        }
        let Value::List(handlers) = &setting.value else {
            continue;
        };
        let default = handlers.iter().find_map(|handler| match handler {
            Value::Tuple(parts) => match parts.as_slice() {
                [kind, name, module, options]
                    if kind.is_atom("handler") && name.is_atom("default") =>
                {
                    Some((module, options))
                }
                _ => None,
            },
            _ => None,
        });
        let Some((module, options)) = default else {
            continue;
        };
        let config = options.get("config");
        let to_file = module.is_atom("logger_disk_log_h")
            || config.is_some_and(|config| {
                let kind = config.get("type");
                config.get("file").is_some()
                    || kind.is_some_and(|kind| matches!(kind, Value::Tuple(parts) if parts.first().is_some_and(|part| part.is_atom("file"))))
            });
        if to_file {
            found.add(setting.place, "the default handler writes to a file");
        }
    }
}

/// Parameters of kernel, OTP 25 to 29: what its sources ask for, and what its manual names.
const KERNEL: &[&str] = &[
    "browser_cmd",
    "boot_server_slaves",
    "check_ip",
    "connect_all",
    "dist_auto_connect",
    "dist_nodelay",
    "distributed",
    "epmd_module",
    "erl_epmd_node_listen_port",
    "error_logger",
    "error_logger_format_depth",
    "gethost_extra_args",
    "gethost_poolsize",
    "gethost_prioritize",
    "global_connect_retries",
    "global_groups",
    "inet_backend",
    "inet_default_connect_options",
    "inet_default_listen_options",
    "inet_dist_connect_options",
    "inet_dist_listen_max",
    "inet_dist_listen_min",
    "inet_dist_listen_options",
    "inet_dist_use_interface",
    "inet_dns_when_nis",
    "inet_parse_error_log",
    "inet_warnings",
    "inetrc",
    "logger",
    "logger_default_metadata",
    "logger_level",
    "logger_metadata",
    "logger_sasl_compatible",
    "net_setuptime",
    "net_ticker_spawn_options",
    "net_tickintensity",
    "net_ticktime",
    "os_cmd_shell",
    "permissions",
    "prevent_overlapping_partitions",
    "raw_files",
    "shell_docs_ansi",
    "shell_history",
    "shell_history_drop",
    "shell_history_file_bytes",
    "shell_history_path",
    "shell_keymap",
    "shell_slogan",
    "shutdown_func",
    "shutdown_timeout",
    "socket_buffer_size",
    "source_search_rules",
    "standard_io_encoding",
    "start_boot_server",
    "start_compile_server",
    "start_disk_log",
    "start_dist_ac",
    "start_distribution",
    "start_pg",
    "start_timer",
    "sync_nodes_mandatory",
    "sync_nodes_optional",
    "sync_nodes_timeout",
    "verbose",
    "wait_for_global_sync",
    "hibernate_after",
    "docs_app_dir",
    // Read by other rules, which know better what to say.
    "proto_dist",
    "inet_tls_dist",
    "inet_tls",
    "ssl_dist_opt",
    "ssl_dist_opts",
    "ssl_dist_optfile",
    "ssl_dist",
    "dist_tls",
];

fn unknown_kernel(context: &Context<'_>, found: &mut Findings<'_>) {
    for (_, setting) in settings(context) {
        if setting.app != "kernel" || KERNEL.contains(&setting.key.as_str()) {
            continue;
        }
        let adding = found.add(
            setting.place,
            format!("kernel has no parameter {}", setting.key),
        );
        if let Some(near) = KERNEL.iter().find(|known| is_near(known, &setting.key)) {
            adding.fix(format!("{near}?"));
        }
    }
}

/// Whether two names differ in one character, or in two that changed places.
fn is_near(one: &str, other: &str) -> bool {
    let (one, other): (Vec<_>, Vec<_>) = (one.chars().collect(), other.chars().collect());
    let same = one.iter().zip(&other).take_while(|(a, b)| a == b).count();
    let tail = |from: &[char], at: usize| from.get(at..).map(<[char]>::to_vec).unwrap_or_default();
    tail(&one, same + 1) == tail(&other, same + 1)
        || tail(&one, same) == tail(&other, same + 1)
        || tail(&one, same + 1) == tail(&other, same)
        || (one.len() == other.len()
            && one.get(same) == other.get(same + 1)
            && one.get(same + 1) == other.get(same)
            && tail(&one, same + 2) == tail(&other, same + 2))
}

fn legacy_sasl(context: &Context<'_>, found: &mut Findings<'_>) {
    let compatible = settings(context).iter().any(|(_, setting)| {
        setting.key == "logger_sasl_compatible" && setting.value.is_atom("true")
    });
    if compatible {
        return;
    }
    for (_, setting) in settings(context) {
        let legacy = matches!(
            setting.key.as_str(),
            "sasl_error_logger"
                | "errlog_type"
                | "error_logger_mf_dir"
                | "error_logger_mf_maxbytes"
                | "error_logger_mf_maxfiles"
        );
        if setting.app == "sasl" && legacy && setting.origin != Origin::Flag {
            found.add(setting.place, format!("{} has no effect", setting.key));
        }
    }
}

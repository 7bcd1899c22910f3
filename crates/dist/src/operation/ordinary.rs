//! Messages that mean no more than that they are sent, whatever data they hold: of these one stands for all that are like it
//! ([`crate::gate::Judge::lasting`]).
//!
//! What a message means beyond that is found by words, in `shapes` and what it uses: `call`, `system`, `add_handler` and so on. A
//! message to somebody who is none of OTP's processes, among whose atoms none is such a word, is none of the shapes.

use super::To;
use super::known::Known;
use crate::control::Signal;
use crate::gate::Shown;

/// Every word that a shape may be found by, in order; and other words that stand beside them, which is no harm. Left out are `''`, by
/// which only `init` means something, and those that mean nothing without another one: `$gen_call`, `$gen_cast`, `alias`.
pub(super) const WORDS: &[&str] = &[
    "$with_state",
    "EXIT",
    "add_handler",
    "add_sup_handler",
    "alarm_handler",
    "allowed",
    "application_controller",
    "apply",
    "apply_interval",
    "apply_once",
    "apply_repeatedly",
    "auth",
    "block_call",
    "call",
    "cancel",
    "cast",
    "code_server",
    "consistent_query",
    "ddll_server",
    "del_lock",
    "delegate_",
    "delete_child",
    "delete_handler",
    "deliver",
    "ensure_loaded",
    "erl_prim_loader",
    "erl_scan",
    "erl_signal_server",
    "erlang",
    "erpc",
    "error_logger",
    "erts_code_purger",
    "eval",
    "execute_call",
    "execute_cast",
    "fetch",
    "fetch_loaded",
    "file_server_2",
    "format",
    "fread",
    "fun",
    "fwrite",
    "gen_server",
    "gen_server2",
    "gen_statem",
    "get",
    "get_and_update",
    "get_argument",
    "get_arguments",
    "get_known",
    "get_names_ext",
    "get_plain_arguments",
    "get_protocol_version",
    "get_script_name",
    "get_state",
    "get_status",
    "get_synced",
    "get_until",
    "global",
    "global_group",
    "global_name_server",
    "heart",
    "info",
    "init",
    "invoke",
    "io_lib",
    "io_request",
    "is_auth",
    "is_running",
    "leader_query",
    "list",
    "local_query",
    "logger",
    "logger_proxy",
    "longnames",
    "management_",
    "mnesia_rpc",
    "msg",
    "net_kernel",
    "nodename",
    "notify_all_name",
    "notify_when_started",
    "print",
    "put_chars",
    "query_writers",
    "rabbit_alarm",
    "random_exit_name",
    "random_notify_name",
    "register",
    "register_ext",
    "release_handler",
    "requests",
    "resolve",
    "restart_child",
    "rex",
    "run_backing_queue",
    "sbcast",
    "script_id",
    "send",
    "send_res",
    "set_lock",
    "spawn",
    "spawn_link",
    "spawn_opt",
    "start_child",
    "start_task",
    "stop",
    "submit",
    "submit_async",
    "swap_handler",
    "swap_sup_handler",
    "sync",
    "sync_notify",
    "system",
    "terminate_child",
    "ticktime",
    "timeout",
    "timer_server",
    "tokens",
    "trans_all_known",
    "try_again_restart",
    "unregister",
    "update",
    "which_applications",
    "write",
];

/// Whether all messages with this header and this control message, but for the numbers of an alias that it is for or of a
/// monitor that it sets or takes away, mean the same as this one, if their payload is data ([`crate::term::is_data`]) and this one's is: a
/// message sent to the same, with no function in it, or no longer to watch. `name` is that of a pid which bears one.
#[must_use]
pub fn is_ordinary(message: &Shown<'_>, name: Option<&str>) -> bool {
    let to = match &message.control.signal {
        Signal::Monitor { .. } | Signal::Demonitor { .. } => return true,
        Signal::Send { to, .. } => to,
        _ => return false,
    };
    let Ok(to) = To::of(to) else {
        return false;
    };
    let to = match (to, name) {
        (To::Pid(_), Some(name)) => To::Name(name),
        _ => to,
    };
    matches!(Known::of(to), Known::Unnamed | Known::Other)
        && !message
            .atoms
            .iter()
            .any(|atom| WORDS.binary_search(&&**atom).is_ok())
}

#[cfg(test)]
mod tests;

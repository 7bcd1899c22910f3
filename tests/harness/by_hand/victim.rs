//! A node with processes that are there to be attacked, and what is known of them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use skans_lab::ErlNode;
use skans_promises::PATIENCE;

use super::terms::T;

/// A node with processes to be attacked.
pub struct Victim {
    processes: HashMap<&'static str, T>,
    /// Event managers `victim_0`, `victim_1`, ….
    pub named: Vec<T>,
    /// Processes without a name.
    pub unnamed: Vec<T>,
    pub directory: PathBuf,
    /// Its monotonic clock, some time ago.
    pub clock: i64,
    /// Its OTP.
    pub release: u32,
}

const KNOWN: [&str; 10] = [
    "rex",
    "net_kernel",
    "timer_server",
    "user",
    "file_server_2",
    "code_server",
    "kernel_safe_sup",
    "application_controller",
    "init",
    "global_name_server",
];

impl Victim {
    /// Starts what is to be attacked, so many times; what is written goes to `directory`.
    pub async fn new(node: &ErlNode, name: &str, directory: &Path, count: usize) -> Self {
        let setup = format!(
            "timer:start(), [begin gen_event:start({{local, list_to_atom(\"victim_\" ++ integer_to_list(N))}}), \
             file:make_dir(\"{}/d\" ++ integer_to_list(N)) end || N <- lists:seq(0, {})], ok",
            directory.display(),
            count - 1
        );
        assert_eq!(node.eval(&setup, PATIENCE).await.unwrap(), "ok");
        let known = pids(
            node,
            name,
            &format!("[whereis(N) || N <- [{}]]", KNOWN.join(",")),
        )
        .await;
        let named = pids(node, name, &format!("[whereis(list_to_atom(\"victim_\" ++ integer_to_list(N))) || N <- lists:seq(0, {})]", count - 1)).await;
        let unnamed = pids(
            node,
            name,
            &format!("[spawn(fun() -> receive never -> ok end end) || _ <- lists:seq(1, {count})]"),
        )
        .await;
        let clock = node
            .eval("erlang:monotonic_time(millisecond)", PATIENCE)
            .await
            .unwrap();
        let release = node
            .eval("list_to_integer(erlang:system_info(otp_release))", PATIENCE)
            .await
            .unwrap();
        Self {
            processes: KNOWN.into_iter().zip(known).collect(),
            named,
            unnamed,
            directory: directory.to_owned(),
            clock: clock.parse().unwrap(),
            release: release.parse().unwrap(),
        }
    }

    /// A process of OTP.
    pub fn known(&self, name: &str) -> T {
        self.processes[name].clone()
    }
}

/// The pids in a list, as they stand in messages.
pub async fn pids(node: &ErlNode, name: &str, list: &str) -> Vec<T> {
    let expression = format!(
        "<< <<(binary:encode_hex(binary:part(term_to_binary(P), byte_size(term_to_binary(P)), -12)))/binary>> || P <- {list} >>"
    );
    let hex = node.eval(&expression, PATIENCE).await.unwrap();
    let hex = hex.trim_matches(['<', '>', '"']);
    let digits: Vec<u8> = (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect();
    digits
        .chunks(12)
        .map(|rest| T::pid(name, rest.try_into().unwrap()))
        .collect()
}

/// `process_info` of a pid, by its number.
pub fn process(pid: &T, ask: &str) -> String {
    format!(
        "(fun(P) -> process_{ask} end)(list_to_pid(\"<0.{}.0>\"))",
        pid.id()
    )
}

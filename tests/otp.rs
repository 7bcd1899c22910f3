//! Releases of OTP mix: two nodes of the OTP on this machine and one of a newer, from a later Debian,
//! are one cluster. Run by `script/test --otp RELEASE`, which unpacks it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers as well"
)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::json;
use skans_lab::ErlNode;
use skans_lab::erl::Options;
use skans_promises::PATIENCE;
use skans_promises::attacks::sets;
use skans_promises::host::Hosts;

#[allow(dead_code, reason = "shared with the promises")]
#[path = "harness/clusters.rs"]
mod clusters;
#[allow(dead_code, reason = "shared with the promises")]
#[path = "harness/forwarder.rs"]
mod forwarder;
#[allow(dead_code, reason = "shared with the promises")]
#[path = "harness/netns.rs"]
mod netns;
#[macro_use]
#[path = "harness/by_hand.rs"]
mod by_hand;
#[allow(dead_code, reason = "shared with the promises")]
#[path = "harness/hostile.rs"]
mod hostile;
#[allow(dead_code, reason = "shared with the promises")]
#[path = "harness/root.rs"]
mod root;

/// The node of the newer release, among those of a cluster.
const NEW: usize = 2;
const NAMES: [&str; 3] = ["old1@host-1", "old2@host-2", "new@host-3"];

/// The other release, and where it is unpacked.
fn unpacked() -> (String, PathBuf) {
    let release = std::env::var("SKANS_TEST_OTP")
        .unwrap_or_else(|_| panic!("script/test --otp RELEASE says which OTP"));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../.cache/otp-{release}"));
    let root = root
        .canonicalize()
        .unwrap_or_else(|_| panic!("{} is missing: script/otp {release}", root.display()));
    (release, root)
}

/// Its `erl`, for nodes that see the rest of this machine where it is; in `directory`.
fn newer_erl(directory: &Path) -> PathBuf {
    let (_, root) = unpacked();
    let erl = directory.join("erl");
    let script = format!(
        "#!/bin/sh\nset -e\n[ -n \"$OTP_INSIDE\" ] || exec env OTP_INSIDE=1 unshare --mount \"$0\" \"$@\"\n\
         cd {root} && mount --bind /tmp tmp && mount -t proc proc proc && mount --bind /dev dev\n\
         exec chroot . /bin/sh -c 'cd \"$HOME\" && exec erl \"$@\"' erl \"$@\"\n",
        root = root.display()
    );
    std::fs::write(&erl, script).unwrap();
    std::fs::set_permissions(&erl, std::fs::Permissions::from_mode(0o755)).unwrap();
    erl
}

/// Three hosts with one node each.
struct Mixed {
    // Nodes go before the hosts that they are on.
    nodes: Vec<ErlNode>,
    hosts: Hosts,
    root: PathBuf,
}

impl Mixed {
    async fn start() -> Self {
        let (release, root) = unpacked();
        let mut hosts = Hosts::start(&["host-1", "host-2", "host-3"], None)
            .await
            .unwrap();
        hosts
            .start_agents(&NAMES.map(|name| json!({"nodes": [{"name": name}]})))
            .await
            .unwrap();
        // The newer Debian sees the agent's files where they are; nothing in it is changed.
        let see = format!(
            "cd {} && mount -t tmpfs run run && mkdir run/skans && mount --bind /run/skans run/skans && mount -t proc proc proc",
            root.display()
        );
        hosts.host(NEW).run(&see, PATIENCE).await.unwrap();
        let mut mixed = Self {
            nodes: Vec::new(),
            hosts,
            root,
        };
        for number in 0..NAMES.len() {
            mixed.nodes.push(mixed.node(number).await);
        }
        mixed.connect().await;
        assert_eq!(
            mixed.eval(NEW, "erlang:system_info(otp_release)").await,
            format!("{release:?}")
        );
        assert_ne!(
            mixed.eval(0, "erlang:system_info(otp_release)").await,
            format!("{release:?}")
        );
        mixed
    }

    async fn node(&self, number: usize) -> ErlNode {
        let host = self.hosts.host(number);
        let (alive, _) = NAMES[number].split_once('@').unwrap();
        let chroot = if number == NEW {
            format!("chroot {} ", self.root.display())
        } else {
            String::new()
        };
        let start =
            format!("set -a; . /run/skans/env/{alive}.env; set +a; exec {chroot}erl \"$@\"");
        let options = Options {
            label: NAMES[number].to_owned(),
            erl: host.script("erl", &["sh", "-c", &start, "erl"]).unwrap(),
            home: host.directory().to_owned(),
            args: ["-sname", alive].map(str::to_owned).to_vec(),
            env: Vec::new(),
        };
        ErlNode::start(&options).await.unwrap()
    }

    /// Each sees the two others, as ordinary nodes do.
    async fn connect(&self) {
        for (number, node) in self.nodes.iter().enumerate() {
            for other in NAMES {
                assert_eq!(
                    self.eval(number, &format!("net_adm:ping('{other}')")).await,
                    "pong",
                    "{other}"
                );
            }
            node.wait_for("length(nodes())", "2", PATIENCE)
                .await
                .unwrap();
            assert_eq!(self.eval(number, "nodes(hidden)").await, "[]");
        }
    }

    async fn eval(&self, node: usize, expression: &str) -> String {
        self.nodes[node].eval(expression, PATIENCE).await.unwrap()
    }

    /// What an expression yields from the old to the new and from the new to the old, `P` being the
    /// other node.
    async fn both_ways(&self, wanted: &str, expression: &str) {
        for (from, to) in [(0, NEW), (NEW, 0), (1, NEW), (NEW, 1)] {
            let found = self
                .eval(from, &format!("P = '{}', {expression}", NAMES[to]))
                .await;
            assert_eq!(
                found, wanted,
                "from {} to {}: {expression}",
                NAMES[from], NAMES[to]
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn old_and_new_nodes_are_one_cluster() {
    if !root::or_skip("an OTP from a later Debian") {
        return;
    }
    let mut mixed = Mixed::start().await;
    calls_and_signals(&mixed).await;
    large_and_odd_terms(&mixed).await;
    global_names(&mixed).await;

    // The new one dies and comes back.
    mixed.nodes.pop().unwrap().kill().await.unwrap();
    for number in 0..NEW {
        mixed.nodes[number]
            .wait_for("length(nodes())", "1", PATIENCE)
            .await
            .unwrap();
    }
    mixed.nodes.push(mixed.node(NEW).await);
    mixed.connect().await;
    mixed
        .both_ways("55", "erpc:call(P, lists, sum, [lists:seq(1, 10)])")
        .await;
    nothing_was_refused(&mixed);
}

/// A remote shell of the newer release on an older node, and the other way round.
#[tokio::test(flavor = "multi_thread")]
async fn remote_shells_reach_across_releases() {
    if !root::or_skip("an OTP from a later Debian") {
        return;
    }
    let mixed = Mixed::start().await;
    let chroot = format!("chroot {} ", mixed.root.display());
    for (host, chroot, to) in [(NEW, chroot.as_str(), "old1@host-1"), (0, "", "new@host-3")] {
        let shell = format!("set -a; . /run/skans/env/cli.env; set +a; {chroot}erl -remsh {to}");
        let mut terminal = mixed.hosts.host(host).terminal("root", &shell).unwrap();
        terminal
            .shows(&format!("({to})1>"), PATIENCE)
            .await
            .unwrap();
        terminal
            .enter("io:format(\"~s ~s~n\", [\"here is\", node()]).")
            .await
            .unwrap();
        terminal
            .shows(&format!("here is {to}"), PATIENCE)
            .await
            .unwrap();
    }
    for number in 0..NAMES.len() {
        assert_eq!(mixed.eval(number, "length(nodes())").await, "2");
    }
}

/// What is refused from a node of one release to one of another is refused whichever is the newer one.
#[tokio::test(flavor = "multi_thread")]
async fn what_owns_a_node_is_refused_across_releases() {
    if !root::or_skip("an OTP from a later Debian") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let newer = newer_erl(directory.path());
    let newer = Some(newer.as_path());
    for (attacker, victim) in [(newer, None), (None, newer), (newer, newer)] {
        sets::by_the_set_to_begin_with(attacker, victim)
            .await
            .unwrap();
        sets::by_the_agent_beside_the_receiver(attacker, victim)
            .await
            .unwrap();
        sets::by_a_set_for_one_server(attacker, victim)
            .await
            .unwrap();
    }
}

/// However a message is written, op 37 included.
#[tokio::test(flavor = "multi_thread")]
async fn no_writing_gets_past_the_policy_of_a_newer_node() {
    if !root::or_skip("an OTP from a later Debian") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let newer = newer_erl(directory.path());
    by_hand::refused::by_the_agent_beside_the_receiver(Some(&newer)).await;
    by_hand::refused::by_both_agents(Some(&newer)).await;
    by_hand::refused::guesses(Some(&newer)).await;
    by_hand::refused::not_negotiated(Some(&newer)).await;
}

/// What these writings say means something to it: where nobody refuses, all of it is done.
#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_refuses_is_done_by_a_newer_node() {
    if !root::or_skip("an OTP from a later Debian") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let newer = newer_erl(directory.path());
    by_hand::refused::by_nobody(Some(&newer)).await;
}

async fn calls_and_signals(mixed: &Mixed) {
    mixed
        .both_ways("true", "erpc:call(P, erlang, node, []) =:= P")
        .await;
    mixed
        .both_ways("true", "rpc:call(P, erlang, node, []) =:= P")
        .await;
    mixed
        .both_ways(
            "badarith",
            "try erpc:call(P, erlang, 'div', [1, 0]) catch error:{exception, R, _} -> R end",
        )
        .await;
    mixed
        .both_ways(
            "true",
            "is_list(gen_server:call({kernel_sup, P}, which_children))",
        )
        .await;
    mixed
        .both_ways(
            "noproc",
            "try gen_server:call({nobody, P}, x) catch exit:{R, _} -> R end",
        )
        .await;
    mixed
        .both_ways(
            "down",
            "Q = spawn(P, timer, sleep, [infinity]), R = monitor(process, Q), exit(Q, kill), \
             receive {'DOWN', R, process, Q, killed} -> down after 5000 -> timeout end",
        )
        .await;
    mixed
        .both_ways(
            "exit",
            "process_flag(trap_exit, true), Q = spawn_link(P, timer, sleep, [infinity]), exit(Q, gone), \
             receive {'EXIT', Q, gone} -> exit after 5000 -> timeout end",
        )
        .await;
    mixed
        .both_ways(
            "{answered,alias_gone}",
            "A = alias([reply]), spawn(P, erlang, send, [A, one]), \
             One = receive one -> answered after 5000 -> timeout end, \
             erpc:call(P, erlang, send, [A, two]), \
             {One, receive two -> alias_lives after 100 -> alias_gone end}",
        )
        .await;
    mixed
        .both_ways("spawned", "R = spawn_request(P, erlang, node, []), receive {spawn_reply, R, ok, _} -> spawned after 5000 -> timeout end")
        .await;
    mixed.both_ways("true", "erpc:multicall([node() | nodes()], erlang, is_alive, []) =:= [{ok, true}, {ok, true}, {ok, true}]").await;
}

async fn large_and_odd_terms(mixed: &Mixed) {
    // 16 MiB: some hundred fragments, of a pattern that does not fit into them evenly.
    mixed
        .both_ways(
            "{16777472,true}",
            "S = binary:copy(iolist_to_binary([<<N:32>> || N <- lists:seq(1, 65537)]), 64), \
             E = erpc:call(P, erlang, iolist_to_binary, [[S]]), {byte_size(E), E =:= S}",
        )
        .await;
    mixed
        .both_ways(
            "true",
            "T = [{list_to_atom([1076, 8364, $x]), #{a => 1.5, [] => <<1:3>>}, make_ref(), self(), 1 bsl 200, fun lists:sum/1, \
                   \"\", -1, lists:seq(1, 300), list_to_atom(lists:duplicate(255, 8364))} | improper], \
             erpc:call(P, erlang, element, [1, {T}]) =:= T",
        )
        .await;
    // More atoms than the cache of a connection holds.
    mixed
        .both_ways("true", "T = [list_to_atom(\"odd_\" ++ integer_to_list(N)) || N <- lists:seq(1, 3000)], erpc:call(P, lists, reverse, [lists:reverse(T)]) =:= T")
        .await;
}

async fn global_names(mixed: &Mixed) {
    for (number, name) in [(0, "old"), (NEW, "new")] {
        assert_eq!(
            mixed
                .eval(
                    number,
                    &format!("global:register_name({name}, whereis(init))")
                )
                .await,
            "yes"
        );
    }
    for number in 0..NAMES.len() {
        for (name, node) in [("old", NAMES[0]), ("new", NAMES[NEW])] {
            let there = format!("node(global:whereis_name({name})) =:= '{node}'");
            mixed.nodes[number]
                .wait_until(&there, PATIENCE)
                .await
                .unwrap();
        }
    }
    assert_eq!(
        mixed
            .eval(NEW, "global:trans({lock, self()}, fun() -> held end)")
            .await,
        "held"
    );
    assert_eq!(
        mixed
            .eval(0, "global:trans({lock, self()}, fun() -> held end)")
            .await,
        "held"
    );
}

/// Nothing but the node that was dead was ever refused.
fn nothing_was_refused(mixed: &Mixed) {
    for number in 0..NAMES.len() {
        for line in mixed.hosts.agent(number).log_since(0).unwrap() {
            // The set that lets everything pass is a dry run, and agents say so.
            let dry = line["message"]
                .as_str()
                .is_some_and(|message| message.starts_with("the policy set is a dry run"));
            assert!(
                line["level"] == "INFO" || line["reason"] == "unknown_node" || dry,
                "{line}"
            );
        }
    }
}

/// A node of another cluster, and of another release: ours calls, theirs is called; then the other way round.
#[tokio::test]
async fn clusters_of_two_releases_call_each_other_by_alias() {
    if !root::or_skip("two linked clusters of two releases") {
        return;
    }
    let here = skans_lab::erl::find().unwrap();
    for newer_calls in [true, false] {
        let network = netns::Network::new(4, false);
        let directory = network.directory().join("newer");
        std::fs::create_dir(&directory).unwrap();
        let newer = newer_erl(&directory);
        let (caller, called) = if newer_calls {
            (&newer, &here)
        } else {
            (&here, &newer)
        };
        let ours = clusters::Side::start_with(&network, "ours", &[0, 1], &[3], caller).await;
        let theirs = clusters::Side::start_with(&network, "theirs", &[2, 3], &[1], called).await;
        let open = || {
            let all = "@id(\"all\") permit(principal, action, resource);\n";
            skans_lab::Policy::enforced(all, "")
        };
        let new = if newer_calls { &ours } else { &theirs };
        let (release, _) = unpacked();
        let found = new.node.eval("erlang:system_info(otp_release)", PATIENCE);
        assert_eq!(found.await.unwrap(), format!("{release:?}"));
        ours.link(&theirs, open(), &clusters::imports()).await;
        theirs.link(&ours, open(), &clusters::exports()).await;
        let server = theirs.node.eval(clusters::SERVER, PATIENCE).await;
        server.unwrap();
        clusters::calls(&ours).await;
    }
}

//! What a cluster of RabbitMQ's nodes does all its life: queues of each kind, messages small and large, administration, the loss
//! of a node, its removal and its return. What must not happen meanwhile is for tests to say.

use std::time::Duration;

use skans_lab::{Error, until};

use super::{Rabbits, client};

/// Whatever takes seconds on a quiet machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// In each queue, small and large ones together.
const MESSAGES: usize = 20;
/// Of each kind.
const HALF: usize = MESSAGES / 2;
/// More than an agent holds of a message to decide about it.
const LARGE: usize = 200_000;

/// Queues: their names, what declares them, and on which host. `m-*` are mirrored.
const QUEUES: [(&str, &str, usize); 7] = [
    ("q-orders", "declare 127.0.0.1 q-orders quorum", 1),
    ("m-first", "declare 127.0.0.1 m-first classic", 0),
    ("m-second", "declare 127.0.0.1 m-second classic", 1),
    // Two on one host: what is for both goes by a delegate.
    ("c-first", "declare 127.0.0.1 c-first classic", 2),
    ("c-second", "declare 127.0.0.1 c-second classic", 2),
    ("c-placed", "place 127.0.0.1 c-placed", 0),
    ("c-placed-too", "place 127.0.0.1 c-placed-too", 1),
];

/// What people and their scripts have RabbitMQ do, on whichever host.
const ADMINISTRATION: &[&str] = &[
    "rabbitmqctl cluster_status",
    "rabbitmqctl status",
    "rabbitmqctl environment",
    "rabbitmqctl report",
    "rabbitmqctl list_queues name pid slave_pids synchronised_slave_pids messages consumers memory state type leader members online policy",
    "rabbitmqctl list_queues --offline",
    "rabbitmqctl list_unresponsive_queues",
    "rabbitmqctl list_channels pid name number user consumer_count",
    "rabbitmqctl list_connections pid name state",
    "rabbitmqctl list_consumers",
    "rabbitmqctl list_exchanges",
    "rabbitmqctl list_bindings",
    "rabbitmqctl list_feature_flags",
    "rabbitmqctl add_user clerk secret",
    "rabbitmqctl set_user_tags clerk monitoring",
    "rabbitmqctl change_password clerk secret2",
    "rabbitmqctl authenticate_user clerk secret2",
    "rabbitmqctl set_permissions clerk '.*' '.*' '.*'",
    "rabbitmqctl list_users",
    "rabbitmqctl list_permissions",
    "rabbitmqctl list_user_permissions clerk",
    "rabbitmqctl delete_user clerk",
    "rabbitmqctl add_vhost side",
    "rabbitmqctl list_vhosts name cluster_state",
    "rabbitmqctl set_vhost_limits -p side \'{\"max-connections\": 9}\'",
    "rabbitmqctl delete_vhost side",
    "rabbitmqctl set_policy limit ^l- \'{\"max-length\": 9}\'",
    "rabbitmqctl list_policies",
    "rabbitmqctl clear_policy limit",
    "rabbitmqctl set_cluster_name mq",
    "rabbitmqctl export_definitions /tmp/definitions.json",
    "rabbitmqctl import_definitions /tmp/definitions.json",
    "rabbitmqctl set_vm_memory_high_watermark 0.4",
    "rabbitmqctl set_log_level info",
    "rabbitmqctl sync_queue m-first",
    "rabbitmq-queues quorum_status q-orders",
    "rabbitmq-queues check_if_node_is_quorum_critical",
    "rabbitmq-queues check_if_node_is_mirror_sync_critical",
    "rabbitmq-queues rebalance all",
    "rabbitmq-diagnostics check_running",
    "rabbitmq-diagnostics check_local_alarms",
    "rabbitmq-diagnostics check_alarms",
    "rabbitmq-diagnostics check_virtual_hosts",
    "rabbitmq-diagnostics memory_breakdown",
    "rabbitmq-diagnostics listeners",
    "rabbitmq-diagnostics cipher_suites",
    "rabbitmq-diagnostics ping",
    "rabbitmq-upgrade await_online_quorum_plus_one",
];

/// All of it once: queues, messages, administration, and a node that is killed, removed and added again. Begins and ends with three
/// nodes that have joined, and none of these queues.
///
/// # Errors
/// What failed, with what was said.
pub async fn round(rabbits: &mut Rabbits) -> Result<(), Error> {
    declare(rabbits).await?;
    exchange(rabbits).await?;
    administer(rabbits).await?;
    fail_over(rabbits, 1).await?;
    remove_and_add(rabbits, 2).await?;
    for (name, ..) in QUEUES {
        rabbits
            .tool(0, &client(&format!("delete 127.0.0.1 {name}")))
            .await?;
    }
    Ok(())
}

async fn declare(rabbits: &Rabbits) -> Result<(), Error> {
    let mirrored = "rabbitmqctl -q set_policy mirrored ^m- \'{\"ha-mode\": \"all\", \"ha-sync-mode\": \"automatic\"}\'";
    rabbits.tool(0, mirrored).await?;
    for (_, arguments, host) in QUEUES {
        rabbits.tool(host, &client(arguments)).await?;
    }
    let names = QUEUES.map(|(name, ..)| name).join(" ");
    rabbits
        .tool(0, &client(&format!("bind 127.0.0.1 everybody {names}")))
        .await?;
    Ok(())
}

/// Publishes on each host in turn what is consumed on the next.
async fn exchange(rabbits: &Rabbits) -> Result<(), Error> {
    for host in 0..3 {
        send(rabbits, host).await?;
        take(rabbits, (host + 1) % 3).await?;
    }
    Ok(())
}

async fn send(rabbits: &Rabbits, host: usize) -> Result<(), Error> {
    for size in [100, LARGE] {
        let arguments = format!("send 127.0.0.1 everybody {HALF} {size}");
        rabbits.tool(host, &client(&arguments)).await?;
    }
    Ok(())
}

async fn take(rabbits: &Rabbits, host: usize) -> Result<(), Error> {
    for (name, ..) in QUEUES {
        take_one(rabbits, host, name).await?;
    }
    Ok(())
}

async fn take_one(rabbits: &Rabbits, host: usize, name: &str) -> Result<(), Error> {
    let arguments = format!("take 127.0.0.1 {name} {MESSAGES}");
    let (said, _) = rabbits.tool(host, &client(&arguments)).await?;
    if said.trim() != format!("taken {MESSAGES}") {
        return Err(Error::Unexpected(format!("{name}: {said}")));
    }
    Ok(())
}

async fn administer(rabbits: &Rabbits) -> Result<(), Error> {
    for (number, line) in ADMINISTRATION.iter().enumerate() {
        rabbits.tool(number % 3, line).await?;
    }
    Ok(())
}

/// Everything that was confirmed is there when a node has been killed, and when it is back.
async fn fail_over(rabbits: &mut Rabbits, lost: usize) -> Result<(), Error> {
    send(rabbits, 0).await?;
    rabbits.kill(lost).await?;
    // Of those of which there are copies.
    for name in ["q-orders", "m-first", "m-second"] {
        // Who asks in the moment of an election is told that the old leader is down, and asks again.
        until(PATIENCE, "what was confirmed", async || {
            take_one(rabbits, 2, name)
                .await
                .map_err(|error| error.to_string())
        })
        .await?;
    }
    rabbits.restart(lost).await?;
    all_run(rabbits).await?;
    for (name, ..) in QUEUES {
        rabbits
            .tool(0, &format!("rabbitmqctl -q purge_queue {name}"))
            .await?;
    }
    Ok(())
}

/// A node that is taken out of the cluster for good, comes back as a new one.
async fn remove_and_add(rabbits: &Rabbits, number: usize) -> Result<(), Error> {
    let name = format!("rabbit@{}", rabbits.host(number).name());
    // Its own queues go with it.
    for queue in ["c-first", "c-second"] {
        rabbits
            .tool(0, &client(&format!("delete 127.0.0.1 {queue}")))
            .await?;
    }
    rabbits.tool(number, "rabbitmqctl -q stop_app").await?;
    rabbits
        .tool(0, &format!("rabbitmqctl -q forget_cluster_node {name}"))
        .await?;
    rabbits.tool(number, "rabbitmqctl -q force_reset").await?;
    rabbits.join_first(number).await?;
    all_run(rabbits).await?;
    rabbits
        .tool(0, &format!("rabbitmq-queues -q grow {name} all"))
        .await?;
    for queue in ["c-first", "c-second"] {
        let arguments = format!("declare 127.0.0.1 {queue} classic");
        rabbits.tool(number, &client(&arguments)).await?;
    }
    rabbits
        .tool(0, &client("bind 127.0.0.1 everybody c-first c-second"))
        .await?;
    exchange(rabbits).await
}

/// Waits until each node knows all three to be running.
///
/// # Errors
/// [`Error::TimedOut`], and whatever the tool says.
pub async fn all_run(rabbits: &Rabbits) -> Result<(), Error> {
    until(PATIENCE, "three running nodes", async || {
        for number in 0..3 {
            let asked = "length(rabbit_nodes:all_running())";
            let found = rabbits.eval(number, asked).await;
            match found {
                Ok(found) if found == "3" => {}
                other => return Err(format!("host-{}: {other:?}", number + 1)),
            }
        }
        Ok(())
    })
    .await
}

//! What a cluster of RabbitMQ's nodes does with streams: declared on one node and replicated to all, written to and read from any
//! offset on each, without their leader, with a copy less and a copy more. What must not happen meanwhile is for tests to say.

use std::time::Duration;

use skans_lab::{Error, until};

use super::{Rabbits, client};

/// Whatever takes seconds on a quiet machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// Written at once, of each of the sizes.
const HALF: usize = 10;
/// More than an agent holds of a message to decide about it.
const LARGE: usize = 200_000;

/// Their names, and on which host each is declared, which then leads it.
const STREAMS: [(&str, usize); 2] = [("s-orders", 1), ("s-events", 0)];

/// What people and their scripts do with streams, on whichever host.
const ADMINISTRATION: &[&str] = &[
    "rabbitmq-plugins list --enabled --minimal",
    "rabbitmqctl list_queues name type leader members online messages consumers policy",
    "rabbitmqctl list_consumers",
    "rabbitmqctl list_unresponsive_queues",
    "rabbitmqctl set_policy keep ^s- \'{\"max-age\": \"1D\"}\'",
    "rabbitmqctl clear_policy keep",
    "rabbitmqctl report",
    "rabbitmq-diagnostics memory_breakdown",
    "streams stream_status s-orders",
    "streams stream_status --tracking s-events",
    "streams set_stream_retention_policy s-orders 2D",
    "streams list_stream_connections",
    "streams add_super_stream s-super --partitions 3",
    "rabbitmqctl list_queues name leader members",
    "streams delete_super_stream s-super",
];

/// All of it once. Begins and ends with three nodes that have joined, and none of these streams.
///
/// # Errors
/// What failed, with what was said.
pub async fn round(rabbits: &mut Rabbits) -> Result<(), Error> {
    for (name, host) in STREAMS {
        declare(rabbits, host, name).await?;
    }
    let names = STREAMS.map(|(name, _)| name).join(" ");
    rabbits
        .tool(0, &client(&format!("bind 127.0.0.1 log {names}")))
        .await?;
    let mut written = 0;
    for host in 0..3 {
        written += write(rabbits, host).await?;
        let reader = (host + 1) % 3;
        for (name, _) in STREAMS {
            replicated(rabbits, name, 3).await?;
            read(rabbits, reader, name, "first", 0, written).await?;
        }
        let (middle, (name, _)) = (written / 2, STREAMS[host % 2]);
        read(rabbits, reader, name, &middle.to_string(), middle, written).await?;
    }
    for (number, line) in ADMINISTRATION.iter().enumerate() {
        tool(rabbits, number % 3, line).await?;
    }
    written = without_a_leader(rabbits, written).await?;
    one_copy_less_and_one_more(rabbits, written).await?;
    for (name, _) in STREAMS {
        rabbits
            .tool(2, &client(&format!("delete 127.0.0.1 {name}")))
            .await?;
    }
    Ok(())
}

/// Declares a stream on a host.
///
/// # Errors
/// What the client says.
pub async fn declare(rabbits: &Rabbits, host: usize, name: &str) -> Result<(), Error> {
    let arguments = format!("declare 127.0.0.1 {name} stream");
    rabbits.tool(host, &client(&arguments)).await.map(drop)
}

/// Writes on a host to all of them; returns how many messages.
async fn write(rabbits: &Rabbits, host: usize) -> Result<usize, Error> {
    for size in [100, LARGE] {
        let arguments = format!("send 127.0.0.1 log {HALF} {size}");
        rabbits.tool(host, &client(&arguments)).await?;
    }
    Ok(2 * HALF)
}

/// Reads on a host from an offset to the end.
async fn read(
    rabbits: &Rabbits,
    host: usize,
    name: &str,
    offset: &str,
    first: usize,
    written: usize,
) -> Result<(), Error> {
    let count = written - first;
    let arguments = format!("read 127.0.0.1 {name} {offset} {count}");
    let (said, _) = rabbits.tool(host, &client(&arguments)).await?;
    let wanted = format!("read {count} from {first} to {}", written - 1);
    if said.trim() == wanted {
        Ok(())
    } else {
        Err(Error::Unexpected(format!(
            "{name}: {said}, wanted {wanted}"
        )))
    }
}

/// Everything that was confirmed is there when the node that leads has been killed, and what comes then; and when it is back.
async fn without_a_leader(rabbits: &mut Rabbits, mut written: usize) -> Result<usize, Error> {
    let (name, leader) = STREAMS[0];
    rabbits.kill(leader).await?;
    leads_elsewhere(rabbits, name, leader).await?;
    written += write(rabbits, 0).await?;
    for (name, _) in STREAMS {
        read(rabbits, 2, name, "first", 0, written).await?;
    }
    rabbits.restart(leader).await?;
    super::life::all_run(rabbits).await?;
    for (name, _) in STREAMS {
        replicated(rabbits, name, 3).await?;
        read(rabbits, leader, name, "first", 0, written).await?;
    }
    Ok(written)
}

async fn one_copy_less_and_one_more(rabbits: &Rabbits, mut written: usize) -> Result<(), Error> {
    let (name, _) = STREAMS[0];
    let copy = format!("rabbit@{}", rabbits.host(2).name());
    tool(rabbits, 0, &format!("streams delete_replica {name} {copy}")).await?;
    replicated(rabbits, name, 2).await?;
    written += write(rabbits, 0).await?;
    tool(rabbits, 1, &format!("streams add_replica {name} {copy}")).await?;
    replicated(rabbits, name, 3).await?;
    read(rabbits, 2, name, "first", 0, written).await
}

/// Waits until that many members of a stream are up.
async fn replicated(rabbits: &Rabbits, name: &str, members: usize) -> Result<(), Error> {
    until(
        PATIENCE,
        &format!("{members} members of {name}"),
        async || {
            let asked = format!("rabbitmqctl -q list_queues --no-table-headers name online | grep {name} | grep -o rabbit@ | wc -l");
            match rabbits.tool(0, &asked).await {
                Ok((found, _)) if found.trim() == members.to_string() => Ok(()),
                other => Err(format!("{other:?}")),
            }
        },
    )
    .await
}

/// Waits until another node than this one's leads a stream.
async fn leads_elsewhere(rabbits: &Rabbits, name: &str, host: usize) -> Result<(), Error> {
    let lost = rabbits.host(host).name().to_owned();
    until(PATIENCE, &format!("another leader of {name}"), async || {
        let asked = format!(
            "rabbitmqctl -q list_queues --no-table-headers name leader state | grep {name}"
        );
        match rabbits.tool(0, &asked).await {
            Ok((found, _)) if found.contains("running") && !found.contains(&lost) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

/// A tool of RabbitMQ; `streams …` is `rabbitmq-streams`, for which Debian has no wrapper.
async fn tool(rabbits: &Rabbits, host: usize, line: &str) -> Result<(), Error> {
    let line = line.strip_prefix("streams ").map_or_else(
        || line.to_owned(),
        |rest| {
            format!(
                "su rabbitmq -s /bin/sh -c \"cd /var/lib/rabbitmq && /usr/lib/rabbitmq/bin/rabbitmq-streams {rest}\""
            )
        },
    );
    rabbits.tool(host, &line).await.map(drop)
}

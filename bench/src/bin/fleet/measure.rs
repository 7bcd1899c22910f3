//! What is measured, in which order, and what must be true of it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::plane::Plane;
use crate::wire::{Done, Order, Share};
use crate::workers::Workers;
use crate::{Args, Result};

/// Revocations, one after the other.
const ROUNDS: u64 = 10;

/// All of it.
pub async fn all(args: &Args, plane: &mut Plane, workers: &mut Workers) -> Result<()> {
    println!("disk: {:.0} fsyncs of 4 KiB a second", plane.fsyncs()?);
    let gate = Arc::new(Semaphore::new(args.at_once as usize));
    let idle = plane.memory()?;
    prepare(args, plane, workers, &gate).await?;
    let before = plane.certificates().await?;

    phase(args, plane, workers, &Order::Enrol).await?;
    phase(args, plane, workers, &Order::Watch).await?;
    println!(
        "memory: {} KiB idle, {} KiB for each agent",
        idle / 1024,
        plane.memory()?.saturating_sub(idle) / 1024 / u64::from(args.agents)
    );
    revoke(plane, workers).await?;
    let issued = renew(args, plane, workers).await?;

    let wanted = before + u64::from(args.agents) + issued;
    let found = plane.certificates().await?;
    // A control plane that is killed may have written down what it had no time to hand out.
    if found < wanted || (found > wanted && !args.kill) {
        return Err(format!(
            "the store holds {found} certificates, and agents got {wanted}"
        ));
    }
    look(args, plane, workers, &gate).await
}

/// Agents are spread evenly. Each has a number of its own and a token of its own.
async fn prepare(
    args: &Args,
    plane: &Plane,
    workers: &mut Workers,
    gate: &Arc<Semaphore>,
) -> Result<()> {
    let mut tokens = plane.tokens(args.agents, gate).await?.into_iter();
    let (each, more) = (args.agents / args.processes, args.agents % args.processes);
    let (mut first, mut number) = (0, 0);
    for worker in 0..args.processes {
        let count = each + u32::from(worker < more);
        let share = Share {
            first,
            at_once: (args.at_once / args.processes).max(1),
            tokens: tokens.by_ref().take(count as usize).collect(),
        };
        workers.tell(number, &Order::Prepare(share)).await?;
        (first, number) = (first + count, number + 1);
    }
    // Only the name of this order counts here.
    let ready = workers.answers(&Order::Prepare(Share::default())).await?;
    let sizes = if more == 0 {
        each.to_string()
    } else {
        format!("{each} or {}", each + 1)
    };
    println!("{} processes of {sizes} agents", workers.count());
    count(&ready, args.agents)
}

/// Every agent does one thing once.
async fn phase(args: &Args, plane: &Plane, workers: &mut Workers, order: &Order) -> Result<()> {
    let (began, cpu) = (Instant::now(), plane.cpu()?);
    let done = workers.all(order).await?;
    let what = match order {
        Order::Enrol => "enrolments",
        _ => "streams opened",
    };
    report(what, &done, began.elapsed(), plane.cpu()? - cpu);
    count(&done, args.agents)
}

async fn revoke(plane: &Plane, workers: &mut Workers) -> Result<()> {
    let mut times = Vec::new();
    for round in 1..=ROUNDS {
        let hear = Order::Hear { denials: round };
        workers.tell_all(&hear).await?;
        let began = Instant::now();
        plane.deny(&format!("x{round}@host-x")).await?;
        workers.answers(&hear).await?;
        times.push(began.elapsed());
    }
    times.sort();
    let at = |part: usize| {
        times
            .get(times.len() * part / 100)
            .copied()
            .unwrap_or_default()
    };
    println!(
        "revocation until the last agent of the last process has it: median {:?}, most {:?}",
        at(50),
        at(99)
    );
    Ok(())
}

/// Agents renew as fast as they are let; gives how many certificates came.
async fn renew(args: &Args, plane: &mut Plane, workers: &mut Workers) -> Result<u64> {
    let order = Order::Renew {
        seconds: args.seconds,
        nodes: args.nodes,
        in_spite: args.kill,
    };
    let (began, cpu) = (Instant::now(), plane.cpu()?);
    workers.tell_all(&order).await?;
    let done = if args.kill {
        let kill = async {
            tokio::time::sleep(Duration::from_secs(args.seconds) / 2).await;
            plane.kill_and_restart().await
        };
        tokio::try_join!(workers.answers(&order), kill)?.0
    } else {
        workers.answers(&order).await?
    };
    let issued = done.iter().map(|done| done.count).sum();
    if args.kill {
        println!("certificates: {issued} in spite of kill -9");
    } else {
        report("certificates", &done, began.elapsed(), plane.cpu()? - cpu);
    }
    Ok(issued)
}

/// What agents hold is in the store: the certificate that each got when it enrolled, and those that it got last.
async fn look(
    args: &Args,
    plane: &Plane,
    workers: &mut Workers,
    gate: &Arc<Semaphore>,
) -> Result<()> {
    let shown = workers.all(&Order::Show).await?;
    let all: Vec<String> = shown.into_iter().flat_map(|done| done.held).collect();
    let wanted = u64::from(args.agents) * u64::from(args.nodes + 1);
    let (found, held) = (all.len(), all.into_iter().collect::<HashSet<_>>());
    if found != held.len() {
        return Err(format!(
            "agents hold {found} certificates, of which {} differ",
            held.len()
        ));
    }
    // An agent whose calls all met a control plane that was being killed holds less.
    if found as u64 != wanted && !args.kill {
        return Err(format!("agents hold {found} certificates, wanted {wanted}"));
    }
    plane.must_know(held.into_iter().collect(), gate).await?;
    println!("each of the {found} certificates that agents hold is in the store");
    Ok(())
}

fn count(done: &[Done], wanted: u32) -> Result<()> {
    let found: u64 = done.iter().map(|done| done.count).sum();
    if found == u64::from(wanted) {
        Ok(())
    } else {
        Err(format!("found {found} agents, wanted {wanted}"))
    }
}

/// Both share the machine: what counts is what the control plane's own processor time would give.
fn report(what: &str, done: &[Done], took: Duration, cpu: Duration) {
    let count: u64 = done.iter().map(|done| done.count).sum();
    #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
    let count_of = count as f64;
    let seconds = || done.iter().map(|done| done.seconds);
    println!(
        "{what}: {count} in {:.1} s, {:.0} a second; {:.0} for a second of a core; processes took {:.2} s to {:.2} s each, and {:.2} s of a \
         core together",
        took.as_secs_f64(),
        count_of / took.as_secs_f64(),
        count_of / cpu.as_secs_f64().max(0.001),
        seconds().fold(f64::INFINITY, f64::min),
        seconds().fold(0.0, f64::max),
        done.iter().map(|done| done.cpu_seconds).sum::<f64>(),
    );
}

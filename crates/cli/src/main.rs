//! The `skans` binary: arguments in, output and exit codes out. No logic lives here.

mod arguments;
mod audit;
mod chaos;
mod control;
mod failure;
mod lint;
mod policy;
mod show;
mod table;
mod top;
mod up;
mod witness;

use std::process::ExitCode;

use clap::Parser;
use skans_agent::admin::ask;
use skans_agent::{Lifetime, Origin, Part};

use arguments::{Arguments, Command};
use failure::Failure;

/// What links took goes back to the system when they rest. Large buffers begin at the border of a page: a copy to a place a few
/// bytes past the border of one, from a place at the border of another, takes twice as long on some processors, and with the C
/// library's allocator it is chance where a buffer begins. ztunnel and linkerd2-proxy use the same, Envoy tcmalloc.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // Almost every command holds a key: none of it goes into a core file, and no other process of the same user looks in.
    // There is nothing to be done where the kernel does not have it.
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(message) => {
            // Help and version go to standard output and are no error.
            let _ = message.print();
            return if message.use_stderr() {
                failure::USAGE.into()
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    // One thread does for what is quick, and for the agent, whose links have threads of their own. A control plane shakes
    // thousands of hands at once.
    let mut builder = if matches!(arguments.command, Command::Control(_)) {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    let runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return Failure::new(failure::FAILED, format!("cannot start: {error}")).report();
        }
    };
    let result = runtime.block_on(run(arguments.command));
    // Not waiting for a read of standard input, which may never end.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

const fn lifetime(until_stdin_closes: bool) -> Lifetime {
    if until_stdin_closes {
        Lifetime::Stdin
    } else {
        Lifetime::Signals
    }
}

async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Agent {
            config,
            until_stdin_closes,
            take_over,
        } => {
            let origin = if take_over {
                Origin::TakeOver
            } else {
                Origin::Start
            };
            let lifetime = lifetime(until_stdin_closes);
            Ok(skans_agent::run(&config, Part::Agent, lifetime, origin).await?)
        }
        Command::Gateway {
            config,
            until_stdin_closes,
        } => {
            let lifetime = lifetime(until_stdin_closes);
            Ok(skans_agent::run(&config, Part::Gateway, lifetime, Origin::Start).await?)
        }
        Command::Status(from) => show::status(&from).await,
        Command::Nodes(from) => show::nodes(&from).await,
        Command::Links(from) => show::links(&from).await,
        Command::Top { from, iterations } => top::run(&from, iterations).await,
        Command::Reload { agent } => Ok(ask(&agent.socket, "PUT", "/v1/reload", "")
            .await
            .map(drop)?),
        Command::LogLevel { agent, level } => {
            Ok(ask(&agent.socket, "PUT", "/v1/log-level", &level)
                .await
                .map(drop)?)
        }
        Command::Control(arguments) => control::control(arguments).await,
        Command::Ca(command) => control::ca(command).await,
        Command::Token(command) => control::token(command).await,
        Command::Identity(command) => control::identity(command).await,
        Command::Backup(command) => control::backup(command).await,
        Command::Policy(command) => policy::policy(command).await,
        Command::Bundle(command) => control::bundle(command).await,
        Command::Grant(command) => control::grant(command).await,
        Command::Agents(ask) => control::agents(&ask).await,
        Command::Events { after, ask } => control::events(&ask, after).await,
        Command::Audit(arguments) => audit::audit(&arguments.command).await,
        Command::Login(arguments) => control::login(&arguments).await,
        Command::Witness(arguments) => witness::witness(arguments).await,
        Command::Lint(arguments) => lint::run(&arguments),
        Command::Up(arguments) => up::run(&arguments).await,
        Command::Chaos(command) => chaos::chaos(command).await,
    }
}

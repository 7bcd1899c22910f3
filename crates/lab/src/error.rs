//! What can go wrong in the lab, with as much of the evidence as fits on a screen.

use std::io;
use std::time::Duration;

/// An error of the lab.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no Erlang on this machine.
    #[error(
        "cannot find `erl` in PATH: the lab runs real Erlang nodes.\n\
         Debian, Ubuntu: apt-get install erlang-base\n\
         Fedora:         dnf install erlang-erts erlang-kernel erlang-stdlib\n\
         Alpine:         apk add erlang\n\
         macOS:          brew install erlang\n\
         others:         https://www.erlang.org/downloads"
    )]
    NoErl,
    /// There is no `skans` to start agents from.
    #[error(
        "cannot find the skans binary beside {0}: build it with `cargo build --bin skans`, or name it in SKANS_BINARY"
    )]
    NoSkans(String),
    /// The system refused something.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// An agent refused something, or cannot be asked.
    #[error(transparent)]
    Agent(#[from] skans_agent::Error),
    /// A process ended that should run.
    #[error("{what} ended ({how}); the end of what it said:\n{output}")]
    Ended {
        /// The process.
        what: String,
        /// Its exit status, as the system words it.
        how: String,
        /// The end of its output.
        output: String,
    },
    /// A condition did not come true in time.
    #[error("{what}: not within {limit:?}; last seen: {last}")]
    TimedOut {
        /// What was waited for.
        what: String,
        /// How long.
        limit: Duration,
        /// What was there instead.
        last: String,
    },
    /// An Erlang expression raised an exception, or is none.
    #[error("{node}: {expression} raised {exception}")]
    Raised {
        /// The node.
        node: String,
        /// The expression.
        expression: String,
        /// Class and reason.
        exception: String,
    },
    /// The plan of a cluster cannot be carried out.
    #[error("the plan of the cluster: {0}")]
    Plan(String),
    /// Something was found that should not be.
    #[error("{0}")]
    Unexpected(String),
}

impl Error {
    /// Whether something that has to be installed first is missing: nothing was tried.
    #[must_use]
    pub const fn is_missing_tool(&self) -> bool {
        matches!(self, Self::NoErl | Self::NoSkans(_))
    }

    /// For `map_err` on calls to the system.
    pub(crate) fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::System { what, source }
    }
}

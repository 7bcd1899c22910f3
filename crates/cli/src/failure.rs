//! How a command fails: what is said, and the exit status.

use std::io;
use std::process::ExitCode;

/// It was tried and did not work.
pub const FAILED: u8 = 1;
/// It was not understood.
pub const USAGE: u8 = 2;
/// It could not even be tried or looked at.
pub const NOT_CHECKED: u8 = 3;

/// Why a command ends early.
#[derive(Debug)]
pub struct Failure {
    status: u8,
    message: Option<String>,
}

impl Failure {
    /// Something to say and a status.
    pub fn new(status: u8, message: impl Into<String>) -> Self {
        Self {
            status,
            message: Some(message.into()),
        }
    }

    /// Everything has been said already.
    pub const fn silent(status: u8) -> Self {
        Self {
            status,
            message: None,
        }
    }

    /// The same, but it was only a look.
    pub fn not_checked(self) -> Self {
        Self {
            status: NOT_CHECKED,
            ..self
        }
    }

    /// Says it on standard error; the status for `main`.
    pub fn report(self) -> ExitCode {
        if let Some(message) = self.message {
            use io::Write;
            // Nobody to tell is no reason to fail otherwise.
            let _ = writeln!(io::stderr(), "skans: {message}");
        }
        self.status.into()
    }
}

impl From<skans_agent::Error> for Failure {
    fn from(error: skans_agent::Error) -> Self {
        Self::new(FAILED, error.to_string())
    }
}

impl From<skans_control::Error> for Failure {
    fn from(error: skans_control::Error) -> Self {
        let status = match error {
            skans_control::Error::Unreachable(_) => NOT_CHECKED,
            _ => FAILED,
        };
        Self::new(status, error.to_string())
    }
}

impl From<skans_witness::Error> for Failure {
    fn from(error: skans_witness::Error) -> Self {
        Self::new(FAILED, error.to_string())
    }
}

impl From<skans_lab::Error> for Failure {
    fn from(error: skans_lab::Error) -> Self {
        if let skans_lab::Error::System { source, .. } = &error
            && source.kind() == io::ErrorKind::BrokenPipe
        {
            return Self::silent(FAILED);
        }
        let status = if error.is_missing_tool() {
            NOT_CHECKED
        } else {
            FAILED
        };
        Self::new(status, error.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            // As with `| head`: whoever read has had enough.
            return Self::silent(0);
        }
        Self::new(FAILED, format!("cannot write the output: {error}"))
    }
}

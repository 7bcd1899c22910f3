//! Processes of OTP that act on messages of their own. What these are is in `shapes`.

use super::{Operation, To, hands};

/// Processes of OTP whose messages mean more than their name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    Rex,
    NetKernel,
    Files,
    Code,
    Init,
    Applications,
    Global,
    Timer,
    /// `heart`, and the handler of operating system signals.
    Host,
    /// Takes handlers with a module to be called, and messages to be logged, which are harmless.
    Logger,
    /// Knows the cookies.
    Auth,
    /// Passes messages on, to whomever it is told.
    GlobalGroup,
    /// Calls whatever it is told to.
    MnesiaRpc,
    /// Calls, or tells processes, whatever it is told to.
    Delegate,
    /// An event manager whose handler calls what is registered with it.
    Alarms,
    /// An event manager, and none of those that may take what looks like its requests for something else.
    Events,
    /// A pid without name, an alias: it may be any of them. Those of their requests that cannot be mistaken for others
    /// are found there, too.
    Unnamed,
    Other,
}

impl Known {
    pub(super) fn of(to: To<'_>) -> Self {
        let To::Name(name) = to else {
            return Self::Unnamed;
        };
        match name {
            "rex" => Self::Rex,
            "net_kernel" => Self::NetKernel,
            "auth" => Self::Auth,
            "logger" | "logger_proxy" => Self::Logger,
            "global_group" => Self::GlobalGroup,
            "alarm_handler" | "error_logger" => Self::Events,
            "file_server_2" | "erl_prim_loader" => Self::Files,
            "code_server" | "erts_code_purger" | "ddll_server" => Self::Code,
            "init" => Self::Init,
            "application_controller" | "release_handler" => Self::Applications,
            "global_name_server" => Self::Global,
            "timer_server" => Self::Timer,
            "heart" | "erl_signal_server" => Self::Host,
            "mnesia_rpc" => Self::MnesiaRpc,
            "rabbit_alarm" => Self::Alarms,
            name if hands::is_delegate(name) => Self::Delegate,
            _ => Self::Other,
        }
    }

    /// What it is to say anything to this process that has no meaning of its own.
    pub(super) const fn otherwise(self, to: To<'_>) -> Operation<'_> {
        match self {
            Self::Files => Operation::AccessFiles { to },
            Self::Code => Operation::ManageCode { to },
            Self::Host => Operation::StopNode { to },
            Self::Applications => Operation::ManageApplications { to },
            Self::NetKernel | Self::Timer | Self::Auth | Self::MnesiaRpc => {
                Operation::Unknown { to }
            }
            Self::Rex
            | Self::GlobalGroup
            | Self::Events
            | Self::Logger
            | Self::Init
            | Self::Global
            | Self::Delegate
            | Self::Alarms
            | Self::Unnamed
            | Self::Other => Operation::Send { to },
        }
    }
}

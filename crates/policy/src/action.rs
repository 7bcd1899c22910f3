//! What can be asked for: the actions of the model, one for each kind of message. Their groups are in the schema.

use core::fmt;

macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)+) => {
        /// What a message asks its receiver to do. One Cedar action each, of the same name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Action {
            $($(#[$doc])* $name,)+
        }

        impl Action {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Its name in Cedar, in events and as a metric label.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }
    };
}

actions! {
    /// A link to the receiving node, or to one of its services. Asked once for each link; the only one that may depend on time.
    Connect = "connect",
    /// A message to a registered name.
    Send = "send",
    /// A message to a pid or alias without a name.
    SendPid = "send_pid",
    /// A function is called and its result comes back: `erpc`, `rpc`.
    Call = "call",
    /// A function is called, and nobody waits.
    Cast = "cast",
    /// A process is started with a function of the sender's choice.
    Spawn = "spawn",
    /// A link between two processes: if one dies, so does the other.
    Link = "link",
    /// Word of a process's end.
    Monitor = "monitor",
    /// `exit/2`: an exit signal without a link.
    Exit = "exit",
    /// Another group leader for a process.
    GroupLeader = "group_leader",
    /// `{system, …}` messages that ask what a process holds, and change nothing.
    Inspect = "inspect",
    /// A name in `global`.
    RegisterGlobal = "register_global",
    /// Requests to the code server.
    ManageCode = "manage_code",
    /// Requests to the file server.
    AccessFiles = "access_files",
    /// Requests that stop or restart the node.
    StopNode = "stop_node",
    /// Requests to the application controller.
    ManageApplications = "manage_applications",
    /// Requests to a supervisor.
    Supervise = "supervise",
    /// Any other `{system, …}` message: suspend, replace the state, terminate.
    SystemMessage = "system_message",
    /// A node shows itself: it is in `nodes()` of others, and they in its. Asked of the node itself, and permitted if nothing
    /// forbids it.
    Publish = "publish",
    /// Spawn requests (operation 29), of which `erpc` and `spawn/4` are made, are agreed on with the receiver at the set-up of a
    /// link. Permitted if nothing forbids it; which functions they may name is another question.
    SpawnRequest = "spawn_request",
}

impl Action {
    /// The action of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|action| action.as_str() == text)
    }

    /// Whether it is in the group `administer`: what owns a node if it is let through.
    #[must_use]
    pub const fn is_administrative(self) -> bool {
        matches!(
            self,
            Self::ManageCode
                | Self::AccessFiles
                | Self::StopNode
                | Self::ManageApplications
                | Self::Supervise
                | Self::SystemMessage
        )
    }

    /// Whether it is in the group `capability`: what nodes agree on at the set-up of a link. It takes a `forbid` to withhold one,
    /// since a link that was made without stays so, whatever a later policy permits.
    #[must_use]
    pub const fn is_capability(self) -> bool {
        matches!(self, Self::Publish | Self::SpawnRequest)
    }

    /// Its place in [`Action::ALL`].
    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

//! What stands in the place of a refused message.

use crate::control::{Control, Signal, Target};
use crate::error::{Error, Result};
use crate::frame::{self, Header};
use crate::term::{Pid, Writer};

/// An empty frame.
pub(super) const TICK: [u8; 4] = [0; 4];

/// A tick is said for each so many bytes that are left out of a long frame: whoever has so much to say is alive, and
/// the receiver takes a peer that says nothing for dead, after 45 seconds at least. At 10 Mbit/s it is one a second.
const PER_TICK: u32 = 20;

/// The ticks that are due when the bytes left of a frame go from `before` to `after`.
pub(super) fn ticks(before: u64, after: u64) -> Vec<u8> {
    let due = (before >> PER_TICK) - (after >> PER_TICK);
    vec![0; usize::try_from(due * 4).unwrap_or(0)]
}

/// A frame with the same header whose message reaches nobody. All its atoms stand in it: those of the header need not
/// be used.
pub(super) fn message(header: Option<&Header<'_>>, refused: &Control<'_>) -> Result<Vec<u8>> {
    let control = Control::to_nobody(somebody(&refused.signal)?.clone());
    let mut writer = Writer::new();
    control.write(&mut writer)?;
    Ok(match header {
        Some(header) => {
            writer.nil();
            frame::message(header, &writer.finish()?)
        }
        None => {
            let control = writer.finish()?;
            let mut payload = Writer::new();
            payload.nil();
            frame::pass_through(&control, Some(&payload.finish()?))
        }
    })
}

/// A pid of the refused message, the sender's if it says so: a message to a name must come from one.
fn somebody<'a>(signal: &'a Signal<'a>) -> Result<&'a Pid<'a>> {
    match signal {
        Signal::Link { from, .. }
        | Signal::Unlink { from, .. }
        | Signal::UnlinkAck { from, .. }
        | Signal::Send {
            from: Some(from), ..
        }
        | Signal::Exit { from, .. }
        | Signal::Exit2 { from, .. }
        | Signal::GroupLeader { from, .. }
        | Signal::Monitor { from, .. }
        | Signal::Demonitor { from, .. }
        | Signal::MonitorExit {
            from: Target::Pid(from),
            ..
        }
        | Signal::SpawnRequest { from, .. } => Ok(from),
        Signal::Send {
            from: None,
            to: Target::Pid(to),
            ..
        }
        | Signal::MonitorExit { to, .. }
        | Signal::SpawnReply { to, .. } => Ok(to),
        Signal::NodeLink | Signal::Send { from: None, .. } => Err(Error::Invalid {
            what: "refused message",
            reason: "it names no process",
        }),
    }
}

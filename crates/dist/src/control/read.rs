//! Reading control messages, and the messages that they begin.

use std::sync::Arc;

use super::Op;
use super::signal::{Control, Signal, Spawned, Target, altact};
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::term::{Limits, Reader, tag};

/// A message: what is to be done, and with what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message<'a> {
    /// What is to be done.
    pub control: Control<'a>,
    /// The payload, one encoded term without version byte; empty if the operation has none. Of a message in fragments
    /// it is only the part in the first one, which may be empty, too.
    pub payload: &'a [u8],
}

/// Walking over a control message takes no memory, however large it is: nothing but the frame bounds it.
const LIMITS: Limits = Limits {
    size: usize::MAX,
    count: u32::MAX,
    depth: 0,
};

impl<'a> Message<'a> {
    /// Reads the message that a frame begins; `None` for ticks and further fragments. `atoms` are those of its header
    /// ([`crate::atom_cache::AtomCache::apply`]); a pass-through frame has none. The payload is not looked at.
    ///
    /// # Errors
    /// What is wrong with the control message; [`Error::Invalid`] if there is a payload where the operation has none,
    /// or none where it has one.
    pub fn of(frame: &Frame<'a>, atoms: &'a [Arc<str>]) -> Result<Option<Self>> {
        let (mut reader, whole) = match *frame {
            Frame::Tick | Frame::NextFragment { .. } => return Ok(None),
            Frame::PassThrough { terms } => {
                // There is no header, hence nothing that could be referred to.
                let mut reader = Reader::with_limits(terms, LIMITS)?.with_atoms(&[]);
                reader.version()?;
                (reader, true)
            }
            Frame::Message { terms, .. } => {
                (Reader::with_limits(terms, LIMITS)?.with_atoms(atoms), true)
            }
            Frame::FirstFragment {
                terms, fragment, ..
            } => (
                Reader::with_limits(terms, LIMITS)?.with_atoms(atoms),
                fragment == 1,
            ),
        };
        let control = Control::read(&mut reader)?;
        match (control.op.has_payload(), reader.is_empty()) {
            (true, true) if whole => Err(Error::Invalid {
                what: "message",
                reason: "the payload is missing",
            }),
            (false, false) => Err(Error::Invalid {
                what: "message",
                reason: "the operation has no payload",
            }),
            (false, true) if !whole => Err(Error::Invalid {
                what: "message",
                reason: "there is no payload to cut",
            }),
            _ => {
                if matches!(frame, Frame::PassThrough { .. }) && !reader.is_empty() {
                    reader.version()?;
                }
                Ok(Some(Self {
                    control,
                    payload: reader.rest(),
                }))
            }
        }
    }
}

impl<'a> Control<'a> {
    /// Reads a control message; the reader stands at the payload then.
    ///
    /// # Errors
    /// [`Error::Unexpected`] for an unknown operation, and for terms of another type than may stand in their place;
    /// [`Error::Invalid`] if the number of elements, or the flags of operation 37, cannot be;
    /// [`Error::Unsupported`] for flags of operation 37 that are unknown.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self> {
        let found = reader.peek()?;
        if found != tag::SMALL_TUPLE {
            return Err(Error::Unexpected {
                what: "control message",
                found,
                wanted: "104 (SMALL_TUPLE_EXT)",
            });
        }
        let arity = u8::try_from(reader.tuple()?).unwrap_or(u8::MAX);
        let found = reader.peek()?;
        if found != tag::SMALL_INTEGER {
            return Err(Error::Unexpected {
                what: "control operation",
                found,
                wanted: "97 (SMALL_INTEGER_EXT)",
            });
        }
        let op = Op::checked(byte(reader)?, arity)?;
        let mut token = None;
        let signal = match op {
            Op::Link => Signal::Link {
                from: reader.pid()?,
                to: reader.pid()?,
            },
            Op::Unlink => Signal::Unlink {
                id: None,
                from: reader.pid()?,
                to: reader.pid()?,
            },
            Op::UnlinkId => Signal::Unlink {
                id: Some(reader.unsigned()?),
                from: reader.pid()?,
                to: reader.pid()?,
            },
            Op::UnlinkIdAck => Signal::UnlinkAck {
                id: reader.unsigned()?,
                from: reader.pid()?,
                to: reader.pid()?,
            },
            Op::NodeLink => Signal::NodeLink,
            Op::GroupLeader => Signal::GroupLeader {
                from: reader.pid()?,
                to: reader.pid()?,
            },
            Op::Send | Op::SendTt => {
                reader.skip()?;
                Signal::Send {
                    from: None,
                    to: Target::Pid(reader.pid()?),
                    priority: false,
                }
            }
            Op::RegSend | Op::RegSendTt => {
                let from = Some(reader.pid()?);
                reader.skip()?;
                Signal::Send {
                    from,
                    to: Target::Name(reader.atom()?),
                    priority: false,
                }
            }
            Op::SendSender | Op::SendSenderTt => Signal::Send {
                from: Some(reader.pid()?),
                to: Target::Pid(reader.pid()?),
                priority: false,
            },
            Op::AliasSend | Op::AliasSendTt => Signal::Send {
                from: Some(reader.pid()?),
                to: Target::Alias(reader.reference()?),
                priority: false,
            },
            Op::AltactSigSend => return Self::read_altact(reader, arity),
            Op::Exit | Op::ExitTt | Op::PayloadExit | Op::PayloadExitTt => {
                let (from, to) = (reader.pid()?, reader.pid()?);
                token = read_token(op, reader)?;
                Signal::Exit {
                    from,
                    to,
                    reason: reason(op, reader)?,
                }
            }
            Op::Exit2 | Op::Exit2Tt | Op::PayloadExit2 | Op::PayloadExit2Tt => {
                let (from, to) = (reader.pid()?, Target::Pid(reader.pid()?));
                token = read_token(op, reader)?;
                Signal::Exit2 {
                    from,
                    to,
                    reason: reason(op, reader)?,
                    priority: false,
                }
            }
            Op::MonitorP => Signal::Monitor {
                from: reader.pid()?,
                to: pid_or_name(reader)?,
                reference: reader.reference()?,
            },
            Op::DemonitorP => Signal::Demonitor {
                from: reader.pid()?,
                to: pid_or_name(reader)?,
                reference: reader.reference()?,
            },
            Op::MonitorPExit | Op::PayloadMonitorPExit => Signal::MonitorExit {
                from: pid_or_name(reader)?,
                to: reader.pid()?,
                reference: reader.reference()?,
                reason: reason(op, reader)?,
            },
            Op::SpawnRequest | Op::SpawnRequestTt => Self::read_spawn_request(reader)?,
            Op::SpawnReply | Op::SpawnReplyTt => Signal::SpawnReply {
                id: reader.reference()?,
                to: reader.pid()?,
                flags: byte(reader)?,
                result: match pid_or_name(reader)? {
                    Target::Pid(pid) => Spawned::Pid(pid),
                    Target::Name(name) => Spawned::Failed(name),
                    Target::Alias(_) => {
                        return Err(Error::Invalid {
                            what: "spawn reply",
                            reason: "it is no alias",
                        });
                    }
                },
            },
        };
        if token.is_none() {
            token = read_token(op, reader)?;
        }
        Ok(Self { op, token, signal })
    }

    fn read_spawn_request(reader: &mut Reader<'a>) -> Result<Signal<'a>> {
        let (id, from, group_leader) = (reader.reference()?, reader.pid()?, reader.pid()?);
        if reader.tuple()? != 3 {
            return Err(Error::Invalid {
                what: "spawn request",
                reason: "it must start {M, F, A}",
            });
        }
        let (module, function, arity) = (reader.atom()?, reader.atom()?, byte(reader)?);
        Ok(Signal::SpawnRequest {
            id,
            from,
            group_leader,
            module,
            function,
            arity,
            options: raw(reader)?,
        })
    }

    /// Operation 37, whose flags say what it means.
    fn read_altact(reader: &mut Reader<'a>, arity: u8) -> Result<Self> {
        const KNOWN: u8 =
            altact::PRIORITY | altact::TOKEN | altact::ALIAS | altact::NAME | altact::EXIT;
        let flags = byte(reader)?;
        let has = |flag| flags & flag != 0;
        if flags & !KNOWN != 0 {
            return Err(Error::Unsupported {
                what: "flags of operation 37 that are not known",
            });
        }
        if has(altact::TOKEN) != (arity == 5) {
            return Err(Error::Invalid {
                what: "operation 37",
                reason: "its flags and its size differ about a token",
            });
        }
        let from = reader.pid()?;
        let to = match (has(altact::ALIAS), has(altact::NAME)) {
            (false, false) => Target::Pid(reader.pid()?),
            (true, false) => Target::Alias(reader.reference()?),
            (false, true) if !has(altact::EXIT) => Target::Name(reader.atom()?),
            _ => {
                return Err(Error::Invalid {
                    what: "operation 37",
                    reason: "its flags contradict each other",
                });
            }
        };
        let priority = has(altact::PRIORITY);
        let token = if has(altact::TOKEN) {
            Some(raw(reader)?)
        } else {
            None
        };
        let signal = if has(altact::EXIT) {
            Signal::Exit2 {
                from,
                to,
                reason: None,
                priority,
            }
        } else {
            Signal::Send {
                from: Some(from),
                to,
                priority,
            }
        };
        Ok(Self {
            op: Op::AltactSigSend,
            token,
            signal,
        })
    }
}

/// A term as it stands in the input.
fn raw<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8]> {
    let before = reader.rest();
    let span = reader.skip()?;
    Ok(before.get(..span.len()).unwrap_or_default())
}

fn byte(reader: &mut Reader<'_>) -> Result<u8> {
    u8::try_from(reader.unsigned()?).map_err(|_| Error::Invalid {
        what: "control message",
        reason: "a number is above 255",
    })
}

fn read_token<'a>(op: Op, reader: &mut Reader<'a>) -> Result<Option<&'a [u8]>> {
    if op.has_token() {
        raw(reader).map(Some)
    } else {
        Ok(None)
    }
}

/// The reason of an exit, in the forms that carry it within.
fn reason<'a>(op: Op, reader: &mut Reader<'a>) -> Result<Option<&'a [u8]>> {
    if op.has_payload() {
        Ok(None)
    } else {
        raw(reader).map(Some)
    }
}

fn pid_or_name<'a>(reader: &mut Reader<'a>) -> Result<Target<'a>> {
    match reader.peek()? {
        tag::NEW_PID | tag::PID => reader.pid().map(Target::Pid),
        tag::ATOM_CACHE_REF
        | tag::SMALL_ATOM_UTF8
        | tag::ATOM_UTF8
        | tag::SMALL_ATOM
        | tag::ATOM => reader.atom().map(Target::Name),
        found => {
            // What cannot be read at all is told as that.
            reader.token()?;
            Err(Error::Unexpected {
                what: "control message",
                found,
                wanted: "a pid or an atom",
            })
        }
    }
}

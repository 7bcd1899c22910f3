//! Writing control messages; above all those that agents say themselves.

use super::Op;
use super::signal::{Control, Signal, Spawned, Target, altact};
use crate::error::{Error, Result};
use crate::term::{Atom, Pid, Reference, Writer};

impl<'a> Control<'a> {
    /// A message that no one receives: to the name `undefined`, under which nothing can be registered. Put in place of
    /// a refused one, whose header stays.
    #[must_use]
    pub const fn to_nobody(from: Pid<'a>) -> Self {
        let to = Target::Name(Atom::new("undefined"));
        Self {
            op: Op::RegSend,
            token: None,
            signal: Signal::Send {
                from: Some(from),
                to,
                priority: false,
            },
        }
    }

    /// The monitor `reference` of `to` on `from` fires; the reason is the payload. Answers a refused monitor.
    #[must_use]
    pub const fn monitor_exit(from: Target<'a>, to: Pid<'a>, reference: Reference<'a>) -> Self {
        let signal = Signal::MonitorExit {
            from,
            to,
            reference,
            reason: None,
        };
        Self {
            op: Op::PayloadMonitorPExit,
            token: None,
            signal,
        }
    }

    /// `from` no longer monitors `to`. Goes on in the place of a refused call, whose caller has a monitor there.
    #[must_use]
    pub const fn demonitor(from: Pid<'a>, to: Target<'a>, reference: Reference<'a>) -> Self {
        let signal = Signal::Demonitor {
            from,
            to,
            reference,
        };
        Self {
            op: Op::DemonitorP,
            token: None,
            signal,
        }
    }

    /// A request to start a process has failed. Answers a refused one; `reason` is `eacces` or the like.
    #[must_use]
    pub const fn spawn_failed(id: Reference<'a>, to: Pid<'a>, reason: &'a str) -> Self {
        let result = Spawned::Failed(Atom::new(reason));
        Self {
            op: Op::SpawnReply,
            token: None,
            signal: Signal::SpawnReply {
                id,
                to,
                flags: 0,
                result,
            },
        }
    }

    /// The link between the two is broken by the exit of `from`; the reason is the payload. Answers a refused link.
    #[must_use]
    pub const fn link_exit(from: Pid<'a>, to: Pid<'a>) -> Self {
        Self {
            op: Op::PayloadExit,
            token: None,
            signal: Signal::Exit {
                from,
                to,
                reason: None,
            },
        }
    }

    /// The bytes of this control message, without version byte.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the operation cannot say this signal, or lacks what it must carry; [`Error::TooLarge`]
    /// for an atom above 255 characters.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let mut writer = Writer::new();
        self.write(&mut writer)?;
        writer.finish()
    }

    /// Appends this control message to what a writer holds.
    ///
    /// # Errors
    /// As [`Control::encode`], but for what [`Writer::finish`] reports.
    pub fn write(&self, writer: &mut Writer) -> Result<()> {
        let op = self.op;
        let arity = if op == Op::AltactSigSend {
            4 + usize::from(self.token.is_some())
        } else {
            op.arity().into()
        };
        let has_token = if op == Op::AltactSigSend {
            arity == 5
        } else {
            op.has_token()
        };
        if has_token != self.token.is_some() {
            return Err(Error::Invalid {
                what: "written control message",
                reason: "a token is missing, or too many",
            });
        }
        writer.tuple(arity).integer(op.code().into());
        match (op, &self.signal) {
            (Op::Link, Signal::Link { from, to })
            | (Op::Unlink, Signal::Unlink { id: None, from, to })
            | (Op::GroupLeader, Signal::GroupLeader { from, to }) => writer.pid(from).pid(to),
            (
                Op::UnlinkId,
                Signal::Unlink {
                    id: Some(id),
                    from,
                    to,
                },
            )
            | (Op::UnlinkIdAck, Signal::UnlinkAck { id, from, to }) => {
                writer.unsigned(*id).pid(from).pid(to)
            }
            (Op::NodeLink, Signal::NodeLink) => writer,
            (
                Op::AltactSigSend,
                Signal::Send {
                    from: Some(from),
                    to,
                    priority,
                },
            ) => self.write_altact(writer, from, to, *priority, 0)?,
            (
                Op::AltactSigSend,
                Signal::Exit2 {
                    from,
                    to,
                    reason: None,
                    priority,
                },
            ) => self.write_altact(writer, from, to, *priority, altact::EXIT)?,
            (
                Op::Send | Op::SendTt,
                Signal::Send {
                    from: None,
                    to: Target::Pid(to),
                    priority: false,
                },
            ) => writer.atom("").pid(to),
            (
                Op::RegSend | Op::RegSendTt,
                Signal::Send {
                    from: Some(from),
                    to: to @ Target::Name(_),
                    priority: false,
                },
            ) => target(writer.pid(from).atom(""), to),
            (
                Op::SendSender | Op::SendSenderTt,
                Signal::Send {
                    from: Some(from),
                    to: to @ Target::Pid(_),
                    priority: false,
                },
            )
            | (
                Op::AliasSend | Op::AliasSendTt,
                Signal::Send {
                    from: Some(from),
                    to: to @ Target::Alias(_),
                    priority: false,
                },
            ) => target(writer.pid(from), to),
            (
                Op::Exit | Op::ExitTt | Op::PayloadExit | Op::PayloadExitTt,
                Signal::Exit { from, to, reason },
            ) => self.write_exit(writer.pid(from).pid(to), *reason)?,
            (
                Op::Exit2 | Op::Exit2Tt | Op::PayloadExit2 | Op::PayloadExit2Tt,
                Signal::Exit2 {
                    from,
                    to: Target::Pid(to),
                    reason,
                    priority: false,
                },
            ) => self.write_exit(writer.pid(from).pid(to), *reason)?,
            (
                Op::MonitorP,
                Signal::Monitor {
                    from,
                    to: to @ (Target::Pid(_) | Target::Name(_)),
                    reference,
                },
            )
            | (
                Op::DemonitorP,
                Signal::Demonitor {
                    from,
                    to: to @ (Target::Pid(_) | Target::Name(_)),
                    reference,
                },
            ) => target(writer.pid(from), to).reference(reference),
            (
                Op::MonitorPExit | Op::PayloadMonitorPExit,
                Signal::MonitorExit {
                    from: from @ (Target::Pid(_) | Target::Name(_)),
                    to,
                    reference,
                    reason,
                },
            ) => self.write_exit(target(writer, from).pid(to).reference(reference), *reason)?,
            (
                Op::SpawnRequest | Op::SpawnRequestTt,
                Signal::SpawnRequest {
                    id,
                    from,
                    group_leader,
                    module,
                    function,
                    arity,
                    options,
                },
            ) => {
                writer.reference(id).pid(from).pid(group_leader).tuple(3);
                target(
                    target(writer, &Target::Name(module.clone())),
                    &Target::Name(function.clone()),
                )
                .integer((*arity).into())
                .raw(options)
            }
            (
                Op::SpawnReply | Op::SpawnReplyTt,
                Signal::SpawnReply {
                    id,
                    to,
                    flags,
                    result,
                },
            ) => {
                let writer = writer.reference(id).pid(to).integer((*flags).into());
                match result {
                    Spawned::Pid(pid) => writer.pid(pid),
                    Spawned::Failed(reason) => target(writer, &Target::Name(reason.clone())),
                }
            }
            _ => {
                return Err(Error::Invalid {
                    what: "written control message",
                    reason: "the operation cannot say this signal",
                });
            }
        };
        // Exits carry their token before the reason, and have written it.
        if let Some(token) = self.token
            && !matches!(
                op,
                Op::ExitTt | Op::Exit2Tt | Op::PayloadExitTt | Op::PayloadExit2Tt
            )
        {
            writer.raw(token);
        }
        Ok(())
    }

    fn write_exit<'w>(
        &self,
        writer: &'w mut Writer,
        reason: Option<&[u8]>,
    ) -> Result<&'w mut Writer> {
        if let Some(token) = self.token {
            writer.raw(token);
        }
        match (self.op.has_payload(), reason) {
            (true, None) => Ok(writer),
            (false, Some(reason)) => Ok(writer.raw(reason)),
            _ => Err(Error::Invalid {
                what: "written control message",
                reason: "a reason is missing, or too many",
            }),
        }
    }

    fn write_altact<'w>(
        &self,
        writer: &'w mut Writer,
        from: &Pid<'_>,
        to: &Target<'_>,
        priority: bool,
        flags: u8,
    ) -> Result<&'w mut Writer> {
        let kind = match to {
            Target::Pid(_) => 0,
            Target::Alias(_) => altact::ALIAS,
            Target::Name(_) if flags & altact::EXIT == 0 => altact::NAME,
            Target::Name(_) => {
                return Err(Error::Invalid {
                    what: "written operation 37",
                    reason: "an exit signal goes to no name",
                });
            }
        };
        let priority = if priority { altact::PRIORITY } else { 0 };
        let token = if self.token.is_some() {
            altact::TOKEN
        } else {
            0
        };
        Ok(target(
            writer
                .integer((flags | kind | priority | token).into())
                .pid(from),
            to,
        ))
    }
}

fn target<'w>(writer: &'w mut Writer, to: &Target<'_>) -> &'w mut Writer {
    match to {
        Target::Pid(pid) => writer.pid(pid),
        Target::Name(name) => writer.term(&crate::term::Term::Atom(name.clone())),
        Target::Alias(reference) => writer.reference(reference),
    }
}

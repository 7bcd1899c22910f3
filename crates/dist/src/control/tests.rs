use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::frame::{self, Frame, Header};
use crate::term::{Atom, Pid, Reader, Reference};

#[test]
fn codes_indices_and_names_are_consistent() {
    assert_eq!(Op::COUNT, 31);
    for (place, op) in Op::ALL.iter().enumerate() {
        assert_eq!(op.index(), place, "{op}");
        assert_eq!(Op::from_code(op.code()), Some(*op));
        assert_eq!(
            (0..=255).filter(|arity| op.has_arity(*arity)).count(),
            if *op == Op::AltactSigSend { 2 } else { 1 }
        );
    }
    assert_eq!(
        Op::ALL
            .iter()
            .map(|op| op.name())
            .collect::<HashSet<_>>()
            .len(),
        Op::COUNT
    );
    assert_eq!((0..=255).filter_map(Op::from_code).count(), Op::COUNT);
    for gap in [0, 9, 10, 11, 14, 15, 17, 38, 97, 255] {
        assert_eq!(Op::from_code(gap), None);
    }
}

#[test]
fn operations_are_checked_with_their_arity() {
    assert_eq!(Op::checked(6, 4), Ok(Op::RegSend));
    assert_eq!(Op::checked(37, 5), Ok(Op::AltactSigSend));
    assert!(matches!(Op::checked(6, 3), Err(Error::Invalid { .. })));
    assert!(matches!(
        Op::checked(38, 4),
        Err(Error::Unexpected { found: 38, .. })
    ));
}

fn node() -> impl Strategy<Value = Atom<'static>> {
    "[a-z]{1,8}@[a-z]{1,8}".prop_map(|text| Atom::Text(text.into()))
}

fn pid() -> impl Strategy<Value = Pid<'static>> {
    (node(), any::<[u32; 3]>()).prop_map(|(node, [id, serial, creation])| Pid {
        node,
        id,
        serial,
        creation,
    })
}

fn reference() -> impl Strategy<Value = Reference<'static>> {
    (
        node(),
        any::<u32>(),
        proptest::collection::vec(any::<u32>(), 1..6),
    )
        .prop_map(|(node, creation, words)| Reference::new(node, creation, &words).unwrap())
}

fn name() -> impl Strategy<Value = Atom<'static>> {
    "[a-zå_]{0,20}".prop_map(|text| Atom::Text(text.into()))
}

fn pid_or_name() -> impl Strategy<Value = Target<'static>> {
    prop_oneof![pid().prop_map(Target::Pid), name().prop_map(Target::Name)]
}

/// Every operation, with everything that it can say.
fn control() -> impl Strategy<Value = Control<'static>> {
    let parts = (
        pid(),
        pid(),
        pid_or_name(),
        reference(),
        name(),
        any::<u64>(),
        any::<u8>(),
        any::<[bool; 3]>(),
    );
    (prop::sample::select(Op::ALL), parts).prop_map(
        |(op, (from, to, target, reference, name, id, byte, [one, two, three]))| {
            const RAW: &[u8] = b"h\x02a\x01w\x06killed";
            let reason = (!op.has_payload()).then_some(RAW);
            let mut token = op.has_token().then_some(RAW);
            let signal = match op {
                Op::Link => Signal::Link { from, to },
                Op::Unlink => Signal::Unlink { id: None, from, to },
                Op::UnlinkId => Signal::Unlink {
                    id: Some(id),
                    from,
                    to,
                },
                Op::UnlinkIdAck => Signal::UnlinkAck { id, from, to },
                Op::NodeLink => Signal::NodeLink,
                Op::GroupLeader => Signal::GroupLeader { from, to },
                Op::Send | Op::SendTt => Signal::Send {
                    from: None,
                    to: Target::Pid(to),
                    priority: false,
                },
                Op::RegSend | Op::RegSendTt => Signal::Send {
                    from: Some(from),
                    to: Target::Name(name),
                    priority: false,
                },
                Op::SendSender | Op::SendSenderTt => Signal::Send {
                    from: Some(from),
                    to: Target::Pid(to),
                    priority: false,
                },
                Op::AliasSend | Op::AliasSendTt => Signal::Send {
                    from: Some(from),
                    to: Target::Alias(reference),
                    priority: false,
                },
                Op::Exit | Op::ExitTt | Op::PayloadExit | Op::PayloadExitTt => {
                    Signal::Exit { from, to, reason }
                }
                Op::Exit2 | Op::Exit2Tt | Op::PayloadExit2 | Op::PayloadExit2Tt => Signal::Exit2 {
                    from,
                    to: Target::Pid(to),
                    reason,
                    priority: false,
                },
                Op::MonitorP => Signal::Monitor {
                    from,
                    to: target,
                    reference,
                },
                Op::DemonitorP => Signal::Demonitor {
                    from,
                    to: target,
                    reference,
                },
                Op::MonitorPExit | Op::PayloadMonitorPExit => Signal::MonitorExit {
                    from: target,
                    to,
                    reference,
                    reason,
                },
                Op::SpawnRequest | Op::SpawnRequestTt => Signal::SpawnRequest {
                    id: reference,
                    from,
                    group_leader: to,
                    module: name.clone(),
                    function: name,
                    arity: byte,
                    options: RAW,
                },
                Op::SpawnReply | Op::SpawnReplyTt => {
                    let result = if one {
                        Spawned::Pid(from)
                    } else {
                        Spawned::Failed(name)
                    };
                    Signal::SpawnReply {
                        id: reference,
                        to,
                        flags: byte,
                        result,
                    }
                }
                Op::AltactSigSend => {
                    token = three.then_some(RAW);
                    match (one, two) {
                        (true, _) => Signal::Exit2 {
                            from,
                            to: if two {
                                Target::Alias(reference)
                            } else {
                                Target::Pid(to)
                            },
                            reason: None,
                            priority: byte > 100,
                        },
                        (false, true) => Signal::Send {
                            from: Some(from),
                            to: Target::Alias(reference),
                            priority: byte > 100,
                        },
                        (false, false) => Signal::Send {
                            from: Some(from),
                            to: target,
                            priority: byte > 100,
                        },
                    }
                }
            };
            Control { op, token, signal }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn every_message_survives(control in control()) {
        let bytes = control.encode().unwrap();
        let payload: &[u8] = if control.op.has_payload() { b"w\x01x" } else { b"" };
        let terms = [&bytes, payload].concat();
        let frame = Frame::Message { header: Header::EMPTY, terms: &terms };
        let wanted = Message { control: control.clone(), payload };
        prop_assert_eq!(Message::of(&frame, &[]), Ok(Some(wanted.clone())));

        let framed = frame::pass_through(&bytes, control.op.has_payload().then_some(payload));
        let frame = Frame::decode(&framed[4..]).unwrap();
        prop_assert_eq!(Message::of(&frame, &[]), Ok(Some(wanted)));

        // A payload where there must be none, none where there must be one.
        let terms = if payload.is_empty() { [&bytes, &b"j"[..]].concat() } else { bytes.clone() };
        let frame = Frame::Message { header: Header::EMPTY, terms: &terms };
        prop_assert!(Message::of(&frame, &[]).is_err());
        for end in 0..bytes.len() {
            let frame = Frame::Message { header: Header::EMPTY, terms: &bytes[..end] };
            prop_assert!(Message::of(&frame, &[]).is_err());
        }
    }

    #[test]
    fn anything_is_survived(
        rest in proptest::collection::vec(prop_oneof![Just(0u8), Just(b'a'), Just(b'w'), Just(b'X'), Just(b'Z'), any::<u8>()], 0..120),
        op in prop::sample::select(Op::ALL),
    ) {
        let terms = [&[104, op.arity(), 97, op.code()][..], &rest].concat();
        let mut reader = Reader::new(&terms).unwrap();
        if let Ok(control) = Control::read(&mut reader) {
            let bytes = control.encode().unwrap();
            prop_assert_eq!(Control::read(&mut Reader::new(&bytes).unwrap()), Ok(control));
        }
    }
}

#[test]
fn operation_37_means_what_its_flags_say() {
    let pid: &[u8] = b"Xw\x03a@b\0\0\0\x01\0\0\0\0\0\0\0\x07";
    let reference: &[u8] = b"Z\0\x01w\x03a@b\0\0\0\x07\0\0\0\x01";
    let read = |arity, flags, to: &[u8]| {
        let bytes = [&[104, arity, 97, 37, 97, flags][..], pid, to].concat();
        Control::read(&mut Reader::new(&bytes).unwrap())
            .map(|control| format!("{:?}", control.signal))
    };
    assert!(read(4, 0, pid).unwrap().starts_with("Send"));
    assert!(read(4, 1, pid).unwrap().contains("priority: true"));
    assert!(read(4, 4, reference).unwrap().contains("Alias"));
    assert!(read(4, 8, b"w\x03rex").unwrap().contains("Name('rex')"));
    assert!(read(4, 16, pid).unwrap().starts_with("Exit2"));
    assert!(read(4, 20, reference).unwrap().starts_with("Exit2"));
    assert!(read(5, 2, &[pid, b"j"].concat()).is_ok());
    assert!(
        matches!(read(4, 2, pid), Err(Error::Invalid { .. })),
        "a token is announced"
    );
    assert!(
        matches!(
            read(5, 0, &[pid, b"j"].concat()),
            Err(Error::Invalid { .. })
        ),
        "no token is announced"
    );
    assert!(
        matches!(read(4, 12, b"w\x03rex"), Err(Error::Invalid { .. })),
        "alias and name"
    );
    assert!(
        matches!(read(4, 24, b"w\x03rex"), Err(Error::Invalid { .. })),
        "exit to a name"
    );
    assert!(
        matches!(read(4, 32, pid), Err(Error::Unsupported { .. })),
        "a flag of the future"
    );
    assert!(read(4, 0, b"w\x03rex").is_err(), "a name without its flag");
}

/// What agents say instead of what they refuse, byte by byte: these forms were tried on OTP 25, 27 and 29.
#[test]
fn what_agents_say() {
    const PID: &[u8] = b"Xw\x03a@b\0\0\0\x01\0\0\0\x02\0\0\0\x07";
    const REFERENCE: &[u8] = b"Z\0\x01w\x03a@b\0\0\0\x07\0\0\0\x09";
    let pid = || Pid {
        node: Atom::new("a@b"),
        id: 1,
        serial: 2,
        creation: 7,
    };
    let reference = || Reference::new(Atom::new("a@b"), 7, &[9]).unwrap();
    assert_eq!(
        Control::to_nobody(pid()).encode().unwrap(),
        [b"h\x04a\x06", PID, b"w\0w\x09undefined"].concat()
    );
    let name = Target::Name(Atom::new("rex"));
    assert_eq!(
        Control::monitor_exit(name, pid(), reference())
            .encode()
            .unwrap(),
        [b"h\x04a\x1cw\x03rex", PID, REFERENCE].concat()
    );
    assert_eq!(
        Control::spawn_failed(reference(), pid(), "eacces")
            .encode()
            .unwrap(),
        [b"h\x05a\x1f", REFERENCE, PID, b"a\0w\x06eacces"].concat()
    );
    assert_eq!(
        Control::link_exit(pid(), pid()).encode().unwrap(),
        [b"h\x03a\x18", PID, PID].concat()
    );
}

#[test]
fn the_writer_refuses_what_an_operation_cannot_say() {
    let pid = || Pid {
        node: Atom::new("a@b"),
        id: 1,
        serial: 2,
        creation: 7,
    };
    let refused = |op, token, signal| Control { op, token, signal }.encode().unwrap_err();
    assert!(matches!(
        refused(Op::Link, None, Signal::NodeLink),
        Error::Invalid { .. }
    ));
    assert!(matches!(
        refused(
            Op::Link,
            Some(b"j"),
            Signal::Link {
                from: pid(),
                to: pid()
            }
        ),
        Error::Invalid { .. }
    ));
    assert!(matches!(
        refused(
            Op::Exit,
            None,
            Signal::Exit {
                from: pid(),
                to: pid(),
                reason: None
            }
        ),
        Error::Invalid { .. }
    ));
    assert!(matches!(
        refused(
            Op::PayloadExit,
            None,
            Signal::Exit {
                from: pid(),
                to: pid(),
                reason: Some(b"j")
            }
        ),
        Error::Invalid { .. }
    ));
    let to = Target::Pid(pid());
    assert!(matches!(
        refused(
            Op::RegSend,
            None,
            Signal::Send {
                from: Some(pid()),
                to,
                priority: false
            }
        ),
        Error::Invalid { .. }
    ));
}

#[test]
fn a_frame_without_header_refers_to_no_atoms() {
    let control = b"h\x04a\x06Xw\x03a@b\0\0\0\x01\0\0\0\x02\0\0\0\x07w\0R\0";
    let framed = frame::pass_through(control, Some(b"j"));
    let frame = Frame::decode(&framed[4..]).unwrap();
    assert!(matches!(
        Message::of(&frame, &["rex".into()]),
        Err(Error::Invalid { .. })
    ));
}

use super::*;
use crate::control::{Message, Signal, Spawned};
use crate::frame::Frame;
use crate::term::{Atom, Pid, Reader, Reference, Term};

fn pid(id: u32) -> Pid<'static> {
    Pid {
        node: Atom::new("a@host"),
        id,
        serial: 0,
        creation: 7,
    }
}

fn reference() -> Reference<'static> {
    Reference::new(Atom::new("a@host"), 7, &[1, 2, 3]).unwrap()
}

fn said(caller: &Caller<'_>) -> (Signal<'static>, Option<Term<'static>>) {
    let bytes = Box::leak(refusal(caller).unwrap().unwrap().into_boxed_slice());
    let frame = Frame::decode(&bytes[4..]).unwrap();
    let Frame::Message { header, .. } = &frame else {
        panic!("{frame:?}");
    };
    assert_eq!(header.count(), 0, "it uses no atom cache");
    let plain = refusal_like(caller, FrameKind::PassThrough);
    let plain = plain.unwrap().unwrap();
    let plain = Message::of(&Frame::decode(&plain[4..]).unwrap(), &[])
        .unwrap()
        .unwrap();
    let message = Message::of(&frame, &[]).unwrap().unwrap();
    assert_eq!(plain, message, "the same in a frame without header");
    let payload = (!message.payload.is_empty())
        .then(|| Reader::new(message.payload).unwrap().term().unwrap());
    (message.control.signal, payload)
}

#[test]
fn a_refused_spawn_fails() {
    let caller = Caller::Spawn {
        id: &reference(),
        from: &pid(1),
    };
    let wanted = Signal::SpawnReply {
        id: reference(),
        to: pid(1),
        flags: 0,
        result: Spawned::Failed(Atom::new("eacces")),
    };
    assert_eq!(said(&caller), (wanted, None));
}

#[test]
fn a_refused_monitor_fires() {
    let reason = Some(Term::atom("eacces"));
    for (to, watched) in [
        (To::Name("app"), Target::Name(Atom::new("app"))),
        (To::Pid(&pid(9)), Target::Pid(pid(9))),
    ] {
        let wanted = Signal::MonitorExit {
            from: watched,
            to: pid(1),
            reference: reference(),
            reason: None,
        };
        let monitor = Caller::Monitor {
            from: &pid(1),
            to,
            reference: &reference(),
        };
        assert_eq!(said(&monitor), (wanted.clone(), reason.clone()));
        let call = Caller::Request {
            from: pid(1),
            to,
            tag: &[],
            monitor: Some(reference()),
        };
        assert_eq!(said(&call), (wanted, reason.clone()));
    }
}

#[test]
fn a_c_node_that_was_refused_is_answered() {
    let wanted = Signal::Send {
        from: None,
        to: Target::Pid(pid(1)),
        priority: false,
    };
    let reason = Term::Tuple(vec![Term::atom("badrpc"), Term::atom("eacces")]);
    let answer = Term::Tuple(vec![Term::atom("rex"), reason]);
    let caller = Caller::Remote { from: pid(1) };
    assert_eq!(said(&caller), (wanted, Some(answer)));
    let nothing = withdrawal_like(&caller, FrameKind::PassThrough);
    assert_eq!(nothing, Ok(None));
}

#[test]
fn a_refused_link_breaks() {
    let caller = Caller::Link {
        from: &pid(1),
        to: &pid(9),
    };
    let wanted = Signal::Exit {
        from: pid(9),
        to: pid(1),
        reason: None,
    };
    assert_eq!(said(&caller), (wanted, Some(Term::atom("eacces"))));
}

#[test]
fn who_could_not_understand_is_told_nothing() {
    for (to, monitor) in [
        (To::Name("app"), None),
        (To::Alias(&reference()), Some(reference())),
    ] {
        let caller = Caller::Request {
            from: pid(1),
            to,
            tag: &[],
            monitor,
        };
        assert_eq!(refusal(&caller).unwrap(), None);
    }
}

#[test]
fn the_monitor_of_a_refused_call_is_taken_back_and_nothing_else() {
    for (to, watched) in [
        (To::Name("app"), Target::Name(Atom::new("app"))),
        (To::Pid(&pid(9)), Target::Pid(pid(9))),
    ] {
        let call = |monitor| Caller::Request {
            from: pid(1),
            to,
            tag: &[],
            monitor,
        };
        let wanted = Signal::Demonitor {
            from: pid(1),
            to: watched,
            reference: reference(),
        };
        for like in [FrameKind::Header, FrameKind::PassThrough] {
            let bytes = withdrawal_like(&call(Some(reference())), like);
            let bytes = bytes.unwrap().unwrap();
            let frame = Frame::decode(&bytes[4..]).unwrap();
            let message = Message::of(&frame, &[]).unwrap().unwrap();
            assert_eq!(message.control.signal, wanted);
            assert!(message.payload.is_empty());
        }
        assert_eq!(withdrawal_like(&call(None), FrameKind::Header), Ok(None));
    }
    let monitor = Caller::Monitor {
        from: &pid(1),
        to: To::Name("app"),
        reference: &reference(),
    };
    assert_eq!(withdrawal_like(&monitor, FrameKind::Header), Ok(None));
}

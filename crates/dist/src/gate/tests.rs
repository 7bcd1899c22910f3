use super::*;
use crate::control::Target;
use crate::frame;
use crate::operation::{self, Operation, Read, To};
use crate::term::{Atom, Pid, Writer};

struct Names(Vec<String>);

impl Judge for Names {
    type Error = Error;
    fn judge(&mut self, message: &Shown<'_>) -> Result<Verdict> {
        let found = match operation::read(message)? {
            Read::More => return Ok(Verdict::More),
            Read::Whole(found) => found,
        };
        let Operation::Send { to: To::Name(name) } = found.operation else {
            return Ok(Verdict::Refuse);
        };
        self.0.push(name.to_owned());
        Ok(if name == "victim" {
            Verdict::Refuse
        } else {
            Verdict::Forward
        })
    }
}

fn pid() -> Pid<'static> {
    Pid {
        node: Atom::new("a@b"),
        id: 7,
        serial: 0,
        creation: 1,
    }
}

fn to(name: &'static str) -> Vec<u8> {
    let mut control = Control::to_nobody(pid());
    if let crate::control::Signal::Send { to, .. } = &mut control.signal {
        *to = Target::Name(Atom::new(name));
    }
    let mut writer = Writer::new();
    control.write(&mut writer).unwrap();
    writer.atom("hello");
    frame::message(&Header::EMPTY, &writer.finish().unwrap())
}

#[test]
fn smoke() {
    let stream = [to("friend"), to("victim"), vec![0; 4], to("friend")].concat();
    let (mut gate, mut judge, mut edits) = (Gate::new(1 << 20), Names(vec![]), vec![]);
    assert_eq!(gate.feed(&stream, &mut judge, &mut edits), Ok(stream.len()));
    assert_eq!(judge.0, ["friend", "victim", "friend"]);
    assert_eq!(edits.len(), 1);
}

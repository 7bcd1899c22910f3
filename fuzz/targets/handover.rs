//! What an agent tells the process that takes its place: it comes from the same user, and is read as strictly as if it did not.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skans_fuzz as _;

use skans_dist::gate::{Gate, Judge, MOST_HELD, Shown, Verdict};
use skans_handover::{Header, Kind, LinkParts, Message};
use skans_link::{Session, Window};

struct Half(bool);

impl Judge for Half {
    type Error = skans_dist::Error;

    fn judge(&mut self, _: &Shown<'_>) -> Result<Verdict, Self::Error> {
        self.0 = !self.0;
        Ok(if self.0 { Verdict::Refuse } else { Verdict::More })
    }
}

fuzz_target!(|input: (u8, u8, Vec<u8>, Vec<u8>)| {
    let (kind, fds, text, bytes) = input;
    gate(&text, &bytes);
    thaw(&LinkParts { session: text.clone(), window: bytes.clone(), ..LinkParts::default() });
    let Ok(kind) = Kind::from_byte(kind) else {
        return;
    };
    let header = Header { kind, fds: fds.into(), text: text.len(), bytes: bytes.len() };
    let Ok(message) = Message::decode(&header, &text, &bytes) else {
        return;
    };
    // What was read says the same once it is written again.
    let (head, bytes) = message.encode(header.fds).unwrap();
    let again = Header::decode(*head.first_chunk().unwrap()).unwrap();
    let text = head.get(skans_handover::HEADER..).unwrap();
    assert_eq!(Message::decode(&again, text, &bytes).unwrap(), message);
    if let Message::Link(_, parts) = &message {
        thaw(parts);
    }
});

fn thaw(parts: &LinkParts) {
    if let Ok(session) = Session::thaw(&parts.session) {
        assert_eq!(session.freeze(), parts.session);
        if let Ok(window) = Window::thaw(&parts.window, 1 << 20) {
            let _ = window.fits(&session);
        }
    }
    if let Ok(mut window) = Window::thaw(&parts.window, 1 << 20) {
        assert_eq!(window.freeze(), parts.window);
        window.send(1000);
        window.release(u64::MAX);
        assert_eq!(window.kept(), 0);
    }
    gate(&parts.sent, &parts.held);
    gate(&parts.received, &parts.held);
}

fn gate(frozen: &[u8], input: &[u8]) {
    let Ok(mut gate) = Gate::thaw(frozen, 1 << 20) else {
        return;
    };
    if let Ok(decided) = gate.feed(input, &mut Half(false), &mut Vec::new()) {
        assert!(input.len() - decided <= MOST_HELD);
        let frozen = gate.freeze().unwrap();
        assert_eq!(Gate::thaw(&frozen, 1 << 20).unwrap().freeze().unwrap().len(), frozen.len());
    }
}

//! That what is remembered decides as what is read: two directions see the same, one of which remembers nothing.

use std::collections::BTreeMap;

use proptest::prelude::*;
use skans_dist::gate::{Edit, Gate, Judge, Mark, Shown, Verdict};
use skans_dist::stream::{MAX_FRAME, Seen};

use super::*;

/// A flow, and how often it let something pass that was remembered.
struct Watched<'a> {
    flow: &'a mut Flow,
    remembers: bool,
    again: &'a mut usize,
}

impl Judge for Watched<'_> {
    type Error = Error;

    fn begin(&mut self) {
        self.flow.begin();
    }

    fn judge(&mut self, message: &Shown<'_>) -> Result<Verdict, Error> {
        self.flow.judge(message)
    }

    fn lasting(&mut self, message: &Shown<'_>) -> Option<Mark> {
        self.flow.lasting(message).filter(|_| self.remembers)
    }

    fn again(&mut self, mark: Mark, numbers: &[u8]) -> bool {
        let again = self.flow.again(mark, numbers);
        *self.again += usize::from(again);
        again
    }

    fn behind(&mut self) -> Vec<u8> {
        self.flow.behind()
    }

    fn seen(&mut self, seen: Seen) {
        self.flow.seen(seen);
    }
}

/// One of the two.
struct Side {
    _directory: tempfile::TempDir,
    setting: Setting,
    link: Registered,
    gate: Gate,
    flow: Flow,
    held: Vec<u8>,
    remembers: bool,
    again: usize,
}

impl Side {
    fn new(remembers: bool, direction: Direction, new_atoms: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut setting = Setting::new(direction, OPEN, &directory.path().join("events"));
        setting.limits.new_atoms = new_atoms;
        let link = match direction {
            Direction::Inbound => testing::link_between("b@here", "a@here"),
            Direction::Outbound => testing::link_between("a@here", "b@here"),
        };
        Self {
            _directory: directory,
            flow: setting.flow(link.link()),
            setting,
            link,
            gate: Gate::new(MAX_FRAME),
            held: Vec::new(),
            remembers,
            again: 0,
        }
    }

    /// What goes on of the next bytes; where the link ends, another one begins.
    fn pass(&mut self, bytes: &[u8]) -> Result<Vec<u8>, String> {
        self.held.extend_from_slice(bytes);
        let mut edits = Vec::new();
        let mut judge = Watched {
            flow: &mut self.flow,
            remembers: self.remembers,
            again: &mut self.again,
        };
        let decided = match self.gate.feed(&self.held, &mut judge, &mut edits) {
            Ok(decided) => decided,
            Err(error) => {
                self.gate = Gate::new(MAX_FRAME);
                self.flow = self.setting.flow(self.link.link());
                self.held.clear();
                return Err(error.to_string());
            }
        };
        let (mut out, mut at) = (Vec::new(), 0);
        for Edit { range, with } in edits {
            out.extend_from_slice(&self.held[at..range.start]);
            out.extend(with);
            at = range.end;
        }
        out.extend_from_slice(&self.held[at..decided]);
        self.held.drain(..decided);
        Ok(out)
    }

    /// All that can be seen from outside.
    fn state(&self) -> impl PartialEq + std::fmt::Debug + use<> {
        let counters = match self.setting.direction {
            Direction::Outbound => &self.link.traffic.sent,
            Direction::Inbound => &self.link.traffic.received,
        };
        let handles = &self.setting.handles;
        let handed: Vec<_> = (0..8)
            .map(|id| handles.has_pid(&pid("a@here", 90 + id)))
            .collect();
        let operations: BTreeMap<_, _> = counters
            .by_operation()
            .map(|(op, n)| (op.code(), n))
            .collect();
        (
            counters.decisions.all().collect::<Vec<_>>(),
            operations,
            handed,
            self.setting.answers.take(),
        )
    }
}

const SETS: &[&str] = &[
    OPEN,
    OPEN,
    ONE_FUNCTION,
    r#"@id("shop") permit(principal, action == Skans::Action::"send", resource == Skans::Process::"shop");
       @id("pids") permit(principal, action == Skans::Action::"send_pid", resource);"#,
    r#"@id("names") permit(principal, action == Skans::Action::"send", resource);"#,
    r#"@id("oneway") permit(principal in Skans::Node::"spiffe://test/cluster/c/ns/n/sa/w/node/a", action, resource);"#,
    r#"@id("open") permit(principal, action, resource);
       @id("no") forbid(principal, action == Skans::Action::"send", resource == Skans::Process::"shop");"#,
    r#"@id("open") permit(principal, action, resource);
       @id("no") forbid(principal, action == Skans::Action::"send_pid", resource);"#,
    r#"@id("open") permit(principal, action, resource);
       @id("no") forbid(principal, action in [Skans::Action::"send", Skans::Action::"send_pid"], resource)
       when { context.carriesFunction };"#,
];

/// Atoms, some of which share an entry of the cache.
const ATOMS: &[&str] = &[
    "shop",
    "hello",
    "terminate",
    "a@here",
    "b@here",
    "",
    "rex",
    "init",
    "net_kernel",
    "global_name_server",
    "delegate_3",
    "undefined",
    "$gen_call",
    "$gen_cast",
    "alias",
    "call",
    "stop",
    "stock",
    "level",
    "store",
    "system",
    "add_handler",
];

/// Few, so that atoms take each other's places.
const SLOTS: usize = 19;

/// A node that says the same to the same, mostly.
struct Node {
    state: u64,
    slots: Vec<Option<&'static str>>,
    header: Vec<&'static str>,
    sequence: u64,
}

impl Node {
    fn new(seed: u64) -> Self {
        Self {
            state: seed | 1,
            slots: vec![None; SLOTS],
            header: Vec::new(),
            sequence: 0,
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        usize::try_from(self.state >> 33).unwrap() % bound
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    fn slot(atom: &str) -> usize {
        ATOMS.iter().position(|one| *one == atom).unwrap() % SLOTS
    }

    fn atom(&mut self, text: &'static str) -> Vec<u8> {
        let at = self.header.iter().position(|one| *one == text);
        let taken = |node: &Self| {
            node.header
                .iter()
                .any(|one| Self::slot(one) == Self::slot(text))
        };
        // Two that share an entry do not meet in one header.
        if at.is_none() && (taken(self) || self.one_in(60)) {
            let length = u8::try_from(text.len()).unwrap();
            return [&[119, length], text.as_bytes()].concat();
        }
        let at = at.unwrap_or_else(|| {
            self.header.push(text);
            self.header.len() - 1
        });
        vec![82, u8::try_from(at).unwrap()]
    }

    fn pid(&mut self, node: &'static str, id: u8) -> Vec<u8> {
        let creation = u8::from(!self.one_in(40));
        [
            &[88][..],
            &self.atom(node),
            &[0, 0, 0, id, 0, 0, 0, 0, 0, 0, 0, creation],
        ]
        .concat()
    }

    fn reference(&mut self, node: &'static str) -> Vec<u8> {
        let words = if self.one_in(30) { self.below(8) } else { 3 };
        let numbers: Vec<u8> = (0..4 + 4 * words)
            .map(|_| u8::try_from(self.below(3)).unwrap())
            .collect();
        [
            &[90, 0, u8::try_from(words).unwrap()][..],
            &self.atom(node),
            &numbers,
        ]
        .concat()
    }

    fn any_atom(&mut self) -> Vec<u8> {
        let at = self.below(ATOMS.len());
        self.atom(ATOMS[at])
    }

    fn term(&mut self, depth: usize) -> Vec<u8> {
        match self.below(if depth == 0 { 9 } else { 16 }) {
            0..=2 => vec![109, 0, 0, 0, 3, 1, 2, 3],
            3 => vec![97, 7],
            4 => [&[70][..], &[0xff; 8]].concat(),
            5 | 6 => self.any_atom(),
            7 => self.pid("a@here", 93),
            8 => self.reference("a@here"),
            9 if self.one_in(4) => {
                [&[113][..], &self.atom("stop"), &self.atom("stop"), &[97, 1]].concat()
            }
            10 if self.one_in(4) => vec![82, 200],
            11 => [&[108, 0, 0, 0, 0][..], &self.term(depth - 1)].concat(),
            12 => [&[108, 0, 0, 0, 1][..], &self.term(depth - 1), &[106]].concat(),
            13 => [
                &[116, 0, 0, 0, 1][..],
                &self.term(depth - 1),
                &self.term(depth - 1),
            ]
            .concat(),
            _ => {
                let arity = 1 + self.below(4);
                let mut out = vec![104, u8::try_from(arity).unwrap()];
                for _ in 0..arity {
                    out.extend(self.term(depth - 1));
                }
                out
            }
        }
    }

    fn payload(&mut self) -> Vec<u8> {
        let id = 90 + u8::try_from(self.below(8)).unwrap();
        match self.below(14) {
            0 | 1 => vec![109, 0, 0, 0, 3, 1, 2, 3],
            2 => vec![104, 2, 97, 7, 106],
            3 => [&[104, 2][..], &self.atom("$gen_cast"), &self.term(2)].concat(),
            4 => {
                let from = [
                    &[104, 2][..],
                    &self.pid("a@here", 90),
                    &self.reference("a@here"),
                ]
                .concat();
                [&[104, 3][..], &self.atom("$gen_call"), &from, &self.term(2)].concat()
            }
            5 if self.one_in(4) => [&[104, 2][..], &self.atom("stop"), &self.term(1)].concat(),
            6 => self.term(3),
            // The same atoms, once in a shape and once in none.
            7 | 8 => {
                let (shape, end): (&[u8], &[u8]) = if self.one_in(2) {
                    (&[104, 3], &[])
                } else {
                    (&[104, 4], &[106])
                };
                [
                    shape,
                    &self.atom("system"),
                    &self.pid("a@here", id),
                    &self.atom("terminate"),
                    end,
                ]
                .concat()
            }
            9 | 10 => {
                let shape: &[u8] = if self.one_in(2) { &[104, 2] } else { &[104, 3] };
                let inner: &[u8] = if shape == [104, 2] { &[104, 2] } else { &[] };
                [
                    shape,
                    &self.pid("a@here", id),
                    inner,
                    &self.atom("level"),
                    &[97, 1],
                ]
                .concat()
            }
            11 => [&[104, 2][..], &self.pid("a@here", id), &[97, 1]].concat(),
            _ => [&[104, 2][..], &self.reference("a@here"), &[97, 1]].concat(),
        }
    }

    /// The frames of a message of a few that are said over and over.
    fn message(&mut self, few: usize) -> Vec<u8> {
        if self.one_in(40) {
            return vec![0; 4];
        }
        self.header.clear();
        let from = 90 + u8::try_from(self.below(few)).unwrap();
        let to = 80 + u8::try_from(self.below(few)).unwrap();
        let name = match self.below(8) {
            at @ 0..=5 if self.one_in(3) => [
                "rex",
                "init",
                "net_kernel",
                "global_name_server",
                "delegate_3",
                "undefined",
            ][at],
            6 => "store",
            _ => "shop",
        };
        let me = self.pid("a@here", from);
        let (op, rest) = match self.below(14) {
            0 => (2, [self.atom(""), self.pid("b@here", to)].concat()),
            1..=4 => (6, [me, self.atom(""), self.atom(name)].concat()),
            5..=8 => (22, [me, self.pid("b@here", to)].concat()),
            9 | 10 => (33, [me, self.reference("b@here")].concat()),
            11 => (20, [me, self.atom(name), self.reference("a@here")].concat()),
            12 => (
                20,
                [me, self.pid("b@here", to), self.reference("a@here")].concat(),
            ),
            _ => (19, [me, self.atom(name), self.reference("a@here")].concat()),
        };
        let arity = if op == 2 || op == 22 || op == 33 {
            3
        } else {
            4
        };
        let control = [&[104, arity, 97, op][..], &rest].concat();
        let payload = if op == 19 || op == 20 {
            Vec::new()
        } else {
            self.payload()
        };
        let header = self.written_header();
        if payload.len() < 2 || !self.one_in(12) {
            let extra: &[u8] = if self.one_in(80) { &[106] } else { &[] };
            return framed(&[&[131, 68], &header, &control, &payload, extra]);
        }
        self.sequence += 1;
        let numbers = |left: u8| {
            [
                &self.sequence.to_be_bytes()[..],
                &u64::from(left).to_be_bytes(),
            ]
            .concat()
        };
        let (first, second) = payload.split_at(payload.len() / 2);
        let mut out = framed(&[&[131, 69], &numbers(2), &header, &control, first]);
        out.extend(framed(&[&[131, 70], &numbers(1), second]));
        out
    }

    fn written_header(&mut self) -> Vec<u8> {
        let count = self.header.len();
        if count == 0 {
            return vec![0];
        }
        let mut flags = vec![0; count / 2 + 1];
        let mut refs = Vec::new();
        for at in 0..count {
            let atom = self.header[at];
            let slot = Self::slot(atom);
            // All of one group and of several.
            flags[at / 2] |= u8::try_from(slot % 3).unwrap() << (4 * (at % 2));
            refs.push(u8::try_from(slot).unwrap());
            if self.slots[slot] != Some(atom) {
                self.slots[slot] = Some(atom);
                flags[at / 2] |= 8 << (4 * (at % 2));
                refs.push(u8::try_from(atom.len()).unwrap());
                refs.extend(atom.bytes());
            }
        }
        [&[u8::try_from(count).unwrap()][..], &flags, &refs].concat()
    }
}

fn framed(parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], &body].concat()
}

/// Names of some of the processes that are sent to.
fn table(of: &[(u8, &str)]) -> Vec<u8> {
    let mut table = Vec::from(*b"N\0\0\0\x01");
    for (id, name) in of {
        table.extend([0, 0, 0, *id, 0, 0, 0, 0, 0]);
        table.push(u8::try_from(name.len()).unwrap());
        table.extend(name.as_bytes());
    }
    table
}

/// What both sides make of the same; how often one of them remembered.
fn compared(seed: u64, messages: usize) -> Result<usize, TestCaseError> {
    let mut node = Node::new(seed);
    let direction = if node.one_in(3) {
        Direction::Outbound
    } else {
        Direction::Inbound
    };
    let atoms = if node.one_in(8) { 12 } else { 100_000 };
    let mut sides = [true, false].map(|remembers| Side::new(remembers, direction, atoms));
    let few = 1 + node.below(2);
    let mut unsaid = Vec::new();
    for _ in 0..messages {
        let mut message = node.message(few);
        if node.one_in(50) && message.len() > 4 {
            let at = 4 + node.below(message.len() - 4);
            message[at] = message[at].wrapping_add(u8::try_from(1 + node.below(255)).unwrap());
        }
        unsaid.extend(message);
        if node.one_in(40) {
            let at = node.below(SETS.len());
            let mut set = source(SETS[at]);
            if node.one_in(4) {
                set.mode = skans_policy::Mode::DryRun { until: u64::MAX };
            }
            sides
                .iter()
                .for_each(|side| side.setting.policies.replace(&set));
        }
        if node.one_in(40) {
            let tables = [
                &[][..],
                &[(80, "shop")],
                &[(81, "rex")],
                &[(80, "init"), (82, "shop")],
            ];
            let table = table(tables[node.below(4)]);
            sides
                .iter()
                .for_each(|side| side.setting.names.replace(&table).unwrap());
        }
        if node.one_in(60) {
            let id = 80 + u32::try_from(node.below(4)).unwrap();
            sides
                .iter()
                .for_each(|side| side.setting.handles.pid(&pid("b@here", id)));
        }
        if node.one_in(3) {
            continue;
        }
        let size = if node.one_in(4) {
            node.below(unsaid.len() + 1)
        } else {
            unsaid.len()
        };
        let piece: Vec<u8> = unsaid.drain(..size).collect();
        let [one, other] = &mut sides;
        let (came, wanted) = (one.pass(&piece), other.pass(&piece));
        prop_assert_eq!(&came, &wanted);
        prop_assert!(
            one.state() == other.state(),
            "{:?} {:?}",
            one.state(),
            other.state()
        );
        if came.is_err() {
            unsaid.clear();
            node.slots = vec![None; SLOTS];
        }
    }
    prop_assert_eq!(sides[1].again, 0);
    Ok(sides[0].again)
}

/// Policies are compiled all the time, which is slow.
fn config() -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig {
        cases: config.cases / 16,
        ..config
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_is_remembered_decides_as_what_is_read(seed: u64) {
        compared(seed, 300)?;
    }
}

/// Else the test above would say nothing.
#[test]
fn much_is_remembered() {
    let again: usize = (1..20)
        .map(|seed| compared(seed * 0x9e37_79b9, 300).unwrap())
        .sum();
    assert!(again > 100, "{again}");
}

/// `{6, From, '', Name}` with a payload; the name stands in the third place of the cache, and is brought along or not.
fn to_name(brings: Option<&str>, payload: &[u8]) -> Vec<u8> {
    let mut header = vec![4];
    match brings {
        Some(name) => {
            header.extend([0x88, 0x88, 0]);
            for (slot, atom) in (0..).zip(["a@here", "", name, "level"]) {
                header.extend([slot, u8::try_from(atom.len()).unwrap()]);
                header.extend(atom.bytes());
            }
        }
        None => header.extend([0, 0, 0, 0, 1, 2, 3]),
    }
    let from = [&[88, 82, 0][..], &[0, 0, 0, 90, 0, 0, 0, 0, 0, 0, 0, 1]].concat();
    framed(&[
        &[131, 68],
        &header,
        &[104, 4, 97, 6],
        &from,
        &[82, 1, 82, 2],
        payload,
    ])
}

#[test]
fn the_same_bytes_are_another_message_once_an_atom_has_taken_anothers_place() {
    // What has to be handed out is never remembered: here nothing has to.
    let shop = r#"@id("open") permit(principal, action, resource);
        @id("no") forbid(principal, action == Skans::Action::"send", resource == Skans::Process::"store");"#;
    let mut bench = Bench::new(shop, |_| {});
    let number = [97, 7];
    assert!(bench.passes(&to_name(Some("shop"), &number)));
    for _ in 0..5 {
        assert!(bench.passes(&to_name(None, &number)));
    }
    assert!(!bench.passes(&to_name(Some("store"), &number)));
    assert!(!bench.passes(&to_name(None, &number)));
    assert!(bench.passes(&to_name(Some("shop"), &number)));
    assert!(bench.passes(&to_name(None, &number)));
}

/// `rex` ignores what is no request.
#[test]
fn to_a_process_of_otp_each_message_is_read() {
    let pid = [&[88, 82, 0][..], &[0, 0, 0, 90, 0, 0, 0, 0, 0, 0, 0, 1]].concat();
    let ignored = [&[104, 3][..], &pid, &[82, 3, 97, 1]].concat();
    let request = [&[104, 2][..], &pid, &[104, 2, 82, 3, 97, 1]].concat();
    let rex = r#"@id("open") permit(principal, action, resource);
        @id("rex") permit(principal, action == Skans::Action::"send", resource == Skans::Process::"rex");"#;
    let mut bench = Bench::new(rex, |_| {});
    assert!(bench.passes(&to_name(Some("shop"), &[97, 7])));
    bench.setting.names.replace(&table(&[(80, "rex")])).unwrap();
    // Its name is not among the atoms.
    let to_rex = |payload: &[u8]| {
        let to = [&[88, 82, 0][..], &[0, 0, 0, 80, 0, 0, 0, 0, 0, 0, 0, 1]].concat();
        framed(&[
            &[131, 68, 4, 0, 0, 0, 0, 1, 2, 3, 104, 3, 97, 22],
            &pid,
            &to,
            payload,
        ])
    };
    for _ in 0..5 {
        assert!(bench.passes(&to_rex(&ignored)));
    }
    assert!(!bench.passes(&to_rex(&request)));
}

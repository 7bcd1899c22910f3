//! What a gate and a renamer cost beside an observer, on one core: `cargo bench -p skans-dist`. Nothing is asserted, since machines
//! differ; what was measured stands in `docs/measurements/`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark that cannot go on has failed, and says what it has measured"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use skans_dist::control::{Control, Op, Signal, Target};
use skans_dist::frame;
use skans_dist::gate::{Gate, Judge, Shown, Verdict};
use skans_dist::operation::{self, Operation, Read};
use skans_dist::rename::{Names, Renamer};
use skans_dist::stream::{MAX_FRAME, Observer, Seen};
use skans_dist::term::{Atom, Pid, Reference, Writer};
use skans_dist::{Error, NodeName};

/// What a relay reads at once.
const CHUNK: usize = 128 * 1024;
const ROUNDS: usize = 11;
const ROUND: Duration = Duration::from_millis(100);

/// Looks at nothing.
struct Blind(usize);

impl Judge for Blind {
    type Error = Error;

    fn judge(&mut self, _: &Shown<'_>) -> Result<Verdict, Error> {
        Ok(Verdict::Forward)
    }

    fn seen(&mut self, seen: Seen) {
        self.0 += usize::from(matches!(seen, Seen::Message { .. }));
    }
}

/// Finds out what each message asks for, and lets it through.
struct Reading(usize);

impl Judge for Reading {
    type Error = Error;

    fn judge(&mut self, message: &Shown<'_>) -> Result<Verdict, Error> {
        let Read::Whole(found) = operation::read(message)? else {
            return Ok(Verdict::More);
        };
        self.0 += usize::from(!matches!(
            black_box(found).operation,
            Operation::Housekeeping
        ));
        Ok(Verdict::Forward)
    }
}

fn pid() -> Pid<'static> {
    Pid {
        node: Atom::new("node@host"),
        id: 100,
        serial: 0,
        creation: 7,
    }
}

/// A `gen_server:call` whose request is a binary, its atoms in the cache as a node has them.
fn call(size: usize, fragments: bool) -> Vec<u8> {
    // References 0 to 3: the node, the name, `$gen_call`, `alias`.
    let mut control = Writer::new();
    control.tuple(4).integer(6);
    cached_pid(&mut control);
    control.atom("").raw(&[82, 1]);
    let mut payload = Writer::new();
    payload.tuple(3).raw(&[82, 2]).tuple(2);
    cached_pid(&mut payload);
    payload
        .raw(&[108, 0, 0, 0, 1, 82, 3])
        .raw(&[90, 0, 3, 82, 0, 0, 0, 0, 7]);
    payload.raw(&[0; 12]).binary(&vec![7; size]);
    let (control, payload) = (control.finish().unwrap(), payload.finish().unwrap());
    // Four references, none of them new.
    let header = [4, 0, 0, 0, 0, 1, 2, 3];
    let framed = |parts: &[&[u8]]| {
        let body = parts.concat();
        [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], &body].concat()
    };
    if !fragments {
        return framed(&[&[131, 68], &header, &control, &payload]);
    }
    let parts: Vec<&[u8]> = payload.chunks(64 * 1024).collect();
    let mut out = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let left = u64::try_from(parts.len() - index).unwrap();
        let numbers = [1_u64.to_be_bytes(), left.to_be_bytes()].concat();
        out.extend(if index == 0 {
            framed(&[&[131, 69], &numbers, &header, &control, part])
        } else {
            framed(&[&[131, 70], &numbers, part])
        });
    }
    out
}

fn cached_pid(writer: &mut Writer) {
    writer.raw(&[88, 82, 0, 0, 0, 0, 100, 0, 0, 0, 0, 0, 0, 0, 7]);
}

/// What fills the cache.
fn introduction() -> Vec<u8> {
    let mut body = vec![131, 68, 4, 0x88, 0x88, 0];
    for (index, atom) in ["node@host", "server", "$gen_call", "alias"]
        .iter()
        .enumerate()
    {
        body.extend([
            u8::try_from(index).unwrap(),
            u8::try_from(atom.len()).unwrap(),
        ]);
        body.extend_from_slice(atom.as_bytes());
    }
    let demonitor = Control {
        op: Op::DemonitorP,
        token: None,
        signal: Signal::Demonitor {
            from: pid(),
            to: Target::Name(Atom::new("server")),
            reference: Reference::new(Atom::new("node@host"), 7, &[1, 2, 3]).unwrap(),
        },
    };
    let body = [body, demonitor.encode().unwrap()].concat();
    [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], &body].concat()
}

/// Nanoseconds for each message: the median of several rounds.
fn measure(message: &[u8], count: usize, mut feed: impl FnMut(&[u8])) -> f64 {
    let stream = message.repeat(count);
    feed(&introduction());
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let (started, mut passed) = (Instant::now(), 0_u32);
            while started.elapsed() < ROUND {
                stream.chunks(CHUNK).for_each(&mut feed);
                passed += u32::try_from(count).unwrap();
            }
            started.elapsed().as_secs_f64() * 1e9 / f64::from(passed)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

/// The caller's part: what is undecided is copied to the front of what comes next.
fn through<J: Judge<Error = Error>>(mut judge: J) -> impl FnMut(&[u8]) {
    let (mut gate, mut edits, mut held) = (Gate::new(MAX_FRAME), Vec::new(), Vec::new());
    move |chunk| {
        if held.is_empty() {
            let decided = gate.feed(chunk, &mut judge, &mut edits).unwrap();
            held.extend_from_slice(&chunk[decided..]);
        } else {
            held.extend_from_slice(chunk);
            let decided = gate.feed(&held, &mut judge, &mut edits).unwrap();
            held.drain(..decided);
        }
    }
}

/// The same for names, none of which comes again once the cache is filled.
fn renaming() -> impl FnMut(&[u8]) {
    let name = |text: &str| text.parse::<NodeName>().unwrap();
    let pairs = [
        (name("node@host"), name("north-node@host")),
        (name("south-node@host"), name("node@host")),
    ];
    let mut renamer = Renamer::new(Names::new(&pairs).unwrap(), MAX_FRAME);
    let (mut edits, mut held) = (Vec::new(), Vec::new());
    move |chunk| {
        if held.is_empty() {
            let decided = renamer.feed(chunk, &mut edits).unwrap();
            held.extend_from_slice(&chunk[decided..]);
        } else {
            held.extend_from_slice(chunk);
            let decided = renamer.feed(&held, &mut edits).unwrap();
            held.drain(..decided);
        }
    }
}

fn main() {
    assert!(frame::split(&introduction(), MAX_FRAME).unwrap().is_some());
    println!(
        "message                observer   gate, blind   gate, reading   renamer    (ns for each)"
    );
    for (name, size, fragments, count) in [
        ("call of 64 B", 64, false, 2000),
        ("call of 1 KiB", 1024, false, 500),
        ("call of 1 MiB, whole", 1 << 20, false, 8),
        ("call of 1 MiB, cut", 1 << 20, true, 8),
    ] {
        let message = call(size, fragments);
        let mut observer = Observer::new(MAX_FRAME);
        let mut seen = 0_usize;
        let observed = measure(&message, count, |chunk| {
            observer
                .feed(chunk, &mut |event| seen += usize::from(event == Seen::Tick))
                .unwrap();
        });
        let blind = measure(&message, count, through(Blind(0)));
        let reading = measure(&message, count, through(Reading(0)));
        let renamed = measure(&message, count, renaming());
        println!("{name:<22} {observed:>8.1}   {blind:>11.1}   {reading:>13.1}   {renamed:>7.1}");
    }
}

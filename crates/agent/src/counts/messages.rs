//! Messages as nodes write them: atoms in the cache, pids and references in their newest form.

use skans_dist::term::Writer;

/// What the cache holds, by number.
pub const ATOMS: [&str; 12] = [
    "a@here",
    "",
    "shop_stock",
    "b@here",
    "$gen_call",
    "alias",
    "level",
    "erpc",
    "execute_call",
    "reply",
    "monitor",
    "undefined",
];

const A: u8 = 0;
const EMPTY: u8 = 1;
const SHOP: u8 = 2;
const B: u8 = 3;
const GEN_CALL: u8 = 4;
const ALIAS: u8 = 5;
// A message that refers to the following ones as well is read: they are words of `rpc`.
const LEVEL: u8 = 6;
const ERPC: u8 = 7;
const EXECUTE: u8 = 8;

/// A message, and what it is.
pub struct Said {
    pub name: &'static str,
    /// With the length before each frame.
    pub bytes: Vec<u8>,
}

/// All that is counted.
pub fn all() -> Vec<Said> {
    let large = vec![7; 1 << 20];
    vec![
        said("send of 64 B to a name", &to_name(), &binary(&[7; 64])),
        said("send of 64 B to a pid", &to_pid(), &binary(&[7; 64])),
        said("monitor", &monitor(19), &[]),
        request(),
        said("reply", &to_alias(A), &replied(A)),
        said("demonitor", &monitor(20), &[]),
        said("spawn", &spawn(), &arguments()),
        said("send of 1 MiB", &to_name(), &binary(&large)),
        cut("send of 1 MiB in fragments", &to_name(), &binary(&large)),
        said("send of 100 terms", &to_name(), &many()),
    ]
}

/// `gen_server:call(shop_stock, {level, 7})`.
pub fn request() -> Said {
    let mut payload = Writer::new();
    payload.tuple(3).raw(&atom(GEN_CALL)).tuple(2).raw(&pid(A));
    payload.raw(&alias(A)).tuple(2).raw(&atom(LEVEL)).integer(7);
    said("request", &to_name(), &payload.finish().unwrap())
}

/// A reply to that, as if the sender had asked itself: both stand in one table.
pub fn reply_to_itself() -> Said {
    said("reply", &to_alias(A), &replied(A))
}

/// The names that the receiving node has told of: ten, none of them of the pids that are sent to.
pub fn names() -> Vec<u8> {
    let mut table = [b"N".as_slice(), &1_u32.to_be_bytes()].concat();
    for id in 1..=10_u32 {
        table.extend(id.to_be_bytes());
        table.extend(0_u32.to_be_bytes());
        table.extend([0, 6]);
        table.extend(format!("name{id:02}").bytes());
    }
    table
}

/// What fills the cache: a message with all atoms in its header.
pub fn introduction() -> Vec<u8> {
    let count = u8::try_from(ATOMS.len()).unwrap();
    let mut header = vec![count];
    header.extend(vec![0x88; ATOMS.len() / 2]);
    header.push(0);
    for (index, atom) in (0..).zip(ATOMS) {
        header.extend([index, u8::try_from(atom.len()).unwrap()]);
        header.extend(atom.bytes());
    }
    framed(&[&[131, 68], &header, &monitor(20)])
}

/// The header refers to all atoms up to the highest that is used, as if the node had met them in this order.
fn said(name: &'static str, control: &[u8], payload: &[u8]) -> Said {
    let header = header(&[control, payload.get(..payload.len().min(512)).unwrap()].concat());
    Said {
        name,
        bytes: framed(&[&[131, 68], &header, control, payload]),
    }
}

fn cut(name: &'static str, control: &[u8], payload: &[u8]) -> Said {
    let header = header(control);
    let parts: Vec<&[u8]> = payload.chunks(64 * 1024).collect();
    let mut bytes = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let left = u64::try_from(parts.len() - index).unwrap();
        let numbers = [1_u64.to_be_bytes(), left.to_be_bytes()].concat();
        bytes.extend(if index == 0 {
            framed(&[&[131, 69], &numbers, &header, control, part])
        } else {
            framed(&[&[131, 70], &numbers, part])
        });
    }
    Said { name, bytes }
}

fn header(terms: &[u8]) -> Vec<u8> {
    let used = terms
        .windows(2)
        .filter(|two| two[0] == 82)
        .map(|two| two[1]);
    let most = u8::try_from(ATOMS.len()).unwrap();
    let count = used.filter(|index| *index < most).max().unwrap() + 1;
    let mut header = vec![count];
    header.extend(vec![0; usize::from(count / 2) + 1]);
    header.extend(0..count);
    header
}

fn framed(parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], &body].concat()
}

fn atom(index: u8) -> [u8; 2] {
    [82, index]
}

fn pid(node: u8) -> Vec<u8> {
    [&[88, 82, node][..], &[0, 0, 0, 100, 0, 0, 0, 0, 0, 0, 0, 1]].concat()
}

fn reference(node: u8) -> Vec<u8> {
    [&[90, 0, 3, 82, node][..], &[0, 0, 0, 1], &[3; 12]].concat()
}

/// `[alias | Ref]`.
fn alias(node: u8) -> Vec<u8> {
    [&[108, 0, 0, 0, 1, 82, ALIAS][..], &reference(node)].concat()
}

fn to_name() -> Vec<u8> {
    [&[104, 4, 97, 6][..], &pid(A), &atom(EMPTY), &atom(SHOP)].concat()
}

fn to_pid() -> Vec<u8> {
    [&[104, 3, 97, 22][..], &pid(A), &pid(B)].concat()
}

fn to_alias(node: u8) -> Vec<u8> {
    [&[104, 3, 97, 33][..], &pid(A), &reference(node)].concat()
}

fn monitor(op: u8) -> Vec<u8> {
    [&[104, 4, 97, op][..], &pid(A), &atom(SHOP), &reference(A)].concat()
}

/// `erpc:call(Node, shop_stock, level, [7])`.
fn spawn() -> Vec<u8> {
    let mut control = Writer::new();
    control.tuple(6).integer(29).raw(&reference(A)).raw(&pid(A));
    control.raw(&pid(A)).tuple(3);
    control.raw(&atom(ERPC)).raw(&atom(EXECUTE)).integer(4);
    control.list(1).raw(&atom(LEVEL)).nil();
    control.finish().unwrap()
}

fn arguments() -> Vec<u8> {
    let mut payload = Writer::new();
    payload.list(4).raw(&reference(A));
    payload.raw(&atom(SHOP)).raw(&atom(LEVEL));
    payload.list(1).integer(7).nil().nil();
    payload.finish().unwrap()
}

/// `{[alias | Ref], Reply}`.
fn replied(node: u8) -> Vec<u8> {
    let mut payload = Writer::new();
    payload.tuple(2).raw(&alias(node)).integer(7);
    payload.finish().unwrap()
}

fn binary(bytes: &[u8]) -> Vec<u8> {
    let mut payload = Writer::new();
    payload.binary(bytes);
    payload.finish().unwrap()
}

/// A list of 25 tuples of an atom and two integers.
fn many() -> Vec<u8> {
    let mut payload = Writer::new();
    payload.list(25);
    for n in 0..25 {
        payload
            .tuple(3)
            .raw(&atom(LEVEL))
            .integer(n)
            .integer(n * 1000);
    }
    payload.nil();
    payload.finish().unwrap()
}

//! Reads a capture: which packets passed, and what each TCP connection said in each direction.
//!
//! Sources: libpcap's savefile format (pcap-savefile(5)), RFC 791, 8200, 9293 and 8446 section 5.1.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// One direction of a TCP connection.
pub type Flow = (SocketAddr, SocketAddr);

/// What a capture holds.
#[derive(Debug, Default)]
pub struct Cable {
    /// What was said, by direction.
    pub flows: BTreeMap<Flow, Vec<u8>>,
    /// What else passed, in words: neither TCP nor what hosts need to find each other.
    pub others: Vec<String>,
}

/// Segments of one direction: sequence number of the first byte, and bytes.
#[derive(Debug, Default)]
struct Segments {
    start: Option<u32>,
    parts: Vec<(u32, Vec<u8>)>,
}

/// Reads a pcap file of Ethernet frames.
pub fn read(file: &[u8]) -> Cable {
    assert_eq!(
        file[..4],
        0xa1b2_c3d4_u32.to_le_bytes(),
        "not a pcap file of this machine"
    );
    assert_eq!(word(file, 20), 1, "not Ethernet");
    let mut cable = Cable::default();
    let mut flows: BTreeMap<Flow, Segments> = BTreeMap::new();
    let mut rest = &file[24..];
    while !rest.is_empty() {
        let (captured, length) = (word(rest, 8), word(rest, 12));
        assert_eq!(captured, length, "a packet was cut");
        let end = 16 + usize::try_from(captured).unwrap();
        packet(&rest[16..end], &mut flows, &mut cable.others);
        rest = &rest[end..];
    }
    cable.flows = flows
        .into_iter()
        .map(|(flow, segments)| (flow, segments.stream(flow)))
        .collect();
    cable
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn short(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(bytes[at..at + 2].try_into().unwrap())
}

fn packet(frame: &[u8], flows: &mut BTreeMap<Flow, Segments>, others: &mut Vec<String>) {
    const ARP: u16 = 0x0806;
    const IP4: u16 = 0x0800;
    const IP6: u16 = 0x86dd;
    let body = &frame[14..];
    let (protocol, from, to, payload) = match short(frame, 12) {
        ARP => return,
        IP4 => {
            let header = usize::from(body[0] & 15) * 4;
            assert_eq!(
                short(body, 6) & 0x3fff,
                0,
                "a fragment, which this reader does not put together"
            );
            let address = |at| IpAddr::from(<[u8; 4]>::try_from(&body[at..at + 4]).unwrap());
            let total = usize::from(short(body, 2));
            (body[9], address(12), address(16), &body[header..total])
        }
        IP6 => {
            let address = |at| IpAddr::from(<[u8; 16]>::try_from(&body[at..at + 16]).unwrap());
            let (mut next, mut payload) = (body[6], &body[40..40 + usize::from(short(body, 4))]);
            // Hop-by-hop options, which multicast listener reports carry.
            if next == 0 {
                (next, payload) = (payload[0], &payload[usize::from(payload[1]) * 8 + 8..]);
            }
            (next, address(8), address(24), payload)
        }
        other => return others.push(format!("a frame of Ethernet type {other:#06x}")),
    };
    match protocol {
        6 => {
            let flow = (
                SocketAddr::new(from, short(payload, 0)),
                SocketAddr::new(to, short(payload, 2)),
            );
            flows.entry(flow).or_default().add(payload);
        }
        // Neighbour discovery.
        58 if from.is_ipv6() => {}
        other => others.push(format!(
            "a packet of IP protocol {other} from {from} to {to}"
        )),
    }
}

impl Segments {
    fn add(&mut self, segment: &[u8]) {
        const SYN: u8 = 2;
        let number = u32::from_be_bytes(segment[4..8].try_into().unwrap());
        let data = &segment[usize::from(segment[12] >> 4) * 4..];
        if segment[13] & SYN != 0 {
            self.start = Some(number.wrapping_add(1));
            assert!(data.is_empty(), "data in a SYN");
        } else if !data.is_empty() {
            self.parts.push((number, data.to_vec()));
        }
    }

    /// Puts the bytes in order. What was sent twice must have been the same both times.
    fn stream(self, flow: Flow) -> Vec<u8> {
        if self.parts.is_empty() {
            return Vec::new();
        }
        let start = self
            .start
            .unwrap_or_else(|| panic!("{flow:?}: its beginning was not captured"));
        let mut parts: Vec<_> = self
            .parts
            .into_iter()
            .map(|(number, data)| (usize::try_from(number.wrapping_sub(start)).unwrap(), data))
            // Keep-alives ask with a byte before what was acknowledged; here none is that old.
            .collect();
        parts.sort_by_key(|(offset, _)| *offset);
        let mut stream: Vec<u8> = Vec::new();
        for (offset, data) in parts {
            assert!(
                offset <= stream.len(),
                "{flow:?}: bytes {}..{offset} were not captured",
                stream.len()
            );
            let known = stream.len().min(offset + data.len()) - offset;
            assert_eq!(
                stream[offset..offset + known],
                data[..known],
                "{flow:?}: sent twice, and not the same"
            );
            stream.extend_from_slice(&data[known..]);
        }
        stream
    }
}

/// What is wrong with a stream that should hold records of TLS 1.3 and nothing else; `None` if
/// nothing is.
///
/// After the two hellos, which are handshake records (22), and the change_cipher_spec (20) that is
/// there for old middleboxes, everything must be application data (23): so it looks when encrypted.
/// An alert (21) in clear may be the last word of one who refuses.
pub fn not_tls(stream: &[u8]) -> Option<String> {
    let mut rest = stream;
    let mut kinds = Vec::new();
    while let [kind, major, minor, high, low, body @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let at = stream.len() - rest.len();
        if !matches!((major, minor), (3, 1 | 3)) || length == 0 || length > (1 << 14) + 256 {
            return Some(format!(
                "at byte {at}: {:02x?} is no header of a TLS record",
                &rest[..5]
            ));
        }
        // An alert in clear is the last word.
        let fits = !kinds.contains(&21)
            && match kind {
                22 => kinds.iter().all(|kind| matches!(kind, 20 | 22)) && kinds.len() < 4,
                20 => kinds.contains(&22) && !kinds.contains(&23) && length == 1,
                23 => kinds.contains(&22),
                21 => length == 2,
                _ => false,
            };
        if !fits {
            return Some(format!(
                "at byte {at}: a record of type {kind} after those of types {kinds:?}"
            ));
        }
        if kinds.last() != Some(kind) || *kind == 22 {
            kinds.push(*kind);
        }
        let Some(next) = body.get(length..) else {
            return Some(format!(
                "at byte {at}: a record of {length} bytes, of which {} are there",
                body.len()
            ));
        };
        rest = next;
    }
    (!rest.is_empty()).then(|| format!("{} bytes after the last record", rest.len()))
}

/// What a stream says in clear: every record that is not application data, and what is no record.
pub fn in_clear(stream: &[u8]) -> Vec<u8> {
    let (mut clear, mut rest) = (Vec::new(), stream);
    while let [kind, 3, _, high, low, body @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(body.len());
        if *kind != 23 {
            clear.extend_from_slice(&body[..length]);
        }
        rest = &body[length..];
    }
    clear.extend_from_slice(rest);
    clear
}

/// Whether `needle` stands anywhere in `bytes`.
pub fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|part| part == needle)
}

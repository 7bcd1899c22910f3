//! A window against a plain list of bytes, under any order of reads, decisions, sends, acknowledgements and losses.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    /// So many bytes, into room for as many as that.
    Read(usize, usize),
    Decide(usize),
    Replace(usize, Vec<u8>),
    Send(usize),
    Acknowledge(usize),
    Lose(usize),
    Shrink,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0usize..9000, prop_oneof![Just(0), 0..12_000_usize]).prop_map(|(most, least)| Step::Read(most, least)),
        4 => (0usize..9000).prop_map(Step::Decide),
        1 => (0usize..50, proptest::collection::vec(any::<u8>(), 0..300)).prop_map(|(count, with)| Step::Replace(count, with)),
        4 => (1usize..20_000).prop_map(Step::Send),
        3 => (0usize..30_000).prop_map(Step::Acknowledge),
        1 => (0usize..30_000).prop_map(Step::Lose),
        1 => Just(Step::Shrink),
    ];
    proptest::collection::vec(step, 0..120)
}

/// The same, as simple as can be.
#[derive(Default)]
struct Model {
    /// All that was ever decided, and so the stream.
    stream: Vec<u8>,
    held: Vec<u8>,
    sent: usize,
    acknowledged: usize,
    /// What the peer has read, in order.
    peer: Vec<u8>,
    next: u8,
}

const LIMIT: usize = 40_000;

proptest! {
    #[test]
    fn each_byte_goes_out_in_order_whatever_is_lost(steps in steps()) {
        let mut window = Window::new(LIMIT);
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Read(most, least) => {
                    let room = window.room_of(least);
                    let count = most.min(room.len());
                    for byte in &mut room[..count] {
                        model.next = model.next.wrapping_mul(5).wrapping_add(13);
                        *byte = model.next;
                        model.held.push(model.next);
                    }
                    window.read(count);
                }
                Step::Decide(most) => {
                    let count = most.min(model.held.len());
                    window.decide(count);
                    model.stream.extend(model.held.drain(..count));
                }
                Step::Replace(most, with) => {
                    let count = most.min(model.held.len());
                    window.replace(count, &with);
                    model.held.drain(..count);
                    model.stream.extend(&with);
                }
                Step::Send(most) => {
                    let (offset, bytes) = window.send(most);
                    prop_assert_eq!(offset, model.sent as u64);
                    let there = &model.stream[model.sent..model.stream.len().min(model.sent + most)];
                    // It may come in two pieces.
                    prop_assert!(there.starts_with(bytes) && bytes.is_empty() == there.is_empty());
                    let count = bytes.len();
                    model.sent += count;
                    let news = model.sent.saturating_sub(model.peer.len()).min(count);
                    let news = bytes[count - news..].to_vec();
                    model.peer.extend(news);
                }
                Step::Acknowledge(count) => {
                    model.acknowledged = (model.acknowledged + count).min(model.sent);
                    window.release(model.acknowledged as u64);
                }
                Step::Lose(count) => {
                    let offset = (model.acknowledged + count).min(model.sent);
                    prop_assert!(window.rewind(offset as u64));
                    (model.acknowledged, model.sent) = (offset, offset);
                    model.peer.truncate(offset);
                }
                Step::Shrink => window.shrink(),
            }
            prop_assert_eq!(window.held(), &model.held);
            prop_assert_eq!(window.kept(), model.sent - model.acknowledged);
            prop_assert_eq!(&model.peer, &model.stream[..model.peer.len()]);
        }
    }
}

#[test]
fn reading_goes_on_at_the_front_and_copies_only_what_is_held_back() {
    let mut window = Window::new(LIMIT);
    let total = fill(&mut window);
    window.release(total as u64 / 2);
    let memory = window.bytes.as_ptr();
    let room = window.room();
    assert!(room.len() >= total / 2 - WINDOW_LEAST, "{}", room.len());
    room[..100].fill(9);
    window.read(100);
    window.decide(60);
    // What was kept goes out first if it has to be sent again, then what lies in front of it.
    let kept = total - total / 2;
    assert!(window.rewind(total as u64 / 2));
    assert_eq!(window.send(usize::MAX).1.len(), kept);
    assert_eq!(window.send(usize::MAX), (total as u64, &[9; 60][..]));
    assert_eq!(window.held(), &[9; 40]);
    assert_eq!(window.bytes.as_ptr(), memory, "nothing was laid out anew");
    let thawed = Window::thaw(&window.freeze(), LIMIT).unwrap();
    assert_eq!(thawed.parts().concat(), window.parts().concat());
    assert_eq!(
        (thawed.kept(), thawed.held()),
        (window.kept(), window.held())
    );
}

/// Fills it as far as it goes; how many bytes that took.
fn fill(window: &mut Window) -> usize {
    let mut total = 0;
    loop {
        let room = window.room().len();
        if room == 0 {
            return total;
        }
        window.read(room);
        window.decide(room);
        window.send(room);
        total += room;
    }
}

#[test]
fn what_is_not_acknowledged_keeps_the_node_from_saying_more() {
    let mut window = Window::new(LIMIT);
    let total = fill(&mut window);
    assert!(total <= LIMIT && total > LIMIT - WINDOW_LEAST, "{total}");
    window.release(10_000);
    assert!(!window.room().is_empty());
    assert!(window.size() <= LIMIT, "{}", window.size());
}

#[test]
fn an_offset_that_cannot_be_changes_nothing() {
    let mut window = Window::new(LIMIT);
    window.room()[..100].fill(7);
    window.read(100);
    window.decide(60);
    window.send(50);
    window.release(20);
    assert!(!window.rewind(19), "released already");
    assert!(!window.rewind(51), "never sent");
    assert_eq!(window.kept(), 30);
    window.release(70);
    assert_eq!(
        window.send(99),
        (50, &[7; 10][..]),
        "never sent, so never released"
    );
}

#[test]
fn a_quiet_link_keeps_little() {
    let mut window = Window::new(LIMIT);
    let total = fill(&mut window);
    window.shrink();
    assert!(window.size() > WINDOW_LEAST, "not while something is kept");
    window.release(total as u64);
    window.shrink();
    assert_eq!(window.size(), 0);
}

use super::*;
use crate::atom_cache::SLOTS;

/// The frame of `{22, From, To}` with a binary, of two atoms in these entries of the cache.
fn frame(from: u16, entries: [u8; 2]) -> Vec<u8> {
    let [high, low] = from.to_be_bytes();
    let mut frame = vec![131, 68, 2, 0, 0];
    frame.extend(entries);
    frame.extend([104, 3, 97, 22]);
    for id in [[high, low], [0, 9]] {
        frame.extend([88, 82, 1, 0, 0]);
        frame.extend(id);
        frame.extend([0, 0, 0, 0, 0, 0, 0, 1]);
    }
    frame.extend([109, 0, 0, 0, 1, 7]);
    frame
}

fn begins(frame: &[u8]) -> Begins<'_> {
    Begins::of(frame).unwrap()
}

#[test]
fn what_is_kept_is_found_by_all_of_its_bytes_and_by_nothing_else() {
    let mut memo = Memo::default();
    let kept = frame(1, [3, 4]);
    memo.put(&begins(&kept), Op::SendSender, Mark(7, 1));
    assert_eq!(
        memo.find(&begins(&kept)),
        Some((Op::SendSender, Mark(7, 1)))
    );
    // The payload is another's business.
    let mut other = kept.clone();
    *other.last_mut().unwrap() += 1;
    assert_eq!(
        memo.find(&begins(&other)),
        Some((Op::SendSender, Mark(7, 1)))
    );
    for at in 2..kept.len() - 6 {
        let mut other = kept.clone();
        other[at] = other[at].wrapping_add(1);
        let found = Begins::of(&other).and_then(|begins| memo.find(&begins));
        assert_eq!(found, None, "{at}");
    }
}

#[test]
fn the_table_is_bounded_and_what_is_new_finds_a_place() {
    let mut memo = Memo::default();
    for from in 0..10_000 {
        let frame = frame(from, [3, 4]);
        memo.put(&begins(&frame), Op::SendSender, Mark(from.into(), 0));
        assert_eq!(
            memo.find(&begins(&frame)),
            Some((Op::SendSender, Mark(from.into(), 0)))
        );
    }
    assert_eq!(memo.sets.len(), MOST_SETS);
    assert_eq!(size_of_val(memo.sets.as_slice()), 12 * 1024);
    // A few dozen that speak at the same time do not push each other out.
    let mut memo = Memo::default();
    for from in 0..48 {
        memo.put(&begins(&frame(from, [3, 4])), Op::SendSender, Mark(1, 0));
    }
    let found = (0..48).filter(|from| memo.find(&begins(&frame(*from, [3, 4]))).is_some());
    assert_eq!(found.count(), 48);
    // The same again takes no second place.
    let before = memo.sets.len();
    for _ in 0..1000 {
        memo.put(&begins(&frame(1, [3, 4])), Op::SendSender, Mark(2, 0));
    }
    assert_eq!(memo.sets.len(), before);
    assert_eq!(
        memo.find(&begins(&frame(1, [3, 4]))),
        Some((Op::SendSender, Mark(2, 0)))
    );
}

#[test]
fn an_atom_that_takes_anothers_place_is_the_end_of_what_refers_to_it() {
    let mut memo = Memo::default();
    let (one, other) = (frame(1, [3, 4]), frame(1, [3, 5]));
    for kept in [&one, &other] {
        memo.put(&begins(kept), Op::SendSender, Mark(1, 0));
    }
    memo.forget(group(6));
    assert!(memo.find(&begins(&one)).is_some());
    // Entries of 2,048 that share their group.
    memo.forget(group(4 + 64 * 7));
    assert!(memo.find(&begins(&one)).is_none() && memo.find(&begins(&other)).is_some());
    let all = (0..u16::try_from(SLOTS).unwrap()).fold(0, |all, slot| all | group(slot));
    memo.forget(all);
    assert!(memo.find(&begins(&other)).is_none());
}

#[test]
fn what_is_said_once_is_not_kept() {
    let mut memo = Memo::default();
    let frame = frame(1, [3, 4]);
    assert!(!memo.is_due(&begins(&frame)));
    assert!(memo.is_due(&begins(&frame)));
    // What stands for no others is tried again now and then.
    memo.put_off(&begins(&frame));
    let tried = (0..1000).filter(|_| memo.is_due(&begins(&frame))).count();
    assert_eq!(tried, 1000 / usize::try_from(AGAIN).unwrap());
    assert!(memo.is_empty());
}

use super::*;
use crate::unit::unit;

fn nothing() -> Box<dyn Unit> {
    unit::<(), Error, _>(|_| Ok(())).0
}

#[test]
fn urgent_units_go_first() {
    let queue = Queue::default();
    queue.push(nothing(), false).unwrap();
    queue.push(nothing(), true).unwrap();
    queue.push(nothing(), false).unwrap();
    let taken = queue.take(2, 1).unwrap();
    let urgent: Vec<bool> = taken.iter().map(|waiting| waiting.urgent).collect();
    assert_eq!(urgent, [true, false]);
    assert_eq!(queue.take(2, 1).unwrap().len(), 1);
}

#[test]
fn a_full_queue_says_busy_and_still_takes_what_is_urgent() {
    let queue = Queue::default();
    for _ in 0..MAX_WAITING {
        queue.push(nothing(), false).unwrap();
    }
    let refused = queue.push(nothing(), false).unwrap_err();
    assert!(matches!(refused, Error::Busy { limit } if limit == MAX_WAITING));
    queue.push(nothing(), true).unwrap();
}

#[test]
fn what_waits_when_it_is_closed_is_still_done() {
    let queue = Queue::default();
    queue.push(nothing(), false).unwrap();
    queue.close();
    assert!(matches!(queue.push(nothing(), false), Err(Error::Closed)));
    assert_eq!(queue.take(10, 1).unwrap().len(), 1);
    assert!(queue.take(10, 1).is_none());
}

#[test]
fn threads_share_what_waits() {
    let queue = Queue::default();
    for _ in 0..10 {
        queue.push(nothing(), false).unwrap();
    }
    assert_eq!(queue.take(64, 4).unwrap().len(), 3);
    assert_eq!(queue.take(1, 4).unwrap().len(), 1);
    assert_eq!(queue.take(64, 4).unwrap().len(), 2);
}

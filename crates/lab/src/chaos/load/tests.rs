//! What is read from nodes, and what counts as unnoticed.

use super::*;

#[test]
fn the_table_of_a_node_is_read() {
    let read = table("\"made=12;{failed,nodedown}=3;{pause,1}=40;\"");
    assert_eq!(read.get("made"), Some(&12));
    assert_eq!(read.get("{failed,nodedown}"), Some(&3));
    assert_eq!(read.len(), 3);
    assert!(table("[]").is_empty());
    assert_eq!(three("[1,2, 3]").unwrap(), [1, 2, 3]);
    assert!(three("none").is_err());
}

#[test]
fn whatever_a_node_could_notice_counts() {
    let quiet = Numbers {
        calls: Calls {
            made: 2,
            answered: 2,
            longest_pause_ms: 15_000,
            ..Calls::default()
        },
        casts: Casts {
            sent: 3,
            received: 3,
            ..Casts::default()
        },
        resumed: 2,
        ..Numbers::default()
    };
    assert!(quiet.unnoticed());
    let changes: [fn(&mut Numbers); 9] = [
        |all| all.calls.failed = 1,
        |all| all.calls.wrong = 1,
        |all| all.calls.answered = 1,
        |all| all.nodedowns = [0, 1],
        |all| all.casts.lost = 1,
        |all| all.casts.received = 2,
        |all| all.casts.doubled = 1,
        |all| all.echoes.out_of_order = 1,
        |all| all.echoes.sent = 1,
    ];
    for change in changes {
        let mut noticed = quiet.clone();
        change(&mut noticed);
        assert!(!noticed.unnoticed(), "{noticed:?}");
    }
}

//! What people get to see.

use super::*;

#[test]
fn columns_stand_below_each_other() {
    let rows = [
        ["n1@n1.lab".to_owned(), "1".to_owned()],
        ["é@x".to_owned(), "22".to_owned()],
    ];
    assert_eq!(
        render(["NODE", "LINKS"], &rows),
        "NODE       LINKS\nn1@n1.lab  1\né@x        22\n"
    );
    assert_eq!(render(["NODE"], &[]), "NODE\n");
}

#[test]
fn nothing_steers_the_terminal() {
    let text = render(["NODE"], &[["\u{1b}[2Jx\ny".to_owned()]]);
    assert!(!text.contains('\u{1b}'));
    assert_eq!(text.lines().count(), 2);
}

#[test]
fn sizes() {
    for (count, text) in [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1.00 kB"),
        (1_239, "1.23 kB"),
        (45_678, "45.6 kB"),
        (999_999, "999 kB"),
        (1_500_000_000, "1.50 GB"),
        (u64::MAX, "18446744 TB"),
    ] {
        assert_eq!(bytes(count), text);
    }
}

#[test]
fn times() {
    assert_eq!(span(Duration::from_secs(59)), "59s");
    assert_eq!(span(Duration::from_secs(3599)), "59m 59s");
    assert_eq!(span(Duration::from_secs(86_399)), "23h 59m");
    assert_eq!(span(Duration::from_secs(90_000)), "1d 1h");
    assert_eq!(relative(100, 90), "in 10s");
    assert_eq!(relative(90, 100), "10s ago");
    assert_eq!(moment(0), "1970-01-01T00:00:00Z");
    assert_eq!(moment(u64::MAX), u64::MAX.to_string());
}

#[test]
fn facts_are_aligned() {
    assert_eq!(
        facts(&[("a", "1".to_owned()), ("long", "2".to_owned())]),
        "a:    1\nlong: 2\n"
    );
}

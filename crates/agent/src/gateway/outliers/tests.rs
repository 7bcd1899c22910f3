use super::*;

fn two() -> Vec<String> {
    vec!["a:1".to_owned(), "b:1".to_owned()]
}

fn order(outliers: &Outliers, all: &[String], now: Instant) -> String {
    let order = outliers.last(all, now).into_iter();
    order.map(|one| &one[..1]).collect()
}

#[test]
fn who_fails_three_times_where_another_gets_through_is_asked_last_for_a_while() {
    let (outliers, all, now) = (Outliers::default(), two(), Instant::now());
    for _ in 0..2 {
        outliers.got_through("b:1", &[&all[0]], now);
    }
    assert_eq!(order(&outliers, &all, now), "ab");
    outliers.got_through("b:1", &[&all[0]], now);
    assert_eq!(order(&outliers, &all, now), "ba");
    assert_eq!(order(&outliers, &all, now + LEAST), "ab");
    // And again: for longer, up to a bound.
    for (time, wanted) in [(1, 2), (2, 4), (3, 8), (4, 10), (9, 10)] {
        let at = now + LEAST * 100 * time;
        for _ in 0..3 {
            outliers.got_through("b:1", &[&all[0]], at);
        }
        let almost = at + LEAST * wanted - Duration::from_millis(1);
        assert_eq!(order(&outliers, &all, almost), "ba", "{time}");
        assert_eq!(order(&outliers, &all, at + LEAST * wanted), "ab", "{time}");
    }
    assert_eq!(outliers.count(), 6);
}

#[test]
fn who_gets_through_is_as_good_as_new() {
    let (outliers, all, now) = (Outliers::default(), two(), Instant::now());
    for _ in 0..3 {
        outliers.got_through("b:1", &[&all[0]], now);
    }
    outliers.got_through("a:1", &[], now);
    assert_eq!(order(&outliers, &all, now), "ab");
    // Three in a row, not three in all.
    for _ in 0..5 {
        outliers.got_through("b:1", &[&all[0]], now);
        outliers.got_through("a:1", &[], now);
    }
    assert_eq!(order(&outliers, &all, now), "ab");
}

#[test]
fn nobody_is_left_out_and_nothing_grows_without_end() {
    let (outliers, all, now) = (Outliers::default(), two(), Instant::now());
    for one in &all {
        for _ in 0..3 {
            outliers.got_through("c:1", &[one], now);
        }
    }
    assert_eq!(order(&outliers, &all, now), "ab");
    for number in 0..3 * REMEMBERED {
        let one = format!("{number}:1");
        outliers.got_through("c:1", &[&one], now);
        assert!(outliers.known().len() <= REMEMBERED);
    }
}

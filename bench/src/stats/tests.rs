use super::{median, spread};

#[test]
fn the_median_does_not_depend_on_order() {
    assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
    assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
    assert_eq!(median(&[7.0]), Some(7.0));
    assert_eq!(median(&[]), None);
}

#[test]
fn a_spread_shows_how_far_the_rounds_lie_apart() {
    assert_eq!(spread(&[1.0, 3.0, 2.0], 1), "2.0 [1.0..3.0]");
    assert_eq!(spread(&[1.25], 1), "1.2");
    assert_eq!(spread(&[], 1), "-");
}

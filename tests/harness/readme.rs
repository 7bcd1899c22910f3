//! The lines by which `README.md` points software at its agent: tests run what the page says, so that
//! the page cannot say what does not work.

const PAGE: &str = include_str!("../../README.md");

/// What stands `in code` beside `what` in the table "what runs | how".
///
/// # Panics
/// If there is no such row, or more than one.
#[must_use]
#[expect(clippy::panic, reason = "tests fail by panicking")]
pub fn how(what: &str) -> Vec<String> {
    let mut rows = PAGE.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| ")?.splitn(2, " | ");
        (cells.next()? == what).then_some(cells.next()?)
    });
    match (rows.next(), rows.next()) {
        (Some(cell), None) => cell
            .split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect(),
        _ => panic!("found no row, or several, for {what:?} in README.md, wanted one"),
    }
}

//! What strangers said stays text.

use std::time::Duration;

use super::super::report::{Moment, Step, Versions};
use super::super::stage::Ended;
use super::*;
use crate::chaos::ALL;

const HOSTILE: &str =
    "<script>alert('x')</script><img src=\"http://x/\" onerror=y>&\u{202e}\u{1b}[2J";

fn report() -> Report {
    let mut report = Report::begin(Versions {
        skans: HOSTILE.to_owned(),
        newer: HOSTILE.to_owned(),
        otp: HOSTILE.to_owned(),
    });
    let tried = super::super::rows::Tried {
        when: HOSTILE.to_owned(),
        row: "a row",
        outcome: Outcome::Passed,
        said: HOSTILE.to_owned(),
    };
    let mut ended = Ended {
        why: Some(HOSTILE.to_owned()),
        steps: vec![Step {
            at: Moment::now(),
            elapsed_ms: 1,
            what: HOSTILE.to_owned(),
        }],
        checks: vec![Check {
            what: HOSTILE.to_owned(),
            held: true,
            found: HOSTILE.to_owned(),
        }],
        tried: vec![tried],
        ..Ended::default()
    };
    ended.numbers.calls.failures.insert(HOSTILE.to_owned(), 1);
    report.add(Experimented::of(
        &ALL[0],
        Moment::now(),
        Duration::ZERO,
        ended,
    ));
    report.add(Experimented::skipped(&ALL[1], HOSTILE.to_owned()));
    report.end()
}

#[test]
fn what_was_said_stays_text_wherever_it_stands() {
    let page = render(&report());
    for sign in ["<script", "<img", "'x'", "\u{202e}", "\u{1b}"] {
        assert!(!page.contains(sign), "{sign:?}");
    }
    // Three versions, why twice, a step, both halves of a check, when and what of an attempt, a failure.
    assert_eq!(page.matches("&lt;script&gt;").count(), 11);
}

#[test]
fn it_needs_nothing_from_elsewhere() {
    let page = render(&report());
    let (style, rest) = page.split_once("</style>").unwrap();
    assert!(!style.contains("url(") && !style.contains("@import"));
    for loads in ["<script", "<link", "<iframe", "<img", "<object", "<form"] {
        assert!(!rest.contains(loads), "{loads}");
    }
    let mut leads = rest.split("href=\"").skip(1);
    assert!(leads.all(|to| to.starts_with('#')), "{rest}");
    assert!(page.contains("default-src 'none'") && page.contains("prefers-color-scheme:dark"));
}

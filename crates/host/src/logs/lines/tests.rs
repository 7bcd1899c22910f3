use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use serde_json::Value;
use tracing_subscriber::layer::SubscriberExt as _;

use super::super::{LogFormat, layer};
use super::*;

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What stands in the log after an agent has said something of a peer.
fn logged(format: LogFormat, say: impl FnOnce()) -> String {
    let kept = Kept::default();
    let to = kept.clone();
    let subscriber = tracing_subscriber::registry().with(layer(format, move || to.clone()));
    tracing::subscriber::with_default(subscriber, say);
    let bytes = kept.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

fn refused(format: LogFormat, name: &str) -> String {
    logged(
        format,
        || tracing::warn!(from = %name, to = name, seen = ?name, reason = "policy", "refused: {name}"),
    )
}

/// Texts that would be more than text: lines, colours, directions, fields, objects, and very long ones.
fn hostile() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        Just("\n".to_owned()),
        Just("\r\n2026-11-21T00:00:00.000000Z  INFO link up".to_owned()),
        Just("\x1b[2J\x1b[31m".to_owned()),
        Just("\u{202e}txt.exe\u{2066}\u{200f}".to_owned()),
        Just("\u{85}\u{2028}\u{9b}31m\u{7f}\0".to_owned()),
        Just(" reason=\"none\" ".to_owned()),
        Just("\",\"level\":\"INFO\",\"x\":\"".to_owned()),
        Just("\\\" \\".to_owned()),
        Just("\"a\" b=\"c\"".to_owned()),
        Just(String::from_utf8_lossy(b"\xff\xfe\xc3").into_owned()),
        Just("x".repeat(10_000)),
        Just("\u{1f980}".repeat(3_000)),
        "\\PC{0,20}",
        any::<String>(),
    ];
    proptest::collection::vec(pieces, 0..4).prop_map(|pieces| pieces.concat())
}

fn is_one_line(log: &str) {
    let line = log.strip_suffix('\n').unwrap();
    assert!(
        line.bytes().all(|byte| matches!(byte, b' '..=b'~')),
        "{log:?}"
    );
    assert!(log.len() <= MAX_LINE, "{}", log.len());
}

/// Behind the message: names and values of fields, as a reader takes them apart.
fn fields_of(mut rest: &str) -> Option<Vec<(String, String)>> {
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (name, behind) = rest.split_once('=')?;
        let length = if behind.starts_with('"') {
            (2..=behind.len()).find(|&end| behind.get(..end).is_some_and(is_quoted))?
        } else {
            behind.find(' ').unwrap_or(behind.len())
        };
        found.push((name.to_owned(), behind[..length].to_owned()));
        rest = behind[length..].trim_start_matches(' ');
    }
    Some(found)
}

proptest! {
    #[test]
    fn no_name_forges_a_line_of_text(name in hostile()) {
        let log = refused(LogFormat::Text, &name);
        is_one_line(&log);
        prop_assert_eq!(log.split_whitespace().nth(1), Some("WARN"));
        // What a peer calls itself is in one field, and adds none.
        let fields = logged(LogFormat::Text, || tracing::warn!(from = %name, reason = "policy", "refused"));
        is_one_line(&fields);
        let (_, behind) = fields.trim_end().split_once(" refused ").unwrap();
        if !behind.ends_with("...") {
            let found = fields_of(behind).unwrap();
            let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
            prop_assert_eq!(names, ["from", "reason"], "{}", fields);
        }
    }

    #[test]
    fn no_name_forges_an_object(name in hostile()) {
        let log = refused(LogFormat::Json, &name);
        is_one_line(&log);
        let event: Value = serde_json::from_str(&log).unwrap();
        prop_assert_eq!(&event["level"], "WARN");
        prop_assert_eq!(&event["reason"], "policy");
        if name.len() < 500 {
            prop_assert_eq!(event["from"].as_str(), Some(&*name));
        }
    }
}

#[test]
fn what_is_ordinary_is_as_it_was() {
    let say = || tracing::info!(link = 7, from = %"a@host-1", reason = "policy", after = ?std::time::Duration::from_millis(1500), "link up");
    let text = logged(LogFormat::Text, say);
    assert!(
        text.ends_with("  INFO link up link=7 from=a@host-1 reason=\"policy\" after=1.5s\n"),
        "{text}"
    );
    let say = || tracing::info!(of = %"two words", "link up");
    let text = logged(LogFormat::Text, say);
    assert!(text.ends_with(" link up of=\"two words\"\n"), "{text}");
    assert_eq!(refused(LogFormat::Text, "x").lines().count(), 1);
}

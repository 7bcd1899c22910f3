//! What spans and records say of themselves, a key and a value each.

use crate::wire::any_value::Value;
use crate::wire::{AnyValue, KeyValue};

/// A text, as it is.
#[must_use]
pub fn text(key: &str, text: impl Into<String>) -> KeyValue {
    pair(key, Value::StringValue(text.into()))
}

/// A number; OTLP has none above 2^63 - 1.
#[must_use]
pub fn number(key: &str, number: u64) -> KeyValue {
    pair(
        key,
        Value::IntValue(i64::try_from(number).unwrap_or(i64::MAX)),
    )
}

/// Yes or no.
#[must_use]
pub fn truth(key: &str, truth: bool) -> KeyValue {
    pair(key, Value::BoolValue(truth))
}

fn pair(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
    }
}

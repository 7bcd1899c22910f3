//! Durations as people write them: `500ms`, `5s`, `10m`, `24h`, `7d`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error as _};

/// For `#[serde(deserialize_with = "…")]`.
///
/// # Errors
/// Says what was found, and shows some that are good.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    parse(&text).ok_or_else(|| {
        D::Error::custom(format!(
            "found {text:?}, wanted a duration such as 500ms, 5s, 10m, 24h or 7d"
        ))
    })
}

/// A duration from its text; `None` if it is none.
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(milliseconds).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_number_and_a_unit() {
        assert_eq!(parse("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse("24h"), Some(Duration::from_secs(86_400)));
        assert_eq!(parse("1d"), Some(Duration::from_secs(86_400)));
        for wrong in [
            "",
            "5",
            "s",
            "-5s",
            "5 s",
            "1.5s",
            "5w",
            "99999999999999999999d",
            "9999999999999999d",
        ] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }
}

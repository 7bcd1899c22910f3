//! Quantities of Kubernetes: `500m`, `2`, `1.5Gi`, `1e3`. No units are checked.

/// The value of a quantity, in its base unit: CPUs, bytes, pieces. None if it is none.
#[must_use]
pub fn quantity(text: &str) -> Option<f64> {
    const SUFFIXES: &[(&str, f64)] = &[
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
    ];
    let text = text.trim();
    let (number, factor) = SUFFIXES
        .iter()
        .find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, *factor)))
        .unwrap_or((text, 1.0));
    let starts = number.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'));
    let value: f64 = number.parse().ok().filter(|_| starts)?;
    Some(value * factor)
}

/// A duration of Go, in seconds: `1h30m`, `15s`. None if it is none.
#[must_use]
pub fn duration(text: &str) -> Option<f64> {
    let mut rest = text.trim();
    if rest == "0" {
        return Some(0.0);
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest.get(..end)?.parse().ok()?;
        rest = rest.get(end..)?;
        let (unit, factor) = [
            ("ms", 1e-3),
            ("us", 1e-6),
            ("ns", 1e-9),
            ("h", 3600.0),
            ("m", 60.0),
            ("s", 1.0),
        ]
        .into_iter()
        .find(|(unit, _)| rest.starts_with(unit))?;
        rest = rest.get(unit.len()..)?;
        seconds += number * factor;
    }
    (!text.trim().is_empty()).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::{duration, quantity};

    #[test]
    fn quantities_are_read_as_kubernetes_reads_them() {
        for (text, value) in [
            ("2", Some(2.0)),
            ("500m", Some(0.5)),
            ("1Gi", Some(1_073_741_824.0)),
            ("1.5G", Some(1.5e9)),
            ("1e3", Some(1000.0)),
            ("", None),
            ("inf", None),
            ("two", None),
        ] {
            assert_eq!(quantity(text), value, "{text}");
        }
    }

    #[test]
    fn durations_are_those_of_go() {
        for (text, value) in [
            ("2160h", Some(7_776_000.0)),
            ("1h30m", Some(5400.0)),
            ("15s", Some(15.0)),
            ("250ms", Some(0.25)),
            ("0", Some(0.0)),
            ("5", None),
            ("", None),
            ("5d", None),
        ] {
            assert_eq!(duration(text), value, "{text}");
        }
    }
}

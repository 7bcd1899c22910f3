//! Medians and ranges.

/// The middle one; of an even number, the mean of the two in the middle. `None` of none.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let high = *sorted.get(middle)?;
    let low = sorted.get(middle.wrapping_sub(1)).copied();
    Some(match low {
        Some(low) if sorted.len().is_multiple_of(2) => f64::midpoint(low, high),
        _ => high,
    })
}

/// `median [least..most]`, with so many digits; a dash for no values, the value alone for one.
pub fn spread(values: &[f64], digits: usize) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    match median(values) {
        None => "-".to_owned(),
        Some(median) if values.len() == 1 => format!("{median:.digits$}"),
        Some(median) => format!("{median:.digits$} [{least:.digits$}..{most:.digits$}]"),
    }
}

#[cfg(test)]
mod tests;

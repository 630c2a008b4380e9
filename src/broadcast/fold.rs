//! Many names in few words: `alpha/w[1-8],beta/w3`. Pure.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// Names with their last number folded into ranges, in the order of the names before it.
pub fn fold<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut stems: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    let mut plain = Vec::new();
    for name in names {
        let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
        let digits = name.get(stem.len()..).unwrap_or_default();
        // A number with a leading zero is another name than the one without.
        match digits.parse() {
            Ok(number) if digits == "0" || !digits.starts_with('0') => stems.entry(stem).or_default().push(number),
            _ => plain.push(name.to_owned()),
        }
    }
    let folded = stems.into_iter().map(|(stem, numbers)| {
        let ranges = ranges(numbers);
        match ranges.as_slice() {
            [only] if only.start() == only.end() => format!("{stem}{}", only.start()),
            _ => {
                let parts: Vec<String> = ranges.iter().map(part).collect();
                format!("{stem}[{}]", parts.join(","))
            }
        }
    });
    let mut all: Vec<String> = folded.chain(plain).collect();
    all.sort();
    all.join(",")
}

fn part(range: &RangeInclusive<u64>) -> String {
    if range.start() == range.end() {
        range.start().to_string()
    } else {
        format!("{}-{}", range.start(), range.end())
    }
}

fn ranges(mut numbers: Vec<u64>) -> Vec<RangeInclusive<u64>> {
    numbers.sort_unstable();
    numbers.dedup();
    let mut ranges: Vec<RangeInclusive<u64>> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some(last) if last.end().checked_add(1) == Some(number) => *last = *last.start()..=number,
            _ => ranges.push(number..=number),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_ranges() {
        let folded = |names: &[&str]| fold(names.iter().copied());
        assert_eq!(folded(&[]), "");
        assert_eq!(folded(&["alpha/w3"]), "alpha/w3");
        assert_eq!(
            folded(&["alpha/w2", "alpha/w1", "alpha/w3", "alpha/w9"]),
            "alpha/w[1-3,9]"
        );
        assert_eq!(
            folded(&["beta/w1", "alpha/w1", "alpha/w2", "beta/w2"]),
            "alpha/w[1-2],beta/w[1-2]"
        );
        assert_eq!(folded(&["a/w1", "a/w01", "b", "a/w1"]), "a/w01,a/w1,b");
        assert_eq!(
            folded(&["x/w18446744073709551615", "x/w99999999999999999999"]),
            "x/w18446744073709551615,x/w99999999999999999999"
        );
    }
}

//! Quantities as people write them: `64MiB`, `5s`, `0.25`.
//!
//! Nothing is rounded silently: what cannot be had exactly is refused.

use std::time::Duration;

use protocol::units::{Credits, Fuel};

/// A text is not a quantity. The sentence is for people and says what would be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadQuantity(String);

fn bad(text: &str, expected: &str) -> BadQuantity {
    BadQuantity(format!("`{text}` is not {expected}"))
}

/// Splits `64MiB` in its digits and its unit.
fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end =
        text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim())
}

/// `digits` with an optional fraction, times `scale`, if that is a whole number that fits.
fn scaled(number: &str, scale: u64) -> Option<u64> {
    let number = number.replace('_', "");
    let (whole, fraction) = number.split_once('.').unwrap_or((&number, ""));
    if whole.is_empty() || fraction.len() > 9 || (number.contains('.') && fraction.is_empty()) {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let whole = whole.checked_mul(scale)?;
    if fraction.is_empty() {
        return Some(whole);
    }
    let power = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let part = fraction.parse::<u128>().ok()?.checked_mul(u128::from(scale))?;
    if part.checked_rem(power)? != 0 {
        return None;
    }
    whole.checked_add(u64::try_from(part.checked_div(power)?).ok()?)
}

/// A size in bytes: a number with `B`, `KiB`, `MiB`, `GiB`, `TiB` (powers of 1,024) or `kB`, `MB`, `GB`, `TB`
/// (powers of 1,000). A bare number counts bytes.
///
/// # Errors
///
/// If the text is something else, or not a whole number of bytes.
pub fn parse_bytes(text: &str) -> Result<u64, BadQuantity> {
    let (number, unit) = split(text);
    let scale: Option<u64> = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => Some(1),
        "kib" | "ki" | "k" => Some(1 << 10),
        "mib" | "mi" | "m" => Some(1 << 20),
        "gib" | "gi" | "g" => Some(1 << 30),
        "tib" | "ti" | "t" => Some(1 << 40),
        "kb" => Some(1_000),
        "mb" => Some(1_000_000),
        "gb" => Some(1_000_000_000),
        "tb" => Some(1_000_000_000_000),
        _ => None,
    };
    scale
        .and_then(|scale| scaled(number, scale))
        .ok_or_else(|| bad(text, "a size such as 64MiB or 1.5GiB"))
}

/// A duration: numbers with `ms`, `s`, `m`, `h` or `d`, one after the other: `5s`, `1h30m`. A bare number counts
/// seconds. At most a hundred years.
///
/// # Errors
///
/// If the text is something else.
pub fn parse_duration(text: &str) -> Result<Duration, BadQuantity> {
    const MILLIS_MAX: u64 = 100 * 365 * 24 * 3_600 * 1_000;
    let wrong = || bad(text, "a duration such as 500ms, 5s, 10m or 1h30m");
    let mut rest = text.trim();
    let mut millis = 0_u64;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let scale = match unit {
            "ms" => 1,
            "s" | "sec" => 1_000,
            "" if number == text.trim() => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        let part = scaled(number, scale).ok_or_else(wrong)?;
        millis = millis.checked_add(part).filter(|sum| *sum <= MILLIS_MAX).ok_or_else(wrong)?;
        rest = after.trim_start();
    }
    Ok(Duration::from_millis(millis))
}

/// An amount of credits in decimals: `5`, `0.25`, `5cr`. At most six decimals: an amount is a whole number of
/// millionths.
///
/// # Errors
///
/// If the text is something else, or more than one entry may move.
pub fn parse_credits(text: &str) -> Result<Credits, BadQuantity> {
    let (number, unit) = split(text);
    let amount = match unit.to_ascii_lowercase().as_str() {
        "" | "cr" => scaled(number, 1_000_000),
        _ => None,
    };
    amount
        .map(Credits::from_micros)
        .filter(|credits| *credits <= Credits::ENTRY_MAX)
        .ok_or_else(|| bad(text, "an amount of credits such as 5 or 0.25 (at most six decimals)"))
}

/// Fuel: a number, with `k`, `M`, `G` or `T` for thousands, millions and so on.
///
/// # Errors
///
/// If the text is something else.
pub fn parse_fuel(text: &str) -> Result<Fuel, BadQuantity> {
    let (number, unit) = split(text);
    let scale = match unit {
        "" => Some(1),
        "k" | "K" => Some(1_000),
        "M" => Some(1_000_000),
        "G" => Some(1_000_000_000),
        "T" => Some(1_000_000_000_000),
        _ => None,
    };
    scale
        .and_then(|scale| scaled(number, scale))
        .map(Fuel)
        .ok_or_else(|| bad(text, "an amount of fuel such as 2000000000, 500M or 2G"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_exactly() {
        for (text, bytes) in [
            ("0", 0),
            ("64MiB", 64 << 20),
            ("64 MiB", 64 << 20),
            ("1.5GiB", 3 << 29),
            ("10kB", 10_000),
            ("2g", 2 << 30),
            ("1_000", 1_000),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "-1", "64Mb!", "1.3B", "99999999999TiB", "1.", ".5GiB", "1,5GiB"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_may_have_several_parts() {
        for (text, millis) in [
            ("5", 5_000),
            ("5s", 5_000),
            ("500ms", 500),
            ("0.5s", 500),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            ("2d", 172_800_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "5x", "-5s", "1h30", "5s5", "0.0001s", "99999999999d"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_amount_of_credits_is_a_whole_number_of_millionths() {
        for (text, micros) in
            [("5", 5_000_000), ("0.25", 250_000), ("0.000001", 1), ("12.4cr", 12_400_000)]
        {
            assert_eq!(parse_credits(text), Ok(Credits::from_micros(micros)), "{text}");
        }
        for text in ["", "-1", "0.0000001", "1000000001", "5 euros", "1e3"] {
            assert!(parse_credits(text).is_err(), "{text}");
        }
    }

    #[test]
    fn fuel_knows_millions() {
        assert_eq!(parse_fuel("2G"), Ok(Fuel(2_000_000_000)));
        assert_eq!(parse_fuel("1500"), Ok(Fuel(1_500)));
        assert!(parse_fuel("2m").is_err());
    }
}

//! Numbers as people read them.

use std::time::Duration;

/// A size: `1.2 GiB`. One decimal below ten, none above.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut scale = 1_u64;
    let mut unit = "B";
    for next in UNITS {
        if bytes.checked_div(scale).unwrap_or(0) < 1_024 {
            break;
        }
        scale = scale.saturating_mul(1_024);
        unit = next;
    }
    let whole = bytes.checked_div(scale).unwrap_or(0);
    let rest = bytes.checked_rem(scale).unwrap_or(0);
    let tenth = u128::from(rest).saturating_mul(10).checked_div(u128::from(scale)).unwrap_or(0);
    if unit == "B" || whole >= 10 {
        format!("{whole} {unit}")
    } else {
        format!("{whole}.{tenth} {unit}")
    }
}

/// A duration: `320 ms`, `1.4 s`, `3m 12s`, `2h 14m`, `3d 4h`.
#[must_use]
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let part = |scale: u64, modulo: u64| {
        seconds.checked_div(scale).unwrap_or(0).checked_rem(modulo).unwrap_or(0)
    };
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..=9 => format!("{seconds}.{} s", duration.subsec_millis().checked_div(100).unwrap_or(0)),
        10..=59 => format!("{seconds} s"),
        60..=3_599 => format!("{}m {:02}s", part(60, 60), part(1, 60)),
        3_600..=86_399 => format!("{}h {:02}m", part(3_600, 24), part(60, 60)),
        _ => format!("{}d {}h", part(86_400, u64::MAX), part(3_600, 24)),
    }
}

/// A duration that came as seconds. Nonsense is nothing.
#[must_use]
pub fn seconds(seconds: f64) -> String {
    Duration::try_from_secs_f64(seconds).map(duration).unwrap_or_default()
}

/// Columns of a text that is read in lines.
const COLUMNS: usize = 100;

/// A text in lines, each with something before it.
#[must_use]
pub fn wrapped(text: &str, before: &str) -> String {
    let mut lines = String::new();
    let mut line = before.to_owned();
    for word in text.split_whitespace() {
        let is_first = line.len() == before.len();
        if !is_first && line.chars().count().saturating_add(word.chars().count()) >= COLUMNS {
            lines.push_str(&line);
            lines.push('\n');
            line = before.to_owned();
        } else if !is_first {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines + &line
}

/// A number with thin gaps between thousands: `18 204`.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && digits.len().saturating_sub(at).checked_rem(3) == Some(0) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// `1 file`, `2 files`.
#[must_use]
pub fn plural(number: u64, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{} {many}", count(number)) }
}

/// Work: `38 200 Mfuel`; with one decimal below a hundred million, and the number itself below a hundred thousand.
#[must_use]
pub fn fuel(fuel: protocol::units::Fuel) -> String {
    let tenths = fuel.0.checked_div(100_000).unwrap_or(0);
    let (millions, tenth) =
        (tenths.checked_div(10).unwrap_or(0), tenths.checked_rem(10).unwrap_or(0));
    match tenths {
        0 => format!("{} fuel", count(fuel.0)),
        1..=999 => format!("{millions}.{tenth} Mfuel"),
        _ => format!("{} Mfuel", count(millions)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_at_most_three_digits_and_a_half() {
        for (number, text) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (1_536, "1.5 KiB"),
            (64 << 20, "64 MiB"),
            (u64::MAX, "15 EiB"),
        ] {
            assert_eq!(bytes(number), text);
        }
    }

    #[test]
    fn durations_have_two_parts_at_most() {
        for (millis, text) in [
            (320, "320 ms"),
            (1_450, "1.4 s"),
            (12_000, "12 s"),
            (192_000, "3m 12s"),
            (8_040_000, "2h 14m"),
            (273_600_000, "3d 4h"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
        assert_eq!(seconds(1.45), "1.4 s");
        assert_eq!(seconds(f64::NAN), "");
    }

    #[test]
    fn counts_have_gaps() {
        assert_eq!(count(7), "7");
        assert_eq!(count(18_204), "18 204");
        assert_eq!(plural(1, "file", "files"), "1 file");
        assert_eq!(plural(1_284, "file", "files"), "1 284 files");
        for (number, text) in
            [(8_279, "8 279 fuel"), (984_945, "0.9 Mfuel"), (38_200_000_000, "38 200 Mfuel")]
        {
            assert_eq!(fuel(protocol::units::Fuel(number)), text);
        }
    }
}

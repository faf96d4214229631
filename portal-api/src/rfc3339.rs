//! Times as people and scripts read them: RFC 3339, in UTC, to the millisecond. Also serde for
//! `#[serde(with = "rfc3339")]`.

use protocol::time::UnixMillis;
use serde::{Deserialize as _, Deserializer, Serializer};

const MS_PER_DAY: u64 = 86_400_000;
/// The first millisecond of the year 10000, which the format cannot write.
const MS_MAX: u64 = 253_402_300_800_000;

/// `2026-11-20T15:25:03.120Z`. Times after the year 9999 are shown as its last millisecond.
#[must_use]
pub fn format(time: UnixMillis) -> String {
    let ms = time.0.min(MS_MAX - 1);
    let (year, month, day) = date_of(ms / MS_PER_DAY);
    let in_day = ms % MS_PER_DAY;
    let (hour, minute) = (in_day / 3_600_000, in_day / 60_000 % 60);
    let (second, milli) = (in_day / 1_000 % 60, in_day % 1_000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// Reads what [`format()`] writes, with or without the fraction of three digits.
#[must_use]
pub fn parse(text: &str) -> Option<UnixMillis> {
    let text = text.strip_suffix('Z')?;
    let (date, time) = text.split_once('T')?;
    let (time, milli) = match time.split_once('.') {
        Some((time, fraction)) => (time, number(fraction, 3)?),
        None => (time, 0),
    };
    let mut date = date.splitn(3, '-');
    let (year, month, day) =
        (number(date.next()?, 4)?, number(date.next()?, 2)?, number(date.next()?, 2)?);
    let mut time = time.splitn(3, ':');
    let (hour, minute, second) =
        (number(time.next()?, 2)?, number(time.next()?, 2)?, number(time.next()?, 2)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = day_of(year, month, day)?
        .checked_mul(86_400)?
        .checked_add(hour.checked_mul(3_600)?)?
        .checked_add(minute.checked_mul(60)?)?
        .checked_add(second)?;
    Some(UnixMillis(seconds.checked_mul(1_000)?.checked_add(milli)?))
}

/// A number of exactly so many digits.
fn number(text: &str, digits: usize) -> Option<u64> {
    (text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())?
}

/// The date of a day since 1970-01-01, in the Gregorian calendar.
///
/// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`: years begin in March, so
/// that the leap day is the last of its year.
#[expect(
    clippy::arithmetic_side_effects,
    reason = "days below 2,932,897 keep every term far below overflow"
)]
const fn date_of(day: u64) -> (u64, u64, u64) {
    let day = day + 719_468;
    let era = day / 146_097;
    let in_era = day % 146_097;
    let year_in_era = (in_era - in_era / 1_460 + in_era / 36_524 - in_era / 146_096) / 365;
    let in_year = in_era - (365 * year_in_era + year_in_era / 4 - year_in_era / 100);
    let shifted = (5 * in_year + 2) / 153;
    let day = in_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_in_era + era * 400 + (if month <= 2 { 1 } else { 0 });
    (year, month, day)
}

/// The day since 1970-01-01 of a date that exists. The reverse of [`date_of`].
#[expect(
    clippy::arithmetic_side_effects,
    reason = "four-digit years keep every term far below overflow"
)]
fn day_of(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let (shifted_year, shifted) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let year_in_era = shifted_year % 400;
    let in_year = (153 * shifted + 2) / 5 + day - 1;
    let in_era = year_in_era * 365 + year_in_era / 4 - year_in_era / 100 + in_year;
    let number = (shifted_year / 400 * 146_097 + in_era).checked_sub(719_468)?;
    (date_of(number) == (year, month, day)).then_some(number)
}

/// Writes a time.
///
/// # Errors
///
/// Only those of the serializer.
pub fn serialize<S: Serializer>(time: &UnixMillis, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format(*time))
}

/// Reads a time.
///
/// # Errors
///
/// If it is not a time as [`format()`] writes it.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<UnixMillis, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text)
        .ok_or_else(|| serde::de::Error::custom("not a time in UTC like 2026-11-20T15:25:03.120Z"))
}

/// The same, for times that may be absent: `null`.
pub mod option {
    use protocol::time::UnixMillis;
    use serde::{Deserialize as _, Deserializer, Serializer};

    /// Writes a time, or `null`.
    ///
    /// # Errors
    ///
    /// Only those of the serializer.
    pub fn serialize<S: Serializer>(
        time: &Option<UnixMillis>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => super::serialize(time, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// Reads a time, or `null`.
    ///
    /// # Errors
    ///
    /// If it is neither.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<UnixMillis>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else {
            return Ok(None);
        };
        super::parse(&text).map(Some).ok_or_else(|| {
            serde::de::Error::custom("not a time in UTC like 2026-11-20T15:25:03.120Z")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times_are_written_as_others_write_them() {
        // From `date -u -d @N +%FT%TZ`.
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_000, "2024-02-29T23:59:59.000Z"),
            (1_795_188_303_120, "2026-11-20T15:25:03.120Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(format(UnixMillis(ms)), text);
            assert_eq!(parse(text), Some(UnixMillis(ms)));
        }
        assert_eq!(format(UnixMillis(u64::MAX)), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn every_day_survives_its_date() {
        for day in (0..2_932_896).step_by(11) {
            let time = UnixMillis(day * MS_PER_DAY + 1);
            assert_eq!(parse(&format(time)), Some(time), "{day}");
        }
    }

    #[test]
    fn what_is_not_a_time_is_refused() {
        for text in [
            "",
            "Z",
            "2026-11-20",
            "2026-11-20T15:25:03",
            "2026-02-29T00:00:00Z",
            "2100-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-11-20T24:00:00Z",
            "2026-11-20T00:60:00Z",
            "2026-11-20T00:00:60Z",
            "2026-11-20T00:00:00.1Z",
            "1969-12-31T23:59:59Z",
            "2026-11-20T15:25:03+01:00",
            "+026-11-20T15:25:03Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}

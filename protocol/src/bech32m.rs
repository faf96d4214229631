//! Bech32m (BIP-350): text that people can type, with a checksum that finds up to four wrong characters in short
//! texts and almost any error in longer ones.
//!
//! The length is not limited to the 90 characters of addresses, as in Lightning invoices: the checksum is then
//! only a checksum (an error is missed once in 10⁹).

use thiserror::Error;

const ALPHABET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
/// What the checksum of a text comes to (BIP-350).
const GOOD: u32 = 0x2bc8_30a3;
const CHECKSUM_CHARS: usize = 6;

/// Why a text is not bech32m.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Bech32mError {
    /// It does not begin with the expected letters and `1`.
    #[error("it does not begin with `{0}1`")]
    Prefix(&'static str),
    /// Upper and lower case are mixed, or a character is not of the alphabet.
    #[error("character {0} does not belong there")]
    Character(usize),
    /// Something was typed wrong, left out or added.
    #[error("the checksum does not fit: something was left out or typed wrong")]
    Checksum,
    /// The last character says more than there are bytes.
    #[error("it does not end at a byte")]
    Padding,
}

/// The text of some bytes.
#[must_use]
pub fn encode(prefix: &'static str, bytes: &[u8]) -> String {
    let mut values = to_fives(bytes);
    let checksum = polymod(prefix, values.iter().copied().chain([0; CHECKSUM_CHARS])) ^ GOOD;
    for at in (0..6_u32).rev() {
        let value = checksum >> at.saturating_mul(5) & 31;
        values.push(u8::try_from(value).unwrap_or(0));
    }
    let letters = values.iter().filter_map(|value| ALPHABET.get(usize::from(*value)));
    let mut text = format!("{prefix}1");
    text.extend(letters.map(|letter| char::from(*letter)));
    text
}

/// The bytes of a text. White space around it is ignored; all of it may be in upper case.
///
/// # Errors
///
/// See [`Bech32mError`].
pub fn decode(prefix: &'static str, text: &str) -> Result<Vec<u8>, Bech32mError> {
    let text = text.trim();
    let is_upper = text.bytes().any(|byte| byte.is_ascii_uppercase());
    if let Some(at) = text.bytes().position(|byte| byte.is_ascii_lowercase()).filter(|_| is_upper) {
        return Err(Bech32mError::Character(at.saturating_add(1)));
    }
    let lower = text.to_ascii_lowercase();
    let data = lower.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('1'));
    let data = data.ok_or(Bech32mError::Prefix(prefix))?;
    let before = prefix.len().saturating_add(2);
    let mut values = Vec::with_capacity(data.len());
    for (at, byte) in data.bytes().enumerate() {
        let value = ALPHABET.iter().position(|letter| *letter == byte);
        let wrong = || Bech32mError::Character(at.saturating_add(before));
        let value = value.ok_or_else(wrong)?;
        values.push(u8::try_from(value).unwrap_or(0));
    }
    if polymod(prefix, values.iter().copied()) != GOOD {
        return Err(Bech32mError::Checksum);
    }
    let kept = values.len().checked_sub(CHECKSUM_CHARS).ok_or(Bech32mError::Checksum)?;
    values.truncate(kept);
    to_eights(&values).ok_or(Bech32mError::Padding)
}

/// Bytes as groups of five bits, the last filled up with zeros.
fn to_fives(bytes: &[u8]) -> Vec<u8> {
    let (mut fives, mut held, mut bits) = (Vec::new(), 0_u32, 0_u32);
    for byte in bytes {
        held = held << 8 | u32::from(*byte);
        bits = bits.saturating_add(8);
        while bits >= 5 {
            bits = bits.saturating_sub(5);
            fives.push(u8::try_from(held >> bits & 31).unwrap_or(0));
        }
        held &= 0xff;
    }
    if bits > 0 {
        let rest = held << 5_u32.saturating_sub(bits) & 31;
        fives.push(u8::try_from(rest).unwrap_or(0));
    }
    fives
}

/// The other way round. `None` if what is left over is a group or more, or not zero.
fn to_eights(fives: &[u8]) -> Option<Vec<u8>> {
    let (mut bytes, mut held, mut bits) = (Vec::new(), 0_u32, 0_u32);
    for five in fives {
        held = (held << 5 | u32::from(*five)) & 0xfff;
        bits = bits.saturating_add(5);
        if bits >= 8 {
            bits = bits.saturating_sub(8);
            bytes.push(u8::try_from(held >> bits & 0xff).unwrap_or(0));
        }
    }
    let rest = held & (1_u32.checked_shl(bits)?.saturating_sub(1));
    (bits < 5 && rest == 0).then_some(bytes)
}

/// The checksum (BIP-173, "Checksum"), a BCH code over groups of five bits.
fn polymod(prefix: &str, values: impl Iterator<Item = u8>) -> u32 {
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    let high = prefix.bytes().map(|byte| byte >> 5);
    let low = prefix.bytes().map(|byte| byte & 31);
    high.chain([0]).chain(low).chain(values).fold(1_u32, |sum, value| {
        let top = sum >> 25;
        let sum = (sum & 0x01ff_ffff) << 5 ^ u32::from(value);
        let taps = GENERATOR.iter().enumerate().filter(|(at, _)| top >> at & 1 == 1);
        taps.fold(sum, |sum, (_, tap)| sum ^ tap)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_of_the_standard_are_read_and_written() {
        // BIP-350, "Test vectors for Bech32m": valid strings.
        assert_eq!(decode("a", "A1LQFN3A"), Ok(vec![]));
        assert_eq!(decode("a", "a1lqfn3a"), Ok(vec![]));
        let bytes = decode("abcdef", "abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx");
        let bytes = bytes.unwrap();
        assert_eq!(hex::encode(&bytes), "ffbbcdeb38bdab49ca307b9ac5a928398a418820");
        assert_eq!(encode("abcdef", &bytes), "abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx");
        assert_eq!(
            decode("split", "split1checkupstagehandshakeupstreamerranterredcaperredlc445v")
                .unwrap()
                .len(),
            30
        );
    }

    #[test]
    fn texts_that_the_standard_refuses_are_refused() {
        // BIP-350: wrong alphabet, too short a checksum, a checksum of Bech32 (BIP-173), mixed case.
        assert_eq!(decode("y", "y1b0jsk6g"), Err(Bech32mError::Character(3)));
        assert_eq!(decode("lt", "lt1igcx5c0"), Err(Bech32mError::Character(4)));
        assert_eq!(decode("in", "in1muywd"), Err(Bech32mError::Checksum));
        assert_eq!(decode("a", "a12uel5l"), Err(Bech32mError::Checksum));
        assert_eq!(decode("a", "A1lqfn3a"), Err(Bech32mError::Character(3)));
        assert_eq!(decode("a", "b1lqfn3a"), Err(Bech32mError::Prefix("a")));
        assert_eq!(decode("a", ""), Err(Bech32mError::Prefix("a")));
    }

    proptest! {
        #[test]
        fn bytes_survive_their_text(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let text = encode("weft", &bytes);
            prop_assert_eq!(decode("weft", &text), Ok(bytes.clone()));
            prop_assert_eq!(decode("weft", &text.to_ascii_uppercase()), Ok(bytes));
        }

        #[test]
        fn one_wrong_character_is_noticed(
            bytes in proptest::collection::vec(any::<u8>(), 1..200),
            at in any::<prop::sample::Index>(),
            letter in prop::sample::select(&ALPHABET[..]),
        ) {
            let mut text = encode("weft", &bytes).into_bytes();
            let at = at.index(text.len().saturating_sub(5)).saturating_add(5);
            prop_assume!(text[at] != letter);
            text[at] = letter;
            let text = String::from_utf8(text).unwrap();
            prop_assert_eq!(decode("weft", &text), Err(Bech32mError::Checksum));
        }

        #[test]
        fn any_text_has_an_answer(text in "(weft1)?\\PC{0,60}") {
            let _answer = decode("weft", &text);
        }
    }
}

//! Money, work and memory, each with a type of its own.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An amount of credit, in millionths of one credit (µcr).
///
/// There is no `Add` or `Sub`: a ledger must say what happens when a sum does not fit, so it has to ask.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Credits {
    micros: u64,
}

impl Credits {
    /// Nothing.
    pub const ZERO: Self = Self { micros: 0 };
    /// The largest amount that one entry may move: 10⁹ credits.
    pub const ENTRY_MAX: Self = Self { micros: 1_000_000_000_000_000 };

    /// `micros` millionths of a credit.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self { micros }
    }

    /// `whole` credits; saturates.
    #[must_use]
    pub const fn from_whole(whole: u64) -> Self {
        Self { micros: whole.saturating_mul(1_000_000) }
    }

    /// In millionths of a credit.
    #[must_use]
    pub const fn micros(self) -> u64 {
        self.micros
    }

    /// Whether there is nothing.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.micros == 0
    }

    /// The sum, or `None` if it does not fit.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.micros.checked_add(other.micros) {
            Some(micros) => Some(Self { micros }),
            None => None,
        }
    }

    /// The difference, or `None` if `other` is more.
    #[must_use]
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.micros.checked_sub(other.micros) {
            Some(micros) => Some(Self { micros }),
            None => None,
        }
    }

    /// The difference, or nothing if `other` is more.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self { micros: self.micros.saturating_sub(other.micros) }
    }

    /// `times` as much; saturates.
    #[must_use]
    pub const fn saturating_mul(self, times: u64) -> Self {
        Self { micros: self.micros.saturating_mul(times) }
    }

    /// Splits into `(fee, rest)` with the fee rounded down, so that the parts always add up to the whole and
    /// dust stays with the rest.
    #[must_use]
    pub fn split_fee(self, fee: BasisPoints) -> (Self, Self) {
        let fee = u128::from(self.micros).saturating_mul(u128::from(fee.0.min(10_000)));
        let fee = u64::try_from(fee.checked_div(10_000).unwrap_or(0)).unwrap_or(self.micros);
        (Self { micros: fee }, Self { micros: self.micros.saturating_sub(fee) })
    }
}

/// As people read it: `12.40 cr`, with as many decimals (2 to 6) as it takes to be exact.
impl fmt::Display for Credits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.micros.checked_div(1_000_000).unwrap_or(0);
        let mut digits = format!("{:06}", self.micros.checked_rem(1_000_000).unwrap_or(0));
        while digits.len() > 2 && digits.ends_with('0') {
            digits.pop();
        }
        write!(f, "{whole}.{digits} cr")
    }
}

/// Hundredths of a percent.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct BasisPoints(pub u16);

/// Work done by a guest, in units of the cost table of its engine profile. About 10⁶ a millisecond.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Fuel(pub u64);

/// Linear memory, in WebAssembly pages of 64 KiB.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Pages(pub u32);

impl Pages {
    /// The pages that hold `bytes`, rounded up; saturates.
    #[must_use]
    pub fn holding(bytes: u64) -> Self {
        Self(u32::try_from(bytes.div_ceil(65_536)).unwrap_or(u32::MAX))
    }

    /// In bytes.
    #[must_use]
    pub fn bytes(self) -> u64 {
        u64::from(self.0).saturating_mul(65_536)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_fee_and_the_rest_add_up_to_the_whole(micros: u64, bps in 0..=10_000_u16) {
            let whole = Credits::from_micros(micros);
            let (fee, rest) = whole.split_fee(BasisPoints(bps));
            prop_assert_eq!(fee.checked_add(rest), Some(whole));
        }
    }

    #[test]
    fn credits_are_shown_exactly() {
        for (micros, shown) in [
            (0, "0.00 cr"),
            (12_400_000, "12.40 cr"),
            (50, "0.00005 cr"),
            (1, "0.000001 cr"),
            (1_000_000_000, "1000.00 cr"),
        ] {
            assert_eq!(Credits::from_micros(micros).to_string(), shown);
        }
    }
}

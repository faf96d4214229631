//! What tests of several crates need: numbers that are the same in every run.

/// A sequence that its seed decides (xorshift64*, Vigna 2016).
#[derive(Debug, Clone)]
pub struct Numbers(u64);

impl Numbers {
    /// Seed zero, from which xorshift never leaves, counts as one.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(if seed == 0 { 1 } else { seed })
    }

    /// The next one.
    pub const fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// One byte.
    pub const fn byte(&mut self) -> u8 {
        let [.., byte, _, _] = self.next().to_le_bytes();
        byte
    }

    /// A number below `end`, which is far below 2³¹ or biased; zero if `end` is.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap_or(0).checked_rem(end).unwrap_or(0)
    }

    /// One of these; `None` if there is none.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len()))
    }
}

impl Default for Numbers {
    fn default() -> Self {
        Self::new(0x9e37_79b9_7f4a_7c15)
    }
}

//! How many cases a property is tried with.

use proptest::prelude::ProptestConfig;

/// What proptest tries if nobody says anything.
const PROPTEST_DEFAULT: u32 = 256;

/// As many as usual, or as many as `PROPTEST_CASES` says.
pub(crate) fn cases(usual: u32) -> ProptestConfig {
    let config = ProptestConfig::default();
    if config.cases == PROPTEST_DEFAULT {
        ProptestConfig { cases: usual, ..config }
    } else {
        config
    }
}

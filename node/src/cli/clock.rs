//! The clock of the command line. Nothing here is signed or compared with other machines' clocks.

use std::time::{SystemTime, UNIX_EPOCH};

use protocol::time::UnixMillis;

/// The time now, for people to read.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "a shell: this is where the time comes from")]
pub(super) fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

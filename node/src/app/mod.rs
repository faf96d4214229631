//! A node put together: what starts in which order, what it is told from outside, how it ends.

mod adverts;
mod coordinating;
mod enroll;
mod error;
mod hangup;
mod host;
mod inbound;
mod life;
mod listen;
mod membership;
mod moving;
mod notices;
mod seek;
mod start;
mod stay;
mod up;
mod words;

pub use enroll::{Errand, Patience};
pub use error::{AppError, chain};
pub use life::{Mine, Order};
pub use membership::{Wish, set_wish};
pub use seek::Join;
pub use up::up;
pub(crate) use words::asks as asks_to_join;

/// Bytes from the operating system: ids, seeds, nonces.
///
/// # Panics
///
/// If the operating system has no randomness: nothing that needs it could go on.
#[must_use]
#[expect(clippy::expect_used, reason = "a machine without randomness runs no node")]
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

//! What is wrong with a text that is no invite.

use crate::{bech32m::Bech32mError, codec::DecodeError};

/// Why a text is not an invite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadInvite {
    /// It was not copied whole.
    #[error("this is not an invite")]
    Text(#[source] Bech32mError),
    /// It was made by a version that this one does not know.
    #[error("the invite is not understood: it was made by another version")]
    Bytes(#[source] DecodeError),
    /// A part of it is not what it should be.
    #[error("the invite has no valid {0}")]
    Part(&'static str),
}

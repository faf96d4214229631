//! What a node may refuse, by number. A rejection is an answer, not an error.
//!
//! Reasons of one kind begin at a multiple of ten; numbers in between that nobody has are free, and mean nothing yet.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $number:literal, $code:literal;)*) => {
        /// Why something was refused. Numbers and codes never change; the table is in `docs/protocol.md`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(into = "u16", try_from = "u16")]
        #[repr(u16)]
        pub enum RejectReason {
            $($(#[doc = $doc])+ $name = $number,)*
        }

        impl RejectReason {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The stable name: what the command line and the HTTP API show.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// What it means, for people: sentences.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+).trim_ascii(),)* }
            }
        }

        impl TryFrom<u16> for RejectReason {
            type Error = UnknownReason;

            fn try_from(number: u16) -> Result<Self, UnknownReason> {
                match number {
                    $($number => Ok(Self::$name),)*
                    _ => Err(UnknownReason(number)),
                }
            }
        }
    };
}

/// A number that this build does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown reason {0}")]
pub struct UnknownReason(pub u16);

reasons! {
    /// The bytes are not a message of this protocol.
    Malformed = 1, "malformed";
    /// Larger than its limit.
    TooLarge = 2, "payload-too-large";
    /// The signature or the signer is wrong.
    BadSignature = 3, "bad-signature";
    /// Meant for another mesh.
    WrongMesh = 4, "wrong-mesh";
    /// A protocol version that is not spoken here.
    Version = 5, "version-mismatch";
    /// Too many requests; try later.
    RateLimited = 6, "rate-limited";

    /// The node has not asked to join.
    NotEnrolled = 10, "not-enrolled";
    /// The node waits for approval.
    NotApproved = 11, "not-approved";
    /// The node was refused or removed.
    Blacklisted = 12, "blacklisted";
    /// The signer may not do this.
    NotPermitted = 13, "not-permitted";
    /// The node belongs to another account.
    NodeTaken = 14, "node-taken";
    /// A name, label or number is not allowed.
    Invalid = 15, "validation-failed";
    /// There is no such invite, or what was shown does not prove it.
    InviteInvalid = 16, "invite-invalid";
    /// The invite is used up, expired or revoked.
    InviteOver = 17, "invite-over";
    /// The node's key was replaced by another, and the time to change over has passed.
    KeyReplaced = 18, "key-replaced";
    /// The node is suspended: it stays known and gets no work.
    Suspended = 19, "suspended";

    /// Not the leader; ask the one that is named.
    NotLeader = 20, "not-leader";
    /// Nobody leads at the moment; try again.
    NoLeader = 21, "no-leader";
    /// A bounded queue is full; try again.
    Busy = 22, "queue-full";

    /// The account does not hold enough.
    InsufficientCredits = 30, "insufficient-credits";
    /// The same id with other content.
    IdempotencyMismatch = 31, "idempotency-mismatch";
    /// Before or after the time for which it was signed.
    OutsideValidity = 32, "outside-validity";
    /// An amount does not fit.
    AmountOverflow = 33, "amount-overflow";

    /// No such thing.
    NotFound = 40, "not-found";
    /// Not possible in its present state.
    WrongState = 41, "wrong-state";
    /// Not the holder of the lease.
    NotLeaseHolder = 42, "not-lease-holder";
    /// The task has ended already.
    TaskEnded = 43, "task-ended";
    /// No slot is free.
    NoFreeSlot = 44, "no-free-slot";
    /// The node takes no work now.
    Draining = 45, "draining";
    /// A fencing token older than one already seen.
    StaleFence = 46, "stale-fence";
    /// The isolation that is asked for is not available here.
    IsolationUnavailable = 47, "isolation-unavailable";
    /// No known node can ever run it.
    NotPlaceable = 48, "not-placeable";
    /// The node's owner wants it for themselves at the moment.
    Paused = 49, "paused";
    /// The node takes only smaller tasks at the moment.
    TaskTooLarge = 50, "task-too-large";
    /// The node that this is about cannot be reached.
    NodeUnreachable = 51, "node-unreachable";

    /// Something broke that should not have.
    Internal = 99, "internal";
}

impl From<RejectReason> for u16 {
    fn from(reason: RejectReason) -> Self {
        reason as Self
    }
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_codes_are_unique_and_round_trip() {
        let mut codes: Vec<_> = RejectReason::ALL.iter().map(|reason| reason.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), RejectReason::ALL.len());
        for reason in RejectReason::ALL {
            assert_eq!(RejectReason::try_from(u16::from(*reason)), Ok(*reason));
        }
        assert_eq!(RejectReason::try_from(9_999), Err(UnknownReason(9_999)));
    }
}

//! The statements and messages of the protocol, version 1. `docs/protocol.md` is normative.
//!
//! These types are for the wire and for signatures only. What is stored has types of its own in `ledger`, and
//! what the HTTP API shows has types of its own in `portal-api`.

pub mod advert;
pub mod availability;
pub mod blob;
pub mod client;
pub mod enroll;
pub mod genesis;
pub mod group;
pub mod heartbeat;
pub mod invite;
pub mod job;
pub mod lease;
pub mod manifest;
pub mod order;
pub mod owner;
pub mod receipt;
pub mod view;

/// The version of the protocol that this build speaks.
pub const VERSION: u16 = 1;

/// Declares the limit of a type's encoding, and its signature domain if it has one.
macro_rules! canonical {
    ($($name:ty: $limit:expr $(, signed as $domain:ident)?;)*) => {
        $(
            impl $crate::codec::Canonical for $name {
                const BYTES_MAX: usize = $limit;
            }
            $(impl $crate::sign::Signable for $name {
                const DOMAIN: $crate::sign::Domain = $crate::sign::Domain::$domain;
            })?
        )*
    };
}
pub(crate) use canonical;

/// Whether a name of a node, mesh or job is allowed: 1 to 63 bytes of letters, digits, `-`, `_` and `.`,
/// beginning with a letter or digit.
#[must_use]
pub fn is_name(name: &str) -> bool {
    name.len() <= crate::limits::NAME_BYTES_MAX
        && name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// Whether a label is allowed (capability CAP-2): 1 to 64 bytes of letters, digits, `-`, `_`, `.` and `:`,
/// beginning with a letter or digit. Case matters.
#[must_use]
pub fn is_tag(tag: &str) -> bool {
    tag.len() <= crate::limits::TAG_BYTES_MAX
        && tag.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
}

/// Whether a relative path is allowed as the name of an input or output: no empty, `.` or `..` part, no
/// backslash, no control character, not absolute.
#[must_use]
pub fn is_relative_path(path: &str) -> bool {
    !path.is_empty()
        && path.len() <= crate::limits::PATH_BYTES_MAX
        && !path.chars().any(|c| c.is_control() || c == '\\')
        && path.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_follow_the_table_of_the_acceptance_cases() {
        let longest = "a".repeat(64);
        for good in ["a", "A1", "role:worker", longest.as_str()] {
            assert!(is_tag(good), "{good}");
        }
        let too_long = "a".repeat(65);
        for bad in ["", "-x", ":x", "a b", too_long.as_str(), "ä"] {
            assert!(!is_tag(bad), "{bad}");
        }
    }

    #[test]
    fn a_path_never_leaves_its_directory() {
        for good in ["a", "a/b.txt", "..a", "a b"] {
            assert!(is_relative_path(good), "{good}");
        }
        for bad in ["", "/a", "a/../b", "..", "a//b", "a/", "./a", "a\\b", "a\0"] {
            assert!(!is_relative_path(bad), "{bad}");
        }
    }
}

//! The records of the state, typed: what each table holds and how it is written.
//!
//! A record is two bytes that name its format, little-endian, and then its canonical encoding. A format that
//! this build does not know is a [`ReadError`]: the node must stop, not guess.

mod account;
mod invite;
mod job;
mod meta;
mod node;
mod task;

use protocol::codec::{Canonical, DecodeError, decode, encode};
use thiserror::Error;

pub use self::{
    account::{AccountRecord, HistoryKind, HistoryRecord},
    invite::InviteRecord,
    job::{EndReason, JobProgress, JobTerms},
    meta::{Counts, Head, Policy, UsedId},
    node::{NodeRecord, Replaced},
    task::{BatchRecord, TaskEnd, TaskRecord},
};
use crate::records::{ReadError, Table};

/// Something that a table holds.
pub trait Row: Canonical {
    /// Names its format. A number never changes its meaning.
    const FORMAT: u16;
    /// Where it is kept.
    const TABLE: Table;

    /// The bytes of the record.
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Self::FORMAT.to_le_bytes().to_vec();
        bytes.extend(encode(self));
        bytes
    }

    /// The record with these bytes.
    ///
    /// # Errors
    ///
    /// If the format is unknown or the bytes are not canonical: the store is damaged, or newer than this build.
    fn from_bytes(bytes: &[u8]) -> Result<Self, ReadError> {
        let failed =
            |source: BadRow| ReadError { table: Self::TABLE.name(), source: Box::new(source) };
        let (format, body) = bytes.split_first_chunk().ok_or_else(|| failed(BadRow::Short))?;
        let format = u16::from_le_bytes(*format);
        if format != Self::FORMAT {
            return Err(failed(BadRow::Format { found: format, expected: Self::FORMAT }));
        }
        decode(body).map_err(|error| failed(BadRow::Body(error)))
    }
}

/// Why a record could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BadRow {
    /// It is too short to say what it is.
    #[error("the record is cut short")]
    Short,
    /// It was written by a build that knew more, or is damaged.
    #[error("the record has format {found}; this version reads format {expected}")]
    Format {
        /// What it says.
        found: u16,
        /// What was expected.
        expected: u16,
    },
    /// It is damaged.
    #[error("the record is damaged")]
    Body(#[source] DecodeError),
    /// Another record says that it is there.
    #[error("a record that must be there is missing")]
    Missing,
}

impl BadRow {
    /// As the error of a table.
    #[must_use]
    pub fn in_table(self, table: Table) -> ReadError {
        ReadError { table: table.name(), source: Box::new(self) }
    }
}

/// Declares how records are kept: type, table, format, limit in bytes.
macro_rules! rows {
    ($($name:ty: $table:ident, format $format:literal, at most $limit:expr;)*) => {
        $(
            impl protocol::codec::Canonical for $name {
                const BYTES_MAX: usize = $limit;
            }
            impl $crate::state::record::Row for $name {
                const FORMAT: u16 = $format;
                const TABLE: $crate::records::Table = $crate::records::Table::$table;
            }
        )*
    };
}
pub(crate) use rows;

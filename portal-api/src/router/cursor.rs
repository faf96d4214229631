//! Pages of lists: where one begins and how long it is.
//!
//! A cursor is the key of the last item, with the kind of its list in front, so that a cursor of another list is
//! refused. It is no secret and needs no protection: it can only say "after this one".

use std::{fmt::Display, str::FromStr};

use protocol::limits::LIST_ITEMS_MAX;

use crate::problem::{ErrorCode, FieldError, Problem};

/// Items of a page unless the client says otherwise.
const PAGE_ITEMS_DEFAULT: u32 = 50;

/// The kinds of lists that have pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paged {
    /// After a job.
    Jobs,
    /// From a task.
    Tasks,
    /// Before a ledger entry.
    History,
    /// After a receipt.
    Receipts,
}

impl Paged {
    /// The first letters of its cursors: the version of the format, and the kind.
    const fn prefix(self) -> &'static str {
        match self {
            Self::Jobs => "1j.",
            Self::Tasks => "1t.",
            Self::History => "1h.",
            Self::Receipts => "1r.",
        }
    }

    /// The cursor for the page after a full one, made from the key of its last item. A page that is not full is
    /// the last.
    pub(super) fn next<T>(
        self,
        items: &[T],
        limit: u32,
        key: impl FnOnce(&T) -> String,
    ) -> Option<String> {
        let full = u32::try_from(items.len()).is_ok_and(|items| items >= limit);
        items.last().filter(|_| full).map(|last| format!("{}{}", self.prefix(), key(last)))
    }

    /// The key in a cursor.
    ///
    /// # Errors
    ///
    /// `invalid-cursor` if it is not one of this list.
    pub(super) fn key<K: FromStr + Display>(
        self,
        cursor: Option<&str>,
    ) -> Result<Option<K>, Problem> {
        let Some(cursor) = cursor else {
            return Ok(None);
        };
        let key = cursor.strip_prefix(self.prefix()).and_then(|key| {
            let read: K = key.parse().ok()?;
            (read.to_string() == key).then_some(read)
        });
        let invalid =
            || Problem::new(ErrorCode::InvalidCursor, "the cursor is not one of this list");
        key.map(Some).ok_or_else(invalid)
    }
}

/// The length of a page.
///
/// # Errors
///
/// `validation-failed` if the client asks for none, or for more than the maximum.
pub(super) fn limit(asked: Option<u32>) -> Result<u32, Problem> {
    match asked.unwrap_or(PAGE_ITEMS_DEFAULT) {
        limit @ 1..=LIST_ITEMS_MAX => Ok(limit),
        limit => {
            let detail = format!("{limit} is not within 1 to {LIST_ITEMS_MAX}");
            Err(Problem::invalid(vec![FieldError::new("/limit", "bad-value", detail)]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_page_says_where_the_next_begins() {
        let next = Paged::History.next(&[9_u64, 8, 7], 3, ToString::to_string);
        assert_eq!(next.as_deref(), Some("1h.7"));
        assert_eq!(Paged::History.key::<u64>(next.as_deref()), Ok(Some(7)));
        assert_eq!(Paged::History.next(&[9_u64, 8], 3, ToString::to_string), None);
        assert_eq!(Paged::History.next(&[0_u64; 0], 3, ToString::to_string), None);
    }

    #[test]
    fn a_cursor_of_another_list_is_refused() {
        for cursor in
            ["", "7", "1j.7", "2h.7", "1h.", "1h.x", "1h.07", "1h.-7", "1h.18446744073709551616"]
        {
            let refused = Paged::History.key::<u64>(Some(cursor)).unwrap_err();
            assert_eq!(refused.code, ErrorCode::InvalidCursor, "{cursor}");
        }
    }
}

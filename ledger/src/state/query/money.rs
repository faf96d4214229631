//! Balances and what changed them.

use protocol::{
    ids::AccountId,
    units::Credits,
    wire::view::{BalanceView, HistoryView},
};

use super::{bounded, get};
use crate::{
    records::{Range, ReadError, Records, Table},
    state::{
        keys,
        record::{AccountRecord, Head, HistoryRecord, Row as _},
    },
};

/// An account; an account that nothing ever happened to has nothing.
///
/// # Errors
///
/// If the records cannot be read.
pub fn account<R: Records + ?Sized>(
    records: &R,
    account: &AccountId,
) -> Result<AccountRecord, ReadError> {
    Ok(get(records, &account.0)?.unwrap_or_default())
}

/// The balance of an account.
///
/// # Errors
///
/// If the records cannot be read.
pub fn balance<R: Records + ?Sized>(records: &R, id: AccountId) -> Result<BalanceView, ReadError> {
    let account = account(records, &id)?;
    let head = get::<Head>(records, keys::HEAD)?.unwrap_or_default();
    Ok(BalanceView {
        account: id,
        available: account.available(),
        held: shown(account.held),
        earned: shown(account.earned),
        spent: shown(account.spent),
        height: head.height(),
        height_at: head.time,
    })
}

/// More than 2⁶⁴ µcr is shown as that.
fn shown(micros: u128) -> Credits {
    Credits::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

/// What changed an account, newest first; those of entries before `before`, or from the newest on.
///
/// # Errors
///
/// If the records cannot be read.
pub fn history<R: Records + ?Sized>(
    records: &R,
    account: AccountId,
    before: Option<u64>,
    limit: u32,
) -> Result<Vec<HistoryView>, ReadError> {
    let mut range = Range::prefix(&account.0, bounded(limit));
    range.reverse = true;
    if let Some(before) = before {
        range.to = keys::history(&account, before);
    }
    let found = records.scan(Table::History, &range)?.into_iter().filter_map(|(key, value)| {
        let seq = keys::seq_of(&key)?;
        Some(HistoryRecord::from_bytes(&value).map(|record| view(seq, record)))
    });
    found.collect()
}

fn view(seq: u64, record: HistoryRecord) -> HistoryView {
    HistoryView {
        seq,
        at: record.at,
        kind: record.kind.name().to_owned(),
        credit: record.credit,
        debit: record.debit,
        job: record.job,
        other: record.other,
    }
}

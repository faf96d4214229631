//! Credits move through one function, `transfer`, by double entry: what one account loses another gains.
//!
//! # The ledger's own accounts
//!
//! [`ISSUANCE`] is where credits come from, and the only one that may be below zero. [`FEES`] is the
//! coordinators' part, [`ROUNDING`] what division leaves. The [`escrow`] of a job holds its budget while it is
//! open; it is removed when the job has ended and it is empty. Nobody can sign for any of them.

use protocol::{
    ids::{AccountId, JobId},
    reject::RejectReason,
    units::Credits,
};

use super::{
    draft::{Draft, Refusal},
    keys,
    record::{AccountRecord, HistoryKind, HistoryRecord},
};
use crate::{
    command::Rejection,
    records::{Records, Table},
};

/// Where credits come from.
pub const ISSUANCE: AccountId = AccountId::system(b"issuance");
/// The coordinators' part of what work costs.
pub const FEES: AccountId = AccountId::system(b"fees");
/// What rounding leaves.
pub const ROUNDING: AccountId = AccountId::system(b"rounding");
/// What belongs to the mesh.
pub const TREASURY: AccountId = AccountId::system(b"treasury");
/// Where credits end.
pub const BURN: AccountId = AccountId::system(b"burn");
/// Stands for the escrow of any job where an account is shown.
pub const ESCROW: AccountId = AccountId::system(b"escrow");
/// Begins the name of a job's escrow; the sixteen bytes of its id follow.
const ESCROW_NAME: &[u8; 7] = b"escrow/";

/// The account that holds the budget of a job while it is open: `system("escrow/" ‖ job id)`.
#[must_use]
pub fn escrow(job: &JobId) -> AccountId {
    let mut name = [0; 23];
    let (prefix, id) = name.split_at_mut(ESCROW_NAME.len());
    prefix.copy_from_slice(ESCROW_NAME);
    id.copy_from_slice(&job.0);
    AccountId::system(&name)
}

/// The account as it is shown: escrows all alike, since the job stands beside them.
fn shown(account: AccountId) -> AccountId {
    let prefix = [b"weft/sys".as_slice(), ESCROW_NAME].concat();
    if account.0.starts_with(&prefix) { ESCROW } else { account }
}

/// One movement of credits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Movement {
    /// What it is to the owners on both sides.
    pub(crate) kind: HistoryKind,
    /// Whom the credits leave.
    pub(crate) from: AccountId,
    /// Whom they reach.
    pub(crate) to: AccountId,
    /// How many. Nothing moves nothing and leaves no trace.
    pub(crate) amount: Credits,
    /// The job that it is about.
    pub(crate) job: Option<JobId>,
}

/// Moves credits as part of the newest entry. One entry changes an account at most once per kind of movement.
pub(crate) fn transfer<R: Records + ?Sized>(
    draft: &mut Draft<'_, R>,
    what: &Movement,
) -> Result<(), Refusal> {
    let Movement { from, to, amount, .. } = *what;
    if amount.is_zero() {
        return Ok(());
    }
    if amount > Credits::ENTRY_MAX {
        return Err(RejectReason::AmountOverflow.into());
    }
    if from == to {
        return Err(RejectReason::Invalid.into());
    }
    let mut payer: AccountRecord = draft.get(&from.0)?.unwrap_or_default();
    let mut payee: AccountRecord = draft.get(&to.0)?.unwrap_or_default();
    let micros = u128::from(amount.micros());
    if from != ISSUANCE && payer.available() < amount {
        return Err(insufficient(amount, payer.available()));
    }
    payer.debits = payer.debits.checked_add(micros).ok_or(RejectReason::AmountOverflow)?;
    payee.credits = payee.credits.checked_add(micros).ok_or(RejectReason::AmountOverflow)?;
    if what.kind == HistoryKind::Earning {
        payee.earned = payee.earned.checked_add(micros).ok_or(RejectReason::AmountOverflow)?;
    }
    draft.put(from.0.to_vec(), &payer);
    draft.put(to.0.to_vec(), &payee);
    let row = HistoryRecord {
        kind: what.kind,
        credit: Credits::ZERO,
        debit: Credits::ZERO,
        job: what.job,
        other: ESCROW,
        at: draft.head().time,
    };
    remember(draft, from, &HistoryRecord { debit: amount, other: shown(to), ..row });
    remember(draft, to, &HistoryRecord { credit: amount, other: shown(from), ..row });
    Ok(())
}

/// Writes what the newest entry did to an owner's account.
fn remember<R: Records + ?Sized>(
    draft: &mut Draft<'_, R>,
    account: AccountId,
    row: &HistoryRecord,
) {
    if !account.is_system() {
        let key = keys::history(&account, draft.head().height());
        draft.put(key, row);
        draft.touched(account);
    }
}

/// The refusal of an account that does not hold enough.
pub(crate) fn insufficient(needed: Credits, available: Credits) -> Refusal {
    let amounts = Some((needed.micros(), available.micros()));
    Refusal::Rejected(Rejection { reason: RejectReason::InsufficientCredits, amounts })
}

/// Changes what the account's open jobs hold and what they have cost, beside the movements themselves.
pub(crate) fn adjust_held<R: Records + ?Sized>(
    draft: &mut Draft<'_, R>,
    account: AccountId,
    change: Held,
) -> Result<(), Refusal> {
    let mut record: AccountRecord = draft.get(&account.0)?.unwrap_or_default();
    let amount = |amount: Credits| u128::from(amount.micros());
    let overflow = RejectReason::AmountOverflow;
    match change {
        Held::More(more) => record.held = record.held.checked_add(amount(more)).ok_or(overflow)?,
        Held::Spent(spent) => {
            record.held = record.held.checked_sub(amount(spent)).ok_or(overflow)?;
            record.spent = record.spent.checked_add(amount(spent)).ok_or(overflow)?;
        }
        Held::Returned(returned) => {
            record.held = record.held.checked_sub(amount(returned)).ok_or(overflow)?
        }
    }
    draft.put(account.0.to_vec(), &record);
    draft.touched(account);
    Ok(())
}

/// A change of what an account's open jobs hold.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Held {
    /// A job took its budget.
    More(Credits),
    /// A job was charged.
    Spent(Credits),
    /// A job gave back the rest.
    Returned(Credits),
}

/// Removes the escrow of a job that has ended, once it is empty.
pub(crate) fn drop_escrow<R: Records + ?Sized>(
    draft: &mut Draft<'_, R>,
    job: &JobId,
) -> Result<(), Refusal> {
    let account = escrow(job);
    if draft.get::<AccountRecord>(&account.0)?.is_some_and(|record| record.balance() == 0) {
        draft.remove(Table::Accounts, account.0.to_vec());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_job_has_an_escrow_of_its_own_and_all_are_shown_alike() {
        let (one, other) = (escrow(&JobId([1; 16])), escrow(&JobId([2; 16])));
        assert!(one != other && one.is_system());
        assert_eq!((shown(one), shown(FEES)), (ESCROW, FEES));
    }
}

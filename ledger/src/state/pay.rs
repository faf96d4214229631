//! Owners move credits.

use protocol::{keys::is_sound, reject::RejectReason, sign::Signed, wire::job::Transfer};

use super::{
    draft::{Draft, Outcome, Refusal},
    entry::TransferBody,
    keys,
    money::{Movement, transfer},
    record::{HistoryKind, Policy},
};
use crate::records::Records;

/// Moves credits from the signer to another owner. The same statement moves them once.
pub(super) fn pay<R: Records + ?Sized>(
    draft: &mut Draft<'_, R>,
    policy: &Policy,
    signed: &Signed<Transfer>,
) -> Result<Outcome, Refusal> {
    let verified = signed.clone().verify(&policy.mesh)?;
    let Transfer { id, from, to, amount, valid_until } = *verified.claim();
    if from.0 != *verified.signer() {
        return Err(RejectReason::BadSignature.into());
    }
    if let Some(reply) = draft.claim(keys::transfer_id(&from, &id), signed.hash())? {
        return Ok(Outcome::Known(reply));
    }
    if amount.is_zero() || to == from || to.is_system() || !is_sound(&to.0) {
        return Err(RejectReason::Invalid.into());
    }
    if draft.now() > valid_until {
        return Err(RejectReason::OutsideValidity.into());
    }
    draft.append(&TransferBody { transfer: signed.clone() })?;
    transfer(draft, &Movement { kind: HistoryKind::Transfer, from, to, amount, job: None })?;
    Ok(Outcome::Done)
}

//! What operators decide about nodes.
//!
//! A decision carries its time, and only a later one replaces it, so that an old approval cannot be replayed
//! after a node was blocked.

use std::time::Duration;

use protocol::{
    ids::{AccountId, NodeId},
    limits::NOTE_BYTES_MAX,
    reject::RejectReason,
    sign::Signed,
    time::UnixMillis,
    units::Credits,
    wire::{
        enroll::{NodeDecision, Verdict},
        owner::Delegation,
        view::Admission,
    },
};

use super::{
    Event,
    admission::{approve, in_order, owns_one_less, owns_one_more, waits_one_more},
    draft::{Draft, Outcome, Refusal},
    entry::{ApproveBody, RevokeBody},
    record::{NodeRecord, Policy},
};
use crate::records::Records;

/// How far ahead of cluster time the clock of an operator may be.
const AHEAD_MAX: Duration = Duration::from_secs(24 * 3_600);

/// The operators' rule for statements of theirs: who signed, and when.
pub(super) fn by_operator(
    policy: &Policy,
    signer: &[u8; 32],
    at: UnixMillis,
    now: UnixMillis,
) -> Result<(), Refusal> {
    if !policy.operators.contains(&AccountId(*signer)) {
        return Err(RejectReason::NotPermitted.into());
    }
    if at > now.saturating_add(AHEAD_MAX) {
        return Err(RejectReason::OutsideValidity.into());
    }
    Ok(())
}

/// A node leaves by its own word.
fn by_itself(decision: &NodeDecision, signer: &[u8; 32], now: UnixMillis) -> Result<(), Refusal> {
    if decision.node.0 != *signer {
        return Err(RejectReason::NotPermitted.into());
    }
    if decision.at > now.saturating_add(AHEAD_MAX) {
        return Err(RejectReason::OutsideValidity.into());
    }
    Ok(())
}

/// An operator decides about a node, or it leaves.
pub(super) fn decide<R: Records + ?Sized>(
    draft: &mut Draft<'_, R>,
    policy: &Policy,
    signed: &Signed<NodeDecision>,
) -> Result<Outcome, Refusal> {
    let verified = signed.clone().verify(&policy.mesh)?;
    let decision = verified.claim();
    if decision.verdict == Verdict::Leave {
        by_itself(decision, verified.signer(), draft.now())?;
    } else {
        by_operator(policy, verified.signer(), decision.at, draft.now())?;
    }
    if decision.note.len() > NOTE_BYTES_MAX || decision.note.chars().any(char::is_control) {
        return Err(RejectReason::Invalid.into());
    }
    let mut record: NodeRecord = draft.get(&decision.node.0)?.ok_or(RejectReason::NotFound)?;
    let hash = signed.hash();
    match record.decided {
        Some((_, last)) if last == hash => return Ok(Outcome::Done),
        Some((at, _)) if decision.at <= at => return Err(RejectReason::OutsideValidity.into()),
        Some(_) | None => {}
    }
    check_state(policy, decision, &record)?;
    record.decided = Some((decision.at, hash));
    record.note.clone_from(&decision.note);
    let of_partner = (record.replaced.map(|replaced| replaced.by), record.replaces);
    match decision.verdict {
        Verdict::Approve => approve_as_decided(draft, policy, signed, decision, record)?,
        Verdict::Reinstate => reinstate(draft, policy, signed, decision, record)?,
        Verdict::Reject | Verdict::Block | Verdict::Suspend | Verdict::Unblock | Verdict::Leave => {
            draft.append(&RevokeBody { decision: signed.clone() })?;
            let to = match decision.verdict {
                Verdict::Suspend => After::Is(Admission::Suspended),
                Verdict::Unblock => After::Is(Admission::Pending),
                Verdict::Leave => After::Gone,
                Verdict::Reject | Verdict::Block | Verdict::Approve | Verdict::Reinstate => {
                    After::Is(Admission::Blacklisted)
                }
            };
            record.reason = decision.reason.filter(|_| decision.verdict == Verdict::Block);
            end_membership(draft, decision.node, record, to)?;
            // A node that changes its key is one node: who blocks or suspends it means both keys.
            if decision.verdict != Verdict::Unblock {
                for partner in [of_partner.0, of_partner.1].into_iter().flatten() {
                    follow(draft, decision, partner, to)?;
                }
            }
        }
    }
    Ok(Outcome::Done)
}

/// Whether the decision makes sense for a node that is what it is.
fn check_state(
    policy: &Policy,
    decision: &NodeDecision,
    record: &NodeRecord,
) -> Result<(), Refusal> {
    let ended = record.replaced.is_some() && record.admission != Admission::Approved;
    let waits = record.admission == Admission::Pending && !record.left;
    let (possible, spares_coordinator) = match decision.verdict {
        Verdict::Approve => (record.replaced.is_none() && !record.left, true),
        Verdict::Reject => (waits, true),
        Verdict::Block => (true, decision.node != policy.coordinator),
        Verdict::Suspend | Verdict::Leave => {
            (record.admission == Admission::Approved, decision.node != policy.coordinator)
        }
        Verdict::Reinstate => (record.admission == Admission::Suspended, true),
        Verdict::Unblock => (record.admission == Admission::Blacklisted && !ended, true),
    };
    if !spares_coordinator {
        return Err(RejectReason::NotPermitted.into());
    }
    if possible { Ok(()) } else { Err(RejectReason::WrongState.into()) }
}

fn approve_as_decided<R: Records + ?Sized>(
    draft: &mut Draft<'_, R>,
    policy: &Policy,
    signed: &Signed<NodeDecision>,
    decision: &NodeDecision,
    record: NodeRecord,
) -> Result<(), Refusal> {
    let roles = in_order(&decision.roles)?;
    let delegation = match &decision.delegation {
        Some(delegation) => Some((delegation.clone(), delegated(policy, decision, delegation)?)),
        None => None,
    };
    let as_before = record.admission == Admission::Approved
        && record.roles == roles
        && record.delegation == decision.delegation;
    if as_before {
        return Ok(());
    }
    let body = ApproveBody {
        node: decision.node,
        roles,
        decision: Some(signed.clone()),
        invite: None,
        grant: Credits::ZERO,
    };
    approve(draft, policy, record, body, delegation)
}

/// The owner who delegates to the node that is decided about.
fn delegated(
    policy: &Policy,
    decision: &NodeDecision,
    delegation: &Signed<Delegation>,
) -> Result<AccountId, Refusal> {
    let verified = delegation.clone().verify(&policy.mesh)?;
    let Delegation { node, owner, .. } = *verified.claim();
    if owner.0 != *verified.signer() || node != decision.node {
        return Err(RejectReason::BadSignature.into());
    }
    if owner.is_system() { Err(RejectReason::Invalid.into()) } else { Ok(owner) }
}

/// A suspended node is again what it was.
fn reinstate<R: Records + ?Sized>(
    draft: &mut Draft<'_, R>,
    policy: &Policy,
    signed: &Signed<NodeDecision>,
    decision: &NodeDecision,
    record: NodeRecord,
) -> Result<(), Refusal> {
    let body = ApproveBody {
        node: decision.node,
        roles: record.roles.clone(),
        decision: Some(signed.clone()),
        invite: None,
        grant: Credits::ZERO,
    };
    let account = record.account;
    let delegation = record.delegation.clone().map(|delegation| (delegation, account));
    approve(draft, policy, record, body, delegation)
}

/// What a node is that is no member any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    /// This.
    Is(Admission),
    /// Nothing: it has left.
    Gone,
}

/// A node is something else than a member, as part of the newest entry.
fn end_membership<R: Records + ?Sized>(
    draft: &mut Draft<'_, R>,
    node: NodeId,
    mut record: NodeRecord,
    to: After,
) -> Result<(), Refusal> {
    match record.admission {
        // Who has left was not counted among those who wait.
        Admission::Pending if record.left => {}
        Admission::Pending => draft.counts().pending = draft.counts().pending.saturating_sub(1),
        Admission::Approved => owns_one_less(draft, record.account)?,
        Admission::Suspended | Admission::Blacklisted => {}
    }
    if to == After::Is(Admission::Pending) {
        waits_one_more(draft)?;
    }
    if to != After::Is(Admission::Suspended) {
        // What an owner allowed a node ends with its membership, and is not there again when it comes back.
        record.delegation = None;
        record.account = record.own;
    }
    draft.counts().roster = draft.counts().roster.saturating_add(1);
    record.left = to == After::Gone;
    record.admission = match to {
        After::Is(admission) => admission,
        After::Gone => Admission::Pending,
    };
    if record.left {
        record.enrollment = None;
        record.labels = Vec::new();
    }
    record.since = draft.now();
    draft.put(node.0.to_vec(), &record);
    draft.tell(Event::NodeChanged { node });
    Ok(())
}

/// What is decided about one of two keys of a node holds for the other.
fn follow<R: Records + ?Sized>(
    draft: &mut Draft<'_, R>,
    decision: &NodeDecision,
    partner: NodeId,
    to: After,
) -> Result<(), Refusal> {
    let Some(mut record) = draft.get::<NodeRecord>(&partner.0)? else { return Ok(()) };
    if record.admission == Admission::Approved || to == After::Is(Admission::Blacklisted) {
        record.note.clone_from(&decision.note);
        record.reason = decision.reason.filter(|_| decision.verdict == Verdict::Block);
        end_membership(draft, partner, record, to)?;
    }
    Ok(())
}

/// One approved node more or less, where only that changes.
pub(super) fn members_changed<R: Records + ?Sized>(
    draft: &mut Draft<'_, R>,
    account: AccountId,
    more: bool,
) -> Result<(), Refusal> {
    if more {
        owns_one_more(draft, account)?;
    } else {
        owns_one_less(draft, account)?;
    }
    draft.counts().roster = draft.counts().roster.saturating_add(1);
    Ok(())
}

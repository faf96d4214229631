//! A node changes its key: both are good for a while, and then only the new one.

use protocol::{
    ids::NodeId,
    keys::is_sound,
    limits::{KEY_GRACE, NODES_MAX},
    reject::RejectReason,
    sign::Signed,
    wire::{owner::KeyRotation, view::Admission},
};

use super::{
    Event,
    decisions::members_changed,
    draft::{Draft, Outcome, Refusal},
    entry::RotateBody,
    record::{NodeRecord, Policy, Replaced},
};
use crate::records::Records;

/// From now on a node is known by another key too: a member with the same owner, name, roles and labels. What an
/// owner delegated was for the old key; the new one earns for the same account, and needs a delegation of its own
/// to submit for it.
pub(super) fn rotate<R: Records + ?Sized>(
    draft: &mut Draft<'_, R>,
    policy: &Policy,
    by_old: &Signed<KeyRotation>,
    by_new: &Signed<KeyRotation>,
) -> Result<Outcome, Refusal> {
    let (old, new) = (by_old.clone().verify(&policy.mesh)?, by_new.clone().verify(&policy.mesh)?);
    let change = old.claim();
    if old.claim() != new.claim()
        || change.old.0 != *old.signer()
        || change.new.0 != *new.signer()
        || change.old == change.new
    {
        return Err(RejectReason::BadSignature.into());
    }
    let mut record: NodeRecord = draft.get(&change.old.0)?.ok_or(RejectReason::NotEnrolled)?;
    match record.replaced {
        Some(replaced) if replaced.by == change.new => return Ok(Outcome::Done),
        Some(_) => return Err(RejectReason::KeyReplaced.into()),
        None => {}
    }
    if record.admission != Admission::Approved {
        return Err(RejectReason::NotApproved.into());
    }
    // The first coordinator's key signs checkpoints, and Genesis names it.
    if change.old == policy.coordinator {
        return Err(RejectReason::NotPermitted.into());
    }
    if !is_sound(&change.new.0) {
        return Err(RejectReason::Invalid.into());
    }
    // One change at a time: the key before this one must have ended.
    if record.replaces.is_some() {
        return Err(RejectReason::WrongState.into());
    }
    if draft.get::<NodeRecord>(&change.new.0)?.is_some() {
        return Err(RejectReason::NodeTaken.into());
    }
    let nodes = draft.counts().nodes;
    if usize::try_from(nodes).map_or(true, |nodes| nodes >= NODES_MAX) {
        return Err(RejectReason::Busy.into());
    }
    draft.counts().nodes = nodes.saturating_add(1);
    let until = draft.now().saturating_add(KEY_GRACE);
    draft.append(&RotateBody::Replaced {
        by_old: Box::new(by_old.clone()),
        by_new: Box::new(by_new.clone()),
        until,
    })?;
    let (from, to) = (change.old, change.new);
    let successor = NodeRecord {
        since: draft.now(),
        enrollment: None,
        decided: None,
        delegation: None,
        labelled: None,
        replaces: Some(from),
        ..record.clone()
    };
    record.replaced = Some(Replaced { by: to, until });
    members_changed(draft, record.account, true)?;
    for (node, record) in [(from, &record), (to, &successor)] {
        draft.put(node.0.to_vec(), record);
        draft.tell(Event::NodeChanged { node });
    }
    Ok(Outcome::Done)
}

/// The time to change over has passed: the old key is refused from now on. Refused while it has not passed.
pub(super) fn end<R: Records + ?Sized>(
    draft: &mut Draft<'_, R>,
    old: &NodeId,
) -> Result<Outcome, Refusal> {
    let mut record: NodeRecord = draft.get(&old.0)?.ok_or(RejectReason::NotFound)?;
    let replaced = record.replaced.ok_or(RejectReason::WrongState)?;
    if record.admission != Admission::Approved {
        return Ok(Outcome::Done);
    }
    if draft.now() < replaced.until {
        return Err(RejectReason::WrongState.into());
    }
    draft.append(&RotateBody::Ended { old: *old })?;
    members_changed(draft, record.account, false)?;
    record.admission = Admission::Blacklisted;
    record.delegation = None;
    record.since = draft.now();
    draft.put(old.0.to_vec(), &record);
    draft.tell(Event::NodeChanged { node: *old });
    if let Some(mut successor) = draft.get::<NodeRecord>(&replaced.by.0)? {
        successor.replaces = None;
        draft.put(replaced.by.0.to_vec(), &successor);
    }
    Ok(Outcome::Done)
}

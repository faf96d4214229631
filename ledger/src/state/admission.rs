//! Who is a member: asking to join, and what operators decide.
//!
//! A decision carries its time, and only a later one replaces it, so that an old approval cannot be replayed
//! after a node was blocked.

use std::{collections::BTreeSet, time::Duration};

use protocol::{
    ids::AccountId,
    keys::is_sound,
    limits::NODES_MAX,
    reject::RejectReason,
    sign::Signed,
    units::Credits,
    wire::{
        enroll::{EnrollRequest, Enrollment, NodeDecision, Role, Verdict},
        genesis::Joining,
        is_name,
        view::Admission,
    },
};

use super::{
    Event,
    draft::{Draft, Outcome, Refusal},
    entry::{ApproveBody, EnrollBody, RevokeBody},
    money::{ISSUANCE, Movement, transfer},
    record::{AccountRecord, HistoryKind, NodeRecord, Policy},
};
use crate::records::Records;

/// Nodes that may wait at a time, so that strangers cannot fill the registry.
const PENDING_MAX: usize = 1_024;
/// How far ahead of cluster time the clock of an operator may be.
const AHEAD_MAX: Duration = Duration::from_secs(24 * 3_600);
/// A version of software, in bytes.
const SOFTWARE_BYTES_MAX: usize = 64;

/// A node asks to join. Asking again while it waits or is a member changes nothing.
pub(super) fn enroll<R: Records + ?Sized>(
    draft: &mut Draft<'_, R>,
    policy: &Policy,
    request: &EnrollRequest,
) -> Result<Outcome, Refusal> {
    let asked = checked(policy, request)?;
    let roles = in_order(&asked.roles)?;
    let known: Option<NodeRecord> = draft.get(&asked.node.0)?;
    match &known {
        Some(known) if known.admission == Admission::Approved && known.account != asked.account => {
            return Err(RejectReason::NodeTaken.into());
        }
        Some(known) if known.admission == Admission::Approved => return Ok(Outcome::Done),
        Some(known) if known.admission == Admission::Pending => {
            if known.account == asked.account && known.name == asked.name && known.roles == roles {
                return Ok(Outcome::Done);
            }
        }
        Some(_) => return Err(RejectReason::Blacklisted.into()),
        None => {
            let counts = draft.counts();
            let full =
                |count: u32, max: usize| usize::try_from(count).map_or(true, |count| count >= max);
            if full(counts.nodes, NODES_MAX) || full(counts.pending, PENDING_MAX) {
                return Err(RejectReason::Busy.into());
            }
            counts.nodes = counts.nodes.saturating_add(1);
            counts.pending = counts.pending.saturating_add(1);
        }
    }
    draft.append(&EnrollBody { request: request.clone() })?;
    let record = NodeRecord {
        account: asked.account,
        name: asked.name.clone(),
        admission: Admission::Pending,
        roles: roles.clone(),
        since: draft.now(),
        enrollment: Some(request.clone()),
        decided: known.and_then(|known| known.decided),
    };
    draft.put(asked.node.0.to_vec(), &record);
    draft.tell(Event::NodeChanged { node: asked.node });
    if policy.joining == Joining::Automatic {
        let approval =
            ApproveBody { node: asked.node, roles, decision: None, grant: Credits::ZERO };
        approve(draft, policy, record, approval)?;
    }
    Ok(Outcome::Done)
}

/// What is asked, where node and owner both signed it and it is within its bounds.
fn checked(policy: &Policy, request: &EnrollRequest) -> Result<Enrollment, Refusal> {
    let enrollment = request.enrollment.clone().verify(&policy.mesh)?;
    let consent = request.consent.clone().verify(&policy.mesh)?;
    let asked = enrollment.claim();
    if asked.node.0 != *enrollment.signer()
        || asked.account.0 != *consent.signer()
        || consent.claim().node != asked.node
    {
        return Err(RejectReason::BadSignature.into());
    }
    let valid = is_name(&asked.name)
        && asked.software.len() <= SOFTWARE_BYTES_MAX
        && !asked.account.is_system()
        && is_sound(&asked.node.0)
        && is_sound(&asked.account.0);
    if valid { Ok(enrollment.into_claim()) } else { Err(RejectReason::Invalid.into()) }
}

/// Roles in order, each once. There must be one.
fn in_order(roles: &[Role]) -> Result<Vec<Role>, Refusal> {
    let roles: BTreeSet<_> = roles.iter().copied().collect();
    if roles.is_empty() {
        Err(RejectReason::Invalid.into())
    } else {
        Ok(roles.into_iter().collect())
    }
}

/// An operator decides about a node.
pub(super) fn decide<R: Records + ?Sized>(
    draft: &mut Draft<'_, R>,
    policy: &Policy,
    signed: &Signed<NodeDecision>,
) -> Result<Outcome, Refusal> {
    let verified = signed.clone().verify(&policy.mesh)?;
    let decision = verified.claim();
    if !policy.operators.contains(&AccountId(*verified.signer())) {
        return Err(RejectReason::NotPermitted.into());
    }
    let mut record: NodeRecord = draft.get(&decision.node.0)?.ok_or(RejectReason::NotFound)?;
    let hash = signed.hash();
    match record.decided {
        Some((_, last)) if last == hash => return Ok(Outcome::Done),
        Some((at, _)) if decision.at <= at => return Err(RejectReason::OutsideValidity.into()),
        Some(_) | None => {}
    }
    if decision.at > draft.now().saturating_add(AHEAD_MAX) {
        return Err(RejectReason::OutsideValidity.into());
    }
    record.decided = Some((decision.at, hash));
    match decision.verdict {
        Verdict::Approve => {
            let roles = in_order(&decision.roles)?;
            if record.admission != Admission::Approved || record.roles != roles {
                let (node, decision) = (decision.node, Some(signed.clone()));
                approve(
                    draft,
                    policy,
                    record,
                    ApproveBody { node, roles, decision, grant: Credits::ZERO },
                )?;
            }
        }
        Verdict::Reject if record.admission != Admission::Pending => {
            return Err(RejectReason::WrongState.into());
        }
        Verdict::Block if decision.node == policy.coordinator => {
            return Err(RejectReason::NotPermitted.into());
        }
        Verdict::Reject | Verdict::Block => revoke(draft, decision, signed, record)?,
    }
    Ok(Outcome::Done)
}

/// Makes a node a member, or changes what it may do. The grant in `body` is filled in.
fn approve<R: Records + ?Sized>(
    draft: &mut Draft<'_, R>,
    policy: &Policy,
    mut record: NodeRecord,
    mut body: ApproveBody,
) -> Result<(), Refusal> {
    let mut owner: AccountRecord = draft.get(&record.account.0)?.unwrap_or_default();
    if record.admission == Admission::Pending {
        draft.counts().pending = draft.counts().pending.saturating_sub(1);
    }
    if record.admission != Admission::Approved {
        body.grant = welcome_due(draft, policy, record.account)?;
        owner.nodes = owner.nodes.saturating_add(1);
        draft.put(record.account.0.to_vec(), &owner);
    }
    draft.append(&body)?;
    record.admission = Admission::Approved;
    record.roles = body.roles;
    record.since = draft.now();
    welcome(draft, record.account, body.grant)?;
    draft.put(body.node.0.to_vec(), &record);
    draft.counts().roster = draft.counts().roster.saturating_add(1);
    draft.tell(Event::NodeChanged { node: body.node });
    Ok(())
}

/// Refuses a node, or ends its membership.
fn revoke<R: Records + ?Sized>(
    draft: &mut Draft<'_, R>,
    decision: &NodeDecision,
    signed: &Signed<NodeDecision>,
    mut record: NodeRecord,
) -> Result<(), Refusal> {
    draft.append(&RevokeBody { decision: signed.clone() })?;
    match record.admission {
        Admission::Pending => draft.counts().pending = draft.counts().pending.saturating_sub(1),
        Admission::Approved => {
            let mut owner: AccountRecord = draft.get(&record.account.0)?.unwrap_or_default();
            owner.nodes = owner.nodes.saturating_sub(1);
            draft.put(record.account.0.to_vec(), &owner);
            draft.counts().roster = draft.counts().roster.saturating_add(1);
        }
        Admission::Suspended | Admission::Blacklisted => {}
    }
    record.admission = Admission::Blacklisted;
    record.since = draft.now();
    draft.put(decision.node.0.to_vec(), &record);
    draft.tell(Event::NodeChanged { node: decision.node });
    Ok(())
}

/// What an account is given with its first approved node: nothing if it was given it before, or if as many as
/// allowed were.
pub(super) fn welcome_due<R: Records + ?Sized>(
    draft: &mut Draft<'_, R>,
    policy: &Policy,
    account: AccountId,
) -> Result<Credits, Refusal> {
    let owner: AccountRecord = draft.get(&account.0)?.unwrap_or_default();
    let due = !owner.welcomed && draft.counts().grants < policy.welcome_grants_max;
    Ok(if due { policy.welcome_grant } else { Credits::ZERO })
}

/// Gives an account what it is due, as part of the newest entry.
pub(super) fn welcome<R: Records + ?Sized>(
    draft: &mut Draft<'_, R>,
    account: AccountId,
    grant: Credits,
) -> Result<(), Refusal> {
    if grant.is_zero() {
        return Ok(());
    }
    let kind = HistoryKind::Grant;
    transfer(draft, &Movement { kind, from: ISSUANCE, to: account, amount: grant, job: None })?;
    let mut owner: AccountRecord = draft.get(&account.0)?.unwrap_or_default();
    owner.welcomed = true;
    draft.put(account.0.to_vec(), &owner);
    draft.counts().grants = draft.counts().grants.saturating_add(1);
    Ok(())
}

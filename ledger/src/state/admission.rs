//! Who is let in: asking to join, and becoming a member.

use std::{collections::BTreeSet, time::Duration};

use protocol::{
    code::Nonce,
    ids::AccountId,
    keys::is_sound,
    limits::NODES_MAX,
    reject::RejectReason,
    sign::Signed,
    time::UnixMillis,
    units::Credits,
    wire::{
        enroll::{EnrollStatements, Enrollment, Role},
        genesis::Joining,
        is_name,
        owner::Delegation,
        view::Admission,
    },
};

use super::{
    Event,
    draft::{Draft, Outcome, Refusal},
    entry::{ApproveBody, EnrollBody},
    invites,
    money::{ISSUANCE, Movement, transfer},
    record::{AccountRecord, HistoryKind, NodeRecord, Policy},
};
use crate::records::Records;

/// Nodes that may wait at a time, so that strangers cannot fill the registry.
const PENDING_MAX: usize = 1_024;
/// How long a node that waits has to, before it may ask for something else: each time is an entry, and another code
/// for whoever sits between two machines to try.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// A version of software, in bytes.
const SOFTWARE_BYTES_MAX: usize = 64;

/// A node asks to join. Asking again for the same while it waits, or while it is a member, changes nothing.
pub(super) fn enroll<R: Records + ?Sized>(
    draft: &mut Draft<'_, R>,
    policy: &Policy,
    statements: &EnrollStatements,
    nonce: &Nonce,
) -> Result<Outcome, Refusal> {
    let asked = checked(policy, statements)?;
    let roles = in_order(&asked.roles)?;
    let known: Option<NodeRecord> = draft.get(&asked.node.0)?;
    if let Some(known) = &known {
        let invited = statements.invite.is_some();
        if asks_nothing_new(known, &asked, &roles, invited, draft.now())? {
            return Ok(Outcome::Done);
        }
    }
    let shown = statements.invite.as_ref();
    let invite = shown.map(|shown| invites::prove(draft, policy, shown, &asked)).transpose()?;
    match &known {
        None => {
            room_for_one(draft)?;
            waits_one_more(draft)?;
        }
        Some(known) if known.left => waits_one_more(draft)?,
        Some(_) => {}
    }
    draft.append(&EnrollBody { statements: statements.clone(), nonce: *nonce })?;
    let record = NodeRecord {
        account: asked.account,
        own: asked.account,
        name: asked.name.clone(),
        admission: Admission::Pending,
        roles: roles.clone(),
        since: draft.now(),
        enrollment: Some((statements.clone(), *nonce)),
        decided: known.as_ref().and_then(|known| known.decided),
        reason: None,
        note: String::new(),
        delegation: None,
        labels: known.as_ref().map(|known| known.labels.clone()).unwrap_or_default(),
        labelled: known.as_ref().and_then(|known| known.labelled),
        replaced: None,
        replaces: None,
        left: false,
    };
    draft.put(asked.node.0.to_vec(), &record);
    draft.tell(Event::NodeChanged { node: asked.node });
    let body = match invite {
        Some(invite) => {
            let roles = invite.roles(&roles);
            let used = invite.use_up(draft, asked.node);
            Some(ApproveBody { roles, invite: Some(used), ..by_nobody(&asked) })
        }
        None if policy.joining == Joining::Automatic => {
            Some(ApproveBody { roles, ..by_nobody(&asked) })
        }
        None => None,
    };
    if let Some(body) = body {
        approve(draft, policy, record, body, None)?;
    }
    Ok(Outcome::Done)
}

/// An approval that no person made.
fn by_nobody(asked: &Enrollment) -> ApproveBody {
    ApproveBody {
        node: asked.node,
        roles: Vec::new(),
        decision: None,
        invite: None,
        grant: Credits::ZERO,
    }
}

/// Whether a node that is known asks for what it has or waits for already.
fn asks_nothing_new(
    known: &NodeRecord,
    asked: &Enrollment,
    roles: &[Role],
    invited: bool,
    now: UnixMillis,
) -> Result<bool, Refusal> {
    if known.replaced.is_some() && !known.is_member(now) {
        return Err(RejectReason::KeyReplaced.into());
    }
    if known.left {
        return Ok(false);
    }
    match known.admission {
        Admission::Blacklisted => Err(RejectReason::Blacklisted.into()),
        Admission::Approved | Admission::Suspended | Admission::Pending
            if known.own != asked.account =>
        {
            Err(RejectReason::NodeTaken.into())
        }
        Admission::Suspended => Err(RejectReason::Suspended.into()),
        Admission::Approved => Ok(true),
        Admission::Pending if invited => Ok(false),
        Admission::Pending => {
            let before = known.enrollment.as_ref().and_then(|(before, _)| {
                before.enrollment.peek().ok().map(|before| before.commitment)
            });
            if known.name == asked.name && known.roles == roles && before == Some(asked.commitment)
            {
                return Ok(true);
            }
            if before.is_some() && now < known.since.saturating_add(ASK_AGAIN_AFTER) {
                return Err(RejectReason::RateLimited.into());
            }
            Ok(false)
        }
    }
}

/// Counts one more node that is known.
fn room_for_one<R: Records + ?Sized>(draft: &mut Draft<'_, R>) -> Result<(), Refusal> {
    let nodes = draft.counts().nodes;
    if usize::try_from(nodes).map_or(true, |nodes| nodes >= NODES_MAX) {
        return Err(RejectReason::Busy.into());
    }
    draft.counts().nodes = nodes.saturating_add(1);
    Ok(())
}

/// Counts one more node that waits.
pub(super) fn waits_one_more<R: Records + ?Sized>(draft: &mut Draft<'_, R>) -> Result<(), Refusal> {
    let pending = draft.counts().pending;
    if usize::try_from(pending).map_or(true, |pending| pending >= PENDING_MAX) {
        return Err(RejectReason::Busy.into());
    }
    draft.counts().pending = pending.saturating_add(1);
    Ok(())
}

/// What is asked, where node and owner both signed it and it is within its bounds.
fn checked(policy: &Policy, statements: &EnrollStatements) -> Result<Enrollment, Refusal> {
    let enrollment = statements.enrollment.clone().verify(&policy.mesh)?;
    let consent = statements.consent.clone().verify(&policy.mesh)?;
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
pub(super) fn in_order(roles: &[Role]) -> Result<Vec<Role>, Refusal> {
    let roles: BTreeSet<_> = roles.iter().copied().collect();
    if roles.is_empty() {
        Err(RejectReason::Invalid.into())
    } else {
        Ok(roles.into_iter().collect())
    }
}

/// Makes a node a member, or changes what it may do and whose it is. The grant in `body` is filled in.
pub(super) fn approve<R: Records + ?Sized>(
    draft: &mut Draft<'_, R>,
    policy: &Policy,
    mut record: NodeRecord,
    mut body: ApproveBody,
    delegation: Option<(Signed<Delegation>, AccountId)>,
) -> Result<(), Refusal> {
    let was_member = record.admission == Admission::Approved;
    let account = delegation.as_ref().map_or(record.own, |(_, owner)| *owner);
    if record.admission == Admission::Pending {
        draft.counts().pending = draft.counts().pending.saturating_sub(1);
    }
    if !was_member {
        body.grant = welcome_due(draft, policy, account)?;
    }
    if was_member && account != record.account {
        owns_one_less(draft, record.account)?;
    }
    if !was_member || account != record.account {
        owns_one_more(draft, account)?;
    }
    draft.append(&body)?;
    record.admission = Admission::Approved;
    record.roles = body.roles;
    record.account = account;
    record.delegation = delegation.map(|(delegation, _)| delegation);
    record.reason = None;
    record.since = draft.now();
    welcome(draft, account, body.grant)?;
    draft.put(body.node.0.to_vec(), &record);
    draft.counts().roster = draft.counts().roster.saturating_add(1);
    draft.tell(Event::NodeChanged { node: body.node });
    Ok(())
}

/// An owner has one approved node more.
pub(super) fn owns_one_more<R: Records + ?Sized>(
    draft: &mut Draft<'_, R>,
    account: AccountId,
) -> Result<(), Refusal> {
    let mut owner: AccountRecord = draft.get(&account.0)?.unwrap_or_default();
    owner.nodes = owner.nodes.saturating_add(1);
    draft.put(account.0.to_vec(), &owner);
    Ok(())
}

/// An owner has one approved node less.
pub(super) fn owns_one_less<R: Records + ?Sized>(
    draft: &mut Draft<'_, R>,
    account: AccountId,
) -> Result<(), Refusal> {
    let mut owner: AccountRecord = draft.get(&account.0)?.unwrap_or_default();
    owner.nodes = owner.nodes.saturating_sub(1);
    draft.put(account.0.to_vec(), &owner);
    Ok(())
}

/// The delegation by which a key signs for an account; nothing where the key is the account's own. Refused where it
/// does not sign for it.
pub(super) fn signs_for<R: Records + ?Sized>(
    draft: &Draft<'_, R>,
    signer: &[u8; 32],
    account: &AccountId,
) -> Result<Option<Signed<Delegation>>, Refusal> {
    if account.0 == *signer {
        return Ok(None);
    }
    let node: Option<NodeRecord> = draft.get(signer)?;
    let now = draft.now();
    let delegation = node
        .filter(|node| node.account == *account && node.is_member(now))
        .and_then(|node| node.delegation);
    Ok(Some(delegation.ok_or(RejectReason::BadSignature)?))
}

/// Whether a key signs for an account.
pub(super) fn acts_for<R: Records + ?Sized>(
    draft: &Draft<'_, R>,
    signer: &[u8; 32],
    account: &AccountId,
) -> Result<bool, Refusal> {
    match signs_for(draft, signer, account) {
        Ok(_) => Ok(true),
        Err(Refusal::Rejected(_)) => Ok(false),
        Err(error @ Refusal::Read(_)) => Err(error),
    }
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

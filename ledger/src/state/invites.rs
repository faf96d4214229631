//! Invites: who may make one, and what proves one.
//!
//! The ledger never holds the secret. It holds the public key that follows from it, so that whoever reads the ledger
//! cannot join with what it says.

use std::{collections::BTreeSet, time::Duration};

use protocol::{
    ids::{AccountId, InviteId, NodeId},
    keys::is_sound,
    limits::{INVITE_TTL_MAX, INVITE_USES_MAX, INVITES_MAX},
    reject::RejectReason,
    sign::Signed,
    time::UnixMillis,
    wire::{
        enroll::{Enrollment, Role},
        invite::{InviteRevoke, InviteTerms, InviteUse},
        is_name,
    },
};

use super::{
    decisions::by_operator,
    draft::{Draft, Outcome, Refusal},
    entry::{InviteBody, InviteRevokeBody},
    query,
    record::{InviteRecord, Policy},
};
use crate::records::{Records, Table};

/// How much later than the longest time an invite may end, for an operator whose clock is ahead.
const CLOCK_SLACK: Duration = Duration::from_secs(3_600);

/// An operator invites whoever holds a secret.
pub(super) fn create<R: Records + ?Sized>(
    draft: &mut Draft<'_, R>,
    policy: &Policy,
    signed: &Signed<InviteTerms>,
) -> Result<Outcome, Refusal> {
    let verified = signed.clone().verify(&policy.mesh)?;
    let terms = verified.claim();
    let now = draft.now();
    by_operator(policy, verified.signer(), terms.at, now)?;
    // Who coordinates is always a person's decision.
    let valid = matches!(terms.role, Role::Worker | Role::Submitter)
        && (1..=INVITE_USES_MAX).contains(&terms.uses)
        && (terms.hint.is_empty() || is_name(&terms.hint))
        && is_sound(&terms.key);
    if !valid {
        return Err(RejectReason::Invalid.into());
    }
    let latest = now.saturating_add(INVITE_TTL_MAX).saturating_add(CLOCK_SLACK);
    if terms.expires <= now || terms.expires > latest {
        return Err(RejectReason::OutsideValidity.into());
    }
    if let Some(known) = draft.get::<InviteRecord>(&terms.invite.0)? {
        let same = known.terms == *signed;
        return if same {
            Ok(Outcome::Done)
        } else {
            Err(RejectReason::IdempotencyMismatch.into())
        };
    }
    make_room(draft, policy)?;
    draft.append(&InviteBody { terms: signed.clone() })?;
    let record = InviteRecord { terms: signed.clone(), nodes: Vec::new(), revoked: false };
    draft.put(terms.invite.0.to_vec(), &record);
    draft.counts().invites = draft.counts().invites.saturating_add(1);
    Ok(Outcome::Done)
}

/// Forgets invites that are over where there are as many as may be.
fn make_room<R: Records + ?Sized>(
    draft: &mut Draft<'_, R>,
    policy: &Policy,
) -> Result<(), Refusal> {
    let full = |count: u32| usize::try_from(count).map_or(true, |count| count >= INVITES_MAX);
    if !full(draft.counts().invites) {
        return Ok(());
    }
    let now = draft.now();
    for (invite, record) in query::invite_records(draft.records())? {
        let over = match record.terms.peek() {
            Ok(terms) => is_over(policy, &record, &terms, now),
            Err(_) => true,
        };
        if over {
            draft.remove(Table::Invites, invite.0.to_vec());
            draft.counts().invites = draft.counts().invites.saturating_sub(1);
        }
    }
    if full(draft.counts().invites) { Err(RejectReason::Busy.into()) } else { Ok(()) }
}

/// An operator takes an invite back. Doing so twice changes nothing.
pub(super) fn revoke<R: Records + ?Sized>(
    draft: &mut Draft<'_, R>,
    policy: &Policy,
    signed: &Signed<InviteRevoke>,
) -> Result<Outcome, Refusal> {
    let verified = signed.clone().verify(&policy.mesh)?;
    let InviteRevoke { invite, at } = *verified.claim();
    by_operator(policy, verified.signer(), at, draft.now())?;
    let mut record: InviteRecord = draft.get(&invite.0)?.ok_or(RejectReason::NotFound)?;
    if !record.revoked {
        draft.append(&InviteRevokeBody { revoke: signed.clone() })?;
        record.revoked = true;
        draft.put(invite.0.to_vec(), &record);
    }
    Ok(Outcome::Done)
}

/// An invite that a node has shown it holds.
pub(super) struct Proven {
    id: InviteId,
    record: InviteRecord,
    terms: InviteTerms,
}

/// Checks what a node shows: signed with the invite's key, for this node and account, and the invite still holds.
pub(super) fn prove<R: Records + ?Sized>(
    draft: &Draft<'_, R>,
    policy: &Policy,
    shown: &Signed<InviteUse>,
    asked: &Enrollment,
) -> Result<Proven, Refusal> {
    let verified = shown.clone().verify(&policy.mesh).map_err(|_| RejectReason::InviteInvalid)?;
    let InviteUse { invite: id, node, account } = *verified.claim();
    let record: InviteRecord = draft.get(&id.0)?.ok_or(RejectReason::InviteInvalid)?;
    let terms = record.terms.peek().map_err(|_| RejectReason::Internal)?;
    if terms.key != *verified.signer() || node != asked.node || account != asked.account {
        return Err(RejectReason::InviteInvalid.into());
    }
    if is_over(policy, &record, &terms, draft.now()) {
        return Err(RejectReason::InviteOver.into());
    }
    Ok(Proven { id, record, terms })
}

fn is_over(policy: &Policy, record: &InviteRecord, terms: &InviteTerms, now: UnixMillis) -> bool {
    record.revoked
        || now >= terms.expires
        || record.nodes.len() >= usize::from(terms.uses)
        || !policy.operators.contains(&AccountId(*record.terms.claimed_signer()))
}

impl Proven {
    /// What a node gets of what it asks for: the invite's role and submitting, and at least submitting.
    pub(super) fn roles(&self, asked: &[Role]) -> Vec<Role> {
        let allowed = BTreeSet::from([self.terms.role, Role::Submitter]);
        let granted = asked.iter().copied().filter(|role| allowed.contains(role));
        let granted: BTreeSet<_> = granted.chain([Role::Submitter]).collect();
        granted.into_iter().collect()
    }

    /// Counts a node.
    pub(super) fn use_up<R: Records + ?Sized>(
        mut self,
        draft: &mut Draft<'_, R>,
        node: NodeId,
    ) -> InviteId {
        self.record.nodes.push(node);
        draft.put(self.id.0.to_vec(), &self.record);
        self.id
    }
}

//! Labels that operators give to nodes.

use std::collections::BTreeSet;

use protocol::{
    limits::TAGS_MAX,
    reject::RejectReason,
    sign::Signed,
    wire::{enroll::NodeLabels, is_tag},
};

use super::{
    Event,
    decisions::by_operator,
    draft::{Draft, Outcome, Refusal},
    entry::LabelBody,
    record::{NodeRecord, Policy},
};
use crate::records::Records;

/// An operator labels a node. What is added and removed at once stays removed; an older change than the last is a
/// replay.
pub(super) fn label<R: Records + ?Sized>(
    draft: &mut Draft<'_, R>,
    policy: &Policy,
    signed: &Signed<NodeLabels>,
) -> Result<Outcome, Refusal> {
    let verified = signed.clone().verify(&policy.mesh)?;
    let change = verified.claim();
    by_operator(policy, verified.signer(), change.at, draft.now())?;
    let named = || change.add.iter().chain(&change.remove);
    if change.add.len() > TAGS_MAX
        || change.remove.len() > TAGS_MAX
        || !named().all(|tag| is_tag(tag))
    {
        return Err(RejectReason::Invalid.into());
    }
    let mut record: NodeRecord = draft.get(&change.node.0)?.ok_or(RejectReason::NotFound)?;
    let hash = signed.hash();
    match record.labelled {
        Some((_, last)) if last == hash => return Ok(Outcome::Done),
        Some((at, _)) if change.at <= at => return Err(RejectReason::OutsideValidity.into()),
        Some(_) | None => {}
    }
    let mut labels: BTreeSet<_> = record.labels.iter().chain(&change.add).cloned().collect();
    for gone in &change.remove {
        labels.remove(gone);
    }
    if labels.len() > TAGS_MAX {
        return Err(RejectReason::Invalid.into());
    }
    record.labelled = Some((change.at, hash));
    record.labels = labels.into_iter().collect();
    draft.append(&LabelBody { change: signed.clone(), labels: record.labels.clone() })?;
    draft.put(change.node.0.to_vec(), &record);
    draft.tell(Event::NodeChanged { node: change.node });
    Ok(Outcome::Done)
}

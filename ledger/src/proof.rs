//! Checks a receipt offline, against Genesis alone.
//!
//! Nobody is asked and nothing is trusted but the mesh id: the founding statement must hash to it, and
//! everything else follows from signatures and hashes. Whether the result is right is another question, which
//! only running the task again answers.

use protocol::{
    codec::{decode, encode, try_encode},
    ids::{AccountId, Hash, MeshId, NodeId, ReceiptId},
    merkle,
    outcome::Outcome,
    price::Price,
    sign::{Signed, VerifyError},
    time::UnixMillis,
    units::{Credits, Fuel},
    wire::{
        genesis::Genesis,
        job::JobAuthorization,
        owner::Delegation,
        receipt::{ReceiptHeader, TaskReceipt},
        view::ReceiptProof,
    },
};
use thiserror::Error;

use crate::{
    checkpoint::{self, NoteError},
    state::entry::{Body as _, Entry, SettlementBody},
};

/// What a receipt proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptFacts {
    /// The mesh.
    pub mesh: MeshId,
    /// What people call it.
    pub mesh_name: String,
    /// The receipt.
    pub receipt: ReceiptId,
    /// Who paid.
    pub account: AccountId,
    /// Who did the work.
    pub worker: NodeId,
    /// Who was paid.
    pub payee: AccountId,
    /// The module that ran.
    pub module: Hash,
    /// What it read: the hash of the encoded input.
    pub input: Hash,
    /// What it put out: the hash of the encoded output manifest.
    pub output: Hash,
    /// How it ended.
    pub outcome: Outcome,
    /// The fuel that it used.
    pub fuel: Fuel,
    /// What was paid for it.
    pub charge: Credits,
    /// At this price.
    pub price: Price,
    /// Whether less was paid than the price asks, because the budget was used up.
    pub capped: bool,
    /// The ledger entry that settled it.
    pub entry: u64,
    /// When, in cluster time.
    pub at: UnixMillis,
    /// How many entries the ledger had at the checkpoint.
    pub size: u64,
}

/// Why a receipt proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProofError {
    /// The founding statement is not signed by the first operator that it names.
    #[error("the founding statement of the mesh is not valid")]
    Genesis(#[source] VerifyError),
    /// Another mesh than the one that was expected.
    #[error("the receipt is from mesh {}, not from {}", .found.id16(), .expected.id16())]
    Mesh {
        /// What was expected.
        expected: MeshId,
        /// What was found.
        found: MeshId,
    },
    /// The submitter did not sign this.
    #[error("the submitter's authorization is not valid")]
    Authorization(#[source] VerifyError),
    /// The worker did not sign this.
    #[error("the worker's signature is not valid")]
    Header(#[source] VerifyError),
    /// Two parts do not belong together.
    #[error("the parts of the receipt do not belong together: {0}")]
    Mismatch(&'static str),
    /// What was paid is not what was agreed.
    #[error("{charged} was charged where {due} was due")]
    Bill {
        /// What was paid.
        charged: Credits,
        /// What the price and the fuel come to.
        due: Credits,
    },
    /// The price is above what the submitter agreed to.
    #[error("the price that was paid is above what the submitter agreed to")]
    Price,
    /// The checkpoint is not one of the mesh's first coordinator.
    #[error("the checkpoint is not valid")]
    Checkpoint(#[source] NoteError),
}

impl ProofError {
    /// Whether everything is authentic and only the amount is wrong.
    #[must_use]
    pub const fn is_wrong_bill(&self) -> bool {
        matches!(self, Self::Bill { .. } | Self::Price)
    }
}

/// Checks a receipt: the founding statement (of `mesh`, where that is given), the submitter's signature, the
/// worker's, the receipt's place in the worker's batch, the entry that paid it and how much, the entry's place
/// in the ledger, and the checkpoint of the ledger.
///
/// # Errors
///
/// See [`ProofError`].
pub fn verify_receipt(
    proof: &ReceiptProof,
    mesh: Option<MeshId>,
) -> Result<ReceiptFacts, ProofError> {
    let (id, genesis) = founded(&proof.genesis, mesh)?;
    let authorized = authorized(proof, &id)?;
    let header =
        proof.header.clone().verify(&id).map_err(ProofError::Header).and_then(|verified| {
            let own = verified.claim().worker.0 == *verified.signer();
            if own {
                Ok(verified.into_claim())
            } else {
                Err(ProofError::Header(VerifyError::Signature))
            }
        })?;
    check_parts(proof, &authorized, &header)?;
    let (entry, settlement) = settled(proof)?;
    let checkpoint = checkpoint::verify(&proof.checkpoint, &genesis.coordinator.0)
        .map_err(ProofError::Checkpoint)?;
    if checkpoint.origin != checkpoint::origin(&id, 0) {
        return Err(ProofError::Mismatch("the checkpoint is of another ledger"));
    }
    let leaf = Entry::leaf_hash(&proof.entry);
    let (index, size) = (proof.entry_index, checkpoint.size);
    let in_ledger =
        merkle::verify_inclusion(&leaf, index, size, &proof.entry_path, &checkpoint.root);
    if entry.seq.checked_sub(1) != Some(index) || !in_ledger {
        return Err(ProofError::Mismatch("the entry is not in the ledger of the checkpoint"));
    }
    let (charge, capped) = bill(proof, &settlement, &authorized)?;
    let TaskReceipt { input, output, outcome, fuel, .. } = proof.item;
    Ok(ReceiptFacts {
        mesh: id,
        mesh_name: genesis.name,
        receipt: proof.receipt,
        account: authorized.account,
        worker: header.worker,
        payee: header.payee,
        module: header.module,
        input,
        output,
        outcome,
        fuel,
        charge,
        price: settlement.price,
        capped,
        entry: entry.seq,
        at: entry.cluster_time,
        size,
    })
}

/// What the submitter allowed: signed with the account's key, or by a node that the account delegated to.
fn authorized(proof: &ReceiptProof, mesh: &MeshId) -> Result<JobAuthorization, ProofError> {
    let foreign = || ProofError::Authorization(VerifyError::Signature);
    let verified = proof.authorization.clone().verify(mesh).map_err(ProofError::Authorization)?;
    let account = verified.claim().account;
    if account.0 != *verified.signer() {
        let delegation = proof.delegation.clone().ok_or_else(foreign)?;
        let delegation = delegation.verify(mesh).map_err(ProofError::Authorization)?;
        let Delegation { node, owner, .. } = *delegation.claim();
        if owner != account || owner.0 != *delegation.signer() || node.0 != *verified.signer() {
            return Err(foreign());
        }
    }
    Ok(verified.into_claim())
}

/// The mesh that a founding statement founds.
fn founded(
    signed: &Signed<Genesis>,
    expected: Option<MeshId>,
) -> Result<(MeshId, Genesis), ProofError> {
    let verified = signed.clone().verify(&Genesis::MESH).map_err(ProofError::Genesis)?;
    let found = Genesis::mesh_id(signed);
    if let Some(expected) = expected.filter(|expected| *expected != found) {
        return Err(ProofError::Mesh { expected, found });
    }
    if verified.claim().operators.first().map(|creator| creator.0) != Some(*verified.signer()) {
        return Err(ProofError::Genesis(VerifyError::Signature));
    }
    Ok((found, verified.into_claim()))
}

/// Whether authorization, job, header and item are about the same task.
fn check_parts(
    proof: &ReceiptProof,
    authorized: &JobAuthorization,
    header: &ReceiptHeader,
) -> Result<(), ProofError> {
    let mismatch = |what| Err(ProofError::Mismatch(what));
    let (spec, item, receipt) = (&proof.spec, &proof.item, proof.receipt);
    if authorized.job != receipt.job || header.job != receipt.job || item.task != receipt.task {
        return mismatch("the receipt is for another task");
    }
    if try_encode(spec).map(|bytes| Hash::of(&bytes)) != Ok(authorized.spec) {
        return mismatch("the job is not the one that was authorized");
    }
    if header.authorization != proof.authorization.hash() {
        return mismatch("the worker worked for another authorization");
    }
    let module = match spec.reduce_task() {
        Some((reduce, module)) if reduce == item.task => module,
        Some(_) | None => spec.module,
    };
    if header.module != module
        || header.profile != spec.profile
        || item.task.0 >= spec.tasks_with_reduce()
    {
        return mismatch("the worker ran something else than the job asks for");
    }
    if item.fuel > spec.limits.fuel {
        return mismatch("the fuel is above the limit of the task");
    }
    let (index, size) = (u64::from(proof.item_index), u64::from(header.commitment.items));
    let leaf = merkle::leaf_hash(&encode(item));
    if !merkle::verify_inclusion(&leaf, index, size, &proof.item_path, &header.commitment.root) {
        return mismatch("the receipt is not in the batch that the worker signed");
    }
    match &proof.output {
        Some(output) if try_encode(output).map(|bytes| Hash::of(&bytes)) != Ok(item.output) => {
            mismatch("the output is not the one in the receipt")
        }
        Some(_) | None => Ok(()),
    }
}

/// The entry and the settlement in it, where it is of the same batch.
fn settled(proof: &ReceiptProof) -> Result<(Entry, SettlementBody), ProofError> {
    let malformed = |_| ProofError::Mismatch("the ledger entry is malformed");
    let entry: Entry = decode(&proof.entry).map_err(malformed)?;
    if entry.tag != SettlementBody::TAG as u16 {
        return Err(ProofError::Mismatch("the ledger entry is not a settlement"));
    }
    let settlement: SettlementBody = decode(&entry.body).map_err(malformed)?;
    if settlement.header != proof.header {
        return Err(ProofError::Mismatch("the ledger entry settles another batch"));
    }
    Ok((entry, settlement))
}

/// What was paid, and whether that is less than was due.
fn bill(
    proof: &ReceiptProof,
    settlement: &SettlementBody,
    authorized: &JobAuthorization,
) -> Result<(Credits, bool), ProofError> {
    let (price, agreed) = (settlement.price, authorized.price);
    if price.per_mfuel > agreed.per_mfuel
        || price.per_task > agreed.per_task
        || price.fee > agreed.fee
    {
        return Err(ProofError::Price);
    }
    let place = usize::try_from(proof.item_index).ok();
    let charged = place.and_then(|place| settlement.charges.get(place)).copied().flatten();
    let charged =
        charged.ok_or(ProofError::Mismatch("the ledger entry does not settle this receipt"))?;
    let due = if proof.item.outcome.is_charged() {
        price.bill(proof.item.fuel).map(|bill| bill.charge).ok_or(ProofError::Price)?
    } else {
        Credits::ZERO
    };
    if charged > due {
        Err(ProofError::Bill { charged, due })
    } else {
        Ok((charged, charged < due))
    }
}

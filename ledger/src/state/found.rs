//! Founding a mesh.

use std::collections::BTreeSet;

use protocol::{
    ids::MeshId,
    keys::is_sound,
    limits::TASK_FUEL_MAX,
    reject::RejectReason,
    sign::Signed,
    units::{BasisPoints, Credits},
    wire::{VERSION, enroll::Role, genesis::Genesis, is_name, view::Admission},
};

use super::{
    Event,
    admission::{welcome, welcome_due},
    draft::{Draft, Outcome, Refusal},
    entry::GenesisBody,
    keys,
    record::{AccountRecord, NodeRecord, Policy},
};
use crate::records::Records;

/// The most that coordinators may take.
const FEE_MAX: BasisPoints = BasisPoints(1_000);
/// Operators of one mesh.
const OPERATORS_MAX: usize = 64;

/// Founds the mesh `mesh`: policy, the first coordinator as a member, and the creator's welcome grant.
pub(super) fn found<R: Records + ?Sized>(
    draft: &mut Draft<'_, R>,
    mesh: &MeshId,
    signed: &Signed<Genesis>,
) -> Result<Outcome, Refusal> {
    if let Some(policy) = draft.get::<Policy>(keys::POLICY)? {
        let same = policy.genesis == *signed;
        return if same { Ok(Outcome::Done) } else { Err(RejectReason::WrongState.into()) };
    }
    let verified = signed.clone().verify(&Genesis::MESH)?;
    if Genesis::mesh_id(signed) != *mesh {
        return Err(RejectReason::WrongMesh.into());
    }
    let genesis = verified.claim();
    check(genesis)?;
    let creator =
        genesis.operators.first().copied().filter(|creator| creator.0 == *verified.signer());
    let creator = creator.ok_or(RejectReason::NotPermitted)?;
    let policy = Policy {
        mesh: *mesh,
        genesis: signed.clone(),
        name: genesis.name.clone(),
        operators: genesis.operators.clone(),
        coordinator: genesis.coordinator,
        price: genesis.price,
        welcome_grant: genesis.welcome_grant,
        welcome_grants_max: genesis.welcome_grants_max,
        joining: genesis.joining,
    };
    draft.put(keys::POLICY.to_vec(), &policy);
    let grant = welcome_due(draft, &policy, creator)?;
    draft.append(&GenesisBody { genesis: signed.clone(), grant })?;
    draft.put(creator.0.to_vec(), &AccountRecord { nodes: 1, ..AccountRecord::default() });
    let node = NodeRecord {
        account: creator,
        own: creator,
        name: genesis.coordinator_name.clone(),
        admission: Admission::Approved,
        roles: Role::ALL.to_vec(),
        since: draft.now(),
        enrollment: None,
        decided: None,
        reason: None,
        note: String::new(),
        delegation: None,
        labels: Vec::new(),
        labelled: None,
        replaced: None,
        replaces: None,
        left: false,
    };
    draft.put(genesis.coordinator.0.to_vec(), &node);
    let counts = draft.counts();
    counts.nodes = 1;
    counts.roster = 1;
    welcome(draft, creator, grant)?;
    draft.tell(Event::Founded);
    draft.tell(Event::NodeChanged { node: genesis.coordinator });
    Ok(Outcome::Done)
}

/// Whether a mesh can live by these rules.
fn check(genesis: &Genesis) -> Result<(), Refusal> {
    if genesis.version != VERSION {
        return Err(RejectReason::Version.into());
    }
    let operators: BTreeSet<_> = genesis.operators.iter().collect();
    let valid = is_name(&genesis.name)
        && is_name(&genesis.coordinator_name)
        && operators.len() == genesis.operators.len()
        && operators.len() <= OPERATORS_MAX
        && operators.iter().all(|operator| !operator.is_system() && is_sound(&operator.0))
        && is_sound(&genesis.coordinator.0)
        && genesis.price.fee <= FEE_MAX;
    if !valid {
        return Err(RejectReason::Invalid.into());
    }
    if genesis.price.task_max(TASK_FUEL_MAX).is_none() || genesis.welcome_grant > Credits::ENTRY_MAX
    {
        return Err(RejectReason::AmountOverflow.into());
    }
    Ok(())
}

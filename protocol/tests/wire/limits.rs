//! What is as large as it may be still fits into what carries it.

use protocol::{
    batch::{Batch, Commitment},
    codec::{Canonical, try_encode},
    ids::{Hash, NodeId, TaskIndex},
    limits::{
        ADDRESS_BYTES_MAX, ADDRESSES_MAX, ADMISSION_BYTES_MAX, BATCH_ITEMS_MAX, BLOCKED_MAX,
        ENVELOPE_BYTES_MAX, GOSSIP_BYTES_MAX, NODES_MAX, NOTE_BYTES_MAX, RPC_BYTES_MAX,
        STRANGER_BYTES_MAX, TAG_BYTES_MAX, TAGS_MAX,
    },
    sign::{Signable, Signed},
    wire::{
        advert::Advert,
        blob::{BLOBS_PER_REQUEST_MAX, BlobRequest, BlobWanted},
        enroll::{
            BlockReason, EnrollResponse, Enrollment, Membership, NodeAddress, NodeDecision,
            NodeLabels, OwnerConsent, Role, Verdict,
        },
        genesis::Genesis,
        heartbeat::{HeartbeatResponse, Roster},
        invite::{InviteRevoke, InviteTerms, InviteUse},
        job::{JobAuthorization, JobCancel, JobSpec, Transfer},
        lease::{LeaseHeader, LeaseItem},
        owner::{Delegation, KeyRotation},
        receipt::ReceiptHeader,
    },
};

use super::samples::{
    AT, FENCE, JOB, LEASE, account, decision, delegation, genesis, mesh, node, node_key, owner_key,
    signed_authorization, signed_genesis,
};

/// What an envelope adds to the payload, in bytes.
fn envelope_bytes() -> usize {
    let payload = try_encode(&genesis()).unwrap_or_default().len();
    try_encode(&signed_genesis()).unwrap_or_default().len().saturating_sub(payload)
}

fn signed_bytes_max<T: Signable>() -> usize {
    T::BYTES_MAX.saturating_add(envelope_bytes())
}

#[test]
fn every_statement_fits_an_envelope() {
    let largest = [
        signed_bytes_max::<Genesis>(),
        signed_bytes_max::<JobAuthorization>(),
        signed_bytes_max::<LeaseHeader>(),
        signed_bytes_max::<ReceiptHeader>(),
        signed_bytes_max::<Advert>(),
        signed_bytes_max::<Enrollment>(),
        signed_bytes_max::<OwnerConsent>(),
        signed_bytes_max::<NodeDecision>(),
        signed_bytes_max::<NodeLabels>(),
        signed_bytes_max::<Delegation>(),
        signed_bytes_max::<KeyRotation>(),
        signed_bytes_max::<InviteTerms>(),
        signed_bytes_max::<InviteUse>(),
        signed_bytes_max::<InviteRevoke>(),
        signed_bytes_max::<Transfer>(),
        signed_bytes_max::<JobCancel>(),
    ];
    assert!(largest.iter().all(|bytes| *bytes <= ENVELOPE_BYTES_MAX), "{largest:?}");
}

#[test]
fn the_largest_advert_fits_a_gossip_message() {
    let largest = signed_bytes_max::<Advert>();
    assert!(largest <= GOSSIP_BYTES_MAX, "{largest}");
}

#[test]
fn the_largest_request_to_join_fits_what_strangers_may_send() {
    let largest = signed_bytes_max::<Enrollment>()
        + signed_bytes_max::<OwnerConsent>()
        + signed_bytes_max::<InviteUse>()
        + 64;
    assert!(largest <= STRANGER_BYTES_MAX, "{largest}");
}

#[test]
fn the_largest_decision_and_the_most_labels_fit_their_statements() {
    let decision = NodeDecision {
        roles: Role::ALL.to_vec(),
        note: "n".repeat(NOTE_BYTES_MAX),
        reason: Some(BlockReason::ManualReview),
        ..decision(Verdict::Approve)
    };
    assert!(try_encode(&decision).is_ok());
    let labels: Vec<_> = (0..TAGS_MAX).map(|_| "l".repeat(TAG_BYTES_MAX)).collect();
    let labels = NodeLabels { node: node(), add: labels.clone(), remove: labels, at: AT };
    assert!(try_encode(&labels).is_ok());
}

#[test]
fn the_largest_mesh_fits_an_admission_and_a_roster() {
    let address =
        NodeAddress { node: node(), addresses: vec!["a".repeat(ADDRESS_BYTES_MAX); ADDRESSES_MAX] };
    let members = vec![NodeId([7; 32]); NODES_MAX];
    // Five voters and four learners.
    let coordinators = vec![address; 9];
    let membership = Membership {
        genesis: signed_genesis(),
        epoch: 1,
        coordinators: coordinators.clone(),
        members: members.clone(),
        account: account(),
        delegation: Some(Signed::sign(&delegation(), mesh(), &owner_key())),
    };
    let admitted = EnrollResponse::Admitted(Box::new(membership));
    assert!(try_encode(&admitted).unwrap().len() + Genesis::BYTES_MAX <= ADMISSION_BYTES_MAX);
    let blocked = vec![NodeId([8; 32]); BLOCKED_MAX];
    let roster = Roster { version: 1, members, blocked, coordinators };
    assert!(
        try_encode(&HeartbeatResponse::Heard {
            lost: vec![LEASE; 500],
            roster: Some(roster),
            fence: FENCE
        })
        .is_ok()
    );
}

#[test]
fn the_largest_lease_of_the_largest_job_fits_a_request() {
    let items = vec![LeaseItem { task: TaskIndex(u32::MAX), attempt: u16::MAX }; BATCH_ITEMS_MAX];
    let header = LeaseHeader {
        lease: LEASE,
        worker: node(),
        job: JOB,
        authorization: signed_authorization().hash(),
        account: account(),
        price: protocol::price::Price::default(),
        duration_ms: 15_000,
        fence: FENCE,
        commitment: Commitment::to(&items),
    };
    let batch = Batch::<LeaseHeader, LeaseItem>::sign(&header, items, mesh(), &node_key());
    assert!(batch.clone().verify(&mesh()).is_ok());
    let items: usize = batch.items.iter().map(|item| try_encode(item).unwrap().len()).sum();
    let largest = items + signed_bytes_max::<LeaseHeader>() + JobSpec::BYTES_MAX;
    assert!(largest <= RPC_BYTES_MAX, "{largest}");
}

#[test]
fn the_most_blobs_fit_a_request() {
    let request = BlobRequest {
        wanted: vec![BlobWanted::whole(Hash::of(b"content")); BLOBS_PER_REQUEST_MAX],
    };
    assert!(try_encode(&request).is_ok());
}

#[test]
fn a_signed_statement_is_an_envelope() {
    assert_eq!(Signed::<Genesis>::BYTES_MAX, ENVELOPE_BYTES_MAX);
}

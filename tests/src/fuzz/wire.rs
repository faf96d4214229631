//! What nodes send each other.

use protocol::{
    bech32m,
    code::Code,
    codec::{Canonical, decode, encode},
    ids::{AccountId, Hash, JobId, MeshId, NodeId, ReceiptId},
    invite::Invite,
    limits::{ADDRESS_BYTES_MAX, ADDRESSES_MAX},
    mdns::{self, Packet},
    sign::{Signable, Signed},
    wire::{
        advert::Advert,
        blob::BlobRequest,
        client::{ClientRequest, ClientResponse},
        enroll::{
            EnrollRequest, EnrollResponse, Enrollment, HelloRequest, HelloResponse, Membership,
            NodeDecision, OwnerConsent,
        },
        genesis::Genesis,
        heartbeat::{Heartbeat, HeartbeatResponse},
        is_name, is_relative_path, is_tag,
        job::{JobAuthorization, JobCancel, JobSpec, Transfer},
        lease::{LeaseHeader, LeaseItem, LeaseRequest, LeaseResponse},
        manifest::{InputManifest, InputPage, OutputManifest, TaskInput},
        receipt::{ReceiptHeader, ResultRequest, ResultResponse, TaskReceipt},
    },
};

/// What is accepted must be canonical: the same value has one encoding.
fn round_trip<T: Canonical>(bytes: &[u8]) {
    if let Ok(value) = decode::<T>(bytes) {
        assert_eq!(encode(&value), bytes, "{} took other bytes", std::any::type_name::<T>());
    }
}

macro_rules! types {
    ($($wire:ty),* $(,)?) => {
        &[$((stringify!($wire), round_trip::<$wire>),)*]
    };
}

/// Reads a message of one type.
type Read = fn(&[u8]);

/// Every type, by the number that an input begins with. New ones are added at the end: the corpus counts on the numbers.
pub const TYPES: &[(&str, Read)] = types![
    Advert,
    BlobRequest,
    ClientRequest,
    ClientResponse,
    EnrollRequest,
    EnrollResponse,
    Enrollment,
    HelloRequest,
    HelloResponse,
    Membership,
    NodeDecision,
    OwnerConsent,
    Genesis,
    Heartbeat,
    HeartbeatResponse,
    JobAuthorization,
    JobCancel,
    JobSpec,
    Transfer,
    LeaseHeader,
    LeaseItem,
    LeaseRequest,
    LeaseResponse,
    InputManifest,
    InputPage,
    OutputManifest,
    TaskInput,
    ReceiptHeader,
    ResultRequest,
    ResultResponse,
    TaskReceipt,
];

/// One message of any type: the first byte says which.
pub fn messages(bytes: &[u8]) {
    let Some((number, bytes)) = bytes.split_first() else { return };
    let chosen = usize::from(*number).checked_rem(TYPES.len()).and_then(|at| TYPES.get(at));
    if let Some((_, read)) = chosen {
        read(bytes);
    }
}

fn verify<T: Signable>(bytes: &[u8]) {
    let Ok(signed) = decode::<Signed<T>>(bytes) else { return };
    assert_eq!(encode(&signed), bytes);
    let mesh = MeshId([7; 32]);
    let peeked = signed.peek().is_ok();
    // Whoever can sign for this mesh without its keys has found something.
    assert!(signed.verify(&mesh).is_err() || peeked);
}

/// A signed statement of any kind, as gossip and requests carry it.
pub fn signed(bytes: &[u8]) {
    verify::<Advert>(bytes);
    verify::<Enrollment>(bytes);
    verify::<OwnerConsent>(bytes);
    verify::<NodeDecision>(bytes);
    verify::<Genesis>(bytes);
    verify::<JobAuthorization>(bytes);
    verify::<JobCancel>(bytes);
    verify::<Transfer>(bytes);
    verify::<LeaseHeader>(bytes);
    verify::<ReceiptHeader>(bytes);
}

/// Names and ids as text: what is read back is what was read.
pub fn names(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    same::<NodeId>(text);
    same::<AccountId>(text);
    same::<JobId>(text);
    same::<MeshId>(text);
    same::<ReceiptId>(text);
    same::<Hash>(text);
    let (name, tag, path) = (is_name(text), is_tag(text), is_relative_path(text));
    assert!(!name || text.len() <= protocol::limits::NAME_BYTES_MAX);
    assert!(!tag || !text.is_empty());
    assert!(!path || !(text.starts_with('/') || text.split('/').any(|part| part == "..")));
}

fn same<T: std::str::FromStr + std::fmt::Display + PartialEq>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        let again = value.to_string().parse::<T>();
        assert!(again.is_ok_and(|again| again == value), "{text}");
    }
}

/// A packet of multicast DNS: bounded, and what was read can be said again.
pub fn multicast(bytes: &[u8]) {
    let Some(Packet::Answer(nodes)) = mdns::parse(bytes) else { return };
    assert!(nodes.len() <= mdns::NODES_MAX);
    for node in nodes {
        assert!(node.addresses.len() <= ADDRESSES_MAX);
        assert!(node.addresses.iter().all(|address| address.len() <= ADDRESS_BYTES_MAX));
        let said =
            mdns::parse(&mdns::answer([b'x'; mdns::LABEL_BYTES], &node.node, &node.addresses));
        assert_eq!(said, Some(Packet::Answer(vec![node])));
    }
}

/// An invite as text, also behind a checksum that fits, and the code that people compare.
pub fn invite(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        same_invite(text);
        same::<Code>(text);
    }
    same_invite(&bech32m::encode("weft", bytes));
}

fn same_invite(text: &str) {
    if let Ok(invite) = text.parse::<Invite>() {
        assert_eq!(invite.to_text().parse(), Ok(invite));
    }
}

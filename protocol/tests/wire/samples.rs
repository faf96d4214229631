//! Values of the statements and of the messages between nodes.

use protocol::{
    batch::{Batch, Commitment},
    code::Nonce,
    codec::encode,
    ids::{AccountId, Hash, InviteId, JobId, LeaseId, MeshId, NodeId, TaskIndex},
    invite::{Invite, Secret},
    keys::SecretKey,
    outcome::{Interruption, Outcome, Trap},
    price::Price,
    reject::RejectReason,
    sign::Signed,
    time::UnixMillis,
    units::{Credits, Fuel, Pages},
    wire::{
        VERSION,
        advert::{Advert, Arch, Isolation, Os},
        availability::{Availability, Cause, Openness, Reason},
        blob::{BlobRequest, BlobWanted},
        enroll::{
            BlockReason, EnrollRequest, EnrollResponse, EnrollStatements, Enrollment, HelloRequest,
            HelloResponse, Membership, MeshHello, NodeAddress, NodeDecision, NodeLabels,
            OwnerConsent, Role, Verdict,
        },
        genesis::{Genesis, Joining},
        heartbeat::{Heartbeat, HeartbeatResponse, HeldLease, Roster},
        invite::{InviteRevoke, InviteTerms, InviteUse},
        job::{
            EndPolicy, JobAuthorization, JobCancel, JobSpec, Reduce, Scope, TaskLimits, Transfer,
        },
        lease::{Fence, LeaseHeader, LeaseItem, LeaseOffer, LeaseRequest, LeaseResponse},
        manifest::{
            BlobRef, InputFile, InputManifest, InputPage, InputSource, OutputFile, OutputManifest,
            TaskInput,
        },
        order::{NodeOrder, Order},
        owner::{Delegation, KeyRotation},
        receipt::{ReceiptHeader, ResultRequest, ResultResponse, TaskReceipt},
    },
};

use super::{WireType, wire_type};

pub(crate) const JOB: JobId = JobId([0x10; 16]);
pub(crate) const NONCE: Nonce = Nonce([0x12; 32]);
pub(crate) const INVITE: InviteId = InviteId([0x13; 16]);
const SECRET: Secret = Secret([0x14; 16]);
pub(crate) const LEASE: LeaseId = LeaseId([0x11; 16]);
pub(crate) const AT: UnixMillis = UnixMillis(1_790_000_000_123);
pub(crate) const FENCE: Fence = Fence { epoch: 1, term: 7, index: 4_242 };

/// The key of the first coordinator's node.
pub(crate) fn node_key() -> SecretKey {
    SecretKey::from_seed(&[0x21; 32])
}

/// The key of its owner.
pub(crate) fn owner_key() -> SecretKey {
    SecretKey::from_seed(&[0x22; 32])
}

pub(crate) fn node() -> NodeId {
    node_key().node()
}

pub(crate) fn account() -> AccountId {
    owner_key().account()
}

pub(crate) fn genesis() -> Genesis {
    Genesis {
        version: VERSION,
        name: "home".into(),
        founded: AT,
        operators: vec![account()],
        coordinator: node(),
        coordinator_name: "desk".into(),
        price: Price::default(),
        welcome_grant: Credits::from_whole(1_000),
        welcome_grants_max: 1_000,
        joining: Joining::Approval,
        nonce: [0x31; 16],
    }
}

pub(crate) fn signed_genesis() -> Signed<Genesis> {
    Signed::sign(&genesis(), Genesis::MESH, &owner_key())
}

pub(crate) fn mesh() -> MeshId {
    Genesis::mesh_id(&signed_genesis())
}

pub(crate) fn advert() -> Advert {
    Advert {
        version: 1,
        node: node(),
        seq: 17,
        at: AT,
        ttl_ms: 45_000,
        software: "weft/0.1.0".into(),
        os: Os::Linux,
        arch: Arch::X86_64,
        roles: Role::ALL.to_vec(),
        isolation: Isolation::B,
        cores: 8,
        memory_bytes: 16 << 30,
        memory_free_bytes: 9 << 30,
        cpu_percent: 12,
        memory_percent: 44,
        slots: 8,
        slots_free: 7,
        tags: vec!["zone:attic".into()],
    }
}

pub(crate) fn availability() -> Availability {
    Availability {
        others: Openness::Small { task_ms_max: 10_000 },
        slots_others: 3,
        memory_bytes: 4 << 30,
        overloaded: false,
        reasons: vec![
            Reason::of(Cause::BatteryLow).noting("40 %"),
            Reason::of(Cause::Paused).ending(Some(AT)),
        ],
    }
}

pub(crate) fn order() -> NodeOrder {
    let order = Order::Drain { deadline: Some(AT), note: "kernel update".into() };
    NodeOrder { node: node(), order, at: AT }
}

pub(crate) fn signed_order() -> Signed<NodeOrder> {
    Signed::sign(&order(), mesh(), &owner_key())
}

pub(crate) fn enrollment() -> Enrollment {
    Enrollment {
        node: node(),
        account: account(),
        name: "desk".into(),
        roles: vec![Role::Worker, Role::Submitter],
        software: "weft/0.1.0".into(),
        commitment: NONCE.commitment(),
        at: AT,
    }
}

pub(crate) fn delegation() -> Delegation {
    Delegation { node: node(), owner: account(), at: AT }
}

pub(crate) fn rotation() -> KeyRotation {
    KeyRotation { old: node(), new: NodeId([0x23; 32]), at: AT }
}

pub(crate) fn labels() -> NodeLabels {
    NodeLabels {
        node: node(),
        add: vec!["gpu".into(), "zone:attic".into()],
        remove: vec!["slow".into()],
        at: AT,
    }
}

pub(crate) fn invite_terms() -> InviteTerms {
    InviteTerms {
        invite: INVITE,
        key: SECRET.key().public(),
        role: Role::Worker,
        uses: 1,
        expires: AT,
        hint: "laptop".into(),
        at: AT,
    }
}

fn invite_text() -> Invite {
    Invite {
        mesh: mesh(),
        name: "home".into(),
        hosts: vec![address()],
        invite: INVITE,
        secret: SECRET,
        role: Role::Worker,
        expires: AT,
        sponsor: account(),
    }
}

pub(crate) fn decision(verdict: Verdict) -> NodeDecision {
    NodeDecision {
        node: node(),
        verdict,
        roles: vec![Role::Worker],
        delegation: (verdict == Verdict::Approve)
            .then(|| Signed::sign(&delegation(), mesh(), &owner_key())),
        reason: (verdict == Verdict::Block).then_some(BlockReason::ForgedResults),
        note: String::new(),
        at: AT,
    }
}

pub(crate) fn address() -> NodeAddress {
    NodeAddress { node: node(), addresses: vec!["/ip4/192.0.2.7/udp/4301/quic-v1".into()] }
}

pub(crate) fn membership() -> Membership {
    Membership {
        genesis: signed_genesis(),
        epoch: 1,
        coordinators: vec![address()],
        members: vec![node()],
        account: account(),
        delegation: None,
    }
}

pub(crate) fn spec(reduce: Option<Reduce>) -> JobSpec {
    JobSpec {
        name: "wordfreq".into(),
        module: Hash::of(b"module"),
        profile: 0,
        args: vec!["--min".into(), "{}".into()],
        env: vec![("LANG".into(), "C".into())],
        manifest: Hash::of(b"manifest"),
        tasks: 500,
        reduce,
        limits: TaskLimits::default(),
        end: EndPolicy::AllOrNothing,
        scope: Scope::Mesh,
        isolation: Isolation::C,
        tags: vec!["zone:attic".into()],
    }
}

pub(crate) fn authorization() -> JobAuthorization {
    JobAuthorization {
        job: JOB,
        account: account(),
        spec: spec(None).hash(),
        budget: Credits::from_whole(25),
        price: Price::default(),
        not_before: AT,
        ttl_ms: 86_400_000,
    }
}

pub(crate) fn signed_authorization() -> Signed<JobAuthorization> {
    Signed::sign(&authorization(), mesh(), &owner_key())
}

pub(crate) fn transfer() -> Transfer {
    Transfer {
        id: [0x41; 16],
        from: account(),
        to: AccountId::system(b"treasury"),
        amount: Credits::from_micros(12_400_000),
        valid_until: AT,
    }
}

pub(crate) fn receipt(outcome: Outcome) -> TaskReceipt {
    TaskReceipt {
        task: TaskIndex(3),
        attempt: 1,
        input: Hash::of(&encode(&input())),
        output: Hash::of(&encode(&output())),
        output_bytes: output().len(),
        outcome,
        fuel: Fuel(1_234_567),
        peak: Pages(17),
        started: AT,
        finished: UnixMillis(AT.0 + 40),
    }
}

pub(crate) fn receipt_header(items: &[TaskReceipt]) -> ReceiptHeader {
    ReceiptHeader {
        job: JOB,
        authorization: signed_authorization().hash(),
        lease: LEASE,
        worker: node(),
        payee: account(),
        module: Hash::of(b"module"),
        profile: 0,
        commitment: Commitment::to(items),
    }
}

fn receipts() -> Batch<ReceiptHeader, TaskReceipt> {
    let items = vec![receipt(Outcome::Exit(0))];
    Batch::sign(&receipt_header(&items), items, mesh(), &node_key())
}

fn lease_header(items: &[LeaseItem]) -> LeaseHeader {
    LeaseHeader {
        lease: LEASE,
        worker: node(),
        job: JOB,
        authorization: signed_authorization().hash(),
        account: account(),
        price: Price::default(),
        duration_ms: 15_000,
        fence: FENCE,
        commitment: Commitment::to(items),
    }
}

fn lease() -> Batch<LeaseHeader, LeaseItem> {
    let items = vec![
        LeaseItem { task: TaskIndex(3), attempt: 1 },
        LeaseItem { task: TaskIndex(4), attempt: 2 },
    ];
    Batch::sign(&lease_header(&items), items, mesh(), &node_key())
}

fn input() -> TaskInput {
    TaskInput {
        name: "docs/a.txt".into(),
        stdin: InputSource::Blob(BlobRef::to(b"a large text")),
        files: vec![InputFile {
            path: "extra.json".into(),
            source: InputSource::Inline(b"{}".to_vec()),
        }],
        stdin_as: Some("docs/a.txt".into()),
    }
}

pub(crate) fn output() -> OutputManifest {
    OutputManifest {
        stdout: BlobRef::to(b"{\"a\":1}\n"),
        stderr: BlobRef::to(b""),
        files: vec![OutputFile { path: "picture.png".into(), blob: BlobRef::to(b"png") }],
    }
}

/// Everything that is signed. The first is the only one that is frozen with its signature around it: the
/// envelope is the same for all.
pub(crate) fn statements() -> Vec<WireType> {
    let decisions = [
        ("approve", Verdict::Approve),
        ("reject", Verdict::Reject),
        ("block", Verdict::Block),
        ("suspend", Verdict::Suspend),
        ("reinstate", Verdict::Reinstate),
        ("unblock", Verdict::Unblock),
        ("leave", Verdict::Leave),
    ];
    vec![
        wire_type("signed-genesis", vec![("one", signed_genesis())]),
        wire_type(
            "genesis",
            vec![
                ("approval", genesis()),
                (
                    "automatic",
                    Genesis {
                        joining: Joining::Automatic,
                        welcome_grant: Credits::ZERO,
                        ..genesis()
                    },
                ),
            ],
        ),
        wire_type("advert", vec![("one", advert())]),
        wire_type("enrollment", vec![("one", enrollment())]),
        wire_type("owner-consent", vec![("one", OwnerConsent { node: node(), at: AT })]),
        wire_type(
            "node-decision",
            decisions.map(|(name, verdict)| (name, decision(verdict))).to_vec(),
        ),
        wire_type("node-labels", vec![("one", labels())]),
        wire_type("delegation", vec![("one", delegation())]),
        wire_type("key-rotation", vec![("one", rotation())]),
        wire_type("invite-terms", vec![("one", invite_terms())]),
        wire_type(
            "invite-use",
            vec![("one", InviteUse { invite: INVITE, node: node(), account: account() })],
        ),
        wire_type("invite-revoke", vec![("one", InviteRevoke { invite: INVITE, at: AT })]),
        wire_type("invite", vec![("one", invite_text())]),
        wire_type("job-authorization", vec![("one", authorization())]),
        wire_type("job-cancel", vec![("one", JobCancel { job: JOB, at: AT })]),
        wire_type("transfer", vec![("one", transfer())]),
        wire_type("node-order", vec![("one", order())]),
        wire_type(
            "lease-header",
            vec![("one", lease_header(&[LeaseItem { task: TaskIndex(3), attempt: 1 }]))],
        ),
        wire_type("lease-item", vec![("one", LeaseItem { task: TaskIndex(3), attempt: 1 })]),
        wire_type("receipt-header", vec![("one", receipt_header(&[receipt(Outcome::Exit(0))]))]),
        wire_type(
            "task-receipt",
            outcomes().into_iter().map(|(name, outcome)| (name, receipt(outcome))).collect(),
        ),
    ]
}

fn outcomes() -> Vec<(&'static str, Outcome)> {
    vec![
        ("exit-0", Outcome::Exit(0)),
        ("exit-3", Outcome::Exit(3)),
        ("trap-unreachable", Outcome::Trap(Trap::Unreachable)),
        ("trap-memory", Outcome::Trap(Trap::MemoryOutOfBounds)),
        ("trap-table", Outcome::Trap(Trap::TableOutOfBounds)),
        ("trap-indirect-call", Outcome::Trap(Trap::BadIndirectCall)),
        ("trap-division", Outcome::Trap(Trap::DivisionByZero)),
        ("trap-overflow", Outcome::Trap(Trap::IntegerOverflow)),
        ("trap-conversion", Outcome::Trap(Trap::BadConversion)),
        ("out-of-fuel", Outcome::OutOfFuel),
        ("output-too-large", Outcome::OutputTooLarge),
        ("depth-exceeded", Outcome::DepthExceeded),
        ("refused", Outcome::Refused),
        ("timeout", Outcome::Indeterminate(Interruption::Timeout)),
        ("runner-crashed", Outcome::Indeterminate(Interruption::RunnerCrashed)),
        ("host-resources", Outcome::Indeterminate(Interruption::HostResources)),
        ("input-missing", Outcome::Indeterminate(Interruption::InputMissing)),
        ("compile-budget", Outcome::Indeterminate(Interruption::CompileBudget)),
        ("withdrawn", Outcome::Indeterminate(Interruption::Withdrawn)),
    ]
}

/// What nodes send each other, and the contents that have a fixed form.
pub(crate) fn messages() -> Vec<WireType> {
    let mut types = joining();
    types.extend(work());
    types.extend(contents());
    types
}

fn joining() -> Vec<WireType> {
    let hello = MeshHello {
        mesh: mesh(),
        name: "home".into(),
        epoch: 1,
        joining: Joining::Automatic,
        founded: AT,
        members: 3,
        pristine: true,
    };
    let statements = EnrollStatements {
        enrollment: Signed::sign(&enrollment(), mesh(), &node_key()),
        consent: Signed::sign(&OwnerConsent { node: node(), at: AT }, mesh(), &owner_key()),
        invite: None,
    };
    let invited = EnrollStatements {
        invite: Some(invite_text().proof(node(), account())),
        ..statements.clone()
    };
    let first = EnrollRequest { statements, reveal: None };
    vec![
        wire_type("hello-request", vec![("one", HelloRequest { version: VERSION })]),
        wire_type(
            "hello-response",
            vec![
                ("looking", HelloResponse { version: VERSION, mesh: None }),
                ("member", HelloResponse { version: VERSION, mesh: Some(hello) }),
            ],
        ),
        wire_type(
            "enroll-request",
            vec![
                ("first", first.clone()),
                ("revealing", EnrollRequest { reveal: Some(NONCE), ..first }),
                ("invited", EnrollRequest { statements: invited, reveal: None }),
            ],
        ),
        wire_type(
            "enroll-response",
            vec![
                ("admitted", EnrollResponse::Admitted(Box::new(membership()))),
                ("pending", EnrollResponse::Pending { retry_after_ms: 2_000, nonce: Some(NONCE) }),
                ("later", EnrollResponse::Pending { retry_after_ms: 2_000, nonce: None }),
                ("refused", EnrollResponse::Refused(RejectReason::Blacklisted)),
                ("elsewhere", EnrollResponse::Elsewhere(vec![address()])),
            ],
        ),
        wire_type("membership", vec![("one", membership())]),
    ]
}

fn roster() -> Roster {
    let blocked = vec![NodeId([0xb1; 32])];
    Roster { version: 6, members: vec![node()], blocked, coordinators: vec![address()] }
}

fn work() -> Vec<WireType> {
    let offer = LeaseOffer {
        batch: lease(),
        spec: spec(None),
        reduce_input: Some(BlobRef::to(b"input")),
        providers: vec![node()],
    };
    let held = HeldLease { lease: LEASE, done: 2, running: true, proof: None };
    let proven =
        HeldLease { lease: LEASE, done: 0, running: false, proof: Some(Box::new(lease())) };
    let heartbeat = Heartbeat {
        leases: vec![held, proven],
        slots: 8,
        slots_free: 7,
        draining: false,
        roster: 5,
        availability: availability(),
        returned: vec![LEASE],
    };
    let roster = roster();
    let results = ResultRequest {
        receipts: receipts(),
        outputs: vec![output()],
        inline: vec![b"{\"a\":1}\n".to_vec()],
        proof: Box::new(lease()),
    };
    vec![
        wire_type(
            "lease-request",
            vec![
                ("offer", LeaseRequest::Offer(Box::new(offer))),
                ("withdraw", LeaseRequest::Withdraw { leases: vec![LEASE], fence: FENCE }),
                ("order", LeaseRequest::Order(signed_order())),
            ],
        ),
        wire_type(
            "lease-response",
            vec![
                ("done", LeaseResponse::Done),
                ("refused", LeaseResponse::Refused(RejectReason::NoFreeSlot)),
            ],
        ),
        wire_type("availability", vec![("one", availability())]),
        wire_type("heartbeat", vec![("one", heartbeat)]),
        wire_type(
            "heartbeat-response",
            vec![
                (
                    "heard",
                    HeartbeatResponse::Heard {
                        lost: vec![LEASE],
                        roster: Some(roster),
                        fence: FENCE,
                    },
                ),
                ("refused", HeartbeatResponse::Refused(RejectReason::NotLeader)),
            ],
        ),
        wire_type("result-request", vec![("one", results)]),
        wire_type(
            "result-response",
            vec![
                ("taken", ResultResponse::Taken),
                ("retry", ResultResponse::Retry(RejectReason::NoLeader)),
                ("refused", ResultResponse::Refused(RejectReason::NotLeaseHolder)),
            ],
        ),
    ]
}

fn contents() -> Vec<WireType> {
    let whole = BlobWanted::whole(Hash::of(b"module"));
    let part = BlobWanted { from: 16_384, len: 1_024, ..whole };
    vec![
        wire_type("blob-request", vec![("one", BlobRequest { wanted: vec![whole, part] })]),
        wire_type(
            "job-spec",
            vec![
                ("alone", spec(None)),
                ("concat", spec(Some(Reduce::Concat))),
                ("json-sum", spec(Some(Reduce::JsonSum))),
                ("last", spec(Some(Reduce::Last))),
                ("module", spec(Some(Reduce::Module(Hash::of(b"reducer"))))),
                (
                    "partial",
                    JobSpec {
                        end: EndPolicy::AllowPartial,
                        scope: Scope::Mine,
                        isolation: Isolation::A,
                        ..spec(None)
                    },
                ),
            ],
        ),
        wire_type("task-input", vec![("none", TaskInput::none()), ("mapped", input())]),
        wire_type(
            "input-page",
            vec![("one", InputPage { inputs: vec![TaskInput::none(), input()] })],
        ),
        wire_type(
            "input-manifest",
            vec![("one", InputManifest { page_inputs: 1_024, pages: vec![BlobRef::to(b"page")] })],
        ),
        wire_type("output-manifest", vec![("one", output())]),
    ]
}

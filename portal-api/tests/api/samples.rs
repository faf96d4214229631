//! One of everything, built as the protocol shows it.

use portal_api::views::{self, Check, Health};
use protocol::{
    batch::{Commitment, item_path},
    codec::encode,
    ids::{AccountId, Hash, InviteId, JobId, LeaseId, MeshId, NodeId, ReceiptId, TaskIndex},
    keys::SecretKey,
    outcome::Outcome,
    price::Price,
    sign::Signed,
    time::UnixMillis,
    units::{Credits, Fuel, Pages},
    wire::{
        advert::{Advert, Arch, Isolation, Os},
        availability::{Advice, Availability, Cause, Openness, Reason},
        enroll::Role,
        genesis::{Genesis, Joining},
        job::{EndPolicy, JobAuthorization, JobSpec, Reduce, Scope, TaskLimits},
        manifest::{BlobRef, OutputFile, OutputManifest},
        receipt::{ReceiptHeader, TaskReceipt},
        view::{
            Admission, BalanceView, Condition, ExplainView, HistoryView, InviteView, JobState,
            JobView, Liveness, MeshView, NodeView, Obstacle, ReceiptProof, ReceiptView, TaskState,
            TaskView,
        },
    },
};

/// 2026-11-20T15:25:03.120Z.
const AT: UnixMillis = UnixMillis(1_795_188_303_120);
pub(crate) const JOB: JobId = JobId([0xab; 16]);
/// A job that nobody has.
pub(crate) const NO_JOB: JobId = JobId([0xff; 16]);
pub(crate) const RECEIPT: ReceiptId = ReceiptId { job: JOB, task: TaskIndex(1) };
pub(crate) const CONTENT: &[u8] = b"hello\n";

pub(crate) fn owner() -> SecretKey {
    SecretKey::from_seed(&[1; 32])
}

pub(crate) fn account() -> AccountId {
    owner().account()
}

pub(crate) fn otter() -> NodeId {
    SecretKey::from_seed(&[2; 32]).node()
}

pub(crate) fn finch() -> NodeId {
    SecretKey::from_seed(&[3; 32]).node()
}

pub(crate) fn spec() -> JobSpec {
    JobSpec {
        name: "wordfreq".to_owned(),
        module: Hash([0x11; 32]),
        profile: 0,
        args: vec!["{}".to_owned()],
        env: vec![("LANG".to_owned(), "C".to_owned())],
        manifest: Hash([0x22; 32]),
        tasks: 129,
        reduce: Some(Reduce::Module(Hash([0x11; 32]))),
        limits: TaskLimits::default(),
        end: EndPolicy::AllOrNothing,
        scope: Scope::Mesh,
        isolation: Isolation::B,
        tags: vec!["fast".to_owned()],
    }
}

pub(crate) fn job() -> views::Job {
    let job = JobView {
        job: JOB,
        account: account(),
        spec: spec(),
        state: JobState::Running,
        reason: None,
        total: 130,
        done: 83,
        failed: 0,
        leased: 12,
        retried: 2,
        budget: Credits::from_whole(65),
        captured: Credits::from_micros(1_234_567),
        fuel: Fuel(4_900_000_000),
        submitted: AT,
        ended: None,
        version: 97,
    };
    views::Job::from(&job).with_receipts(vec![ReceiptId { job: JOB, task: TaskIndex(0) }, RECEIPT])
}

pub(crate) fn output() -> OutputManifest {
    OutputManifest {
        stdout: BlobRef::to(CONTENT),
        stderr: BlobRef::to(b""),
        files: vec![OutputFile { path: "a/picture.png".to_owned(), blob: BlobRef::to(b"png") }],
    }
}

pub(crate) fn task(index: u32) -> views::Task {
    let done = TaskView {
        task: TaskIndex(index),
        state: TaskState::Completed,
        attempts: 1,
        worker: Some(finch()),
        outcome: Some(Outcome::Exit(0)),
        reason: None,
        fuel: Fuel(59_000_000),
        cost: Credits::from_micros(14_800),
        output: Some(output()),
    };
    views::Task::new(JOB, &done)
}

/// A task that was handed out too often and never reported: it has no receipt.
pub(crate) fn given_up_task() -> views::Task {
    let lost = TaskView {
        task: TaskIndex(7),
        state: TaskState::Failed,
        attempts: 6,
        worker: Some(finch()),
        outcome: None,
        reason: Some("node-lost".to_owned()),
        fuel: Fuel(0),
        cost: Credits::ZERO,
        output: None,
    };
    views::Task::new(JOB, &lost)
}

pub(crate) fn result(index: u32) -> views::TaskResult {
    views::TaskResult { name: format!("line-{index:06}"), reducing: false, task: task(index) }
}

pub(crate) fn results(items: Vec<views::TaskResult>) -> views::JobResults {
    let reduce = Some(views::Reduce::JsonSum);
    views::JobResults { job: JOB, state: JobState::Running, reduce, items, next_cursor: None }
}

pub(crate) fn explain() -> views::Explain {
    views::Explain::from(&ExplainView {
        job: JOB,
        state: JobState::Queued,
        waiting: 129,
        leased: 0,
        waiting_ms: 12_500,
        nodes_able: 0,
        nodes_total: 2,
        obstacles: vec![Obstacle {
            code: "no-free-slot".to_owned(),
            nodes: 2,
            detail: "2 nodes have no free slot".to_owned(),
            permanent: false,
        }],
        decisions: vec!["nothing offered: no free slot".to_owned()],
        memory_fits_bytes: Some(128 << 20),
    })
}

pub(crate) fn plan() -> views::Plan {
    views::Plan {
        tasks: 130,
        budget_ucr: Credits::from_whole(65),
        available_ucr: Credits::from_whole(1_000),
        nodes_able: 1,
        nodes_total: 2,
        obstacles: Vec::new(),
    }
}

fn advert(node: NodeId) -> Advert {
    Advert {
        version: 1,
        node,
        seq: 9,
        at: AT,
        ttl_ms: 45_000,
        software: "0.1.0".to_owned(),
        os: Os::Linux,
        arch: Arch::X86_64,
        roles: vec![Role::Worker],
        isolation: Isolation::A,
        cores: 4,
        memory_bytes: 4_294_967_296,
        memory_free_bytes: 1_073_741_824,
        cpu_percent: 37,
        memory_percent: 60,
        slots: 4,
        slots_free: 1,
        tags: vec!["fast".to_owned()],
    }
}

pub(crate) fn nodes() -> Vec<views::Node> {
    let otter = NodeView {
        node: otter(),
        name: "brave-otter".to_owned(),
        account: account(),
        admission: Admission::Approved,
        liveness: Liveness::Healthy,
        condition: Condition::Online,
        roles: vec![Role::Worker, Role::Submitter, Role::Coordinator],
        advert: Some(advert(otter())),
        seen_ms_ago: Some(1_250),
        rtt_us: Some(480),
        tasks: 3,
        availability: Some(availability()),
        healthy: true,
        flapping: true,
        advice: Some(Advice::Reboot),
        labels: vec!["zone:attic".to_owned()],
        code: None,
        delegated: true,
        reason: None,
        note: "the fast one".to_owned(),
        replaced_by: None,
    };
    let finch = NodeView {
        node: finch(),
        name: "calm-finch".to_owned(),
        account: AccountId([9; 32]),
        admission: Admission::Pending,
        liveness: Liveness::Offline,
        condition: Condition::Syncing,
        roles: vec![Role::Worker],
        advert: None,
        seen_ms_ago: None,
        rtt_us: None,
        tasks: 0,
        availability: None,
        healthy: false,
        flapping: false,
        advice: None,
        labels: Vec::new(),
        code: "417208".parse().ok(),
        delegated: false,
        reason: None,
        note: String::new(),
        replaced_by: None,
    };
    vec![views::Node::from(&otter), views::Node::from(&finch)]
}

pub(crate) const INVITE: InviteId = InviteId([0x77; 16]);

pub(crate) fn invites() -> Vec<views::Invite> {
    let view = InviteView {
        invite: INVITE,
        sponsor: account(),
        role: Role::Worker,
        uses: 1,
        used: 0,
        at: AT,
        expires: AT.saturating_add(std::time::Duration::from_secs(86_400)),
        revoked: false,
        hint: "laptop".to_owned(),
    };
    let used = |view: InviteView| InviteView {
        invite: InviteId([0x78; 16]),
        used: 1,
        hint: String::new(),
        ..view
    };
    [view.clone(), used(view)].iter().map(|view| views::Invite::at(view, AT)).collect()
}

pub(crate) fn peer() -> views::Peer {
    views::Peer {
        peer: finch(),
        name: Some("calm-finch".to_owned()),
        admission: Some(Admission::Approved),
        address: "/ip4/192.168.1.31/udp/4301/quic-v1".to_owned(),
        path: "direct".to_owned(),
        direction: "inbound".to_owned(),
        agent: Some("weft/0.1.0".to_owned()),
        rtt_seconds: Some(0.0125),
        score: -4,
        connected_seconds: Some(61.5),
    }
}

pub(crate) fn coordinators() -> views::Coordinators {
    let member =
        |peer, role: &str, lag| views::CoordinatorMember { peer, role: role.to_owned(), lag };
    views::Coordinators {
        leader: Some(otter()),
        term: 3,
        epoch: 0,
        commit_index: 4_242,
        as_seen_by: otter(),
        members: vec![member(otter(), "voter", Some(0)), member(finch(), "learner", Some(17))],
    }
}

pub(crate) fn identity() -> views::Identity {
    views::Identity {
        peer: otter(),
        name: "brave-otter".to_owned(),
        account: account(),
        mesh: Some(MeshId([5; 32])),
        addresses: vec![format!("/ip4/192.168.1.20/tcp/4301/p2p/{}", otter())],
        agent: "weft/0.1.0".to_owned(),
    }
}

fn mesh() -> MeshView {
    MeshView {
        mesh: MeshId([5; 32]),
        name: "home".to_owned(),
        epoch: 0,
        leader: Some(otter()),
        term: 3,
        commit_index: 512,
        height: 212,
        height_at: AT,
        price: Price::default(),
        joining: Joining::Approval,
        tasks_queued: 35,
        tasks_leased: 12,
        jobs_open: 1,
        coordinators: vec![protocol::wire::group::CoordinatorView {
            node: otter(),
            voter: true,
            lag: Some(0),
        }],
    }
}

pub(crate) fn status() -> views::Status {
    views::Status {
        peer: otter(),
        name: "brave-otter".to_owned(),
        account: account(),
        roles: vec![Role::Worker, Role::Submitter, Role::Coordinator],
        admission: Admission::Approved,
        mesh: Some(mesh().mesh),
        mesh_name: Some(mesh().name),
        joining: None,
        code: None,
        leader: mesh().leader,
        work: Some(views::Mesh::from(&mesh())),
        credits: Some(views::Credit::from(&balance())),
        peers: 2,
        sharing: Some(views::Shared {
            slots: 4,
            slots_free: 1,
            cores: 4,
            memory_bytes: 4_294_967_296,
            isolation: Isolation::A,
            now: Some(views::Sharing::from(&availability())),
        }),
        reasons: views::reasons(&availability()),
        uptime_seconds: 3_725.5,
        version: "0.1.0".to_owned(),
        listen: vec!["/ip4/192.168.1.20/tcp/4301".to_owned()],
        api: Some("http://127.0.0.1:4304".to_owned()),
    }
}

/// A request to join that nobody has decided on.
pub(crate) fn joining() -> views::Joining {
    views::Joining {
        mesh: mesh().mesh,
        mesh_name: mesh().name,
        members: 2,
        peer: otter(),
        address: "/ip4/192.168.1.20/tcp/4301".to_owned(),
        code: Some("417208".to_owned()),
        state: views::JoinState::Pending,
        reason: None,
    }
}

/// A mesh that was left.
pub(crate) fn left() -> views::Left {
    views::Left {
        mesh: mesh().mesh,
        mesh_name: mesh().name,
        kept: format!("/var/lib/weft/old/{}", mesh().mesh),
    }
}

/// A node that has found no mesh yet.
pub(crate) fn lonely_status() -> views::Status {
    views::Status {
        admission: Admission::Pending,
        mesh: None,
        mesh_name: None,
        joining: Some(joining()),
        code: None,
        leader: None,
        work: None,
        credits: None,
        peers: 0,
        sharing: None,
        reasons: Vec::new(),
        api: None,
        ..status()
    }
}

pub(crate) fn availability() -> Availability {
    Availability {
        others: Openness::Small { task_ms_max: 10_000 },
        slots_others: 3,
        memory_bytes: 4_294_967_296,
        overloaded: false,
        reasons: vec![
            Reason::of(Cause::BatteryLow),
            Reason::of(Cause::OutsideHours).noting("22:00-07:00").ending(Some(AT)),
        ],
    }
}

pub(crate) fn pause() -> views::Pause {
    views::Pause {
        paused: true,
        until: Some(AT),
        message: "gaming".to_owned(),
        reasons: vec![views::Reason::from(
            &Reason::of(Cause::Paused).noting("gaming").ending(Some(AT)),
        )],
    }
}

pub(crate) fn limits() -> views::OwnerLimits {
    views::OwnerLimits {
        cores: 4,
        cores_total: 8,
        memory_bytes: 4_294_967_296,
        share_percent: 50,
        on_battery: false,
        min_battery_percent: 40,
        idle_seconds: 180,
        hours: Some("22:00-07:00".to_owned()),
        max_cpu_others_percent: Some(25),
        now: views::Sharing::from(&availability()),
        reasons: views::reasons(&availability()),
    }
}

pub(crate) fn balance() -> views::Balance {
    views::Balance::from(&BalanceView {
        account: account(),
        available: Credits::from_whole(934),
        held: Credits::from_micros(63_765_433),
        earned: Credits::from_micros(250),
        spent: Credits::from_micros(1_234_567),
        height: 212,
        height_at: AT,
    })
}

pub(crate) fn history(seq: u64) -> views::HistoryEntry {
    views::HistoryEntry::from(&HistoryView {
        seq,
        at: AT,
        kind: "hold".to_owned(),
        credit: Credits::ZERO,
        debit: Credits::from_whole(65),
        job: Some(JOB),
        other: AccountId::system(b"escrow"),
    })
}

pub(crate) fn receipt(task: u32) -> views::Receipt {
    views::Receipt::from(&ReceiptView {
        receipt: ReceiptId { job: JOB, task: TaskIndex(task) },
        worker: finch(),
        outcome: Outcome::Exit(0),
        fuel: Fuel(59_000_000),
        peak: Pages(17),
        cost: Credits::from_micros(14_800),
        output: Hash([0x33; 32]),
        entry: 57,
        at: AT,
    })
}

pub(crate) fn proof() -> ReceiptProof {
    let worker = SecretKey::from_seed(&[3; 32]);
    let genesis = Genesis {
        version: 1,
        name: "home".to_owned(),
        founded: AT,
        operators: vec![account()],
        coordinator: otter(),
        coordinator_name: "brave-otter".to_owned(),
        price: Price::default(),
        welcome_grant: Credits::from_whole(1_000),
        welcome_grants_max: 100,
        joining: Joining::Approval,
        nonce: [7; 16],
    };
    let genesis = Signed::sign(&genesis, Genesis::MESH, &owner());
    let mesh = Genesis::mesh_id(&genesis);
    let authorization = JobAuthorization {
        job: JOB,
        account: account(),
        spec: spec().hash(),
        budget: Credits::from_whole(65),
        price: Price::default(),
        not_before: AT,
        ttl_ms: 86_400_000,
    };
    let authorization = Signed::sign(&authorization, mesh, &owner());
    let item = |task| TaskReceipt {
        task: TaskIndex(task),
        attempt: 1,
        input: Hash([0x44; 32]),
        output: Hash::of(&encode(&output())),
        output_bytes: output().len(),
        outcome: Outcome::Exit(0),
        fuel: Fuel(59_000_000),
        peak: Pages(17),
        started: AT,
        finished: UnixMillis(AT.0 + 59),
    };
    let items = [item(0), item(1), item(2)];
    let header = ReceiptHeader {
        job: JOB,
        authorization: authorization.hash(),
        lease: LeaseId([0x55; 16]),
        worker: worker.node(),
        payee: AccountId([9; 32]),
        module: spec().module,
        profile: 0,
        commitment: Commitment::to(&items),
    };
    ReceiptProof {
        receipt: RECEIPT,
        genesis,
        authorization,
        delegation: None,
        spec: spec(),
        header: Signed::sign(&header, mesh, &worker),
        item: items[1],
        item_index: 1,
        item_path: item_path(&items, 1).unwrap(),
        entry: b"the encoded leaf".to_vec(),
        entry_index: 57,
        entry_path: vec![[0x66; 32]],
        checkpoint: "weft/home\n212\nAAAA\n".to_owned(),
        output: Some(output()),
    }
}

pub(crate) fn health(ready: bool) -> Health {
    let check = |name: &str, good, detail: &str| Check {
        name: name.to_owned(),
        good,
        detail: detail.to_owned(),
    };
    Health::of(vec![
        check("ledger", true, "the ledger is written"),
        check("leader", ready, if ready { "this node leads" } else { "nobody leads" }),
    ])
}

/// A request that is complete and allowed.
pub(crate) fn submission() -> serde_json::Value {
    serde_json::json!({
        "name": "wordfreq", "module": Hash([0x11; 32]).to_string(), "manifest": Hash([0x22; 32]).to_string(),
        "tasks": 129, "args": ["{}"], "env": [["LANG", "C"]],
    })
}

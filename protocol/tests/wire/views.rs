//! Values of what anybody asks a coordinator, and of the answers.

use protocol::{
    batch::{Batch, item_path},
    ids::{Hash, ReceiptId, TaskIndex},
    outcome::Outcome,
    price::Price,
    reject::RejectReason,
    sign::Signed,
    time::UnixMillis,
    units::{Credits, Fuel, Pages},
    wire::{
        availability::Advice,
        client::{ClientRequest, ClientResponse, Query},
        enroll::{BlockReason, Role, Verdict},
        genesis::Joining,
        group::{Candidacy, Candidate, CoordinatorView, GroupView, Seat},
        invite::InviteRevoke,
        job::JobCancel,
        view::{
            Admission, Answer, BalanceView, Condition, ExplainView, HistoryView, InviteView,
            JobState, JobView, Liveness, MeshView, NodeView, Obstacle, ReceiptProof, ReceiptView,
            TaskState, TaskView,
        },
    },
};

use super::{
    WireType,
    samples::{
        AT, INVITE, JOB, account, address, advert, availability, decision, delegation,
        invite_terms, labels, mesh, node, node_key, output, owner_key, receipt, receipt_header,
        rotation, signed_authorization, signed_genesis, signed_order, spec, transfer,
    },
    wire_type,
};

const RECEIPT: ReceiptId = ReceiptId { job: JOB, task: TaskIndex(3) };

/// Requests and responses of the client protocol.
pub(crate) fn conversation() -> Vec<WireType> {
    let rejected = ClientResponse::Rejected {
        reason: RejectReason::InsufficientCredits,
        detail: "the budget is more than the balance".into(),
        amounts: Some((25_000_000, 12_400_000)),
    };
    let mut responses = vec![
        ("committed", ClientResponse::Committed { height: 77 }),
        ("rejected", rejected),
        ("obeyed", ClientResponse::Obeyed),
        (
            "waits",
            ClientResponse::Candidate(Candidate::Waits("its disk has too little room".into())),
        ),
        (
            "admitted",
            ClientResponse::Candidate(Candidate::Admitted { raft_id: 17, members: vec![seat()] }),
        ),
        ("kept", ClientResponse::Kept),
    ];
    responses.extend(
        answers()
            .into_iter()
            .map(|(name, answer)| (name, ClientResponse::Answer(Box::new(answer)))),
    );
    vec![wire_type("client-request", requests()), wire_type("client-response", responses)]
}

fn requests() -> Vec<(&'static str, ClientRequest)> {
    let submit =
        ClientRequest::Submit { authorization: signed_authorization(), spec: Box::new(spec(None)) };
    let cancel = Signed::sign(&JobCancel { job: JOB, at: AT }, mesh(), &owner_key());
    let decide = Signed::sign(&decision(Verdict::Approve), mesh(), &owner_key());
    let mut requests = vec![
        ("submit", submit),
        ("cancel", ClientRequest::Cancel(cancel)),
        ("decide", ClientRequest::Decide(decide)),
        ("transfer", ClientRequest::Transfer(Signed::sign(&transfer(), mesh(), &owner_key()))),
        ("label", ClientRequest::Label(Signed::sign(&labels(), mesh(), &owner_key()))),
        ("invite", ClientRequest::Invite(Signed::sign(&invite_terms(), mesh(), &owner_key()))),
        (
            "revoke-invite",
            ClientRequest::RevokeInvite(Signed::sign(
                &InviteRevoke { invite: INVITE, at: AT },
                mesh(),
                &owner_key(),
            )),
        ),
        (
            "rotate-key",
            ClientRequest::RotateKey {
                by_old: Signed::sign(&rotation(), mesh(), &node_key()),
                by_new: Signed::sign(&rotation(), mesh(), &owner_key()),
            },
        ),
    ];
    requests.push(("order", ClientRequest::Order(signed_order())));
    requests.push(("stand", ClientRequest::Stand(candidacy())));
    let (outputs, inline) = (vec![output()], vec![b"{\"a\":1}\n".to_vec()]);
    requests.push(("keep", ClientRequest::Keep { job: JOB, outputs, inline }));
    requests.extend(queries().into_iter().map(|(name, query)| (name, ClientRequest::Query(query))));
    requests
}

fn queries() -> Vec<(&'static str, Query)> {
    vec![
        ("mesh", Query::Mesh),
        ("jobs", Query::Jobs { account: Some(account()), after: Some(JOB), limit: 50 }),
        ("job", Query::Job(JOB)),
        ("job-prefix", Query::JobPrefix("1010".into())),
        ("tasks", Query::Tasks { job: JOB, from: 100, limit: 500 }),
        ("explain", Query::Explain(JOB)),
        ("nodes", Query::Nodes),
        ("balance", Query::Balance(account())),
        ("history", Query::History { account: account(), before: Some(40), limit: 50 }),
        (
            "receipts",
            Query::Receipts { job: Some(JOB), account: None, after: Some(RECEIPT), limit: 50 },
        ),
        ("receipt", Query::Receipt(RECEIPT)),
        ("watch", Query::Watch { job: JOB, version: 9 }),
        ("addresses", Query::Addresses(vec![node()])),
        ("group", Query::Group),
        ("invites", Query::Invites),
    ]
}

fn answers() -> Vec<(&'static str, Answer)> {
    let jobs = [
        ("queued", JobState::Queued),
        ("running", JobState::Running),
        ("completed", JobState::Completed),
        ("partially-completed", JobState::PartiallyCompleted),
        ("failed", JobState::Failed),
        ("cancelled", JobState::Cancelled),
        ("expired", JobState::Expired),
    ];
    let mut answers = vec![
        ("mesh", Answer::Mesh(mesh_view())),
        ("jobs", Answer::Jobs(vec![job(JobState::Running)])),
        ("job-ids", Answer::JobIds(vec![JOB])),
        ("tasks", Answer::Tasks(TaskState::ALL.map(task).to_vec())),
        ("explain", Answer::Explain(explain())),
        ("nodes", Answer::Nodes(nodes())),
        ("balance", Answer::Balance(balance())),
        ("history", Answer::History(vec![history()])),
        ("receipts", Answer::Receipts(vec![receipt_view()])),
        ("receipt", Answer::Receipt(Box::new(proof()))),
        ("addresses", Answer::Addresses(vec![address()])),
        ("group", Answer::Group(group())),
        ("invites", Answer::Invites(vec![invite()])),
    ];
    answers.extend(jobs.map(|(name, state)| (name, Answer::Job(Box::new(job(state))))));
    answers
}

fn candidacy() -> Candidacy {
    Candidacy {
        incarnation: [9; 16],
        raft_id: Some(17),
        up_ms: 61_000,
        disk_free_bytes: 5 << 30,
        sync_us: Some(12_000),
        mobile: false,
        asked: true,
        leaving: false,
        at: AT,
    }
}

fn seat() -> Seat {
    Seat { raft_id: 1, node: node(), incarnation: [8; 16] }
}

fn group() -> GroupView {
    let member = |voter, lag| CoordinatorView { node: node(), voter, lag };
    GroupView {
        epoch: 1,
        leader: Some(node()),
        leads: true,
        term: 7,
        commit_index: 4_300,
        applied_index: 4_299,
        members: vec![member(true, Some(0)), member(false, None)],
    }
}

fn mesh_view() -> MeshView {
    MeshView {
        mesh: mesh(),
        name: "home".into(),
        epoch: 1,
        leader: Some(node()),
        term: 7,
        commit_index: 4_300,
        height: 77,
        height_at: AT,
        price: Price::default(),
        joining: Joining::Automatic,
        tasks_queued: 480,
        tasks_leased: 20,
        jobs_open: 1,
        coordinators: vec![CoordinatorView { node: node(), voter: true, lag: Some(0) }],
    }
}

fn job(state: JobState) -> JobView {
    JobView {
        job: JOB,
        account: account(),
        spec: spec(None),
        state,
        reason: (state == JobState::Failed).then(|| "trap".into()),
        total: 500,
        done: 20,
        failed: 0,
        leased: 20,
        retried: 1,
        budget: Credits::from_whole(25),
        captured: Credits::from_micros(6_200),
        fuel: Fuel(24_691_340),
        submitted: AT,
        ended: state.is_terminal().then_some(UnixMillis(AT.0 + 60_000)),
        version: 9,
    }
}

fn task(state: TaskState) -> TaskView {
    let started = state.is_terminal() || state == TaskState::Running;
    TaskView {
        task: TaskIndex(3),
        state,
        attempts: u16::from(started),
        worker: started.then(node),
        outcome: (state == TaskState::Completed).then_some(Outcome::Exit(0)),
        reason: (state == TaskState::Failed).then(|| "node-lost".into()),
        fuel: Fuel(1_234_567),
        cost: Credits::from_micros(359),
        output: (state == TaskState::Completed).then(output),
    }
}

fn explain() -> ExplainView {
    ExplainView {
        job: JOB,
        state: JobState::Queued,
        waiting: 500,
        leased: 0,
        waiting_ms: 1_500,
        nodes_able: 0,
        nodes_total: 3,
        obstacles: vec![Obstacle {
            code: "tags-missing".into(),
            nodes: 3,
            detail: "no node has the label zone:attic".into(),
            permanent: true,
        }],
        decisions: vec!["waits: no node can take it".into()],
        memory_fits_bytes: Some(1 << 30),
    }
}

fn nodes() -> Vec<NodeView> {
    let states = [
        (Admission::Pending, Liveness::Healthy, Condition::Online),
        (Admission::Approved, Liveness::Healthy, Condition::Degraded),
        (Admission::Suspended, Liveness::Suspect, Condition::Syncing),
        (Admission::Blacklisted, Liveness::Offline, Condition::Maintenance),
    ];
    states
        .map(|(admission, liveness, condition)| NodeView {
            node: node(),
            name: "desk".into(),
            account: account(),
            admission,
            liveness,
            condition,
            roles: vec![Role::Worker, Role::Coordinator],
            advert: (admission == Admission::Approved).then(advert),
            seen_ms_ago: Some(1_200),
            rtt_us: Some(430),
            tasks: 20,
            availability: (admission == Admission::Approved).then(availability),
            healthy: liveness == Liveness::Healthy,
            flapping: liveness == Liveness::Suspect,
            advice: (liveness == Liveness::Offline).then_some(Advice::Decommission),
            labels: vec!["gpu".into()],
            code: "417208".parse().ok().filter(|_| admission == Admission::Pending),
            delegated: admission == Admission::Approved,
            reason: (admission == Admission::Blacklisted).then_some(BlockReason::DosBehavior),
            note: "as agreed".into(),
            replaced_by: (admission == Admission::Approved).then(node),
        })
        .to_vec()
}

fn invite() -> InviteView {
    InviteView {
        invite: INVITE,
        sponsor: account(),
        role: Role::Worker,
        uses: 3,
        used: 1,
        at: AT,
        expires: AT,
        revoked: true,
        hint: "laptop".into(),
    }
}

fn balance() -> BalanceView {
    BalanceView {
        account: account(),
        available: Credits::from_whole(975),
        held: Credits::from_whole(25),
        earned: Credits::from_micros(6_000),
        spent: Credits::from_micros(6_200),
        height: 77,
        height_at: AT,
    }
}

fn history() -> HistoryView {
    HistoryView {
        seq: 40,
        at: AT,
        kind: "hold".into(),
        credit: Credits::ZERO,
        debit: Credits::from_whole(25),
        job: Some(JOB),
        other: account(),
    }
}

fn receipt_view() -> ReceiptView {
    ReceiptView {
        receipt: RECEIPT,
        worker: node(),
        outcome: Outcome::Exit(0),
        fuel: Fuel(1_234_567),
        peak: Pages(17),
        cost: Credits::from_micros(359),
        output: Hash::of(b"output"),
        entry: 41,
        at: AT,
    }
}

fn proof() -> ReceiptProof {
    let item = receipt(Outcome::Exit(0));
    let items = vec![item, receipt(Outcome::OutOfFuel)];
    let header = receipt_header(&items);
    let item_path = item_path(&items, 0).unwrap_or_default();
    ReceiptProof {
        receipt: RECEIPT,
        genesis: signed_genesis(),
        authorization: signed_authorization(),
        delegation: Some(Signed::sign(&delegation(), mesh(), &owner_key())),
        spec: spec(None),
        header: Batch::sign(&header, items, mesh(), &node_key()).header,
        item,
        item_index: 0,
        item_path,
        entry: vec![0xe1; 40],
        entry_index: 41,
        entry_path: vec![[0xe2; 32]],
        checkpoint: "weft.example/ledger/e1\n42\n".into(),
        output: Some(output()),
    }
}

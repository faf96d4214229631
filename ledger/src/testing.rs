//! For the tests of this and other crates: a mesh, jobs and receipts in a few words, and a ledger in memory.
//!
//! Everything is derived from small numbers, so that two runs make the same bytes.

use protocol::{
    batch::{Batch, Commitment},
    code::Nonce,
    ids::{Hash, InviteId, JobId, LeaseId, MeshId, NodeId, RequestId, TaskIndex},
    invite::Secret,
    keys::SecretKey,
    limits::JOB_TTL_DEFAULT,
    outcome::Outcome,
    price::Price,
    sign::Signed,
    time::UnixMillis,
    units::{Credits, Fuel, Pages},
    wire::{
        VERSION,
        advert::Isolation,
        enroll::{EnrollStatements, Enrollment, NodeDecision, OwnerConsent, Role, Verdict},
        genesis::{Genesis, Joining},
        invite::{InviteTerms, InviteUse},
        job::{EndPolicy, JobAuthorization, JobCancel, JobSpec, Scope, TaskLimits, Transfer},
        owner::KeyRotation,
        receipt::{ReceiptHeader, TaskReceipt},
    },
};

use crate::{
    command::{Command, Reply, Stamped},
    records::{MemoryRecords, ReadError},
    state::{Applied, apply},
};

/// When test meshes are founded.
pub const FOUNDED: UnixMillis = UnixMillis(1_700_000_000_000);

/// The number that test nodes commit to.
pub const THEIRS: Nonce = Nonce([0x41; 32]);
/// The number that test leaders draw.
pub const OURS: Nonce = Nonce([0x42; 32]);

/// The command of a node that asks to join.
#[must_use]
pub fn asking(statements: EnrollStatements) -> Command {
    Command::Enroll { statements: Box::new(statements), nonce: OURS }
}

/// The key with this number.
#[must_use]
pub fn key(number: u8) -> SecretKey {
    SecretKey::from_seed(&[number; 32])
}

/// Reads a message between members of a group, and says whether its bytes are the only ones of what it says; `None` if it
/// is none.
#[cfg(feature = "replica")]
#[must_use]
pub fn frame(bytes: &[u8]) -> Option<bool> {
    let request = protocol::codec::decode::<crate::replica::Request>(bytes).ok()?;
    Some(protocol::codec::encode(&request) == bytes)
}

/// A mesh and the keys of its creator.
#[derive(Debug, Clone)]
pub struct TestMesh {
    /// Its id.
    pub id: MeshId,
    /// The founding statement.
    pub genesis: Signed<Genesis>,
    /// The account key of its creator: `key(1)`.
    pub operator: SecretKey,
    /// The node key of its first coordinator: `key(2)`.
    pub coordinator: SecretKey,
}

impl Default for TestMesh {
    fn default() -> Self {
        Self::with(|_| {})
    }
}

impl TestMesh {
    /// A mesh whose founding statement differs from the default one by `change`: default price, a welcome grant of
    /// 1,000 credits for 100 owners, approval by hand.
    #[must_use]
    pub fn with(change: impl FnOnce(&mut Genesis)) -> Self {
        let (operator, coordinator) = (key(1), key(2));
        let mut genesis = Genesis {
            version: VERSION,
            name: "test".to_owned(),
            founded: FOUNDED,
            operators: vec![operator.account()],
            coordinator: coordinator.node(),
            coordinator_name: "first".to_owned(),
            price: Price::default(),
            welcome_grant: Credits::from_whole(1_000),
            welcome_grants_max: 100,
            joining: Joining::Approval,
            nonce: [7; 16],
        };
        change(&mut genesis);
        let genesis = Signed::sign(&genesis, Genesis::MESH, &operator);
        Self { id: Genesis::mesh_id(&genesis), genesis, operator, coordinator }
    }

    /// A node of an owner asks to join, for all roles.
    #[must_use]
    pub fn enrollment(&self, node: &SecretKey, owner: &SecretKey, name: &str) -> EnrollStatements {
        let enrollment = Enrollment {
            node: node.node(),
            account: owner.account(),
            name: name.to_owned(),
            roles: Role::ALL.to_vec(),
            software: "test".to_owned(),
            commitment: THEIRS.commitment(),
            at: FOUNDED,
        };
        EnrollStatements {
            enrollment: Signed::sign(&enrollment, self.id, node),
            consent: Signed::sign(&OwnerConsent { node: node.node(), at: FOUNDED }, self.id, owner),
            invite: None,
        }
    }

    /// The command that follows from it.
    #[must_use]
    pub fn enroll(&self, node: &SecretKey, owner: &SecretKey, name: &str) -> Command {
        asking(self.enrollment(node, owner, name))
    }

    /// The creator decides about a node, at a time after the founding, in milliseconds.
    #[must_use]
    pub fn decision(&self, node: NodeId, verdict: Verdict, after_ms: u64) -> Signed<NodeDecision> {
        let roles = if verdict == Verdict::Approve { Role::ALL.to_vec() } else { Vec::new() };
        let at = UnixMillis(FOUNDED.0.saturating_add(after_ms));
        let decision = NodeDecision {
            node,
            verdict,
            roles,
            delegation: None,
            reason: None,
            note: String::new(),
            at,
        };
        Signed::sign(&decision, self.id, &self.operator)
    }

    /// The creator invites whoever holds `secret`, for an hour after the founding, as workers.
    #[must_use]
    pub fn invite(&self, secret: &Secret, uses: u16) -> InviteTerms {
        InviteTerms {
            invite: InviteId(secret.0),
            key: secret.key().public(),
            role: Role::Worker,
            uses,
            expires: UnixMillis(FOUNDED.0.saturating_add(3_600_000)),
            hint: String::new(),
            at: FOUNDED,
        }
    }

    /// A node asks to join with an invite.
    #[must_use]
    pub fn enroll_invited(
        &self,
        node: &SecretKey,
        owner: &SecretKey,
        name: &str,
        secret: &Secret,
    ) -> Command {
        let shown =
            InviteUse { invite: InviteId(secret.0), node: node.node(), account: owner.account() };
        let invite = Some(Signed::sign(&shown, self.id, &secret.key()));
        asking(EnrollStatements { invite, ..self.enrollment(node, owner, name) })
    }

    /// A node changes its key.
    #[must_use]
    pub fn rotation(&self, old: &SecretKey, new: &SecretKey) -> Command {
        let change = KeyRotation { old: old.node(), new: new.node(), at: FOUNDED };
        Command::RotateKey {
            by_old: Signed::sign(&change, self.id, old),
            by_new: Signed::sign(&change, self.id, new),
        }
    }

    /// An owner gives a job up.
    #[must_use]
    pub fn cancel(&self, owner: &SecretKey, job: JobId) -> Signed<JobCancel> {
        Signed::sign(&JobCancel { job, at: FOUNDED }, self.id, owner)
    }

    /// An owner sends credits; the statement is good for a day after the founding.
    #[must_use]
    pub fn transfer(
        &self,
        id: u8,
        from: &SecretKey,
        to: &SecretKey,
        amount: Credits,
    ) -> Signed<Transfer> {
        let transfer = Transfer {
            id: [id; 16],
            from: from.account(),
            to: to.account(),
            amount,
            valid_until: FOUNDED.saturating_add(JOB_TTL_DEFAULT),
        };
        Signed::sign(&transfer, self.id, from)
    }

    /// The creator gives away one µcr: the request with this number, as good as `transfer`.
    #[cfg(feature = "replica")]
    #[must_use]
    pub fn gift(&self, number: u128) -> crate::replica::Proposal {
        let transfer = Transfer {
            id: number.to_be_bytes(),
            from: self.operator.account(),
            to: key(9).account(),
            amount: Credits::from_micros(1),
            valid_until: FOUNDED.saturating_add(JOB_TTL_DEFAULT),
        };
        let command = Command::Transfer(Signed::sign(&transfer, self.id, &self.operator));
        crate::replica::Proposal { request: RequestId(number.to_be_bytes()), command }
    }

    /// A worker's receipts for tasks of a job.
    #[must_use]
    pub fn receipts(
        &self,
        job: &TestJob,
        node: &SecretKey,
        owner: &SecretKey,
        items: Vec<TaskReceipt>,
    ) -> Batch<ReceiptHeader, TaskReceipt> {
        let reduce = job.spec.reduce_task();
        let module = match (reduce, items.first()) {
            (Some((task, module)), Some(item)) if item.task == task => module,
            _ => job.spec.module,
        };
        let header = ReceiptHeader {
            job: job.id(),
            authorization: job.signed(self).hash(),
            lease: LeaseId([1; 16]),
            worker: node.node(),
            payee: owner.account(),
            module,
            profile: job.spec.profile,
            commitment: Commitment::to(&items),
        };
        Batch::sign(&header, items, self.id, node)
    }
}

/// A job before it is signed: change what the test is about.
#[derive(Debug, Clone)]
pub struct TestJob {
    /// Who pays.
    pub owner: SecretKey,
    /// What is signed. The specification's hash is filled in.
    pub authorization: JobAuthorization,
    /// What is to be done.
    pub spec: JobSpec,
}

impl TestJob {
    /// A job of an owner with this number and so many tasks: a budget of 100 credits, all members' machines, ends
    /// partially completed where tasks fail.
    #[must_use]
    pub fn new(owner: &SecretKey, number: u8, tasks: u32) -> Self {
        let spec = JobSpec {
            name: format!("job-{number}"),
            module: Hash([1; 32]),
            profile: 0,
            args: Vec::new(),
            env: Vec::new(),
            manifest: Hash([2; 32]),
            tasks,
            reduce: None,
            limits: TaskLimits::default(),
            end: EndPolicy::AllowPartial,
            scope: Scope::Mesh,
            isolation: Isolation::C,
            tags: Vec::new(),
        };
        let authorization = JobAuthorization {
            job: JobId([number; 16]),
            account: owner.account(),
            spec: spec.hash(),
            budget: Credits::from_whole(100),
            price: Price::default(),
            not_before: FOUNDED,
            ttl_ms: u64::try_from(JOB_TTL_DEFAULT.as_millis()).unwrap_or(u64::MAX),
        };
        Self { owner: owner.clone(), authorization, spec }
    }

    /// Its id.
    #[must_use]
    pub const fn id(&self) -> JobId {
        self.authorization.job
    }

    /// The authorization as its owner signs it.
    #[must_use]
    pub fn signed(&self, mesh: &TestMesh) -> Signed<JobAuthorization> {
        let authorization =
            JobAuthorization { spec: self.spec.hash(), ..self.authorization.clone() };
        Signed::sign(&authorization, mesh.id, &self.owner)
    }

    /// The command that submits it.
    #[must_use]
    pub fn submit(&self, mesh: &TestMesh) -> Command {
        Command::Submit { authorization: self.signed(mesh), spec: Box::new(self.spec.clone()) }
    }
}

/// The receipt of a first attempt that used a million units of fuel and ended like this.
#[must_use]
pub fn receipt(task: u32, outcome: Outcome) -> TaskReceipt {
    TaskReceipt {
        task: TaskIndex(task),
        attempt: 1,
        input: Hash([3; 32]),
        output: Hash([4; 32]),
        output_bytes: 10,
        outcome,
        fuel: Fuel(1_000_000),
        peak: Pages(16),
        started: FOUNDED,
        finished: FOUNDED,
    }
}

/// A ledger in memory, whose clock moves by a millisecond with each command.
#[derive(Debug, Clone)]
pub struct TestLedger {
    /// The mesh that it is of.
    pub mesh: TestMesh,
    /// Its records.
    pub records: MemoryRecords,
    /// The time that the next command is stamped with.
    pub at: UnixMillis,
    requests: u64,
}

impl TestLedger {
    /// The ledger of a mesh that has just been founded.
    ///
    /// # Errors
    ///
    /// Never: its records are in memory.
    pub fn found(mesh: TestMesh) -> Result<Self, ReadError> {
        let founding = Command::Found(mesh.genesis.clone());
        let mut ledger = Self { mesh, records: MemoryRecords::default(), at: FOUNDED, requests: 0 };
        ledger.apply(founding)?;
        Ok(ledger)
    }

    /// The command with the next request id and time.
    pub fn stamp(&mut self, command: Command) -> Stamped {
        self.requests = self.requests.saturating_add(1);
        self.at = UnixMillis(self.at.0.saturating_add(1));
        let request = RequestId(u128::from(self.requests).to_be_bytes());
        Stamped { request, mesh: self.mesh.id, at: self.at, command }
    }

    /// Applies a command as a new request and writes what changes.
    ///
    /// # Errors
    ///
    /// If a record is damaged.
    pub fn apply(&mut self, command: Command) -> Result<Applied, ReadError> {
        let stamped = self.stamp(command);
        self.apply_stamped(&stamped)
    }

    /// Applies a stamped command and writes what changes.
    ///
    /// # Errors
    ///
    /// If a record is damaged.
    pub fn apply_stamped(&mut self, stamped: &Stamped) -> Result<Applied, ReadError> {
        let applied = apply(&self.records, stamped)?;
        self.records.write(&applied.changes);
        Ok(applied)
    }

    /// Makes a node of an owner a member.
    ///
    /// # Errors
    ///
    /// If a record is damaged.
    pub fn admit(
        &mut self,
        node: &SecretKey,
        owner: &SecretKey,
        name: &str,
    ) -> Result<Reply, ReadError> {
        self.apply(self.mesh.enroll(node, owner, name))?;
        let decision =
            self.mesh.decision(node.node(), Verdict::Approve, self.at.0.saturating_sub(FOUNDED.0));
        Ok(self.apply(Command::Decide(decision))?.reply)
    }
}

//! Peers that mean harm, and a node that stands them.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use node::home::{Home, Keys};
use protocol::{
    batch::{Batch, Commitment},
    code::Nonce,
    codec::encode,
    ids::{AccountId, Hash, JobId, LeaseId, MeshId, NodeId, TaskIndex},
    keys::SecretKey,
    names::{self, MeshProtocol},
    outcome::Outcome,
    price::Price,
    reject::RejectReason,
    sign::Signed,
    time::UnixMillis,
    units::{Fuel, Pages},
    wire::{
        VERSION,
        client::{ClientRequest, ClientResponse, Query},
        enroll::{
            EnrollRequest, EnrollResponse, EnrollStatements, Enrollment, HelloRequest,
            HelloResponse, NodeDecision, OwnerConsent, Role, Verdict,
        },
        lease::{Fence, LeaseHeader, LeaseItem},
        manifest::{BlobRef, OutputManifest},
        receipt::{ReceiptHeader, ResultRequest, ResultResponse, TaskReceipt},
    },
};
use tests::{
    Node, Weft,
    attacker::{self, Connection, Counts, Flood, Garbage, HalfOpen, Hold, How, Message, Target},
    until,
};

use crate::Mesh;

/// How long each attack lasts.
const ATTACK: Duration = Duration::from_secs(2);
/// How long a node may take to react.
const PATIENCE: Duration = Duration::from_secs(20);
/// What an attack may cost in memory, in bytes.
const MEMORY_MAX: u64 = 200 * 1024 * 1024;
/// Lines that a node may write about an attack.
const LINES_MAX: usize = 40;

/// Runs something that waits for the network.
pub(crate) fn run<T>(doing: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?
        .block_on(doing)
}

/// An identity that nobody knows.
pub(crate) fn stranger(number: u8) -> SecretKey {
    SecretKey::from_seed(&[number; 32])
}

pub(crate) fn keys(node: &Node) -> anyhow::Result<Keys> {
    Ok(Home::open(node.data_dir())?.keys()?)
}

pub(crate) async fn mesh_of(connection: &Connection) -> anyhow::Result<MeshId> {
    let hello: HelloResponse =
        connection.ask(names::HELLO, &HelloRequest { version: VERSION }).await?;
    Ok(hello.mesh.context("the node is in a mesh")?.mesh)
}

/// A request to join, signed now or long ago.
pub(crate) fn enrollment(keys: &Keys, mesh: MeshId, at: UnixMillis) -> EnrollRequest {
    let node = keys.node.node();
    let enrollment = Enrollment {
        node,
        account: keys.owner.account(),
        name: "mallory".to_owned(),
        roles: vec![Role::Worker],
        software: "0.1.0".to_owned(),
        commitment: Nonce([7; 32]).commitment(),
        at,
    };
    let statements = EnrollStatements {
        enrollment: Signed::sign(&enrollment, mesh, &keys.node),
        consent: Signed::sign(&OwnerConsent { node, at }, mesh, &keys.owner),
        invite: None,
    };
    EnrollRequest { statements, reveal: None }
}

#[test]
fn a_stranger_is_spoken_to_in_five_protocols_and_no_other() -> anyhow::Result<()> {
    let (weft, dir) = (Weft::built()?, tempfile::tempdir()?);
    let node = weft.up(&dir.path().join("node"), &[])?;
    let target: Target = node.address().parse()?;
    let open =
        [names::HELLO, names::ENROLL, "/ipfs/id/1.0.0", "/ipfs/id/push/1.0.0", "/ipfs/ping/1.0.0"];
    run(async {
        let connection = Connection::open(&stranger(1), &target).await?;
        let mesh = mesh_of(&connection).await?;
        for protocol in attacker::protocols(&mesh) {
            let spoken = connection.negotiate(&protocol).await?.is_some();
            assert_eq!(spoken, open.contains(&protocol.as_str()), "{protocol}");
        }
        let listed = connection.list().await?;
        assert!(listed.iter().all(|name| open.contains(&name.as_str())), "{listed:?}");
        Ok(())
    })
}

#[test]
fn a_node_answers_its_members_whatever_strangers_do() -> anyhow::Result<()> {
    let mesh = Mesh::form(&[&[], &[]])?;
    let (node, member) = (mesh.node(1)?, mesh.node(2)?);
    let primes = ["run", "--example", "primes", "--", "1000"];
    ensure!(member.run(&primes)?.exited(0)?.stdout == "168\n", "before any attack");
    let quic: Target = quic_address(node)?.parse()?;
    let tcp: Target = node.address().parse()?;
    let id = run(async { mesh_of(&Connection::open(&stranger(1), &tcp).await?).await })?;
    let memory = node.memory_bytes()?;
    for target in [tcp, quic] {
        for name in ATTACKS {
            let lines = node.log()?.lines().count();
            let attack = begin(name, target.clone(), id)?;
            // Several, so that some run while the attack is at its worst.
            for _ in 0..3 {
                let said = member.run(&primes)?.exited(0).with_context(|| name.to_string())?;
                ensure!(said.stdout == "168\n", "under {name}: {said:?}");
            }
            let counts = attack.end()?;
            ensure!(counts.sent > 0, "{name} attacked nobody: {counts:?}");
            let grown = node.memory_bytes()?.saturating_sub(memory);
            ensure!(grown <= MEMORY_MAX, "{name} costs {grown} bytes: {counts:?}");
            let written = node.log()?.lines().count().saturating_sub(lines);
            ensure!(written <= LINES_MAX, "{written} lines about {name}");
        }
    }
    Ok(())
}

const ATTACKS: [&str; 9] = [
    "bogus",
    "hello",
    "oversized",
    "member",
    "silent",
    "negotiating",
    "announced",
    "half-closed",
    "half-open",
];

/// Begins an attack by its name.
fn begin(name: &'static str, target: Target, mesh: MeshId) -> anyhow::Result<attacker::Attack> {
    let flood = move |message, seed| Flood { message, seed, ..Flood::bogus() };
    let hold = move |how, seed| Hold { connections: 64, streams: 100, how, seed };
    attacker::begin(move || async move {
        match name {
            "bogus" => Flood::bogus().run(&target, ATTACK).await,
            "hello" => flood(Message::Hello, 0xf2).run(&target, ATTACK).await,
            "oversized" => flood(Message::Oversized, 0xf3).run(&target, ATTACK).await,
            "member" => flood(Message::Member, 0xf4).run(&target, ATTACK).await,
            "silent" => hold(How::Silent, 0xe1).run(&target, ATTACK).await,
            "negotiating" => hold(How::Negotiating, 0xe2).run(&target, ATTACK).await,
            "announced" => hold(How::Announced, 0xe3).run(&target, ATTACK).await,
            "half-closed" => hold(How::HalfClosed, 0xe4).run(&target, ATTACK).await,
            "half-open" => HalfOpen { connections: 1_000 }.run(&target, ATTACK).await,
            _ => Garbage { seed: 7, mesh }.run(&target, ATTACK).await,
        }
    })
}

/// Where a node listens for QUIC.
fn quic_address(node: &Node) -> anyhow::Result<String> {
    let listens = node.listens()?;
    let quic = listens.iter().find(|address| address.contains("quic")).context("no QUIC")?;
    Ok(format!("{quic}/p2p/{}", node.peer()))
}

#[test]
fn garbage_on_every_protocol_hurts_nobody() -> anyhow::Result<()> {
    let (weft, dir) = (Weft::built()?, tempfile::tempdir()?);
    let node = weft.up(&dir.path().join("node"), &[])?;
    let tcp: Target = node.address().parse()?;
    let quic: Target = quic_address(&node)?.parse()?;
    let mesh = run(async { mesh_of(&Connection::open(&stranger(1), &tcp).await?).await })?;
    let mut all = Counts::default();
    for (seed, target) in (1..).zip([tcp, quic]) {
        let garbage = Garbage { seed, mesh };
        all += attacker::begin(move || async move { garbage.run(&target, ATTACK).await })?.end()?;
    }
    ensure!(all.sent > 20, "{all:?}");
    node.run(&["run", "--example", "primes", "--", "1000"])?.exited(0)?;
    Ok(())
}

#[test]
fn who_sends_what_is_no_message_is_kept_out_and_nobody_else_is() -> anyhow::Result<()> {
    let (weft, dir) = (Weft::built()?, tempfile::tempdir()?);
    let node = weft.up(&dir.path().join("node"), &[])?;
    let target: Target = node.address().parse()?;
    let garbled = [8, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4];
    run(async {
        let connection = Connection::open(&stranger(9), &target).await?;
        // Kept open, or what was sent is not looked at. The connection is closed on the way.
        let mut open = Vec::new();
        for _ in 0..10 {
            open.push(connection.shout(names::ENROLL, &garbled).await);
        }
        connection.closed(PATIENCE).await?;
        let refused = async |key: &SecretKey| match Connection::open(key, &target).await {
            Ok(connection) => mesh_of(&connection).await.is_err(),
            Err(_) => true,
        };
        ensure!(refused(&stranger(9)).await, "it is let in again at once");
        ensure!(!refused(&stranger(10)).await, "nobody else is kept out");
        Ok(())
    })
}

#[test]
fn a_blocked_node_is_cut_off_and_its_old_approval_does_not_bring_it_back() -> anyhow::Result<()> {
    let mut mesh = Mesh::form(&[&[], &[], &[]])?;
    let (owner, mallory) = (keys(mesh.node(1)?)?, keys(mesh.node(2)?)?);
    let (coordinator, other): (Target, Target) =
        (mesh.node(1)?.address().parse()?, mesh.node(3)?.address().parse()?);
    // From here on, the attacker is member 2.
    mesh.node_mut(2)?.kill()?;
    let (id, connection) = run(async {
        let connection = Connection::open(&stranger(1), &coordinator).await?;
        let id = mesh_of(&connection).await?;
        Ok((id, connection))
    })?;
    drop(connection);
    let yesterday = NodeDecision {
        node: mallory.node.node(),
        verdict: Verdict::Approve,
        roles: vec![Role::Worker],
        delegation: None,
        reason: None,
        note: String::new(),
        at: UnixMillis(1_000),
    };
    let approval = Signed::sign(&yesterday, id, &owner.owner);
    mesh.node(1)?.run(&["-y", "node", "block", &mallory.node.node().to_string()])?.exited(0)?;
    until("the block at another member", PATIENCE, || {
        run(async {
            let spoken = match Connection::open(&mallory.node, &other).await {
                Ok(connection) => connection.negotiate(names::HELLO).await.is_ok(),
                Err(_) => false,
            };
            Ok((!spoken).then_some(()))
        })
    })?;
    run(async {
        let connection = Connection::open(&mallory.node, &coordinator).await?;
        for protocol in MeshProtocol::ALL {
            let spoken = connection.negotiate(&protocol.name(&id, 0)).await?;
            ensure!(spoken.is_none(), "{protocol:?} is spoken with a blocked node");
        }
        let asked: EnrollResponse =
            connection.ask(names::ENROLL, &enrollment(&mallory, id, UnixMillis(2_000))).await?;
        assert_eq!(asked, EnrollResponse::Refused(RejectReason::Blacklisted));
        connection.closed(PATIENCE).await?;
        // Another member shows the leader the approval of yesterday.
        let member = keys(mesh.node(3)?)?;
        let connection = Connection::open(&member.node, &coordinator).await?;
        let answer: ClientResponse = connection
            .ask(&MeshProtocol::Client.name(&id, 0), &ClientRequest::Decide(approval))
            .await?;
        let ClientResponse::Rejected { reason, .. } = answer else {
            anyhow::bail!("an old approval was taken: {answer:?}")
        };
        assert_eq!(reason, RejectReason::OutsideValidity);
        Ok(())
    })
}

#[test]
fn nobody_speaks_for_another() -> anyhow::Result<()> {
    let mesh = Mesh::form(&[&[], &[], &[]])?;
    let target: Target = mesh.node(1)?.address().parse()?;
    let (victim, liar) = (keys(mesh.node(2)?)?, keys(mesh.node(3)?)?);
    run(async {
        let connection = Connection::open(&stranger(1), &target).await?;
        let id = mesh_of(&connection).await?;
        // A copied statement: signed by the victim, shown by somebody else.
        let copied = enrollment(&victim, id, UnixMillis(1_000));
        let answer: EnrollResponse = connection.ask(names::ENROLL, &copied).await?;
        assert_eq!(answer, EnrollResponse::Refused(RejectReason::BadSignature));

        let connection = Connection::open(&liar.node, &target).await?;
        let result = MeshProtocol::Result.name(&id, 0);
        let claim = |signer| claimed_result(id, victim.node.node(), signer);
        let answer: ResultResponse = connection.ask(&result, &claim(&liar.node)).await?;
        assert_eq!(answer, ResultResponse::Refused(RejectReason::BadSignature));
        // The second time it may be cut off before it is told.
        let again = connection.ask::<_, ResultResponse>(&result, &claim(&victim.node)).await;
        let refused = ResultResponse::Refused(RejectReason::BadSignature);
        ensure!(
            again.as_ref().is_ok_and(|answer| *answer == refused) || again.is_err(),
            "{again:?}"
        );
        // Lying costs: the liar was approved, and is cut off all the same.
        connection.closed(PATIENCE).await?;
        Ok(())
    })?;
    mesh.node(2)?.run(&["run", "--example", "primes", "--", "1000"])?.exited(0)?;
    Ok(())
}

/// A result that names `worker`, signed by somebody.
fn claimed_result(mesh: MeshId, worker: NodeId, signer: &SecretKey) -> ResultRequest {
    let output =
        OutputManifest { stdout: BlobRef::to(b"1"), stderr: BlobRef::to(b""), files: vec![] };
    let receipt = TaskReceipt {
        task: TaskIndex(0),
        attempt: 1,
        input: Hash([1; 32]),
        output: Hash::of(&encode(&output)),
        output_bytes: 1,
        outcome: Outcome::Exit(0),
        fuel: Fuel(1),
        peak: Pages(1),
        started: UnixMillis(1),
        finished: UnixMillis(2),
    };
    let items = vec![LeaseItem { task: TaskIndex(0), attempt: 1 }];
    let lease = LeaseHeader {
        lease: LeaseId([1; 16]),
        worker,
        account: AccountId([3; 32]),
        job: JobId([2; 16]),
        authorization: Hash([5; 32]),
        price: Price::default(),
        duration_ms: 15_000,
        fence: Fence::default(),
        commitment: Commitment::to(&items),
    };
    let header = ReceiptHeader {
        job: JobId([2; 16]),
        lease: LeaseId([1; 16]),
        authorization: Hash([5; 32]),
        worker,
        payee: AccountId([3; 32]),
        module: Hash([4; 32]),
        profile: 0,
        commitment: Commitment::to(&[receipt]),
    };
    ResultRequest {
        receipts: Batch::sign(&header, vec![receipt], mesh, signer),
        outputs: vec![output],
        inline: vec![b"1".to_vec()],
        proof: Box::new(Batch::sign(&lease, items, mesh, signer)),
    }
}

#[test]
fn a_member_that_floods_is_cut_off_and_the_mesh_works_on() -> anyhow::Result<()> {
    let mesh = Mesh::form(&[&[], &[], &[]])?;
    let target: Target = mesh.node(1)?.address().parse()?;
    let flooder = keys(mesh.node(3)?)?;
    run(async {
        let connection = Connection::open(&flooder.node, &target).await?;
        let id = mesh_of(&connection).await?;
        let client = MeshProtocol::Client.name(&id, 0);
        let mut open = Vec::new();
        for _ in 0..10 {
            // Bytes that are no question.
            open.push(connection.shout(&client, &[4, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]).await);
        }
        connection.closed(PATIENCE).await?;
        let again: anyhow::Result<ClientResponse> = async {
            let connection = Connection::open(&flooder.node, &target).await?;
            connection.ask(&client, &ClientRequest::Query(Query::Mesh)).await
        }
        .await;
        ensure!(again.is_err(), "a banned member is answered: {again:?}");
        Ok(())
    })?;
    mesh.node(2)?.run(&["run", "--example", "primes", "--", "1000"])?.exited(0)?;
    Ok(())
}

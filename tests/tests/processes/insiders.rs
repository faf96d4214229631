//! Members that mean harm, and programs on the node's own machine.

use std::{fs, time::Duration};

use anyhow::{Context as _, ensure};
use node::home::{Home, Keys};
use protocol::{
    codec::encode,
    ids::NodeId,
    keys::SecretKey,
    names,
    sign::Signed,
    time::UnixMillis,
    wire::{
        VERSION,
        advert::{Advert, Arch, Isolation, Os},
        enroll::{EnrollResponse, HelloRequest, HelloResponse, Role},
    },
};
use serde_json::{Value, json};
use tests::{
    Node, Weft,
    attacker::{self, Connection, Http, HttpHow, Insider, Place, Target, as_members},
    number, text,
};

use crate::{
    Mesh,
    attacks::{enrollment, keys, mesh_of, run, stranger},
};

/// How long an attack on the API lasts.
const ATTACK: Duration = Duration::from_secs(2);
/// What an attack may cost in memory, in bytes.
const MEMORY_MAX: u64 = 200 * 1024 * 1024;
/// Pieces of garbage on each protocol.
const PIECES: usize = 24;

/// What primes is asked, and what it answers.
fn works(node: &Node) -> anyhow::Result<()> {
    let said = node.run(&["run", "--example", "primes", "--", "1000"])?.exited(0)?;
    ensure!(said.stdout == "168\n", "{said:?}");
    Ok(())
}

#[test]
fn garbage_of_members_on_every_protocol_hurts_nobody_else() -> anyhow::Result<()> {
    let (weft, dir) = (Weft::built()?, tempfile::tempdir()?);
    let node = weft.up(&dir.path().join("node"), &["--auto-approve"])?;
    let target: Target = node.address().parse()?;
    let memory = node.memory_bytes()?;
    let counts = run(async {
        let id = mesh_of(&Connection::open(&stranger(1), &target).await?).await?;
        as_members(&target, &id, PIECES, async |number| {
            let number = u8::try_from(number)?;
            let keys = Keys { node: stranger(100 + number), owner: stranger(200 + number) };
            let connection = Connection::open(&keys.node, &target).await?;
            let asked = enrollment(&keys, id, UnixMillis(2_000));
            let answer: EnrollResponse = connection.ask(names::ENROLL, &asked).await?;
            ensure!(matches!(answer, EnrollResponse::Admitted(_)), "{answer:?}");
            Ok(keys.node)
        })
        .await
    })?;
    ensure!(counts.sent > 50 && counts.closed > 3, "{counts:?}");
    let grown = node.memory_bytes()?.saturating_sub(memory);
    ensure!(grown <= MEMORY_MAX, "it costs {grown} bytes: {counts:?}");
    let log = node.log()?;
    ensure!(log.contains("misbehaves"), "the node says why it cuts somebody off:\n{log}");
    ensure!(!log.contains("panicked"), "{log}");
    works(&node)
}

#[test]
fn adverts_of_others_and_of_yesterday_change_nothing() -> anyhow::Result<()> {
    let mut mesh = Mesh::form(&[&[], &[], &[]])?;
    let target: Target = mesh.node(1)?.address().parse()?;
    let (victim, liar) = (keys(mesh.node(2)?)?.node.node(), keys(mesh.node(3)?)?.node);
    // From here on, the liar is member 3.
    mesh.node_mut(3)?.kill()?;
    run(async {
        let id = mesh_of(&Connection::open(&stranger(1), &target).await?).await?;
        let mut insider = Insider::join(&liar, &target, id).await?;
        let (author, said) = insider.advert().await?;
        ensure!(author != liar.node(), "an advert of somebody else");
        // Said again, it is known already: also to the liar's own network.
        ensure!(insider.publish(said).await.is_err(), "an advert that everybody has");
        // Its own, of yesterday and of tomorrow, with more to offer than any machine has.
        let day = 24 * 3_600_000;
        let now = u64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_millis())?;
        for at in [now - day, now + day] {
            let mine = advert(liar.node(), UnixMillis(at));
            insider.publish(encode(&Signed::sign(&mine, id, &liar))).await?;
        }
        // And one that is the victim's, but for its signature.
        let forged = Signed::sign(&advert(victim, UnixMillis(now)), id, &liar);
        insider.publish(encode(&forged)).await?;
        anyhow::Ok(())
    })?;
    // What is told of both is what they said themselves.
    let shown = |peer: NodeId| mesh.node(1)?.ask(&["node", "show", &peer.to_string()]);
    for peer in [victim, liar.node()] {
        let node = shown(peer)?;
        let cores = node.get("cores").and_then(Value::as_u64).unwrap_or(0);
        ensure!(cores < 1_000, "{node}");
    }
    works(mesh.node(2)?)
}

/// An advert of a machine that does not exist.
fn advert(node: NodeId, at: UnixMillis) -> Advert {
    Advert {
        version: 1,
        node,
        seq: u64::MAX - 1,
        at,
        ttl_ms: 45_000,
        software: "0.1.0".to_owned(),
        os: Os::Linux,
        arch: Arch::X86_64,
        roles: vec![Role::Worker],
        isolation: Isolation::C,
        cores: 1_024,
        memory_bytes: 1 << 40,
        memory_free_bytes: 1 << 40,
        cpu_percent: 0,
        memory_percent: 0,
        slots: 1_024,
        slots_free: 1_024,
        tags: vec![],
    }
}

/// Whether a node speaks with somebody.
async fn is_let_in(key: &SecretKey, target: &Target) -> bool {
    match Connection::open(key, target).await {
        Ok(connection) => connection
            .ask::<_, HelloResponse>(names::HELLO, &HelloRequest { version: VERSION })
            .await
            .is_ok(),
        Err(_) => false,
    }
}

#[test]
fn a_ban_survives_restarts_and_ends() -> anyhow::Result<()> {
    let (weft, dir) = (Weft::built()?, tempfile::tempdir()?);
    let mut node = weft.up(&dir.path().join("node"), &[])?;
    let target: Target = node.address().parse()?;
    let (listens, file) = (node.listens()?, Home::open(node.data_dir())?.bans_file());
    let mallory = stranger(9);
    // To be banned takes half an hour of insisting. So it is written down, as the node would.
    let ban = |until: u64| {
        let ban = json!({ "node": mallory.node().to_string(), "address": null, "until": until });
        fs::write(&file, json!({ "version": 1, "bans": [ban] }).to_string())
    };
    let now = u64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_millis())?;
    node.kill()?;
    ban(now + 3_600_000)?;
    for start in ["the first", "the second"] {
        node.restart(&listens)?;
        run(async {
            ensure!(!is_let_in(&mallory, &target).await, "{start} start has forgiven it");
            ensure!(is_let_in(&stranger(10), &target).await, "nobody else is kept out");
            Ok(())
        })?;
        node.run(&["down"])?.exited(0)?;
        node.kill()?;
    }
    // Half a day later, as far as the file can tell.
    ban(now - 1)?;
    node.restart(&listens)?;
    run(async {
        ensure!(is_let_in(&mallory, &target).await, "a ban that is over");
        Ok(())
    })
}

#[test]
fn the_owner_is_answered_whatever_programs_on_this_machine_do_to_the_api() -> anyhow::Result<()> {
    let (weft, dir) = (Weft::built()?, tempfile::tempdir()?);
    let node = weft.up(&dir.path().join("node"), &[])?;
    let port = node.api().trim_start_matches("http://").trim_end_matches('/').parse()?;
    let socket = Home::open(node.data_dir())?.socket();
    let memory = node.memory_bytes()?;
    for place in [Place::Port(port), Place::Socket(socket)] {
        for how in [
            HttpHow::Silent,
            HttpHow::Trickling,
            HttpHow::Bodiless,
            HttpHow::Unread,
            HttpHow::Garbage,
        ] {
            let http = Http { place: place.clone(), how, connections: 200 };
            let attack = attacker::begin(move || http.run(ATTACK))?;
            for _ in 0..3 {
                let status = node.ask(&["status"]).with_context(|| format!("{how:?}"))?;
                ensure!(text(&status, "/kind")? == "Status", "{status}");
            }
            let counts = attack.end()?;
            ensure!(counts.sent > 0, "{how:?} attacked nobody: {counts:?}");
            let grown = node.memory_bytes()?.saturating_sub(memory);
            ensure!(grown <= MEMORY_MAX, "{how:?} costs {grown} bytes: {counts:?}");
        }
    }
    works(&node)?;
    ensure!(number(&node.ask(&["credits", "balance"])?, "/available_ucr")? > 0);
    ensure!(!node.log()?.contains("panicked"), "{}", node.log()?);
    Ok(())
}

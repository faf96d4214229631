//! Who is let in, and who is not: codes, invites, blocks, copied identities, changed keys.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tests::{Node, Weft, items, number, text, until};

use crate::arg;

const PATIENCE: Duration = Duration::from_secs(60);

/// A node of a mesh, as another sees it.
fn seen(by: &Node, peer: &str) -> anyhow::Result<Option<Value>> {
    let listed = by.ask(&["node", "list"])?;
    let mut found = items(&listed).filter(|node| text(node, "/peer").is_ok_and(|is| is == peer));
    Ok(found.next().cloned())
}

/// Waits until a node is admitted as this, as another sees it.
fn until_seen(by: &Node, peer: &str, admission: &str) -> anyhow::Result<Value> {
    until(admission, PATIENCE, || {
        let node = seen(by, peer)?;
        Ok(node.filter(|node| text(node, "/admission").is_ok_and(|is| is == admission)))
    })
}

/// Waits until whoever asks is refused for this reason, as it says itself.
fn until_refused(node: &Node, reason: &str) -> anyhow::Result<()> {
    until(reason, PATIENCE, || {
        let said = node.run(&["credits", "balance"])?.exited(6)?;
        Ok(said.stderr.contains(reason).then_some(()))
    })
}

/// A founder, and somebody who asks to join it.
fn asking(weft: &Weft, dir: &Path) -> anyhow::Result<(Node, Node)> {
    let founder = weft.up(&dir.join("founder"), &[])?;
    let joiner = weft.up(&dir.join("joiner"), &["--bootstrap", founder.address()])?;
    until_seen(&founder, joiner.peer(), "PENDING")?;
    Ok((founder, joiner))
}

#[test]
fn both_machines_show_the_same_six_digits_and_another_code_approves_nothing() -> anyhow::Result<()>
{
    let (weft, dir) = (Weft::built()?, tempfile::tempdir()?);
    let (founder, joiner) = asking(&weft, dir.path())?;
    let shown = until("the code on both machines", PATIENCE, || {
        let mine = joiner.ask(&["status"])?;
        let theirs = seen(&founder, joiner.peer())?.context("it asks")?;
        let codes = text(&mine, "/code").ok().zip(text(&theirs, "/code").ok());
        Ok(codes.map(|(mine, theirs)| (mine.to_owned(), theirs.to_owned())))
    })?;
    ensure!(shown.0 == shown.1, "{shown:?}");
    let code = shown.0;
    ensure!(code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit()), "{code}");

    let wrong = if code == "000000" { "000001" } else { "000000" };
    let said = founder.run(&["node", "approve", joiner.peer(), "--code", wrong])?.exited(9)?;
    ensure!(said.stderr.contains("code-mismatch"), "{said:#?}");
    until_seen(&founder, joiner.peer(), "PENDING")?;
    founder.run(&["node", "approve", joiner.peer(), "--code", "12345"])?.exited(2)?;

    founder.run(&["node", "approve", joiner.peer(), "--code", &code, "-y"])?.exited(0)?;
    joiner.joined()?;
    let said = joiner.run(&["run", "--example", "primes", "--", "1000"])?.exited(0)?;
    ensure!(said.stdout == "168\n", "{said:#?}");
    Ok(())
}

#[test]
fn an_invite_lets_one_machine_in_and_no_second() -> anyhow::Result<()> {
    let (weft, dir) = (Weft::built()?, tempfile::tempdir()?);
    let founder = weft.up(&dir.path().join("founder"), &[])?;
    founder.run(&["invite", "--role", "coordinator"])?.exited(2)?;
    let made = founder.ask(&["invite", "--name", "laptop"])?;
    let (invite, id) = (text(&made, "/invite")?, text(&made, "/id")?);
    ensure!(invite.starts_with("weft1"), "{invite}");

    let joiner = weft.up(&dir.path().join("joiner"), &["--invite", invite])?;
    joiner.joined()?;
    let member = until_seen(&founder, joiner.peer(), "APPROVED")?;
    let roles: Vec<_> =
        member.get("roles").and_then(Value::as_array).into_iter().flatten().collect();
    ensure!(roles == ["worker", "submitter"], "{roles:?}");
    let listed = founder.ask(&["invite", "list"])?;
    let used = items(&listed).next().context("the invite")?;
    ensure!((text(used, "/state")?, number(used, "/used")?) == ("USED", 1), "{used}");
    ensure!(used.get("invite").is_none(), "the text is shown once");

    let file = dir.path().join("invite");
    fs::write(&file, format!("{invite}\n"))?;
    let from_file = format!("file:{}", arg(&file));
    let second = weft.up(&dir.path().join("second"), &["--invite", &from_file])?;
    until_refused(&second, "invite-over")?;
    ensure!(seen(&founder, second.peer())?.is_none(), "it does not even wait");
    founder.run(&["invite", "revoke", &id[..8]])?.exited(0)?;
    Ok(())
}

#[test]
fn a_text_that_is_no_invite_is_refused_at_once() -> anyhow::Result<()> {
    let (weft, dir) = (Weft::built()?, tempfile::tempdir()?);
    let data = arg(&dir.path().join("node"));
    for text in ["weft1qqqqqqqq", "hello"] {
        let said = weft.run(&["up", "--data-dir", &data, "--invite", text])?.exited(6)?;
        ensure!(said.stderr.contains("invite-invalid"), "{said:#?}");
    }
    weft.run(&["up", "--data-dir", &data, "--invite", "file:/no/such/file"])?.exited(1)?;
    Ok(())
}

#[test]
fn a_blocked_node_stays_out_after_everything_was_restarted() -> anyhow::Result<()> {
    let (weft, dir) = (Weft::built()?, tempfile::tempdir()?);
    let (mut founder, mut joiner) = asking(&weft, dir.path())?;
    founder.run(&["node", "approve", joiner.peer()])?.exited(0)?;
    joiner.joined()?;
    let block =
        ["node", "block", joiner.peer(), "--reason", "dos_behavior", "--note", "noisy", "-y"];
    founder.run(&block)?.exited(0)?;
    let blocked = until_seen(&founder, joiner.peer(), "BLACKLISTED")?;
    ensure!((text(&blocked, "/reason")?, text(&blocked, "/note")?) == ("dos_behavior", "noisy"));

    let (founder_listens, joiner_listens) = (founder.listens()?, joiner.listens()?);
    founder.kill()?;
    joiner.kill()?;
    founder.restart(&founder_listens)?;
    joiner.restart(&joiner_listens)?;
    until_seen(&founder, joiner.peer(), "BLACKLISTED")?;
    let said = joiner.run(&["run", "--example", "primes", "--", "1000"])?;
    ensure!(said.code != 0, "{said:#?}");
    let listed = founder.ask(&["job", "list"])?;
    ensure!(items(&listed).next().is_none(), "{listed}");
    Ok(())
}

#[test]
fn a_copied_identity_is_refused_under_another_owner() -> anyhow::Result<()> {
    let (weft, dir) = (Weft::built()?, tempfile::tempdir()?);
    let (founder, joiner) = asking(&weft, dir.path())?;
    let copy = dir.path().join("copy");
    weft.run(&["init", "--data-dir", &arg(&copy)])?.exited(0)?;
    fs::copy(joiner.data_dir().join("identity.key"), copy.join("identity.key"))?;
    // Once while it waits, and once when it is a member.
    founder.run(&["node", "approve", joiner.peer()])?.exited(0)?;
    joiner.joined()?;
    let peer = joiner.peer().to_owned();
    ensure!(joiner.terminate()?.success());
    let copy = weft.up(&copy, &["--bootstrap", founder.address()])?;
    ensure!(copy.peer() == peer);
    until_refused(&copy, "node-taken")
}

#[test]
fn a_node_goes_on_under_a_new_key() -> anyhow::Result<()> {
    let (weft, dir) = (Weft::built()?, tempfile::tempdir()?);
    let (founder, joiner) = asking(&weft, dir.path())?;
    founder.run(&["node", "approve", joiner.peer()])?.exited(0)?;
    joiner.joined()?;
    let changed = joiner.ask(&["identity", "rotate", "-y"])?;
    let (old, new) = (text(&changed, "/old")?.to_owned(), text(&changed, "/new")?.to_owned());
    ensure!(old == joiner.peer() && old != new);
    let before = until_seen(&founder, &old, "APPROVED")?;
    ensure!(text(&before, "/replaced_by")? == new, "{before}");
    let said = founder.run(&["identity", "rotate", "-y"])?.exited(6)?;
    ensure!(said.stderr.contains("not-permitted"), "{said:#?}");

    let data = joiner.data_dir().to_owned();
    ensure!(joiner.terminate()?.success());
    let joiner = weft.up(&data, &["--bootstrap", founder.address()])?;
    ensure!(joiner.peer() == new);
    joiner.joined()?;
    let after = until_seen(&founder, &new, "APPROVED")?;
    ensure!(text(&after, "/name")? == text(&before, "/name")?);
    ensure!(text(&after, "/account")? == text(&before, "/account")?);
    let said = joiner.run(&["run", "--example", "primes", "--", "1000"])?.exited(0)?;
    ensure!(said.stdout == "168\n", "{said:#?}");
    Ok(())
}

#[test]
fn a_machine_of_mine_works_for_my_account_and_costs_me_nothing() -> anyhow::Result<()> {
    let (weft, dir) = (Weft::built()?, tempfile::tempdir()?);
    let (founder, joiner) = asking(&weft, dir.path())?;
    founder.run(&["node", "approve", joiner.peer(), "--mine"])?.exited(0)?;
    joiner.joined()?;
    let mine = text(&founder.ask(&["credits", "balance"])?, "/account")?.to_owned();
    let balance = joiner.ask(&["credits", "balance"])?;
    ensure!(text(&balance, "/account")? == mine, "{balance}");
    let before = number(&balance, "/available_ucr")?;

    founder.run(&["node", "label", joiner.peer(), "attic"])?.exited(0)?;
    let run = ["run", "--example", "primes", "--scope", "mine", "--tag", "attic", "--", "1000"];
    let said = joiner.run(&run)?.exited(0)?;
    ensure!(said.stdout == "168\n", "{said:#?}");
    let after = founder.ask(&["credits", "balance"])?;
    ensure!(number(&after, "/available_ucr")? == before, "{after}");
    let receipts = joiner.ask(&["receipt", "list"])?;
    let worker = text(items(&receipts).next().context("a receipt")?, "/worker")?.to_owned();
    ensure!(worker == joiner.peer(), "the label decides who does it");

    founder.run(&["node", "approve", joiner.peer(), "--not-mine"])?.exited(0)?;
    until("its own account again", PATIENCE, || {
        let balance = joiner.ask(&["credits", "balance"])?;
        Ok((text(&balance, "/account")? != mine).then_some(()))
    })
}

#[test]
fn a_node_that_runs_takes_an_invite_and_a_second_one_is_told_that_it_is_over() -> anyhow::Result<()>
{
    let (weft, dir) = (Weft::built()?, tempfile::tempdir()?);
    let founder = weft.up(&dir.path().join("founder"), &[])?;
    let made = founder.ask(&["invite"])?;
    let invite = text(&made, "/invite")?;
    let joiner = weft.up(&dir.path().join("joiner"), &[])?;
    joiner.run(&["join", invite])?.exited(0)?;
    until_seen(&founder, joiner.peer(), "APPROVED")?;
    let second = weft.up(&dir.path().join("second"), &[])?;
    let said = second.run(&["join", invite])?.exited(6)?;
    ensure!(said.stderr.contains("invite-over"), "{said:#?}");

    let taken_back = founder.ask(&["invite"])?;
    founder.run(&["invite", "revoke", text(&taken_back, "/id")?])?.exited(0)?;
    let said = second.run(&["join", text(&taken_back, "/invite")?])?.exited(6)?;
    ensure!(said.stderr.contains("invite-over"), "{said:#?}");
    let cut: String = invite.chars().rev().skip(1).collect::<Vec<_>>().iter().rev().collect();
    let said = second.run(&["join", &cut])?.exited(6)?;
    ensure!(said.stderr.contains("invite-invalid"), "{said:#?}");
    ensure!(seen(&founder, second.peer())?.is_none(), "it does not even wait");
    Ok(())
}

#[test]
fn an_isolated_node_is_cut_off_until_it_is_reinstated() -> anyhow::Result<()> {
    let (weft, dir) = (Weft::built()?, tempfile::tempdir()?);
    let (founder, joiner) = asking(&weft, dir.path())?;
    founder.run(&["node", "approve", joiner.peer()])?.exited(0)?;
    joiner.joined()?;
    let primes = ["run", "--example", "primes", "--", "1000"];
    joiner.run(&primes)?.exited(0)?;
    founder.run(&["node", "isolate", joiner.peer(), "--reason", "looks odd"])?.exited(0)?;
    let suspended = until_seen(&founder, joiner.peer(), "SUSPENDED")?;
    ensure!(text(&suspended, "/note")? == "looks odd", "{suspended}");
    until("being cut off", PATIENCE, || Ok((joiner.run(&primes)?.code != 0).then_some(())))?;
    founder.run(&["node", "reinstate", joiner.peer()])?.exited(0)?;
    until("work again", PATIENCE, || Ok((joiner.run(&primes)?.code == 0).then_some(())))
}

#[test]
fn a_node_that_has_left_has_to_ask_again() -> anyhow::Result<()> {
    let (weft, dir) = (Weft::built()?, tempfile::tempdir()?);
    let (founder, joiner) = asking(&weft, dir.path())?;
    founder.run(&["node", "approve", joiner.peer()])?.exited(0)?;
    joiner.joined()?;
    let (peer, data) = (joiner.peer().to_owned(), joiner.data_dir().to_owned());
    joiner.run(&["leave", "--yes"])?.exited(0)?;
    ensure!(seen(&founder, &peer)?.is_none(), "it has left and is listed");
    drop(joiner);
    let again = weft.up(&data, &["--bootstrap", founder.address()])?;
    ensure!(again.peer() == peer);
    until_seen(&founder, &peer, "PENDING")?;
    again.run(&["credits", "balance"])?.exited(6)?;
    founder.run(&["node", "approve", &peer])?.exited(0)?;
    again.joined()
}

#[test]
fn a_node_that_keeps_the_ledger_goes_on_under_a_new_key() -> anyhow::Result<()> {
    let (weft, dir) = (Weft::built()?, tempfile::tempdir()?);
    let (founder, joiner) = asking(&weft, dir.path())?;
    founder.run(&["node", "approve", joiner.peer()])?.exited(0)?;
    joiner.joined()?;
    let keeps = |peer: &str| {
        until("a second coordinator", PATIENCE, || {
            let status = founder.ask(&["coord", "status"])?;
            let members = status.get("members").and_then(Value::as_array).into_iter().flatten();
            let mut peers = members.filter_map(|member| text(member, "/peer").ok());
            Ok(peers.any(|is| is == peer).then_some(()))
        })
    };
    keeps(joiner.peer())?;
    until("its copy", PATIENCE, || {
        let dirs = fs::read_dir(joiner.data_dir().join("mesh"))?;
        let copies = dirs.filter_map(Result::ok).filter(|mesh| mesh.path().join("db").exists());
        Ok((copies.count() > 0).then_some(()))
    })?;
    let changed = joiner.ask(&["identity", "rotate", "-y"])?;
    let new = text(&changed, "/new")?.to_owned();
    let data = joiner.data_dir().to_owned();
    ensure!(joiner.terminate()?.success());
    let joiner = weft.up(&data, &["--bootstrap", founder.address()])?;
    joiner.joined()?;
    let said = joiner.run(&["run", "--example", "primes", "--", "1000"])?.exited(0)?;
    ensure!(said.stdout == "168\n", "{said:#?}");
    keeps(&new)
}

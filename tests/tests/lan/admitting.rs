//! Letting machines in that found each other: by six digits, and by an invite.

use anyhow::{Context as _, ensure};
use protocol::{invite::Invite, wire::enroll::NodeAddress};
use tests::{healthy, items, text, until};

use crate::{PATIENCE, Place, asked_by, mesh_of, moved};

#[test]
fn both_machines_show_the_same_code_and_the_one_that_is_approved_works() -> anyhow::Result<()> {
    let Some(place) = Place::of(2)? else { return Ok(()) };
    let first = place.up(0, &[])?;
    let second = place.up(1, &[])?;
    asked_by(&first, &second)?;
    let code = until("the same code on both", PATIENCE, || {
        let mine = second.ask(&["status"])?;
        let listed = first.ask(&["node", "list", "--pending"])?;
        let theirs =
            items(&listed).find(|node| text(node, "/peer").is_ok_and(|is| is == second.peer()));
        let Some(theirs) = theirs.and_then(|node| text(node, "/code").ok()) else {
            return Ok(None);
        };
        Ok(text(&mine, "/code").is_ok_and(|mine| mine == theirs).then(|| theirs.to_owned()))
    })?;
    // What people read has it too, in two groups of three.
    let shown =
        format!("{} {}", code.get(..3).unwrap_or_default(), code.get(3..).unwrap_or_default());
    for node in [&first, &second] {
        let said = node.run(&["status"])?.exited(0)?;
        ensure!(said.stdout.contains(&shown), "{said:#?}");
    }
    first.run(&["node", "approve", second.peer(), "--code", &code, "--yes"])?.exited(0)?;
    moved(&second, &mesh_of(&first)?.context("no mesh")?)?;
    healthy(&first, 2)?;
    let said = second.run(&["run", "--example", "primes", "--", "1000"])?.exited(0)?;
    ensure!(said.stdout == "168\n", "{said:#?}");
    Ok(())
}

#[test]
fn an_invite_is_good_where_its_mesh_is_met_though_its_addresses_are_not_any_more()
-> anyhow::Result<()> {
    let Some(place) = Place::of(2)? else { return Ok(()) };
    let first = place.up(0, &[])?;
    let made = first.ask(&["invite"])?;
    let invite: Invite = text(&made, "/invite")?.parse()?;
    let nowhere = |host: &NodeAddress| NodeAddress {
        node: host.node,
        addresses: vec!["/ip4/127.0.0.1/tcp/9".to_owned()],
    };
    let hosts = invite.hosts.iter().take(1).map(nowhere).collect();
    let moved_away = Invite { hosts, ..invite }.to_text();
    let second = place.up(1, &["--invite", &moved_away])?;
    moved(&second, &mesh_of(&first)?.context("no mesh")?)?;
    healthy(&first, 2)
}

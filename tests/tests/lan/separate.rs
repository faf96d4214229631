//! Meshes that share a network and nothing else.

use anyhow::Context as _;
use tests::{Node, healthy, items, text, until};

use crate::{PATIENCE, Place, mesh_of, moved};

/// Starts a node that founds a mesh of that name and lets it hold something, before it meets anybody.
fn founded(place: &Place, number: usize, name: &str) -> anyhow::Result<Node> {
    let home = place.home(number);
    let home = home.to_str().context("a path that is text")?;
    place.weft.run(&["config", "set", "mesh.name", name, "--data-dir", home])?.exited(0)?;
    let alone = place.up(number, &["--no-mdns", "--auto-approve"])?;
    alone.run(&["run", "--example", "primes", "--", "1000"])?.exited(0)?;
    alone.terminate()?;
    place.up(number, &["--auto-approve"])
}

#[test]
fn two_meshes_on_one_network_never_mix() -> anyhow::Result<()> {
    let Some(place) = Place::of(4)? else { return Ok(()) };
    let (red, blue) = (founded(&place, 0, "red")?, founded(&place, 1, "blue")?);
    let (second_red, second_blue) =
        (place.up(2, &["--join", "red"])?, place.up(3, &["--join", "blue"])?);
    let meshes = [mesh_of(&red)?.context("no mesh")?, mesh_of(&blue)?.context("no mesh")?];
    assert_ne!(meshes[0], meshes[1]);
    moved(&second_red, &meshes[0])?;
    moved(&second_blue, &meshes[1])?;
    healthy(&red, 2)?;
    healthy(&blue, 2)?;

    // They have met: each side knows the other as a stranger, and only as that.
    until("the other mesh's coordinator", PATIENCE, || {
        let peers = red.ask(&["peers"])?;
        let other =
            items(&peers).find(|peer| text(peer, "/peer").is_ok_and(|is| is == blue.peer()));
        Ok(other
            .filter(|peer| peer.get("admission").is_none_or(serde_json::Value::is_null))
            .map(drop))
    })?;
    for (node, members) in [(&red, [&red, &second_red]), (&blue, [&blue, &second_blue])] {
        let listed = node.ask(&["node", "list"])?;
        let mut found: Vec<_> =
            items(&listed).map(|item| text(item, "/peer")).collect::<Result<_, _>>()?;
        let mut expected: Vec<_> = members.iter().map(|member| member.peer()).collect();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }
    Ok(())
}

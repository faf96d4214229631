//! Nodes on a local network: machines of their own on one bridge, with nothing configured. Each test says "skipped"
//! and passes where the system lets nobody make network namespaces.

use anyhow::Context as _;
use tests::{Weft, healthy, netns::Lan};

#[test]
fn machines_on_one_network_reach_each_other() -> anyhow::Result<()> {
    let (weft, dir) = (Weft::built()?, tempfile::tempdir()?);
    let Some(mut lan) = Lan::new() else { return Ok(()) };
    let (one, two) = (lan.host()?, lan.host()?);
    let alone = ["--no-mdns", "--auto-approve"];
    let founder = one.up(&weft, &dir.path().join("one"), &alone)?;
    let address = format!("/ip4/{}/tcp/4301/p2p/{}", one.ip(), founder.peer());
    let joiner = ["--no-mdns", "--bootstrap", &address];
    let joiner = two.up(&weft, &dir.path().join("two"), &joiner)?;
    joiner.joined().context("the second machine")?;
    healthy(&founder, 2)
}

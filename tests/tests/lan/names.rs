//! Meshes that are joined by a name.

use tests::healthy;

use crate::{Place, mesh_of, moved};

#[test]
fn a_node_joins_by_a_name_that_stands_for_addresses() -> anyhow::Result<()> {
    let Some(mut place) = Place::of(2)? else { return Ok(()) };
    let founder = place.up(0, &["--no-mdns", "--auto-approve"])?;
    // The name stands for an address where nobody is, and for one where the founder is.
    let ip = place.host(0)?.ip();
    let peer = founder.peer().to_owned();
    let text = |port: u16| format!("dnsaddr=/ip4/{ip}/tcp/{port}/p2p/{peer}");
    let server = ip.to_string();
    let (nobody, somebody) = (text(9), text(4301));
    place.neighbour(0, &["dns", &server, "_dnsaddr.mesh.test", &nobody, &somebody])?;
    place.lan.resolver(ip, place.dir.path())?;
    let name = format!("/dnsaddr/mesh.test/p2p/{peer}");
    let joiner = place.up(1, &["--no-mdns", "--bootstrap", &name])?;
    moved(&joiner, &mesh_of(&founder)?.unwrap_or_default())?;
    healthy(&founder, 2)
}

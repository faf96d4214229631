//! Asking to join a mesh, until somebody has decided.

use std::time::Duration;

use libp2p::Multiaddr;
use protocol::{
    ids::{MeshId, NodeId},
    sign::Signed,
    wire::{
        enroll::{EnrollRequest, EnrollResponse, Enrollment, Membership, OwnerConsent},
        genesis::Genesis,
    },
};
use tokio::sync::watch;

use crate::{api::Standing, home::UpOptions, net::NetHandle, roles::clock::NodeClock};

/// The first delay before an address is tried again; it doubles up to [`DELAY_MAX`].
const DELAY: Duration = Duration::from_millis(500);
/// The longest delay before an address is tried again.
const DELAY_MAX: Duration = Duration::from_secs(15);

/// What came of asking one node.
enum Asked {
    Admitted(MeshId, Box<Membership>),
    Wait(Duration),
    Refused(String),
    Elsewhere(Vec<Multiaddr>),
}

/// Asks the nodes at `addresses`, in turn, until one admits this node. Ends only with an admission.
pub(super) async fn join(
    options: &UpOptions,
    net: &NetHandle,
    addresses: Vec<Multiaddr>,
    standing: &watch::Sender<Standing>,
) -> (MeshId, Membership) {
    let mut addresses = addresses;
    let mut statement = None;
    let mut delay = DELAY;
    loop {
        let mut wait = delay;
        for address in addresses.clone() {
            match ask(options, net, address.clone(), &mut statement).await {
                Ok(Asked::Admitted(mesh, membership)) => return (mesh, *membership),
                Ok(Asked::Wait(after)) => {
                    standing.send_replace(Standing::Waiting);
                    delay = DELAY;
                    wait = after;
                }
                Ok(Asked::Refused(reason)) => {
                    tracing::warn!(%address, reason, "this node was refused");
                    standing.send_replace(Standing::Refused(reason));
                    delay = DELAY_MAX;
                    wait = DELAY_MAX;
                }
                Ok(Asked::Elsewhere(others)) => {
                    for other in others {
                        if !addresses.contains(&other)
                            && addresses.len() < protocol::limits::ADDRESSES_MAX
                        {
                            addresses.push(other);
                        }
                    }
                }
                Err(error) => {
                    tracing::info!(%address, error, "nobody there admits nodes; trying again")
                }
            }
        }
        tokio::time::sleep(wait).await;
        delay = delay.saturating_mul(2).min(DELAY_MAX);
    }
}

async fn ask(
    options: &UpOptions,
    net: &NetHandle,
    address: Multiaddr,
    statement: &mut Option<(MeshId, EnrollRequest)>,
) -> Result<Asked, String> {
    let peer = net.connect(address).await.map_err(|error| error.to_string())?;
    let hello = net.hello(peer).await.map_err(|error| error.to_string())?;
    let Some(hello) = hello.mesh else {
        return Err("that node is in no mesh itself yet".to_owned());
    };
    // The same statement each time: whoever keeps the ledger writes it down once.
    let (mesh, request) = match statement.take() {
        Some((mesh, request)) if mesh == hello.mesh => (mesh, request),
        _ => (hello.mesh, sign(options, hello.mesh)),
    };
    let response = net.enroll(peer, request.clone()).await;
    *statement = Some((mesh, request));
    match response.map_err(|error| error.to_string())? {
        EnrollResponse::Admitted(membership) => admitted(mesh, peer, *membership),
        EnrollResponse::Pending { retry_after_ms } => {
            tracing::info!(
                mesh = hello.name,
                "waits to be approved: weft node approve {}",
                options.name()
            );
            Ok(Asked::Wait(
                Duration::from_millis(u64::from(retry_after_ms)).clamp(DELAY, DELAY_MAX),
            ))
        }
        EnrollResponse::Refused(reason) => Ok(Asked::Refused(reason.code().to_owned())),
        EnrollResponse::Elsewhere(nodes) => {
            let addresses = nodes.iter().flat_map(|node| {
                let peer = protocol::net::to_peer_id(&node.node);
                let parsed =
                    node.addresses.iter().filter_map(|address| address.parse::<Multiaddr>().ok());
                parsed.filter_map(move |address| address.with_p2p(peer).ok())
            });
            Ok(Asked::Elsewhere(addresses.collect()))
        }
    }
}

/// Whoever admits must show the Genesis that the mesh's id is the hash of.
fn admitted(mesh: MeshId, from: NodeId, membership: Membership) -> Result<Asked, String> {
    let genesis = membership.genesis.clone().verify(&Genesis::MESH);
    let sound = Genesis::mesh_id(&membership.genesis) == mesh
        && genesis.is_ok_and(|genesis| {
            genesis.claim().operators.iter().any(|operator| operator.0 == *genesis.signer())
        });
    if !sound {
        return Err(format!("{from} shows a Genesis that is not of the mesh it names"));
    }
    Ok(Asked::Admitted(mesh, Box::new(membership)))
}

fn sign(options: &UpOptions, mesh: MeshId) -> EnrollRequest {
    let at = NodeClock::wall();
    let enrollment = Enrollment {
        node: options.node(),
        account: options.keys.owner.account(),
        name: options.name(),
        roles: options.config.roles.clone(),
        software: env!("CARGO_PKG_VERSION").to_owned(),
        at,
    };
    let consent = OwnerConsent { node: options.node(), at };
    EnrollRequest {
        enrollment: Signed::sign(&enrollment, mesh, &options.keys.node),
        consent: Signed::sign(&consent, mesh, &options.keys.owner),
    }
}

//! Asking to join a mesh, until somebody has decided.

use std::time::Duration;

use libp2p::Multiaddr;
use protocol::{
    ids::{MeshId, NodeId},
    reject::RejectReason,
    sign::Signed,
    wire::{
        enroll::{EnrollRequest, EnrollResponse, Enrollment, Membership, MeshHello, OwnerConsent},
        genesis::Genesis,
    },
};

use crate::{api::Asking, home::UpOptions, net::NetHandle, roles::clock::NodeClock};

/// The first delay before an address is tried again; it doubles up to [`DELAY_MAX`].
const DELAY: Duration = Duration::from_millis(500);
/// The longest delay before an address is tried again.
const DELAY_MAX: Duration = Duration::from_secs(15);
/// Addresses that are asked in turn, with those that others named.
const ADDRESSES_MAX: usize = protocol::limits::ADDRESSES_MAX;

/// What came of asking one node.
#[derive(Debug)]
pub(super) enum Asked {
    Admitted(MeshId, Box<Membership>),
    Wait(Duration),
    Refused(RejectReason),
    Elsewhere(Vec<Multiaddr>),
}

/// What this node says when it asks to join: the same each time, so that whoever keeps the ledger writes it down once.
#[derive(Debug, Default)]
pub(super) struct Statement(Option<(MeshId, EnrollRequest)>);

impl Statement {
    pub(super) fn to(&mut self, mesh: MeshId, options: &UpOptions) -> EnrollRequest {
        match &self.0 {
            Some((known, request)) if *known == mesh => request.clone(),
            Some(_) | None => self.0.insert((mesh, sign(options, mesh))).1.clone(),
        }
    }
}

/// How long to go on asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Until this node is admitted, whatever happens.
    Endless,
    /// Until somebody has decided, or nobody is there at all.
    UntilDecided,
}

/// How asking is getting on.
#[derive(Debug, Clone)]
pub(super) enum Progress {
    /// A node was asked.
    Asked(Asking),
    /// Nobody is there who admits nodes, and why.
    Nobody(String),
}

/// Asks the nodes at `addresses`, in turn, until one admits this node. Nothing if patience is over.
pub(super) async fn join(
    options: &UpOptions,
    net: &NetHandle,
    addresses: Vec<Multiaddr>,
    patience: Patience,
    mut progress: impl FnMut(Progress) + Send,
) -> Option<(MeshId, Membership)> {
    let mut addresses = addresses;
    let mut statement = Statement::default();
    let mut delay = DELAY;
    loop {
        let mut wait = delay;
        let mut asked_one = false;
        for address in addresses.clone() {
            match ask_at(options, net, &address, &mut statement).await {
                Ok((asking, asked)) => {
                    asked_one = true;
                    let refused = asking.refused.is_some();
                    if !matches!(asked, Asked::Elsewhere(_)) {
                        progress(Progress::Asked(asking));
                    }
                    match asked {
                        Asked::Admitted(mesh, membership) => return Some((mesh, *membership)),
                        Asked::Wait(after) => (delay, wait) = (DELAY, after),
                        Asked::Refused(_) => (delay, wait) = (DELAY_MAX, DELAY_MAX),
                        Asked::Elsewhere(others) => add(&mut addresses, others),
                    }
                    if refused && patience == Patience::UntilDecided {
                        return None;
                    }
                }
                Err(error) => {
                    tracing::info!(%address, error, "nobody there admits nodes");
                    progress(Progress::Nobody(error));
                }
            }
        }
        if !asked_one && patience == Patience::UntilDecided {
            return None;
        }
        tokio::time::sleep(wait).await;
        delay = delay.saturating_mul(2).min(DELAY_MAX);
    }
}

fn add(addresses: &mut Vec<Multiaddr>, others: Vec<Multiaddr>) {
    for other in others {
        if !addresses.contains(&other) && addresses.len() < ADDRESSES_MAX {
            addresses.push(other);
        }
    }
}

async fn ask_at(
    options: &UpOptions,
    net: &NetHandle,
    address: &Multiaddr,
    statement: &mut Statement,
) -> Result<(Asking, Asked), String> {
    let peer = net.connect(address.clone()).await.map_err(|error| error.to_string())?;
    let hello = hello(net, peer).await?;
    let request = statement.to(hello.mesh, options);
    let asked = ask(net, peer, hello.mesh, request).await?;
    Ok((asking(&hello, peer, address, &asked), asked))
}

/// Which mesh a node is in.
pub(super) async fn hello(net: &NetHandle, peer: NodeId) -> Result<MeshHello, String> {
    let hello = net.hello(peer).await.map_err(|error| error.to_string())?;
    hello.mesh.ok_or_else(|| "that node is in no mesh itself yet".to_owned())
}

/// Asks one node of a mesh.
pub(super) async fn ask(
    net: &NetHandle,
    peer: NodeId,
    mesh: MeshId,
    request: EnrollRequest,
) -> Result<Asked, String> {
    match net.enroll(peer, request).await.map_err(|error| error.to_string())? {
        EnrollResponse::Admitted(membership) => admitted(mesh, peer, *membership),
        EnrollResponse::Pending { retry_after_ms } => {
            let after = Duration::from_millis(u64::from(retry_after_ms));
            Ok(Asked::Wait(after.clamp(DELAY, DELAY_MAX)))
        }
        EnrollResponse::Refused(reason) => Ok(Asked::Refused(reason)),
        EnrollResponse::Elsewhere(nodes) => {
            let addresses = nodes.iter().flat_map(|node| {
                let peer = protocol::net::to_peer_id(&node.node);
                let parsed =
                    node.addresses.iter().filter_map(|address| address.parse::<Multiaddr>().ok());
                parsed.filter_map(move |address| address.with_p2p(peer).ok())
            });
            Ok(Asked::Elsewhere(addresses.take(ADDRESSES_MAX).collect()))
        }
    }
}

/// What there is to say about a node that was asked.
pub(super) fn asking(
    hello: &MeshHello,
    node: NodeId,
    address: &Multiaddr,
    asked: &Asked,
) -> Asking {
    let refused = match asked {
        Asked::Refused(reason) => Some(reason.code().to_owned()),
        Asked::Admitted(..) | Asked::Wait(_) | Asked::Elsewhere(_) => None,
    };
    Asking {
        mesh: hello.mesh,
        mesh_name: hello.name.clone(),
        members: hello.members,
        node,
        address: address.to_string(),
        refused,
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

//! Asking to join a mesh, until somebody has decided.

use std::{sync::Arc, time::Duration};

use libp2p::Multiaddr;
use protocol::{
    code::{Code, Nonce, Parties},
    ids::{MeshId, NodeId},
    invite::Invite,
    reject::RejectReason,
    sign::Signed,
    wire::{
        enroll::{
            EnrollRequest, EnrollResponse, EnrollStatements, Enrollment, Membership, MeshHello,
            OwnerConsent,
        },
        genesis::Genesis,
    },
};

use crate::{
    api::Asking,
    home::UpOptions,
    net::NetHandle,
    roles::{clock::NodeClock, owner::Owner},
};

/// The first delay before an address is tried again; it doubles up to [`DELAY_MAX`].
const DELAY: Duration = Duration::from_millis(500);
/// The longest delay before an address is tried again.
const DELAY_MAX: Duration = Duration::from_secs(15);
/// How soon a node reveals its half of the code.
const REVEAL_AFTER: Duration = Duration::from_millis(50);
/// Addresses that are asked in turn, with those that others named.
const ADDRESSES_MAX: usize = protocol::limits::ADDRESSES_MAX;

/// What came of asking one node.
#[derive(Debug)]
pub(super) enum Asked {
    Admitted(MeshId, Box<Membership>),
    /// Not yet: how long to wait, and the mesh's half of the code.
    Wait(Duration, Option<Nonce>),
    Refused(RejectReason),
    Elsewhere(Vec<Multiaddr>),
}

/// A request to one mesh: signed once, and said each time, so that whoever keeps the ledger writes it down once.
#[derive(Debug)]
pub(super) struct Request {
    parties: Parties,
    statements: EnrollStatements,
    /// This node's half of the code. Said only once the mesh's is known.
    nonce: Nonce,
    /// The mesh's half of the code: the first that was said. Whoever says another later is not the same.
    theirs: Option<Nonce>,
}

impl Request {
    /// Signs a request to join a mesh; with the invite, if it is to that mesh.
    pub(super) fn sign(options: &UpOptions, mesh: MeshId, invite: Option<&Invite>) -> Self {
        let (node, account) = (options.node(), options.keys.owner.account());
        let (at, nonce) = (NodeClock::wall(), Nonce(super::random()));
        let enrollment = Enrollment {
            node,
            account,
            name: options.name(),
            roles: options.config.roles.clone(),
            software: env!("CARGO_PKG_VERSION").to_owned(),
            commitment: nonce.commitment(),
            at,
        };
        let consent = OwnerConsent { node, at };
        let invite = invite.filter(|invite| invite.mesh == mesh);
        let statements = EnrollStatements {
            enrollment: Signed::sign(&enrollment, mesh, &options.keys.node),
            consent: Signed::sign(&consent, mesh, &options.keys.owner),
            invite: invite.map(|invite| invite.proof(node, account)),
        };
        let parties = Parties { mesh, node, account };
        Self { parties, statements, nonce, theirs: None }
    }

    /// What is sent.
    pub(super) fn message(&self) -> EnrollRequest {
        EnrollRequest {
            statements: self.statements.clone(),
            reveal: self.theirs.map(|_| self.nonce),
        }
    }
}

/// What this node says when it asks to join.
#[derive(Debug, Default)]
pub(super) struct Statement {
    request: Option<Request>,
    invite: Option<Invite>,
}

impl Statement {
    pub(super) const fn with(invite: Option<Invite>) -> Self {
        Self { request: None, invite }
    }

    pub(super) fn to(&mut self, mesh: MeshId, options: &UpOptions) -> EnrollRequest {
        match &self.request {
            Some(known) if known.parties.mesh == mesh => known.message(),
            Some(_) | None => {
                let request = Request::sign(options, mesh, self.invite.as_ref());
                self.request.insert(request).message()
            }
        }
    }

    /// A mesh has answered. Returns how long to wait now. A mesh that says two different halves of the code is not
    /// believed, and neither is the request that it was said to: this node's own half is known to whoever that was.
    pub(super) fn heard(&mut self, mesh: MeshId, asked: &Asked) -> Option<Duration> {
        let Asked::Wait(after, said) = asked else { return None };
        let request = self.request.as_mut().filter(|request| request.parties.mesh == mesh)?;
        match (request.theirs, *said) {
            // Whoever approves sees the code once this node's half has come.
            (None, Some(said)) => {
                request.theirs = Some(said);
                return Some(REVEAL_AFTER);
            }
            (Some(before), Some(said)) if before != said => {
                tracing::warn!(mesh = %mesh.short(), "two different halves of a code were said: asking anew");
                self.request = None;
            }
            (_, None) | (Some(_), Some(_)) => {}
        }
        Some(*after)
    }

    /// The code that people compare before they let this node into a mesh.
    pub(super) fn code(&self, mesh: MeshId) -> Option<Code> {
        let request = self.request.as_ref().filter(|request| request.parties.mesh == mesh)?;
        request.theirs.map(|theirs| Code::of(&request.parties, &request.nonce, &theirs))
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

/// What a person wants asked.
#[derive(Debug)]
pub struct Errand {
    /// Whom to ask.
    pub addresses: Vec<Multiaddr>,
    /// What lets this node in without anybody being asked. Then no other mesh than that of the invite is asked.
    pub invite: Option<Invite>,
    /// How long to go on.
    pub patience: Patience,
}

/// Asks the nodes at some addresses, in turn, until one admits this node. Nothing if patience is over.
pub(super) async fn join(
    options: &UpOptions,
    net: &NetHandle,
    errand: Errand,
    mut progress: impl FnMut(Progress) + Send,
) -> Option<(MeshId, Membership)> {
    let Errand { mut addresses, invite, patience } = errand;
    let mut statement = Statement::with(invite);
    let mut delay = DELAY;
    let mut answered = false;
    loop {
        let mut wait = delay;
        let (mut asked_one, mut nobody) = (false, Vec::new());
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
                        Asked::Wait(after, _) => (delay, wait) = (DELAY, after),
                        Asked::Refused(_) => (delay, wait) = (DELAY_MAX, DELAY_MAX),
                        Asked::Elsewhere(others) => add(&mut addresses, others),
                    }
                    if refused && patience == Patience::UntilDecided {
                        return None;
                    }
                }
                Err(error) => {
                    tracing::info!(%address, error, "nobody there admits nodes");
                    nobody.push(if addresses.len() == 1 {
                        error
                    } else {
                        format!("{address}: {error}")
                    });
                }
            }
        }
        answered |= asked_one;
        if !asked_one {
            progress(Progress::Nobody(nobody.join("; ")));
            // Whoever has answered before is asked again: a decision cuts connections, and what came of it is said
            // to the next request.
            if patience == Patience::UntilDecided && !answered {
                return None;
            }
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
    if statement.invite.as_ref().is_some_and(|invite| invite.mesh != hello.mesh) {
        return Err(format!("the mesh \"{}\" is not the one of the invite", hello.name));
    }
    let request = statement.to(hello.mesh, options);
    let mut asked = ask(options, net, peer, hello.mesh, request).await?;
    if let (Some(after), Asked::Wait(_, said)) = (statement.heard(hello.mesh, &asked), &asked) {
        asked = Asked::Wait(after, *said);
    }
    Ok((asking(&hello, peer, address, &asked, statement.code(hello.mesh)), asked))
}

/// Which mesh a node is in.
pub(super) async fn hello(net: &NetHandle, peer: NodeId) -> Result<MeshHello, String> {
    let hello = net.hello(peer).await.map_err(|error| error.to_string())?;
    hello.mesh.ok_or_else(|| "that node is in no mesh itself yet".to_owned())
}

/// Asks one node of a mesh.
pub(super) async fn ask(
    options: &UpOptions,
    net: &NetHandle,
    peer: NodeId,
    mesh: MeshId,
    request: EnrollRequest,
) -> Result<Asked, String> {
    match net.enroll(peer, request).await.map_err(|error| error.to_string())? {
        EnrollResponse::Admitted(membership) => admitted(options, mesh, peer, *membership),
        EnrollResponse::Pending { retry_after_ms, nonce } => {
            let after = Duration::from_millis(u64::from(retry_after_ms));
            Ok(Asked::Wait(after.clamp(DELAY, DELAY_MAX), nonce))
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
    code: Option<Code>,
) -> Asking {
    let refused = match asked {
        Asked::Refused(reason) => Some(reason.code().to_owned()),
        Asked::Admitted(..) | Asked::Wait(..) | Asked::Elsewhere(_) => None,
    };
    Asking {
        mesh: hello.mesh,
        mesh_name: hello.name.clone(),
        members: hello.members,
        node,
        address: address.to_string(),
        on_lan: false,
        code,
        refused,
    }
}

/// Whoever admits must show the Genesis that the mesh's id is the hash of. Whose this node is follows only from that
/// owner's own word.
fn admitted(
    options: &UpOptions,
    mesh: MeshId,
    from: NodeId,
    mut membership: Membership,
) -> Result<Asked, String> {
    let genesis = membership.genesis.clone().verify(&Genesis::MESH);
    let sound = Genesis::mesh_id(&membership.genesis) == mesh
        && genesis.is_ok_and(|genesis| {
            genesis.claim().operators.iter().any(|operator| operator.0 == *genesis.signer())
        });
    if !sound {
        return Err(format!("{from} shows a Genesis that is not of the mesh it names"));
    }
    let owner = Owner::new(mesh, Arc::new(options.keys.clone()));
    if !owner.learn(membership.account, membership.delegation.as_ref(), false) {
        membership.account = owner.account();
        membership.delegation = None;
    }
    Ok(Asked::Admitted(mesh, Box::new(membership)))
}

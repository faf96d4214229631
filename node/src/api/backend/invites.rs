//! Invites.

use portal_api::{
    backend::Answer,
    problem::{ErrorCode, Problem},
    views::{Invite, InvitePlan},
};
use protocol::{
    codec::try_encode,
    ids::{InviteId, MeshId, NodeId},
    invite::{INVITE_ADDRESS_BYTES_MAX, INVITE_ADDRESSES_MAX, Secret},
    keys::SecretKey,
    sign::{Signable, Signed},
    wire::{
        client::{ClientRequest, Query},
        enroll::NodeAddress,
        invite::{InviteRevoke, InviteTerms},
        view,
    },
};

use super::{Member, NodeApi, unexpected};
use crate::roles::clock::NodeClock;

impl NodeApi {
    pub(super) async fn list_invites(&self) -> Answer<Vec<Invite>> {
        let view::Answer::Invites(invites) = self.ask(Query::Invites).await? else {
            return Err(unexpected());
        };
        let now = NodeClock::wall();
        Ok(invites.iter().map(|invite| Invite::at(invite, now)).collect())
    }

    async fn known_invite(&self, invite: InviteId) -> Answer<Invite> {
        let invites = self.list_invites().await?;
        let known = invites.into_iter().find(|known| known.id == invite);
        known.ok_or_else(|| {
            Problem::new(ErrorCode::NotFound, format!("there is no invite {invite}"))
        })
    }

    pub(super) async fn make_invite(&self, plan: InvitePlan) -> Answer<Invite> {
        let member = self.member()?;
        let (mesh, owner) = (member.context.mesh, &member.context.keys.owner);
        let hosts = self.hosts(&member).await;
        if hosts.is_empty() {
            let detail = "no address is known at which this mesh could be reached";
            return Err(Problem::new(ErrorCode::WrongState, detail));
        }
        let (invite, secret) = (InviteId(crate::app::random()), Secret(crate::app::random()));
        let at = NodeClock::wall();
        let terms = InviteTerms {
            invite,
            key: secret.key().public(),
            role: plan.role,
            uses: plan.uses,
            expires: at.saturating_add(plan.ttl),
            hint: plan.hint,
            at,
        };
        let text = protocol::invite::Invite {
            mesh,
            name: member.mesh_name.clone(),
            hosts,
            invite,
            secret,
            role: terms.role,
            expires: terms.expires,
            sponsor: owner.account(),
        };
        let statement = try_signed(&terms, mesh, owner)?;
        member.submitter.change(ClientRequest::Invite(statement)).await?;
        let made = self.known_invite(invite).await?;
        Ok(Invite { invite: Some(text.to_text()), ..made })
    }

    pub(super) async fn take_back(&self, invite: InviteId) -> Answer<Invite> {
        let member = self.member()?;
        let revoke = InviteRevoke { invite, at: NodeClock::wall() };
        let statement = try_signed(&revoke, member.context.mesh, &member.context.keys.owner)?;
        member.submitter.change(ClientRequest::RevokeInvite(statement)).await?;
        self.known_invite(invite).await
    }

    /// Where whoever is invited asks: the leader first, then this node, which says who leads.
    async fn hosts(&self, member: &Member) -> Vec<NodeAddress> {
        let here = self.net.local();
        let own = self.net.listen_addrs().await.iter().map(ToString::to_string).collect();
        let own = NodeAddress { node: here, addresses: own };
        let leader = *member.leader.watch().borrow();
        let mut hosts = Vec::new();
        if let Some(leader) = leader.filter(|leader| *leader != here) {
            let peers = self.net.peers().await;
            let peer = peers.iter().find(|peer| peer.node == leader);
            hosts.extend(peer.map(crate::net::PeerInfo::node_address));
        }
        hosts.push(own);
        fitting(hosts)
    }
}

/// Of all addresses those that an invite has room for: none of this machine alone, where there are others.
fn fitting(hosts: Vec<NodeAddress>) -> Vec<NodeAddress> {
    let is_local =
        |address: &String| address.contains("/127.0.0.1/") || address.contains("/ip6/::1/");
    let only_local = hosts.iter().flat_map(|host| &host.addresses).all(is_local);
    let mut room = INVITE_ADDRESSES_MAX;
    let mut chosen: Vec<(NodeId, Vec<String>)> = Vec::new();
    for NodeAddress { node, addresses } in hosts {
        let good = addresses.into_iter().filter(|address| {
            address.len() <= INVITE_ADDRESS_BYTES_MAX && (only_local || !is_local(address))
        });
        let taken: Vec<_> = good.take(room).collect();
        room = room.saturating_sub(taken.len());
        if !taken.is_empty() {
            chosen.push((node, taken));
        }
    }
    chosen.into_iter().map(|(node, addresses)| NodeAddress { node, addresses }).collect()
}

/// Signs what a person has written, if it is not too long.
pub(super) fn try_signed<T: Signable>(
    claim: &T,
    mesh: MeshId,
    key: &SecretKey,
) -> Answer<Signed<T>> {
    match try_encode(claim) {
        Ok(_) => Ok(Signed::sign(claim, mesh, key)),
        Err(error) => Err(Problem::new(ErrorCode::ValidationFailed, error.to_string())),
    }
}

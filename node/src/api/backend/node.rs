//! This node, its peers, and the nodes of the mesh.

use portal_api::{
    backend::Answer,
    problem::{ErrorCode, FieldError, Problem},
    views::{
        Balance, Check, Credit, Decision, Health, Identity, Joining, KeyChange, LabelChange, Mesh,
        Node, Peer, Shared, Sharing, Status, reasons,
    },
};
use protocol::{
    code::{BadCode, Code},
    ids::NodeId,
    sign::Signed,
    time::{Clock as _, Timestamp},
    wire::{
        client::{ClientRequest, Query},
        enroll::{BlockReason, NodeDecision, NodeLabels, Verdict},
        owner::{Delegation, KeyRotation},
        view::{self, Admission, NodeView},
    },
};

use super::{NodeApi, Standing, invites::try_signed, unexpected};
use crate::{home::HomeError, roles::clock::NodeClock};

impl NodeApi {
    pub(super) async fn show_status(&self) -> Answer<Status> {
        let member = match &*self.standing.borrow() {
            Standing::Member(member) => Some((**member).clone()),
            Standing::Starting | Standing::Waiting | Standing::Refused(_) => None,
        };
        let refused = matches!(&*self.standing.borrow(), Standing::Refused(_));
        let mesh = match &member {
            Some(member) => member.submitter.mesh().await.ok(),
            None => None,
        };
        let credits = match &mesh {
            Some(_) => self.ask(Query::Balance(self.owner_account())).await.ok(),
            None => None,
        };
        let credits = credits.and_then(|answer| {
            let view::Answer::Balance(balance) = answer else { return None };
            Some(Credit::from(&Balance::from(&balance)))
        });
        let joining = self.asking.borrow().as_ref().map(Joining::from);
        let (slots, slots_free) = self.slots();
        let outlook = self.machine.outlook().borrow().clone();
        let works = self.options.config.roles.contains(&protocol::wire::enroll::Role::Worker);
        Ok(Status {
            peer: self.options.node(),
            name: self.options.name(),
            account: self.owner_account(),
            roles: self.options.config.roles.clone(),
            admission: match (&member, refused) {
                (Some(_), _) => Admission::Approved,
                (None, true) => Admission::Blacklisted,
                (None, false) => Admission::Pending,
            },
            mesh: member.as_ref().map(|member| member.context.mesh),
            mesh_name: member.as_ref().map(|member| member.mesh_name.clone()),
            code: joining.as_ref().and_then(|joining| joining.code.clone()),
            joining,
            leader: mesh.as_ref().and_then(|mesh| mesh.leader),
            work: mesh.as_ref().map(Mesh::from),
            credits,
            peers: u32::try_from(self.net.peers().await.len()).unwrap_or(u32::MAX),
            reasons: reasons(&outlook.verdict.availability),
            sharing: works.then_some(Shared {
                slots,
                slots_free,
                cores: outlook.shared.cores,
                memory_bytes: outlook.shared.limits.memory_bytes,
                isolation: self.isolation,
                now: Some(Sharing::from(&outlook.verdict.availability)),
            }),
            uptime_seconds: self.started.now().saturating_since(Timestamp::ORIGIN).as_secs_f64(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            listen: self.addresses().await,
            api: Some(self.url.clone()),
        })
    }

    /// Where this node is reached, each with its `/p2p/` part.
    async fn addresses(&self) -> Vec<String> {
        let addresses = self.net.listen_addrs().await;
        addresses.iter().map(|address| format!("{address}/p2p/{}", self.options.node())).collect()
    }

    pub(super) async fn show_identity(&self) -> Identity {
        let mesh = match &*self.standing.borrow() {
            Standing::Member(member) => Some(member.context.mesh),
            Standing::Starting | Standing::Waiting | Standing::Refused(_) => None,
        };
        Identity {
            peer: self.options.node(),
            name: self.options.name(),
            account: self.owner_account(),
            mesh,
            addresses: self.addresses().await,
            agent: format!("weft/{}", env!("CARGO_PKG_VERSION")),
        }
    }

    pub(super) async fn list_peers(&self) -> Answer<Vec<Peer>> {
        // Peers are known without a mesh too; then they have no names.
        let nodes = self.node_views().await.unwrap_or_default();
        let peers = self.net.peers().await;
        let show = |peer: crate::net::PeerInfo| {
            let node = nodes.iter().find(|node| node.node == peer.node);
            Peer {
                peer: peer.node,
                name: node.map(|node| node.name.clone()),
                admission: node.map(|node| node.admission),
                address: peer.address.to_string(),
                path: peer.path.name().to_owned(),
                direction: if peer.dialled { "outbound" } else { "inbound" }.to_owned(),
                agent: peer.agent,
                rtt_seconds: peer
                    .rtt_us
                    .map(|rtt| std::time::Duration::from_micros(rtt).as_secs_f64()),
                score: peer.score,
                connected_seconds: None,
            }
        };
        Ok(peers.into_iter().map(show).collect())
    }

    pub(super) async fn node_views(&self) -> Answer<Vec<NodeView>> {
        let view::Answer::Nodes(nodes) = self.ask(Query::Nodes).await? else {
            return Err(unexpected());
        };
        Ok(nodes)
    }

    pub(super) async fn decide(
        &self,
        node: NodeId,
        verdict: Verdict,
        decision: Decision,
    ) -> Answer<Node> {
        let member = self.member()?;
        let nodes = self.node_views().await?;
        let known = nodes.iter().find(|known| known.node == node).ok_or_else(|| {
            Problem::new(ErrorCode::NotFound, format!("{node} has not asked to join"))
        })?;
        compare_codes(known, decision.code.as_deref())?;
        let (mesh, owner) = (member.context.mesh, &member.context.keys.owner);
        let at = NodeClock::wall();
        let was_mine = known.delegated && known.account == owner.account();
        let is_mine = verdict == Verdict::Approve && decision.mine.unwrap_or(was_mine);
        // What this owner's own machines are needs no delegation.
        let delegation = (is_mine && (known.delegated || known.account != owner.account()))
            .then(|| Signed::sign(&Delegation { node, owner: owner.account(), at }, mesh, owner));
        let reason = match verdict {
            Verdict::Block => Some(decision.reason.unwrap_or(BlockReason::ManualReview)),
            Verdict::Approve
            | Verdict::Reject
            | Verdict::Suspend
            | Verdict::Reinstate
            | Verdict::Unblock
            | Verdict::Leave => None,
        };
        let roles = if decision.roles.is_empty() { known.roles.clone() } else { decision.roles };
        let note = decision.note.unwrap_or_default();
        let statement = NodeDecision { node, verdict, roles, delegation, reason, note, at };
        let statement = try_signed(&statement, mesh, owner)?;
        member.submitter.change(ClientRequest::Decide(statement)).await?;
        self.known_node(node).await
    }

    pub(super) async fn label(&self, node: NodeId, change: LabelChange) -> Answer<Node> {
        let member = self.member()?;
        let at = NodeClock::wall();
        let statement = NodeLabels { node, add: change.add, remove: change.remove, at };
        let statement = try_signed(&statement, member.context.mesh, &member.context.keys.owner)?;
        member.submitter.change(ClientRequest::Label(statement)).await?;
        self.known_node(node).await
    }

    /// The node as it is now.
    async fn known_node(&self, node: NodeId) -> Answer<Node> {
        let nodes = self.node_views().await?;
        nodes.iter().find(|known| known.node == node).map(Node::from).ok_or_else(unexpected)
    }

    /// Replaces this node's key: in the ledger, and then in the data directory, for the next start.
    pub(super) async fn rotate(&self) -> Answer<KeyChange> {
        let member = self.member()?;
        // A vote is a key's: whoever votes gives it up first, so that no majority is lost by two who change at once. That
        // the founder's key stays is the ledger's own rule.
        let founder = member.context.genesis.peek().map(|genesis| genesis.coordinator);
        if founder != Ok(self.options.node())
            && member.leader.here().is_some_and(|here| here.votes())
        {
            return Err(Problem::new(
                ErrorCode::WrongState,
                "this node votes among the coordinators; first take that from it: weft node approve NAME --roles worker",
            ));
        }
        let home = &self.options.home;
        let unkept = |error: HomeError| {
            Problem::new(
                ErrorCode::Internal,
                format!("the new key cannot be kept: {}", crate::app::chain(&error)),
            )
        };
        let old = &self.options.keys.node;
        let next = home.next_key(old).map_err(unkept)?;
        let change = KeyRotation { old: old.node(), new: next.node(), at: NodeClock::wall() };
        let mesh = member.context.mesh;
        let request = ClientRequest::RotateKey {
            by_old: Signed::sign(&change, mesh, old),
            by_new: Signed::sign(&change, mesh, &next),
        };
        member.submitter.change(request).await?;
        home.switch_key(&next).map_err(unkept)?;
        Ok(KeyChange { old: old.node(), new: next.node() })
    }

    /// Slots, and slots that are free.
    fn slots(&self) -> (u16, u16) {
        match &*self.standing.borrow() {
            Standing::Member(member) => {
                member.worker.as_ref().map_or((0, 0), |worker| *worker.slots().borrow())
            }
            Standing::Starting | Standing::Waiting | Standing::Refused(_) => (0, 0),
        }
    }

    pub(super) fn slots_busy(&self) -> u32 {
        let (slots, free) = self.slots();
        u32::from(slots.saturating_sub(free))
    }

    pub(super) fn show_health(&self) -> Health {
        let standing = self.standing.borrow();
        let (member, detail) = match &*standing {
            Standing::Member(member) => (true, format!("in the mesh \"{}\"", member.mesh_name)),
            Standing::Starting => (false, "has just started".to_owned()),
            Standing::Waiting => (false, "waits to be approved".to_owned()),
            Standing::Refused(reason) => (false, format!("was refused: {reason}")),
        };
        let leader = match &*standing {
            Standing::Member(member) => *member.leader.watch().borrow(),
            Standing::Starting | Standing::Waiting | Standing::Refused(_) => None,
        };
        let leads = match leader {
            Some(leader) => format!("{leader} leads"),
            None => "nobody is known to lead".to_owned(),
        };
        let ending = self.end.is_cancelled();
        let check = |name: &str, good, detail| Check { name: name.to_owned(), good, detail };
        Health::of(vec![
            check("mesh", member, detail),
            check("leader", leader.is_some(), leads),
            check("running", !ending, if ending { "is shutting down" } else { "runs" }.to_owned()),
        ])
    }

    pub(super) async fn refresh_metrics(&self) {
        let metrics = &self.metrics;
        let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let peers = self.net.peers().await.len();
        metrics.peers.set(i64::try_from(peers).unwrap_or(i64::MAX));
        metrics.blob_store_bytes.set(signed(self.blobs.used()));
        let (slots, free) = self.slots();
        metrics.slots.set(i64::from(slots));
        metrics.slots_busy.set(i64::from(slots.saturating_sub(free)));
        let Ok(member) = self.member() else { return };
        let Ok(mesh) = member.submitter.mesh().await else { return };
        metrics.ledger_height.set(signed(mesh.height));
        metrics.tasks_queued.set(signed(mesh.tasks_queued));
        metrics.tasks_leased.set(signed(mesh.tasks_leased));
    }
}

/// Whoever approves has to have seen the code that the node shows, where a code is given.
fn compare_codes(node: &NodeView, said: Option<&str>) -> Answer<()> {
    let Some(said) = said else { return Ok(()) };
    let said: Code = said.parse().map_err(|error: BadCode| {
        Problem::invalid(vec![FieldError::new("/code", "bad-value", error.to_string())])
    })?;
    match node.code {
        Some(code) if code == said => Ok(()),
        Some(_) => Err(Problem::new(
            ErrorCode::CodeMismatch,
            format!("{} does not show {said}: nothing was decided", node.name),
        )),
        None => Err(Problem::new(
            ErrorCode::WrongState,
            format!("{} shows no code at the moment: nothing was decided", node.name),
        )),
    }
}

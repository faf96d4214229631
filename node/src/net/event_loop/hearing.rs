//! What others send. Limits, quotas and membership are checked here; nothing unchecked gets further.

use libp2p::{core::PeerRecord, gossipsub, identify, kad, ping, request_response::ResponseChannel};
use protocol::{
    limits::GOSSIP_BYTES_MAX,
    names,
    net::{from_peer_id, to_peer_id},
    reject::RejectReason,
};

use super::{
    super::{
        AdvertVerdict, Judge, Responder,
        behaviour::{MeshBehaviour, MeshBehaviourEvent},
        exchange::{Heard, Rpc},
        group::Bulk,
        streams::Incoming,
    },
    *,
};

/// Who may send a kind of request.
#[derive(Debug, Clone, Copy)]
enum Sender {
    Anybody,
    Member,
}

impl NetTask {
    pub(super) fn hear(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Door(never)
            | BehaviourEvent::Limits(never)
            | BehaviourEvent::Memory(never) => match never {},
            BehaviourEvent::Identify(event) => self.on_identify(event),
            BehaviourEvent::Ping(event) => self.on_ping(&event),
            BehaviourEvent::Hello(event) => {
                let heard = self.hello.hear(event);
                self.pass_on(heard, Sender::Anybody, |task| &mut task.hello);
            }
            BehaviourEvent::Enroll(event) => {
                let heard = self.enroll.hear(event);
                self.pass_on(heard, Sender::Anybody, |task| &mut task.enroll);
            }
            BehaviourEvent::Mesh(event) => self.hear_member(event),
        }
    }

    fn hear_member(&mut self, event: MeshBehaviourEvent) {
        match event {
            MeshBehaviourEvent::Kad(event) => self.on_kad(event),
            MeshBehaviourEvent::Gossip(event) => self.on_gossip(event),
            MeshBehaviourEvent::Blobs(Incoming { from, stream }) => {
                // A stream that does not fit is dropped: the requester sees it close and asks again.
                if let Some(from) = from_peer_id(&from).filter(|from| self.is_member(from))
                    && self.inbound.try_send(Inbound::BlobStream { from, stream }).is_err()
                {
                    self.shell.metrics.streams_dropped.inc();
                }
            }
            MeshBehaviourEvent::Raft(incoming) => self.on_group(incoming, Bulk::No),
            MeshBehaviourEvent::RaftSnapshot(incoming) => self.on_group(incoming, Bulk::Snapshot),
            MeshBehaviourEvent::Heartbeat(event) => {
                let heard = self.heartbeat.hear(event);
                self.pass_on(heard, Sender::Member, |task| &mut task.heartbeat);
            }
            MeshBehaviourEvent::Lease(event) => {
                let heard = self.lease.hear(event);
                self.pass_on(heard, Sender::Member, |task| &mut task.lease);
            }
            MeshBehaviourEvent::Result(event) => {
                let heard = self.result.hear(event);
                self.pass_on(heard, Sender::Member, |task| &mut task.result);
            }
            MeshBehaviourEvent::Client(event) => {
                let heard = self.client.hear(event);
                self.pass_on(heard, Sender::Member, |task| &mut task.client);
            }
        }
    }

    /// Another member of the mesh would speak of the log. Whether it is one of the group is asked for each message.
    fn on_group(&mut self, Incoming { from, stream }: Incoming, bulk: Bulk) {
        if let Some(from) = from_peer_id(&from).filter(|from| self.is_member(from))
            && self.inbound.try_send(Inbound::GroupStream { from, bulk, stream }).is_err()
        {
            self.shell.metrics.streams_dropped.inc();
        }
    }

    /// Gives a request to the node, or refuses it.
    fn pass_on<P: Rpc>(
        &mut self,
        heard: Heard<P>,
        sender: Sender,
        exchange: impl Fn(&mut Self) -> &mut Exchange<P>,
    ) {
        let (from, request, permit, channel) = match heard {
            Heard::Request { from, request, permit, channel } => (from, request, permit, channel),
            Heard::Unread { from, channel } => {
                self.refuse::<P>(from, channel, RejectReason::Busy);
                return;
            }
            Heard::Fault(from, fault) => {
                self.fault(from, fault);
                return;
            }
            Heard::Nothing => return,
        };
        if let Err(reason) = self.admit(from, sender, &exchange) {
            self.refuse::<P>(from, channel, reason);
            return;
        }
        let Ok(room) = self.inbound.try_reserve() else {
            self.refuse::<P>(from, channel, RejectReason::Busy);
            return;
        };
        let (respond, answer) = Responder::new();
        room.send(P::inbound(from, request, respond));
        exchange(self).owe();
        self.shell.metrics.requests.inc();
        self.answers.push(
            async move {
                let answer = tokio::time::timeout(P::TIMEOUT, answer).await;
                drop(permit);
                let answered = P::answered(channel, answer.ok().and_then(Result::ok));
                Completion::Answered { from, answered }
            }
            .boxed(),
        );
    }

    /// Whether a peer may ask once more. Who asks too often is told so, and it is remembered.
    fn admit<P: Rpc>(
        &mut self,
        from: NodeId,
        sender: Sender,
        exchange: impl Fn(&mut Self) -> &mut Exchange<P>,
    ) -> Result<(), RejectReason> {
        let (now, is_member) = (self.now(), self.is_member(&from));
        let address = match sender {
            Sender::Member if !is_member => return Err(RejectReason::NotApproved),
            Sender::Anybody if !is_member => {
                self.swarm.behaviour_mut().door.asked(&to_peer_id(&from));
                self.peers.ip(&from)
            }
            Sender::Member | Sender::Anybody => None,
        };
        exchange(self).admit(now, from, address).map_err(|(reason, fault)| {
            if let Some(fault) = fault {
                self.fault(from, fault);
            }
            reason
        })
    }

    /// One answer less that the node owes.
    pub(super) const fn paid(&mut self, done: &Completion) {
        match done {
            Completion::Answered { answered: Answered::Hello(..), .. } => self.hello.paid(),
            Completion::Answered { answered: Answered::Enroll(..), .. } => self.enroll.paid(),
            Completion::Answered { answered: Answered::Heartbeat(..), .. } => self.heartbeat.paid(),
            Completion::Answered { answered: Answered::Lease(..), .. } => self.lease.paid(),
            Completion::Answered { answered: Answered::Result(..), .. } => self.result.paid(),
            Completion::Answered { answered: Answered::Client(..), .. } => self.client.paid(),
            Completion::Judged { .. } => self.unjudged = self.unjudged.saturating_sub(1),
            // Asked, not owed.
            Completion::Greeted { .. } => {}
        }
    }

    fn refuse<P: Rpc>(
        &mut self,
        from: NodeId,
        channel: ResponseChannel<P::Response>,
        reason: RejectReason,
    ) {
        tracing::debug!(%reason, "refused a request");
        self.shell.metrics.refused.inc();
        let answered = P::answered(channel, P::refusal(reason));
        self.complete(Completion::Answered { from, answered });
    }

    /// Sends what the node answered or judged. An answer that nobody waits for any more is dropped.
    pub(super) fn complete(&mut self, done: Completion) {
        let (fault, from) = match &done {
            Completion::Answered { from, answered } => (fault_behind(answered), Some(*from)),
            Completion::Judged { from, fault, .. } => (*fault, from_peer_id(from)),
            Completion::Greeted { .. } => (None, None),
        };
        self.say_what(done);
        if let (Some(fault), Some(from)) = (fault, from) {
            self.fault(from, fault);
        }
    }

    fn say_what(&mut self, done: Completion) {
        let done = match done {
            Completion::Greeted { node, answer } => return self.greeted(node, answer),
            other @ (Completion::Answered { .. } | Completion::Judged { .. }) => other,
        };
        let behaviour = self.swarm.behaviour_mut();
        let mesh = behaviour.mesh.inner_mut();
        match done {
            Completion::Greeted { .. } => {}
            Completion::Judged { id, from, verdict, .. } => {
                if let Some(mesh) = mesh {
                    mesh.gossip.report_message_validation_result(&id, &from, verdict);
                }
            }
            Completion::Answered { answered: Answered::Hello(channel, Some(answer)), .. } => {
                drop(behaviour.hello.send_response(channel, answer));
            }
            Completion::Answered { answered: Answered::Enroll(channel, Some(answer)), .. } => {
                drop(behaviour.enroll.send_response(channel, answer));
            }
            Completion::Answered { answered, .. } => {
                if let Some(mesh) = mesh {
                    answer_member(mesh, answered);
                }
            }
        }
    }

    fn on_gossip(&mut self, event: gossipsub::Event) {
        self.shell.libp2p.record(&event);
        let gossipsub::Event::Message { propagation_source: from, message_id: id, message } = event
        else {
            return;
        };
        if message.data.len() > GOSSIP_BYTES_MAX {
            let (verdict, fault) = (MessageAcceptance::Reject, Some(Fault::Oversized));
            self.complete(Completion::Judged { id, from, verdict, fault });
            return;
        }
        let author =
            message.source.as_ref().and_then(from_peer_id).filter(|author| self.is_member(author));
        let room =
            if self.unjudged < UNJUDGED_MAX { self.inbound.try_reserve().ok() } else { None };
        let (Some(author), Some(room)) = (author, room) else {
            self.shell.metrics.adverts_ignored.inc();
            let (verdict, fault) = (MessageAcceptance::Ignore, None);
            self.complete(Completion::Judged { id, from, verdict, fault });
            return;
        };
        let direct = from_peer_id(&from) == Some(author);
        let (judge, verdict) = Judge::new();
        room.send(Inbound::Advert { from: author, bytes: message.data, judge });
        self.unjudged = self.unjudged.saturating_add(1);
        self.answers.push(
            async move {
                let (verdict, fault) = match verdict.await {
                    Ok(AdvertVerdict::Accept) => (MessageAcceptance::Accept, None),
                    Ok(AdvertVerdict::Reject) => {
                        (MessageAcceptance::Reject, Some(Fault::BadSignature))
                    }
                    Ok(AdvertVerdict::TooOften) => {
                        (MessageAcceptance::Ignore, direct.then_some(Fault::Flooding))
                    }
                    Ok(AdvertVerdict::Ignore) | Err(_) => (MessageAcceptance::Ignore, None),
                };
                Completion::Judged { id, from, verdict, fault }
            }
            .boxed(),
        );
    }

    fn on_ping(&mut self, event: &ping::Event) {
        self.shell.libp2p.record(event);
        match (&event.result, from_peer_id(&event.peer)) {
            (Ok(rtt), Some(node)) => self.peers.pinged(&node, *rtt),
            // The first failure is silent, so this is the second in a row. A TCP connection whose address is gone says
            // nothing for a quarter of an hour, and as long as it stands nobody dials.
            (Err(ping::Failure::Timeout | ping::Failure::Other { .. }), Some(node)) => {
                tracing::info!(?node, "a connection on which nothing comes back is closed");
                let _gone = self.swarm.close_connection(event.connection);
            }
            (Err(ping::Failure::Unsupported), _) | (_, None) => {}
        }
    }

    fn on_identify(&mut self, event: identify::Event) {
        self.shell.libp2p.record(&event);
        let identify::Event::Received { peer_id, info, .. } = event else { return };
        let Some(node) = from_peer_id(&peer_id) else { return };
        if !names::is_ours(&info.protocol_version) {
            self.is_foreign(node);
            return;
        }
        let now = self.now();
        if !self.identified.take(now, node) {
            self.fault(node, Fault::Flooding);
            return;
        }
        let signed = info
            .signed_peer_record
            .and_then(|envelope| PeerRecord::from_signed_envelope(envelope).ok());
        let addresses = self.peers.identified(&node, info.agent_version, info.listen_addrs);
        if self.is_member(&node)
            && let Some(record) = signed.filter(|record| record.peer_id() == peer_id)
            && let Some(mesh) = self.swarm.behaviour_mut().mesh.inner_mut()
        {
            for address in addresses.iter().filter(|address| record.addresses().contains(address)) {
                mesh.kad.add_address(&peer_id, address.clone());
            }
        }
        self.add_addresses(node, addresses.into_iter());
    }

    fn on_kad(&mut self, event: kad::Event) {
        self.shell.libp2p.record(&event);
        if let kad::Event::InboundRequest { request } = &event {
            self.on_kad_request(request);
        }
        let kad::Event::OutboundQueryProgressed { id, result, step, .. } = event else { return };
        if let kad::QueryResult::GetClosestPeers(found) = result {
            let peers = match found {
                Ok(found) => found.peers,
                Err(kad::GetClosestPeersError::Timeout { peers, .. }) => peers,
            };
            for peer in peers {
                if let Some(node) = from_peer_id(&peer.peer_id).filter(|node| self.is_member(node))
                {
                    self.add_addresses(node, peer.addrs.into_iter());
                }
            }
        }
        if step.last {
            self.looked(id);
        }
    }

    /// Nobody keeps records or providers in this mesh (`docs/decisions/0008`), so nobody honest sends any: they are left
    /// lying, and it costs whoever sent them.
    fn on_kad_request(&mut self, request: &kad::InboundRequest) {
        let by = match request {
            kad::InboundRequest::PutRecord { source, .. } => Some(*source),
            kad::InboundRequest::AddProvider { record } => {
                // Kademlia itself has checked that the provider is who sent it.
                record.as_ref().map(|record| record.provider)
            }
            kad::InboundRequest::FindNode { .. }
            | kad::InboundRequest::GetProvider { .. }
            | kad::InboundRequest::GetRecord { .. } => None,
        };
        if let Some(node) = by.as_ref().and_then(from_peer_id) {
            self.fault(node, Fault::Violation);
        }
    }
}

/// What the asker did wrong, if the node's answer says so. Most refusals blame nobody: states change while a question is
/// on its way.
fn fault_behind(answered: &Answered) -> Option<Fault> {
    match answered.refused() {
        Some(RejectReason::BadSignature) => Some(Fault::BadSignature),
        Some(RejectReason::Malformed) => Some(Fault::Malformed),
        Some(RejectReason::TooLarge) => Some(Fault::Oversized),
        _ => None,
    }
}

fn answer_member(mesh: &mut MeshBehaviour, answered: Answered) {
    match answered {
        Answered::Heartbeat(channel, Some(answer)) => {
            drop(mesh.heartbeat.send_response(channel, answer))
        }
        Answered::Lease(channel, Some(answer)) => drop(mesh.lease.send_response(channel, answer)),
        Answered::Result(channel, Some(answer)) => drop(mesh.result.send_response(channel, answer)),
        Answered::Client(channel, Some(answer)) => drop(mesh.client.send_response(channel, answer)),
        // Dropping the channel closes the stream.
        Answered::Hello(..)
        | Answered::Enroll(..)
        | Answered::Heartbeat(_, None)
        | Answered::Lease(_, None)
        | Answered::Result(_, None)
        | Answered::Client(_, None) => {}
    }
}

//! What others send. Limits, quotas and membership are checked here; nothing unchecked gets further.

use libp2p::{core::PeerRecord, gossipsub, identify, kad, ping, request_response::ResponseChannel};
use protocol::{limits::GOSSIP_BYTES_MAX, names, net::from_peer_id, reject::RejectReason};

use super::{
    super::{
        AdvertVerdict, Judge, Responder,
        behaviour::{MeshBehaviour, MeshBehaviourEvent},
        exchange::{Heard, Rpc},
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
            BehaviourEvent::Limits(never) | BehaviourEvent::Memory(never) => match never {},
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

    /// Gives a request to the node, or refuses it.
    fn pass_on<P: Rpc>(
        &mut self,
        heard: Option<Heard<P>>,
        sender: Sender,
        exchange: impl Fn(&mut Self) -> &mut Exchange<P>,
    ) {
        let Some(Heard { from, request, channel }) = heard else { return };
        let now = self.now();
        let admitted = match sender {
            Sender::Member if !self.is_member(&from) => Err(RejectReason::NotApproved),
            Sender::Member | Sender::Anybody => exchange(self).admit(now, from),
        };
        if let Err(reason) = admitted {
            self.refuse::<P>(channel, reason);
            return;
        }
        let Ok(room) = self.inbound.try_reserve() else {
            self.refuse::<P>(channel, RejectReason::Busy);
            return;
        };
        let (respond, answer) = Responder::new();
        room.send(P::inbound(from, request, respond));
        exchange(self).owe();
        self.shell.metrics.requests.inc();
        self.answers.push(
            async move {
                let answer = tokio::time::timeout(P::TIMEOUT, answer).await;
                Completion::Answered(P::answered(channel, answer.ok().and_then(Result::ok)))
            }
            .boxed(),
        );
    }

    /// One answer less that the node owes.
    pub(super) const fn paid(&mut self, done: &Completion) {
        match done {
            Completion::Answered(Answered::Hello(..)) => self.hello.paid(),
            Completion::Answered(Answered::Enroll(..)) => self.enroll.paid(),
            Completion::Answered(Answered::Heartbeat(..)) => self.heartbeat.paid(),
            Completion::Answered(Answered::Lease(..)) => self.lease.paid(),
            Completion::Answered(Answered::Result(..)) => self.result.paid(),
            Completion::Answered(Answered::Client(..)) => self.client.paid(),
            Completion::Judged { .. } => self.unjudged = self.unjudged.saturating_sub(1),
            // Asked, not owed.
            Completion::Greeted { .. } => {}
        }
    }

    fn refuse<P: Rpc>(&mut self, channel: ResponseChannel<P::Response>, reason: RejectReason) {
        tracing::debug!(%reason, "refused a request");
        self.shell.metrics.refused.inc();
        self.complete(Completion::Answered(P::answered(channel, P::refusal(reason))));
    }

    /// Sends what the node answered or judged. An answer that nobody waits for any more is dropped.
    pub(super) fn complete(&mut self, done: Completion) {
        let done = match done {
            Completion::Greeted { node, answer } => return self.greeted(node, answer),
            other @ (Completion::Answered(_) | Completion::Judged { .. }) => other,
        };
        let behaviour = self.swarm.behaviour_mut();
        let mesh = behaviour.mesh.inner_mut();
        match done {
            Completion::Greeted { .. } => {}
            Completion::Judged { id, from, verdict } => {
                if let Some(mesh) = mesh {
                    mesh.gossip.report_message_validation_result(&id, &from, verdict);
                }
            }
            Completion::Answered(Answered::Hello(channel, Some(answer))) => {
                drop(behaviour.hello.send_response(channel, answer));
            }
            Completion::Answered(Answered::Enroll(channel, Some(answer))) => {
                drop(behaviour.enroll.send_response(channel, answer));
            }
            Completion::Answered(answered) => {
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
            self.complete(Completion::Judged { id, from, verdict: MessageAcceptance::Reject });
            return;
        }
        let author =
            message.source.as_ref().and_then(from_peer_id).filter(|author| self.is_member(author));
        let room =
            if self.unjudged < UNJUDGED_MAX { self.inbound.try_reserve().ok() } else { None };
        let (Some(author), Some(room)) = (author, room) else {
            self.shell.metrics.adverts_ignored.inc();
            self.complete(Completion::Judged { id, from, verdict: MessageAcceptance::Ignore });
            return;
        };
        let (judge, verdict) = Judge::new();
        room.send(Inbound::Advert { from: author, bytes: message.data, judge });
        self.unjudged = self.unjudged.saturating_add(1);
        self.answers.push(
            async move {
                let verdict = match verdict.await {
                    Ok(AdvertVerdict::Accept) => MessageAcceptance::Accept,
                    Ok(AdvertVerdict::Reject) => MessageAcceptance::Reject,
                    Ok(AdvertVerdict::Ignore) | Err(_) => MessageAcceptance::Ignore,
                };
                Completion::Judged { id, from, verdict }
            }
            .boxed(),
        );
    }

    fn on_ping(&mut self, event: &ping::Event) {
        self.shell.libp2p.record(event);
        if let (Ok(rtt), Some(node)) = (&event.result, from_peer_id(&event.peer)) {
            self.peers.pinged(&node, *rtt);
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

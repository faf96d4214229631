//! What others send. Limits, quotas and membership are checked here; nothing unchecked gets further.

use libp2p::{core::PeerRecord, gossipsub, identify, kad, ping, request_response::ResponseChannel};
use protocol::{limits::GOSSIP_BYTES_MAX, net::from_peer_id, reject::RejectReason};

use super::{
    super::{
        AdvertVerdict, Judge, Responder,
        behaviour::{MeshBehaviour, MeshBehaviourEvent},
        exchange::{Heard, Rpc},
        streams::Incoming,
    },
    *,
};

impl NetTask {
    pub(super) fn hear(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Limits(never) | BehaviourEvent::Memory(never) => match never {},
            BehaviourEvent::Identify(event) => self.on_identify(event),
            BehaviourEvent::Ping(event) => self.on_ping(&event),
            BehaviourEvent::Hello(event) => {
                if let Some(heard) = self.hello.hear(event) {
                    let may = self.hello.may_ask(self.now(), heard.from);
                    self.pass_on::<HelloRpc>(heard, may);
                }
            }
            BehaviourEvent::Enroll(event) => {
                if let Some(heard) = self.enroll.hear(event) {
                    let may = self.enroll.may_ask(self.now(), heard.from);
                    self.pass_on::<EnrollRpc>(heard, may);
                }
            }
            BehaviourEvent::Mesh(event) => self.hear_member(event),
        }
    }

    fn hear_member(&mut self, event: MeshBehaviourEvent) {
        let now = self.now();
        match event {
            MeshBehaviourEvent::Kad(event) => self.on_kad(event),
            MeshBehaviourEvent::Gossip(event) => self.on_gossip(event),
            MeshBehaviourEvent::Blobs(Incoming { from, stream }) => {
                if let Some(from) = from_peer_id(&from).filter(|from| self.is_member(from)) {
                    // A stream that does not fit is dropped: the requester sees it close and asks again.
                    drop(self.inbound.try_send(Inbound::BlobStream { from, stream }));
                }
            }
            MeshBehaviourEvent::Heartbeat(event) => {
                if let Some(heard) = self.heartbeat.hear(event) {
                    let may =
                        self.is_member(&heard.from) && self.heartbeat.may_ask(now, heard.from);
                    self.pass_on::<HeartbeatRpc>(heard, may);
                }
            }
            MeshBehaviourEvent::Lease(event) => {
                if let Some(heard) = self.lease.hear(event) {
                    let may = self.is_member(&heard.from) && self.lease.may_ask(now, heard.from);
                    self.pass_on::<LeaseRpc>(heard, may);
                }
            }
            MeshBehaviourEvent::Result(event) => {
                if let Some(heard) = self.result.hear(event) {
                    let may = self.is_member(&heard.from) && self.result.may_ask(now, heard.from);
                    self.pass_on::<ResultRpc>(heard, may);
                }
            }
            MeshBehaviourEvent::Client(event) => {
                if let Some(heard) = self.client.hear(event) {
                    let may = self.is_member(&heard.from) && self.client.may_ask(now, heard.from);
                    self.pass_on::<ClientRpc>(heard, may);
                }
            }
        }
    }

    /// Gives a request to the node, or refuses it.
    fn pass_on<P: Rpc>(&mut self, heard: Heard<P>, may_ask: bool) {
        let Heard { from, request, channel } = heard;
        if !may_ask {
            self.refuse::<P>(channel, RejectReason::RateLimited);
        } else if self.answers.len() >= UNANSWERED_MAX {
            self.refuse::<P>(channel, RejectReason::Busy);
        } else if let Ok(room) = self.inbound.try_reserve() {
            let (respond, answer) = Responder::new();
            room.send(P::inbound(from, request, respond));
            self.answers.push(
                async move {
                    let answer = tokio::time::timeout(P::TIMEOUT, answer).await;
                    Completion::Answered(P::answered(channel, answer.ok().and_then(Result::ok)))
                }
                .boxed(),
            );
        } else {
            self.refuse::<P>(channel, RejectReason::Busy);
        }
    }

    fn refuse<P: Rpc>(&mut self, channel: ResponseChannel<P::Response>, reason: RejectReason) {
        tracing::debug!(%reason, "refused a request");
        self.complete(Completion::Answered(P::answered(channel, P::refusal(reason))));
    }

    /// Sends what the node answered or judged. An answer that nobody waits for any more is dropped.
    pub(super) fn complete(&mut self, done: Completion) {
        let behaviour = self.swarm.behaviour_mut();
        let mesh = behaviour.mesh.inner_mut();
        match done {
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
        let room = if self.answers.len() < UNANSWERED_MAX {
            self.inbound.try_reserve().ok()
        } else {
            None
        };
        let (Some(author), Some(room)) = (author, room) else {
            self.complete(Completion::Judged { id, from, verdict: MessageAcceptance::Ignore });
            return;
        };
        let (judge, verdict) = Judge::new();
        room.send(Inbound::Advert { from: author, bytes: message.data, judge });
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
        if let (Ok(rtt), Some(node)) = (&event.result, from_peer_id(&event.peer)) {
            self.peers.pinged(&node, *rtt);
        }
    }

    fn on_identify(&mut self, event: identify::Event) {
        self.shell.metrics.record(&event);
        let identify::Event::Received { peer_id, info, .. } = event else { return };
        let Some(node) = from_peer_id(&peer_id) else { return };
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
        self.shell.metrics.record(&event);
        let kad::Event::OutboundQueryProgressed {
            result: kad::QueryResult::GetClosestPeers(Ok(found)),
            ..
        } = event
        else {
            return;
        };
        for peer in found.peers {
            if let Some(node) = from_peer_id(&peer.peer_id).filter(|node| self.is_member(node)) {
                self.add_addresses(node, peer.addrs.into_iter());
            }
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

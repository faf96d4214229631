//! What others want from this node, brought to the role that answers.

use std::{collections::BTreeMap, sync::Arc};

use protocol::{
    codec::decode,
    ids::NodeId,
    machine::Machine as _,
    reject::RejectReason,
    sign::Signed,
    time::Clock as _,
    wire::{
        advert::Advert,
        client::ClientResponse,
        enroll::{EnrollResponse, HelloResponse},
        heartbeat::HeartbeatResponse,
        lease::LeaseResponse,
        receipt::ResultResponse,
    },
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::seek::Met;
use crate::{
    api::{Member, Standing},
    blobs::BlobStore,
    core::{
        adverts::{self, Adverts, Ignored},
        reputation::Fault,
    },
    net::{AdvertVerdict, BlobStream, Inbound, ServeError, serve, serve_group},
    roles::clock::NodeClock,
};

/// Blob streams that are served at a time; a stream beyond them is dropped, and its requester asks again.
const SERVED_MAX: usize = 128;
/// Of those, of one peer: what a worker fetches for all its slots at once, twice.
const SERVED_PER_PEER_MAX: usize = 16;

/// Takes what comes from the network until it ends or the node stops.
pub(super) struct Router {
    pub(super) standing: watch::Receiver<Standing>,
    pub(super) blobs: BlobStore,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
    pub(super) clock: NodeClock,
    pub(super) adverts: Adverts,
    /// Who looks for a mesh to join.
    pub(super) met: mpsc::Sender<Met>,
    pub(super) serving: Serving,
    /// The same, of other coordinators.
    pub(super) group: Serving,
}

/// Streams of other coordinators that are served at a time, of one node: one for each kind of message, and those that the
/// other end has given up and that are not closed yet.
const GROUP_PER_PEER_MAX: usize = 8;

/// Blob streams that are being served.
#[derive(Debug, Default)]
pub(super) struct Serving(BTreeMap<NodeId, Arc<Semaphore>>);

impl Serving {
    /// A place for one more stream of a peer, as long as what is returned is kept.
    fn begin(&mut self, from: NodeId, of_peer_max: usize) -> Option<OwnedSemaphorePermit> {
        self.0.retain(|_, places| places.available_permits() < of_peer_max);
        let free = |places: &Arc<Semaphore>| places.available_permits();
        let taken = |places| of_peer_max.saturating_sub(free(places));
        if self.0.values().map(taken).fold(0, usize::saturating_add) >= SERVED_MAX {
            return None;
        }
        let places = self.0.entry(from);
        let places = places.or_insert_with(|| Arc::new(Semaphore::new(of_peer_max)));
        places.clone().try_acquire_owned().ok()
    }
}

impl Router {
    pub(super) async fn run(mut self, mut inbound: mpsc::Receiver<Inbound>) {
        loop {
            let next = tokio::select! {
                biased;
                () = self.stop.cancelled() => None,
                next = inbound.recv() => next,
            };
            let Some(next) = next else { return };
            let member = match &*self.standing.borrow() {
                Standing::Member(member) => Some((**member).clone()),
                Standing::Starting | Standing::Waiting | Standing::Refused(_) => None,
            };
            match next {
                Inbound::GroupStream { from, stream, .. } => self.group(member, from, stream),
                Inbound::Advert { from, bytes, judge } => {
                    let (verdict, news) = self.judge(member.as_ref(), from, &bytes);
                    judge.say(verdict);
                    if let (Some(member), Some(advert)) = (member, news)
                        && let Some(here) = member.leader.here()
                    {
                        here.advert(advert).await;
                    }
                }
                Inbound::Met { node, address, hello } => {
                    // Met again later: whom the queue has no room for is not lost for good.
                    let _full = self.met.try_send(Met { node, address, hello });
                }
                Inbound::PeerConnected(node) => connection(member, node, true).await,
                Inbound::PeerDisconnected(node) => connection(member, node, false).await,
                Inbound::BlobStream { from, stream } => {
                    if let Some(place) = self.serving.begin(from, SERVED_PER_PEER_MAX) {
                        let (blobs, stop) = (self.blobs.clone(), self.stop.clone());
                        let serving = serve_blobs(member, blobs, from, stream);
                        self.tasks.spawn(async move {
                            let _place = place;
                            let _stopped = stop.run_until_cancelled_owned(serving).await;
                        });
                    }
                }
                next @ (Inbound::Hello { .. }
                | Inbound::Enroll { .. }
                | Inbound::Heartbeat { .. }
                | Inbound::Lease { .. }
                | Inbound::Result { .. }
                | Inbound::Client { .. }) => {
                    let stop = self.stop.clone();
                    self.tasks.spawn(async move {
                        let answering = Box::pin(answer(member, next));
                        let _stopped = stop.run_until_cancelled_owned(answering).await;
                    });
                }
            }
        }
    }

    /// Another node speaks of the log: every message is looked at by whoever keeps it.
    fn group(&mut self, member: Option<Member>, from: NodeId, stream: libp2p::Stream) {
        let Some(member) = member else { return };
        let Some(here) = member.leader.here() else { return };
        let Some(place) = self.group.begin(from, GROUP_PER_PEER_MAX) else { return };
        let stop = member.context.stop;
        let serving = async move {
            let answer = |message: Vec<u8>| {
                let here = here.clone();
                async move { here.receive(from, &message).await }
            };
            if let Err(error) = serve_group(stream, answer).await {
                tracing::debug!(peer = %from, %error, "a stream of the group ended");
            }
        };
        self.tasks.spawn(async move {
            let _place = place;
            let _stopped = stop.run_until_cancelled_owned(serving).await;
        });
    }

    /// Cheap checks first, the signature after them (37 µs, here and not beside: one node has at most one looked at in 5 s,
    /// see docs/decisions/0014); only what the forwarder could have seen is blamed on it. Its size, and that its author is a
    /// member, were checked before it came here.
    fn judge(
        &mut self,
        member: Option<&Member>,
        from: NodeId,
        bytes: &[u8],
    ) -> (AdvertVerdict, Option<Advert>) {
        let Some(member) = member else { return (AdvertVerdict::Ignore, None) };
        let Ok(signed) = decode::<Signed<Advert>>(bytes) else {
            return (AdvertVerdict::Reject, None);
        };
        let Ok(claim) = signed.peek() else { return (AdvertVerdict::Reject, None) };
        if claim.node != from || *signed.claimed_signer() != from.0 {
            return (AdvertVerdict::Reject, None);
        }
        let (now, wall) = (self.clock.now(), NodeClock::wall());
        match self.adverts.glance(now, &claim, wall) {
            Ok(()) => {}
            Err(Ignored::TooOften) => return (AdvertVerdict::TooOften, None),
            Err(Ignored::Old | Ignored::Clock | Ignored::Implausible | Ignored::Full) => {
                return (AdvertVerdict::Ignore, None);
            }
        }
        let Ok(advert) = signed.verify(&member.context.mesh) else {
            return (AdvertVerdict::Reject, None);
        };
        let advert = advert.into_claim();
        let heard = adverts::Input::Heard(Box::new(advert.clone()), wall);
        let out = self.adverts.handle(now, heard);
        let news =
            out.iter().any(|output| matches!(output, adverts::Output::News(node) if *node == from));
        if news { (AdvertVerdict::Accept, Some(advert)) } else { (AdvertVerdict::Ignore, None) }
    }
}

async fn connection(member: Option<Member>, node: NodeId, connected: bool) {
    if connected
        && let Some(member) = &member
        && member.leader.here().is_none()
        && let Some(worker) = &member.worker
    {
        let peers = member.context.net.peers().await;
        if peers.iter().any(|peer| peer.node == node && !peer.member) {
            worker.stranger();
        }
    }
    if let Some(here) = member.as_ref().and_then(|member| member.leader.here()) {
        here.connection(node, connected).await;
    }
}

/// Sends content to a member; what is wrong with its request is remembered.
async fn serve_blobs(member: Option<Member>, blobs: BlobStore, from: NodeId, stream: BlobStream) {
    let Err(error) = serve(stream, &blobs).await else { return };
    tracing::debug!(peer = %from, %error, "content was not sent to the end");
    let fault = match &error {
        ServeError::Request(_) => Some(Fault::Malformed),
        ServeError::TooLong => Some(Fault::Oversized),
        ServeError::Stalled => Some(Fault::Stalled),
        ServeError::Stream(_) | ServeError::Source(_) => None,
    };
    if let (Some(member), Some(fault)) = (member, fault) {
        member.context.net.report(from, fault);
    }
}

async fn answer(member: Option<Member>, inbound: Inbound) {
    let here = member.as_ref().and_then(|member| member.leader.here());
    match inbound {
        Inbound::Hello { respond, .. } => {
            let mesh = member.as_ref().and_then(Member::hello);
            respond.respond(HelloResponse { version: protocol::wire::VERSION, mesh });
        }
        Inbound::Enroll { from, request, respond } => respond.respond(match (here, &member) {
            (Some(here), _) => here.enroll(from, request).await,
            (None, Some(member)) => elsewhere(member).await,
            (None, None) => EnrollResponse::Refused(RejectReason::NotLeader),
        }),
        Inbound::Heartbeat { from, request, respond } => respond.respond(match here {
            Some(here) => here.heartbeat(from, request).await,
            None => HeartbeatResponse::Refused(RejectReason::NotLeader),
        }),
        Inbound::Result { from, request, respond } => respond.respond(match here {
            Some(here) => here.result(from, request).await,
            None => ResultResponse::Retry(RejectReason::NotLeader),
        }),
        Inbound::Client { from, request, respond } => respond.respond(match here {
            Some(here) => here.client(from, request).await,
            None => {
                ClientResponse::rejected(RejectReason::NotLeader, "this node does not coordinate")
            }
        }),
        Inbound::Lease { from, request, respond } => {
            respond.respond(match member.as_ref().and_then(|member| member.worker.as_ref()) {
                Some(worker) => worker.lease(from, request).await,
                None => LeaseResponse::Refused(RejectReason::NoFreeSlot),
            });
        }
        Inbound::BlobStream { .. }
        | Inbound::GroupStream { .. }
        | Inbound::Advert { .. }
        | Inbound::Met { .. }
        | Inbound::PeerConnected(_)
        | Inbound::PeerDisconnected(_) => {}
    }
}

/// Where to ask instead.
async fn elsewhere(member: &Member) -> EnrollResponse {
    let leader = *member.leader.watch().borrow();
    let peers = member.context.net.peers().await;
    let leader = peers.iter().find(|peer| Some(peer.node) == leader);
    EnrollResponse::Elsewhere(leader.map(crate::net::PeerInfo::node_address).into_iter().collect())
}

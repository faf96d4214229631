//! Requests and answers of the six request-response protocols: limits, quotas and who waits for what.

use core::net::IpAddr;
use std::{collections::BTreeMap, time::Duration};

use libp2p::{
    StreamProtocol,
    request_response::{
        self, Config, Event, Message, OutboundFailure, OutboundRequestId, ProtocolSupport,
        ResponseChannel,
    },
};
use protocol::{
    codec::{Canonical, try_encode},
    ids::NodeId,
    net::{Asked, Budget, Codec, Flaw, Permit, from_peer_id, to_peer_id},
    reject::RejectReason,
    time::Timestamp,
    wire::{
        client::{ClientRequest, ClientResponse},
        enroll::{EnrollRequest, EnrollResponse, HelloRequest, HelloResponse},
        heartbeat::{Heartbeat, HeartbeatResponse},
        lease::{LeaseRequest, LeaseResponse},
        receipt::{ResultRequest, ResultResponse},
    },
};
use tokio::sync::oneshot;

use super::{Inbound, Responder, RpcError, handle::Call};
use crate::core::{
    quota::{Quotas, Rate},
    reputation::{Fault, is_near, source},
};

/// Requests of one kind that wait for their answers, to all peers.
const WAITING_MAX: usize = 512;
/// Peers, and addresses, whose quotas of one kind are kept.
const QUOTA_PEERS_MAX: usize = 4_096;

/// One of the six protocols.
pub(super) trait Rpc: Sized + 'static {
    /// What is asked.
    type Request: Canonical + Send + 'static;
    /// What is answered.
    type Response: Canonical + Send + 'static;
    /// How long an answer may take, from the command to the answer.
    const TIMEOUT: Duration;
    /// Requests that may be under way to one peer, and from one peer.
    const STREAMS: usize;
    /// Requests that the node may owe an answer, to all peers; more are refused. Each protocol has its own, so that
    /// slow questions cannot take the place of heartbeats. All together: [`HANDLERS_MAX`].
    const OWED_MAX: usize;
    /// How often one peer may ask.
    const RATE: Rate;
    /// How often all peers at one address may ask, if they are strangers: where the whole internet sees the address
    /// as one place, and where several machines may share it.
    const RATE_OF_ADDRESS: Option<(Rate, Rate)>;
    /// What the node is given.
    fn inbound(from: NodeId, request: Self::Request, respond: Responder<Self::Response>)
    -> Inbound;
    /// What goes back to the loop when the node has answered, or did not.
    fn answered(
        channel: ResponseChannel<Self::Response>,
        answer: Option<Self::Response>,
    ) -> Answered;
    /// How this protocol says no; nothing if it cannot.
    fn refusal(reason: RejectReason) -> Option<Self::Response>;

    /// The behaviour that speaks it.
    fn behaviour(name: StreamProtocol, budget: &Budget) -> RpcBehaviour<Self> {
        // The crate counts both directions of a connection together.
        let streams = Self::STREAMS.saturating_mul(2);
        let config = Config::default()
            .with_request_timeout(Self::TIMEOUT)
            .with_max_concurrent_streams(streams);
        let codec = Codec::within(budget.clone());
        RpcBehaviour::<Self>::with_codec(codec, [(name, ProtocolSupport::Full)], config)
    }
}

/// The behaviour of a protocol.
pub(super) type RpcBehaviour<P> =
    request_response::Behaviour<Codec<<P as Rpc>::Request, <P as Rpc>::Response>>;

/// An answer on its way out. Without one, the stream is closed.
#[derive(Debug)]
pub(super) enum Answered {
    Hello(ResponseChannel<HelloResponse>, Option<HelloResponse>),
    Enroll(ResponseChannel<EnrollResponse>, Option<EnrollResponse>),
    Heartbeat(ResponseChannel<HeartbeatResponse>, Option<HeartbeatResponse>),
    Lease(ResponseChannel<LeaseResponse>, Option<LeaseResponse>),
    Result(ResponseChannel<ResultResponse>, Option<ResultResponse>),
    Client(ResponseChannel<ClientResponse>, Option<ClientResponse>),
}

impl Answered {
    /// Why the node said no, if it did: also a way to learn what the asker did wrong.
    pub(super) fn refused(&self) -> Option<RejectReason> {
        match self {
            Self::Enroll(_, Some(EnrollResponse::Refused(reason)))
            | Self::Heartbeat(_, Some(HeartbeatResponse::Refused(reason)))
            | Self::Lease(_, Some(LeaseResponse::Refused(reason)))
            | Self::Result(
                _,
                Some(ResultResponse::Retry(reason) | ResultResponse::Refused(reason)),
            )
            | Self::Client(_, Some(ClientResponse::Rejected { reason, .. })) => Some(*reason),
            Self::Hello(..)
            | Self::Enroll(..)
            | Self::Heartbeat(..)
            | Self::Lease(..)
            | Self::Result(..)
            | Self::Client(..) => None,
        }
    }
}

macro_rules! rpc {
    ($(#[$doc:meta])* $name:ident = $kind:ident: $request:ty => $response:ty, $timeout:literal s, $streams:literal streams,
     $owed:literal owed, $rate:expr, $of_address:expr, $refusal:expr) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub(super) struct $name;

        impl Rpc for $name {
            type Request = $request;
            type Response = $response;
            const TIMEOUT: Duration = Duration::from_secs($timeout);
            const STREAMS: usize = $streams;
            const OWED_MAX: usize = $owed;

            const RATE: Rate = $rate;
            const RATE_OF_ADDRESS: Option<(Rate, Rate)> = $of_address;

            fn inbound(from: NodeId, request: $request, respond: Responder<$response>) -> Inbound {
                Inbound::$kind { from, request, respond }
            }

            fn answered(channel: ResponseChannel<$response>, answer: Option<$response>) -> Answered {
                Answered::$kind(channel, answer)
            }

            fn refusal(reason: RejectReason) -> Option<$response> {
                let refusal: fn(RejectReason) -> Option<$response> = $refusal;
                refusal(reason)
            }
        }
    };
}

/// Requests that the node may owe an answer, of all protocols together.
pub(super) const HANDLERS_MAX: usize = HelloRpc::OWED_MAX
    + EnrollRpc::OWED_MAX
    + HeartbeatRpc::OWED_MAX
    + LeaseRpc::OWED_MAX
    + ResultRpc::OWED_MAX
    + ClientRpc::OWED_MAX;

const _: () = assert!(HANDLERS_MAX <= 256, "more would be at work at a time than is planned for");

/// What members may send of their own: 500 messages in 10 s.
const MEMBER: Rate = Rate { burst: 500, every: Duration::from_millis(20) };
/// What members may ask on behalf of their users, who start jobs in loops: a job takes about six questions. A member
/// spaces its questions out itself.
pub(super) const CLIENT: Rate = Rate { burst: 1_000, every: Duration::from_millis(2) };
/// Workers beat every 5 s; a leader change, or work that changes hands, adds some.
const BEAT: Rate = Rate { burst: 20, every: Duration::from_millis(250) };
/// What strangers may ask. Who waits for approval asks once a second, at each address that it knows, so that it is at
/// work within seconds of being approved: `docs/decisions/0014-what-strangers-cost.md`.
const STRANGER: Rate = Rate { burst: 20, every: Duration::from_millis(500) };
/// What all strangers at one address may ask: an address of the internet, and one that machines share.
const STRANGERS: Option<(Rate, Rate)> = Some((
    Rate { burst: 80, every: Duration::from_millis(250) },
    Rate { burst: 512, every: Duration::from_millis(20) },
));

rpc!(
    /// Which mesh is this?
    HelloRpc = Hello: HelloRequest => HelloResponse, 5 s, 2 streams, 8 owed, STRANGER, STRANGERS, |_| None
);
rpc!(
    /// May I join?
    EnrollRpc = Enroll: EnrollRequest => EnrollResponse, 10 s, 1 streams, 8 owed, STRANGER, STRANGERS,
    |reason| Some(EnrollResponse::Refused(reason))
);
rpc!(
    /// I am alive.
    HeartbeatRpc = Heartbeat: Heartbeat => HeartbeatResponse, 5 s, 2 streams, 32 owed, BEAT, None,
    |reason| Some(HeartbeatResponse::Refused(reason))
);
rpc!(
    /// Take these tasks.
    LeaseRpc = Lease: LeaseRequest => LeaseResponse, 10 s, 8 streams, 16 owed, MEMBER, None,
    |reason| Some(LeaseResponse::Refused(reason))
);
rpc!(
    /// Here are results.
    ResultRpc = Result: ResultRequest => ResultResponse, 30 s, 8 streams, 40 owed, MEMBER, None,
    |reason| Some(ResultResponse::Retry(reason))
);
rpc!(
    /// Change this, tell me that.
    ClientRpc = Client: ClientRequest => ClientResponse, 30 s, 16 streams, 152 owed, CLIENT, None,
    |reason| Some(ClientResponse::rejected(reason, "the node is busy; try again"))
);

/// What came in.
pub(super) enum Heard<P: Rpc> {
    /// A request.
    Request {
        from: NodeId,
        request: P::Request,
        /// The memory that it holds.
        permit: Permit,
        channel: ResponseChannel<P::Response>,
    },
    /// A request that there was no room to read.
    Unread { from: NodeId, channel: ResponseChannel<P::Response> },
    /// Something that an honest peer does not send.
    Fault(NodeId, Fault),
    /// Nothing that concerns anybody else.
    Nothing,
}

/// Where an answer goes, and until when.
struct Waiting<A> {
    to: NodeId,
    until: Timestamp,
    reply: oneshot::Sender<Result<A, RpcError>>,
}

/// The bookkeeping of one protocol.
pub(super) struct Exchange<P: Rpc> {
    waiting: BTreeMap<OutboundRequestId, Waiting<P::Response>>,
    quotas: Quotas,
    /// Of strangers at addresses far and near.
    of_addresses: Option<(Quotas<IpAddr>, Quotas<IpAddr>)>,
    /// Answers that the node owes. At most [`Rpc::OWED_MAX`].
    owed: usize,
}

impl<P: Rpc> Exchange<P> {
    pub(super) fn new() -> Self {
        let quotas = |rate| Quotas::new(rate, QUOTA_PEERS_MAX);
        Self {
            waiting: BTreeMap::new(),
            quotas: Quotas::new(P::RATE, QUOTA_PEERS_MAX),
            of_addresses: P::RATE_OF_ADDRESS.map(|(far, near)| (quotas(far), quotas(near))),
            owed: 0,
        }
    }

    /// Sends a request with the behaviour, or says at once why not.
    pub(super) fn ask(
        &mut self,
        now: Timestamp,
        rpc: Result<&mut RpcBehaviour<P>, RpcError>,
        call: Call<P::Request, P::Response>,
    ) {
        let Call { to, request, reply } = call;
        match rpc.and_then(|rpc| self.room(to, &request).map(|()| rpc)) {
            Err(error) => drop(reply.send(Err(error))),
            Ok(_rpc) if reply.is_closed() => {}
            Ok(rpc) => {
                let id = rpc.send_request(&to_peer_id(&to), request.into());
                self.waiting
                    .insert(id, Waiting { to, until: now.saturating_add(P::TIMEOUT), reply });
            }
        }
    }

    /// Whether one more request fits, here and into its message.
    fn room(&self, to: NodeId, request: &P::Request) -> Result<(), RpcError> {
        let to_peer = self.waiting.values().filter(|waiting| waiting.to == to).count();
        if self.waiting.len() >= WAITING_MAX || to_peer >= P::STREAMS {
            return Err(RpcError::Busy);
        }
        try_encode(request).map(drop).map_err(|_| RpcError::Malformed)
    }

    /// Gives up on answers whose time is over.
    pub(super) fn expire(&mut self, now: Timestamp) {
        for (_, waiting) in self.waiting.extract_if(.., |_, waiting| waiting.until <= now) {
            drop(waiting.reply.send(Err(RpcError::Timeout)));
        }
    }

    /// Gives up on all answers: the behaviour that asked is gone.
    pub(super) fn give_up(&mut self) {
        for waiting in std::mem::take(&mut self.waiting).into_values() {
            drop(waiting.reply.send(Err(RpcError::Closed)));
        }
    }

    /// Hands answers to whoever waits; returns what came in.
    pub(super) fn hear(&mut self, event: Event<Asked<P::Request>, P::Response>) -> Heard<P> {
        match event {
            Event::Message { peer, message: Message::Request { request, channel, .. }, .. } => {
                match (from_peer_id(&peer), request) {
                    (Some(from), Asked::Request(request, permit)) => {
                        Heard::Request { from, request, permit, channel }
                    }
                    (Some(from), Asked::NoRoom) => Heard::Unread { from, channel },
                    (Some(from), Asked::Flawed(flaw)) => Heard::Fault(from, fault(flaw)),
                    (None, _) => Heard::Nothing,
                }
            }
            Event::Message { message: Message::Response { request_id, response }, .. } => {
                self.answer(request_id, Ok(response));
                Heard::Nothing
            }
            Event::OutboundFailure { peer, request_id, error, .. } => {
                self.answer(request_id, Err(failure(&error)));
                match (&error, from_peer_id(&peer)) {
                    (OutboundFailure::Io(error), Some(from)) => Flaw::of(error)
                        .map_or(Heard::Nothing, |flaw| Heard::Fault(from, fault(flaw))),
                    _ => Heard::Nothing,
                }
            }
            Event::InboundFailure { peer, error, .. } => {
                tracing::debug!(%peer, %error, "a request was not answered");
                Heard::Nothing
            }
            Event::ResponseSent { .. } => Heard::Nothing,
        }
    }

    /// Whether a peer may ask once more; or why not, and whether that is its own fault. `address` is given of strangers.
    pub(super) fn admit(
        &mut self,
        now: Timestamp,
        from: NodeId,
        address: Option<IpAddr>,
    ) -> Result<(), (RejectReason, Option<Fault>)> {
        // Whoever is over its quota is so also while the node is busy: a flood must not hide behind itself.
        if !self.quotas.take(now, from) {
            return Err((RejectReason::RateLimited, Some(Fault::Flooding)));
        }
        if let (Some(address), Some((far, near))) = (address, &mut self.of_addresses) {
            let quotas = if is_near(address) { near } else { far };
            if !quotas.take(now, source(address)) {
                return Err((RejectReason::RateLimited, None));
            }
        }
        if self.owed >= P::OWED_MAX { Err((RejectReason::Busy, None)) } else { Ok(()) }
    }

    /// The node was given a request.
    pub(super) const fn owe(&mut self) {
        self.owed = self.owed.saturating_add(1);
    }

    /// The node answered one, or did not in time.
    pub(super) const fn paid(&mut self) {
        self.owed = self.owed.saturating_sub(1);
    }

    fn answer(&mut self, id: OutboundRequestId, answer: Result<P::Response, RpcError>) {
        if let Some(waiting) = self.waiting.remove(&id) {
            drop(waiting.reply.send(answer));
        }
    }
}

fn failure(error: &OutboundFailure) -> RpcError {
    match error {
        OutboundFailure::DialFailure => RpcError::Unreachable,
        OutboundFailure::Timeout => RpcError::Timeout,
        OutboundFailure::ConnectionClosed => RpcError::Closed,
        OutboundFailure::UnsupportedProtocols => RpcError::Unsupported,
        OutboundFailure::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            RpcError::Malformed
        }
        OutboundFailure::Io(_) => RpcError::Closed,
    }
}

/// What a peer did wrong that sends such a message.
const fn fault(flaw: Flaw) -> Fault {
    match flaw {
        Flaw::TooLong => Fault::Oversized,
        Flaw::Malformed => Fault::Malformed,
        Flaw::Stalled => Fault::Stalled,
    }
}

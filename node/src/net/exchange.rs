//! Requests and answers of the six request-response protocols: limits, quotas and who waits for what.

use std::{collections::BTreeMap, time::Duration};

use libp2p::{
    PeerId, StreamProtocol,
    request_response::{
        self, Config, Event, InboundFailure, Message, OutboundFailure, OutboundRequestId,
        ProtocolSupport, ResponseChannel,
    },
};
use protocol::{
    codec::{Canonical, try_encode},
    ids::NodeId,
    net::{Codec, from_peer_id, to_peer_id},
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

use super::{
    Inbound, Responder, RpcError,
    handle::Call,
    quota::{Quotas, Rate},
};

/// Requests of one kind that wait for their answers, to all peers.
const WAITING_MAX: usize = 512;
/// Peers whose quotas of one kind are kept.
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
    /// slow questions cannot take the place of heartbeats.
    const OWED_MAX: usize;
    /// How often one peer may ask.
    fn rate(stranger_per_second: u32) -> Rate;
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
    fn behaviour(name: StreamProtocol) -> RpcBehaviour<Self> {
        // The crate counts both directions of a connection together.
        let streams = Self::STREAMS.saturating_mul(2);
        let config = Config::default()
            .with_request_timeout(Self::TIMEOUT)
            .with_max_concurrent_streams(streams);
        RpcBehaviour::<Self>::new([(name, ProtocolSupport::Full)], config)
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

macro_rules! rpc {
    ($(#[$doc:meta])* $name:ident = $kind:ident: $request:ty => $response:ty, $timeout:literal s, $streams:literal streams,
     $owed:literal owed, $rate:expr, $refusal:expr) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub(super) struct $name;

        impl Rpc for $name {
            type Request = $request;
            type Response = $response;
            const TIMEOUT: Duration = Duration::from_secs($timeout);
            const STREAMS: usize = $streams;
            const OWED_MAX: usize = $owed;

            fn rate(stranger_per_second: u32) -> Rate {
                let rate: fn(u32) -> Rate = $rate;
                rate(stranger_per_second)
            }

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

/// What members may send of their own: 500 messages in 10 s.
fn member_rate(_stranger_per_second: u32) -> Rate {
    Rate::per(500, Duration::from_secs(10))
}

/// What strangers may send.
fn stranger_rate(stranger_per_second: u32) -> Rate {
    Rate::per(stranger_per_second, Duration::from_secs(1))
}

rpc!(
    /// Which mesh is this?
    HelloRpc = Hello: HelloRequest => HelloResponse, 5 s, 2 streams, 32 owed, stranger_rate, |_| None
);
rpc!(
    /// May I join?
    EnrollRpc = Enroll: EnrollRequest => EnrollResponse, 10 s, 2 streams, 32 owed, stranger_rate,
    |reason| Some(EnrollResponse::Refused(reason))
);
rpc!(
    /// I am alive.
    HeartbeatRpc = Heartbeat: Heartbeat => HeartbeatResponse, 5 s, 2 streams, 256 owed,
    |_| Rate::per(20, Duration::from_secs(5)), |reason| Some(HeartbeatResponse::Refused(reason))
);
rpc!(
    /// Take these tasks.
    LeaseRpc = Lease: LeaseRequest => LeaseResponse, 10 s, 8 streams, 64 owed, member_rate,
    |reason| Some(LeaseResponse::Refused(reason))
);
rpc!(
    /// Here are results.
    ResultRpc = Result: ResultRequest => ResultResponse, 30 s, 8 streams, 64 owed, member_rate,
    |reason| Some(ResultResponse::Retry(reason))
);
rpc!(
    /// Change this, tell me that.
    ClientRpc = Client: ClientRequest => ClientResponse, 30 s, 16 streams, 256 owed, member_rate,
    |reason| Some(ClientResponse::rejected(reason, "the node is busy; try again"))
);

/// A request that came in.
pub(super) struct Heard<P: Rpc> {
    pub(super) from: NodeId,
    pub(super) request: P::Request,
    pub(super) channel: ResponseChannel<P::Response>,
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
    /// Answers that the node owes. At most [`Rpc::OWED_MAX`].
    owed: usize,
}

impl<P: Rpc> Exchange<P> {
    pub(super) fn new(stranger_per_second: u32) -> Self {
        Self {
            waiting: BTreeMap::new(),
            quotas: Quotas::new(P::rate(stranger_per_second), QUOTA_PEERS_MAX),
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
                let id = rpc.send_request(&to_peer_id(&to), request);
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

    /// Hands answers to whoever waits; returns a request that came in.
    pub(super) fn hear(&mut self, event: Event<P::Request, P::Response>) -> Option<Heard<P>> {
        match event {
            Event::Message { peer, message: Message::Request { request, channel, .. }, .. } => {
                from_peer_id(&peer).map(|from| Heard { from, request, channel })
            }
            Event::Message { message: Message::Response { request_id, response }, .. } => {
                self.answer(request_id, Ok(response));
                None
            }
            Event::OutboundFailure { request_id, error, .. } => {
                self.answer(request_id, Err(failure(&error)));
                None
            }
            Event::InboundFailure { peer, error, .. } => {
                log_inbound_failure(&peer, &error);
                None
            }
            Event::ResponseSent { .. } => None,
        }
    }

    /// Whether a peer may ask once more, or why not.
    pub(super) fn admit(&mut self, now: Timestamp, from: NodeId) -> Result<(), RejectReason> {
        if self.owed >= P::OWED_MAX {
            Err(RejectReason::Busy)
        } else if self.quotas.take(now, from) {
            Ok(())
        } else {
            Err(RejectReason::RateLimited)
        }
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

fn log_inbound_failure(peer: &PeerId, error: &InboundFailure) {
    tracing::debug!(%peer, %error, "a request was not answered");
}

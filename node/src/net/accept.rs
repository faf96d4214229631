//! Connections before their peer is known: how often an address may knock, and how many hands are shaken at a time.
//!
//! A connection costs its maker one packet and this node a handshake, so they are rationed by address before the
//! handshake begins. Those that are under way are few; when all places are taken, the oldest of the address that
//! holds most of them is given up. An honest handshake is over in a few round trips, so what is given up is what
//! has been holding still: a thousand half-open connections keep nobody out.

use core::net::IpAddr;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{
    FutureExt as _, TryFutureExt as _,
    future::{AbortHandle, Abortable, BoxFuture},
};
use libp2p::{
    Multiaddr, Transport, TransportError,
    core::{
        muxing::StreamMuxerBox,
        transport::{DialOpts, ListenerId, TransportEvent},
    },
};
use prometheus_client::metrics::counter::Counter;
use protocol::{net::BoxedTransport, time::Clock};
use tokio::sync::watch;

use super::{
    paced::{Members, Paced},
    peers::ip,
};
use crate::core::{
    quota::{Quotas, Rate},
    reputation::{is_near, source},
};

/// Connections whose hands are being shaken, at most.
pub(super) const HANDSHAKES_MAX: usize = 64;
/// How often an address may knock that the whole internet sees as one place: 10 a minute, 20 at once.
const FAR: Rate = Rate { burst: 20, every: Duration::from_secs(6) };
/// How often an address may knock behind which several machines may be: 20 a second, 256 at once.
const NEAR: Rate = Rate { burst: 256, every: Duration::from_millis(50) };
/// Addresses whose quotas are kept, of each kind.
const ADDRESSES_MAX: usize = 4_096;
/// Connections that are turned away in one go, before others get their turn.
const TURNED_AWAY_AT_ONCE: usize = 64;

/// A transport that accepts with measure.
pub(super) struct Accept {
    inner: BoxedTransport,
    clock: Arc<dyn Clock + Send + Sync>,
    far: Quotas<IpAddr>,
    near: Quotas<IpAddr>,
    /// Addresses that are turned away: [`source`]s.
    banned: watch::Receiver<Arc<BTreeSet<IpAddr>>>,
    members: Members,
    handshakes: Handshakes,
    turned_away: Counter,
}

impl fmt::Debug for Accept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accept").field("handshakes", &self.handshakes).finish_non_exhaustive()
    }
}

impl Accept {
    pub(super) fn new(
        inner: BoxedTransport,
        clock: Arc<dyn Clock + Send + Sync>,
        (banned, members): (watch::Receiver<Arc<BTreeSet<IpAddr>>>, Members),
        turned_away: Counter,
    ) -> Self {
        Self {
            inner,
            clock,
            far: Quotas::new(FAR, ADDRESSES_MAX),
            near: Quotas::new(NEAR, ADDRESSES_MAX),
            banned,
            members,
            handshakes: Handshakes::default(),
            turned_away,
        }
    }

    /// Whether somebody at an address may shake hands. Ways without an address are inside this process.
    fn lets_knock(&mut self, from: Option<IpAddr>) -> bool {
        let Some(from) = from else { return true };
        let (key, now) = (source(from), self.clock.now());
        if is_near(from) {
            self.near.take(now, key)
        } else {
            !self.banned.borrow().contains(&key) && self.far.take(now, key)
        }
    }
}

type Output = <BoxedTransport as Transport>::Output;

impl Transport for Accept {
    type Output = Output;
    type Error = io::Error;
    type ListenerUpgrade = BoxFuture<'static, io::Result<Output>>;
    type Dial = <BoxedTransport as Transport>::Dial;

    fn listen_on(
        &mut self,
        id: ListenerId,
        address: Multiaddr,
    ) -> Result<(), TransportError<io::Error>> {
        self.inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        opts: DialOpts,
    ) -> Result<Self::Dial, TransportError<io::Error>> {
        self.inner.dial(address, opts)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        for _ in 0..TURNED_AWAY_AT_ONCE {
            let event = match Pin::new(&mut self.inner).poll(cx) {
                Poll::Ready(event) => event,
                Poll::Pending => return Poll::Pending,
            };
            let TransportEvent::Incoming { listener_id, upgrade, local_addr, send_back_addr } =
                event
            else {
                return Poll::Ready(event.map_upgrade(|upgrade| upgrade));
            };
            let from = ip(&send_back_addr);
            if self.lets_knock(from) {
                let (clock, members) = (self.clock.clone(), self.members.clone());
                let upgrade = upgrade.map_ok(move |(peer, muxer)| {
                    (peer, StreamMuxerBox::new(Paced::new(muxer, peer, clock, members)))
                });
                let upgrade = self.handshakes.begin(from.map(source), upgrade);
                return Poll::Ready(TransportEvent::Incoming {
                    listener_id,
                    upgrade,
                    local_addr,
                    send_back_addr,
                });
            }
            self.turned_away.inc();
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Handshakes that are under way.
#[derive(Debug, Default)]
struct Handshakes {
    /// By their age.
    under_way: BTreeMap<u64, Handshake>,
    begun: u64,
}

#[derive(Debug)]
struct Handshake {
    from: Option<IpAddr>,
    give_up: AbortHandle,
    /// Closed when the handshake is over.
    over: futures::channel::oneshot::Sender<()>,
}

impl Handshakes {
    /// Begins one. If too many are under way, another is given up.
    fn begin<T: 'static>(
        &mut self,
        from: Option<IpAddr>,
        upgrade: impl Future<Output = io::Result<T>> + Send + 'static,
    ) -> BoxFuture<'static, io::Result<T>> {
        self.under_way.retain(|_, handshake| !handshake.over.is_canceled());
        while self.under_way.len() >= HANDSHAKES_MAX {
            let Some(oldest) = self.oldest_of_the_greediest() else { break };
            if let Some(handshake) = self.under_way.remove(&oldest) {
                handshake.give_up.abort();
            }
        }
        let (give_up, registration) = AbortHandle::new_pair();
        let (over, guard) = futures::channel::oneshot::channel();
        self.begun = self.begun.saturating_add(1);
        self.under_way.insert(self.begun, Handshake { from, give_up, over });
        let shaking = Abortable::new(upgrade, registration);
        async move {
            let _until_the_end = guard;
            shaking.await.unwrap_or_else(|_given_up| Err(io::ErrorKind::ConnectionAborted.into()))
        }
        .boxed()
    }

    fn oldest_of_the_greediest(&self) -> Option<u64> {
        let mut held: BTreeMap<Option<IpAddr>, (usize, u64)> = BTreeMap::new();
        for (age, handshake) in &self.under_way {
            let (count, _) = held.entry(handshake.from).or_insert((0, *age));
            *count = count.saturating_add(1);
        }
        held.into_values().max_by_key(|(count, _)| *count).map(|(_, oldest)| oldest)
    }
}

#[cfg(test)]
mod tests {
    use futures::{executor::block_on, future};

    use super::*;

    fn at(number: u8) -> Option<IpAddr> {
        Some(IpAddr::from([203, 0, 113, number]))
    }

    fn given_up<T>(handshake: BoxFuture<'static, io::Result<T>>) -> bool {
        let outcome = block_on(future::select(handshake, future::ready(())));
        matches!(outcome, future::Either::Left((Err(error), _)) if error.kind() == io::ErrorKind::ConnectionAborted)
    }

    #[test]
    fn handshakes_that_hold_still_make_room_for_new_ones() {
        let mut handshakes = Handshakes::default();
        let mut begin = |from| handshakes.begin(from, future::pending::<io::Result<()>>());
        let honest = begin(at(1));
        let still: Vec<_> = (0..1_000).map(|_| begin(at(2))).collect();
        let second = begin(at(3));
        assert_eq!(handshakes.under_way.len(), HANDSHAKES_MAX);
        assert!(!given_up(honest), "although it is the oldest");
        assert!(!given_up(second));
        let left = still.into_iter().map(given_up).filter(|gone| !gone).count();
        assert_eq!(left, HANDSHAKES_MAX - 2);
    }

    #[test]
    fn a_handshake_that_is_over_takes_no_place() {
        let mut handshakes = Handshakes::default();
        for _ in 0..1_000 {
            let quick = handshakes.begin(at(1), future::ready(Ok(7)));
            assert_eq!(block_on(quick).unwrap(), 7);
        }
        let dropped = handshakes.begin(at(1), future::pending::<io::Result<()>>());
        drop(dropped);
        drop(handshakes.begin(at(2), future::ready(Ok(()))));
        assert!(handshakes.under_way.len() <= 1);
    }
}

//! `weft up`: from settings to a running node, and from there to a clean end.

use std::{
    io::{IsTerminal as _, Write as _},
    sync::Arc,
    time::Duration,
};

use libp2p::Multiaddr;
use prometheus_client::registry::Registry;
use protocol::{
    time::{Clock as _, Timestamp},
    wire::advert::Isolation,
};
use sandbox::pool::{self, Pool};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    AppError, Host, enroll,
    inbound::Router,
    listen::{listen, parse_all},
    membership,
    start::{Base, Started, may_found},
};
use crate::{
    api::{self, Metrics, NodeApi, Standing},
    blobs::BlobStore,
    core::adverts::{self, Adverts},
    home::UpOptions,
    net::{self, Net, remember},
    roles::clock::NodeClock,
};

/// How long everything may take to end once work has stopped.
const END_WITHIN: Duration = Duration::from_secs(10);
/// How long an idle runner process is kept warm.
const RUNNERS_KEPT: Duration = Duration::from_secs(60);
/// How often remembered peers are written.
const REMEMBER_EVERY: Duration = Duration::from_secs(10);

/// Runs a node until it is told to end, or cannot go on.
///
/// Prints one line on the standard output once its sockets listen: `ready peer=… p2p=… api=…`.
///
/// # Errors
///
/// See [`AppError`].
pub async fn up(options: UpOptions) -> Result<(), AppError> {
    let options = Arc::new(options);
    let clock = NodeClock::start();
    let mut registry = Registry::default();
    let Net { handle, inbound, task } = listen(&options, clock, &mut registry)?;
    let stop = CancellationToken::new();
    let end = CancellationToken::new();
    let tasks = TaskTracker::new();
    let net_stop = CancellationToken::new();
    let mut net_task = tokio::task::JoinSet::new();
    net_task.spawn(task.run(net_stop.clone()));

    let base = prepare(&options, handle, clock, &tasks, &stop).await?;
    let (standing, standing_seen) = watch::channel(Standing::Starting);
    let listeners = api::bind(&options).await.map_err(AppError::Api)?;
    let url = listeners.url();
    let api = node_api(&base, &standing_seen, registry, url.clone(), end.clone());
    let mut serving = tokio::task::JoinSet::new();
    serving.spawn(api::serve(listeners, api, stop.clone()));
    let router = Router {
        standing: standing_seen,
        blobs: base.blobs.clone(),
        tasks: tasks.clone(),
        stop: stop.clone(),
        clock,
        adverts: Adverts::new(adverts::Config::default()),
    };
    tasks.spawn(router.run(inbound));
    tasks.spawn(remember_peers(base.clone()));

    let started = start_known(&base).await?;
    if let Some(started) = &started {
        standing.send_replace(Standing::Member(Box::new(started.member.clone())));
    }
    announce(&base, &url).await;

    let consensus = started.as_ref().and_then(|started| started.consensus.clone());
    let (joined_tx, joined) = watch::channel(started.map(|started| started.member));
    if joined.borrow().is_none() {
        standing.send_replace(Standing::Waiting);
        let addresses = bootstrap(&options)?;
        let base = base.clone();
        base.clone().tasks.spawn(async move {
            let stop = base.stop.clone();
            let _stopped =
                stop.run_until_cancelled(join(base, addresses, standing, joined_tx)).await;
        });
    }
    let reason = wait_for_end(&end, &stop, consensus.as_ref(), &mut net_task, &mut serving).await;
    drain(&joined, &options, &end).await;
    wind_down(&base, consensus).await;
    // Whoever asked for the end still gets an answer.
    let _served = tokio::time::timeout(END_WITHIN, serving.join_all()).await;
    net_stop.cancel();
    let _ended = tokio::time::timeout(END_WITHIN, net_task.join_all()).await;
    let _removed = std::fs::remove_file(options.home.socket());
    reason
}

/// What a node has before it is a member.
async fn prepare(
    options: &Arc<UpOptions>,
    net: net::NetHandle,
    clock: NodeClock,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<Base, AppError> {
    let quota = options.config.blobs_bytes_max;
    let blobs = BlobStore::open(&options.home.blobs_dir(), quota, NodeClock::wall)
        .map_err(AppError::Blobs)?;
    let host = Host::look(&options.config, Isolation::C);
    let (pool, isolation) = sandbox_pool(options, host.slots).await?;
    tasks.spawn(retire_runners(pool.clone(), stop.clone()));
    Ok(Base {
        options: options.clone(),
        net,
        blobs,
        pool,
        host: Host { isolation, ..host },
        clock,
        tasks: tasks.clone(),
        stop: stop.clone(),
    })
}

/// Starts in the mesh that this node is in, or founds one; `None` if it is to ask another first.
async fn start_known(base: &Base) -> Result<Option<Started>, AppError> {
    match membership::load(&base.options)? {
        Some((mesh, membership)) => base.start(mesh, membership).await.map(Some),
        None if base.options.config.bootstrap.is_empty() => {
            let (mesh, membership) = may_found(&base.options)?;
            base.start(mesh, membership).await.map(Some)
        }
        None => Ok(None),
    }
}

/// Ends everything but the network, so that what is answered last still gets out.
async fn wind_down(base: &Base, consensus: Option<Arc<dyn ledger::replica::Consensus>>) {
    base.stop.cancel();
    base.tasks.close();
    if tokio::time::timeout(END_WITHIN, base.tasks.wait()).await.is_err() {
        tracing::warn!("not everything ended in time");
    }
    if let Some(consensus) = consensus {
        consensus.shutdown().await;
    }
}

fn bootstrap(options: &UpOptions) -> Result<Vec<Multiaddr>, AppError> {
    parse_all(&options.config.bootstrap)
}

/// Where tasks run, and how well guests are isolated there: measured, not assumed.
async fn sandbox_pool(options: &UpOptions, slots: u16) -> Result<(Arc<Pool>, Isolation), AppError> {
    let runner = pool::find_runner().map_err(AppError::Sandbox)?;
    let config = pool::Config::new(runner, options.home.artifacts_dir(), slots);
    let pool = Pool::new(config).map_err(AppError::Sandbox)?;
    let isolation = pool.isolation().await.unwrap_or_else(|error| {
        tracing::warn!(
            error,
            "the isolation of guests could not be measured: the lowest grade is assumed"
        );
        Isolation::C
    });
    Ok((Arc::new(pool), isolation))
}

/// Gives the memory of runners back that nobody used for a while.
async fn retire_runners(pool: Arc<Pool>, stop: CancellationToken) {
    let idle = async {
        loop {
            tokio::time::sleep(RUNNERS_KEPT).await;
            pool.retire(RUNNERS_KEPT);
        }
    };
    let _stopped = stop.run_until_cancelled(idle).await;
}

fn node_api(
    base: &Base,
    standing: &watch::Receiver<Standing>,
    registry: Registry,
    url: String,
    end: CancellationToken,
) -> Arc<NodeApi> {
    Arc::new(NodeApi {
        options: base.options.clone(),
        net: base.net.clone(),
        blobs: base.blobs.clone(),
        host: base.host,
        standing: standing.clone(),
        metrics: Metrics::new(registry, &base.options),
        started: base.clock,
        url,
        end,
    })
}

/// One line for scripts on the standard output; some for people on a terminal.
#[expect(clippy::print_stderr, reason = "what a person sees of a node in the foreground")]
async fn announce(base: &Base, url: &str) {
    let node = base.options.node();
    let addresses = base.net.listen_addrs().await;
    // Of the kind that was asked for first: TCP unless somebody chose otherwise.
    let tcp = base.options.config.listen.first().is_none_or(|address| address.contains("/tcp/"));
    let of_kind = addresses.iter().find(|address| address.to_string().contains("/tcp/") == tcp);
    let p2p = of_kind.or_else(|| addresses.first());
    let p2p = p2p.map(|address| format!("{address}/p2p/{node}")).unwrap_or_default();
    let mut out = std::io::stdout().lock();
    let _closed = writeln!(out, "ready peer={node} p2p={p2p} api={url}").and_then(|()| out.flush());
    if std::io::stderr().is_terminal() {
        let took = base.clock.now().saturating_since(Timestamp::ORIGIN).as_secs_f64();
        eprintln!("  Ready in {took:.1} s, running in the foreground. Ctrl-C stops it.");
        eprintln!("  Add another machine:                 weft up --bootstrap {p2p}");
        eprintln!("  Try it now, in another terminal:     weft run --example primes");
    }
}

/// Asks to join, then starts as a member.
async fn join(
    base: Base,
    addresses: Vec<Multiaddr>,
    standing: watch::Sender<Standing>,
    joined: watch::Sender<Option<api::Member>>,
) {
    let (mesh, membership) = enroll::join(&base.options, &base.net, addresses, &standing).await;
    match base.start(mesh, membership).await {
        Ok(Started { member, .. }) => {
            tracing::info!(mesh = member.mesh_name, "joined");
            joined.send_replace(Some(member.clone()));
            standing.send_replace(Standing::Member(Box::new(member)));
            // The senders live as long as the node: whoever watches must not see them closed.
            base.stop.cancelled().await;
        }
        Err(error) => {
            tracing::error!(error = %super::chain(&error), "the node could not start in its mesh");
            base.stop.cancel();
        }
    }
}

async fn wait_for_end(
    end: &CancellationToken,
    stop: &CancellationToken,
    consensus: Option<&Arc<dyn ledger::replica::Consensus>>,
    net_task: &mut tokio::task::JoinSet<()>,
    serving: &mut tokio::task::JoinSet<()>,
) -> Result<(), AppError> {
    let fatal = async {
        match consensus {
            Some(consensus) => {
                let mut fatal = consensus.fatal();
                match fatal.wait_for(Option::is_some).await.map(|fatal| fatal.clone()) {
                    Ok(Some(fatal)) => AppError::Fatal(fatal),
                    Ok(None) | Err(_) => AppError::Ended("ledger"),
                }
            }
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = end.cancelled() => Ok(()),
        () = stop.cancelled() => Err(AppError::Ended("node")),
        () = signalled() => { end.cancel(); Ok(()) }
        error = fatal => Err(error),
        _ = net_task.join_next() => Err(AppError::Ended("network")),
        _ = serving.join_next() => Err(AppError::Ended("API")),
    }
}

/// SIGINT or SIGTERM.
async fn signalled() {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// Takes no more work, and waits for what runs; a second signal ends the waiting.
async fn drain(
    joined: &watch::Receiver<Option<api::Member>>,
    options: &UpOptions,
    end: &CancellationToken,
) {
    let Some(worker) = joined.borrow().as_ref().and_then(|member| member.worker.clone()) else {
        return;
    };
    if !end.is_cancelled() {
        return;
    }
    worker.drain(true).await;
    let mut slots = worker.slots();
    let (all, free) = *slots.borrow();
    if all != free {
        tracing::info!(
            running = all.saturating_sub(free),
            "waits for what runs; signal again to stop at once"
        );
    }
    let idle = slots.wait_for(|(all, free)| all == free);
    tokio::select! {
        _ = tokio::time::timeout(options.config.shutdown_grace, idle) => {}
        () = signalled() => tracing::info!("stops at once"),
    }
}

/// Writes down whom this node knows, so that it finds them again.
async fn remember_peers(base: Base) {
    loop {
        let last = tokio::time::timeout(REMEMBER_EVERY, base.stop.cancelled()).await.is_ok();
        let peers = base.net.peers().await;
        let members: Vec<_> =
            peers.iter().filter(|peer| peer.member).map(net::PeerInfo::node_address).collect();
        if !members.is_empty()
            && let Err(error) = remember::save(&base.options.home.peers_file(), &members)
        {
            tracing::warn!(error = %super::chain(&error), "remembered peers cannot be kept");
        }
        if last {
            return;
        }
    }
}

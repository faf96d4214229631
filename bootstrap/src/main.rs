//! `weft-bootstrap`: a known address for a mesh.
//!
//! A newcomer needs one address that does not change. This server is that address: it says who it is, keeps a
//! Kademlia table of its own kind, relays short connections for those who cannot be reached, and tells them whether
//! they can (AutoNAT). It stores nothing, runs no work and is not a member of any mesh.

mod api;
mod args;
mod behaviour;
mod key;
mod server;

use std::{io::Write as _, process::ExitCode};

use anyhow::Context as _;
use clap::Parser as _;
use libp2p::metrics::Registry;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use self::{args::Args, server::Server};

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_env("WEFT_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,libp2p=warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match run(&args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Serves until SIGTERM or SIGINT.
async fn run(args: &Args) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("could not wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("could not wait for SIGINT")?;
    let key = key::load_or_make(&args.key)?;
    let mut registry = Registry::default();
    let mut server = Server::start(args, &key, &mut registry)?;
    let listener = tokio::net::TcpListener::bind(args.api).await.with_context(|| {
        format!("cannot serve the API at {}: choose another with --api HOST:PORT", args.api)
    })?;
    let api = listener.local_addr().context("the API has no address")?;
    let address = server.first_address().await?;
    writeln!(
        std::io::stdout(),
        "ready peer={} p2p={address}/p2p/{} api=http://{api}",
        key.node(),
        key.node()
    )
    .context("could not write to stdout")?;

    let stop = CancellationToken::new();
    let stopping = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        stop.cancel();
    };
    let (served, (), ()) = tokio::join!(
        api::serve(listener, registry, stop.clone()),
        server.run(stop.clone()),
        stopping
    );
    served.context("the API failed")
}

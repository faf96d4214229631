//! The routes, all of them in one place, and what stands in front of them.
//!
//! From the outside in: every answer is finished (request id, headers, problem document), a panic
//! becomes an answer, whoever asks is checked, and too much at once is refused.

mod answer;
mod blobs;
mod config;
mod credits;
mod cursor;
mod extract;
mod finish;
mod guard;
mod idempotency;
mod invites;
mod jobs;
mod load;
mod local;
mod node;

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{get, post},
};
use tower_http::catch_panic::CatchPanicLayer;

pub use config::{Listener, RouterConfig, Token};

use crate::{Backend, problem::ErrorCode, problem::Problem};

/// What handlers work with.
struct App<B> {
    backend: Arc<B>,
    config: Arc<RouterConfig>,
}

impl<B> Clone for App<B> {
    fn clone(&self) -> Self {
        Self { backend: Arc::clone(&self.backend), config: Arc::clone(&self.config) }
    }
}

/// The API of a node, for one listener.
///
/// [`serve`](crate::server::serve) runs it, with bounds on connections and on the time for a request's head.
pub fn router<B: Backend>(backend: Arc<B>, config: RouterConfig) -> Router {
    let app = App { backend, config: Arc::new(config) };
    let config = &app.config;
    let load = load::Load::new(config.concurrency_max);
    let api =
        slow(config).merge(quick(config)).layer(middleware::from_fn_with_state(load, load::admit));
    operations(config)
        .merge(api)
        .fallback(async || Problem::new(ErrorCode::NotFound, "there is no such path in this API"))
        .layer(middleware::from_fn_with_state(Arc::clone(config), guard::check))
        .layer(CatchPanicLayer::custom(finish::panicked))
        .layer(middleware::from_fn(finish::finish))
        .with_state(app)
}

/// For operators. Answered also under full load.
fn operations<B: Backend>(config: &Arc<RouterConfig>) -> Router<App<B>> {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(node::ready))
        .route("/healthz", get(node::health))
        .route("/metrics", get(node::metrics))
        .route("/version", get(node::version))
        .layer(middleware::from_fn_with_state(Arc::clone(config), load::in_time))
}

/// What answers at once, or not at all: body and answer within the time limit of a request.
fn quick<B: Backend>(config: &Arc<RouterConfig>) -> Router<App<B>> {
    let routes = Router::new()
        .route("/api/v1/status", get(node::status))
        .route("/api/v1/id", get(node::identity))
        .route("/api/v1/peers", get(node::peers))
        .route("/api/v1/coordinators", get(node::coordinators))
        .route("/api/v1/nodes", get(node::list))
        .route("/api/v1/nodes/{node}", get(node::show))
        .route("/api/v1/nodes/{node}/approve", post(node::approve))
        .route("/api/v1/nodes/{node}/reject", post(node::reject))
        .route("/api/v1/nodes/{node}/block", post(node::block))
        .route("/api/v1/nodes/{node}/drain", post(local::drain))
        .route("/api/v1/nodes/{node}/resume", post(local::undrain))
        .route("/api/v1/nodes/{node}/unblock", post(node::unblock))
        .route("/api/v1/nodes/{node}/suspend", post(node::suspend))
        .route("/api/v1/nodes/{node}/reinstate", post(node::reinstate))
        .route("/api/v1/nodes/{node}/labels", post(node::label))
        .route("/api/v1/invites", get(invites::list).post(invites::create))
        .route("/api/v1/invites/{invite}/revoke", post(invites::revoke))
        .route("/api/v1/jobs", get(jobs::list).post(jobs::submit))
        .route("/api/v1/jobs/{job}/cancel", post(jobs::cancel))
        .route("/api/v1/jobs/{job}/tasks", get(jobs::tasks))
        .route("/api/v1/jobs/{job}/results", get(jobs::results))
        .route("/api/v1/jobs/{job}/explain", get(jobs::explain))
        .route("/api/v1/credits", get(credits::balance))
        .route("/api/v1/credits/balance", get(credits::balance))
        .route("/api/v1/credits/history", get(credits::history))
        .route("/api/v1/receipts", get(credits::receipts))
        .route("/api/v1/receipts/{receipt}", get(credits::receipt))
        .route("/api/v1/receipts/{receipt}/export", get(credits::export));
    let routes = match config.listener {
        Listener::Socket | Listener::Loopback { .. } => routes
            .route("/api/v1/local/shutdown", post(node::shut_down))
            .route("/api/v1/local/join", post(node::join))
            .route("/api/v1/local/leave", post(node::leave))
            .route("/api/v1/local/coordinator", post(node::coordinate))
            .route("/api/v1/local/pause", get(local::pause).post(local::set_pause))
            .route("/api/v1/local/resume", post(local::resume))
            .route("/api/v1/local/limits", get(local::limits).patch(local::set_limits))
            .route("/api/v1/local/identity/rotate", post(node::rotate)),
        Listener::Portal { .. } => routes,
    };
    routes
        .layer(DefaultBodyLimit::max(config.json_bytes_max))
        .layer(middleware::from_fn_with_state(Arc::clone(config), load::in_time))
}

/// What may take its time: content of any size, and long polls. Each has a time limit of its own.
fn slow<B: Backend>(config: &Arc<RouterConfig>) -> Router<App<B>> {
    Router::new()
        .route("/api/v1/jobs/{job}", get(jobs::show))
        .route("/api/v1/jobs/{job}/logs", get(jobs::logs))
        .layer(DefaultBodyLimit::max(config.json_bytes_max))
        .merge(
            Router::new()
                .route("/api/v1/blobs", post(blobs::put))
                .route("/api/v1/blobs/{hash}", get(blobs::get).head(blobs::head))
                .layer(DefaultBodyLimit::disable()),
        )
}

//! The node's HTTP API: the routes of `portal-api` over this node, on a Unix socket and on loopback.

mod backend;
mod metrics;
mod serve;

pub use backend::{Asking, Member, NodeApi, Standing};
pub use metrics::Metrics;
pub use serve::{Listeners, ServeError, bind, serve};

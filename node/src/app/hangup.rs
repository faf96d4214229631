//! SIGHUP: a terminal that was closed, or somebody who has changed the settings.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Keeps the node running when a hang-up is signalled, and says what that does not do. Without this the signal would end
/// the process at once, in the middle of its tasks.
pub(super) async fn outlive(stop: CancellationToken) {
    let Ok(mut hangups) = signal(SignalKind::hangup()) else { return };
    while let Some(Some(())) = stop.run_until_cancelled(hangups.recv()).await {
        tracing::info!("SIGHUP: the node goes on; settings are read when it starts");
    }
}

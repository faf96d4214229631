//! Ctrl-C.

/// Lets `work` go on until it is done, or until the person presses Ctrl-C: `None`. From the first call on Ctrl-C no
/// longer ends the program by itself, so everything that takes long goes through here.
pub(super) async fn unless_interrupted<T>(work: impl Future<Output = T>) -> Option<T> {
    let interrupted = async {
        if tokio::signal::ctrl_c().await.is_err() {
            // Signals cannot be caught here: then Ctrl-C ends the program, as it always did.
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        biased;
        () = interrupted => None,
        done = work => Some(done),
    }
}

//! Stopping rather than going on wrong.

use std::{error::Error, fmt, sync::Arc};

use tokio::sync::watch;

/// What made the replica stop: the whole chain of causes, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fatal(Arc<str>);

impl Fatal {
    /// The reason, from an error and its sources.
    pub(crate) fn from_error(error: &dyn Error) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        Self(text.into())
    }

    /// The reason in words.
    pub(crate) fn because(reason: &str) -> Self {
        Self(reason.into())
    }
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Fatal {}

/// The first failure of a replica. There is no way back from it.
#[derive(Debug, Clone)]
pub(crate) struct Fault(watch::Sender<Option<Fatal>>);

impl Fault {
    /// Nothing failed yet.
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    /// Records a failure, unless there was one before.
    pub(crate) fn raise(&self, fatal: Fatal) {
        self.0.send_if_modified(|first| {
            let is_first = first.is_none();
            if is_first {
                tracing::error!(%fatal, "the ledger stops");
                *first = Some(fatal);
            }
            is_first
        });
    }

    /// The first failure, if there was one.
    pub(crate) fn get(&self) -> Option<Fatal> {
        self.0.borrow().clone()
    }

    /// Is told of it.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Option<Fatal>> {
        self.0.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_stays() {
        let fault = Fault::new();
        assert_eq!(fault.get(), None);
        fault.raise(Fatal::because("first"));
        fault.raise(Fatal::because("second"));
        assert_eq!(fault.get(), Some(Fatal::because("first")));
    }
}

//! A thread that stops a task at its time limit, and the process when its node is gone.
//!
//! The parent-death signal of Linux is not used: it is sent when the *thread* that started the process ends, and
//! the threads of a node come and go. The socket closes when the node does, however it dies.

use std::{
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    sync::{Arc, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use crate::engine::Interrupter;

/// An interrupt that comes right before the guest starts is lost: it is repeated until the task is over.
const REPEAT_AFTER: Duration = Duration::from_millis(5);

#[expect(
    clippy::disallowed_types,
    reason = "shared by two threads of a process that does one thing at a time"
)]
type Shared = Arc<std::sync::Mutex<State>>;

/// Stops a task at its time limit.
pub(super) struct Watchdog {
    state: Shared,
    /// Written to where the thread would sleep too long.
    alarm: Arc<OwnedFd>,
}

#[derive(Default)]
struct State {
    /// The task that runs.
    armed: Option<(Instant, Interrupter)>,
    /// When the thread will look again by itself; `None` for never.
    wakes: Option<Instant>,
}

impl Watchdog {
    /// Starts the thread. It ends the process when the other end of `node` is closed.
    pub(super) fn start(node: UnixStream) -> io::Result<Self> {
        let state = Shared::default();
        let alarm = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let (theirs, their_alarm) = (Arc::clone(&state), Arc::clone(&alarm));
        thread::Builder::new()
            .name("watchdog".to_owned())
            .spawn(move || watch(&node, &theirs, &their_alarm))?;
        Ok(Self { state, alarm })
    }

    /// Interrupts the guest `limit` after it began, unless [`Self::disarm`] comes first.
    pub(super) fn arm(&self, began: Instant, limit: Duration, interrupter: Interrupter) {
        let Some(deadline) = began.checked_add(limit) else { return };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.armed = Some((deadline, interrupter));
        // Most tasks of a module have the same limit, so that the thread is rarely woken.
        if state.wakes.is_none_or(|wakes| wakes > deadline)
            && rustix::io::write(&self.alarm, &1_u64.to_ne_bytes()).is_err()
        {
            // It is full of alarms already, so the thread wakes anyway.
        }
    }

    /// The task is over.
    pub(super) fn disarm(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).armed = None;
    }
}

fn watch(node: &UnixStream, state: &Shared, alarm: &OwnedFd) {
    loop {
        let timeout = look(state);
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let mut events = [PollFd::new(node, PollFlags::empty()), PollFd::new(alarm, PollFlags::IN)];
        let polled = poll(&mut events, timeout.as_ref());
        let [hung_up, rung] = events.map(|event| event.revents());
        if polled.is_ok() && hung_up.intersects(PollFlags::HUP | PollFlags::ERR) {
            // Nobody is left who wants the result.
            std::process::exit(0);
        }
        if rung.contains(PollFlags::IN) && rustix::io::read(alarm.as_fd(), &mut [0; 8]).is_err() {
            // Taken back already: there is nothing to take.
        }
    }
}

/// Interrupts what is over its limit; says when to look again.
fn look(state: &Shared) -> Option<Duration> {
    #[expect(clippy::disallowed_methods, reason = "the runner's shell is where time comes from")]
    let now = Instant::now();
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let wait = state.armed.as_ref().map(|(deadline, interrupter)| {
        let left = deadline.saturating_duration_since(now);
        if left.is_zero() {
            interrupter.interrupt();
            REPEAT_AFTER
        } else {
            left
        }
    });
    state.wakes = wait.and_then(|wait| now.checked_add(wait));
    wait
}

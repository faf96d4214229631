//! The shape that every pure core has.

use crate::time::Timestamp;

/// A deterministic state machine.
///
/// The contract, in the order a shell follows it:
///
/// 1. Call [`handle`](Self::handle) for each thing that happened.
/// 2. Perform the outputs, in order, before the next call.
/// 3. Sleep until [`deadline`](Self::deadline) at the latest, then hand in [`Self::TICK`]. A tick that comes
///    early is harmless.
///
/// Two machines with equal state that are given equal calls return equal outputs. That sentence is what makes
/// simulation and replay work.
pub trait Machine {
    /// Everything that can happen to the machine.
    type Input;
    /// Everything the machine can ask for.
    type Output;
    /// The input that says "look at the clock".
    const TICK: Self::Input;

    /// Advances the machine. `now` must not go backwards between calls.
    fn handle(&mut self, now: Timestamp, input: Self::Input) -> Vec<Self::Output>;

    /// The next time at which a tick would change something.
    fn deadline(&self) -> Option<Timestamp>;
}

/// Checks the contract of [`Machine::deadline`]: nothing is due without a deadline, and a tick at the deadline
/// moves the deadline on.
///
/// # Panics
///
/// If `machine` breaks the contract.
#[cfg(any(test, feature = "testing"))]
#[expect(clippy::panic, reason = "an assertion for tests")]
pub fn assert_deadline_contract<M>(machine: &M)
where
    M: Machine + Clone,
    M::Output: std::fmt::Debug,
{
    match machine.deadline() {
        None => {
            let due = machine.clone().handle(Timestamp::END, M::TICK);
            assert!(due.is_empty(), "no deadline was announced for {due:?}");
        }
        Some(deadline) => {
            let mut later = machine.clone();
            later.handle(deadline, M::TICK);
            if later.deadline().is_some_and(|next| next <= deadline) {
                panic!("a tick at {deadline:?} leaves the deadline where it was");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Rings once, at a time.
    #[derive(Clone)]
    struct Alarm {
        at: Option<Timestamp>,
        stuck: bool,
    }

    impl Machine for Alarm {
        type Input = ();
        type Output = &'static str;
        const TICK: () = ();

        fn handle(&mut self, now: Timestamp, (): ()) -> Vec<&'static str> {
            if self.at.is_some_and(|at| at <= now) {
                if !self.stuck {
                    self.at = None;
                }
                return vec!["ring"];
            }
            Vec::new()
        }

        fn deadline(&self) -> Option<Timestamp> {
            self.at
        }
    }

    #[test]
    fn a_machine_that_moves_its_deadline_on_keeps_the_contract() {
        let at = Timestamp::ORIGIN.saturating_add(Duration::from_secs(1));
        assert_deadline_contract(&Alarm { at: Some(at), stuck: false });
        assert_deadline_contract(&Alarm { at: None, stuck: false });
    }

    #[test]
    #[should_panic(expected = "leaves the deadline where it was")]
    fn a_machine_that_is_stuck_breaks_the_contract() {
        assert_deadline_contract(&Alarm { at: Some(Timestamp::ORIGIN), stuck: true });
    }
}

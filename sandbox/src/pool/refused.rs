//! Modules that are known not to run, so that nobody pays for finding out again.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::PoisonError,
};

use protocol::{ids::Hash, outcome::Outcome};

/// Modules that are remembered. The oldest is forgotten: then it is compiled, and refused, once more.
const REFUSED_MAX: usize = 1_024;

#[derive(Debug, Default)]
struct State {
    by_module: BTreeMap<Hash, (Outcome, String)>,
    order: VecDeque<Hash>,
}

/// Modules that are known not to run, and why.
#[derive(Debug, Default)]
pub(super) struct Refused {
    #[expect(
        clippy::disallowed_types,
        reason = "a map shared by all tasks of a pool, never held across an await"
    )]
    state: std::sync::Mutex<State>,
}

impl Refused {
    /// Why that module is not run, if that is known.
    pub(super) fn get(&self, module: Hash) -> Option<(Outcome, String)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).by_module.get(&module).cloned()
    }

    /// Remembers why a module is not run.
    pub(super) fn put(&self, module: Hash, outcome: Outcome, why: String) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.by_module.insert(module, (outcome, why)).is_none() {
            state.order.push_back(module);
        }
        while state.order.len() > REFUSED_MAX {
            if let Some(oldest) = state.order.pop_front() {
                state.by_module.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten() {
        let refused = Refused::default();
        for number in 0..=REFUSED_MAX {
            refused.put(Hash::of(&number.to_le_bytes()), Outcome::Refused, number.to_string());
        }
        assert_eq!(refused.get(Hash::of(&0_usize.to_le_bytes())), None);
        assert_eq!(
            refused.get(Hash::of(&1_usize.to_le_bytes())),
            Some((Outcome::Refused, "1".to_owned()))
        );
    }
}

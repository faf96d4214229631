//! The one price system: what a task costs, and who gets which part of it.

use serde::{Deserialize, Serialize};

use crate::units::{BasisPoints, Credits, Fuel};

/// Fuel in the unit that prices are quoted for.
const FUEL_PER_PRICE_UNIT: u128 = 1_000_000;

/// What work costs. Part of a mesh's policy; fixed for a job when it is submitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// For 10⁶ units of fuel. Default 250 µcr: a second of one core is about a quarter of a credit.
    pub per_mfuel: Credits,
    /// For each task, whatever it uses. Default 50 µcr, so that tiny tasks are not free.
    pub per_task: Credits,
    /// The coordinators' part of it. Default 300 (3 %).
    pub fee: BasisPoints,
}

impl Default for Price {
    fn default() -> Self {
        Self {
            per_mfuel: Credits::from_micros(250),
            per_task: Credits::from_micros(50),
            fee: BasisPoints(300),
        }
    }
}

/// How the charge for one task is divided. The parts add up to the charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bill {
    /// What the submitter pays: rounded up.
    pub charge: Credits,
    /// What the worker earns: rounded down.
    pub worker: Credits,
    /// What the coordinators earn.
    pub fee: Credits,
    /// What rounding leaves, for the account of that name. Below 1 µcr per task by construction, so 0 or 1.
    pub rounding: Credits,
}

impl Price {
    /// What a task that used `fuel` costs; `None` if it does not fit in an entry.
    #[must_use]
    pub fn bill(&self, fuel: Fuel) -> Option<Bill> {
        let exact = u128::from(fuel.0).checked_mul(u128::from(self.per_mfuel.micros()))?;
        let down = u64::try_from(exact.checked_div(FUEL_PER_PRICE_UNIT)?).ok()?;
        let up = u64::try_from(exact.div_ceil(FUEL_PER_PRICE_UNIT)).ok()?;
        let earned = Credits::from_micros(down).checked_add(self.per_task)?;
        let charge = Credits::from_micros(up).checked_add(self.per_task)?;
        let (fee, worker) = earned.split_fee(self.fee);
        (charge <= Credits::ENTRY_MAX).then(|| Bill {
            charge,
            worker,
            fee,
            rounding: charge.saturating_sub(earned),
        })
    }

    /// The most that one task with a limit of `fuel` can cost.
    #[must_use]
    pub fn task_max(&self, fuel: Fuel) -> Option<Credits> {
        self.bill(fuel).map(|bill| bill.charge)
    }
}

impl Bill {
    /// The same bill when only `left` of the budget remains: the worker's part shrinks first, then the fee, so
    /// that nothing is paid out that was not paid in.
    #[must_use]
    pub fn capped(self, left: Credits) -> Self {
        if self.charge <= left {
            return self;
        }
        let fee = if self.fee <= left { self.fee } else { left };
        Self { charge: left, worker: left.saturating_sub(fee), fee, rounding: Credits::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_parts_of_a_bill_add_up_to_the_charge(
            fuel in 0..=10_u64.pow(13), mfuel in 0..=100_000_u64, task in 0..=1_000_000_u64,
            fee in 0..=1_000_u16, left in 0..=10_u64.pow(12),
        ) {
            let price = Price {
                per_mfuel: Credits::from_micros(mfuel),
                per_task: Credits::from_micros(task),
                fee: BasisPoints(fee),
            };
            if let Some(bill) = price.bill(Fuel(fuel)) {
                for bill in [bill, bill.capped(Credits::from_micros(left))] {
                    let parts = bill.worker.checked_add(bill.fee).and_then(|sum| sum.checked_add(bill.rounding));
                    prop_assert_eq!(parts, Some(bill.charge));
                    prop_assert!(bill.rounding.micros() <= 1);
                }
            }
        }
    }

    #[test]
    fn the_default_price_is_the_documented_one() {
        let bill = Price::default().bill(Fuel(2_000_000_000)).unwrap();
        assert_eq!(bill.charge, Credits::from_micros(500_050));
        assert_eq!(bill.fee, Credits::from_micros(15_001));
        assert_eq!(bill.worker, Credits::from_micros(485_049));
    }
}

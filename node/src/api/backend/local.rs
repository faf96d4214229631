//! This machine, and drains: of this node, and of others.

use std::time::Duration;

use portal_api::{
    backend::Answer,
    problem::{ErrorCode, FieldError, Problem},
    views::{DrainRequest, LimitsChange, Node, OwnerLimits, Pause, Sharing, reasons},
};
use protocol::{
    ids::NodeId,
    sign::Signed,
    wire::order::{NodeOrder, Order},
};

use super::{NodeApi, unexpected};
use crate::{
    core::limits::Hours,
    machine::{Change, Machine, MachineError},
    roles::clock::NodeClock,
};

impl NodeApi {
    pub(super) fn pause_now(&self) -> Pause {
        let outlook = self.machine.outlook().borrow().clone();
        let pause = outlook.holds.pause;
        Pause {
            paused: pause.is_some(),
            until: pause.as_ref().and_then(|pause| pause.until),
            message: pause.map(|pause| pause.note).unwrap_or_default(),
            reasons: reasons(&outlook.verdict.availability),
        }
    }

    pub(super) fn limits_now(&self) -> OwnerLimits {
        let outlook = self.machine.outlook().borrow().clone();
        let limits = outlook.shared.limits;
        OwnerLimits {
            cores: limits.slots,
            cores_total: outlook.shared.cores,
            memory_bytes: limits.memory_bytes,
            share_percent: outlook.shared.share_percent,
            on_battery: limits.on_battery,
            min_battery_percent: limits.min_battery,
            idle_seconds: limits.idle.as_secs(),
            hours: limits.hours.map(|hours| hours.to_string()),
            max_cpu_others_percent: limits.max_cpu_others,
            now: Sharing::from(&outlook.verdict.availability),
            reasons: reasons(&outlook.verdict.availability),
        }
    }

    /// What is asked for, if it makes sense on this machine.
    pub(super) fn limits_change(&self, change: LimitsChange) -> Answer<Change> {
        let slots_max = self.machine.outlook().borrow().shared.slots_max;
        let mut wrong = Vec::new();
        let mut check = |pointer: &str, good: bool, detail: &str| {
            if !good {
                wrong.push(FieldError::new(pointer.to_owned(), "bad-value", detail.to_owned()));
            }
        };
        let within =
            |value: Option<u8>, least: u8| value.is_none_or(|value| (least..=100).contains(&value));
        check(
            "/cores",
            change.cores.is_none_or(|cores| (1..=slots_max).contains(&cores)),
            &format!("this machine has from 1 to {slots_max}"),
        );
        check(
            "/memory_bytes",
            change.memory_bytes.is_none_or(|bytes| bytes >= 1 << 20),
            "at least 1 MiB",
        );
        check("/share_percent", within(change.share_percent, 1), "from 1 to 100");
        check("/min_battery_percent", within(change.min_battery_percent, 0), "from 0 to 100");
        check(
            "/max_cpu_others_percent",
            within(change.max_cpu_others_percent, 1),
            "from 1 to 100; 100: always",
        );
        check(
            "/idle_seconds",
            change.idle_seconds.is_none_or(|seconds| seconds <= 366 * 24 * 3_600),
            "at most a year",
        );
        let hours = change.hours.map(|hours| match hours.as_str() {
            "" => Some(None),
            hours => Hours::parse(hours).map(Some),
        });
        check("/hours", hours != Some(None), "two times of day such as 22:00-07:00");
        if !wrong.is_empty() {
            return Err(Problem::invalid(wrong));
        }
        Ok(Change {
            cores: change.cores,
            memory_bytes: change.memory_bytes,
            on_battery: change.on_battery,
            min_battery: change.min_battery_percent,
            idle: change.idle_seconds.map(Duration::from_secs),
            hours: hours.flatten(),
            max_cpu_others: change.max_cpu_others_percent,
            share_percent: change.share_percent,
        })
    }

    /// Changes something that is kept on disk.
    pub(super) async fn change_machine(
        &self,
        change: impl FnOnce(&Machine) -> Result<(), MachineError> + Send + 'static,
    ) -> Answer<()> {
        let machine = self.machine.clone();
        let changed = tokio::task::spawn_blocking(move || change(&machine)).await;
        match changed {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                Err(Problem::new(ErrorCode::DataDirUnusable, crate::app::chain(&error)))
            }
            Err(_ended) => Err(unexpected()),
        }
    }

    /// Tells a node to take no more work, or to take it again.
    pub(super) async fn order(&self, node: NodeId, drain: Option<DrainRequest>) -> Answer<Node> {
        if node == self.options.node() {
            self.change_machine(move |machine| match drain {
                Some(drain) => {
                    machine.drain(drain.deadline_seconds.map(Duration::from_secs), &drain.message)
                }
                None => machine.undrain(),
            })
            .await?;
        } else {
            let member = self.member()?;
            let at = NodeClock::wall();
            let order = match drain {
                Some(drain) => Order::Drain {
                    deadline: drain
                        .deadline_seconds
                        .map(|seconds| at.saturating_add(Duration::from_secs(seconds))),
                    note: note(&drain.message),
                },
                None => Order::Resume,
            };
            let order = NodeOrder { node, order, at };
            let signed = Signed::sign(&order, member.context.mesh, &member.context.keys.owner);
            member.submitter.order(signed).await?;
        }
        let nodes = self.node_views().await?;
        nodes.iter().find(|known| known.node == node).map(Node::from).ok_or_else(unexpected)
    }
}

/// A message, cut to what a note may be.
fn note(message: &str) -> String {
    protocol::wire::availability::Reason::of(protocol::wire::availability::Cause::Draining)
        .noting(message)
        .note
}

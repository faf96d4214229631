//! What must hold for the books of every job that has ended.

use std::collections::BTreeSet;

use anyhow::ensure;
use serde_json::Value;
use tests::{Node, items, number, text};

/// More than any list here has.
const ALL: &str = "10000";

/// Checks a job of `node` of so many tasks that all succeeded: each has one receipt and was paid once, and what was held
/// for the job is what it cost and what came back. Returns the ids of its receipts.
pub(crate) fn check(node: &Node, job: &str, tasks: usize) -> anyhow::Result<BTreeSet<String>> {
    let shown = node.ask(&["job", "show", job])?;
    ensure!(text(&shown, "/state")? == "COMPLETED", "{shown}");
    let total = u64::try_from(tasks)?;
    ensure!(number(&shown, "/tasks/total")? == total, "{shown}");
    ensure!(number(&shown, "/tasks/done")? == total, "{shown}");
    ensure!(number(&shown, "/tasks/failed")? == 0, "{shown}");
    ensure!(number(&shown, "/held_ucr")? == 0, "{shown}");
    let cost = number(&shown, "/cost_ucr")?;
    ensure!(cost > 0, "{shown}");

    let listed = node.ask(&["receipt", "list", "--job", job, "--limit", ALL])?;
    let mut receipts = BTreeSet::new();
    let mut charged = 0_u64;
    for receipt in items(&listed) {
        ensure!(receipts.insert(text(receipt, "/id")?.to_owned()), "twice: {receipt}");
        charged = charged.saturating_add(number(receipt, "/cost_ucr")?);
    }
    let expected: BTreeSet<_> = (0..tasks).map(|task| format!("r-{job}-{task}")).collect();
    ensure!(receipts == expected, "{} receipts for {tasks} tasks", receipts.len());
    ensure!(charged == cost, "the receipts are of {charged}, the job cost {cost}");

    let history = node.ask(&["credits", "history", "--limit", ALL])?;
    let of = |entry: &str, side: &str| -> u64 {
        items(&history)
            .filter(|line| line.get("job").and_then(Value::as_str) == Some(job))
            .filter(|line| line.get("entry").and_then(Value::as_str) == Some(entry))
            .filter_map(|line| line.get(side).and_then(Value::as_u64))
            .sum()
    };
    let (held, refunded) = (of("hold", "debit_ucr"), of("refund", "credit_ucr"));
    ensure!(held == number(&shown, "/budget_ucr")?, "{held} was held: {shown}");
    ensure!(held == cost.saturating_add(refunded), "{held} held, {cost} spent, {refunded} back");
    Ok(receipts)
}

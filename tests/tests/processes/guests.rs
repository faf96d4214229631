//! Guests that misbehave, and jobs that ask for too much.

use tests::{items, number, text};

use crate::{Mesh, guest};

#[test]
fn hostile_guests_are_stopped_and_charged_and_the_node_goes_on() -> anyhow::Result<()> {
    let mesh = Mesh::form(&[&[]])?;
    let node = mesh.node(1)?;
    for (name, reason, code) in [
        ("hostile-loop", "fuel-limit", 137),
        ("hostile-memory", "exit-nonzero", 3),
        ("hostile-output", "output-too-large", 137),
        ("hostile-trap", "trap", 134),
    ] {
        // A tenth of the usual fuel: the loop would burn all of it.
        let said = node.run(&["run", &guest(name), "--fuel", "200M", "-o", "json"])?.exited(3)?;
        let job = said.json()?;
        assert_eq!(text(&job, "/state")?, "FAILED", "{name}");
        assert_eq!(text(&job, "/reason")?, reason, "{name}");
        assert!(number(&job, "/cost_ucr")? > 0, "{name} ran for nothing: {job}");
        assert_eq!(number(&job, "/held_ucr")?, 0, "{name}");
        let receipts = node.ask(&["receipt", "list", "--job", text(&job, "/id")?])?;
        let codes: Result<Vec<_>, _> =
            items(&receipts).map(|receipt| number(receipt, "/exit_code")).collect();
        assert_eq!(codes?, [code], "{name}");
    }
    let said = node.run(&["run", "--example", "primes", "--", "1000"])?.exited(0)?;
    assert_eq!(said.stdout, "168\n");
    Ok(())
}

#[test]
fn a_task_that_takes_too_long_is_stopped_with_124() -> anyhow::Result<()> {
    let mesh = Mesh::form(&[&[]])?;
    let node = mesh.node(1)?;
    let loops = guest("hostile-loop");
    // More fuel than any machine burns in that time.
    let flags = ["run", &loops, "--task-timeout", "1s", "--fuel", "500G", "-o", "json"];
    let job = node.run(&flags)?.exited(3)?.json()?;
    assert_eq!(text(&job, "/reason")?, "timeout");
    let receipt = node.ask(&["receipt", "show", &format!("r-{}-0", text(&job, "/id")?)])?;
    assert_eq!(text(&receipt, "/reason")?, "timeout");
    assert_eq!(number(&receipt, "/exit_code")?, 124);

    let said = node.run(&[&flags[..6], &["--exit-code"]].concat())?;
    assert_eq!(said.code, 124, "{said:#?}");
    Ok(())
}

#[test]
fn a_job_that_may_cost_more_than_there_is_is_refused_and_holds_nothing() -> anyhow::Result<()> {
    let mesh = Mesh::form(&[&[]])?;
    let node = mesh.node(1)?;
    let said = node.run(&["run", "--example", "primes", "--fuel", "4T", "--", "10"])?.exited(7)?;
    assert!(said.stderr.contains("insufficient-credits"), "{said:#?}");
    let balance = node.ask(&["credits", "balance"])?;
    assert_eq!(number(&balance, "/held_ucr")?, 0);
    assert_eq!(number(&balance, "/spent_ucr")?, 0);
    assert_eq!(items(&node.ask(&["job", "list"])?).count(), 0);
    Ok(())
}

//! Commands that talk to a node: what they print, and how they come back to a job.

use std::fs;

use anyhow::Context as _;
use serde_json::Value;
use tests::{items, number, text};

use crate::{Mesh, arg, guest};

#[test]
fn every_command_answers_with_one_document() -> anyhow::Result<()> {
    let mesh = Mesh::form(&[&[]])?;
    let node = mesh.node(1)?;
    let run = ["run", "--example", "primes", "-o", "json", "--", "1000"];
    let job = node.run(&run)?.exited(0)?.json()?;
    assert_eq!(text(&job, "/stdout")?, "168\n");
    assert_eq!(number(&job, "/exit_code")?, 0);
    let id = text(&job, "/id")?;
    let receipt = text(&job, "/receipts/0")?;
    let file = arg(&mesh.path("receipt.json"));
    for (command, kind) in [
        (["status"].as_slice(), "Status"),
        (&["id"], "Identity"),
        (&["peers"], "PeerList"),
        (&["node", "list"], "NodeList"),
        (&["node", "show", node.peer()], "Node"),
        (&["job", "list"], "JobList"),
        (&["job", "show", id], "Job"),
        (&["job", "wait", id], "Job"),
        (&["job", "logs", id], "JobLog"),
        (&["job", "results", id], "JobResults"),
        (&["job", "explain", id], "JobExplanation"),
        (&["credits", "balance"], "CreditBalance"),
        (&["credits", "history"], "CreditHistory"),
        (&["receipt", "list"], "ReceiptList"),
        (&["receipt", "show", receipt], "Receipt"),
        (&["receipt", "export", receipt, "--out", &file], "Action"),
        (&["receipt", "verify", &file], "ReceiptVerification"),
        (&["run", "--example", "primes", "--dry-run"], "JobPlan"),
        (&["exec", "--example", "wordfreq"], "Execution"),
        (&["config", "show"], "SettingList"),
        (&["config", "path"], "Paths"),
        (&["version"], "Version"),
    ] {
        let document = node.ask(command)?;
        assert_eq!(text(&document, "/apiVersion")?, "weft/v1", "{command:?}");
        assert_eq!(text(&document, "/kind")?, kind, "{command:?}");
    }
    Ok(())
}

#[test]
fn a_job_that_was_left_alone_is_found_again() -> anyhow::Result<()> {
    let mesh = Mesh::form(&[&[]])?;
    let node = mesh.node(1)?;
    let (lines, out) = (mesh.path("lines"), mesh.path("out"));
    fs::write(&lines, "10\n100\n1000")?;
    let map = ["map", &guest("primes"), "--in", &arg(&lines), "--by-line", "--reduce=concat"];
    let said =
        node.run(&[&map, ["--out", &arg(&out), "--detach"].as_slice()].concat())?.exited(0)?;
    let id = said.stdout.trim();
    node.run(&["job", "wait", id])?.exited(0)?;
    // Eight digits of its id name it, and so does its name.
    for name in [id.get(..8).unwrap_or_default(), "primes"] {
        fs::remove_dir_all(&out)?;
        node.run(&["job", "results", name, "--out", &arg(&out)])?.exited(0)?;
        assert_eq!(fs::read_to_string(out.join("line-000002.out"))?, "25\n");
        assert_eq!(fs::read_to_string(out.join("result.bin"))?, "4\n25\n168\n");
    }
    Ok(())
}

#[test]
fn a_job_outlives_the_patience_of_whoever_waits_for_it() -> anyhow::Result<()> {
    let mesh = Mesh::form(&[&[]])?;
    let node = mesh.node(1)?;
    let endless = guest("hostile-loop");
    let run = ["run", &endless, "--fuel", "500G", "--task-timeout", "1h", "--timeout", "1s"];
    let said = node.run(&run)?.exited(124)?;
    assert!(said.stderr.contains("weft job wait "), "{said:#?}");
    let jobs = node.ask(&["job", "list"])?;
    let id = text(&jobs, "/items/0/id")?;
    assert_eq!(items(&jobs).count(), 1);
    let cancelled = node.ask(&["job", "cancel", id])?;
    assert_eq!(text(&cancelled, "/state")?, "CANCELLED");
    assert_eq!(number(&cancelled, "/held_ucr")?, 0);
    node.run(&["job", "wait", id])?.exited(3)?;
    node.run(&["job", "cancel", "no-such-job"])?.exited(1)?;
    Ok(())
}

#[test]
fn a_program_does_the_same_with_and_without_a_mesh() -> anyhow::Result<()> {
    let mesh = Mesh::form(&[&[]])?;
    let node = mesh.node(1)?;
    let (here, there) = (mesh.path("here"), mesh.path("there"));
    let draw = |verb: &str, out: &str| {
        let flags = ["--example", "mandelbrot", "-o", "json", "--out", out, "--", "64", "48"];
        node.run(&[[verb].as_slice(), &flags].concat())?.exited(0)?.json()
    };
    let (exec, run) = (draw("exec", &arg(&here))?, draw("run", &arg(&there))?);
    assert_eq!(text(&exec, "/stdout")?, text(&run, "/stdout")?);
    assert_eq!(number(&exec, "/fuel")?, number(&run, "/fuel")?);
    let picture = fs::read(here.join("mandelbrot.png"))?;
    assert!(picture.starts_with(b"\x89PNG"));
    assert_eq!(picture, fs::read(there.join("mandelbrot.png"))?);
    Ok(())
}

#[test]
fn what_a_program_spent_is_explained_by_function_and_adds_up() -> anyhow::Result<()> {
    let mesh = Mesh::form(&[&[]])?;
    let node = mesh.node(1)?;
    let args = ["--example", "primes", "--", "1000"];
    let plain =
        node.run(&[["exec", "-o", "json"].as_slice(), &args].concat())?.exited(0)?.json()?;
    assert_eq!(plain.get("functions"), None);
    let explain = ["exec", "--explain", "-o", "json"];
    let explained = node.run(&[explain.as_slice(), &args].concat())?.exited(0)?.json()?;
    for same in ["/stdout", "/fuel", "/memory_peak_bytes", "/outcome"] {
        assert_eq!(explained.pointer(same), plain.pointer(same), "{same}");
    }
    let functions = explained.pointer("/functions").and_then(Value::as_array);
    let functions = functions.context("no functions")?;
    let spent: Result<Vec<_>, _> = functions.iter().map(|one| number(one, "/fuel")).collect();
    let spent = spent?;
    assert!(spent.is_sorted_by(|one, next| one >= next), "{spent:?}");
    let elsewhere = number(&explained, "/fuel_elsewhere")?;
    assert_eq!(spent.iter().sum::<u64>() + elsewhere, number(&plain, "/fuel")?);
    // For people it is a table beside what the program says.
    let said = node.run(&[["exec", "--explain"].as_slice(), &args].concat())?.exited(0)?;
    assert_eq!(said.stdout, "168\n");
    assert!(said.stderr.contains("FUEL") && said.stderr.contains("(start, and calls of the host)"));
    Ok(())
}

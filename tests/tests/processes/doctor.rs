//! `weft doctor` with and without a running node.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use serde_json::Value;
use tests::{Weft, items, text};

use crate::{Mesh, arg};

/// What a check said.
fn found<'a>(report: &'a Value, check: &str) -> anyhow::Result<&'a Value> {
    items(report)
        .find(|item| item["check"] == check)
        .ok_or_else(|| anyhow::anyhow!("{check} was not looked at: {report}"))
}

#[test]
fn a_running_node_is_looked_at_from_all_sides() -> anyhow::Result<()> {
    let mesh = Mesh::form(&[&[]])?;
    let node = mesh.node(1)?;
    let said = node.run(&["doctor", "-o", "json"])?;
    let report = said.json()?;
    assert_eq!(text(&report, "/kind")?, "DoctorReport");
    assert!(items(&report).count() >= 25, "{report}");
    for check in [
        "daemon",
        "socket",
        "config",
        "identity",
        "owner",
        "token",
        "directory",
        "ports",
        "runner",
        "sandbox",
        "membership",
        "coordinator",
        "versions",
        "ledger",
        "clock",
        "entropy",
    ] {
        assert_eq!(found(&report, check)?["severity"], "ok", "{report}");
    }
    assert!(found(&report, "daemon")?["text"].as_str().unwrap_or_default().contains("pid "));
    let problems = items(&report).filter(|item| item["severity"] == "problem").count();
    assert_eq!(said.code, if problems == 0 { 0 } else { 8 }, "{report}");
    for item in items(&report) {
        if let Some(code) = item["code"].as_str() {
            mesh.weft.run(&["explain", code])?.exited(0)?;
        }
    }
    let words = node.run(&["doctor"])?.exited(said.code)?;
    assert!(words.stdout.contains("✓ daemon"), "{words:#?}");
    Ok(())
}

#[test]
fn what_can_be_mended_is_mended_only_when_asked() -> anyhow::Result<()> {
    let (weft, dir) = (Weft::built()?, tempfile::tempdir()?);
    let data = dir.path().join("node");
    let weft = |args: &[&str]| weft.run(&[&["--data-dir", &arg(&data)], args].concat());
    weft(&["init"])?.exited(0)?;
    let key = data.join("owner.key");
    let mode = |path: &Path| fs::metadata(path).map(|it| it.permissions().mode() & 0o777);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644))?;
    for args in [["doctor"].as_slice(), &["doctor", "--fix", "--dry-run"]] {
        let said = weft(args)?.exited(8)?;
        assert!(said.stdout.contains("[WD-004]"), "{said:#?}");
        assert_eq!(mode(&key)?, 0o644);
    }
    let report = weft(&["doctor", "--fix", "-o", "json"])?.json()?;
    assert_eq!(mode(&key)?, 0o600);
    assert_eq!(found(&report, "owner")?["severity"], "ok", "{report}");
    assert_eq!(report["treated"][0]["done"], true, "{report}");
    Ok(())
}

#[test]
fn a_bundle_holds_no_secret() -> anyhow::Result<()> {
    let mesh = Mesh::form(&[&[]])?;
    let node = mesh.node(1)?;
    let data = node.data_dir();
    let input = mesh.path("my-secret-diary.txt");
    fs::write(&input, "1000")?;
    let map =
        ["map", &crate::guest("primes"), "--in", &arg(&input), "--out", &arg(&mesh.path("out"))];
    node.run(&map)?.exited(0)?;
    let file = mesh.path("bundle.tar");
    let report = node.run(&["doctor", "--bundle", &arg(&file), "-o", "json"])?.json()?;
    assert_eq!(text(&report, "/bundle")?, arg(&file));
    assert_eq!(fs::metadata(&file)?.permissions().mode() & 0o777, 0o600);
    let bundle = fs::read(&file)?;
    let bundle = String::from_utf8_lossy(&bundle);
    assert!(bundle.contains("weft-doctor/doctor.json"));
    let mut secrets = vec!["my-secret-diary".to_owned(), arg(data)];
    for name in ["identity.key", "owner.key", "api.token"] {
        let text = fs::read_to_string(data.join(name))?;
        secrets.extend(text.lines().filter(|it| !it.starts_with('-')).map(str::to_owned));
    }
    for secret in secrets {
        assert!(!bundle.contains(&secret), "{secret}");
    }
    // A second one does not replace the first.
    node.run(&["doctor", "--bundle", &arg(&file)])?.exited(1)?;
    Ok(())
}

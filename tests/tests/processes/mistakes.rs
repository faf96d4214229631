//! What goes wrong before anything runs: one clear error, the right exit code, and a node that goes on.

use std::{fs, net::TcpListener};

use tests::{Said, Weft};

use crate::{Mesh, arg};

#[test]
fn what_cannot_be_run_is_said_before_anything_is_submitted() -> anyhow::Result<()> {
    let mesh = Mesh::form(&[&[]])?;
    let node = mesh.node(1)?;
    let text = mesh.path("text.wasm");
    fs::write(&text, "this is not a module")?;
    let truncated = mesh.path("truncated.wasm");
    let module = fs::read(crate::guest("primes"))?;
    fs::write(&truncated, module.get(..module.len() / 2).unwrap_or_default())?;
    let missing = mesh.path("missing.wasm");
    for (path, error) in [
        (missing.as_path(), "file-unreadable"),
        (mesh.dir.path(), "file-unreadable"),
        (&text, "module-invalid"),
        (&truncated, "module-invalid"),
    ] {
        let said = node.run(&["run", &arg(path)])?.exited(1)?;
        says(&said, &[error, &arg(path), "help:"]);
    }
    let (nothing, out) = (arg(&mesh.path("nothing/*.txt")), arg(&mesh.path("out")));
    let said = node.run(&["map", &arg(&text), "--in", &nothing, "--out", &out])?.exited(1)?;
    says(&said, &["help:"]);
    let said = node.run(&["run", "--example", "primes", "--nonsense"])?.exited(2)?;
    says(&said, &["--nonsense"]);
    assert!(node.ask(&["job", "list"])?.to_string().contains("\"items\":[]"));
    node.run(&["run", "--example", "primes", "--", "10"])?.exited(0)?;
    Ok(())
}

#[test]
fn without_a_node_commands_say_how_to_start_one() -> anyhow::Result<()> {
    let (weft, dir) = (Weft::built()?, tempfile::tempdir()?);
    let data = arg(&dir.path().join("nobody"));
    for command in [["status"].as_slice(), &["run", "--example", "primes"], &["node", "list"]] {
        let said = weft.run(&[&["--data-dir", &data], command].concat())?.exited(5)?;
        says(&said, &["daemon-unreachable", "weft up"]);
    }
    Ok(())
}

#[test]
fn a_port_that_is_taken_is_named() -> anyhow::Result<()> {
    let (weft, dir) = (Weft::built()?, tempfile::tempdir()?);
    let data = arg(&dir.path().join("node"));
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let port = taken.local_addr()?.port().to_string();
    let (api, listen) = (format!("127.0.0.1:{port}"), format!("/ip4/127.0.0.1/tcp/{port}"));
    for (api, listen) in [(api.as_str(), "/ip4/127.0.0.1/tcp/0"), ("127.0.0.1:0", &listen)] {
        let command = ["up", "--no-mdns", "--data-dir", &data, "--api", api, "--listen", listen];
        let said = weft.run(&command)?.exited(1)?;
        says(&said, &["port-in-use", &port, "help:"]);
        assert!(!said.stdout.contains("ready"), "{said:#?}");
    }
    Ok(())
}

#[test]
fn a_data_directory_that_is_none_or_is_taken_is_named() -> anyhow::Result<()> {
    let mesh = Mesh::form(&[&[]])?;
    let file = mesh.path("file");
    fs::write(&file, "")?;
    let node = mesh.node(1)?;
    for (dir, code, error) in [
        (file.as_path(), 1, "data-dir-unusable"),
        (&file.join("below"), 1, "data-dir-unusable"),
        (node.data_dir(), 9, "already-running"),
    ] {
        let (dir, listen) = (arg(dir), "/ip4/127.0.0.1/tcp/0");
        let command = ["up", "--data-dir", &dir, "--api", "127.0.0.1:0", "--listen", listen];
        let said = mesh.weft.run(&command)?.exited(code)?;
        says(&said, &[error, &dir, "help:"]);
    }
    node.run(&["status"])?.exited(0)?;
    Ok(())
}

/// Checks that an error has everything that a person needs.
fn says(said: &Said, parts: &[&str]) {
    for part in parts {
        assert!(said.stderr.contains(part), "`{part}` is not in {said:#?}");
    }
}

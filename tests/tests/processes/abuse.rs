//! A person who means no good, or a machine that has nothing left: an error that says so, and never a panic.

use std::{
    ffi::OsStr,
    fs,
    io::Read as _,
    os::unix::{ffi::OsStrExt as _, net::UnixStream},
    process::{Command, Stdio},
};

use rustix::process::Signal;
use tests::{Said, Weft};

use crate::{Mesh, arg};

/// Nothing that a program says when it has a bug.
fn is_no_panic(said: &Said) {
    for word in ["panicked", "RUST_BACKTRACE", "a bug:"] {
        assert!(!said.stderr.contains(word) && !said.stdout.contains(word), "{said:#?}");
    }
    assert!(said.code >= 0 && said.code != 101, "{said:#?}");
}

#[test]
fn words_that_are_no_text_or_too_long_are_refused() -> anyhow::Result<()> {
    let (weft, dir) = (Weft::built()?, tempfile::tempdir()?);
    let bytes = OsStr::from_bytes(b"\xff\xfe/../\x01");
    let long = "x".repeat(100_000);
    let data = dir.path().join("data");
    for line in [
        [OsStr::new("job"), OsStr::new("show"), bytes],
        [OsStr::new("job"), OsStr::new("show"), OsStr::new(&long)],
        [OsStr::new("explain"), OsStr::new(&long), OsStr::new("-q")],
        [OsStr::new("explain"), bytes, OsStr::new("-q")],
        [OsStr::new("run"), bytes, OsStr::new("-q")],
        [OsStr::new("run"), OsStr::new(&long), OsStr::new("-q")],
        [OsStr::new("receipt"), OsStr::new("verify"), bytes],
        [OsStr::new("man"), OsStr::new(&long), OsStr::new("-q")],
        [bytes, bytes, bytes],
    ] {
        let mut words = vec![OsStr::new("--data-dir"), data.as_os_str()];
        words.extend(line);
        let said = weft.run(&words)?;
        is_no_panic(&said);
        assert!(said.code > 0, "{said:#?}");
        words.push(OsStr::new("--json"));
        let said = weft.run(&words)?;
        is_no_panic(&said);
        assert_eq!(said.json()?["kind"], "Error", "{said:#?}");
    }
    Ok(())
}

#[test]
fn a_reader_that_has_gone_is_no_reason_to_panic() -> anyhow::Result<()> {
    let weft = Weft::built()?;
    for line in [
        ["explain", "-o", "json"],
        ["completions", "bash", "-q"],
        ["help", "run", "-q"],
        ["nonsense", "-o", "json"],
    ] {
        // The other end of both pipes is closed before anything is written.
        let (out, _) = UnixStream::pair()?;
        let (err, _) = UnixStream::pair()?;
        let mut command = weft.command(&line);
        let (out, err): (std::os::fd::OwnedFd, std::os::fd::OwnedFd) = (out.into(), err.into());
        let status = command.stdin(Stdio::null()).stdout(out).stderr(err).status()?;
        assert!(status.code().is_some_and(|code| code != 101), "{line:?}: {status}");
    }
    Ok(())
}

#[test]
fn a_node_outlives_its_terminal_and_its_log() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let weft = Weft::built()?;
    let data = arg(&dir.path().join("node"));
    let up = [
        "up",
        "--data-dir",
        &data,
        "--no-mdns",
        "--listen",
        "/ip4/127.0.0.1/tcp/0",
        "--api",
        "127.0.0.1:0",
    ];
    let mut command = weft.command(&up);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut first = [0; 6];
    let ready = child.stdout.as_mut().map(|out| out.read_exact(&mut first));
    assert!(matches!(ready, Some(Ok(()))) && &first == b"ready ");
    // Nobody reads its log any more, and its terminal is closed.
    drop((child.stdout.take(), child.stderr.take()));
    tests::signal(child.id(), Signal::HUP)?;
    let ask = |line: &[&str]| weft.run(&[&["--data-dir", data.as_str()], line].concat());
    ask(&["status"])?.exited(0)?;
    ask(&["run", "--example", "primes", "--", "100"])?.exited(0)?;
    ask(&["down"])?.exited(0)?;
    assert!(child.wait()?.success());
    Ok(())
}

/// Runs a script of a shell with a file system of its own, if this user may have one.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn with_mounts(script: &str, words: &[&str]) -> anyhow::Result<Option<Said>> {
    let may = Command::new("unshare").args(["-Urm", "true"]).output();
    if !may.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: this user may not make a mount namespace");
        return Ok(None);
    }
    let mut command = Command::new("unshare");
    command.args(["-Urm", "sh", "-c", script, "sh"]).args(words);
    tests::Running::start(&mut command)?.end().map(Some)
}

#[test]
fn a_disk_that_is_full_or_read_only_is_named() -> anyhow::Result<()> {
    let (weft, dir) = (Weft::built()?, tempfile::tempdir()?);
    let place = dir.path().join("disk");
    fs::create_dir(&place)?;
    let program = weft.command(&[""; 0]).get_program().to_owned();
    let words = [arg(&place), program.to_string_lossy().into_owned()];
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let up = "up --no-mdns --listen /ip4/127.0.0.1/tcp/0 --api 127.0.0.1:0";
    for (mount, command) in
        [("size=4k", "init"), ("size=64k", up), ("size=1m,ro", "init"), ("size=1m,ro", up)]
    {
        let script = format!(
            "mount -t tmpfs -o mode=700,{mount} none \"$1\" && exec \"$2\" --data-dir \"$1/node\" {command}"
        );
        let Some(said) = with_mounts(&script, &words)? else { return Ok(()) };
        is_no_panic(&said);
        assert_eq!(said.code, 1, "{mount}, {command}: {said:#?}");
        assert!(said.stderr.contains("Error: data-dir-unusable"), "{mount}, {command}: {said:#?}");
    }
    Ok(())
}

#[test]
fn results_that_do_not_fit_are_an_error_and_the_node_goes_on() -> anyhow::Result<()> {
    let mesh = Mesh::form(&[&[]])?;
    let node = mesh.node(1)?;
    let place = mesh.path("small");
    fs::create_dir(&place)?;
    let program = mesh.weft.command(&[""; 0]).get_program().to_owned();
    let words = [arg(&place), program.to_string_lossy().into_owned(), arg(node.data_dir())];
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let script = "mount -t tmpfs -o mode=700,size=8k none \"$1\" && \
                  exec \"$2\" --data-dir \"$3\" run --example mandelbrot --out \"$1/out\" -- 512 512";
    let Some(said) = with_mounts(script, &words)? else { return Ok(()) };
    is_no_panic(&said);
    assert_eq!(said.code, 1, "{said:#?}");
    assert!(said.stderr.contains("Error: output-unwritable"), "{said:#?}");
    node.run(&["run", "--example", "primes", "--", "100"])?.exited(0)?;
    Ok(())
}

//! The runner process without a pool: what it does when its node is gone or talks nonsense, and how locked up it is.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::{Child, Command, Stdio},
};

use protocol::{units::Fuel, wire::advert::Isolation, wire::job::TaskLimits};
use sandbox::{
    admission::{Limits, admit},
    engine, frames,
    frames::{Order, RunHeader},
    guests::example,
    jail::{Jail, Kind},
    metering,
};

/// A runner and the node's end of its socket.
fn runner(args: &[&str]) -> (Child, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_weft-runner"))
        .args(args)
        .env_clear()
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    (child, ours)
}

/// How it ended and its last words.
fn end(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().unwrap();
    assert!(output.stdout.is_empty());
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_runner_ends_when_its_node_is_gone_even_while_a_guest_runs() {
    let (child, mut node) = runner(&["exec", "normal"]);
    let wasm = example("hostile-loop").unwrap();
    let admitted = admit(wasm, &Limits::default()).unwrap();
    let facts = admitted.facts();
    let artifact = engine::compile(
        &metering::instrument(&admitted, metering::Purpose::Run).unwrap(),
        facts.compiler,
    )
    .unwrap();
    let (artifact_bytes, memory_bytes_max) = (artifact.len() as u64, 1 << 30);
    let load = Order::Load { artifact_bytes, facts, memory_bytes_max };
    node.write_all(&frames::head(&load).unwrap()).unwrap();
    node.write_all(&artifact).unwrap();
    let mut length = [0; frames::LENGTH_BYTES];
    node.read_exact(&mut length).unwrap();
    node.read_exact(&mut vec![0; frames::header_length(length).unwrap()]).unwrap();
    let run = Order::Run(Box::new(RunHeader {
        args: Vec::new(),
        env: Vec::new(),
        stdin_bytes: 0,
        files: Vec::new(),
        limits: TaskLimits { fuel: Fuel(1 << 40), timeout_ms: 3_600_000, ..TaskLimits::default() },
        seed: [0; 32],
    }));
    node.write_all(&frames::head(&run).unwrap()).unwrap();
    drop(node);
    assert_eq!(end(child), (Some(0), String::new()));
}

#[test]
fn a_runner_whose_node_goes_before_the_first_order_ends_quietly() {
    for kind in ["exec", "compile"] {
        let (child, node) = runner(&[kind, "idle"]);
        drop(node);
        assert_eq!(end(child), (Some(0), String::new()), "{kind}");
    }
}

#[test]
fn a_runner_that_hears_nonsense_says_so_and_ends() {
    let wrong_order = frames::head(&Order::Probe).unwrap();
    for (kind, said, words) in [
        ("exec", [0xff; 4].as_slice(), "makes no sense"),
        ("exec", &[1, 0, 0, 0, 9], "makes no sense"),
        ("compile", &wrong_order, "not for this kind of runner"),
    ] {
        let (child, mut node) = runner(&[kind, "idle"]);
        node.write_all(said).unwrap();
        let (code, text) = end(child);
        assert_eq!(code, Some(1));
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn a_person_who_starts_it_by_hand_is_told_what_to_use() {
    for args in [&[] as &[&str], &["--help"], &["exec"], &["exec", "loud"]] {
        let (child, _node) = runner(args);
        let (code, text) = end(child);
        assert_eq!(code, Some(2));
        assert!(text.contains("weft exec"), "{text}");
    }
}

/// Says to the process that runs the test below that it is the one to be locked up.
const LOCKED: &str = "WEFT_TEST_LOCKED";

/// Runs in a process of its own, started by the next test.
#[test]
fn inside() {
    if std::env::var_os(LOCKED).is_none() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    TcpStream::connect(address).unwrap();
    drop(listener);
    let parent = rustix::process::getppid().unwrap();
    let grade = Jail::enter(Kind::Exec).unwrap().lock().unwrap().grade;
    println!("grade {}", if grade >= Isolation::B { "B" } else { "C" });
    println!("open {}", std::fs::File::open("/etc/passwd").is_err());
    println!("list {}", std::fs::read_dir("/").is_err());
    println!("create {}", std::fs::File::create("/tmp/weft-test-locked").is_err());
    println!("bind {}", UdpSocket::bind("127.0.0.1:0").is_err());
    println!("connect {}", TcpStream::connect(address).is_err());
    println!("spawn {}", Command::new("/bin/true").spawn().is_err());
    println!("thread {}", std::thread::Builder::new().spawn(|| ()).is_err());
    println!("signal {}", rustix::process::test_kill_process(parent).is_err());
}

#[test]
fn a_locked_process_opens_connects_and_starts_nothing() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "inside", "--nocapture", "--test-threads=1"])
        .env(LOCKED, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("grade "), "{text} {}", String::from_utf8_lossy(&output.stderr));
    if text.contains("grade C") {
        println!("skipped: this system has no Landlock or no seccomp");
        return;
    }
    for what in ["open", "list", "create", "bind", "connect", "spawn", "thread", "signal"] {
        assert!(text.contains(&format!("{what} true")), "{what}: {text}");
    }
}

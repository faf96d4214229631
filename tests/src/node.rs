//! Nodes that run.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, ExitStatus, Stdio},
    sync::mpsc::sync_channel,
    thread,
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use rustix::process::Signal;
use serde_json::Value;

use crate::{Running, Said, Weft, items, run::signal, text, until};

/// How long a node may take until it is ready, until it has stopped, and until it is a member.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running node. It is killed when it is dropped.
#[derive(Debug)]
pub struct Node {
    weft: Weft,
    data_dir: PathBuf,
    /// What it was started with, besides its data directory and where it listens.
    flags: Vec<String>,
    process: Child,
    ready: Ready,
    /// Whether it was asked to end and did, so that nothing is to be said about it.
    done: bool,
}

/// What a node says when it is ready.
#[derive(Debug, Clone)]
struct Ready {
    peer: String,
    p2p: String,
    api: String,
}

impl Node {
    /// Starts a node on loopback and any free ports, and waits until it is ready. Its log is `DATA_DIR.log`.
    ///
    /// # Errors
    ///
    /// If it ends before it is ready, or takes too long.
    pub fn start(weft: &Weft, data_dir: &Path, flags: &[&str]) -> anyhow::Result<Self> {
        let alone = ["--no-mdns", "--api", "127.0.0.1:0"];
        let listen = ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"];
        Self::launched(weft, data_dir, &listen, &[&alone, flags].concat())
    }

    /// Starts a node as a person would, with nothing but `flags`, and waits until it is ready: in a namespace of its
    /// own, where all ports are free and nobody else is found. Its log is `DATA_DIR.log`.
    ///
    /// # Errors
    ///
    /// If it ends before it is ready, or takes too long.
    pub fn start_plain(weft: &Weft, data_dir: &Path, flags: &[&str]) -> anyhow::Result<Self> {
        Self::launched(weft, data_dir, &[], flags)
    }

    fn launched(
        weft: &Weft,
        data_dir: &Path,
        listen: &[&str],
        flags: &[&str],
    ) -> anyhow::Result<Self> {
        let flags: Vec<_> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let (process, ready) = launch(weft, data_dir, listen, &flags)?;
        let (weft, data_dir) = (weft.clone(), data_dir.to_owned());
        Ok(Self { weft, data_dir, flags, process, ready, done: false })
    }

    /// Its peer id.
    #[must_use]
    pub fn peer(&self) -> &str {
        &self.ready.peer
    }

    /// An address of it that other nodes can join by.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.ready.p2p
    }

    /// The URL of its API.
    #[must_use]
    pub fn api(&self) -> &str {
        &self.ready.api
    }

    /// What it has said on its standard error since it was first started.
    ///
    /// # Errors
    ///
    /// If its log cannot be read.
    pub fn log(&self) -> anyhow::Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(log_path(&self.data_dir))?).into_owned())
    }

    /// The memory that it holds now, in bytes, as the kernel counts it.
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub fn memory_bytes(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()).context("no VmRSS")?;
        Ok(kib.parse::<u64>()?.saturating_mul(1024))
    }

    /// Its data directory.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Starts a command that talks to it.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub fn begin(&self, args: &[&str]) -> anyhow::Result<Running> {
        let mut command = self.weft.command(&[] as &[&str]);
        command.arg("--data-dir").arg(&self.data_dir).args(args);
        Running::start(&mut command)
    }

    /// Runs a command that talks to it, to its end.
    ///
    /// # Errors
    ///
    /// If it does not start, or takes too long.
    pub fn run(&self, args: &[&str]) -> anyhow::Result<Said> {
        self.begin(args)?.end()
    }

    /// Runs a command and reads the document that it prints. What follows `--` in `args` stays the guest's.
    ///
    /// # Errors
    ///
    /// If it fails, or prints something else.
    pub fn ask(&self, args: &[&str]) -> anyhow::Result<Value> {
        self.run(&[&["-o", "json"], args].concat())?.exited(0)?.json()
    }

    /// Waits until it is a member of its mesh, as far as it knows itself.
    ///
    /// # Errors
    ///
    /// If that takes too long.
    pub fn joined(&self) -> anyhow::Result<()> {
        until("being a member", PATIENCE, || {
            Ok((self.run(&["credits", "balance"])?.code == 0).then_some(()))
        })
    }

    /// Kills it: no chance to clean up.
    ///
    /// # Errors
    ///
    /// If it cannot be waited for.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Stops it in its tracks, or lets it go on: it does not know that time passes, and its connections stay.
    ///
    /// # Errors
    ///
    /// If the signal does not reach it.
    pub fn freeze(&self, frozen: bool) -> anyhow::Result<()> {
        signal(self.process.id(), if frozen { Signal::STOP } else { Signal::CONT })
    }

    /// Starts it again after its end: same data directory, same flags, same addresses for other nodes.
    ///
    /// # Errors
    ///
    /// See [`Node::start`].
    pub fn restart(&mut self, listen: &[String]) -> anyhow::Result<()> {
        let listen: Vec<_> = listen.iter().map(String::as_str).collect();
        let (process, ready) = launch(&self.weft, &self.data_dir, &listen, &self.flags)?;
        (self.process, self.ready) = (process, ready);
        Ok(())
    }

    /// Where it listens for other nodes, without its id: for [`restart`](Self::restart).
    ///
    /// # Errors
    ///
    /// If it does not say.
    pub fn listens(&self) -> anyhow::Result<Vec<String>> {
        let identity = self.ask(&["id"])?;
        let addresses = identity.get("addresses").and_then(Value::as_array);
        addresses
            .context("the node does not say where it listens")?
            .iter()
            .map(|address| {
                let address = address.as_str().context("an address is text")?;
                Ok(address.split("/p2p/").next().unwrap_or(address).to_owned())
            })
            .collect()
    }

    /// Stops it where it is, as a machine that sleeps, or wakes it.
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub fn suspend(&self, asleep: bool) -> anyhow::Result<()> {
        signal(self.process.id(), if asleep { Signal::STOP } else { Signal::CONT })
    }

    /// Asks it to end, with SIGTERM, and waits until it has.
    ///
    /// # Errors
    ///
    /// If that takes too long.
    pub fn terminate(mut self) -> anyhow::Result<ExitStatus> {
        signal(self.process.id(), Signal::TERM)?;
        let status = until("a node's end", PATIENCE, || Ok(self.process.try_wait()?))?;
        self.done = true;
        Ok(status)
    }
}

impl Drop for Node {
    #[expect(clippy::print_stderr, reason = "why a test failed; shown only if it did")]
    fn drop(&mut self) {
        if !self.done {
            // Both fail only if it has ended, which is what is wanted.
            drop(self.process.kill());
            drop(self.process.wait());
            let log = log_path(&self.data_dir);
            eprintln!("{}, its last lines:\n{}", log.display(), last_lines(&log));
        }
    }
}

/// Waits until so many nodes are approved and heard from, as `node` sees it.
///
/// # Errors
///
/// If that takes too long.
pub fn healthy(node: &Node, nodes: usize) -> anyhow::Result<()> {
    until("a mesh of that many nodes", PATIENCE, || {
        let said = node.run(&["node", "list", "-o", "json"])?;
        if said.code != 0 {
            return Ok(None);
        }
        let listed = said.json()?;
        let healthy = |node: &&Value| {
            text(node, "/admission").is_ok_and(|is| is == "APPROVED")
                && text(node, "/liveness").is_ok_and(|is| is == "HEALTHY")
        };
        Ok((items(&listed).filter(healthy).count() == nodes).then_some(()))
    })
}

fn log_path(data_dir: &Path) -> PathBuf {
    data_dir.with_extension("log")
}

fn last_lines(path: &Path) -> String {
    let log = fs::read(path).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<_> = log.lines().collect();
    let last = lines.get(lines.len().saturating_sub(30)..).unwrap_or_default();
    last.join("\n")
}

fn launch(
    weft: &Weft,
    data_dir: &Path,
    listen: &[&str],
    flags: &[String],
) -> anyhow::Result<(Child, Ready)> {
    let log = log_path(data_dir);
    let mut command = weft.command(&["up"]);
    for address in listen {
        command.args(["--listen", address]);
    }
    command
        .args(flags)
        .arg("--data-dir")
        .arg(data_dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(File::options().create(true).append(true).open(&log)?);
    let mut process = command.spawn()?;
    let ready = process.stdout.take().ok_or_else(|| anyhow!("no output")).and_then(wait_ready);
    match ready {
        Ok(ready) => Ok((process, ready)),
        Err(error) => {
            drop(process.kill());
            drop(process.wait());
            Err(error.context(last_lines(&log)))
        }
    }
}

/// Waits for the line that says that a node is ready. Keeps reading what comes after it, so that the node can write.
fn wait_ready(output: ChildStdout) -> anyhow::Result<Ready> {
    let (sender, ready) = sync_channel(1);
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if let Some(fields) = line.strip_prefix("ready ") {
                // Full if there are two such lines: the first counts.
                drop(sender.try_send(fields.to_owned()));
            }
        }
    });
    let Ok(fields) = ready.recv_timeout(PATIENCE) else {
        bail!("the node ended, or was not ready in time");
    };
    let field = |name: &str| {
        fields
            .split_whitespace()
            .find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
            .map(str::to_owned)
            .with_context(|| format!("`{name}` is not in the line: ready {fields}"))
    };
    Ok(Ready { peer: field("peer")?, p2p: field("p2p")?, api: field("api")? })
}

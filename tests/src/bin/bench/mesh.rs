//! Real nodes on loopback, and the command line that talks to them.

use std::{
    env,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use crate::stopwatch::Stopwatch;

/// How long a node may take until it is ready, a mesh until it is formed, and a node until it has stopped.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long one command may take.
const COMMAND_MAX: Duration = Duration::from_secs(600);

/// Nodes that were started. They are killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Mesh {
    weft: PathBuf,
    nodes: Vec<Node>,
}

/// A running node.
#[derive(Debug)]
struct Node {
    data_dir: PathBuf,
    address: String,
    process: Child,
    /// Kept open, so that the node can write to it.
    _output: BufReader<ChildStdout>,
}

impl Mesh {
    /// No nodes yet, and the `weft` beside this program.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub(crate) fn beside_this_program() -> anyhow::Result<Self> {
        let weft = env::current_exe()?.with_file_name("weft");
        ensure!(weft.is_file(), "{} is missing: `make bench` builds it", weft.display());
        Ok(Self { weft, nodes: Vec::new() })
    }

    /// Starts a node in a new directory and waits until it is ready. The first founds the mesh, the others join it.
    ///
    /// # Errors
    ///
    /// If it does not become ready in time.
    pub(crate) async fn start(
        &mut self,
        data_dir: &Path,
        roles: &str,
        slots: usize,
    ) -> anyhow::Result<()> {
        let mut command = Command::new(&self.weft);
        command
            .args([
                "up",
                "--no-mdns",
                "--api",
                "127.0.0.1:0",
                "--listen",
                "/ip4/127.0.0.1/tcp/0",
                "--roles",
                roles,
            ])
            .args(["--slots", &slots.to_string()])
            .arg("--data-dir")
            .arg(data_dir);
        match self.nodes.first() {
            None => command.arg("--auto-approve"),
            Some(first) => command.args(["--bootstrap", &first.address]),
        };
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let mut process =
            command.spawn().with_context(|| format!("{} does not start", self.weft.display()))?;
        let mut output = BufReader::new(process.stdout.take().context("the node has no output")?);
        let address = timeout(PATIENCE, ready(&mut output))
            .await
            .context("the node is not ready in time")??;
        self.nodes.push(Node { data_dir: data_dir.to_owned(), address, process, _output: output });
        Ok(())
    }

    /// Waits until so many nodes are members and heard from.
    ///
    /// # Errors
    ///
    /// If that takes too long.
    pub(crate) async fn formed(&self, nodes: usize) -> anyhow::Result<()> {
        let watch = Stopwatch::start();
        while watch.elapsed() < PATIENCE {
            if let Ok(listed) = self.ask(&["node", "list"]).await {
                let is = |node: &Value, key: &str, value: &str| {
                    node.get(key).is_some_and(|found| found == value)
                };
                let healthy = |node: &&Value| {
                    is(node, "admission", "APPROVED") && is(node, "liveness", "HEALTHY")
                };
                if items(&listed).filter(healthy).count() == nodes {
                    return Ok(());
                }
            }
        }
        bail!("the mesh did not form in time")
    }

    /// Runs a command on the first node.
    ///
    /// # Errors
    ///
    /// If it fails: with what it says.
    pub(crate) async fn run(&self, args: &[&str]) -> anyhow::Result<Vec<u8>> {
        let first = self.nodes.first().context("no node was started")?;
        let mut command = Command::new(&self.weft);
        command
            .args(args)
            .arg("--data-dir")
            .arg(&first.data_dir)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output =
            timeout(COMMAND_MAX, command.output()).await.context("a command takes too long")??;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`weft {}` failed: {said}", args.join(" "));
        Ok(output.stdout)
    }

    /// Runs a command on the first node and reads the document that it prints.
    ///
    /// # Errors
    ///
    /// If it fails, or prints something else.
    pub(crate) async fn ask(&self, args: &[&str]) -> anyhow::Result<Value> {
        let printed = self.run(&[args, &["-o", "json"]].concat()).await?;
        serde_json::from_slice(&printed)
            .with_context(|| format!("`weft {}` does not print JSON", args.join(" ")))
    }

    /// Stops the nodes, the last first, and waits for them.
    ///
    /// # Errors
    ///
    /// If one does not stop in time.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        while let Some(mut node) = self.nodes.pop() {
            let mut command = Command::new(&self.weft);
            command
                .arg("down")
                .arg("--data-dir")
                .arg(&node.data_dir)
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            command.status().await?;
            timeout(PATIENCE, node.process.wait())
                .await
                .context("a node does not stop in time")??;
        }
        Ok(())
    }
}

/// The items of a list.
pub(crate) fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.get("items").and_then(Value::as_array).into_iter().flatten()
}

/// Reads up to the line that says that the node is ready, and takes its address from it.
async fn ready(output: &mut BufReader<ChildStdout>) -> anyhow::Result<String> {
    let mut line = String::new();
    while output.read_line(&mut line).await? > 0 {
        if let Some(address) = line.strip_prefix("ready ").and_then(|fields| {
            fields.split_whitespace().find_map(|field| field.strip_prefix("p2p="))
        }) {
            return Ok(address.to_owned());
        }
        line.clear();
    }
    bail!("the node ended before it was ready")
}

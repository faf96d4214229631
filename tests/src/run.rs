//! Commands that are run, and what they say.

use std::{
    process::{Command, Output, Stdio},
    sync::mpsc::{Receiver, sync_channel},
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long a command may take, unless more is allowed.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a command that has ended said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The command line, for messages.
    pub command: String,
    /// Its exit code; -1 if a signal ended it.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

impl Said {
    /// Itself, if it exited with that code.
    ///
    /// # Errors
    ///
    /// If it exited with another: with all that it said.
    pub fn exited(self, code: i32) -> anyhow::Result<Self> {
        ensure!(self.code == code, "not exit code {code}: {self:#?}");
        Ok(self)
    }

    /// The document that it printed.
    ///
    /// # Errors
    ///
    /// If it printed something else.
    pub fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_str(&self.stdout).with_context(|| format!("not one document: {self:#?}"))
    }
}

/// A command that runs. It is killed when this is dropped.
#[derive(Debug)]
pub struct Running {
    command: String,
    pid: u32,
    output: Receiver<std::io::Result<Output>>,
    ended: bool,
}

impl Running {
    /// Starts a command without standard input.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub fn start(command: &mut Command) -> anyhow::Result<Self> {
        let line = format!("{command:?}");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().with_context(|| line.clone())?;
        let pid = child.id();
        let (sender, output) = sync_channel(1);
        // Nobody is left to tell if this was dropped: the command was killed then.
        thread::spawn(move || drop(sender.send(child.wait_with_output())));
        Ok(Self { command: line, pid, output, ended: false })
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    ///
    /// If that takes too long.
    pub fn end(self) -> anyhow::Result<Said> {
        self.end_within(PATIENCE)
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    ///
    /// If that takes longer than `limit`.
    pub fn end_within(mut self, limit: Duration) -> anyhow::Result<Said> {
        let Ok(output) = self.output.recv_timeout(limit) else {
            bail!("takes longer than {} s: {}", limit.as_secs(), self.command);
        };
        self.ended = true;
        let output = output.with_context(|| self.command.clone())?;
        Ok(Said {
            command: std::mem::take(&mut self.command),
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended && self.output.try_recv().is_err() {
            // It is this process's child and was not waited for yet, so the number is still its own.
            drop(signal(self.pid, Signal::KILL));
        }
    }
}

/// Sends a signal to a process.
///
/// # Errors
///
/// If there is no such process, or it is somebody else's.
pub fn signal(pid: u32, signal: Signal) -> anyhow::Result<()> {
    let process = Pid::from_raw(i32::try_from(pid)?).context("0 is no process")?;
    kill_process(process, signal).with_context(|| format!("{signal:?} did not reach process {pid}"))
}

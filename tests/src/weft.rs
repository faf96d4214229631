//! The binaries.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};

use crate::{Node, Running, Said, netns::Entrance};

/// `weft`, as it was built beside the program that asks.
#[derive(Debug, Clone)]
pub struct Weft {
    program: PathBuf,
    /// The machine that it runs on, if it is not this one.
    machine: Option<Entrance>,
    /// Where it finds what the kernel says about the machine.
    kernel: PathBuf,
}

impl Weft {
    /// Finds it. Cargo puts programs into one directory, and tests into `deps` in it.
    ///
    /// # Errors
    ///
    /// If `weft` or `weft-runner` is not there, with the way out.
    pub fn built() -> anyhow::Result<Self> {
        let this = env::current_exe()?;
        let directories = this.ancestors().skip(1).take(2);
        for directory in directories {
            let program = directory.join("weft");
            if program.is_file() && directory.join("weft-runner").is_file() {
                // What else this machine does must not matter: nodes believe to be on a quiet server.
                let kernel = Path::new(env!("CARGO_MANIFEST_DIR")).join("host");
                return Ok(Self { program, machine: None, kernel });
            }
        }
        bail!(
            "no weft and weft-runner near {}: build them with `cargo build -p node -p sandbox --bins`, \
             in the same profile (`make test` and `make bench` do)",
            this.display()
        )
    }

    /// The same binaries, run in a namespace.
    pub(crate) fn inside(&self, machine: Entrance) -> Self {
        Self { machine: Some(machine), ..self.clone() }
    }

    /// The same binaries, on a machine of which the kernel says what is below this directory: `proc`, `sys`, `run`.
    #[must_use]
    pub fn on_machine_of(&self, kernel: &Path) -> Self {
        Self { kernel: kernel.to_owned(), ..self.clone() }
    }

    /// A command line, in an environment that changes nothing about it.
    #[must_use]
    pub fn command(&self, args: &[impl AsRef<OsStr>]) -> Command {
        let mut command = match &self.machine {
            Some(machine) => machine.command(&self.program),
            None => Command::new(&self.program),
        };
        command.args(args).env_remove("WEFT_DATA_DIR").env_remove("WEFT_API");
        command.env("WEFT_HOST_ROOT", &self.kernel);
        command
    }

    /// Runs a command that needs no node, to its end.
    ///
    /// # Errors
    ///
    /// If it does not start or does not end.
    pub fn run(&self, args: &[impl AsRef<OsStr>]) -> anyhow::Result<Said> {
        Running::start(&mut self.command(args))?.end()
    }

    /// Starts a node in a data directory, on loopback and any free ports, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// See [`Node::start`].
    pub fn up(&self, data_dir: &Path, flags: &[&str]) -> anyhow::Result<Node> {
        Node::start(self, data_dir, flags)
            .with_context(|| format!("the node of {} does not start", data_dir.display()))
    }
}

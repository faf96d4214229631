//! From a module to its artifact: from the cache, or compiled once however many wait for it.

use std::path::PathBuf;

use protocol::{
    ids::Hash,
    outcome::{Interruption, Outcome},
};
use tokio::sync::Mutex;

use super::{
    artifacts::{Artifact, Artifacts},
    process::{Compiled, Runner},
    read_module,
    refused::Refused,
};
use crate::{
    admission::Compiler,
    metering::Purpose,
    task::{ModuleSource, TaskDone},
};

/// Modules that may be compiled at once. Those of equal first bits wait for each other.
const LANES: usize = 4;

/// Compiles modules.
#[derive(Debug)]
pub(super) struct Compiling {
    program: PathBuf,
    artifacts: Artifacts,
    refused: Refused,
    lanes: [Mutex<()>; LANES],
}

impl Compiling {
    pub(super) fn new(program: PathBuf, artifacts: Artifacts) -> Self {
        Self { program, artifacts, refused: Refused::default(), lanes: Default::default() }
    }

    /// The result that every task of this module has, if it is known not to run.
    pub(super) fn known_refusal(&self, module: Hash) -> Option<Box<TaskDone>> {
        let (outcome, why) = self.refused.get(module)?;
        Some(Box::new(TaskDone::without_output(outcome, Some(why))))
    }

    /// The artifact of a module.
    ///
    /// # Errors
    ///
    /// The result that every task of this module would have.
    pub(super) async fn artifact(
        &self,
        module: Hash,
        source: &ModuleSource,
    ) -> Result<Artifact, Box<TaskDone>> {
        self.known_refusal(module).map_or(Ok(()), Err)?;
        if let Some(artifact) = self.artifacts.get(module).await {
            return Ok(artifact);
        }
        let lane =
            usize::from(module.0[0]).checked_rem(LANES).and_then(|lane| self.lanes.get(lane));
        let _turn = match lane {
            Some(lane) => Some(lane.lock().await),
            None => None,
        };
        // Whoever was before us may have compiled it.
        if let Some(artifact) = self.artifacts.get(module).await {
            return Ok(artifact);
        }
        let bytes = read_module(module, source).await?;
        match self.compile(&bytes, Purpose::Run).await {
            Ok(artifact) => {
                self.artifacts.put(module, &artifact).await;
                Ok(artifact)
            }
            Err((outcome, why)) => {
                // What the host lacked may be there next time.
                if outcome != Outcome::Indeterminate(Interruption::HostResources) {
                    self.refused.put(module, outcome, why.clone());
                }
                Err(Box::new(TaskDone::without_output(outcome, Some(why))))
            }
        }
    }

    /// The code of a module that tells what its functions spent. Nobody keeps it: it is for people.
    ///
    /// # Errors
    ///
    /// The result that every task of this module would have.
    pub(super) async fn explained(
        &self,
        module: Hash,
        source: &ModuleSource,
    ) -> Result<Artifact, Box<TaskDone>> {
        let bytes = read_module(module, source).await?;
        let compiled = self.compile(&bytes, Purpose::Explain).await;
        compiled.map_err(|(outcome, why)| Box::new(TaskDone::without_output(outcome, Some(why))))
    }

    /// Compiles with the compiler that admission chose, and where that takes too long, with the linear one.
    async fn compile(
        &self,
        module: &[u8],
        purpose: Purpose,
    ) -> Result<Artifact, (Outcome, String)> {
        let mut compiled = Runner::compile(&self.program, module, None, purpose).await;
        if compiled.is_err() {
            let linear = Some(Compiler::Singlepass);
            compiled = Runner::compile(&self.program, module, linear, purpose).await;
        }
        match compiled {
            Ok(Compiled::Artifact(artifact)) => Ok(artifact),
            Ok(Compiled::Refused(refusal)) => Err((Outcome::Refused, refusal.text)),
            Err(broken) => Err((Outcome::Indeterminate(broken.interruption), broken.detail)),
        }
    }
}

//! `weft-runner compile`: one module in, native code or a refusal out.

use super::{Error, chain, socket::Socket};
use crate::{
    admission::{Compiler, Facts, Limits, Refusal, admit},
    engine,
    frames::{Order, Reply},
    jail::Jail,
    metering::{self, Purpose},
};

/// What came of a module.
enum Compiled {
    Artifact(Vec<u8>, Facts),
    Refused(Refusal),
    Failed(String),
}

/// Carries out one order.
pub(super) fn serve(mut socket: Socket, jail: Jail) -> Result<(), Error> {
    let Some(order) = socket.order()? else { return Ok(()) };
    let Order::Compile { module_bytes, compiler, purpose } = order else {
        return Err(Error::WrongOrder);
    };
    // Before the first byte of the module.
    jail.lock().map_err(Error::Jail)?;
    let module = socket.bulk(module_bytes)?;
    match compile(&module, compiler, purpose) {
        Compiled::Artifact(artifact, facts) => {
            let artifact_bytes = u64::try_from(artifact.len()).unwrap_or(u64::MAX);
            socket.reply(&Reply::Compiled { artifact_bytes, facts }, &[&artifact])
        }
        Compiled::Refused(refusal) => socket.reply(&Reply::Refused(refusal), &[]),
        Compiled::Failed(text) => socket.reply(&Reply::Failed(text), &[]),
    }
}

fn compile(module: &[u8], compiler: Option<Compiler>, purpose: Purpose) -> Compiled {
    let admitted = match admit(module, &Limits::default()) {
        Ok(admitted) => admitted,
        Err(refusal) => return Compiled::Refused(refusal),
    };
    let mut facts = admitted.facts();
    facts.compiler = compiler.unwrap_or(facts.compiler);
    let instrumented = match metering::instrument(&admitted, purpose) {
        Ok(instrumented) => instrumented,
        Err(error) => {
            return match error.refusal() {
                Some(refusal) => Compiled::Refused(refusal),
                None => Compiled::Failed(chain(&error)),
            };
        }
    };
    match engine::compile(&instrumented, facts.compiler) {
        Ok(artifact) => Compiled::Artifact(artifact, facts),
        Err(error) => Compiled::Failed(chain(&error)),
    }
}

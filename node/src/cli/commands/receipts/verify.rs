//! Checks of receipt files, without a node.

use std::path::Path;

use ledger::proof::{ProofError, ReceiptFacts, verify_receipt};
use portal_api::{ErrorCode, rfc3339, views::Kind};
use protocol::{
    ids::{AccountId, Hash, MeshId, NodeId, ReceiptId},
    units::{Credits, Fuel},
};
use serde::Serialize;

use super::{
    file::{self, Read},
    reexecute::{self, Finding},
};
use crate::cli::{commands::show::fields, context::Context, error::CliError, exit::Exit, human};

/// Running it again gave another result.
const WRONG_RESULT: Exit = Exit(10);
/// Everything is authentic, but the amount is not what was agreed, or not what running it again uses.
const WRONG_BILL: Exit = Exit(11);
/// Running it again cannot tell.
const INDETERMINATE: Exit = Exit(12);
/// The signature or the proof is wrong.
const BAD_PROOF: Exit = Exit(13);

/// What a check of a receipt file found. The last line for people is the verdict.
#[derive(Debug, Serialize)]
struct Verification {
    verdict: &'static str,
    detail: String,
    #[serde(flatten)]
    facts: Option<Facts>,
}

impl Kind for Verification {
    const KIND: &'static str = "ReceiptVerification";
}

/// What a receipt proves, for programs.
#[derive(Debug, Serialize)]
struct Facts {
    #[serde(with = "portal_api::text")]
    mesh: MeshId,
    mesh_name: String,
    #[serde(with = "portal_api::text")]
    receipt: ReceiptId,
    #[serde(with = "portal_api::text")]
    account: AccountId,
    #[serde(with = "portal_api::text")]
    worker: NodeId,
    #[serde(with = "portal_api::text")]
    payee: AccountId,
    #[serde(with = "portal_api::text")]
    module: Hash,
    #[serde(with = "portal_api::text")]
    input: Hash,
    #[serde(with = "portal_api::text")]
    output: Hash,
    outcome: String,
    exit_code: u32,
    fuel: Fuel,
    cost_ucr: Credits,
    entry: u64,
    checkpoint_size: u64,
    settled_at: String,
}

impl From<&ReceiptFacts> for Facts {
    fn from(facts: &ReceiptFacts) -> Self {
        Self {
            mesh: facts.mesh,
            mesh_name: facts.mesh_name.clone(),
            receipt: facts.receipt,
            account: facts.account,
            worker: facts.worker,
            payee: facts.payee,
            module: facts.module,
            input: facts.input,
            output: facts.output,
            outcome: facts.outcome.to_string(),
            exit_code: facts.outcome.exit_code(),
            fuel: facts.fuel,
            cost_ucr: facts.charge,
            entry: facts.entry,
            checkpoint_size: facts.size,
            settled_at: rfc3339::format(facts.at),
        }
    }
}

/// Checks a file. Nobody is asked; signatures and hashes count. Whether the result itself is right is checked only
/// by running the task again (`reexec`), so a receipt of an execution that nobody can repeat still proves who was
/// paid what.
pub(super) async fn verify(
    context: &Context,
    file: &Path,
    mesh: Option<&str>,
    reexec: bool,
) -> Result<Exit, CliError> {
    let mesh = mesh.map(parse_mesh).transpose()?;
    let (exit, verification) = match file::read(file)? {
        Err(detail) => (BAD_PROOF, Verification { verdict: "BAD PROOF", detail, facts: None }),
        Ok(Read { proof, data }) => match (judge(verify_receipt(&proof, mesh)), reexec, data) {
            ((Exit::SUCCESS, verification), true, Some(data)) => {
                let finding = reexecute::run(context, &proof, data).await?;
                found(finding, verification.facts)
            }
            ((Exit::SUCCESS, _), true, None) => {
                return Err(CliError::new(
                    ErrorCode::FileUnreadable,
                    format!("{} has neither the module nor the inputs", file.display()),
                )
                .help("`weft receipt export ID --with-data --out FILE` writes them too"));
            }
            (judged, _, _) => judged,
        },
    };
    context.screen.document(
        verification,
        |verification| verification.verdict.to_owned(),
        |verification| {
            let facts = verification.facts.as_ref().map(people).unwrap_or_default();
            format!("{facts}{}\n{}\n", verification.detail, verification.verdict)
        },
    )?;
    Ok(exit)
}

/// What running a task again says about an authentic receipt.
fn found(finding: Finding, facts: Option<Facts>) -> (Exit, Verification) {
    let (exit, verdict, detail) = match finding {
        Finding::Same => (
            Exit::SUCCESS,
            "VALID",
            "signatures, bill and place in the ledger are right; running the task again gave the same result and \
             used the same fuel"
                .to_owned(),
        ),
        Finding::OtherResult(detail) => (WRONG_RESULT, "WRONG RESULT", detail),
        Finding::OtherFuel(detail) => (WRONG_BILL, "WRONG BILL", detail),
        Finding::Unknown(detail) => (INDETERMINATE, "INDETERMINATE", detail),
    };
    (exit, Verification { verdict, detail, facts })
}

fn parse_mesh(text: &str) -> Result<MeshId, CliError> {
    text.parse().map_err(|_| {
        CliError::new(ErrorCode::Usage, format!("--mesh {text}: not a mesh id"))
            .help("`weft id` on one of its nodes prints it whole")
    })
}

fn judge(result: Result<ReceiptFacts, ProofError>) -> (Exit, Verification) {
    match result {
        Ok(facts) => {
            let facts = Facts::from(&facts);
            let detail = "signatures, bill and place in the ledger are right".to_owned();
            (Exit::SUCCESS, Verification { verdict: "VALID", detail, facts: Some(facts) })
        }
        Err(error) => {
            let (exit, verdict) = if error.is_wrong_bill() {
                (WRONG_BILL, "WRONG BILL")
            } else {
                (BAD_PROOF, "BAD PROOF")
            };
            (exit, Verification { verdict, detail: error.to_string(), facts: None })
        }
    }
}

fn people(facts: &Facts) -> String {
    fields([
        ("mesh", format!("{} ({})", facts.mesh_name, facts.mesh)),
        ("receipt", facts.receipt.to_string()),
        ("worker", facts.worker.to_string()),
        ("module", facts.module.to_string()),
        ("input", facts.input.to_string()),
        ("output", facts.output.to_string()),
        ("outcome", facts.outcome.clone()),
        ("cost", format!("{} for {}", facts.cost_ucr, human::fuel(facts.fuel))),
        (
            "ledger",
            format!(
                "entry {} is in the checkpoint of {} entries",
                facts.entry, facts.checkpoint_size
            ),
        ),
    ])
}

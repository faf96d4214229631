//! `weft receipt`.

use std::path::Path;

use ledger::proof::{ProofError, ReceiptFacts, verify_receipt};
use portal_api::{
    ErrorCode, rfc3339,
    views::{Document, Kind, LedgerList, Receipt, ReceiptFile},
};
use protocol::{
    ids::{AccountId, Hash, MeshId, NodeId, ReceiptId},
    units::{Credits, Fuel},
    wire::view::ReceiptProof,
};
use serde::{Deserialize as _, Serialize};

use super::show::{ago, fields};
use crate::cli::{
    args::ReceiptCommand, client::encode, context::Context, error::CliError, exit::Exit, human,
    pages::all, table::Table, work::out_dir::OutDir,
};

/// The signature or the proof is wrong.
const BAD_PROOF: Exit = Exit(13);
/// Everything is authentic, but the amount is not what was agreed.
const WRONG_BILL: Exit = Exit(11);
/// The largest receipt file, in bytes: far above what one needs.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Does what is asked.
///
/// # Errors
///
/// Whatever the node says, or the file system.
pub async fn receipt(context: &Context, command: ReceiptCommand) -> Result<Exit, CliError> {
    match command {
        ReceiptCommand::List { job, limit } => list(context, job.as_deref(), limit).await,
        ReceiptCommand::Show { id } => {
            let receipt: Receipt = context.client()?.get(&path(&id, "")?).await?;
            context.screen.document(receipt, |receipt| receipt.id.to_string(), text)?;
            Ok(Exit::SUCCESS)
        }
        ReceiptCommand::Export { id, out } => export(context, &id, &out).await,
        ReceiptCommand::Verify { file, mesh } => verify(context, &file, mesh.as_deref()),
    }
}

fn path(id: &str, rest: &str) -> Result<String, CliError> {
    let id: ReceiptId = id.parse().map_err(|_| {
        CliError::new(ErrorCode::NotFound, format!("`{id}` is not the id of a receipt"))
            .help("receipts are called r-<job>-<task>; `weft receipt list` shows them")
    })?;
    Ok(format!("/api/v1/receipts/{id}{rest}"))
}

async fn list(context: &Context, job: Option<&str>, limit: u32) -> Result<Exit, CliError> {
    let query = job.map(|job| format!("job={}", encode(job))).unwrap_or_default();
    let list: LedgerList<Receipt> =
        all(&mut context.client()?, "/api/v1/receipts", &query, limit).await?;
    let wide = context.screen.is_wide();
    context.screen.list(
        list,
        |list: &LedgerList<Receipt>| list.items.as_slice(),
        |receipt| receipt.id.to_string(),
        |list| {
            let mut table =
                Table::new(&["RECEIPT", "WORKER", "OUTCOME", "FUEL", "COST", "ENTRY", "SETTLED"]);
            for receipt in &list.items {
                let worker = receipt.worker;
                table.row([
                    receipt.id.to_string(),
                    if wide { worker.to_string() } else { format!("…{}", worker.short()) },
                    receipt.outcome.clone(),
                    human::fuel(receipt.fuel),
                    receipt.cost_ucr.to_string(),
                    receipt.entry.to_string(),
                    if wide {
                        rfc3339::format(receipt.settled_at)
                    } else {
                        ago(receipt.settled_at)
                    },
                ]);
            }
            table
        },
    )?;
    Ok(Exit::SUCCESS)
}

fn text(receipt: &Receipt) -> String {
    let mut lines = vec![
        ("receipt", receipt.id.to_string()),
        ("worker", receipt.worker.to_string()),
        ("outcome", receipt.outcome.clone()),
        ("fuel", human::fuel(receipt.fuel)),
        ("memory", human::bytes(receipt.memory_peak_bytes)),
        ("cost", receipt.cost_ucr.to_string()),
        ("output", receipt.output.to_string()),
        ("entry", receipt.entry.to_string()),
        (
            "settled",
            format!("{} ({})", rfc3339::format(receipt.settled_at), ago(receipt.settled_at)),
        ),
    ];
    if let Some(detail) = &receipt.detail {
        lines.extend([
            ("job", detail.job_name.clone()),
            ("module", detail.module.to_string()),
            ("input", detail.input.to_string()),
            ("payee", detail.payee.to_string()),
            ("attempt", detail.attempt.to_string()),
        ]);
    }
    fields(lines)
}

async fn export(context: &Context, id: &str, out: &Path) -> Result<Exit, CliError> {
    let file: ReceiptFile = context.client()?.get(&path(id, "/export")?).await?;
    let mut json = serde_json::to_string_pretty(&Document::of(file))
        .map_err(|error| CliError::internal(error.to_string()))?;
    json.push('\n');
    if out == Path::new("-") {
        context.screen.text(&json)?;
        return Ok(Exit::SUCCESS);
    }
    let (Some(directory), Some(name)) =
        (out.parent(), out.file_name().and_then(|name| name.to_str()))
    else {
        return Err(CliError::new(
            ErrorCode::OutputUnwritable,
            format!("{} is not a file", out.display()),
        ));
    };
    let directory = if directory == Path::new("") { Path::new(".") } else { directory };
    OutDir::prepare(directory)?.write(name, json.as_bytes())?;
    context.did(format!("{}      check it, anywhere:  weft receipt verify {0}", out.display()))
}

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

/// Checks a file. Nobody is asked; only signatures and hashes count. Whether the result itself is right is not
/// checked here, so a receipt of an execution that nobody can repeat still proves who was paid what.
fn verify(context: &Context, file: &Path, mesh: Option<&str>) -> Result<Exit, CliError> {
    let mesh = mesh.map(parse_mesh).transpose()?;
    let (exit, verification) = match read(file)? {
        Err(detail) => (BAD_PROOF, Verification { verdict: "BAD PROOF", detail, facts: None }),
        Ok(proof) => judge(verify_receipt(&proof, mesh)),
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

fn parse_mesh(text: &str) -> Result<MeshId, CliError> {
    text.parse().map_err(|_| {
        CliError::new(ErrorCode::Usage, format!("--mesh {text}: not a mesh id"))
            .help("`weft id` on one of its nodes prints it whole")
    })
}

/// Reads a receipt file. The inner error is about what is in it.
fn read(file: &Path) -> Result<Result<ReceiptProof, String>, CliError> {
    let metadata = std::fs::metadata(file).map_err(|error| CliError::unreadable(file, &error))?;
    if metadata.is_dir() {
        return Err(CliError::new(
            ErrorCode::FileUnreadable,
            format!("{} is a directory", file.display()),
        ));
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err(CliError::new(
            ErrorCode::PayloadTooLarge,
            format!("{} is no receipt: it is too large", file.display()),
        ));
    }
    let text = std::fs::read(file).map_err(|error| CliError::unreadable(file, &error))?;
    let unreadable = |error: serde_json::Error| {
        CliError::new(
            ErrorCode::FileUnreadable,
            format!("{} is not a receipt file: {error}", file.display()),
        )
        .help("`weft receipt export ID --out FILE` writes one")
    };
    let written: serde_json::Value = serde_json::from_slice(&text).map_err(unreadable)?;
    let document = Document::<ReceiptFile>::deserialize(&written).map_err(unreadable)?;
    Ok(proof_of(&document.body, &written))
}

/// The proof in a file, if the file holds nothing else. The same could be said in other words (hex in capitals) and
/// with more fields; nobody who changes a file shall find a place where that goes unnoticed.
fn proof_of(file: &ReceiptFile, written: &serde_json::Value) -> Result<ReceiptProof, String> {
    let proof = ReceiptProof::try_from(file).map_err(|error| error.to_string())?;
    let exported = ReceiptFile::try_from(&proof).map_err(|error| error.to_string())?;
    let exported =
        serde_json::to_value(Document::of(exported)).map_err(|error| error.to_string())?;
    if exported == *written {
        Ok(proof)
    } else {
        Err("it is not written as `weft receipt export` writes it: it was changed".to_owned())
    }
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

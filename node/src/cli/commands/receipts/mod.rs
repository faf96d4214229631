//! `weft receipt`.

mod file;
mod reexecute;
mod verify;

use portal_api::{
    ErrorCode, rfc3339,
    views::{LedgerList, Receipt},
};
use protocol::ids::ReceiptId;

use super::show::{ago, fields};
use crate::cli::{
    args::ReceiptCommand, client::encode, context::Context, error::CliError, exit::Exit, human,
    pages::all, table::Table,
};

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
        ReceiptCommand::Export { id, out, with_data } => {
            file::export(context, &path(&id, "/export")?, &out, with_data).await
        }
        ReceiptCommand::Verify { file, mesh, reexec } => {
            verify::verify(context, &file, mesh.as_deref(), reexec).await
        }
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

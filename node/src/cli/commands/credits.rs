//! `weft credits`.

use portal_api::{
    rfc3339,
    views::{Balance, HistoryEntry, LedgerList},
};

use super::show::ago;
use crate::cli::{
    args::CreditsCommand, client::encode, context::Context, error::CliError, exit::Exit, human,
    pages::all, table::Table,
};

/// Does what is asked.
///
/// # Errors
///
/// Whatever the node says.
pub async fn credits(context: &Context, command: CreditsCommand) -> Result<Exit, CliError> {
    let mut client = context.client()?;
    match command {
        CreditsCommand::Balance { account } => {
            let query =
                account.map(|account| format!("?account={}", encode(&account))).unwrap_or_default();
            let balance: Balance = client.get(&format!("/api/v1/credits/balance{query}")).await?;
            context.screen.document(balance, |balance| balance.account.to_string(), text)?;
        }
        CreditsCommand::History { account, limit } => {
            let query =
                account.map(|account| format!("account={}", encode(&account))).unwrap_or_default();
            let list: LedgerList<HistoryEntry> =
                all(&mut client, "/api/v1/credits/history", &query, limit).await?;
            let wide = context.screen.is_wide();
            context.screen.list(
                list,
                |list: &LedgerList<HistoryEntry>| list.items.as_slice(),
                |entry| entry.seq.to_string(),
                |list| history(list, wide),
            )?;
        }
    }
    Ok(Exit::SUCCESS)
}

fn text(balance: &Balance) -> String {
    format!(
        "available {}   held {}   earned {}   spent {}     as of ledger height {} ({})\n",
        balance.available_ucr,
        balance.held_ucr,
        balance.earned_ucr,
        balance.spent_ucr,
        human::count(balance.ledger.ledger_height),
        ago(balance.ledger.as_of)
    )
}

fn history(list: &LedgerList<HistoryEntry>, wide: bool) -> Table {
    let mut table = Table::new(&["ENTRY", "WHEN", "WHAT", "CREDIT", "DEBIT", "JOB", "OTHER"]);
    for entry in &list.items {
        let amount = |credits: protocol::units::Credits| {
            if credits.is_zero() { String::new() } else { credits.to_string() }
        };
        let job = entry.job.map(|job| if wide { job.to_string() } else { job.short() });
        table.row([
            entry.seq.to_string(),
            if wide { rfc3339::format(entry.at) } else { ago(entry.at) },
            entry.entry.clone(),
            amount(entry.credit_ucr),
            amount(entry.debit_ucr),
            job.unwrap_or_default(),
            if wide { entry.other.to_string() } else { entry.other.short() },
        ]);
    }
    table
}

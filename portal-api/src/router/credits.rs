//! Credits and receipts. Accounts are the owner's unless the client says otherwise.

use axum::extract::{Path, State};
use protocol::ids::{AccountId, JobId, ReceiptId};
use serde::{Deserialize, Deserializer};

use super::{
    App,
    answer::{Doc, Ledger, Reply},
    cursor::{Paged, limit},
    extract::Params,
};
use crate::{
    Backend,
    backend::{HistoryQuery, ReceiptsQuery},
    problem::{ErrorCode, Problem},
    text,
    views::{Balance, HistoryEntry, LedgerList, Receipt, ReceiptFile},
};

/// An account in a query string.
#[derive(Debug, Clone, Copy)]
pub(super) enum AccountParam {
    /// That of this node's owner.
    Mine,
    /// This one.
    Of(AccountId),
}

impl AccountParam {
    /// The account that is meant.
    pub(super) fn of<B: Backend>(self, backend: &B) -> AccountId {
        match self {
            Self::Mine => backend.account(),
            Self::Of(account) => account,
        }
    }
}

impl<'de> Deserialize<'de> for AccountParam {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "mine" {
            return Ok(Self::Mine);
        }
        text.parse().map(Self::Of).map_err(serde::de::Error::custom)
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct BalanceParams {
    account: Option<AccountParam>,
}

pub(super) async fn balance<B: Backend>(
    State(app): State<App<B>>,
    Params(params): Params<BalanceParams>,
) -> Result<Ledger<Balance>, Problem> {
    let account = params.account.unwrap_or(AccountParam::Mine).of(&*app.backend);
    let balance = app.backend.balance(account).await?;
    Ok(Ledger(balance.ledger, balance))
}

#[derive(Debug, Deserialize)]
pub(super) struct HistoryParams {
    account: Option<AccountParam>,
    cursor: Option<String>,
    limit: Option<u32>,
}

pub(super) async fn history<B: Backend>(
    State(app): State<App<B>>,
    Params(params): Params<HistoryParams>,
) -> Result<Ledger<LedgerList<HistoryEntry>>, Problem> {
    let query = HistoryQuery {
        account: params.account.unwrap_or(AccountParam::Mine).of(&*app.backend),
        before: Paged::History.key(params.cursor.as_deref())?,
        limit: limit(params.limit)?,
    };
    let found = app.backend.history(query).await?;
    let next_cursor = Paged::History.next(&found.value, query.limit, |entry| entry.seq.to_string());
    Ok(Ledger(found.ledger, LedgerList { ledger: found.ledger, items: found.value, next_cursor }))
}

#[derive(Debug, Deserialize)]
pub(super) struct ReceiptsParams {
    #[serde(with = "text::option", default)]
    job: Option<JobId>,
    account: Option<AccountParam>,
    cursor: Option<String>,
    limit: Option<u32>,
}

pub(super) async fn receipts<B: Backend>(
    State(app): State<App<B>>,
    Params(params): Params<ReceiptsParams>,
) -> Result<Ledger<LedgerList<Receipt>>, Problem> {
    // A job's receipts are asked for whoever paid; without a job, one's own.
    let account = params.account.or_else(|| params.job.is_none().then_some(AccountParam::Mine));
    let query = ReceiptsQuery {
        job: params.job,
        account: account.map(|account| account.of(&*app.backend)),
        after: Paged::Receipts.key(params.cursor.as_deref())?,
        limit: limit(params.limit)?,
    };
    let found = app.backend.receipts(query).await?;
    let next_cursor =
        Paged::Receipts.next(&found.value, query.limit, |receipt| receipt.id.to_string());
    Ok(Ledger(found.ledger, LedgerList { ledger: found.ledger, items: found.value, next_cursor }))
}

pub(super) async fn receipt<B: Backend>(
    State(app): State<App<B>>,
    Path(receipt): Path<String>,
) -> Result<Ledger<Receipt>, Problem> {
    let found = app.backend.receipt(id(&receipt)?).await?;
    Ok(Ledger(found.ledger, found.value))
}

pub(super) async fn export<B: Backend>(
    State(app): State<App<B>>,
    Path(receipt): Path<String>,
) -> Reply<ReceiptFile> {
    app.backend.export_receipt(id(&receipt)?).await.map(Doc)
}

fn id(text: &str) -> Result<ReceiptId, Problem> {
    text.parse()
        .map_err(|error: protocol::ids::BadId| Problem::new(ErrorCode::NotFound, error.to_string()))
}

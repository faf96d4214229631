//! Credits and receipts.

use portal_api::{
    backend::{Answer, AtHeight, HistoryQuery, ReceiptsQuery},
    problem::{ErrorCode, Problem},
    views::{Balance, HistoryEntry, LedgerPoint, Receipt, ReceiptDetail, ReceiptFile},
};
use protocol::{
    ids::{AccountId, ReceiptId, TaskIndex},
    wire::{client::Query, view},
};

use super::{NodeApi, unexpected};

impl NodeApi {
    pub(super) async fn show_balance(&self, account: AccountId) -> Answer<Balance> {
        let view::Answer::Balance(balance) = self.ask(Query::Balance(account)).await? else {
            return Err(unexpected());
        };
        Ok(Balance::from(&balance))
    }

    /// As of which height: asked before the list, so that nothing in the list is newer than it says.
    async fn ledger(&self) -> Answer<LedgerPoint> {
        Ok(LedgerPoint::from(&self.member()?.submitter.mesh().await?))
    }

    pub(super) async fn list_history(
        &self,
        query: HistoryQuery,
    ) -> Answer<AtHeight<Vec<HistoryEntry>>> {
        let ledger = self.ledger().await?;
        let HistoryQuery { account, before, limit } = query;
        let view::Answer::History(entries) =
            self.ask(Query::History { account, before, limit }).await?
        else {
            return Err(unexpected());
        };
        Ok(AtHeight { ledger, value: entries.iter().map(HistoryEntry::from).collect() })
    }

    pub(super) async fn list_receipts(
        &self,
        query: ReceiptsQuery,
    ) -> Answer<AtHeight<Vec<Receipt>>> {
        let ledger = self.ledger().await?;
        let wanted = usize::try_from(query.limit).unwrap_or(usize::MAX);
        let mut after = query.after;
        let mut found = Vec::new();
        while found.len() < wanted {
            let had = u32::try_from(found.len()).unwrap_or(u32::MAX);
            let limit = query.limit.saturating_sub(had);
            let view::Answer::Receipts(page) = self
                .ask(Query::Receipts { job: query.job, account: query.account, after, limit })
                .await?
            else {
                return Err(unexpected());
            };
            let Some(last) = page.last() else { break };
            after = Some(last.receipt);
            found.extend(page.iter().map(Receipt::from));
        }
        Ok(AtHeight { ledger, value: found })
    }

    async fn proof(&self, receipt: ReceiptId) -> Answer<view::ReceiptProof> {
        let view::Answer::Receipt(proof) = self.ask(Query::Receipt(receipt)).await? else {
            return Err(unexpected());
        };
        Ok(*proof)
    }

    pub(super) async fn show_receipt(&self, receipt: ReceiptId) -> Answer<AtHeight<Receipt>> {
        let ledger = self.ledger().await?;
        let after = receipt
            .task
            .0
            .checked_sub(1)
            .map(|task| ReceiptId { task: TaskIndex(task), ..receipt });
        let query = Query::Receipts { job: Some(receipt.job), account: None, after, limit: 1 };
        let view::Answer::Receipts(listed) = self.ask(query).await? else {
            return Err(unexpected());
        };
        let view = listed.iter().find(|view| view.receipt == receipt).ok_or_else(|| {
            Problem::new(
                ErrorCode::NotFound,
                format!("there is no receipt {receipt}: the task was not settled"),
            )
        })?;
        let proof = self.proof(receipt).await?;
        let detail = ReceiptDetail::try_from(&proof).map_err(|error| {
            Problem::new(ErrorCode::Internal, format!("the receipt is damaged: {error}"))
        })?;
        Ok(AtHeight { ledger, value: Receipt { detail: Some(detail), ..Receipt::from(view) } })
    }

    pub(super) async fn export(&self, receipt: ReceiptId) -> Answer<ReceiptFile> {
        ReceiptFile::try_from(&self.proof(receipt).await?).map_err(|error| {
            Problem::new(
                ErrorCode::Internal,
                format!("the receipt does not fit in a file: {error}"),
            )
        })
    }
}

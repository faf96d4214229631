//! Who keeps the ledger.

use portal_api::{
    backend::Answer,
    problem::{ErrorCode, Problem},
    views::Coordinators,
};

use super::NodeApi;

impl NodeApi {
    pub(super) async fn show_coordinators(&self) -> Answer<Coordinators> {
        let said = self.member()?.leader.ask_all().await;
        // The leader knows most; while there is none, whoever has seen the latest term.
        let best = said.iter().max_by_key(|(_, view)| (view.leads, view.term, view.commit_index));
        best.map(|(by, view)| Coordinators::seen(*by, view)).ok_or_else(|| {
            Problem::new(ErrorCode::NoLeader, "no coordinator of the mesh is reached")
                .retry_after(1)
        })
    }
}

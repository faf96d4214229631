//! Who keeps the ledger.

use ledger::replica::ChangeError;
use portal_api::{
    backend::Answer,
    problem::{ErrorCode, Problem},
    views::{CoordinatorRequest, Coordinators},
};
use protocol::wire::enroll::Role;

use super::{Member, NodeApi};
use crate::{
    app::{Wish, set_wish},
    roles::coordinator::Coordinator,
};

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

    pub(super) async fn change_coordinators(
        &self,
        request: CoordinatorRequest,
    ) -> Answer<Coordinators> {
        let member = self.member()?;
        match request {
            CoordinatorRequest::Join => {
                if !self.options.config.roles.contains(&Role::Coordinator) {
                    let detail = "coordinator is not among the roles of this node: start it with --roles \
                                  worker,coordinator";
                    return Err(Problem::new(ErrorCode::WrongState, detail));
                }
                self.wish(&member, Wish::Join)?;
                if member.leader.has_retired() {
                    let detail =
                        "this node has given its place up; start it again, and it gets a new one";
                    return Err(Problem::new(ErrorCode::WrongState, detail));
                }
            }
            CoordinatorRequest::Leave => {
                let others = self.show_coordinators().await?.members.len();
                if others <= 1 && member.leader.here().is_some() {
                    let detail =
                        "this node is the only coordinator, and nobody else has the ledger";
                    return Err(Problem::new(ErrorCode::WrongState, detail));
                }
                self.wish(&member, Wish::Leave)?;
            }
            CoordinatorRequest::Transfer { to } => {
                coordinator(&member)?.hand_over(to).await.map_err(|error| refused(&error))?;
            }
            CoordinatorRequest::Snapshot => {
                coordinator(&member)?.snapshot().await.map_err(|error| refused(&error))?;
            }
        }
        self.show_coordinators().await
    }

    fn wish(&self, member: &Member, wish: Wish) -> Answer<()> {
        set_wish(&self.options, &member.context.mesh, wish)
            .map_err(|error| Problem::new(ErrorCode::Internal, error.to_string()))
    }
}

fn coordinator(member: &Member) -> Answer<Coordinator> {
    let detail = "this node does not coordinate";
    member.leader.here().ok_or_else(|| Problem::new(ErrorCode::WrongState, detail))
}

fn refused(error: &ChangeError) -> Problem {
    match error {
        ChangeError::NotLeader { leader: Some(leader) } => Problem::new(
            ErrorCode::WrongState,
            format!("this node does not lead; run it on the one that does, {leader}"),
        ),
        ChangeError::NotLeader { leader: None } => {
            Problem::new(ErrorCode::NoLeader, "nobody leads at the moment").retry_after(1)
        }
        ChangeError::Unknown => Problem::new(
            ErrorCode::Timeout,
            "nobody took over in time; `weft coord status` shows who leads",
        ),
        ChangeError::Outdated | ChangeError::Senseless(_) | ChangeError::Stopped(_) | _ => {
            Problem::new(ErrorCode::WrongState, error.to_string())
        }
    }
}

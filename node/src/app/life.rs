//! A node's life: one stay after another, each in one mesh, with moves between them.

use protocol::{ids::MeshId, wire::enroll::Membership};
use tokio::sync::{mpsc, oneshot, watch};

use super::{AppError, moving, start::Base, stay::Stay};
use crate::{api::Standing, net::Roll};

/// Orders that wait; more callers wait themselves.
pub(super) const ORDERS_MAX: usize = 4;

/// Whether a mesh that holds something may be left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mine {
    /// Only one that is pristine.
    IfPristine,
    /// Any: its owner said so.
    Leave,
}

/// What the node is to do about the mesh that it is in.
#[derive(Debug)]
pub enum Order {
    /// Move to a mesh that has admitted it. Answers whether it did.
    Move {
        /// Which.
        mesh: MeshId,
        /// What it sent.
        membership: Box<Membership>,
        /// Whether the present mesh may be left for it.
        mine: Mine,
        /// Where the answer goes.
        moved: oneshot::Sender<bool>,
    },
    /// End: nobody lets this node in.
    GiveUp {
        /// The mesh that refused it.
        mesh: String,
        /// Why.
        reason: String,
    },
    /// Put the mesh away, for none. The node ends afterwards.
    Leave {
        /// Told once it has left.
        left: oneshot::Sender<()>,
    },
}

/// A node between its start and its end.
pub(super) struct Life {
    pub(super) base: Base,
    pub(super) stay: Option<Stay>,
    pub(super) standing: watch::Sender<Standing>,
    pub(super) orders: mpsc::Receiver<Order>,
}

impl Life {
    /// Goes on until something breaks. Dropped in the middle of a move, the rest is done at the next start.
    pub(super) async fn run(&mut self) -> AppError {
        loop {
            let fatal = async {
                match &self.stay {
                    Some(stay) => stay.fatal().await,
                    None => std::future::pending().await,
                }
            };
            let order = tokio::select! {
                error = fatal => return error,
                Some(order) = self.orders.recv() => order,
            };
            let obeyed = self.obey(order).await;
            if let Err(error) = obeyed {
                return error;
            }
        }
    }

    async fn obey(&mut self, order: Order) -> Result<(), AppError> {
        match order {
            Order::Move { mesh, membership, mine, moved } => {
                let done = self.move_to(mesh, *membership, mine).await?;
                let _gone = moved.send(done);
            }
            Order::GiveUp { mesh, reason } => return Err(AppError::Refused { mesh, reason }),
            Order::Leave { left } => {
                self.leave().await?;
                let _gone = left.send(());
            }
        }
        Ok(())
    }

    /// Moves, unless what is left behind holds something that nobody allowed to be left. Says whether it did.
    async fn move_to(
        &mut self,
        mesh: MeshId,
        membership: Membership,
        mine: Mine,
    ) -> Result<bool, AppError> {
        let keep = |stay: &Stay| mine == Mine::IfPristine && !stay.is_pristine();
        let from = self.stay.as_ref().map(Stay::mesh);
        if from == Some(mesh) {
            return Ok(true);
        }
        if self.stay.as_ref().is_some_and(keep) {
            return Ok(false);
        }
        self.standing.send_replace(Standing::Starting);
        if let Some(stay) = self.stay.take() {
            stay.end().await;
            // Something may have come in just now; nothing can any more.
            if keep(&stay) {
                drop(stay);
                self.stay_where_it_was().await?;
                return Ok(false);
            }
            stay.depart().await;
        }
        self.forget_members().await;
        moving::move_to(&self.base.options, from, &membership)?;
        self.settle(mesh, membership).await?;
        Ok(true)
    }

    async fn stay_where_it_was(&mut self) -> Result<(), AppError> {
        match super::membership::load(&self.base.options)? {
            Some((mesh, membership)) => self.settle(mesh, membership).await,
            None => Ok(()),
        }
    }

    /// Starts in a mesh.
    pub(super) async fn settle(
        &mut self,
        mesh: MeshId,
        membership: Membership,
    ) -> Result<(), AppError> {
        let stay = self.base.start(mesh, membership).await?;
        self.standing.send_replace(Standing::Member(Box::new(stay.member.clone())));
        tracing::info!(mesh = stay.member.mesh_name, "is in a mesh");
        self.stay = Some(stay);
        Ok(())
    }

    async fn leave(&mut self) -> Result<(), AppError> {
        let Some(stay) = self.stay.take() else { return Ok(()) };
        self.standing.send_replace(Standing::Starting);
        let mesh = stay.mesh();
        stay.drain(self.base.options.config.shutdown_grace).await;
        stay.depart().await;
        stay.end().await;
        drop(stay);
        self.forget_members().await;
        moving::leave(&self.base.options, &mesh)
    }

    /// Members of the mesh that is left are not remembered as those of the next one.
    async fn forget_members(&self) {
        self.base.net.set_roll(Roll::default()).await;
    }
}

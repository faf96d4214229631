//! Joining another mesh, and leaving one.

use std::time::Duration;

use libp2p::{Multiaddr, multiaddr::Protocol};
use portal_api::{
    backend::Answer,
    problem::{ErrorCode, Problem},
    views::{JoinRequest, JoinState, Joining, LeaveRequest, Left},
};
use protocol::{invite::Invite, limits::ADDRESS_BYTES_MAX};
use tokio::sync::oneshot;

use super::{Asking, NodeApi, Standing};
use crate::app::{Errand, Join, Mine, Order, Patience};

/// How long the other node may take to say what it thinks of this one.
const REACH_WITHIN: Duration = Duration::from_secs(25);

impl From<&Asking> for Joining {
    fn from(asking: &Asking) -> Self {
        Self {
            mesh: asking.mesh,
            mesh_name: asking.mesh_name.clone(),
            members: asking.members,
            peer: asking.node,
            address: asking.address.clone(),
            code: asking.code.map(protocol::code::Code::digits),
            state: if asking.refused.is_some() { JoinState::Refused } else { JoinState::Pending },
            reason: asking.refused.clone(),
        }
    }
}

impl NodeApi {
    pub(super) async fn ask_to_join(&self, request: JoinRequest) -> Answer<Joining> {
        let (addresses, invite) = whom(&request)?;
        let whom = match (&invite, &request.address) {
            (Some(invite), _) => format!("the mesh \"{}\"", invite.name),
            (None, address) => address.clone().unwrap_or_default(),
        };
        if !request.leave_mine {
            self.check_pristine()?;
        }
        let (reached, answer) = oneshot::channel();
        let join = Join {
            errand: Errand { addresses, invite, patience: Patience::UntilDecided },
            mine: if request.leave_mine { Mine::Leave } else { Mine::IfPristine },
            reached: Some(reached),
        };
        let ending = || Problem::new(ErrorCode::NotReady, "this node is shutting down");
        self.joins.send(join).await.map_err(|_| ending())?;
        match tokio::time::timeout(REACH_WITHIN, answer).await {
            Ok(Ok(Ok(asking))) => Ok(Joining::from(&asking)),
            Ok(Ok(Err(why))) => {
                Err(Problem::new(ErrorCode::NodeUnreachable, format!("{whom}: {why}")))
            }
            // Somebody else asked for another mesh meanwhile.
            Ok(Err(_)) => Err(Problem::new(
                ErrorCode::WrongState,
                "another request to join has taken the place of this one",
            )),
            Err(_) => {
                Err(Problem::new(ErrorCode::NodeUnreachable, format!("{whom} does not answer")))
            }
        }
    }

    /// A mesh that holds something is not left by accident.
    fn check_pristine(&self) -> Answer<()> {
        let Standing::Member(member) = &*self.standing.borrow() else { return Ok(()) };
        let hello = member.hello();
        if hello.is_none_or(|hello| hello.pristine) {
            return Ok(());
        }
        Err(Problem::new(
            ErrorCode::WrongState,
            format!(
                "this node is in the mesh \"{}\", which holds jobs or credits; with --leave-mine it leaves it and keeps \
                 what it holds in {}",
                member.mesh_name,
                self.options.home.old_dir().join(member.context.mesh.to_string()).display()
            ),
        ))
    }

    pub(super) async fn leave_mesh(&self, request: LeaveRequest) -> Answer<Left> {
        let member = self.member()?;
        let mesh = member.context.mesh;
        if request.mesh != mesh {
            let detail = format!("this node is in {mesh}, not in {}", request.mesh);
            return Err(Problem::new(ErrorCode::WrongMesh, detail));
        }
        let others = member
            .leader
            .here()
            .map_or(0, |here| here.roster().borrow().members.len().saturating_sub(1));
        if others > 0 && !request.force {
            let detail = format!(
                "{others} other nodes are in this mesh and can do nothing without this one; with --force it leaves \
                 nevertheless"
            );
            return Err(Problem::new(ErrorCode::WrongState, detail));
        }
        let (left, answer) = oneshot::channel();
        let ending = || Problem::new(ErrorCode::NotReady, "this node is shutting down");
        self.orders.send(Order::Leave { left }).await.map_err(|_| ending())?;
        answer.await.map_err(|_| ending())?;
        self.end.cancel();
        Ok(Left {
            mesh,
            mesh_name: member.mesh_name.clone(),
            kept: self.options.home.old_dir().join(mesh.to_string()).display().to_string(),
        })
    }
}

/// Where to ask, and with which invite.
fn whom(request: &JoinRequest) -> Answer<(Vec<Multiaddr>, Option<Invite>)> {
    match (&request.address, &request.invite) {
        (Some(address), None) => Ok((vec![reachable(address)?], None)),
        (None, Some(text)) => {
            let invite: Invite = text.parse().map_err(|error| {
                Problem::new(ErrorCode::InviteInvalid, crate::app::chain(&error))
            })?;
            Ok((addresses(&invite)?, Some(invite)))
        }
        (Some(_), Some(_)) | (None, None) => Err(Problem::new(
            ErrorCode::ValidationFailed,
            "either `address` or `invite` says which mesh to join",
        )),
    }
}

/// Where whoever holds an invite asks.
pub(crate) fn addresses(invite: &Invite) -> Answer<Vec<Multiaddr>> {
    invite.addresses().map(|(node, address)| reachable(&format!("{address}/p2p/{node}"))).collect()
}

/// Reads an address that names a node.
fn reachable(text: &str) -> Answer<Multiaddr> {
    let bad = |detail: String| Problem::new(ErrorCode::ValidationFailed, detail);
    if text.len() > ADDRESS_BYTES_MAX {
        return Err(bad(format!("an address has at most {ADDRESS_BYTES_MAX} bytes")));
    }
    let address: Multiaddr = text.parse().map_err(|_| {
        bad(format!(
            "`{text}` is not a multiaddress such as /ip4/192.168.1.20/tcp/4301/p2p/12D3KooW…"
        ))
    })?;
    match address.iter().last() {
        Some(Protocol::P2p(_)) => Ok(address),
        _ => Err(bad(format!("`{text}` does not end in /p2p/ID; `weft id` there prints it whole"))),
    }
}

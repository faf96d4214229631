//! Joining another mesh, and leaving one.

use std::time::Duration;

use portal_api::{
    ErrorCode,
    views::{JoinRequest, JoinState, Joining, LeaveRequest, Left, Status},
};

use super::show::fields;
use crate::cli::{
    args::{JoinArgs, LeaveArgs},
    client::Client,
    context::Context,
    error::CliError,
    exit::Exit,
    table::printable,
};

/// How often it is looked at whether somebody has decided.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// `weft join`. Returns when this node has joined, or was refused.
///
/// # Errors
///
/// Whatever the node says; `not-permitted` if this node was refused.
pub async fn join(context: &Context, args: &JoinArgs) -> Result<Exit, CliError> {
    let mut client = context.client()?;
    let status: Status = client.get("/api/v1/status").await?;
    if context.dry_run() {
        return context.would(format!("ask to join the mesh of the node at {}", args.mesh));
    }
    if let (true, Some(mesh)) = (args.leave_mine, &status.mesh) {
        let name = status.mesh_name.as_deref().unwrap_or_default();
        context.confirm(&format!(
            "Leave the mesh \"{}\"? What it holds is kept in old/{mesh} of the data directory.",
            printable(name)
        ))?;
    }
    let request = JoinRequest { address: args.mesh.clone(), leave_mine: args.leave_mine };
    let joining: Joining = client.post("/api/v1/local/join", Some(&request)).await?;
    let name = printable(&joining.mesh_name);
    if status.mesh != Some(joining.mesh) && joining.state == JoinState::Pending {
        context.screen.success(&format!("Reached \"{name}\" at {}", printable(&joining.address)));
        context.screen.news(&format!(
            "    On a machine of it:  weft node approve {}      (waiting; Ctrl-C ends only the waiting)",
            printable(&status.name)
        ));
    }
    let status = decided(&mut client, &joining).await?;
    if context.screen.is_for_people() {
        context.screen.success(&format!("Joined \"{name}\""));
    } else {
        context.screen.document(status, |status| status.peer.to_string(), |_| String::new())?;
    }
    Ok(Exit::SUCCESS)
}

/// Waits until somebody has decided. Returns the state of this node as a member.
async fn decided(client: &mut Client, joining: &Joining) -> Result<Status, CliError> {
    let mut joining = joining.clone();
    loop {
        if joining.state == JoinState::Refused {
            let reason = joining.reason.unwrap_or_default();
            let name = printable(&joining.mesh_name);
            return Err(CliError::new(
                ErrorCode::NotPermitted,
                format!("the mesh \"{name}\" has refused this node: {reason}"),
            ));
        }
        let status: Status = client.get("/api/v1/status").await?;
        if status.mesh == Some(joining.mesh) {
            return Ok(status);
        }
        match status.joining {
            Some(now) => joining = now,
            // It was admitted, but something came into its own mesh in the meantime.
            None if status.mesh.is_some() => {
                return Err(CliError::new(
                    ErrorCode::WrongState,
                    "this node's own mesh holds something by now, so the node stays in it",
                )
                .help("leave it nevertheless:  weft join --leave-mine"));
            }
            None => {}
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// `weft leave`. Returns when this node has stopped.
///
/// # Errors
///
/// Whatever the node says.
pub async fn leave(context: &Context, args: &LeaveArgs) -> Result<Exit, CliError> {
    let mut client = context.client()?;
    let status: Status = client.get("/api/v1/status").await?;
    let Some(mesh) = status.mesh else {
        return Err(CliError::new(ErrorCode::WrongState, "this node is in no mesh"));
    };
    let name = status.mesh_name.unwrap_or_default();
    if context.dry_run() {
        return context.would(format!("leave the mesh \"{}\" and stop", printable(&name)));
    }
    context.confirm(&format!(
        "Leave the mesh \"{}\" and stop this node? What it holds is kept in old/{mesh} of the data directory.",
        printable(&name)
    ))?;
    let request = LeaveRequest { mesh, force: args.force };
    let left: Left = client.post("/api/v1/local/leave", Some(&request)).await?;
    super::daemon::stopped(context).await?;
    context.screen.document(
        left,
        |left| left.mesh.to_string(),
        |left| fields([("left", printable(&left.mesh_name)), ("kept", left.kept.clone())]),
    )?;
    Ok(Exit::SUCCESS)
}

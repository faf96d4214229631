//! Joining another mesh, and leaving one.

use std::time::Duration;

use portal_api::{
    ErrorCode,
    views::{JoinRequest, JoinState, Joining, LeaveRequest, Left, Status},
};

use super::{invites, overview::code_of, show::fields};
use crate::{
    cli::{
        args::{JoinArgs, LeaveArgs},
        client::Client,
        context::Context,
        error::CliError,
        exit::Exit,
        table::printable,
    },
    home::petname,
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
    let (request, whom) = request(args)?;
    if context.dry_run() {
        return context.would(format!("ask to join {whom}"));
    }
    if let (true, Some(mesh)) = (args.leave_mine, &status.mesh) {
        let name = status.mesh_name.as_deref().unwrap_or_default();
        context.confirm(&format!(
            "Leave the mesh \"{}\"? What it holds is kept in old/{mesh} of the data directory.",
            printable(name)
        ))?;
    }
    let joining: Joining = client.post("/api/v1/local/join", Some(&request)).await?;
    let name = printable(&joining.mesh_name);
    if status.mesh != Some(joining.mesh) && joining.state == JoinState::Pending {
        context.screen.success(&format!("Reached \"{name}\" at {}", printable(&joining.address)));
    }
    let tells = status.mesh != Some(joining.mesh) && request.invite.is_none();
    let me = tells.then(|| printable(&status.name));
    let status = decided(context, &mut client, &joining, me.as_deref()).await?;
    if context.screen.is_for_people() {
        context.screen.success(&format!("Joined \"{name}\""));
    } else {
        context.screen.document(status, |status| status.peer.to_string(), |_| String::new())?;
    }
    Ok(Exit::SUCCESS)
}

/// What is asked of the node, and in words.
fn request(args: &JoinArgs) -> Result<(JoinRequest, String), CliError> {
    let asked = JoinRequest { leave_mine: args.leave_mine, ..JoinRequest::default() };
    let text = args.mesh.trim().to_ascii_lowercase();
    if !text.starts_with("weft1") && !text.starts_with("file:") {
        let whom = format!("the mesh of the node at {}", args.mesh);
        return Ok((JoinRequest { address: Some(args.mesh.clone()), ..asked }, whom));
    }
    let invite = invites::read(&args.mesh)?;
    let whom = format!("the mesh \"{}\" with an invite", printable(&invite.name));
    Ok((JoinRequest { invite: Some(invite.to_text()), ..asked }, whom))
}

/// What is to be done on a machine of the mesh, and that it is waited for.
fn waiting(joining: &Joining, me: &str) -> Option<String> {
    let code = code_of(joining.code.as_deref())?;
    let there = petname(&joining.peer);
    Some(format!(
        "    Join it? On {there}, approve code  {code}   (waiting; Ctrl-C ends only the waiting)\n    there:  weft node \
         approve {me}"
    ))
}

/// Waits until somebody has decided, and shows the code to compare to whoever must be approved. Returns the state of
/// this node as a member.
async fn decided(
    context: &Context,
    client: &mut Client,
    joining: &Joining,
    me: Option<&str>,
) -> Result<Status, CliError> {
    let mut joining = joining.clone();
    let mut told = None;
    loop {
        let waits = me.and_then(|me| waiting(&joining, me));
        if let (Some(text), true) = (&waits, waits != told) {
            context.screen.news(text);
            told = waits;
        }
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

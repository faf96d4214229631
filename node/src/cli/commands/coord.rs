//! `weft coord`.

use std::time::Duration;

use portal_api::{
    ErrorCode,
    views::{CoordinatorRequest, Coordinators, Identity, LedgerCopy, List, Node},
};

use super::{overview::all_nodes, show::fields};
use crate::cli::{
    args::CoordCommand,
    client::{Client, encode},
    context::Context,
    error::CliError,
    exit::Exit,
    human,
    table::Table,
};

/// Where the group is shown.
const GROUP: &str = "/api/v1/coordinators";
/// Where it is changed.
const CHANGE: &str = "/api/v1/local/coordinator";
/// How often a node that waits for its place is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Meshes whose ledgers are looked at.
const MESHES_MAX: usize = 16;

/// Does what is asked.
///
/// # Errors
///
/// Whatever the node says.
pub async fn coord(context: &Context, command: CoordCommand) -> Result<Exit, CliError> {
    if let CoordCommand::Inspect = command {
        return inspect(context);
    }
    let mut client = context.client()?;
    let group = match command {
        CoordCommand::Status | CoordCommand::Inspect => client.get(GROUP).await?,
        CoordCommand::Join => place(&mut client, CoordinatorRequest::Join, true).await?,
        CoordCommand::Leave => place(&mut client, CoordinatorRequest::Leave, false).await?,
        CoordCommand::Transfer { node } => {
            let to = match node {
                Some(node) => {
                    let path = format!("/api/v1/nodes/{}", encode(&node));
                    Some(client.get::<Node>(&path).await?.peer)
                }
                None => None,
            };
            client.post(CHANGE, Some(&CoordinatorRequest::Transfer { to })).await?
        }
        CoordCommand::Snapshot => client.post(CHANGE, Some(&CoordinatorRequest::Snapshot)).await?,
    };
    show(context, &mut client, group).await?;
    Ok(Exit::SUCCESS)
}

/// Has a place given or taken, and waits until it is.
async fn place(
    client: &mut Client,
    request: CoordinatorRequest,
    wanted: bool,
) -> Result<Coordinators, CliError> {
    let identity: Identity = client.get("/api/v1/id").await?;
    let mut group: Coordinators = client.post(CHANGE, Some(&request)).await?;
    while group.members.iter().any(|member| member.peer == identity.peer) != wanted {
        tokio::time::sleep(LOOK_EVERY).await;
        group = client.get(GROUP).await?;
    }
    Ok(group)
}

/// What is on the disk, read without a node.
fn inspect(context: &Context) -> Result<Exit, CliError> {
    let meshes =
        std::fs::read_dir(context.data_dir()?.join("mesh")).into_iter().flatten().flatten();
    let mut found = Vec::new();
    for mesh in meshes.take(MESHES_MAX) {
        let inspected = ledger::replica::inspect(&mesh.path().join("db"));
        let inspected = inspected
            .map_err(|error| CliError::new(ErrorCode::Internal, crate::app::chain(&error)))?;
        let name = mesh.file_name().to_string_lossy().into_owned();
        found.extend(inspected.map(|inspected| LedgerCopy {
            mesh: name,
            member: inspected.raft_id,
            last_term: inspected.last_term,
            last_index: inspected.last_index,
            applied_index: inspected.applied_index,
            ledger_height: inspected.height,
        }));
    }
    context.screen.list(
        List::whole(found),
        |list: &List<LedgerCopy>| list.items.as_slice(),
        |copy| copy.mesh.clone(),
        |list| {
            let mut table = Table::new(&["MESH", "MEMBER", "TERM", "LAST", "APPLIED", "HEIGHT"]);
            for copy in &list.items {
                table.row([
                    copy.mesh.clone(),
                    copy.member.to_string(),
                    copy.last_term.to_string(),
                    copy.last_index.to_string(),
                    copy.applied_index.to_string(),
                    copy.ledger_height.to_string(),
                ]);
            }
            table
        },
    )?;
    Ok(Exit::SUCCESS)
}

async fn show(context: &Context, client: &mut Client, group: Coordinators) -> Result<(), CliError> {
    // Names need a leader; the rest does not.
    let nodes = match (context.screen.is_for_people(), group.leader) {
        (true, Some(_)) => all_nodes(client).await.unwrap_or_else(|_| List::whole(Vec::new())),
        _ => List::whole(Vec::new()),
    };
    let (wide, heads) = (context.screen.is_wide(), !context.globals().no_header);
    context.screen.document(
        group,
        |group| group.leader.map(|leader| leader.to_string()).unwrap_or_default(),
        |group| text(group, &nodes.items, wide, heads),
    )
}

fn text(group: &Coordinators, nodes: &[Node], wide: bool, heads: bool) -> String {
    let name = |peer| nodes.iter().find(|node| node.peer == peer).map(|node| node.name.clone());
    let leader = match group.leader {
        Some(leader) => name(leader).unwrap_or_else(|| format!("…{}", leader.short())),
        None => "nobody at the moment".to_owned(),
    };
    let mut text = fields([
        ("leader", leader),
        ("term", group.term.to_string()),
        ("committed", human::count(group.commit_index)),
    ]);
    let mut table = Table::new(&["NODE", "PEER", "ROLE", "LAG"]);
    for member in &group.members {
        let leads = group.leader == Some(member.peer);
        let id = if wide { member.peer.to_string() } else { format!("…{}", member.peer.short()) };
        table.row([
            name(member.peer).unwrap_or_default(),
            id,
            if leads { "leader".to_owned() } else { member.role.clone() },
            member.lag.map(human::count).unwrap_or_default(),
        ]);
    }
    text.push('\n');
    text.push_str(&table.render(heads));
    text
}

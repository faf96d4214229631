//! `weft coord`.

use portal_api::views::{Coordinators, List, Node};

use super::{overview::all_nodes, show::fields};
use crate::cli::{
    args::CoordCommand, client::Client, context::Context, error::CliError, exit::Exit, human,
    table::Table,
};

/// Does what is asked.
///
/// # Errors
///
/// Whatever the node says.
pub async fn coord(context: &Context, command: &CoordCommand) -> Result<Exit, CliError> {
    let mut client = context.client()?;
    match command {
        CoordCommand::Status => status(context, &mut client).await?,
    }
    Ok(Exit::SUCCESS)
}

async fn status(context: &Context, client: &mut Client) -> Result<(), CliError> {
    let group: Coordinators = client.get("/api/v1/coordinators").await?;
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

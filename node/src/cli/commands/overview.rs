//! This node and its mesh at a glance.

use portal_api::views::{Identity, JoinState, List, Node, Peer, Status};
use protocol::{code::Code, limits::LIST_ITEMS_MAX, wire::view::Admission};

use super::{nodes, show::fields};
use crate::cli::{
    client::Client,
    context::Context,
    error::CliError,
    exit::Exit,
    human,
    table::{Table, printable},
};

/// `weft status`.
///
/// # Errors
///
/// Whatever the node says.
pub async fn status(context: &Context) -> Result<Exit, CliError> {
    let mut client = context.client()?;
    let status: Status = client.get("/api/v1/status").await?;
    if !context.screen.is_for_people() {
        context.screen.document(status, |status| status.peer.to_string(), |_| String::new())?;
        return Ok(Exit::SUCCESS);
    }
    let mut text = summary(&status);
    // A node that is not a member yet cannot ask the mesh; its own status is what there is to see.
    if status.admission == Admission::Approved
        && let Ok(list) = all_nodes(&mut client).await
    {
        text.push_str(&who_asks(&mut client, &status, &list).await);
        text.push('\n');
        text.push_str(&nodes::table(context, &list).render(!context.globals().no_header));
    }
    context.screen.text(&text)?;
    Ok(Exit::SUCCESS)
}

/// Who asks to join, in the words that the node in the foreground uses.
async fn who_asks(client: &mut Client, status: &Status, nodes: &List<Node>) -> String {
    let pending: Vec<_> =
        nodes.items.iter().filter(|node| node.admission == Admission::Pending).collect();
    if pending.is_empty() {
        return String::new();
    }
    let peers: Option<List<Peer>> = client.get("/api/v1/peers").await.ok();
    let mut text = "\n".to_owned();
    for node in pending {
        let peers = peers.as_ref().map(|peers| peers.items.as_slice()).unwrap_or_default();
        let peer = peers.iter().find(|peer| peer.peer == node.peer);
        let mesh = status.mesh_name.as_deref().unwrap_or_default();
        let address = peer.map(|peer| peer.address.as_str());
        text.push_str(&crate::app::asks_to_join(
            &node.name,
            address,
            mesh,
            code_of(node.code.as_deref()),
        ));
    }
    text
}

/// The code of a document, as people compare it.
pub fn code_of(digits: Option<&str>) -> Option<Code> {
    digits?.parse().ok()
}

/// All nodes of the mesh.
///
/// # Errors
///
/// Whatever the node says.
pub async fn all_nodes(client: &mut Client) -> Result<List<Node>, CliError> {
    let mut all = List::whole(Vec::new());
    let mut cursor = String::new();
    loop {
        let page: List<Node> =
            client.get(&format!("/api/v1/nodes?limit={LIST_ITEMS_MAX}{cursor}")).await?;
        all.items.extend(page.items);
        match page.next_cursor {
            Some(next) => cursor = format!("&cursor={}", crate::cli::client::encode(&next)),
            None => return Ok(all),
        }
    }
}

fn summary(status: &Status) -> String {
    let mesh = status.mesh_name.as_deref().unwrap_or("no mesh yet");
    let state = match status.admission {
        Admission::Approved if status.leader.is_some() => "ready",
        Admission::Approved => "no coordinator leads at the moment",
        Admission::Pending => "waits for approval",
        Admission::Suspended => "suspended",
        Admission::Blacklisted => "removed from the mesh",
    };
    let mut text = format!(
        "{} · {} (…{}) · weft {} · up {} · {state}\n",
        printable(mesh),
        printable(&status.name),
        status.peer.short(),
        status.version,
        human::seconds(status.uptime_seconds)
    );
    if let Some(joining) = &status.joining {
        let state = match (&joining.state, &joining.reason) {
            (JoinState::Pending, _) => match code_of(joining.code.as_deref()) {
                Some(code) => format!("waits to be approved there with the code {code}"),
                None => "waits to be approved there".to_owned(),
            },
            (JoinState::Refused, reason) => {
                format!("was refused ({})", printable(reason.as_deref().unwrap_or_default()))
            }
        };
        text.push_str(&format!(
            "  joining  \"{}\" at {}: {state}\n",
            printable(&joining.mesh_name),
            printable(&joining.address)
        ));
    }
    if let Some(work) = &status.work {
        text.push_str(&format!(
            "  jobs     {} open, {} waiting, {} running\n",
            work.open.jobs_open,
            human::plural(work.open.tasks_queued, "task", "tasks"),
            work.open.tasks_running
        ));
        text.push_str(&format!(
            "  ledger   height {}, term {}\n",
            human::count(work.ledger.ledger_height),
            work.term
        ));
    }
    if let Some(credits) = &status.credits {
        text.push_str(&format!(
            "  credits  {} available, {} held\n",
            credits.available_ucr, credits.held_ucr
        ));
    }
    if let Some(sharing) = &status.sharing {
        text.push_str(&format!(
            "  sharing  {} of {} slots free · {} · {} · isolation {}\n",
            sharing.slots_free,
            sharing.slots,
            human::plural(u64::from(sharing.cores), "core", "cores"),
            human::bytes(sharing.memory_bytes),
            sharing.isolation.name()
        ));
    }
    for reason in &status.reasons {
        let why = printable(&super::local::reason_text(reason));
        text.push_str(&format!("  reason   {why}\n"));
    }
    let roles: Vec<_> = status.roles.iter().map(|role| role.name()).collect();
    text.push_str(&format!("  roles    {}\n", roles.join(", ")));
    text
}

/// `weft id`.
///
/// # Errors
///
/// Whatever the node says.
pub async fn id(context: &Context) -> Result<Exit, CliError> {
    let identity: Identity = context.client()?.get("/api/v1/id").await?;
    context.screen.document(
        identity,
        |identity| identity.peer.to_string(),
        |identity| {
            let mut lines = vec![
                ("peer", identity.peer.to_string()),
                ("name", identity.name.clone()),
                ("account", identity.account.to_string()),
            ];
            lines.extend(identity.mesh.map(|mesh| ("mesh", mesh.to_string())));
            let mut text = fields(lines);
            for address in &identity.addresses {
                text.push_str(&printable(address));
                text.push('\n');
            }
            text
        },
    )?;
    Ok(Exit::SUCCESS)
}

/// `weft peers`.
///
/// # Errors
///
/// Whatever the node says.
pub async fn peers(context: &Context) -> Result<Exit, CliError> {
    let list: List<Peer> =
        context.client()?.get(&format!("/api/v1/peers?limit={LIST_ITEMS_MAX}")).await?;
    let wide = context.screen.is_wide();
    context.screen.list(
        list,
        |list: &List<Peer>| list.items.as_slice(),
        |peer| peer.peer.to_string(),
        |list| {
            let heads = ["NODE", "PEER", "PATH", "OPENED", "RTT", "ADDRESS", "SCORE"];
            let columns = if wide { heads.len() } else { heads.len().saturating_sub(1) };
            let mut table = Table::new(heads.get(..columns).unwrap_or_default());
            for peer in &list.items {
                let id =
                    if wide { peer.peer.to_string() } else { format!("…{}", peer.peer.short()) };
                let row = [
                    peer.name.clone().unwrap_or_default(),
                    id,
                    peer.path.clone(),
                    peer.direction.clone(),
                    peer.rtt_seconds.map(human::seconds).unwrap_or_default(),
                    peer.address.clone(),
                    peer.score.to_string(),
                ];
                table.row(row.into_iter().take(columns));
            }
            table
        },
    )?;
    Ok(Exit::SUCCESS)
}

//! `weft node`.

use portal_api::{
    ErrorCode,
    views::{Decision, List, Node},
};
use protocol::wire::{
    availability::Advice,
    enroll::Role,
    view::{Admission, Condition, Liveness},
};

use super::{
    local::{self, reason_text},
    overview::all_nodes,
    show::fields,
};
use crate::cli::{
    args::NodeCommand, client::encode, context::Context, error::CliError, exit::Exit, human,
    table::Table,
};

/// Does what is asked.
///
/// # Errors
///
/// Whatever the node says.
pub async fn node(context: &Context, command: NodeCommand) -> Result<Exit, CliError> {
    match command {
        NodeCommand::List { pending } => list(context, pending).await,
        NodeCommand::Show { node } => show(context, &node).await,
        NodeCommand::Approve { node, roles } => {
            let decision = Decision { code: None, roles: parse_roles(roles.as_deref())? };
            decide(context, &node, "approve", &decision).await
        }
        NodeCommand::Reject { node } => {
            decide(context, &node, "reject", &Decision::default()).await
        }
        NodeCommand::Drain(args) => local::drain(context, args).await,
        NodeCommand::Resume(which) => local::undrain(context, &which).await,
        NodeCommand::Block { node } => {
            if !context.dry_run() {
                context.confirm(&format!("Remove {node} from the mesh?"))?;
            }
            decide(context, &node, "block", &Decision::default()).await
        }
    }
}

async fn list(context: &Context, pending: bool) -> Result<Exit, CliError> {
    let mut nodes = all_nodes(&mut context.client()?).await?;
    if pending {
        nodes.items.retain(|node| node.admission == Admission::Pending);
    }
    context.screen.list(
        nodes,
        |list: &List<Node>| list.items.as_slice(),
        |node| node.peer.to_string(),
        |list| table(context, list),
    )?;
    Ok(Exit::SUCCESS)
}

/// A table of nodes.
#[must_use]
pub fn table(context: &Context, list: &List<Node>) -> Table {
    let mut table = Table::new(&[
        "NODE",
        "PEER",
        "STATE",
        "ROLES",
        "SLOTS",
        "MEMORY",
        "ISOLATION",
        "TASKS",
        "SEEN",
    ]);
    for node in &list.items {
        let peer = node.peer;
        table.row([
            node.name.clone(),
            if context.screen.is_wide() {
                peer.to_string()
            } else {
                format!("…{}", peer.short())
            },
            state(node),
            roles(&node.roles),
            node.slots
                .map(|slots| format!("{}/{slots}", node.slots_free.unwrap_or(0)))
                .unwrap_or_default(),
            node.memory_bytes.map(human::bytes).unwrap_or_default(),
            node.isolation.map(|grade| grade.name().to_owned()).unwrap_or_default(),
            node.tasks.to_string(),
            node.seen_seconds.map(seen).unwrap_or_default(),
        ]);
    }
    table
}

/// What of its three states matters most to a person.
fn state(node: &Node) -> String {
    let (glyph, word) = match (node.admission, node.liveness, node.condition) {
        (Admission::Pending, _, _) => ("◇", "pending"),
        (Admission::Suspended, _, _) => ("✗", "suspended"),
        (Admission::Blacklisted, _, _) => ("✗", "blocked"),
        (Admission::Approved, Liveness::Offline, _) => ("○", "offline"),
        (Admission::Approved, Liveness::Suspect, _) => ("◌", "suspect"),
        (Admission::Approved, Liveness::Healthy, Condition::Online) => working(node),
        (Admission::Approved, Liveness::Healthy, Condition::Degraded) => ("◐", "degraded"),
        (Admission::Approved, Liveness::Healthy, Condition::Syncing) => ("◐", "syncing"),
        (Admission::Approved, Liveness::Healthy, Condition::Maintenance) => ("◐", "draining"),
    };
    format!("{glyph} {word}")
}

/// What to do about a node, in words.
const fn advice_text(advice: Advice) -> &'static str {
    match advice {
        Advice::Reboot => "reboot it: it comes and goes",
        Advice::Decommission => "decommission it (weft node block): offline for more than an hour",
    }
}

/// How a node that is there and well takes work.
fn working(node: &Node) -> (&'static str, &'static str) {
    match node.sharing.as_ref().map(|sharing| sharing.others.as_str()) {
        Some("CLOSED") => ("◐", "paused"),
        Some("SMALL") => ("◐", "small tasks"),
        _ if node.flapping => ("◐", "flapping"),
        _ => ("●", "ready"),
    }
}

/// How long ago something was heard, from seconds.
fn seen(seconds: f64) -> String {
    if seconds < 1.0 { "now".to_owned() } else { format!("{} ago", human::seconds(seconds)) }
}

fn roles(roles: &[Role]) -> String {
    // Every node submits: that says nothing about one.
    let names: Vec<_> =
        roles.iter().filter(|role| **role != Role::Submitter).map(|role| role.name()).collect();
    names.join(",")
}

async fn show(context: &Context, node: &str) -> Result<Exit, CliError> {
    let node: Node = context.client()?.get(&format!("/api/v1/nodes/{}", encode(node))).await?;
    print(context, node)
}

/// Prints one node, field by field.
///
/// # Errors
///
/// If standard output cannot be written.
pub fn print(context: &Context, node: Node) -> Result<Exit, CliError> {
    context.screen.document(
        node,
        |node| node.peer.to_string(),
        |node| {
            let mut lines = vec![
                ("node", node.name.clone()),
                ("peer", node.peer.to_string()),
                ("account", node.account.to_string()),
                ("admission", node.admission.name().to_owned()),
                ("liveness", node.liveness.name().to_owned()),
                ("condition", node.condition.name().to_owned()),
                ("roles", roles(&node.roles)),
                ("tasks", node.tasks.to_string()),
            ];
            lines.extend(node.slots.map(|slots| {
                ("slots", format!("{} of {slots} free", node.slots_free.unwrap_or(0)))
            }));
            lines.extend(node.memory_bytes.map(|memory| ("memory", human::bytes(memory))));
            lines.extend(node.isolation.map(|grade| ("isolation", grade.name().to_owned())));
            lines.extend(node.software.clone().map(|software| ("software", software)));
            lines.extend(node.rtt_seconds.map(|rtt| ("round trip", human::seconds(rtt))));
            lines.extend(node.seen_seconds.map(|ago| ("seen", seen(ago))));
            lines.extend(node.reasons.iter().map(|reason| ("reason", reason_text(reason))));
            if node.flapping {
                lines.push(("flapping", "comes and goes; gets work last".to_owned()));
            }
            lines.extend(node.advice.map(|advice| ("advice", advice_text(advice).to_owned())));
            fields(lines)
        },
    )?;
    Ok(Exit::SUCCESS)
}

async fn decide(
    context: &Context,
    node: &str,
    verb: &str,
    decision: &Decision,
) -> Result<Exit, CliError> {
    let mut client = context.client()?;
    let path = format!("/api/v1/nodes/{}", encode(node));
    if context.dry_run() {
        let node: Node = client.get(&path).await?;
        context.screen.news(&format!("  would {verb} {} ({})", node.name, node.peer));
        return print(context, node);
    }
    let node: Node = client.post(&format!("{path}/{verb}"), Some(decision)).await?;
    if !context.screen.is_for_people() {
        return print(context, node);
    }
    let done = match node.admission {
        Admission::Approved => format!("{} joined the mesh as {}", node.name, roles(&node.roles)),
        Admission::Pending => format!("{} still waits", node.name),
        Admission::Suspended => format!("{} is suspended", node.name),
        Admission::Blacklisted => format!("{} is no member of the mesh", node.name),
    };
    context.screen.success(&done);
    Ok(Exit::SUCCESS)
}

fn parse_roles(list: Option<&str>) -> Result<Vec<Role>, CliError> {
    let names = list
        .into_iter()
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty());
    names
        .map(|name| {
            Role::ALL.into_iter().find(|role| role.name() == name).ok_or_else(|| {
                CliError::new(ErrorCode::Usage, format!("there is no role `{name}`"))
                    .help("roles: worker, coordinator, relay, submitter")
            })
        })
        .collect()
}

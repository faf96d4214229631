//! `weft node`.

use portal_api::{
    ErrorCode,
    views::{Decision, LabelChange, List, Node},
};
use protocol::{
    code::Code,
    wire::{
        availability::Advice,
        enroll::{BlockReason, Role},
        view::{Admission, Condition, Liveness},
    },
};

use super::{
    local::{self, reason_text},
    overview::{all_nodes, code_of},
    show::fields,
};
use crate::cli::{
    args::NodeCommand,
    client::encode,
    context::Context,
    error::CliError,
    exit::Exit,
    human,
    table::{Table, printable},
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
        NodeCommand::Approve { node, roles, code, mine, not_mine } => {
            let decision = Decision {
                code: code.map(|code| parse_code(&code)).transpose()?,
                roles: parse_roles(roles.as_deref())?,
                mine: (mine || not_mine).then_some(mine),
                ..Decision::default()
            };
            approve(context, &node, decision).await
        }
        NodeCommand::Reject { node, reason } => {
            decide(context, &node, "reject", &noted(reason)).await
        }
        NodeCommand::Drain(args) => local::drain(context, args).await,
        NodeCommand::Resume(which) => local::undrain(context, &which).await,
        NodeCommand::Block { node, reason, note } => {
            let known = BlockReason::ALL.into_iter().find(|known| known.name() == reason);
            let reason = known.ok_or_else(|| {
                let all: Vec<_> = BlockReason::ALL.iter().map(|known| known.name()).collect();
                CliError::new(ErrorCode::Usage, format!("there is no reason `{reason}`"))
                    .help(format!("reasons: {}", all.join(", ")))
            })?;
            if !context.dry_run() {
                context.confirm(&format!("Remove {node} from the mesh?"))?;
            }
            decide(context, &node, "block", &Decision { reason: Some(reason), ..noted(note) }).await
        }
        NodeCommand::Unblock { node } => {
            decide(context, &node, "unblock", &Decision::default()).await
        }
        NodeCommand::Suspend { node, reason } => {
            decide(context, &node, "suspend", &noted(reason)).await
        }
        NodeCommand::Reinstate { node } => {
            decide(context, &node, "reinstate", &Decision::default()).await
        }
        NodeCommand::Label { node, labels, remove } => label(context, &node, labels, remove).await,
    }
}

fn noted(note: Option<String>) -> Decision {
    Decision { note, ..Decision::default() }
}

fn parse_code(text: &str) -> Result<String, CliError> {
    let code: Result<Code, _> = text.parse();
    code.map(Code::digits)
        .map_err(|error| CliError::new(ErrorCode::Usage, format!("`{text}`: {error}")))
}

/// Where a person is there to ask, the codes are compared first.
async fn approve(context: &Context, node: &str, mut decision: Decision) -> Result<Exit, CliError> {
    if decision.code.is_none() && context.can_ask() && !context.dry_run() {
        let path = format!("/api/v1/nodes/{}", encode(node));
        let asking: Node = context.client()?.get(&path).await?;
        if asking.admission == Admission::Pending {
            let shown = code_of(asking.code.as_deref());
            let question = match shown {
                Some(code) => format!("  The code shown on {} is {code}. Same?", asking.name),
                None => format!(
                    "  {} shows no code at the moment. Approve it all the same?",
                    asking.name
                ),
            };
            context.confirm(&question)?;
            decision.code = shown.map(Code::digits);
        }
    }
    decide(context, node, "approve", &decision).await
}

async fn label(
    context: &Context,
    node: &str,
    labels: Vec<String>,
    remove: bool,
) -> Result<Exit, CliError> {
    let mut client = context.client()?;
    let path = format!("/api/v1/nodes/{}", encode(node));
    if context.dry_run() {
        let verb = if remove { "take off" } else { "label" };
        return context.would(format!("{verb} {node}: {}", labels.join(", ")));
    }
    let change = if remove {
        LabelChange { add: Vec::new(), remove: labels }
    } else {
        LabelChange { add: labels, remove: Vec::new() }
    };
    let node: Node = client.post(&format!("{path}/labels"), Some(&change)).await?;
    if !context.screen.is_for_people() {
        return print(context, node);
    }
    let all = if node.labels.is_empty() { "none".to_owned() } else { node.labels.join(", ") };
    context.screen.success(&format!("labels of {}: {all}", node.name));
    Ok(Exit::SUCCESS)
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
        "CODE",
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
            code_of(node.code.as_deref()).map(|code| code.to_string()).unwrap_or_default(),
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
            lines.extend(code_of(node.code.as_deref()).map(|code| ("code", code.to_string())));
            lines.extend(node.delegated.then(|| ("delegated", "acts for that account".to_owned())));
            lines.extend(node.reason.map(|reason| ("blocked for", reason.name().to_owned())));
            lines.extend(node.note.clone().map(|note| ("note", printable(&note))));
            lines.extend(
                node.replaced_by.map(|by| ("replaced by", format!("{by} (this key ends soon)"))),
            );
            if !node.tags.is_empty() {
                lines.push(("labels", printable(&node.tags.join(", "))));
            }
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
        Admission::Pending if verb == "unblock" => format!("{} may ask to join again", node.name),
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

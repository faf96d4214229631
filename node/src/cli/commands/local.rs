//! This machine: `weft limits`, `weft pause`, `weft resume`; and `weft node drain`.

use std::time::Duration;

use portal_api::{
    rfc3339,
    views::{
        DrainRequest, Identity, LimitsChange, Node, OwnerLimits, Pause, PauseRequest, Reason,
        Sharing,
    },
};
use protocol::wire::view::Condition;

use super::{nodes::print, show::fields};
use crate::cli::{
    args::{DrainArgs, LimitsArgs, LimitsCommand, LimitsSetArgs, PauseArgs, WhichNode, YesNo},
    client::{Client, encode},
    clock,
    context::Context,
    error::CliError,
    exit::Exit,
    human,
    interrupt::unless_interrupted,
};

/// How often a node that drains is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// `weft limits`.
///
/// # Errors
///
/// Whatever the node says.
pub async fn limits(context: &Context, args: LimitsArgs) -> Result<Exit, CliError> {
    let mut client = context.client()?;
    let limits: OwnerLimits = match args.command {
        None | Some(LimitsCommand::Show) => client.get("/api/v1/local/limits").await?,
        Some(LimitsCommand::Set(set)) => {
            let change = change(*set);
            if context.dry_run() {
                return context.would("change what others may have of this machine");
            }
            client.patch("/api/v1/local/limits", &change).await?
        }
    };
    context.screen.document(limits, |limits| limits.cores.to_string(), limits_text)?;
    Ok(Exit::SUCCESS)
}

fn change(set: LimitsSetArgs) -> LimitsChange {
    LimitsChange {
        cores: set.cores,
        memory_bytes: set.memory,
        share_percent: set.share,
        on_battery: set.on_battery.map(|answer| answer == YesNo::Yes),
        min_battery_percent: set.min_battery,
        idle_seconds: set.idle.map(|idle| idle.as_secs()),
        hours: set.hours.map(|hours| if hours == "always" { String::new() } else { hours }),
        max_cpu_others_percent: set.max_cpu_others,
    }
}

fn limits_text(limits: &OwnerLimits) -> String {
    let battery = match (limits.on_battery, limits.min_battery_percent) {
        (false, _) => "no, on mains only".to_owned(),
        (true, 0) => "yes".to_owned(),
        (true, level) => format!("yes, not below {level} %"),
    };
    let idle = match limits.idle_seconds {
        0 => "not needed".to_owned(),
        seconds => {
            format!("for {}, where somebody can sit", human::duration(Duration::from_secs(seconds)))
        }
    };
    let others = match limits.max_cpu_others_percent {
        Some(100) => "as much as they like".to_owned(),
        Some(percent) => format!("at most {percent} % of the processor"),
        None => "at most 25 % of the processor where somebody sits".to_owned(),
    };
    let mut text = fields([
        ("cores", format!("{} of {}", limits.cores, limits.cores_total)),
        ("memory", format!("{} a task", human::bytes(limits.memory_bytes))),
        ("on battery", battery),
        ("idle", idle),
        ("hours", limits.hours.clone().unwrap_or_else(|| "always".to_owned())),
        ("others use", others),
        ("now", sharing(&limits.now)),
    ]);
    text.push_str(&reasons(&limits.reasons));
    text
}

/// What others can have now, in words.
fn sharing(sharing: &Sharing) -> String {
    match (sharing.others.as_str(), sharing.task_seconds_max) {
        ("OPEN", _) => {
            let slots = human::plural(u64::from(sharing.slots), "task", "tasks");
            format!("others can run {slots} at a time")
        }
        (_, Some(seconds)) => format!("others can run tasks of at most {seconds} s"),
        _ => "no work of others; your own runs".to_owned(),
    }
}

/// Reasons, one a line.
#[must_use]
pub fn reasons(reasons: &[Reason]) -> String {
    fields(reasons.iter().map(|reason| ("reason", reason_text(reason))))
}

/// One reason in words.
#[must_use]
pub fn reason_text(reason: &Reason) -> String {
    match reason.until {
        Some(until) => format!("{} until {}", reason.detail, rfc3339::format(until)),
        None => reason.detail.clone(),
    }
}

/// `weft pause`.
///
/// # Errors
///
/// Whatever the node says.
pub async fn pause(context: &Context, args: PauseArgs) -> Result<Exit, CliError> {
    if context.dry_run() {
        return context.would("take no work of others on this machine");
    }
    let duration_seconds = args.duration.map(|duration| duration.as_secs());
    let request = PauseRequest { duration_seconds, message: args.message };
    let pause: Pause = context.client()?.post("/api/v1/local/pause", Some(&request)).await?;
    show_pause(context, pause)
}

/// `weft resume`.
///
/// # Errors
///
/// Whatever the node says.
pub async fn resume(context: &Context) -> Result<Exit, CliError> {
    if context.dry_run() {
        return context.would("take work of others on this machine again");
    }
    let pause: Pause = context.client()?.post("/api/v1/local/resume", None::<&()>).await?;
    show_pause(context, pause)
}

fn show_pause(context: &Context, pause: Pause) -> Result<Exit, CliError> {
    if !context.screen.is_for_people() {
        context.screen.document(pause, |pause| pause.paused.to_string(), |_| String::new())?;
        return Ok(Exit::SUCCESS);
    }
    if pause.paused {
        let until = match pause.until {
            Some(until) => format!("until {}", rfc3339::format(until)),
            None => "until `weft resume`".to_owned(),
        };
        context.screen.success(&format!("Paused {until}: no work of others, your own still runs"));
    } else {
        context.screen.success("Resumed");
        for reason in &pause.reasons {
            context.screen.news(&format!("  still no work of others: {}", reason_text(reason)));
        }
    }
    Ok(Exit::SUCCESS)
}

/// `weft node drain`. Returns when nothing runs there any more; Ctrl-C stops the waiting only.
///
/// # Errors
///
/// Whatever the node says.
pub async fn drain(context: &Context, args: DrainArgs) -> Result<Exit, CliError> {
    let mut client = context.client()?;
    let path = path_of(&mut client, &args.which).await?;
    if context.dry_run() {
        let node: Node = client.get(&path).await?;
        return context.would(format!("drain {}", node.name));
    }
    let request = DrainRequest {
        deadline_seconds: args.deadline.map(|deadline| deadline.as_secs()),
        message: args.message,
    };
    let begun = clock::now();
    let node: Node = client.post(&format!("{path}/drain"), Some(&request)).await?;
    let running = human::plural(u64::from(node.tasks), "task", "tasks");
    context.screen.news(&format!("  {} is draining: no new work. {running} running", node.name));
    let undo = if args.which.this { "--self".to_owned() } else { node.name.clone() };
    let undo = format!("undo: weft node resume {undo}");
    if args.no_wait {
        context.screen.news(&format!("  {undo}"));
        return print(context, node);
    }
    let Some(drained) = unless_interrupted(drained(&mut client, &path, node)).await else {
        context.screen.news(&format!("  still draining; {undo}"));
        return Ok(Exit::SUCCESS);
    };
    let node = drained?;
    if !context.screen.is_for_people() {
        return print(context, node);
    }
    let took = human::duration(clock::now().saturating_since(begun));
    context.screen.success(&format!("drained in {took} — safe to stop.      {undo}"));
    Ok(Exit::SUCCESS)
}

/// Waits until nothing runs on a node that drains.
async fn drained(client: &mut Client, path: &str, mut node: Node) -> Result<Node, CliError> {
    while node.condition != Condition::Maintenance || node.tasks > 0 {
        tokio::time::sleep(LOOK_EVERY).await;
        node = client.get(path).await?;
    }
    Ok(node)
}

/// `weft node resume`.
///
/// # Errors
///
/// Whatever the node says.
pub async fn undrain(context: &Context, which: &WhichNode) -> Result<Exit, CliError> {
    let mut client = context.client()?;
    let path = path_of(&mut client, which).await?;
    if context.dry_run() {
        let node: Node = client.get(&path).await?;
        return context.would(format!("let {} take work again", node.name));
    }
    let node: Node = client.post(&format!("{path}/resume"), None::<&()>).await?;
    if !context.screen.is_for_people() {
        return print(context, node);
    }
    context.screen.success(&format!("{} takes work again", node.name));
    Ok(Exit::SUCCESS)
}

async fn path_of(client: &mut Client, which: &WhichNode) -> Result<String, CliError> {
    let node = match &which.node {
        Some(node) => node.clone(),
        None => client.get::<Identity>("/api/v1/id").await?.peer.to_string(),
    };
    Ok(format!("/api/v1/nodes/{}", encode(&node)))
}

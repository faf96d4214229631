//! `weft invite`.

use std::{fs::File, io::Read as _, path::Path};

use portal_api::{
    ErrorCode, rfc3339,
    views::{Invite, List, NewInvite},
};
use protocol::{invite::Invite as InviteText, wire::enroll::Role};

use crate::cli::{
    args::{InviteArgs, InviteCommand},
    client::encode,
    context::Context,
    error::CliError,
    exit::Exit,
    table::Table,
};

/// The longest text of an invite, in bytes, with white space around it.
const TEXT_BYTES_MAX: u64 = 4_096;

/// Does what is asked.
///
/// # Errors
///
/// Whatever the node says.
pub async fn invite(context: &Context, args: InviteArgs) -> Result<Exit, CliError> {
    match &args.command {
        None => create(context, &args).await,
        Some(InviteCommand::List) => list(context).await,
        Some(InviteCommand::Revoke { id }) => revoke(context, id).await,
    }
}

async fn create(context: &Context, args: &InviteArgs) -> Result<Exit, CliError> {
    let role = Role::ALL.into_iter().find(|role| role.name() == args.role);
    let role = role.ok_or_else(|| {
        CliError::new(ErrorCode::Usage, format!("there is no role `{}`", args.role))
            .help("an invite is for worker or submitter")
    })?;
    let asked = NewInvite {
        expires_seconds: Some(args.expires.as_secs()),
        uses: Some(args.uses),
        role: Some(role),
        name: args.name.clone(),
    };
    let plan = asked.plan()?;
    if context.dry_run() {
        return context.would(format!("make an invite for {} as {}", plan.uses, role.name()));
    }
    let invite: Invite = context.client()?.post("/api/v1/invites", Some(&asked)).await?;
    let text = invite.invite.clone().unwrap_or_default();
    let uses = if invite.uses == 1 {
        "single use".to_owned()
    } else {
        format!("for {} machines", invite.uses)
    };
    let until = rfc3339::format(invite.expires);
    context.screen.document(invite, |_| text.clone(), |_| format!("{text}\n"))?;
    context
        .screen
        .news(&format!("  {uses}, until {until}; whoever has it can join: hand it on in private"));
    context.screen.news("  on the other machine:  weft up --invite INVITE");
    Ok(Exit::SUCCESS)
}

async fn list(context: &Context) -> Result<Exit, CliError> {
    let invites: List<Invite> = context.client()?.get("/api/v1/invites").await?;
    let wide = context.screen.is_wide();
    context.screen.list(
        invites,
        |list: &List<Invite>| list.items.as_slice(),
        |invite| invite.id.to_string(),
        |list| {
            let mut table = Table::new(&["INVITE", "STATE", "ROLE", "USED", "EXPIRES", "FOR"]);
            for invite in &list.items {
                table.row([
                    if wide { invite.id.to_string() } else { invite.id.short() },
                    invite.state.to_ascii_lowercase(),
                    invite.role.name().to_owned(),
                    format!("{}/{}", invite.used, invite.uses),
                    rfc3339::format(invite.expires),
                    invite.name.clone().unwrap_or_default(),
                ]);
            }
            table
        },
    )?;
    Ok(Exit::SUCCESS)
}

async fn revoke(context: &Context, id: &str) -> Result<Exit, CliError> {
    if context.dry_run() {
        return context.would(format!("take the invite {id} back"));
    }
    let path = format!("/api/v1/invites/{}/revoke", encode(id));
    let invite: Invite = context.client()?.post(&path, None::<&()>).await?;
    let short = invite.id.short();
    if context.screen.is_for_people() {
        context.screen.success(&format!("the invite {short} is taken back"));
    } else {
        context.screen.document(invite, |invite| invite.id.to_string(), |_| String::new())?;
    }
    Ok(Exit::SUCCESS)
}

/// An invite as a person names it: its text, or `file:PATH` for one that is in a file, where other users of the
/// machine do not see it in the list of processes.
///
/// # Errors
///
/// If the file cannot be read, or it is not an invite.
pub fn read(text: &str) -> Result<InviteText, CliError> {
    let text = match text.strip_prefix("file:") {
        Some(path) => read_file(Path::new(path))?,
        None => text.to_owned(),
    };
    text.parse().map_err(|error| {
        let mut detail = format!("{error}");
        if let Some(cause) = std::error::Error::source(&error) {
            detail.push_str(&format!(": {cause}"));
        }
        CliError::new(ErrorCode::InviteInvalid, detail)
    })
}

fn read_file(path: &Path) -> Result<String, CliError> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(TEXT_BYTES_MAX).read_to_string(&mut text))
        .map_err(|error| CliError::unreadable(path, &error))?;
    Ok(text)
}

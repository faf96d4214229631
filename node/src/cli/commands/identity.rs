//! `weft identity`.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use portal_api::{
    ErrorCode,
    views::{KeyChange, Kind},
};
use serde::Serialize;

use super::show::fields;
use crate::{
    cli::{args::IdentityCommand, context::Context, error::CliError, exit::Exit},
    home::{
        Home,
        backup::{self, BACKUP_BYTES_MAX, BackupError, Salt},
        petname,
    },
};

/// The keys of a node, as far as anybody may see them.
#[derive(Debug, Serialize)]
struct Keys {
    peer: String,
    account: String,
    petname: String,
    identity_key: String,
    owner_key: String,
    old_key: Option<String>,
}

impl Kind for Keys {
    const KIND: &'static str = "Keys";
}

/// Does what is asked.
///
/// # Errors
///
/// If there are no keys, or whatever the node says.
pub async fn identity(context: &Context, command: IdentityCommand) -> Result<Exit, CliError> {
    match command {
        IdentityCommand::Show => show(context),
        IdentityCommand::Rotate => rotate(context).await,
        IdentityCommand::Export { out, passphrase_file } => {
            export(context, &out, passphrase_file.as_deref())
        }
        IdentityCommand::Import { file, passphrase_file, force } => {
            import(context, &file, passphrase_file.as_deref(), force)
        }
    }
}

fn show(context: &Context) -> Result<Exit, CliError> {
    let home = Home::open(&context.data_dir()?)?;
    let keys = home.keys()?;
    let old = home.old_key_file();
    let keys = Keys {
        peer: keys.node.node().to_string(),
        account: keys.owner.account().to_string(),
        petname: petname(&keys.node.node()),
        identity_key: home.identity_key().display().to_string(),
        owner_key: home.owner_key().display().to_string(),
        old_key: old.exists().then(|| old.display().to_string()),
    };
    context.screen.document(
        keys,
        |keys| keys.peer.clone(),
        |keys| {
            let mut lines = vec![
                ("peer", keys.peer.clone()),
                ("account", keys.account.clone()),
                ("node key", keys.identity_key.clone()),
                ("owner key", keys.owner_key.clone()),
            ];
            lines.extend(keys.old_key.clone().map(|old| ("old node key", old)));
            fields(lines)
        },
    )?;
    Ok(Exit::SUCCESS)
}

async fn rotate(context: &Context) -> Result<Exit, CliError> {
    if context.dry_run() {
        return context.would("replace the key of this node");
    }
    context.confirm("Replace the key of this node? Others know it by another peer id then.")?;
    let mut client = context.client()?;
    let change: KeyChange = client.post("/api/v1/local/identity/rotate", None::<&()>).await?;
    if !context.screen.is_for_people() {
        context.screen.document(change, |change| change.new.to_string(), |_| String::new())?;
        return Ok(Exit::SUCCESS);
    }
    context.screen.success(&format!("the new key is {}", change.new));
    context.screen.news(&format!("  the old one, {}, is good for 48 hours more", change.old));
    context.screen.news("  restart the node to use the new one:  weft down, then weft up");
    Ok(Exit::SUCCESS)
}

fn export(context: &Context, out: &Path, passphrase: Option<&Path>) -> Result<Exit, CliError> {
    let home = Home::open(&context.data_dir()?)?;
    let keys = home.keys()?;
    if context.dry_run() {
        return context.would(format!("write both keys to {}", out.display()));
    }
    let passphrase = read_passphrase(context, passphrase, true)?;
    let text = backup::seal(&keys, &passphrase, Salt(crate::app::random())).map_err(unusable)?;
    // Never over another backup.
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(out)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .map_err(|error| CliError::unwritable(out, &error))?;
    context.did(format!("both keys are in {}; without the passphrase they are lost", out.display()))
}

fn import(
    context: &Context,
    file: &Path,
    passphrase: Option<&Path>,
    force: bool,
) -> Result<Exit, CliError> {
    let text = read_text(file)?;
    let home = Home::create(&context.data_dir()?)?;
    // Not under a node that runs.
    let _lock = home.lock()?;
    if context.dry_run() {
        return context.would(format!("take both keys from {}", file.display()));
    }
    let passphrase = read_passphrase(context, passphrase, false)?;
    let keys = backup::open(&text, &passphrase).map_err(unusable)?;
    home.import(&keys, force)?;
    context.did(format!("this node is {}", keys.node.node()))
}

fn unusable(error: BackupError) -> CliError {
    let code = match error {
        BackupError::Short => ErrorCode::ValidationFailed,
        BackupError::Newer => ErrorCode::VersionMismatch,
        BackupError::Format | BackupError::Cost | BackupError::Passphrase => {
            ErrorCode::FileUnreadable
        }
    };
    CliError::new(code, error.to_string())
}

fn read_text(path: &Path) -> Result<String, CliError> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(BACKUP_BYTES_MAX).read_to_string(&mut text))
        .map_err(|error| CliError::unreadable(path, &error))?;
    Ok(text)
}

/// From a file, without its last line end; or from a person, who types a new one twice.
fn read_passphrase(
    context: &Context,
    file: Option<&Path>,
    is_new: bool,
) -> Result<String, CliError> {
    if let Some(file) = file {
        return Ok(read_text(file)?.trim_end_matches(['\r', '\n']).to_owned());
    }
    if context.globals().no_input {
        return Err(CliError::new(
            ErrorCode::Usage,
            "a passphrase is needed, and nobody can be asked",
        )
        .help("name a file that holds it: --passphrase-file FILE"));
    }
    let ask = |prompt: &str| {
        rpassword::prompt_password(prompt).map_err(|error| {
            CliError::new(ErrorCode::Usage, format!("no passphrase can be read here: {error}"))
                .help("name a file that holds it: --passphrase-file FILE")
        })
    };
    let passphrase = ask("Passphrase: ")?;
    if is_new && ask("The same again: ")? != passphrase {
        return Err(CliError::new(ErrorCode::Interrupted, "the two differ; nothing was written"));
    }
    Ok(passphrase)
}

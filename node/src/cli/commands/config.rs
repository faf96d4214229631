//! `weft config`.

use portal_api::{ErrorCode, views::Kind};
use serde::Serialize;

use super::{daemon::variables, show::fields};
use crate::{
    cli::{
        args::ConfigCommand, context::Context, error::CliError, exit::Exit, table::Table,
        work::out_dir::OutDir,
    },
    home::{Config, Home, Key, Settings, Value, edit},
};

/// Settings for programs.
#[derive(Debug, Serialize)]
struct Shown {
    items: Vec<ShownSetting>,
}

impl Kind for Shown {
    const KIND: &'static str = "SettingList";
}

/// One setting for programs.
#[derive(Debug, Serialize)]
struct ShownSetting {
    name: &'static str,
    value: serde_json::Value,
    origin: String,
    variable: String,
    #[serde(skip)]
    text: String,
}

impl Kind for ShownSetting {
    const KIND: &'static str = "Setting";
}

/// Where the files are, for programs.
#[derive(Debug, Serialize)]
struct Paths {
    data_dir: String,
    config: String,
    socket: String,
    token: String,
    log: String,
}

impl Kind for Paths {
    const KIND: &'static str = "Paths";
}

/// Does what is asked. Needs no node.
///
/// # Errors
///
/// If the settings make no sense, or cannot be read or written.
pub fn config(context: &Context, command: ConfigCommand) -> Result<Exit, CliError> {
    match command {
        ConfigCommand::Show { origin } => show(context, origin),
        ConfigCommand::Get { key } => get(context, &key),
        ConfigCommand::Set { key, value } => set(context, &key, &value),
        ConfigCommand::Path => path(context),
        ConfigCommand::Check => {
            Config::try_from(&settings(context)?)?;
            context.did("The settings make sense")
        }
    }
}

/// The settings in effect. A data directory that is not there yet has none of its own.
fn settings(context: &Context) -> Result<Settings, CliError> {
    match Home::open(&context.data_dir()?) {
        Ok(home) => Ok(home.settings(variables())?),
        Err(crate::home::HomeError::Missing { .. }) => {
            let mut settings = Settings::default();
            settings.add_environment(variables())?;
            Ok(settings)
        }
        Err(error) => Err(error.into()),
    }
}

fn show(context: &Context, origin: bool) -> Result<Exit, CliError> {
    let settings = settings(context)?;
    let items = settings.iter().map(|(key, setting)| ShownSetting {
        name: key.name,
        value: json(&setting.value),
        origin: setting.origin.to_string(),
        variable: key.variable(),
        text: setting.value.to_string(),
    });
    let shown = Shown { items: items.collect() };
    let wide = origin || context.screen.is_wide();
    context.screen.list(
        shown,
        |shown: &Shown| shown.items.as_slice(),
        |setting| setting.name.to_owned(),
        |shown| {
            let mut table = Table::new(if wide {
                &["SETTING", "VALUE", "FROM"]
            } else {
                &["SETTING", "VALUE"]
            });
            for setting in &shown.items {
                let cells = [setting.name.to_owned(), setting.text.clone(), setting.origin.clone()];
                table.row(cells.into_iter().take(if wide { 3 } else { 2 }));
            }
            table
        },
    )?;
    Ok(Exit::SUCCESS)
}

fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::Text(text) => text.as_str().into(),
        Value::List(texts) => texts.clone().into(),
        Value::Flag(flag) => (*flag).into(),
        Value::Number(number) => (*number).into(),
    }
}

/// Prints the bare value, so that scripts can take it: lists one a line.
fn get(context: &Context, name: &str) -> Result<Exit, CliError> {
    let key = Key::named(name)?;
    let settings = settings(context)?;
    let setting =
        settings.get(key.name).ok_or_else(|| CliError::internal("a setting has no value"))?;
    let text = match &setting.value {
        Value::Text(text) => format!("{text}\n"),
        Value::List(texts) => texts.iter().map(|text| format!("{text}\n")).collect(),
        value @ (Value::Flag(_) | Value::Number(_)) => format!("{value}\n"),
    };
    let shown = ShownSetting {
        name: key.name,
        value: json(&setting.value),
        origin: setting.origin.to_string(),
        variable: key.variable(),
        text,
    };
    context.screen.document(
        shown,
        |setting| setting.name.to_owned(),
        |setting| setting.text.clone(),
    )?;
    Ok(Exit::SUCCESS)
}

/// Changes one value in the file and leaves everything else in it, comments too, as it is. A file that would make
/// no sense is not written.
fn set(context: &Context, name: &str, value: &str) -> Result<Exit, CliError> {
    let key = Key::named(name)?;
    let value = key.read(value).ok_or_else(|| {
        CliError::new(ErrorCode::ConfigInvalid, format!("`{value}` is no value of `{name}`"))
            .help(key.doc)
    })?;
    let dir = context.data_dir()?;
    let home = if context.dry_run() { None } else { Some(Home::create(&dir)?) };
    let path = dir.join("config.toml");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(CliError::unreadable(&path, &error)),
    };
    let text = edit(&text, key, &value).map_err(|error| {
        CliError::new(ErrorCode::ConfigInvalid, format!("{}: {error}", path.display()))
    })?;
    let mut settings = Settings::default();
    settings.add_file(&path, &text)?;
    Config::try_from(&settings)?;
    match home {
        None => context.would(format!("set {name} = {value} in {}", path.display())),
        Some(home) => {
            OutDir::prepare(home.dir())?.write("config.toml", text.as_bytes())?;
            let place = path.display();
            context
                .did(format!("{name} = {value} in {place}; it takes effect when the node starts"))
        }
    }
}

fn path(context: &Context) -> Result<Exit, CliError> {
    let dir = context.data_dir()?;
    let at = |name: &str| dir.join(name).display().to_string();
    let paths = Paths {
        data_dir: dir.display().to_string(),
        config: at("config.toml"),
        socket: at("weft.sock"),
        token: at("api.token"),
        log: at("weft.log"),
    };
    context.screen.document(
        paths,
        |paths| paths.data_dir.clone(),
        |paths| {
            fields([
                ("data", paths.data_dir.clone()),
                ("config", paths.config.clone()),
                ("socket", paths.socket.clone()),
                ("token", paths.token.clone()),
                ("log", paths.log.clone()),
            ])
        },
    )?;
    Ok(Exit::SUCCESS)
}

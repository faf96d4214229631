//! This machine's node: making its keys, starting it, stopping it.

use std::{
    fs::{File, OpenOptions},
    io::{self, IsTerminal as _, Read as _, Seek as _, SeekFrom},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    process::Stdio,
    time::Duration,
};

use portal_api::{
    ErrorCode,
    views::{Identity, Kind, ShuttingDown},
};
use protocol::invite::Invite;
use serde::Serialize;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::{invites, show::fields};
use crate::{
    cli::{
        args::UpArgs, client::Target, context::Context, error::CliError, exit::Exit, human, logging,
    },
    home::{Config, Home, Settings, UpOptions, Value, petname},
    roles::clock::NodeClock,
};

/// How long a node that is started in the background may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How long a node may take to stop, beyond what it grants its tasks.
const STOP_WITHIN: Duration = Duration::from_secs(90);
/// What is shown of the log of a node that did not start, in bytes.
const LOG_SHOWN_MAX: u64 = 16 * 1024;

/// A node that is ready, for programs: what its line says.
#[derive(Debug, Default, Serialize)]
struct Ready {
    peer: String,
    p2p: String,
    api: String,
}

impl Kind for Ready {
    const KIND: &'static str = "Ready";
}

impl Ready {
    /// Reads `ready peer=… p2p=… api=…`.
    fn of(line: &str) -> Self {
        let field = |name: &str| {
            let found = line.split_whitespace().find_map(|word| word.strip_prefix(name));
            found.unwrap_or_default().to_owned()
        };
        Self { peer: field("peer="), p2p: field("p2p="), api: field("api=") }
    }
}

/// `weft init`.
///
/// # Errors
///
/// If the data directory cannot be used.
pub fn init(context: &Context) -> Result<Exit, CliError> {
    let dir = context.data_dir()?;
    if context.dry_run() {
        return context.would(format!("make the keys of a node in {}", dir.display()));
    }
    let home = Home::create(&dir)?;
    let config = Config::try_from(&home.settings(variables())?)?;
    let (keys, fresh) = home.keys_or_new()?;
    let node = keys.node.node();
    let identity = Identity {
        peer: node,
        name: config.name.unwrap_or_else(|| petname(&node)),
        account: keys.owner.account(),
        mesh: None,
        addresses: Vec::new(),
        agent: format!("weft/{}", env!("CARGO_PKG_VERSION")),
    };
    context.screen.document(
        identity,
        |identity| identity.peer.to_string(),
        |identity| {
            fields([
                ("peer", identity.peer.to_string()),
                ("name", identity.name.clone()),
                ("account", identity.account.to_string()),
                ("directory", home.dir().display().to_string()),
            ])
        },
    )?;
    let news = if fresh {
        "New keys. Start the node:  weft up"
    } else {
        "It had keys already; they are kept."
    };
    context.screen.news(&format!("  {news}"));
    Ok(Exit::SUCCESS)
}

/// The variables of the environment that are text.
pub(super) fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// `weft up`. Returns when the node has stopped, or with `-d` when it is ready.
///
/// # Errors
///
/// If the node cannot start, or ended with an error.
pub fn up(context: &Context, args: &UpArgs) -> Result<Exit, CliError> {
    if args.detached {
        // Fails only for a process that leads its group already: then there is no terminal to leave.
        let _ = rustix::process::setsid();
    }
    let dir = context.data_dir()?;
    if context.dry_run() {
        return plan(context, args, &dir);
    }
    let home = Home::create(&dir)?;
    let invite = args.invite.as_deref().map(invites::read).transpose()?;
    let config = configure(context, args, home.settings(variables())?)?;
    let config = match &invite {
        Some(invite) => invited(config, invite),
        None => config,
    };
    let lock = home.lock()?;
    if args.detach && !args.detached {
        drop(lock);
        return super::super::runtime()?.block_on(detach(context, &home));
    }
    let (keys, keys_are_new) = home.keys_or_new()?;
    logging::begin(&config, context.screen.verbosity())?;
    home.forget_old_key(NodeClock::wall())?;
    let watched = io::stderr().is_terminal() && !context.globals().quiet;
    let ends_if_refused = context.globals().no_input && config.join.is_some();
    let options =
        UpOptions { home, lock, keys, keys_are_new, ends_if_refused, watched, config, invite };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime
        .map_err(|error| CliError::internal(format!("the runtime did not start: {error}")))?;
    let ended = runtime.block_on(Box::pin(crate::app::up(options)));
    // Threads that still read or write a file are not waited for: everything that matters is on disk.
    runtime.shutdown_background();
    ended?;
    Ok(Exit::SUCCESS)
}

/// Asks where the invite says.
fn invited(config: Config, invite: &Invite) -> Config {
    let addresses = invite.addresses().map(|(node, address)| format!("{address}/p2p/{node}"));
    Config { bootstrap: addresses.collect(), ..config }
}

fn plan(context: &Context, args: &UpArgs, dir: &Path) -> Result<Exit, CliError> {
    let settings = match Home::open(dir) {
        Ok(home) => home.settings(variables())?,
        Err(_) => Settings::default(),
    };
    let config = configure(context, args, settings)?;
    let roles: Vec<_> = config.roles.iter().map(|role| role.name()).collect();
    if context.screen.is_for_people() {
        context.screen.text(&fields([
            ("roles", roles.join(", ")),
            ("listen", config.listen.join(" ")),
            ("bootstrap", config.bootstrap.join(" ")),
            ("api", format!("http://{}", config.api)),
        ]))?;
    }
    context.would(format!("start a node in {}", dir.display()))
}

/// Adds what the flags say: they win.
fn configure(context: &Context, args: &UpArgs, mut settings: Settings) -> Result<Config, CliError> {
    let list = |text: &str| {
        Value::List(
            text.split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect(),
        )
    };
    let flags = [
        (
            "p2p.listen",
            "--listen",
            (!args.listen.is_empty()).then(|| Value::List(args.listen.clone())),
        ),
        (
            "p2p.bootstrap",
            "--bootstrap",
            (!args.bootstrap.is_empty()).then(|| Value::List(args.bootstrap.clone())),
        ),
        ("api.listen", "--api", context.globals().api.clone().map(Value::Text)),
        ("mesh.join", "--join", args.join.clone().map(Value::Text)),
        ("p2p.mdns", "--no-mdns", args.no_mdns.then_some(Value::Flag(false))),
        ("mesh.auto_approve", "--auto-approve", args.auto_approve.then_some(Value::Flag(true))),
        ("roles", "--roles", args.roles.as_deref().map(list)),
        ("roles", "--mode", args.mode.map(|mode| list(&mode.roles.join(",")))),
        ("name", "--name", args.name.clone().map(Value::Text)),
        ("limits.slots", "--slots", args.slots.map(|slots| Value::Number(slots.into()))),
        ("limits.memory", "--memory", args.memory.clone().map(Value::Text)),
        (
            "log.format",
            "--log-format",
            args.log_format.map(|format| Value::Text(format!("{format:?}").to_ascii_lowercase())),
        ),
    ];
    for (name, flag, value) in flags {
        if let Some(value) = value {
            settings.set_flag(name, value, flag);
        }
    }
    Ok(Config::try_from(&settings)?)
}

/// Starts the same command again, without a terminal, and waits until it says that it is ready.
async fn detach(context: &Context, home: &Home) -> Result<Exit, CliError> {
    let path = home.log_file();
    let log = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
    let mut log = log.map_err(|error| {
        CliError::new(ErrorCode::DataDirUnusable, format!("{}: {error}", path.display()))
    })?;
    let begin = log.seek(SeekFrom::End(0)).unwrap_or(0);
    let broken =
        |error: io::Error| CliError::internal(format!("the node could not be started: {error}"));
    let program = std::env::current_exe().map_err(broken)?;
    let mut child = tokio::process::Command::new(program)
        .args(std::env::args_os().skip(1))
        .arg("--detached")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .map_err(broken)?;
    let stdout =
        child.stdout.take().ok_or_else(|| CliError::internal("a child process has no output"))?;
    let mut lines = BufReader::new(stdout).lines();
    let within = context.timeout().unwrap_or(READY_WITHIN);
    let ready = async {
        while let Ok(Some(line)) = lines.next_line().await {
            if line.starts_with("ready ") {
                return Some(line);
            }
        }
        None
    };
    match tokio::time::timeout(within, ready).await {
        Ok(Some(line)) => {
            if context.screen.is_for_people() {
                context.screen.text(&format!("{line}\n"))?;
            } else {
                context.screen.document(
                    Ready::of(&line),
                    |ready| ready.peer.clone(),
                    |_| String::new(),
                )?;
            }
            context.screen.success(&format!(
                "Running in the background. Its log: {}   stop it: weft down",
                path.display()
            ));
            Ok(Exit::SUCCESS)
        }
        Ok(None) => {
            let status = child.wait().await.map_err(broken)?;
            crate::cli::screen::write_stderr(&tail(&path, begin));
            let code =
                status.code().and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0);
            Ok(Exit(code.unwrap_or(1)))
        }
        Err(_) => Err(CliError::new(
            ErrorCode::Timeout,
            format!("not ready after {}; it goes on starting", human::duration(within)),
        )
        .help(format!("see its log:  {}", path.display()))
        .help("stop it:  weft down")),
    }
}

/// The end of what was written to a log since `begin`.
fn tail(path: &Path, begin: u64) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let end = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(begin.max(end.saturating_sub(LOG_SHOWN_MAX))))?;
        let mut bytes = Vec::new();
        file.take(LOG_SHOWN_MAX).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}

/// `weft down`. Returns when the node has stopped.
///
/// # Errors
///
/// `daemon-unreachable` if none runs; `timeout` if it does not stop.
pub async fn down(context: &Context) -> Result<Exit, CliError> {
    let mut client = context.client()?;
    if context.dry_run() {
        client.text("/livez").await?;
        return context.would(format!("stop the node in {}", context.data_dir()?.display()));
    }
    let going: ShuttingDown = client.post("/api/v1/local/shutdown", None::<&()>).await?;
    if going.tasks_running > 0 {
        let tasks = human::plural(u64::from(going.tasks_running), "task", "tasks");
        context.screen.news(&format!("  waiting for {tasks} to end or to be handed back"));
    }
    stopped(context).await?;
    if context.screen.is_for_people() {
        context.screen.success("Stopped");
    } else {
        context.screen.document(going, |_| String::new(), |_| String::new())?;
    }
    Ok(Exit::SUCCESS)
}

/// Waits until a node that was asked to stop has; a node on another machine is not waited for.
///
/// # Errors
///
/// `timeout` if it does not stop.
pub async fn stopped(context: &Context) -> Result<(), CliError> {
    let dir = context.data_dir()?;
    let target = Target::choose(context.globals().api.as_deref(), &dir)?;
    if target != Target::Unix(dir.join("weft.sock")) {
        return Ok(());
    }
    let home = Home::open(&dir)?;
    let stopped = tokio::task::spawn_blocking(move || home.wait_unlocked());
    let within = context.timeout().unwrap_or(STOP_WITHIN);
    match tokio::time::timeout(within, stopped).await {
        Ok(Ok(unlocked)) => Ok(unlocked?),
        Ok(Err(error)) => Err(CliError::internal(error.to_string())),
        Err(_) => Err(CliError::new(ErrorCode::Timeout, "the node has not stopped in time")
            .help("its log says what it waits for; `weft down` again waits on")),
    }
}

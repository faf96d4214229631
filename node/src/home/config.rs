//! What the settings mean.

use std::{
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    time::Duration,
};

use protocol::{limits, wire::enroll::Role};

use super::{
    ConfigError, Settings, Value,
    quantity::{parse_bytes, parse_duration},
};
use crate::core::limits::Hours;

/// What a node does. Every node submits.
pub type RoleSet = Vec<Role>;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// A configuration that makes sense. The only way to get one is to have [`Settings`] checked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// What the node is called; `None`: a name made from its key ([`petname`](super::petname())).
    pub name: Option<String>,
    /// What it does, [`Role::Submitter`] always included, in order.
    pub roles: RoleSet,
    /// Multiaddresses to listen on for other nodes.
    pub listen: Vec<String>,
    /// Whether a person chose them: then one that is taken is an error.
    pub listen_chosen: bool,
    /// Multiaddresses of nodes of the mesh to join. Empty: a mesh of one's own.
    pub bootstrap: Vec<String>,
    /// Whether to look for nodes on the local network, and to be found there.
    pub mdns: bool,
    /// Where the HTTP API listens: loopback.
    pub api: SocketAddr,
    /// Whether a person chose it: then one that is taken is an error.
    pub api_chosen: bool,
    /// Where the portal API listens, on a node that coordinates: loopback; `None`: nowhere.
    pub portal: Option<SocketAddr>,
    /// What a new mesh is called.
    pub mesh_name: String,
    /// A mesh on the local network to wait for instead of making one.
    pub join: Option<String>,
    /// Whether a new mesh admits whoever asks.
    pub auto_approve: bool,
    /// Tasks that run at a time; `None`: half of the cores, at least one.
    pub slots: Option<u16>,
    /// Memory shared with tasks, in bytes; `None`: a quarter of the machine's.
    pub memory_bytes: Option<u64>,
    /// What is shared where slots or memory are not said, in percent: 1 to 100.
    pub share_percent: u8,
    /// Whether others' work runs on battery.
    pub on_battery: bool,
    /// On battery, others' work runs down to this level, in percent.
    pub min_battery: u8,
    /// How long nobody must have used the machine before others' work runs.
    pub idle: Duration,
    /// The hours in which others' work runs; `None`: always.
    pub hours: Option<Hours>,
    /// What other programs may use of the processor while others' work runs, in percent; `None`: by the machine.
    pub max_cpu_others: Option<u8>,
    /// Not heard from for this long: a node is suspect.
    pub suspect_after: Duration,
    /// Not heard from for this long: a node is offline. Longer.
    pub offline_after: Duration,
    /// Disk space for blobs, in bytes.
    pub blobs_bytes_max: u64,
    /// How log lines look.
    pub log_format: LogFormat,
    /// How much is logged: a filter of `tracing-subscriber`. `None`: `warn` on a terminal, `info` elsewhere.
    pub log_level: Option<String>,
    /// How long to wait for tasks when asked to stop.
    pub shutdown_grace: Duration,
}

impl TryFrom<&Settings> for Config {
    type Error = ConfigError;

    fn try_from(settings: &Settings) -> Result<Self, ConfigError> {
        let read = Reader { settings };
        let suspect_after = read.duration("liveness.suspect_after")?;
        let offline_after = read.duration("liveness.offline_after")?;
        if suspect_after < limits::HEARTBEAT_INTERVAL.saturating_mul(2) {
            let problem = "shorter than two heartbeats, which come every 5 s".to_owned();
            return Err(read.bad("liveness.suspect_after", problem));
        }
        if suspect_after >= offline_after {
            let problem = "not longer than `liveness.suspect_after`".to_owned();
            return Err(read.bad("liveness.offline_after", problem));
        }
        Ok(Self {
            share_percent: read.percent("limits.share", 1..=100)?,
            on_battery: read.flag("limits.on_battery"),
            min_battery: read.percent("limits.min_battery", 0..=100)?,
            idle: read.duration("limits.idle")?,
            hours: read.checked("limits.hours", |text| match text {
                "" => Ok(None),
                hours => Hours::parse(hours)
                    .map(Some)
                    .ok_or_else(|| "two times of day such as 22:00-07:00".to_owned()),
            })?,
            max_cpu_others: Some(read.percent("limits.max_cpu_others", 0..=100)?)
                .filter(|percent| *percent > 0),
            suspect_after,
            offline_after,
            name: read.checked("name", |text| match text {
                "" => Ok(None),
                name => check_name(name).map(Some),
            })?,
            roles: read.list("roles", parse_roles)?,
            listen: read
                .list("p2p.listen", |addresses| check_addresses(addresses, Needs::Address))?,
            listen_chosen: read.chosen("p2p.listen"),
            bootstrap: read
                .list("p2p.bootstrap", |addresses| check_addresses(addresses, Needs::Peer))?,
            mdns: matches!(read.value("p2p.mdns"), Some(Value::Flag(true))),
            api: read.checked("api.listen", parse_api)?,
            api_chosen: read.chosen("api.listen"),
            portal: read.checked("portal.listen", |text| match text {
                "" => Ok(None),
                address => parse_api(address).map(Some),
            })?,
            mesh_name: read.checked("mesh.name", check_name)?,
            join: read.checked("mesh.join", |text| match text {
                "" => Ok(None),
                name => check_name(name).map(Some),
            })?,
            auto_approve: read.flag("mesh.auto_approve"),
            slots: read.slots()?,
            memory_bytes: read.checked("limits.memory", |text| match text {
                "" => Ok(None),
                size => parse_bytes(size).map(Some).map_err(|error| error.to_string()),
            })?,
            blobs_bytes_max: read.checked("limits.blobs", |text| {
                parse_bytes(text).map_err(|error| error.to_string())
            })?,
            log_format: read.checked("log.format", |text| match text {
                "text" => Ok(LogFormat::Text),
                "json" => Ok(LogFormat::Json),
                _ => Err("it is text or json".to_owned()),
            })?,
            log_level: read
                .checked("log.level", |text| Ok((!text.is_empty()).then(|| text.to_owned())))?,
            shutdown_grace: read.duration("shutdown_grace")?,
        })
    }
}

/// Reads values and says where a bad one stands.
struct Reader<'a> {
    settings: &'a Settings,
}

impl Reader<'_> {
    fn value(&self, name: &str) -> Option<&Value> {
        self.settings.get(name).map(|setting| &setting.value)
    }

    fn chosen(&self, name: &str) -> bool {
        self.settings.get(name).is_some_and(|setting| setting.origin != super::Origin::Default)
    }

    fn checked<T>(
        &self,
        name: &'static str,
        check: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        let text = match self.value(name) {
            Some(Value::Text(text)) => text.as_str(),
            Some(Value::List(_) | Value::Flag(_) | Value::Number(_)) | None => "",
        };
        check(text).map_err(|problem| self.bad(name, problem))
    }

    fn list<T>(
        &self,
        name: &'static str,
        check: impl FnOnce(&[String]) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        let texts = match self.value(name) {
            Some(Value::List(texts)) => texts.as_slice(),
            Some(Value::Text(_) | Value::Flag(_) | Value::Number(_)) | None => &[],
        };
        check(texts).map_err(|problem| self.bad(name, problem))
    }

    fn flag(&self, name: &str) -> bool {
        matches!(self.value(name), Some(Value::Flag(true)))
    }

    fn duration(&self, name: &'static str) -> Result<Duration, ConfigError> {
        self.checked(name, |text| parse_duration(text).map_err(|error| error.to_string()))
    }

    fn percent(&self, name: &'static str, allowed: RangeInclusive<u8>) -> Result<u8, ConfigError> {
        let number = match self.value(name) {
            Some(Value::Number(number)) => u8::try_from(*number).ok(),
            Some(Value::Text(_) | Value::List(_) | Value::Flag(_)) | None => None,
        };
        number
            .filter(|number| allowed.contains(number))
            .ok_or_else(|| self.bad(name, format!("from {} to {}", allowed.start(), allowed.end())))
    }

    fn slots(&self) -> Result<Option<u16>, ConfigError> {
        match self.value("limits.slots") {
            Some(Value::Number(0)) | None => Ok(None),
            Some(Value::Number(slots)) => match u16::try_from(*slots) {
                Ok(slots) if slots <= 4_096 => Ok(Some(slots)),
                _ => Err(self.bad("limits.slots", "at most 4096".to_owned())),
            },
            Some(Value::Text(_) | Value::List(_) | Value::Flag(_)) => Ok(None),
        }
    }

    fn bad(&self, key: &'static str, problem: String) -> ConfigError {
        let setting = self.settings.get(key);
        ConfigError::BadValue {
            origin: setting.map(|setting| setting.origin.to_string()).unwrap_or_default(),
            key,
            value: setting.map(|setting| setting.value.to_string()).unwrap_or_default(),
            problem,
        }
    }
}

fn check_name(name: &str) -> Result<String, String> {
    if protocol::wire::is_name(name) {
        Ok(name.to_owned())
    } else {
        Err(format!(
            "a name has 1 to {} letters, digits, `-`, `_` or `.` and begins with a letter or digit",
            limits::NAME_BYTES_MAX
        ))
    }
}

/// Reads a list of roles, adds [`Role::Submitter`], and puts them in order.
fn parse_roles(names: &[String]) -> Result<RoleSet, String> {
    let mut roles = vec![Role::Submitter];
    for name in names {
        let role = Role::ALL.into_iter().find(|role| role.name() == name.as_str());
        roles.push(role.ok_or_else(|| {
            format!("there is no role `{name}`: worker, coordinator, relay, submitter")
        })?);
    }
    roles.sort_unstable();
    roles.dedup();
    Ok(roles)
}

/// The roles that a runtime mode stands for.
///
/// # Errors
///
/// A sentence for modes that this build does not have, and for those that nobody has.
pub fn mode_roles(mode: &str) -> Result<&'static [&'static str], String> {
    match mode {
        "all-in-one" => Ok(&["worker", "coordinator"]),
        "coordinator" | "control-plane" => Ok(&["coordinator"]),
        "worker" => Ok(&["worker"]),
        "relay" => Ok(&["relay"]),
        "inference" | "ide-provider" => {
            Err(format!("this build serves no models, so it has no mode `{mode}`"))
        }
        _ => Err(format!(
            "there is no mode `{mode}`: all-in-one, coordinator, control-plane, worker, relay"
        )),
    }
}

/// Reads `HOST:PORT`, where the host is `localhost` or an address of this machine only.
fn parse_api(text: &str) -> Result<SocketAddr, String> {
    let text = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    let text = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    let address: SocketAddr =
        text.parse().map_err(|_| "expected HOST:PORT such as 127.0.0.1:4304".to_owned())?;
    let loopback = match address.ip() {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_loopback(),
    };
    if loopback {
        Ok(address)
    } else {
        Err(format!(
            "the API has no TLS, so it listens on this machine only: use 127.0.0.1:{0}, and from elsewhere \
             `ssh -L {0}:127.0.0.1:{0} HOST`",
            address.port()
        ))
    }
}

/// What an address must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// Somewhere to listen.
    Address,
    /// Somebody to reach.
    Peer,
}

fn check_addresses(addresses: &[String], needs: Needs) -> Result<Vec<String>, String> {
    for address in addresses {
        let parsed: libp2p::Multiaddr = address.parse().map_err(|_| {
            format!("`{address}` is not a multiaddress such as /ip4/127.0.0.1/tcp/4301")
        })?;
        if needs == Needs::Peer
            && !parsed.iter().any(|part| matches!(part, libp2p::multiaddr::Protocol::P2p(_)))
        {
            return Err(format!(
                "`{address}` does not end in /p2p/ID; `weft id` there prints it whole"
            ));
        }
    }
    if needs == Needs::Address && addresses.is_empty() {
        return Err("at least one address is needed".to_owned());
    }
    Ok(addresses.to_vec())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn config(text: &str) -> Result<Config, ConfigError> {
        let mut settings = Settings::default();
        settings.add_file(Path::new("config.toml"), text)?;
        Config::try_from(&settings)
    }

    #[test]
    fn the_defaults_make_sense() {
        let config = config("").unwrap();
        assert_eq!(config.roles, [Role::Worker, Role::Submitter, Role::Coordinator]);
        assert_eq!(config.api.port(), protocol::names::PORT_API);
        assert!(!config.api_chosen && !config.listen_chosen && !config.auto_approve);
        assert_eq!((config.slots, config.memory_bytes), (None, None));
        assert_eq!(config.shutdown_grace, Duration::from_secs(30));
        assert_eq!(config.suspect_after, limits::SUSPECT_AFTER);
        assert_eq!(config.offline_after, limits::OFFLINE_AFTER);
        assert_eq!((config.share_percent, config.on_battery, config.hours), (50, false, None));
        assert_eq!((config.idle, config.max_cpu_others), (Duration::from_secs(180), None));
    }

    #[test]
    fn values_that_make_no_sense_say_where_they_stand() {
        let error = config("[api]\nlisten = \"0.0.0.0:4304\"\n").unwrap_err().to_string();
        assert!(
            error.starts_with(
                "config.toml, line 2: `api.listen` = \"0.0.0.0:4304\": the API has no TLS"
            ),
            "{error}"
        );
        for text in [
            "name = \"no spaces\"",
            "roles = [\"boss\"]",
            "[p2p]\nlisten = [\"127.0.0.1:4301\"]",
            "[p2p]\nlisten = []",
            "[p2p]\nbootstrap = [\"/ip4/10.0.0.1/tcp/4301\"]",
            "[limits]\nslots = 5000",
            "[limits]\nmemory = \"much\"",
            "[log]\nformat = \"xml\"",
            "shutdown_grace = \"soon\"",
            "[limits]\nshare = 0",
            "[limits]\nmin_battery = 101",
            "[limits]\nidle = \"a while\"",
            "[limits]\nhours = \"22-7\"",
            "[limits]\nmax_cpu_others = 101",
            "[liveness]\nsuspect_after = \"30s\"\noffline_after = \"30s\"",
            "[liveness]\nsuspect_after = \"9s\"",
        ] {
            assert!(matches!(config(text), Err(ConfigError::BadValue { .. })), "{text}");
        }
    }

    #[test]
    fn an_address_that_was_chosen_is_known_to_be() {
        let config =
            config("[api]\nlisten = \"localhost:0\"\n[p2p]\nlisten = [\"/ip4/127.0.0.1/tcp/0\"]\n")
                .unwrap();
        assert!(config.api_chosen && config.listen_chosen);
        assert_eq!(config.api, SocketAddr::from(([127, 0, 0, 1], 0)));
    }

    #[test]
    fn modes_are_names_for_roles() {
        assert_eq!(mode_roles("all-in-one"), Ok(["worker", "coordinator"].as_slice()));
        assert!(mode_roles("inference").unwrap_err().contains("this build"));
        assert!(mode_roles("nonsense").unwrap_err().contains("there is no mode"));
    }
}

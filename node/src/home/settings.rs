//! Settings as they were written, each with where it comes from.
//!
//! One table, [`KEYS`], says which settings there are; the file, the environment, `weft config` and the
//! documentation all follow it. What the values mean is [`Config`](super::Config)'s business.

use std::{collections::BTreeMap, fmt, path::Path};

use toml::de::{DeTable, DeValue};

use super::ConfigError;

/// What kind of value a setting has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    Text,
    /// A list of texts. In the environment: separated by commas.
    List,
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Number,
}

impl Kind {
    const fn expected(self) -> &'static str {
        match self {
            Self::Text => "a text in quotes",
            Self::List => "a list of texts",
            Self::Flag => "true or false",
            Self::Number => "a whole number",
        }
    }
}

/// A setting that exists.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name: the table and the key in the file, with a dot.
    pub name: &'static str,
    /// What kind of value it has.
    pub kind: Kind,
    /// What it is unless something else is said, as in the file.
    pub default: &'static str,
    /// What it means, with its unit and the reason for the default.
    pub doc: &'static str,
}

impl Key {
    /// The variable that sets it: `p2p.listen` is `WEFT_P2P__LISTEN`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("WEFT_{}", self.name.replace('.', "__").to_ascii_uppercase())
    }
}

const fn key(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key { name, kind, default, doc }
}

/// All settings, in the order in which they are shown.
pub const KEYS: &[Key] = &[
    key("name", Kind::Text, "\"\"", "What the node is called. Empty: a name made from its key."),
    key(
        "roles",
        Kind::List,
        "[\"worker\", \"coordinator\"]",
        "What the node does: worker, coordinator, relay. Every node can submit jobs.",
    ),
    key(
        "p2p.listen",
        Kind::List,
        "[\"/ip4/0.0.0.0/udp/4301/quic-v1\", \"/ip4/0.0.0.0/tcp/4301\"]",
        "Multiaddresses to listen on for other nodes. Port 0 is chosen by the system. An address that is set and \
         taken is an error; from the default ports the next free one is taken.",
    ),
    key(
        "p2p.bootstrap",
        Kind::List,
        "[]",
        "Multiaddresses, with /p2p/ID, of nodes of the mesh to join. Empty: a mesh of one's own.",
    ),
    key(
        "p2p.mdns",
        Kind::Flag,
        "true",
        "Whether to look for nodes on the local network, and to be found there: by multicast DNS, on \
         networks with private IPv4 or unique local IPv6 addresses that it listens on.",
    ),
    key(
        "api.listen",
        Kind::Text,
        "\"127.0.0.1:4304\"",
        "Where the HTTP API listens. Loopback only: it has no TLS. Port 0 is chosen by the system.",
    ),
    key(
        "portal.listen",
        Kind::Text,
        "\"\"",
        "Where a node that coordinates serves the portal API, usually 127.0.0.1:4310. Empty: nowhere. Loopback only, \
         behind a proxy that speaks TLS; clients show the token of api.token.",
    ),
    key(
        "mesh.name",
        Kind::Text,
        "\"home\"",
        "What a new mesh is called. No effect on one that exists.",
    ),
    key(
        "mesh.join",
        Kind::Text,
        "\"\"",
        "A mesh on the local network to wait for, by its name, instead of making one. Empty: a mesh of one's own.",
    ),
    key(
        "mesh.auto_approve",
        Kind::Flag,
        "false",
        "Whether a new mesh admits whoever asks, for every role. Only for networks where that is wanted.",
    ),
    key(
        "limits.slots",
        Kind::Number,
        "0",
        "Tasks that run at a time. 0: by `share`, half of the cores, at least one, so that the machine stays usable.",
    ),
    key(
        "limits.memory",
        Kind::Text,
        "\"\"",
        "Memory shared with tasks, such as \"4GiB\". Empty: by `share`, a quarter of the machine's.",
    ),
    key(
        "limits.share",
        Kind::Number,
        "50",
        "What of this machine is shared where `slots` or `memory` do not say it, in percent: that part of the cores, and \
         half that part of the memory. 1 to 100.",
    ),
    key("limits.on_battery", Kind::Flag, "false", "Whether others' work also runs on battery."),
    key(
        "limits.min_battery",
        Kind::Number,
        "0",
        "On battery: others' work does not run below this level, in percent.",
    ),
    key(
        "limits.idle",
        Kind::Text,
        "\"3m\"",
        "Others' work runs once nobody has used the machine for this long; \"0s\": always. Where nobody has logged in at \
         a seat, nobody uses it.",
    ),
    key(
        "limits.hours",
        Kind::Text,
        "\"\"",
        "The hours in which others' work runs, in local time, such as \"22:00-07:00\". Empty: always.",
    ),
    key(
        "limits.max_cpu_others",
        Kind::Number,
        "0",
        "Others' work does not run while other programs use more of the processor than this, in percent; 100: it always \
         does. 0: 25 where somebody sits, and 100 elsewhere.",
    ),
    key(
        "limits.blobs",
        Kind::Text,
        "\"10GiB\"",
        "Disk space for modules, inputs and outputs; the oldest go first.",
    ),
    key(
        "liveness.suspect_after",
        Kind::Text,
        "\"15s\"",
        "A node that was not heard from for this long is suspect: it gets no work. For coordinators.",
    ),
    key(
        "liveness.offline_after",
        Kind::Text,
        "\"30s\"",
        "A node that was not heard from for this long is offline. Longer than `suspect_after`. For coordinators.",
    ),
    key("log.format", Kind::Text, "\"text\"", "How log lines look: text or json."),
    key(
        "log.level",
        Kind::Text,
        "\"\"",
        "How much is logged: error, warn, info, debug, trace, or a filter. Empty: warn on a terminal, where a person \
         looks, and info elsewhere.",
    ),
    key(
        "shutdown_grace",
        Kind::Text,
        "\"30s\"",
        "How long a node that is asked to stop waits for its tasks before it hands them back.",
    ),
];

/// A value as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A list of texts.
    List(Vec<String>),
    /// Yes or no.
    Flag(bool),
    /// A whole number.
    Number(u64),
}

/// As in the file.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{}", toml::Value::from(text.as_str())),
            Self::List(texts) => write!(f, "{}", toml::Value::from(texts.clone())),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// A file and the line in it.
    File(String, usize),
    /// An environment variable.
    Variable(String),
    /// A flag on the command line.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{path}, line {line}"),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// A value and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The value.
    pub value: Value,
    /// Where it comes from.
    pub origin: Origin,
}

/// All settings: each key of [`KEYS`] has a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    values: BTreeMap<&'static str, Setting>,
}

impl Default for Settings {
    fn default() -> Self {
        let parse = |key: &Key| {
            // A default is part of the program: a test reads every one of them.
            let value = read_toml(key.default, key).unwrap_or_else(|| Value::Text(String::new()));
            (key.name, Setting { value, origin: Origin::Default })
        };
        Self { values: KEYS.iter().map(parse).collect() }
    }
}

impl Settings {
    /// Adds what a file says.
    ///
    /// # Errors
    ///
    /// If it is not TOML, names a setting that does not exist, or gives one a value of another kind.
    pub fn add_file(&mut self, path: &Path, text: &str) -> Result<(), ConfigError> {
        let table = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
            path: path.to_owned(),
            line: error.span().map_or(1, |span| line_of(text, span.start)),
            message: error.message().to_owned(),
        })?;
        let mut found = Vec::new();
        flatten("", table.get_ref(), &mut found);
        for (name, value, at) in found {
            let origin = Origin::File(path.display().to_string(), line_of(text, at));
            let key = find(&name, &origin)?;
            let value = from_toml(value, key).ok_or_else(|| wrong_kind(key, &origin))?;
            self.set(key, value, origin);
        }
        Ok(())
    }

    /// Adds what the environment says: variables of [`Key::variable`]. Others are not ours, unless they begin
    /// with `WEFT_` and have two underscores, which only a setting has.
    ///
    /// # Errors
    ///
    /// If one names a setting that does not exist, or gives one a value of another kind.
    pub fn add_environment(
        &mut self,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(), ConfigError> {
        for (variable, text) in variables {
            let Some(name) = variable.strip_prefix("WEFT_") else { continue };
            let origin = Origin::Variable(variable.clone());
            let key = match KEYS.iter().find(|key| key.variable() == variable) {
                Some(key) => key,
                None if name.contains("__") => {
                    find(&name.replace("__", ".").to_ascii_lowercase(), &origin)?
                }
                None => continue,
            };
            let value = key.read(&text).ok_or_else(|| wrong_kind(key, &origin))?;
            self.set(key, value, origin);
        }
        Ok(())
    }

    /// Sets one value. The value is of the key's kind.
    pub fn set(&mut self, key: &Key, value: Value, origin: Origin) {
        self.values.insert(key.name, Setting { value, origin });
    }

    /// Sets one value by the key's name, as a flag does.
    pub fn set_flag(&mut self, name: &str, value: Value, flag: &'static str) {
        if let Some(key) = KEYS.iter().find(|key| key.name == name) {
            self.set(key, value, Origin::Flag(flag));
        }
    }

    /// One setting.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Setting> {
        self.values.get(name)
    }

    /// All settings, in the order of [`KEYS`].
    pub fn iter(&self) -> impl Iterator<Item = (&'static Key, &Setting)> {
        KEYS.iter().filter_map(|key| Some((key, self.values.get(key.name)?)))
    }
}

impl Key {
    /// The setting of this name.
    ///
    /// # Errors
    ///
    /// If there is none; the error names the nearest.
    pub fn named(name: &str) -> Result<&'static Self, ConfigError> {
        find(name, &Origin::Flag("config"))
    }

    /// A value as written in the environment or on the command line: without quotes, lists with commas.
    #[must_use]
    pub fn read(&self, text: &str) -> Option<Value> {
        let text = text.trim();
        match self.kind {
            Kind::Text => Some(Value::Text(text.to_owned())),
            Kind::List => {
                let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                Some(Value::List(parts.map(str::to_owned).collect()))
            }
            Kind::Flag => match text {
                "true" | "1" | "yes" | "on" => Some(Value::Flag(true)),
                "false" | "0" | "no" | "off" => Some(Value::Flag(false)),
                _ => None,
            },
            Kind::Number => text.parse().ok().map(Value::Number),
        }
    }
}

fn find(name: &str, origin: &Origin) -> Result<&'static Key, ConfigError> {
    KEYS.iter().find(|key| key.name == name).ok_or_else(|| ConfigError::UnknownKey {
        origin: origin.to_string(),
        key: name.to_owned(),
        nearest: nearest(name, KEYS.iter().map(|key| key.name)),
    })
}

fn wrong_kind(key: &Key, origin: &Origin) -> ConfigError {
    ConfigError::WrongKind {
        origin: origin.to_string(),
        key: key.name,
        expected: key.kind.expected(),
    }
}

/// The line, from 1, that holds byte `at`.
fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count().saturating_add(1)
}

/// Values by their dotted names, with their places in the text. Tables have a depth of at most 2 in [`KEYS`];
/// deeper ones end up as names that do not exist.
fn flatten<'a, 'i>(
    prefix: &str,
    table: &'a DeTable<'i>,
    found: &mut Vec<(String, &'a DeValue<'i>, usize)>,
) {
    for (key, value) in table {
        let name = if prefix.is_empty() {
            key.get_ref().to_string()
        } else {
            format!("{prefix}.{}", key.get_ref())
        };
        match value.get_ref().as_table() {
            Some(inner) if prefix.matches('.').count() < 2 => flatten(&name, inner, found),
            _ => found.push((name, value.get_ref(), key.span().start)),
        }
    }
}

fn from_toml(value: &DeValue<'_>, key: &Key) -> Option<Value> {
    match key.kind {
        Kind::Text => value.as_str().map(|text| Value::Text(text.to_owned())),
        Kind::Flag => value.as_bool().map(Value::Flag),
        Kind::Number => {
            let digits = value.as_integer()?;
            u64::from_str_radix(digits.as_str(), digits.radix()).ok().map(Value::Number)
        }
        Kind::List => {
            let texts =
                value.as_array()?.iter().map(|item| item.get_ref().as_str().map(str::to_owned));
            texts.collect::<Option<_>>().map(Value::List)
        }
    }
}

/// Reads one value in the syntax of the file.
fn read_toml(text: &str, key: &Key) -> Option<Value> {
    let line = format!("value = {text}");
    let table = DeTable::parse(&line).ok()?;
    from_toml(table.get_ref().get("value")?.get_ref(), key)
}

/// The known word that was probably meant: at most a third of it has to be changed.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |other: &str| edit_distance(word, other);
    let (distance, best) = known.into_iter().map(|other| (distance(other), other)).min()?;
    (distance <= best.len().div_ceil(3)).then_some(best)
}

/// Insertions, deletions and replacements from one word to the other.
fn edit_distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (at, a) in from.chars().enumerate() {
        let mut left = at.saturating_add(1);
        let mut diagonal = at;
        let mut next = vec![left];
        for (b, above) in to.chars().zip(row.iter().skip(1)) {
            let replaced = diagonal.saturating_add(usize::from(a != b));
            left = replaced.min(left.saturating_add(1)).min(above.saturating_add(1));
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests;

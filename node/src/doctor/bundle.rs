//! One file that says what a node looks like, for whoever is asked for help. It holds no secret.
//!
//! What goes in is chosen, not filtered: diagnoses, settings by their known names, what the node says of itself, its
//! version, and the end of its log with everything taken out that might be somebody's. Then each part is searched for the
//! secrets that are in the data directory, and for the names in it that are a user's; what is found is taken out too.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use serde::Serialize;
use thiserror::Error;

use super::{Diagnosis, Place};
use crate::home::{Config, Settings};

/// How much of the log goes in, in bytes.
const LOG_BYTES_MAX: u64 = 256 * 1024;
/// The shortest secret that is searched for: shorter ones are in every text.
const SECRET_BYTES_MIN: usize = 8;
/// What stands for something that was taken out.
const TAKEN_OUT: &str = "[taken out]";

/// A bundle could not be written.
#[derive(Debug, Error)]
#[error("could not write {}", .path.display())]
pub struct BundleError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// The parts of a bundle: names and texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    parts: Vec<(&'static str, String)>,
}

impl Bundle {
    /// Puts a bundle together.
    #[must_use]
    pub fn new(place: &Place, found: &[Diagnosis]) -> Self {
        let secrets = secrets(place);
        let parts = [
            ("doctor.json", json(&found)),
            ("version.json", json(&portal_api::views::Version::of_this_build())),
            ("settings.txt", settings(place)),
            ("status.json", json(&place.answers.status)),
            ("health.json", json(&place.answers.health)),
            ("log.txt", log(&place.file("weft.log"))),
        ];
        let parts = parts.into_iter().map(|(name, text)| (name, without(text, &secrets)));
        Self { parts: parts.collect() }
    }

    /// The names of its parts, in order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.parts.iter().map(|(name, _)| *name)
    }

    /// Writes it as a tar archive, for its owner only. A file that is there is not replaced.
    ///
    /// # Errors
    ///
    /// If it cannot be written, or is there already.
    pub fn write(&self, path: &Path, modified_seconds: u64) -> Result<(), BundleError> {
        let write = || -> io::Result<()> {
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            let mut archive = tar::Builder::new(file);
            for (name, text) in &self.parts {
                let mut header = tar::Header::new_ustar();
                header.set_size(u64::try_from(text.len()).unwrap_or(u64::MAX));
                header.set_mode(0o600);
                header.set_mtime(modified_seconds);
                archive.append_data(&mut header, format!("weft-doctor/{name}"), text.as_bytes())?;
            }
            archive.into_inner()?.sync_all()
        };
        write().map_err(|source| BundleError { path: path.to_owned(), source })
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

/// The settings by the names that we know: a file may hold anything besides, in comments too.
fn settings(place: &Place) -> String {
    let mut settings = Settings::default();
    for path in [place.path("/etc/weft/config.toml"), place.file("config.toml")] {
        if let Ok(text) = fs::read_to_string(&path)
            && settings.add_file(&path, &text).is_err()
        {
            return "the settings make no sense; doctor.json says where\n".to_owned();
        }
    }
    if settings.add_environment(place.variables.clone()).is_err() {
        return "the environment names settings that do not exist\n".to_owned();
    }
    let makes_sense = Config::try_from(&settings).is_ok();
    let mut text = format!("# makes sense: {makes_sense}\n");
    for (key, setting) in settings.iter() {
        let origin = setting.origin.to_string();
        // The line, not the path: a path has the user's name in it.
        let origin = origin.rsplit('/').next().unwrap_or_default();
        text.push_str(&format!("{} = {}    # {origin}\n", key.name, setting.value));
    }
    text
}

/// The end of the log, with every word taken out that might be somebody's.
fn log(path: &Path) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let end = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(end.saturating_sub(LOG_BYTES_MAX)))?;
        let mut bytes = Vec::new();
        file.take(LOG_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    // The first line may be the end of one.
    let lines = text.split_inclusive('\n').skip(usize::from(text.len() > 200_000));
    lines.map(discreet).collect()
}

/// A line without words that look like paths, secrets, invites or hashes.
fn discreet(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let is_part = |c: char| c.is_alphanumeric() || "/._-+=%~@:".contains(c);
    let mut word = String::new();
    for c in line.chars().chain(['\n']) {
        if is_part(c) {
            word.push(c);
            continue;
        }
        text.push_str(if is_private(&word) { TAKEN_OUT } else { &word });
        word.clear();
        text.push(c);
    }
    text.pop();
    text
}

fn is_private(word: &str) -> bool {
    let ours = ["/ip4/", "/ip6/", "/p2p/", "/unix/", "/dns", "/api/v1"];
    let path = word.contains('/') && !ours.iter().any(|prefix| word.starts_with(prefix));
    let name = word.rsplit_once('.').is_some_and(|(stem, end)| {
        !stem.is_empty()
            && (1..=6).contains(&end.len())
            && end.bytes().all(|byte| byte.is_ascii_alphabetic())
    });
    let digits = word.rsplit(['=', ':']).next().unwrap_or(word);
    let hash = digits.len() >= 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let long = digits.len() >= 40
        && !digits.starts_with("12D3KooW")
        && digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=_-".contains(&byte));
    let invite = word.contains("weft1");
    (path || name || hash || long || invite) && !word.starts_with("/ip")
}

/// What must not be in a bundle: the keys in every form, the token, and names of a user's own.
fn secrets(place: &Place) -> Vec<String> {
    let mut secrets = Vec::new();
    for name in ["identity.key", "owner.key", "api.token"] {
        let text = fs::read_to_string(place.file(name)).unwrap_or_default();
        let lines = text.lines().map(str::trim).filter(|line| !line.starts_with("-----"));
        secrets.extend(lines.map(str::to_owned));
        secrets.extend(crate::home::key_seed_hex(&text));
    }
    if let Some(home) = place.variables.get("HOME") {
        secrets.push(home.clone());
    }
    secrets.push(place.dir.display().to_string());
    secrets.retain(|secret| secret.len() >= SECRET_BYTES_MIN);
    // The longer ones first: a shorter one may be a part of them.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets
}

fn without(mut text: String, secrets: &[String]) -> String {
    for secret in secrets {
        if text.contains(secret.as_str()) {
            text = text.replace(secret.as_str(), TAKEN_OUT);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        doctor::{Finding, Severity, checks::testing::Machine},
        home::Home,
    };

    #[test]
    fn a_log_keeps_its_sense_and_loses_what_is_private() {
        for (line, kept) in [
            (
                "2026-11-24T21:00:00Z  INFO joined mesh=\"home\"",
                "2026-11-24T21:00:00Z  INFO joined mesh=\"home\"",
            ),
            ("reading /home/me/taxes.txt failed", "reading [taken out] failed"),
            ("input holiday.jpg is gone", "input [taken out] is gone"),
            ("dial /ip4/127.0.0.1/udp/4301/quic-v1 ok", "dial /ip4/127.0.0.1/udp/4301/quic-v1 ok"),
            ("join weft1qf8zzzz3kx0", "join [taken out]"),
            ("token=0123456789abcdef0123456789abcdef", "[taken out]"),
        ] {
            assert_eq!(discreet(line), kept);
        }
    }

    #[test]
    fn no_planted_secret_is_in_a_bundle() {
        let mut machine = Machine::new(&[]);
        let home = Home::create(&machine.place.dir).unwrap();
        home.keys_or_new().unwrap();
        let token = home.token_or_new().unwrap();
        let key = fs::read_to_string(home.identity_key()).unwrap();
        let body = key.lines().nth(1).unwrap().to_owned();
        let seed = crate::home::key_seed_hex(&key).unwrap();
        let planted = [token.as_str(), &body, &seed, "weft1qsecretinvite0000", "my-taxes.pdf"];
        let log: String =
            planted.iter().map(|it| format!("INFO something {it} happened\n")).collect();
        fs::write(home.log_file(), log).unwrap();
        fs::write(home.config_file(), format!("# my token is {token}\nname = \"otter\"\n"))
            .unwrap();
        machine.place.variables.insert("HOME".to_owned(), "/home/somebody".to_owned());
        let found =
            [Diagnosis::found("x", Finding::Disk, Severity::Problem, format!("with {body}"))
                .because(format!("/home/somebody has {token}"))];
        let bundle = Bundle::new(&machine.place, &found);
        let path = machine.dir().join("bundle.tar");
        bundle.write(&path, 1_700_000_000).unwrap();
        let archive = fs::read(&path).unwrap();
        let archive = String::from_utf8_lossy(&archive);
        for secret in planted.iter().copied().chain(["/home/somebody"]) {
            assert!(!archive.contains(secret), "{secret}");
        }
        assert!(archive.contains("name = \"otter\"") && archive.contains("something"));
        bundle.write(&path, 0).unwrap_err();
        let names: Vec<_> = tar::Archive::new(File::open(&path).unwrap())
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert_eq!(names.len(), bundle.names().count());
    }
}

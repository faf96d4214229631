//! Changing the file of settings, and leaving everything else in it as it is.

use std::{fs, io};

use super::{Config, ConfigError, Home, Key, Settings, Value, replace};

/// The text of a file of settings with one value changed; comments and everything else stay.
///
/// # Errors
///
/// If the text is not TOML.
pub fn edit(text: &str, key: &Key, value: &Value) -> Result<String, toml_edit::TomlError> {
    let mut document: toml_edit::DocumentMut = text.parse()?;
    let item = match value {
        Value::Text(text) => toml_edit::value(text.as_str()),
        Value::List(texts) => toml_edit::value(texts.iter().collect::<toml_edit::Array>()),
        Value::Flag(flag) => toml_edit::value(*flag),
        Value::Number(number) => toml_edit::value(i64::try_from(*number).unwrap_or(i64::MAX)),
    };
    match key.name.split_once('.') {
        None => {
            document.insert(key.name, item);
        }
        Some((table, name)) => {
            let table = document.entry(table).or_insert_with(toml_edit::table);
            if let Some(table) = table.as_table_like_mut() {
                table.insert(name, item);
            }
        }
    }
    Ok(document.to_string())
}

impl Home {
    /// Changes values in the file of settings. A file that would make no sense is not written. Blocks on the disk for
    /// a moment.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or written, or what it would say makes no sense.
    pub fn write_settings(&self, values: &[(&'static Key, Value)]) -> Result<(), ConfigError> {
        let path = self.config_file();
        let failed = |source| ConfigError::Read { path: path.clone(), source };
        let mut text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(failed(error)),
        };
        for (key, value) in values {
            text = edit(&text, key, value).map_err(|error| ConfigError::Syntax {
                path: path.clone(),
                line: 1,
                message: error.message().to_owned(),
            })?;
        }
        let mut settings = Settings::default();
        settings.add_file(&path, &text)?;
        Config::try_from(&settings)?;
        replace(&path, text.as_bytes())
            .map_err(|source| ConfigError::Write { path: path.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_a_value_keeps_comments_and_everything_else() {
        let before = "# mine\nname = \"otter\" # short\n\n[limits]\nslots = 1\n";
        let slots = Key::named("limits.slots").unwrap();
        let after = edit(before, slots, &Value::Number(3)).unwrap();
        assert_eq!(after, "# mine\nname = \"otter\" # short\n\n[limits]\nslots = 3\n");
        let listen = Key::named("p2p.listen").unwrap();
        let after = edit("", listen, &Value::List(vec!["/a".into(), "/b".into()])).unwrap();
        assert_eq!(after, "[p2p]\nlisten = [\"/a\", \"/b\"]\n");
        let name = Key::named("name").unwrap();
        assert_eq!(
            edit("[limits]\nslots = 1\n", name, &Value::Text("x".into())).unwrap(),
            "name = \"x\"\n[limits]\nslots = 1\n"
        );
    }

    #[test]
    fn what_would_make_no_sense_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::create(&dir.path().join("home")).unwrap();
        let share = Key::named("limits.share").unwrap();
        home.write_settings(&[(share, Value::Number(25))]).unwrap();
        let text = fs::read_to_string(home.config_file()).unwrap();
        assert_eq!(text, "[limits]\nshare = 25\n");
        assert!(home.write_settings(&[(share, Value::Number(0))]).is_err());
        assert_eq!(fs::read_to_string(home.config_file()).unwrap(), text);
    }
}

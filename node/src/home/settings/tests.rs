use super::*;

fn file(text: &str) -> Result<Settings, ConfigError> {
    let mut settings = Settings::default();
    settings.add_file(Path::new("config.toml"), text).map(|()| settings)
}

#[test]
fn every_default_is_of_its_kind() {
    for key in KEYS {
        assert!(read_toml(key.default, key).is_some(), "{}", key.name);
        assert!(!key.doc.is_empty());
    }
}

#[test]
fn a_file_says_where_each_value_stands() {
    let settings = file("name = \"otter\"\n\n[limits]\nslots = 3\n").unwrap();
    let slots = settings.get("limits.slots").unwrap();
    assert_eq!(slots.value, Value::Number(3));
    assert_eq!(slots.origin.to_string(), "config.toml, line 4");
    assert_eq!(settings.get("roles").unwrap().origin, Origin::Default);
}

#[test]
fn a_typo_is_an_error_with_its_line_and_what_was_meant() {
    let error = file("[p2p]\n\nbootstap = []\n").unwrap_err();
    assert_eq!(
        error.to_string(),
        "config.toml, line 3: there is no setting `p2p.bootstap`; did you mean `p2p.bootstrap`?"
    );
    let error = file("[limits]\nslots = \"3\"\n").unwrap_err();
    assert_eq!(error.to_string(), "config.toml, line 2: `limits.slots` must be a whole number");
    assert!(matches!(file("a = = 1\n").unwrap_err(), ConfigError::Syntax { line: 1, .. }));
    assert!(file("[limits]\nslots = -1\n").is_err());
    assert!(file("[a.b.c.d.e]\nf = 1\n").is_err());
}

#[test]
fn the_environment_beats_the_file() {
    let mut settings = file("[p2p]\nbootstrap = [\"/a\"]\n").unwrap();
    let variables = [("WEFT_P2P__BOOTSTRAP", "/b, /c"), ("WEFT_DATA_DIR", "/x"), ("HOME", "/h")];
    let variables = variables.map(|(key, value)| (key.to_owned(), value.to_owned()));
    settings.add_environment(variables).unwrap();
    let bootstrap = settings.get("p2p.bootstrap").unwrap();
    assert_eq!(bootstrap.value, Value::List(vec!["/b".into(), "/c".into()]));
    assert_eq!(bootstrap.origin.to_string(), "WEFT_P2P__BOOTSTRAP");
    let typo = [("WEFT_P2P__BOOTSTAP".to_owned(), String::new())];
    assert!(matches!(settings.add_environment(typo), Err(ConfigError::UnknownKey { .. })));
}

#[test]
fn the_nearest_word_is_found_if_it_is_near() {
    assert_eq!(nearest("prime", ["primes", "wordfreq"]), Some("primes"));
    assert_eq!(nearest("wordfeq", ["primes", "wordfreq"]), Some("wordfreq"));
    assert_eq!(nearest("zzz", ["primes", "wordfreq"]), None);
    assert_eq!(edit_distance("kitten", "sitting"), 3);
}

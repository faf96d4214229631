//! The table of errors in `docs/api.md` is the catalogue.

use std::{env, fs, path::Path};

use portal_api::ErrorCode;

const BEGIN: &str = "<!-- table: errors -->\n";
const END: &str = "<!-- end -->";

fn rendered(document: &str) -> String {
    let (before, rest) = document.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let rows: String = ErrorCode::ALL
        .iter()
        .map(|code| {
            let status =
                code.status().map_or_else(|| "–".to_owned(), |status| status.as_u16().to_string());
            format!(
                "| `{code}` | {status} | {} | {} | {} |\n",
                code.exit_code(),
                code.title(),
                code.help()
            )
        })
        .collect();
    let head = "| Code | Status | Exit | Title | The way out |\n|---|---|---|---|---|\n";
    format!("{before}{BEGIN}{head}{rows}{END}{after}")
}

#[test]
fn the_table_of_errors_is_the_catalogue() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/api.md");
    let document = fs::read_to_string(&path).unwrap();
    let rendered = rendered(&document);
    if env::var_os("BLESS").is_some() {
        fs::write(&path, &rendered).unwrap();
        return;
    }
    assert!(document == rendered, "docs/api.md: write its table again with BLESS=1");
}

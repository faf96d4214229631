//! The documents are those of the golden files, and read back as what they were.

use std::{env, fs, path::Path};

use portal_api::views::{Document, Kind, LedgerList, List, ReceiptFile};
use protocol::wire::view::ReceiptProof;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::samples;

#[track_caller]
fn assert_golden<T>(name: &str, body: T)
where
    T: Kind + Serialize + DeserializeOwned + Clone + PartialEq + std::fmt::Debug,
{
    let document = Document::of(body);
    let text = format!("{}\n", serde_json::to_string_pretty(&document).unwrap());
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.json"));
    if env::var_os("BLESS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let golden = fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}: BLESS=1", path.display()));
    assert_eq!(text, golden, "{name}");
    let read: Document<T> = serde_json::from_str(&golden).unwrap();
    assert_eq!(read, document, "{name} reads back");
    let newer = with_more_fields(serde_json::from_str(&golden).unwrap());
    let read: Document<T> = serde_json::from_value(newer).unwrap();
    assert_eq!(read, document, "{name} of a newer node reads as before");
}

/// The document as a newer node may write it: every object has a field that this build does not know.
fn with_more_fields(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            // `reduce` is one of a set of choices, not an object with fields.
            let more = |(name, value)| {
                if name == "reduce" { (name, value) } else { (name, with_more_fields(value)) }
            };
            let known = fields.into_iter().map(more);
            Value::Object(known.chain([("brand_new".to_owned(), Value::Bool(true))]).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(with_more_fields).collect()),
        plain @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => plain,
    }
}

#[test]
fn every_document_is_the_one_of_its_golden_file() {
    let ledger = samples::balance().ledger;
    let detail = portal_api::views::ReceiptDetail::try_from(&samples::proof()).unwrap();
    assert_golden("status", samples::status());
    assert_golden("status-without-mesh", samples::lonely_status());
    assert_golden("joining", samples::joining());
    assert_golden("left", samples::left());
    assert_golden("pause", samples::pause());
    assert_golden("limits", samples::limits());
    assert_golden("identity", samples::identity());
    assert_golden("peer-list", List::whole(vec![samples::peer()]));
    assert_golden("coordinators", samples::coordinators());
    assert_golden("node-list", List::whole(samples::nodes()));
    assert_golden("invite-list", List::whole(samples::invites()));
    assert_golden("job", samples::job());
    assert_golden(
        "job-list",
        List { items: vec![samples::job()], next_cursor: Some("1j.abab".to_owned()) },
    );
    assert_golden("job-plan", samples::plan());
    assert_golden("job-results", samples::results(vec![samples::result(3)]));
    assert_golden("job-explanation", samples::explain());
    assert_golden("task-list", List::whole(vec![samples::task(3), samples::given_up_task()]));
    assert_golden("credit-balance", samples::balance());
    assert_golden(
        "credit-history",
        LedgerList { ledger, items: vec![samples::history(57)], next_cursor: None },
    );
    assert_golden(
        "receipt-list",
        LedgerList { ledger, items: vec![samples::receipt(1)], next_cursor: None },
    );
    assert_golden(
        "receipt",
        portal_api::views::Receipt { detail: Some(detail), ..samples::receipt(1) },
    );
    assert_golden("receipt-file", ReceiptFile::try_from(&samples::proof()).unwrap());
    assert_golden("health", samples::health(true));
    assert_golden("blob", portal_api::views::Blob { hash: protocol::ids::Hash([1; 32]), bytes: 6 });
    assert_golden("shutting-down", portal_api::views::ShuttingDown { tasks_running: 3 });
}

#[test]
fn a_receipt_file_holds_the_whole_proof() {
    let file = ReceiptFile::try_from(&samples::proof()).unwrap();
    assert_eq!(ReceiptProof::try_from(&file).unwrap(), samples::proof());
}

#[test]
fn a_receipt_file_that_was_damaged_says_where() {
    let good = ReceiptFile::try_from(&samples::proof()).unwrap();
    let damaged = [
        (ReceiptFile { genesis: "not base64!".to_owned(), ..good.clone() }, "`genesis`"),
        (ReceiptFile { item: good.header.clone(), ..good.clone() }, "`item`"),
        (ReceiptFile { spec: String::new(), ..good.clone() }, "`spec`"),
        (ReceiptFile { item_path: vec!["abc".to_owned()], ..good.clone() }, "`item_path`"),
        (ReceiptFile { entry_path: vec!["00".repeat(32); 65], ..good }, "`entry_path`"),
    ];
    for (file, field) in damaged {
        let error = ReceiptProof::try_from(&file).unwrap_err().to_string();
        assert!(error.starts_with(field), "{error}");
    }
}

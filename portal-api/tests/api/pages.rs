//! Lists in pages, and filters.

use protocol::ids::AccountId;
use serde_json::Value;

use crate::{
    client::{get, socket},
    fake::{Fake, ITEMS},
    samples,
};

/// All items of a list, page by page.
async fn walk(path: &str, limit: u32, key: &str) -> Vec<Value> {
    let router = socket(Fake::Well);
    let mut found = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = get(&router, &format!("{path}?limit={limit}{cursor}")).await.json();
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= limit as usize);
        found.extend(items.iter().map(|item| item[key].clone()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found,
        }
    }
}

#[tokio::test]
async fn pages_neither_repeat_nor_skip() {
    let job = samples::JOB;
    for (path, key) in [
        ("/api/v1/jobs".to_owned(), "id"),
        (format!("/api/v1/jobs/{job}/tasks"), "task"),
        (format!("/api/v1/jobs/{job}/results"), "task"),
        ("/api/v1/credits/history".to_owned(), "seq"),
        ("/api/v1/receipts".to_owned(), "id"),
    ] {
        let whole = walk(&path, 500, key).await;
        assert_eq!(whole.len(), ITEMS as usize, "{path}");
        for limit in 1..=ITEMS + 1 {
            assert_eq!(walk(&path, limit, key).await, whole, "{path} by {limit}");
        }
    }
}

#[tokio::test]
async fn a_page_has_a_length_that_is_allowed() {
    let router = socket(Fake::Well);
    for limit in ["0", "501", "-1", "many", "4294967296"] {
        get(&router, &format!("/api/v1/jobs?limit={limit}"))
            .await
            .assert_problem("validation-failed");
    }
}

#[tokio::test]
async fn a_cursor_of_another_list_is_refused() {
    let router = socket(Fake::Well);
    let page = get(&router, "/api/v1/credits/history?limit=1").await.json();
    let cursor = page["next_cursor"].as_str().unwrap();
    for path in ["/api/v1/jobs", "/api/v1/receipts"] {
        get(&router, &format!("{path}?cursor={cursor}")).await.assert_problem("invalid-cursor");
        get(&router, &format!("{path}?cursor=")).await.assert_problem("invalid-cursor");
    }
}

#[tokio::test]
async fn answers_about_money_say_as_of_when() {
    let router = socket(Fake::Well);
    for path in ["/api/v1/credits/balance", "/api/v1/credits/history", "/api/v1/receipts"] {
        let reply = get(&router, path).await;
        assert_eq!(reply.header("weft-ledger-height"), "212", "{path}");
        assert_eq!(reply.json()["ledger_height"], 212, "{path}");
        assert_eq!(reply.json()["as_of"], "2026-11-20T15:25:03.120Z", "{path}");
    }
}

#[tokio::test]
async fn an_account_is_the_owners_unless_said_otherwise() {
    let router = socket(Fake::Well);
    let other = AccountId([9; 32]);
    for (query, account) in [
        (String::new(), samples::account()),
        ("?account=mine".to_owned(), samples::account()),
        (format!("?account={other}"), other),
        ("?account=system:fees".to_owned(), AccountId::system(b"fees")),
    ] {
        let balance = get(&router, &format!("/api/v1/credits/balance{query}")).await.json();
        assert_eq!(balance["account"], account.to_string(), "{query}");
    }
    get(&router, "/api/v1/credits/balance?account=me").await.assert_problem("validation-failed");
    let none = get(&router, &format!("/api/v1/jobs?account={other}")).await.json();
    assert_eq!(none["items"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn lists_are_filtered() {
    let router = socket(Fake::Well);
    for (query, names) in [
        ("", vec!["brave-otter", "calm-finch"]),
        ("?admission=PENDING", vec!["calm-finch"]),
        ("?admission=BLACKLISTED", vec![]),
    ] {
        let list = get(&router, &format!("/api/v1/nodes{query}")).await.json();
        let found: Vec<_> =
            list["items"].as_array().unwrap().iter().map(|node| node["name"].clone()).collect();
        assert_eq!(found, names, "{query}");
    }
    get(&router, "/api/v1/nodes?admission=pending").await.assert_problem("validation-failed");
    let none = get(&router, &format!("/api/v1/receipts?job={}", samples::NO_JOB)).await.json();
    assert_eq!(none["items"].as_array().unwrap().len(), 0);
    for (state, jobs) in [("RUNNING", ITEMS as usize), ("FAILED", 0)] {
        let list = get(&router, &format!("/api/v1/jobs?state={state}")).await.json();
        assert_eq!(list["items"].as_array().unwrap().len(), jobs, "{state}");
    }
    get(&router, "/api/v1/jobs?state=running").await.assert_problem("validation-failed");
    get(&router, "/api/v1/receipts?job=abab").await.assert_problem("validation-failed");
}

#[tokio::test]
async fn a_receipt_is_found_by_its_whole_id() {
    let router = socket(Fake::Well);
    let found = get(&router, &format!("/api/v1/receipts/{}", samples::RECEIPT)).await.json();
    assert_eq!(found["id"], samples::RECEIPT.to_string());
    assert_eq!(found["detail"]["attempt"], 1);
    for id in [format!("r-{}-0", samples::NO_JOB), "r-abab-0".to_owned(), "abab".to_owned()] {
        for end in ["", "/export"] {
            get(&router, &format!("/api/v1/receipts/{id}{end}")).await.assert_problem("not-found");
        }
    }
}

//! Lists that come in pages.

use portal_api::views::{Kind, LedgerList, List};
use protocol::limits::LIST_ITEMS_MAX;
use serde::de::DeserializeOwned;

use super::{
    client::{Client, encode},
    error::CliError,
};

/// A page of a list.
pub(super) trait Page: Kind + DeserializeOwned {
    /// What is in it.
    type Item;

    /// The items.
    fn items(&mut self) -> &mut Vec<Self::Item>;

    /// Where the next page begins.
    fn cursor(&mut self) -> &mut Option<String>;
}

impl<T> Page for List<T>
where
    Self: Kind + DeserializeOwned,
{
    type Item = T;

    fn items(&mut self) -> &mut Vec<T> {
        &mut self.items
    }

    fn cursor(&mut self) -> &mut Option<String> {
        &mut self.next_cursor
    }
}

impl<T> Page for LedgerList<T>
where
    Self: Kind + DeserializeOwned,
{
    type Item = T;

    fn items(&mut self) -> &mut Vec<T> {
        &mut self.items
    }

    fn cursor(&mut self) -> &mut Option<String> {
        &mut self.next_cursor
    }
}

/// The first `limit` items of a list, as one page. Its cursor is that of what follows.
///
/// # Errors
///
/// Whatever the node says.
pub(super) async fn all<P: Page>(
    client: &mut Client,
    path: &str,
    query: &str,
    limit: u32,
) -> Result<P, CliError> {
    let mut left = limit.max(1);
    let mut joined: Option<P> = None;
    let mut cursor = String::new();
    loop {
        let size = left.min(LIST_ITEMS_MAX);
        let mut page: P =
            client.get(&format!("{path}?{query}&limit={size}{cursor}").replace("?&", "?")).await?;
        left = left.saturating_sub(u32::try_from(page.items().len()).unwrap_or(u32::MAX));
        let next = page.cursor().clone();
        let page = match joined.take() {
            None => page,
            Some(mut before) => {
                before.items().append(page.items());
                *before.cursor() = next.clone();
                before
            }
        };
        match next {
            Some(next) if left > 0 => cursor = format!("&cursor={}", encode(&next)),
            _ => return Ok(page),
        }
        joined = Some(page);
    }
}

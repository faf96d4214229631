//! Invites.

use axum::{
    extract::{Path, State},
    response::{IntoResponse as _, Response},
};
use http::StatusCode;
use protocol::ids::InviteId;

use super::{
    App,
    answer::{Doc, Reply},
    extract::OptionalBody,
};
use crate::{
    Backend,
    problem::{ErrorCode, Problem},
    views::{Invite, List, NewInvite},
};

pub(super) async fn list<B: Backend>(State(app): State<App<B>>) -> Reply<List<Invite>> {
    app.backend.invites().await.map(|invites| Doc(List::whole(invites)))
}

pub(super) async fn create<B: Backend>(
    State(app): State<App<B>>,
    OptionalBody(asked): OptionalBody<NewInvite>,
) -> Result<Response, Problem> {
    let invite = app.backend.invite(asked.plan()?).await?;
    Ok((StatusCode::CREATED, Doc(invite)).into_response())
}

pub(super) async fn revoke<B: Backend>(
    State(app): State<App<B>>,
    Path(invite): Path<String>,
) -> Reply<Invite> {
    app.backend.revoke_invite(which(&app, &invite).await?).await.map(Doc)
}

/// The invite that is meant: by its whole id, or by at least four digits that it begins with.
async fn which<B: Backend>(app: &App<B>, text: &str) -> Result<InviteId, Problem> {
    let text = text.to_ascii_lowercase();
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let invites = app.backend.invites().await?;
    let fits = |invite: &&Invite| text.len() >= 4 && invite.id.to_string().starts_with(&text);
    let found: Vec<_> = invites.iter().filter(fits).collect();
    match found.as_slice() {
        [one] => Ok(one.id),
        [] => Err(Problem::new(ErrorCode::NotFound, format!("there is no invite `{text}`"))),
        several => {
            let detail = format!("`{text}` fits {} invites", several.len());
            let mut problem = Problem::new(ErrorCode::AmbiguousId, detail);
            problem.extras.candidates =
                several.iter().take(10).map(|invite| invite.id.to_string()).collect();
            Err(problem)
        }
    }
}

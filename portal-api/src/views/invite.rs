//! Invites.

use std::time::Duration;

use protocol::{
    ids::{AccountId, InviteId},
    limits::{INVITE_TTL_DEFAULT, INVITE_TTL_MAX, INVITE_USES_MAX},
    time::UnixMillis,
    wire::{enroll::Role, is_name, view::InviteView},
};
use serde::{Deserialize, Serialize};

use super::{Kind, ListKind};
use crate::{
    names,
    problem::{FieldError, Problem},
    rfc3339, text,
};

/// An invite. Its text is shown once, to whoever makes it: the secret is in it, and kept nowhere else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invite {
    /// Its id.
    #[serde(with = "text")]
    pub id: InviteId,
    /// `OPEN`, `USED`, `EXPIRED` or `REVOKED`.
    pub state: String,
    /// What nodes may do that join with it, besides submitting jobs.
    #[serde(with = "names")]
    pub role: Role,
    /// How many nodes it lets in.
    pub uses: u16,
    /// How many have joined with it.
    pub used: u16,
    /// When it was made.
    #[serde(with = "rfc3339")]
    pub created: UnixMillis,
    /// Until when it is good.
    #[serde(with = "rfc3339")]
    pub expires: UnixMillis,
    /// Who made it.
    #[serde(with = "text")]
    pub sponsor: AccountId,
    /// Whom it is for.
    pub name: Option<String>,
    /// What to hand on: `weft1…`. Only in the answer to whoever made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invite: Option<String>,
}

impl Kind for Invite {
    const KIND: &'static str = "Invite";
}

impl ListKind for Invite {
    const LIST_KIND: &'static str = "InviteList";
}

impl Invite {
    /// An invite as it is at a time.
    #[must_use]
    pub fn at(view: &InviteView, now: UnixMillis) -> Self {
        let state = if view.revoked {
            "REVOKED"
        } else if view.used >= view.uses {
            "USED"
        } else if now >= view.expires {
            "EXPIRED"
        } else {
            "OPEN"
        };
        Self {
            id: view.invite,
            state: state.to_owned(),
            role: view.role,
            uses: view.uses,
            used: view.used,
            created: view.at,
            expires: view.expires,
            sponsor: view.sponsor,
            name: Some(view.hint.clone()).filter(|hint| !hint.is_empty()),
            invite: None,
        }
    }
}

/// An invite that is asked for. All of it may be left out, and so may the whole body.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewInvite {
    /// For how long it is good, in seconds: a day if left out, at most seven.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_seconds: Option<u64>,
    /// How many nodes it lets in: one if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uses: Option<u16>,
    /// `worker` (if left out) or `submitter`.
    #[serde(with = "names::option", skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Whom it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// An invite that is asked for, within its bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvitePlan {
    /// For how long it is good.
    pub ttl: Duration,
    /// How many nodes it lets in.
    pub uses: u16,
    /// What they may do.
    pub role: Role,
    /// Whom it is for, or empty.
    pub hint: String,
}

impl NewInvite {
    /// What is asked for, with everything that was left out.
    ///
    /// # Errors
    ///
    /// `validation-failed`, with every field that is out of bounds.
    pub fn plan(&self) -> Result<InvitePlan, Problem> {
        let ttl = self.expires_seconds.map_or(INVITE_TTL_DEFAULT, Duration::from_secs);
        let (uses, role) = (self.uses.unwrap_or(1), self.role.unwrap_or(Role::Worker));
        let hint = self.name.clone().unwrap_or_default();
        let mut wrong = Vec::new();
        let mut check = |good: bool, field: &str, detail: String| {
            if !good {
                wrong.push(FieldError::new(format!("/{field}"), "bad-value", detail));
            }
        };
        let days = INVITE_TTL_MAX.as_secs() / 86_400;
        check(
            !ttl.is_zero() && ttl <= INVITE_TTL_MAX,
            "expires_seconds",
            format!("an invite is good for at most {days} days"),
        );
        check(
            (1..=INVITE_USES_MAX).contains(&uses),
            "uses",
            format!("an invite lets in 1 to {INVITE_USES_MAX} nodes"),
        );
        check(
            matches!(role, Role::Worker | Role::Submitter),
            "role",
            "an invite is for worker or submitter; who else may coordinate or relay is decided by \
             a person, with `weft node approve NAME --roles LIST`"
                .to_owned(),
        );
        check(
            hint.is_empty() || is_name(&hint),
            "name",
            "a name has 1 to 63 letters, digits, `-`, `_` and `.`".to_owned(),
        );
        if wrong.is_empty() {
            Ok(InvitePlan { ttl, uses, role, hint })
        } else {
            Err(Problem::invalid(wrong))
        }
    }
}

//! What takes two people: the first asks, the second asks for the very same within the hour. Which methods these are is said in
//! `roles`.
//!
//! Wishes are in the store, so that the two may ask different replicas. One is used up in the transaction of the change that
//! it was for: a change that fails leaves it as it was, and nothing is changed twice by it.

use std::sync::Arc;

use serde_json::json;
use skans_identity::deny::Target;
use skans_identity::id::{Role, SpiffeId};
use skans_store::approvals::{self, Wish};
use skans_store::{Tx, grants};

use crate::caller::sha256;
use crate::clock;
use crate::error::Error;
use crate::event::{self, Kind as Event};
use crate::issue::in_force;
use crate::roles::{Held, Kind, Question};
use crate::scope::Scope;
use crate::state::{Control, held};

/// For how long a first wish waits for the second, in seconds. Long enough to call somebody, too short to be forgotten.
const WAIT: u64 = 3600;

/// What somebody asks for, whole: nothing that makes a difference may be left out.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// The method.
    pub(crate) action: String,
    /// Where.
    pub(crate) scope: Scope,
    /// To what, for people.
    pub(crate) object: String,
    /// What of the request the object does not say, such as the certificate of a root.
    pub(crate) exact: Vec<u8>,
}

impl Wanted {
    /// The hash by which a second request is known to be the same. Each part goes in with its length.
    fn hash(&self) -> [u8; 32] {
        let scope = self.scope.to_string();
        let parts = [
            self.action.as_bytes(),
            scope.as_bytes(),
            self.object.as_bytes(),
            &self.exact,
        ];
        let mut whole = Vec::new();
        for part in parts {
            whole.extend_from_slice(&(part.len() as u64).to_be_bytes());
            whole.extend_from_slice(part);
        }
        sha256(&whole)
    }
}

impl Control {
    /// The wish of somebody else for the same, who may still ask for it. Otherwise this is kept as the first one, with its
    /// event.
    ///
    /// # Errors
    /// [`Error::Store`] if too many wait, and the others of the store.
    pub(crate) async fn second(
        self: &Arc<Self>,
        wanted: Wanted,
        actor: &str,
    ) -> Result<Option<Wish>, Error> {
        let (control, actor, request) = (Arc::clone(self), actor.to_owned(), wanted.hash());
        let work = move |tx: &mut Tx<'_>| {
            let now = clock::seconds();
            if let Some(first) = approvals::waiting(tx, &request, now)? {
                if first.actor == actor {
                    return Ok(None);
                }
                if control.may_still_ask(tx, &first.actor, &wanted, now)? {
                    return Ok(Some(first));
                }
            }
            let first = Wish {
                request,
                action: wanted.action.clone(),
                object: wanted.object.clone(),
                actor: actor.clone(),
                asked: now,
                expires: now.saturating_add(WAIT),
            };
            approvals::ask(tx, &first)?;
            let details = json!({ "action": wanted.action, "expires": first.expires });
            event::tell(tx, Event::SecondWanted, &actor, &wanted.object, &details)?;
            Ok::<_, Error>(None)
        };
        // An authority is tainted and revoked this way: also when the disk is full.
        self.store.write_urgent(work).await
    }

    /// Whether somebody could ask for it now: roles may have been withdrawn since, or the person denied.
    fn may_still_ask(
        &self,
        tx: &mut Tx<'_>,
        actor: &str,
        wanted: &Wanted,
        now: u64,
    ) -> Result<bool, Error> {
        let Ok(id) = SpiffeId::parse(actor) else {
            return Ok(false);
        };
        let Some(Role::User(user)) = id.role() else {
            return Ok(false);
        };
        let rows = grants::of(tx, user)?;
        let held: Vec<Held> = rows.iter().filter_map(|row| held(row, now)).collect();
        let question = Question {
            kind: Kind::User,
            held: &held,
            action: &wanted.action,
            scope: &wanted.scope,
            seconded: true,
            local: false,
        };
        Ok(self.roles.allows(&question) && !in_force(tx, &Target::Id(id), now)?)
    }
}

/// Uses a wish up, with its event, in the transaction of what two people wanted.
///
/// # Errors
/// [`Error::Conflict`] if it was used up by somebody else, or has run out.
pub(crate) fn spend(tx: &mut Tx<'_>, first: &Wish, second: &str, now: u64) -> Result<(), Error> {
    if !approvals::spend(tx, first, now)? {
        return Err(Error::Conflict(format!(
            "what {} asked for was used up or has run out meanwhile: ask again",
            first.actor
        )));
    }
    let details = json!({ "action": first.action, "first": first.actor, "asked": first.asked });
    event::tell(tx, Event::SecondGiven, second, &first.object, &details)?;
    Ok(())
}

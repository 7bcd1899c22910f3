//! What of a link goes on with its session: as the two directions use it, and as bytes for another process.

use std::sync::Arc;

use skans_handover::LinkParts;
use skans_link::{Session, Window};

use super::crossing::Crossing;
use super::{Answers, Error, Flows, Passage, Patience, Receiving, Sending, Shared, Way};
use crate::registry::Registered;

/// See the module.
pub struct State {
    pub(super) sending: Sending,
    pub(super) receiving: Receiving,
    pub(super) to_node: Arc<Answers>,
    pub(super) to_peer: Arc<Answers>,
}

/// Whose streams these are, for errors.
const SENT: &str = "the local node";
const RECEIVED: &str = "the peer";

impl State {
    /// Of a link that begins. What there are no `flows` for belongs to a service.
    pub fn new(flows: Option<Flows>, link: &Registered, patience: &Patience) -> Self {
        let (sent, received, to_node, to_peer) = match flows {
            Some(flows) => {
                let sent = Passage::new(flows.sent, SENT);
                let received = Passage::new(flows.received, RECEIVED);
                let (sent, received) = match flows.renamers {
                    None => (judged(sent), judged(received)),
                    Some((there, back)) => (
                        Way::Across(Box::new(Crossing::new(sent, there, SENT))),
                        Way::Across(Box::new(Crossing::new(received, back, RECEIVED))),
                    ),
                };
                (sent, received, flows.to_node, flows.to_peer)
            }
            None => (
                Way::out(link.link()),
                Way::into_host(link.link()),
                Arc::default(),
                Arc::default(),
            ),
        };
        Self {
            sending: Sending {
                window: Window::new(patience.window),
                passage: sent,
                ended: false,
            },
            receiving: Receiving::new(received, Vec::new()),
            to_node,
            to_peer,
        }
    }

    /// Of a link that another process has had so far, and its session.
    ///
    /// # Errors
    /// What is wrong with the parts.
    pub fn thaw(
        parts: LinkParts,
        flows: Flows,
        patience: &Patience,
    ) -> Result<(Self, Session), Error> {
        let session = Session::thaw(&parts.session)?;
        let window = Window::thaw(&parts.window, patience.window)?;
        if !window.fits(&session) {
            return Err(Error::Internal(
                "found a window that is not of its session".to_owned(),
            ));
        }
        let sent = Passage::thaw(flows.sent, SENT, &parts.sent, Vec::new())?;
        let received = Passage::thaw(flows.received, RECEIVED, &parts.received, parts.held)?;
        flows.to_node.put(&parts.to_node);
        flows.to_peer.put(&parts.to_peer);
        let state = Self {
            sending: Sending {
                window,
                passage: judged(sent),
                ended: false,
            },
            receiving: Receiving::new(judged(received), parts.backlog),
            to_node: flows.to_node,
            to_peer: flows.to_peer,
        };
        Ok((state, session))
    }
}

fn judged(passage: Passage) -> Way {
    Way::Judged(Box::new(passage))
}

/// All of it as bytes, once the connection is lost. It changes nothing here: it may come to nothing.
pub fn freeze(
    sending: &Sending,
    receiving: &Receiving,
    shared: &Shared<'_>,
) -> Result<LinkParts, Error> {
    let (Way::Judged(sent), Way::Judged(received)) = (&sending.passage, &receiving.passage) else {
        return Err(Error::Internal(
            "a connection to a service or another cluster is not handed over".to_owned(),
        ));
    };
    Ok(LinkParts {
        session: shared.live.session().freeze(),
        window: sending.window.freeze(),
        sent: sent.freeze()?,
        received: received.freeze()?,
        held: received.held().to_vec(),
        backlog: receiving.backlog.clone(),
        to_node: shared.to_node.copy(),
        to_peer: shared.to_peer.copy(),
    })
}

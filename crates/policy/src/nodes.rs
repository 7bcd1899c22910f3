//! What a node is in Cedar, made once for all pairs that it is in: an agent with a thousand links has one node of its own in all
//! of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::model::Made;
use crate::model::entity::NodeEntity;
use crate::request::Subject;

/// See the module.
#[derive(Default)]
pub(crate) struct Nodes(Mutex<HashMap<Arc<Subject>, Weak<NodeEntity>>>);

impl Nodes {
    /// The node, made now if no pair has it. Takes a lock: for the making of a pair, not for a message.
    pub(crate) fn get(
        &self,
        subject: &Subject,
        make: impl FnOnce() -> Made<NodeEntity>,
    ) -> Made<Arc<NodeEntity>> {
        let mut nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(node) = nodes.get(subject).and_then(Weak::upgrade) {
            return Ok(node);
        }
        let node = Arc::new(make()?);
        if nodes.len() == nodes.capacity() {
            // Before it would take more memory, those go that no pair has any more.
            nodes.retain(|_, node| node.strong_count() > 0);
        }
        nodes.insert(Arc::clone(&node.subject), Arc::downgrade(&node));
        Ok(node)
    }
}

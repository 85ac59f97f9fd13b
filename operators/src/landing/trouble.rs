//! Why a commit that is under way has not succeeded yet: told by the committer, read by whoever watches.

use std::sync::{Arc, Mutex, PoisonError};

/// The last trouble of the commit under way; shared by clones.
#[derive(Clone, Debug, Default)]
pub struct CommitTrouble(Arc<Mutex<Option<String>>>);

impl CommitTrouble {
    /// An attempt did not succeed, and there will be another.
    pub fn tell(&self, why: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.to_owned());
    }

    /// The commit is through.
    pub fn over(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The trouble, if there is any.
    pub fn last(&self) -> Option<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

//! What a process tells process 0 of itself, where no launcher shows the job: on the connection of the heartbeats.
//!
//! A document of JSON between two beats, in one line. The connection is there for the beats: what does not fit between
//! two of them is missed by people only.

use std::sync::{Arc, Mutex, PoisonError};

use crate::status::facts::{ProcessFacts, Tell};

/// Of a longer document the rest is not kept: it cannot be read then.
const MAX_DOCUMENT_BYTES: usize = 4 << 20;

/// How a document begins and ends; no beat is one of these.
const BEGIN: u8 = b'{';
pub(super) const END: u8 = b'\n';

/// The way of facts between the processes of a job.
#[derive(Clone)]
pub(crate) enum SharedFacts {
    /// The launcher is told by each process itself.
    No,
    /// Of this process, for process 0: those that were not sent yet.
    Tells(Arc<Mutex<Option<ProcessFacts>>>),
    /// Of the others, in process 0.
    Hears(Tell),
}

impl SharedFacts {
    /// Of a process that is `process` of the job and tells its facts to `tell`; returns also whom it is to tell them.
    pub(crate) fn of(process: usize, has_launcher: bool, tell: Tell) -> (SharedFacts, Tell) {
        match (has_launcher, process) {
            (true, _) => (SharedFacts::No, tell),
            (false, 0) => (SharedFacts::Hears(Arc::clone(&tell)), tell),
            (false, _) => {
                let unsent = Arc::new(Mutex::new(None));
                let slot = Arc::clone(&unsent);
                let keep: Tell = Arc::new(move |facts| {
                    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(facts);
                });
                (SharedFacts::Tells(unsent), keep)
            }
        }
    }

    /// What is to be sent before the next beat, if anything is new.
    pub(super) fn document(&self) -> Option<Vec<u8>> {
        let SharedFacts::Tells(unsent) = self else {
            return None;
        };
        let facts = unsent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()?;
        let mut document = serde_json::to_vec(&facts).ok()?;
        document.push(END);
        Some(document)
    }

    /// Takes in what a peer has sent.
    pub(super) fn hear(&self, peer: usize, document: &[u8]) {
        if let SharedFacts::Hears(tell) = self
            && let Ok(facts) = serde_json::from_slice::<ProcessFacts>(document)
            && facts.process == peer
        {
            tell(facts);
        }
    }
}

/// Takes documents out of what a peer says, and leaves the beats.
#[derive(Default)]
pub(super) struct Documents {
    unfinished: Option<Vec<u8>>,
}

impl Documents {
    /// The beats of what was said; each document that it ends goes to `hear`.
    pub(super) fn take_out(&mut self, said: &[u8], mut hear: impl FnMut(&[u8])) -> Vec<u8> {
        let mut beats = Vec::new();
        for &byte in said {
            match (&mut self.unfinished, byte) {
                (Some(document), END) => {
                    hear(document);
                    self.unfinished = None;
                }
                (Some(document), _) if document.len() < MAX_DOCUMENT_BYTES => document.push(byte),
                (Some(_), _) => {}
                (None, BEGIN) => self.unfinished = Some(vec![BEGIN]),
                (None, END) => {}
                (None, beat) => beats.push(beat),
            }
        }
        beats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_taken_out_wherever_what_is_said_is_cut() {
        let said = b"..{\"a\":\"!.h\"}\n.h\n!{\"cut off\n.";
        for cut in 0..=said.len() {
            let mut documents = Documents::default();
            let (mut heard, mut beats) = (Vec::new(), Vec::new());
            for part in [&said[..cut], &said[cut..]] {
                beats.extend(documents.take_out(part, |document| heard.push(document.to_vec())));
            }
            assert_eq!(beats, b"...h!.", "cut at {cut}");
            assert_eq!(
                heard,
                [&b"{\"a\":\"!.h\"}"[..], b"{\"cut off"],
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn a_document_without_an_end_takes_no_more_than_its_bound() {
        let mut documents = Documents::default();
        let beats = documents.take_out(&vec![BEGIN; MAX_DOCUMENT_BYTES + 9], |_| {});
        assert!(beats.is_empty());
        let kept = documents.unfinished.as_ref().map(Vec::len);
        assert_eq!(kept, Some(MAX_DOCUMENT_BYTES));
    }
}

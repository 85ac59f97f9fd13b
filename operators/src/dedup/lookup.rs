//! Answers questions from a store: first the bucket that the id would have now, then, for what is still
//! open, every other bucket of the slabs that may hold it.

use super::filter::SLABS;
use super::judge::Question;
use crate::error::Result;
use crate::io::{IdStore, StoredId};

/// Keys that are asked of the store at once.
const KEYS_AT_ONCE: usize = 4096;

/// For each question, whether the store holds its id in one of the buckets that its slabs stand for.
/// `slab_buckets` are the judge's at the time of the questions
/// ([`Judge::slab_buckets`](super::judge::Judge::slab_buckets)).
pub fn answer_all(
    store: &dyn IdStore,
    questions: &[Question],
    slab_buckets: &[Vec<u32>; SLABS],
) -> Result<Vec<bool>> {
    Lookup::default().answer(store, questions, slab_buckets)
}

/// Working space, kept between calls.
#[derive(Debug, Default)]
pub(super) struct Lookup {
    keys: Vec<StoredId>,
    /// For each key, the question it belongs to.
    places: Vec<usize>,
    held: Vec<bool>,
}

impl Lookup {
    /// For each question, whether the store holds its id in one of the buckets that its slabs stand for.
    pub(super) fn answer(
        &mut self,
        store: &dyn IdStore,
        questions: &[Question],
        slab_buckets: &[Vec<u32>; SLABS],
    ) -> Result<Vec<bool>> {
        let mut known = vec![false; questions.len()];
        let slabs_of = |q: &Question| {
            let slabs = q.slabs;
            slab_buckets
                .iter()
                .enumerate()
                .filter(move |(slab, _)| slabs & (1 << slab) != 0)
                .map(|(_, b)| b)
        };
        for (place, question) in questions.iter().enumerate() {
            if slabs_of(question).any(|buckets| buckets.binary_search(&question.id.bucket).is_ok())
            {
                self.ask(store, place, question.id, &mut known)?;
            }
        }
        self.flush(store, &mut known)?;
        for (place, question) in questions.iter().enumerate() {
            if known[place] {
                continue;
            }
            let StoredId { bucket: own, hash } = question.id;
            for &bucket in slabs_of(question).flatten().filter(|&&b| b != own) {
                self.ask(store, place, StoredId { bucket, hash }, &mut known)?;
            }
        }
        self.flush(store, &mut known)?;
        Ok(known)
    }

    fn ask(
        &mut self,
        store: &dyn IdStore,
        place: usize,
        key: StoredId,
        known: &mut [bool],
    ) -> Result<()> {
        self.keys.push(key);
        self.places.push(place);
        if self.keys.len() == KEYS_AT_ONCE {
            self.flush(store, known)
        } else {
            Ok(())
        }
    }

    fn flush(&mut self, store: &dyn IdStore, known: &mut [bool]) -> Result<()> {
        if !self.keys.is_empty() {
            store.contains(&self.keys, &mut self.held)?;
            for (&place, &held) in self.places.iter().zip(&self.held) {
                known[place] |= held;
            }
            self.keys.clear();
            self.places.clear();
        }
        Ok(())
    }
}

//! A column of strings under construction.
//!
//! Safety: the one unsafe call hands offsets and text to Arrow without Arrow's checks, which would go over
//! all of the text once more (a tenth of the time that decoding takes). What Arrow asks for holds by this
//! file alone, whatever its callers do: `text` is a `String` that only grows by `push`, so it is UTF-8; an
//! end is only ever its length at that time, so it lies between two characters, is not below the one
//! before, and fits 31 bits, or [`StringsBuilder::close_row`] refuses it; a placeholder's is the one before; `truncate` cuts `text` at the
//! last end it keeps, so no end is beyond it; the first end is 0.
#![allow(unsafe_code)]

use arrow_array::StringArray;
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};

/// The text of the column would reach the 2 GiB that Arrow's 32-bit offsets can tell.
#[derive(Debug)]
pub(super) struct ColumnFull;

/// Strings, end to end.
#[derive(Debug)]
pub(super) struct StringsBuilder {
    /// 0, then for each row where it ends in `text`.
    ends: Vec<i32>,
    text: String,
}

impl StringsBuilder {
    pub fn new() -> StringsBuilder {
        StringsBuilder {
            ends: vec![0],
            text: String::new(),
        }
    }

    /// Rows so far.
    #[inline]
    pub fn len(&self) -> usize {
        self.ends.len() - 1
    }

    /// Adds to the text of the row that is not closed yet.
    #[inline]
    pub fn push(&mut self, part: &str) {
        self.text.push_str(part);
    }

    /// Makes what was pushed since the last row a row.
    #[inline]
    pub fn close_row(&mut self) -> Result<(), ColumnFull> {
        self.ends
            .push(i32::try_from(self.text.len()).map_err(|_| ColumnFull)?);
        Ok(())
    }

    /// Adds a row that holds nothing, for a null.
    pub fn push_placeholder(&mut self) {
        self.ends.push(self.ends.last().copied().unwrap_or(0));
    }

    /// Whether the last row is the empty string.
    #[inline]
    pub fn ends_empty(&self) -> bool {
        matches!(self.ends.as_slice(), [.., start, end] if start == end)
    }

    /// The last row; empty when there is none.
    pub fn last(&self) -> &str {
        match self.ends.as_slice() {
            [.., start, end] => &self.text[*start as usize..*end as usize],
            _ => "",
        }
    }

    /// Cuts back to `rows` rows, and takes back what was pushed for a row that is not closed.
    pub fn truncate(&mut self, rows: usize) {
        self.ends.truncate(rows + 1);
        self.text
            .truncate(self.ends.last().map_or(0, |&end| end as usize));
    }

    /// The rows as an array; the builder is empty after, with room for as much again. As many nulls as
    /// rows, if any.
    pub fn finish(&mut self, nulls: Option<NullBuffer>) -> StringArray {
        self.truncate(self.len());
        let mut next_ends = Vec::with_capacity(self.ends.len());
        next_ends.push(0);
        let ends = std::mem::replace(&mut self.ends, next_ends);
        let next_text = String::with_capacity(self.text.len());
        let text = std::mem::replace(&mut self.text, next_text);
        assert!(
            nulls
                .as_ref()
                .is_none_or(|nulls| nulls.len() == ends.len() - 1),
            "as many nulls as rows"
        );
        // SAFETY: see the module's documentation; the nulls' length is asserted above.
        unsafe {
            let offsets = OffsetBuffer::new_unchecked(ScalarBuffer::from(ends));
            StringArray::new_unchecked(offsets, Buffer::from_vec(text.into_bytes()), nulls)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::Array;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Push(String),
        Close,
        Placeholder,
        Truncate(usize),
        Finish,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => any::<String>().prop_map(Step::Push),
            4 => Just(Step::Close),
            1 => Just(Step::Placeholder),
            1 => (0usize..8).prop_map(Step::Truncate),
            1 => Just(Step::Finish),
        ]
    }

    proptest! {
        #[test]
        fn whatever_is_done_to_it_the_array_is_one_that_arrow_accepts(
            steps in proptest::collection::vec(step(), 0..40)
        ) {
            let mut builder = StringsBuilder::new();
            let (mut rows, mut open) = (Vec::new(), String::new());
            for step in steps.into_iter().chain([Step::Finish]) {
                match step {
                    Step::Push(part) => {
                        builder.push(&part);
                        open.push_str(&part);
                    }
                    Step::Close => {
                        builder.close_row().expect("small");
                        rows.push(std::mem::take(&mut open));
                        prop_assert_eq!(builder.ends_empty(), rows.last().is_some_and(String::is_empty));
                    }
                    Step::Placeholder => {
                        builder.truncate(builder.len());
                        open.clear();
                        builder.push_placeholder();
                        rows.push(String::new());
                    }
                    Step::Truncate(to) => {
                        builder.truncate(to);
                        rows.truncate(to);
                        open.clear();
                    }
                    Step::Finish => {
                        let array = builder.finish(None);
                        array.to_data().validate_full().expect("what Arrow asks for");
                        prop_assert_eq!(&array, &StringArray::from(std::mem::take(&mut rows)));
                        open.clear();
                    }
                }
                prop_assert_eq!(builder.len(), rows.len());
            }
        }
    }
}

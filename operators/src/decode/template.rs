//! The key order of the record before, as a prediction for the next one.
//!
//! Producers write the same fields in the same order and spacing. So for each member the decoder
//! remembers the very bytes from the end of the value before to the start of its own value (comma,
//! whitespace, key, colon), and where they come again, finding the key is one comparison of bytes.
//!
//! A member may be left out: the ones after it are still found. What is matched is always a subsequence
//! of the keys of one record that was checked in full, so no key is matched twice.

/// Members remembered at most; a record with more is not learned from.
const MAX_MEMBERS: usize = 1024;

/// Bytes remembered at most; a record with longer keys is not learned from.
const MAX_BYTES: usize = 64 << 10;

/// A member as it stood in a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<M> {
    /// After the value before; 0 for the first member.
    pub start: usize,
    /// Where its value starts.
    pub value: usize,
    /// What it means.
    pub meaning: M,
}

#[derive(Clone, Copy, Debug)]
struct Member<M> {
    /// Its bytes in `Template::bytes`.
    start: usize,
    end: usize,
    meaning: M,
}

/// The prediction. `M` is what a member means to the reader: of a row, its column.
#[derive(Debug)]
pub(super) struct Template<M> {
    members: Vec<Member<M>>,
    bytes: Vec<u8>,
}

impl<M> Default for Template<M> {
    fn default() -> Template<M> {
        Template {
            members: Vec::new(),
            bytes: Vec::new(),
        }
    }
}

/// A predicted member that was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<M> {
    /// Its place in the template.
    pub place: usize,
    /// The length of what was matched: its value starts there.
    pub length: usize,
    /// What it means.
    pub meaning: M,
}

impl<M: Copy> Template<M> {
    /// Remembers the members of a record that was checked in full: no key twice.
    pub fn learn(&mut self, record: &[u8], seen: &[Seen<M>]) {
        let bytes: usize = seen.iter().map(|member| member.value - member.start).sum();
        if seen.len() > MAX_MEMBERS || bytes > MAX_BYTES {
            return;
        }
        self.members.clear();
        self.bytes.clear();
        for member in seen {
            let start = self.bytes.len();
            self.bytes
                .extend_from_slice(&record[member.start..member.value]);
            self.members.push(Member {
                start,
                end: self.bytes.len(),
                meaning: member.meaning,
            });
        }
    }

    /// The first member, if `record` starts as predicted. Only it has the opening brace in its bytes.
    #[inline]
    pub fn first(&self, record: &[u8]) -> Option<Found<M>> {
        self.matches(0, self.members.first()?, record)
    }

    /// The first member from place `from` on that `rest` starts with.
    #[inline]
    pub fn next(&self, from: usize, rest: &[u8]) -> Option<Found<M>> {
        let members = self.members.get(from..)?;
        members
            .iter()
            .enumerate()
            .find_map(|(i, member)| self.matches(from + i, member, rest))
    }

    #[inline]
    fn matches(&self, place: usize, member: &Member<M>, rest: &[u8]) -> Option<Found<M>> {
        let predicted = &self.bytes[member.start..member.end];
        rest.starts_with(predicted).then_some(Found {
            place,
            length: predicted.len(),
            meaning: member.meaning,
        })
    }
}

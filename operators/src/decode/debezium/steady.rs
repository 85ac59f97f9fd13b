//! The members of an object most of whose values are the same in every record, such as a change's `source`.
//!
//! What stays the same from object to object (keys, and values that have never changed) is compared as one stretch of
//! bytes, up to the next value that does change. Those bytes stood at the same place of an object that was checked in
//! full, so what is made of them and of values that are checked is an object too.

use std::ops::Range;

use super::members::Members;
use crate::decode::scan::{Malformed, Scanner};

/// Bytes of an object remembered at most; longer ones are read member by member.
const MAX_BYTES: usize = 4 << 10;

/// Bytes that are likely to come again, and the member whose value follows them.
#[derive(Debug)]
struct Stretch<M> {
    /// In the object remembered.
    bytes: Range<usize>,
    /// Values within it that mean something: where they start, counted from the stretch's start.
    said: Vec<(usize, M)>,
    /// The member whose value is not the same in every object; `None` at the object's end.
    changing: Option<M>,
}

/// A member's value in the object remembered.
#[derive(Debug)]
struct Value<M> {
    text: Range<usize>,
    means: M,
    /// Whether it has been another one since the object has these members.
    changes: bool,
}

/// The members of the object before, and which of them change.
#[derive(Debug)]
pub(super) struct Steady<M> {
    members: Members<M>,
    /// The object before.
    object: String,
    values: Vec<Value<M>>,
    /// What to expect of the next one; empty before two objects have been alike.
    stretches: Vec<Stretch<M>>,
    /// The values of the object at hand; kept for its memory.
    found: Vec<(Range<usize>, M)>,
}

impl<M> Default for Steady<M> {
    fn default() -> Steady<M> {
        Steady {
            members: Members::default(),
            object: String::new(),
            values: Vec::new(),
            stretches: Vec::new(),
            found: Vec::new(),
        }
    }
}

impl<M: Copy + PartialEq> Steady<M> {
    /// Visits the members of an object, its brace next, as [`Members::visit`] does, but for those that mean `nothing` and
    /// are as they were. A member may be visited again: what was said of it last counts.
    pub fn visit<'a>(
        &mut self,
        json: &mut Scanner<'a>,
        meaning: impl Fn(&str) -> M,
        nothing: M,
        mut visit: impl FnMut(&mut Scanner<'a>, M) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        let start = json.at;
        if self.visit_as_expected(json, &mut visit) {
            return Ok(());
        }
        json.at = start;
        self.found.clear();
        let found = &mut self.found;
        self.members.visit(json, meaning, |json, member| {
            let value = json.at - start;
            visit(json, member)?;
            found.push((value..json.at - start, member));
            Ok(())
        })?;
        self.learn(json.between(start, json.at), nothing);
        Ok(())
    }

    /// Whether the object is as expected; if not, the scanner is anywhere, and some members were visited.
    #[inline]
    fn visit_as_expected<'a>(
        &self,
        json: &mut Scanner<'a>,
        visit: &mut impl FnMut(&mut Scanner<'a>, M) -> Result<(), Malformed>,
    ) -> bool {
        let object = self.object.as_bytes();
        for stretch in &self.stretches {
            let expected = &object[stretch.bytes.clone()];
            if !json.rest().starts_with(expected) {
                return false;
            }
            let start = json.at;
            for &(value, member) in &stretch.said {
                json.at = start + value;
                if visit(json, member).is_err() {
                    return false;
                }
            }
            json.at = start + expected.len();
            match stretch.changing {
                Some(member) if visit(json, member).is_err() => return false,
                Some(_) => {}
                None => return true,
            }
        }
        false
    }

    /// Remembers an object that was checked in full, whose values are `found`.
    fn learn(&mut self, object: &str, nothing: M) {
        let is_alike = self.is_alike(object);
        self.stretches.clear();
        if object.len() > MAX_BYTES {
            self.values.clear();
            return;
        }
        if is_alike {
            for (value, (text, _)) in self.values.iter_mut().zip(&self.found) {
                value.changes |= self.object[value.text.clone()] != object[text.clone()];
                value.text = text.clone();
            }
        } else {
            let value = |(text, means): &(Range<usize>, M)| Value {
                text: text.clone(),
                means: *means,
                changes: false,
            };
            self.values.clear();
            self.values.extend(self.found.iter().map(value));
        }
        self.object.clear();
        self.object.push_str(object);
        if is_alike {
            self.expect(nothing);
        }
    }

    /// Whether the object has the members of the one remembered, in their order and spacing.
    fn is_alike(&self, object: &str) -> bool {
        if self.values.is_empty() || self.values.len() != self.found.len() {
            return false;
        }
        let (mut before, mut now) = (0, 0);
        for (value, (text, means)) in self.values.iter().zip(&self.found) {
            if value.means != *means
                || self.object[before..value.text.start] != object[now..text.start]
            {
                return false;
            }
            (before, now) = (value.text.end, text.end);
        }
        self.object[before..] == object[now..]
    }

    /// Expects the object remembered, but for the values that change.
    fn expect(&mut self, nothing: M) {
        let (mut start, mut said) = (0, Vec::new());
        for value in &self.values {
            if value.changes {
                self.stretches.push(Stretch {
                    bytes: start..value.text.start,
                    said: std::mem::take(&mut said),
                    changing: Some(value.means),
                });
                start = value.text.end;
            } else if value.means != nothing {
                said.push((value.text.start - start, value.means));
            }
        }
        self.stretches.push(Stretch {
            bytes: start..self.object.len(),
            said,
            changing: None,
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What an object's members say, by a decoder that has seen the objects before.
    fn read(steady: &mut Steady<char>, object: &str) -> Result<Vec<(char, String)>, Malformed> {
        let meaning = |key: &str| key.chars().next().filter(|c| *c < 'e').unwrap_or('_');
        let mut json = Scanner::new(object);
        // What was said last counts, and what means nothing need not be said.
        let mut said = std::collections::BTreeMap::new();
        steady.visit(&mut json, meaning, '_', |json, member| {
            let start = json.at;
            json.skip_value(1)?;
            if member != '_' {
                said.insert(member, json.between(start, json.at).to_owned());
            }
            Ok(())
        })?;
        json.expect_end()?;
        Ok(said.into_iter().collect())
    }

    fn value() -> impl Strategy<Value = &'static str> {
        prop_oneof![
            6 => Just("1"), 2 => Just("12"), 1 => Just(r#""x""#), 1 => Just(r#""x,\"a\":1""#),
            1 => Just("null"), 1 => Just("[1, {}]"), 1 => Just(" 1"), 1 => Just("1 "), 1 => Just("01"),
        ]
    }

    fn object() -> impl Strategy<Value = String> {
        let keys = prop_oneof![
            6 => Just(vec!["a", "e", "b", "f", "g", "c"]),
            1 => Just(vec!["a", "b"]),
            1 => Just(vec!["e", "a", "f"]),
            1 => Just(vec!["f"]),
        ];
        (keys, proptest::collection::vec(value(), 6), 0..12).prop_map(|(keys, values, broken)| {
            let members = keys.iter().zip(values);
            let members: Vec<String> = members.map(|(k, v)| format!(r#""{k}":{v}"#)).collect();
            let object = format!("{{{}}}", members.join(","));
            match broken {
                0 => object[..object.len() - 1].to_owned(),
                1 => object.replace("1,", "1;"),
                _ => object,
            }
        })
    }

    proptest! {
        #[test]
        fn an_object_after_others_says_what_it_says_alone(
            objects in proptest::collection::vec(object(), 1..16)
        ) {
            let mut steady = Steady::default();
            for object in &objects {
                let alone = read(&mut Steady::default(), object);
                prop_assert_eq!(read(&mut steady, object), alone, "{}", object);
            }
        }
    }

    #[test]
    fn what_does_not_change_is_not_visited() {
        let mut steady = Steady::default();
        let mut visited = Vec::new();
        for n in 0..4 {
            let object = format!(r#"{{"e":"same","a":{n},"f":"same","b":"same","g":null}}"#);
            visited.clear();
            let meaning = |key: &str| key.chars().next().filter(|c| *c < 'e').unwrap_or('_');
            let mut json = Scanner::new(&object);
            let read = steady.visit(&mut json, meaning, '_', |json, member| {
                visited.push(member);
                json.skip_value(1)
            });
            assert_eq!(read, Ok(()));
            assert_eq!(json.at, object.len());
        }
        assert_eq!(visited, ['a', 'b']);
    }
}

//! Reads sections of the tree into typed settings, and keeps every problem found on the way.
//!
//! A section knows the keys that were asked of it, so that whatever else stands in it is unknown: what is
//! read and what is allowed cannot drift apart.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use strandline_operators::Error;

use super::origin::{At, Origin};
use super::tree::{Entry, Node, Value};
use super::units::{
    DURATION_FORM, SIZE_FORM, format_duration, format_size, parse_duration, parse_size,
};
use super::variables::is_from_variable;
use super::{joined, nearest};

/// The problems of one reading.
#[derive(Default)]
pub(crate) struct Problems(Vec<(Origin, Error)>);

impl Problems {
    /// Adds a problem and says where it is.
    pub fn push(&mut self, error: Error, origin: &Origin) {
        self.0.push((origin.clone(), error.context(origin.exact())));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// All of them as one error that says each as if it stood alone, in the order of the file; `None`
    /// when there are none.
    pub fn into_error(mut self) -> Option<Error> {
        self.0.sort_by_key(|(origin, _)| origin.position());
        let errors: Vec<Error> = self.0.into_iter().map(|(_, error)| error).collect();
        (!errors.is_empty()).then(|| joined(&errors))
    }

    /// A value that is not what the setting allows.
    pub fn bad_value(&mut self, path: &str, node: &Node, allowed: &str) {
        self.reject(path, &shown(node), &node.origin, allowed);
    }

    /// A value that is of the right kind, but not allowed.
    pub fn reject(&mut self, path: &str, found: &str, origin: &Origin, allowed: &str) {
        let error = Error::configuration(format!("`{path}` cannot be {found}"));
        self.push(error.hint(format!("it must be {allowed}")), origin);
    }
}

/// The value as a message may show it: never what came out of a variable, since that may be a secret.
fn shown(node: &Node) -> String {
    match &node.value {
        Value::Scalar(_) if is_from_variable(&node.origin) => {
            "the value of its variable".to_owned()
        }
        _ => node.found(),
    }
}

/// One map of the file, while it is read.
pub(crate) struct Section<'a> {
    path: String,
    origin: Origin,
    entries: &'a [Entry],
    known: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// The section at a node; a key without a value is an empty section.
    pub fn of(path: &str, node: &'a Node, problems: &mut Problems) -> Section<'a> {
        let entries = match &node.value {
            Value::Map(entries) => entries.as_slice(),
            Value::Null => &[],
            _ => {
                problems.bad_value(path, node, "a map of keys and values");
                &[]
            }
        };
        Section {
            path: path.to_owned(),
            origin: node.origin.clone(),
            entries,
            known: Vec::new(),
        }
    }

    /// The dotted path of a key in this section.
    pub fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// The node at a key, which is known from now on.
    pub fn node(&mut self, key: &'static str) -> Option<&'a Node> {
        self.known.push(key);
        self.entries.iter().find(|e| e.key == key).map(|e| &e.node)
    }

    /// A section below this one.
    pub fn section(&mut self, key: &'static str, problems: &mut Problems) -> Option<Section<'a>> {
        let path = self.path_of(key);
        self.node(key)
            .map(|node| Section::of(&path, node, problems))
    }

    /// A scalar that `read` understands; anything else is a problem that says what is `allowed`.
    pub fn scalar<T>(
        &mut self,
        key: &'static str,
        allowed: &str,
        problems: &mut Problems,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<At<T>> {
        let path = self.path_of(key);
        let node = self.node(key)?;
        let value = match &node.value {
            Value::Scalar(text) => read(text),
            _ => None,
        };
        if value.is_none() {
            problems.bad_value(&path, node, allowed);
        }
        value.map(|value| At {
            value,
            origin: node.origin.clone(),
        })
    }

    /// Text that is not empty.
    pub fn text(
        &mut self,
        key: &'static str,
        what: &str,
        problems: &mut Problems,
    ) -> Option<At<String>> {
        self.scalar(key, what, problems, |text| {
            (!text.trim().is_empty()).then(|| text.to_owned())
        })
    }

    /// One of a few words.
    pub fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&str, T)],
        problems: &mut Problems,
    ) -> Option<At<T>> {
        let words: Vec<String> = choices
            .iter()
            .map(|(word, _)| format!("`{word}`"))
            .collect();
        let allowed = match words.as_slice() {
            [only] => only.clone(),
            words => format!("one of {}", words.join(", ")),
        };
        self.scalar(key, &allowed, problems, |text| {
            choices
                .iter()
                .find(|(word, _)| *word == text)
                .map(|(_, choice)| *choice)
        })
    }

    /// A duration within bounds.
    pub fn duration(
        &mut self,
        key: &'static str,
        bounds: RangeInclusive<Duration>,
        problems: &mut Problems,
    ) -> Option<At<Duration>> {
        let allowed = format!(
            "{DURATION_FORM}, from {} to {}",
            format_duration(*bounds.start()),
            format_duration(*bounds.end())
        );
        self.scalar(key, &allowed, problems, |text| {
            parse_duration(text).filter(|d| bounds.contains(d))
        })
    }

    /// A size in bytes within bounds.
    pub fn size(
        &mut self,
        key: &'static str,
        bounds: RangeInclusive<u64>,
        problems: &mut Problems,
    ) -> Option<At<u64>> {
        let allowed = format!(
            "{SIZE_FORM}, from {} to {}",
            format_size(*bounds.start()),
            format_size(*bounds.end())
        );
        self.scalar(key, &allowed, problems, |text| {
            parse_size(text).filter(|s| bounds.contains(s))
        })
    }

    /// A map of any keys to text.
    pub fn properties(
        &mut self,
        key: &'static str,
        problems: &mut Problems,
    ) -> BTreeMap<String, At<String>> {
        let path = self.path_of(key);
        let mut properties = BTreeMap::new();
        let Some(node) = self.node(key) else {
            return properties;
        };
        for entry in Section::of(&path, node, problems).entries {
            match &entry.node.value {
                Value::Scalar(text) => {
                    properties.insert(
                        entry.key.clone(),
                        At {
                            value: text.clone(),
                            origin: entry.node.origin.clone(),
                        },
                    );
                }
                _ => problems.bad_value(
                    &format!("{path}.{}", entry.key),
                    &entry.node,
                    "text or a number",
                ),
            }
        }
        properties
    }

    /// A key that must be there.
    pub fn require(&self, key: &str, hint: &str, problems: &mut Problems) {
        if !self.entries.iter().any(|e| e.key == key) {
            let error = Error::configuration(format!("`{}` is missing", self.path_of(key)));
            problems.push(error.hint(hint), &self.origin);
        }
    }

    /// Two keys, each with whether it is there, of which neither is of use without the other.
    pub fn require_together(
        &self,
        one: (&str, bool),
        other: (&str, bool),
        problems: &mut Problems,
    ) {
        for (there, missing) in [(one, other), (other, one)] {
            if there.1 && !missing.1 {
                let hint = format!(
                    "add `{}`, which `{}` is of no use without",
                    missing.0, there.0
                );
                self.require(missing.0, &hint, problems);
            }
        }
    }

    /// Every entry, for a section whose keys are names.
    pub fn entries(&self) -> &'a [Entry] {
        self.entries
    }

    /// Ends the reading: whatever was not asked for is unknown.
    pub fn finish(self, problems: &mut Problems) {
        for entry in self.entries {
            if self.known.contains(&entry.key.as_str()) {
                continue;
            }
            let place = if self.path.is_empty() {
                String::new()
            } else {
                format!(" under `{}`", self.path)
            };
            let hint = nearest::hint(&entry.key, "the keys here", self.known.iter().copied());
            let error = Error::configuration(format!("unknown key `{}`{place}", entry.key));
            problems.push(error.hint(hint), &entry.key_origin);
        }
    }
}

//! The properties that say where a store is and how to get in.

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// How the names begin of the properties that concern the store.
const PREFIXES: [&str; 2] = ["s3.", "client."];

/// Properties of a store. Their values are never printed: there are keys among them.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub(in super::super) struct Properties(HashMap<String, String>);

impl Properties {
    /// Those that concern the store.
    pub(in super::super) fn of(all: &HashMap<String, String>) -> Properties {
        let ours = |name: &str| PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        let of_store = all.iter().filter(|(name, _)| ours(name));
        Properties(
            of_store
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        )
    }

    /// Those that `known` does not say already.
    pub(in super::super) fn beyond(self, known: &Properties) -> Properties {
        let beyond = self.0.into_iter();
        Properties(
            beyond
                .filter(|(name, value)| known.0.get(name) != Some(value))
                .collect(),
        )
    }

    /// These, and those of `stronger`.
    pub(in super::super) fn with(mut self, stronger: &Properties) -> Properties {
        self.0.extend(stronger.0.clone());
        self
    }

    /// Whether nothing is said.
    pub(in super::super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As the library takes them.
    pub(in super::super) fn as_map(&self) -> &HashMap<String, String> {
        &self.0
    }

    /// The value of a property that is set to anything.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Properties {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Properties::of(&pairs.iter().map(owned).collect())
    }

    #[test]
    fn what_is_known_and_what_is_handed_out_besides_make_the_whole() {
        let known = of(&[
            ("s3.region", "r"),
            ("s3.access-key-id", "ours"),
            ("token", "t"),
        ]);
        let all = of(&[
            ("s3.region", "r"),
            ("s3.access-key-id", "theirs"),
            ("client.region", "c"),
            ("uri", "u"),
        ]);
        let beyond = all.clone().beyond(&known);
        assert_eq!(
            beyond,
            of(&[("s3.access-key-id", "theirs"), ("client.region", "c")])
        );
        assert_eq!(known.with(&beyond), all);
    }

    #[test]
    fn a_value_is_never_printed() {
        let printed = format!("{:?}", of(&[("s3.secret-access-key", "hunter2")]));
        assert!(
            printed.contains("s3.secret-access-key") && !printed.contains("hunter2"),
            "{printed}"
        );
    }
}

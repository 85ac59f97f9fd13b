//! Picks each setting in force, and lists it with where it came from.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::config::Properties;
use crate::config::origin::{At, Origin};
use crate::config::show::{Setting, shown};

/// The settings in force, as they are picked.
#[derive(Default)]
pub(super) struct Listing(pub Vec<Setting>);

/// The settings below a path.
pub(super) struct Below<'a> {
    listing: &'a mut Listing,
    path: Vec<String>,
}

impl Listing {
    pub fn below(&mut self, path: &[&str]) -> Below<'_> {
        Below {
            listing: self,
            path: path.iter().map(|&p| p.to_owned()).collect(),
        }
    }
}

impl Below<'_> {
    /// What the file says, else the default; either way it is listed.
    pub fn pick<T>(
        &mut self,
        key: &str,
        said: Option<At<T>>,
        default: T,
        whence: Origin,
        show: impl FnOnce(&T) -> Value,
    ) -> T {
        let At { value, origin } = said.unwrap_or(At {
            value: default,
            origin: whence,
        });
        self.list(key, show(&value), origin);
        value
    }

    /// Lists a text that may be a secret.
    pub fn list_text(&mut self, key: &str, text: &At<String>) {
        self.list(
            key,
            shown(key, &text.value, &text.origin),
            text.origin.clone(),
        );
    }

    pub fn list(&mut self, key: &str, value: Value, origin: Origin) {
        let mut path = self.path.clone();
        path.push(key.to_owned());
        self.listing.0.push(Setting {
            path,
            value,
            origin,
        });
    }

    /// Lists properties and gives them without their origins.
    pub fn properties(&mut self, properties: BTreeMap<String, At<String>>) -> Properties {
        self.path.push("properties".to_owned());
        for (key, text) in &properties {
            self.list_text(key, text);
        }
        self.path.pop();
        Properties(
            properties
                .into_iter()
                .map(|(key, text)| (key, text.value))
                .collect(),
        )
    }

    /// Goes one section down.
    pub fn within<R>(&mut self, section: &str, f: impl FnOnce(&mut Self) -> R) -> R {
        self.path.push(section.to_owned());
        let result = f(self);
        self.path.pop();
        result
    }
}

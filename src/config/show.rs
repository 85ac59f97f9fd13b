//! What is in force, as YAML with the origin of every setting beside it, or as JSON.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::Draft;
use super::origin::Origin;

/// What stands for a secret.
pub const MASK: &str = "********";

/// One setting in force.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// The keys from the top of the file down to it.
    pub path: Vec<String>,
    /// Its value, as the file would say it; a secret is masked already.
    pub value: Value,
    /// Where it came from.
    pub origin: Origin,
}

impl Setting {
    /// The dotted path.
    pub fn key(&self) -> String {
        self.path.join(".")
    }

    /// The value on one line.
    pub fn text(&self) -> String {
        yaml(&self.value)
    }
}

/// Whether the value of a key is a secret, going by the key's name.
///
/// ```
/// use strandline::config::is_secret;
/// assert!(is_secret("sasl.password") && is_secret("s3.secret-access-key") && is_secret("ssl.key.pem"));
/// assert!(!is_secret("ssl.ca.location") && !is_secret("sasl.mechanism"));
/// ```
pub fn is_secret(key: &str) -> bool {
    const SECRET: [&str; 9] = [
        "password",
        "passwd",
        "passphrase",
        "secret",
        "token",
        "credential",
        "key",
        "jaas",
        "authorization",
    ];
    let key = key.to_lowercase();
    SECRET.iter().any(|word| key.contains(word))
}

/// A value as the listing may show it: masked when the key is a secret's or when the value is a file's
/// content; and the password of an address is masked in any case.
pub(crate) fn shown(key: &str, text: &str, origin: &Origin) -> Value {
    let from_file = origin
        .variable
        .as_deref()
        .is_some_and(|variable| variable.starts_with("file:"));
    if is_secret(key) || from_file {
        Value::from(MASK)
    } else {
        Value::from(without_password(text))
    }
}

/// `postgresql://user:password@host?password=...` without the passwords. The user ends at the last `@` of
/// the authority.
pub(crate) fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let (address, query) = rest
        .split_once('?')
        .map_or((rest, None), |(address, query)| (address, Some(query)));
    let (authority, path) = address.split_at(address.find('/').unwrap_or(address.len()));
    let authority = match authority
        .rsplit_once('@')
        .and_then(|(user, host)| Some((user.split_once(':')?.0, host)))
    {
        Some((user, host)) => format!("{user}:{MASK}@{host}"),
        None => authority.to_owned(),
    };
    let mask_parameter = |parameter: &str| match parameter.split_once('=') {
        Some((key, _)) if is_secret(key) => format!("{key}={MASK}"),
        _ => parameter.to_owned(),
    };
    let query = query.map_or_else(String::new, |q| {
        format!(
            "?{}",
            q.split('&')
                .map(mask_parameter)
                .collect::<Vec<_>>()
                .join("&")
        )
    });
    format!("{scheme}://{authority}{path}{query}")
}

impl Draft {
    /// YAML that says what is in force, and beside each setting where it came from.
    pub fn to_yaml(&self) -> String {
        let mut text = String::new();
        let mut open: &[String] = &[];
        for setting in &self.engine.settings {
            let Some((key, sections)) = setting.path.split_last() else {
                continue;
            };
            let common = open
                .iter()
                .zip(sections)
                .take_while(|(a, b)| a == b)
                .count();
            for (depth, section) in sections.iter().enumerate().skip(common) {
                let _ = writeln!(
                    text,
                    "{:indent$}{}:",
                    "",
                    yaml_text(section),
                    indent = 2 * depth
                );
            }
            open = sections;
            let line = format!(
                "{:indent$}{}: {}",
                "",
                yaml_text(key),
                setting.text(),
                indent = 2 * sections.len()
            );
            let _ = writeln!(text, "{line:<58}  # {}", setting.origin);
        }
        text
    }

    /// The same as JSON: the file, what is in force as the file would say it, and the origins by dotted key.
    pub fn to_json(&self) -> Value {
        let mut config = Value::Object(Map::new());
        let mut origins = Map::new();
        for setting in &self.engine.settings {
            let mut at = &mut config;
            for part in &setting.path {
                if !at.is_object() {
                    *at = Value::Object(Map::new());
                }
                at = &mut at[part.as_str()];
            }
            *at = setting.value.clone();
            origins.insert(setting.key(), Value::from(setting.origin.to_string()));
        }
        json!({ "file": self.file, "config": config, "origins": origins })
    }
}

/// A value as YAML on one line.
fn yaml(value: &Value) -> String {
    match value {
        Value::String(text) => yaml_text(text),
        Value::Array(list) => format!("[{}]", list.iter().map(yaml).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let entries: Vec<String> = map
                .iter()
                .map(|(k, v)| format!("{}: {}", yaml_text(k), yaml(v)))
                .collect();
            if entries.is_empty() {
                "{}".to_owned()
            } else {
                format!("{{ {} }}", entries.join(", "))
            }
        }
        other => other.to_string(),
    }
}

/// Text as YAML: plain where that reads back as the same text, else quoted as JSON, which is YAML.
fn yaml_text(text: &str) -> String {
    let starts_plain =
        text.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '/' | '_'));
    let is_plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '/' | '_' | '-' | ':' | '+' | '@');
    let reads_as_map = text.ends_with(':');
    let reads_as_other = matches!(
        text.to_lowercase().as_str(),
        "null" | "true" | "false" | "yes" | "no" | "on"
    );
    if starts_plain && text.chars().all(is_plain) && !reads_as_map && !reads_as_other {
        // A variable's sign must survive being read again.
        text.to_owned()
    } else {
        Value::from(text.replace("${", "$${")).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_in_an_address_is_masked() {
        assert_eq!(
            without_password("postgresql://a:b@c:5432/d?x=1"),
            "postgresql://a:********@c:5432/d?x=1"
        );
        assert_eq!(
            without_password("postgresql://a:b@e@c/d"),
            "postgresql://a:********@c/d"
        );
        assert_eq!(
            without_password("postgresql://c/d?user=a&password=b"),
            "postgresql://c/d?user=a&password=********"
        );
        assert_eq!(
            without_password("sqlite://./data/catalog.db"),
            "sqlite://./data/catalog.db"
        );
    }

    #[test]
    fn text_that_yaml_would_read_as_something_else_is_quoted() {
        assert_eq!(yaml_text("localhost:9092"), "localhost:9092");
        for text in ["a b", "null", "a: b", "*x", "a#b", "", "ends:", "${env:X}"] {
            assert!(yaml_text(text).starts_with('"'), "{text}");
        }
    }
}

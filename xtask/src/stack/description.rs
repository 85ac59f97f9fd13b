//! `stack.json`: what tests read to find the services.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use super::process::Process;
use super::service::Service;
use super::{kafka, rest, s3, secured};
use crate::{Result, jars, places};

/// Where the description is.
pub fn path(stack: &Path) -> PathBuf {
    stack.join("stack.json")
}

/// Describes the services that run.
pub fn write(stack: &Path) -> Result {
    let mut services = Vec::new();
    for service in Service::ALL {
        let folder = service.folder(stack);
        let Some(process) = Process::of(&folder).filter(Process::is_alive) else {
            continue;
        };
        let address = service.address(&process.ports);
        let text = |path: &Path| path.display().to_string();
        let facts = match service {
            Service::Kafka | Service::Kafka2 => {
                vec![
                    ("bootstrap_servers", address),
                    ("lib", text(&jars::folder_of(&kafka::DISTRIBUTION)?)),
                ]
            }
            Service::KafkaSecured => {
                let listeners = secured::Listeners::of(&process.ports)?;
                let at = |port: u16| format!("127.0.0.1:{port}");
                vec![
                    ("bootstrap_servers", address),
                    ("sasl", at(listeners.sasl)),
                    ("ssl", at(listeners.ssl)),
                    ("astray", at(listeners.astray)),
                    ("ca", text(&secured::authority(&folder))),
                ]
            }
            Service::SchemaRegistry => vec![("url", address)],
            Service::Rest => vec![
                ("uri", address),
                ("warehouse", rest::Warehouse::folder(&folder).location),
                ("database", text(&rest::database(&folder))),
            ],
            Service::RestS3 => vec![
                ("uri", address),
                ("warehouse", rest::Warehouse::bucket("").location),
                ("database", text(&rest::database(&folder))),
            ],
            Service::S3 => vec![
                ("endpoint", address),
                ("bucket", s3::BUCKET.to_owned()),
                ("region", s3::REGION.to_owned()),
                ("access_key_id", s3::ACCESS_KEY_ID.to_owned()),
                ("secret_access_key", s3::SECRET_ACCESS_KEY.to_owned()),
                ("buckets", text(&s3::buckets(&folder))),
            ],
        };
        let facts: String = facts
            .iter()
            .map(|(key, value)| format!("{}: {}, ", quoted(key), quoted(value)))
            .collect();
        services.push(format!(
            "{}: {{{facts}\"pid\": {}}}",
            quoted(service.name()),
            process.pid
        ));
    }
    services.push(format!(
        "\"folder\": {}",
        quoted(&stack.display().to_string())
    ));
    // Renamed into place, so that a test never reads half of it.
    let unfinished = stack.join("stack.json.new");
    places::write_file(
        &unfinished,
        &format!("{{\n  {}\n}}\n", services.join(",\n  ")),
    )?;
    fs::rename(&unfinished, path(stack))
        .map_err(|e| format!("cannot rename `{}`: {e}", unfinished.display()))
}

/// A JSON string.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c < ' ' => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    #[test]
    fn any_path_makes_a_json_string() {
        assert_eq!(super::quoted("/a \"b\"\\\n"), r#""/a \"b\"\\\u000a""#);
    }
}

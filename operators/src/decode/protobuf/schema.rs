//! A schema of the registry as descriptors, and the messages that its file defines.
//!
//! protox parses the text and resolves it. Confluent's own registry answers with text, others with what was
//! registered, which of confluent-kafka's serializer in Python is a file descriptor in base64: both are taken.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hashbrown::HashMap;
use protox::Compiler;
use protox::file::{File, FileResolver, GoogleFileResolver};
use protox::prost_reflect::MessageDescriptor;

use super::imports::BUILT_IN;
use crate::io::RegisteredSchema;

/// Messages that a file may define, those inside of others included. Generated ones have some hundreds.
const MAX_MESSAGES: usize = 10_000;

/// Messages that may stand inside of each other.
pub(super) const MAX_NESTING: usize = 64;

/// The name that the schema itself has while it is parsed; no import can have it.
const ROOT: &str = "\u{1}schema.proto";

/// Finds what is imported.
struct Imports {
    texts: HashMap<String, String>,
    google: GoogleFileResolver,
}

impl FileResolver for Imports {
    fn resolve_path(&self, path: &Path) -> Option<String> {
        path.to_str().map(str::to_owned)
    }

    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match self.texts.get(name) {
            Some(text) => file(name, text),
            None => self.google.open_file(name),
        }
    }
}

fn file(name: &str, text: &str) -> Result<File, protox::Error> {
    let descriptor = STANDARD
        .decode(text.trim())
        .ok()
        .filter(|bytes| !bytes.is_empty())
        .and_then(|bytes| File::decode_file_descriptor_proto(bytes.as_slice()).ok());
    match descriptor {
        Some(file) => {
            let mut descriptor = file.file_descriptor_proto().clone();
            descriptor.name = Some(name.to_owned());
            Ok(File::from_file_descriptor_proto(descriptor))
        }
        None => File::from_source(name, text),
    }
}

/// The messages of a schema's file, each with the indexes that Confluent's framing names it by.
///
/// # Errors
/// What is wrong with the schema, for a person.
pub(super) fn messages(
    schema: &RegisteredSchema,
) -> Result<Vec<(Vec<i32>, MessageDescriptor)>, String> {
    let mut texts: HashMap<String, String> = BUILT_IN
        .iter()
        .map(|&(name, text)| (name.to_owned(), text.to_owned()))
        .collect();
    for reference in &schema.references {
        texts.insert(reference.name.clone(), reference.text.clone());
    }
    texts.insert(ROOT.to_owned(), schema.text.clone());
    let mut compiler = Compiler::with_file_resolver(Imports {
        texts,
        google: GoogleFileResolver::new(),
    });
    compiler.open_file(ROOT).map_err(|e| {
        format!(
            "it is no Protobuf schema: {}",
            e.to_string().replace(ROOT, "it")
        )
    })?;
    let pool = compiler.descriptor_pool();
    let root = pool
        .get_file_by_name(ROOT)
        .ok_or("the parser lost its file")?;
    let mut found = Vec::new();
    let mut open: Vec<(Vec<i32>, MessageDescriptor)> = root
        .messages()
        .enumerate()
        .map(|(place, message)| (vec![place as i32], message))
        .collect();
    while let Some((path, message)) = open.pop() {
        if found.len() == MAX_MESSAGES {
            return Err(format!("it defines more than {MAX_MESSAGES} messages"));
        }
        if path.len() < MAX_NESTING {
            for (place, child) in message.child_messages().enumerate() {
                let mut path = path.clone();
                path.push(place as i32);
                open.push((path, child));
            }
        }
        found.push((path, message));
    }
    if found.is_empty() {
        return Err("it defines no message".to_owned());
    }
    Ok(found)
}

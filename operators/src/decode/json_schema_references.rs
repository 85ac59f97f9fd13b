//! What a JSON Schema refers to outside of itself.

use jsonschema::{Retrieve, Uri};
use serde_json::Value;

use super::schema_text::json_of;
use crate::io::ReferencedSchema;

/// What the registry gives for the references of a schema.
#[derive(Debug)]
pub(super) struct References {
    /// By the name that the schema calls each; no two fit the same `$ref`.
    documents: Vec<(String, Value)>,
}

impl References {
    /// Those of a schema.
    ///
    /// # Errors
    /// One is not JSON, or two cannot be told apart; for a person.
    pub fn new(references: &[ReferencedSchema]) -> Result<References, String> {
        let mut documents: Vec<(String, Value)> = Vec::with_capacity(references.len());
        for one in references {
            let alike = |(name, _): &&(String, Value)| {
                is_called(&one.name, name) || is_called(name, &one.name)
            };
            if let Some((other, _)) = documents.iter().find(alike) {
                return Err(format!(
                    "its references `{other}` and `{}` cannot be told apart",
                    one.name
                ));
            }
            documents.push((one.name.clone(), json_of(&one.text)?));
        }
        Ok(References { documents })
    }

    /// The one that a schema means by what stands in `$ref`, resolved or not.
    pub fn find(&self, wanted: &str) -> Option<&Value> {
        let mut documents = self.documents.iter();
        let fitting = documents.find(|(name, _)| is_called(wanted, name));
        fitting.map(|(_, document)| document)
    }

    /// All of them.
    pub fn documents(&self) -> impl Iterator<Item = &Value> {
        self.documents.iter().map(|(_, document)| document)
    }
}

impl Retrieve for References {
    /// `uri` is what stands in `$ref`, resolved against the `$id` around it.
    fn retrieve(
        &self,
        uri: &Uri<String>,
    ) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        match self.find(uri.as_str()) {
            Some(document) => Ok(document.clone()),
            None => Err(format!("the registry gives no reference `{uri}`").into()),
        }
    }
}

/// Whether `name` is all of what is wanted, or its end: the registry calls a reference by what stands in `$ref`.
fn is_called(wanted: &str, name: &str) -> bool {
    let end = name.trim_start_matches(['.', '/']);
    let before = wanted.strip_suffix(end);
    !end.is_empty() && before.is_some_and(|before| before.is_empty() || before.ends_with('/'))
}

//! `${env:NAME}` and `${file:PATH}` in the text of a setting, so that no secret needs to stand in the file.
//!
//! They are replaced after the YAML is read, so nothing in a variable can become structure. `$${` is a
//! literal `${`.

use std::path::Path;

use strandline_operators::{Error, Result};

use super::origin::Origin;
use super::read::Problems;
use super::tree::{Node, Value};

/// Largest file that `${file:PATH}` reads. Secrets and certificates are a few KiB.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The environment's variables, as a function so that tests need not change the process.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Replaces the variables in every scalar of the tree.
///
/// # Errors
/// All variables that cannot be replaced.
pub(crate) fn replace(node: &mut Node, environment: Environment<'_>, problems: &mut Problems) {
    match &mut node.value {
        Value::Null => {}
        Value::Scalar(text) => match replace_text(text, environment) {
            Ok(None) => {}
            Ok(Some((replaced, variable))) => {
                *text = replaced;
                node.origin.variable = variable.map(Into::into);
            }
            Err(error) => problems.push(error, &node.origin),
        },
        Value::List(list) => list
            .iter_mut()
            .for_each(|n| replace(n, environment, problems)),
        Value::Map(entries) => entries
            .iter_mut()
            .for_each(|e| replace(&mut e.node, environment, problems)),
    }
}

/// The text with its variables replaced and the first of them; `None` when there is nothing to replace.
fn replace_text(
    text: &str,
    environment: Environment<'_>,
) -> Result<Option<(String, Option<String>)>> {
    if !text.contains("${") {
        return Ok(None);
    }
    let mut replaced = String::new();
    let mut first = None;
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, after) = (&rest[..at], &rest[at + 2..]);
        if let Some(literal) = before.strip_suffix('$') {
            replaced.push_str(literal);
            replaced.push_str("${");
            rest = after;
            continue;
        }
        replaced.push_str(before);
        let Some(end) = after.find('}') else {
            return Err(
                Error::configuration(format!("`{text}` has a `${{` without its `}}`"))
                    .hint("write `$${` for a literal `${`"),
            );
        };
        let variable = &after[..end];
        match variable.split_once(':') {
            Some(("env", name)) => replaced.push_str(&from_environment(name, environment)?),
            Some(("file", path)) => replaced.push_str(&from_file(path)?),
            _ => {
                return Err(Error::configuration(format!(
                    "`${{{variable}}}` is neither `${{env:NAME}}` nor `${{file:PATH}}`"
                ))
                .hint("write `$${` for a literal `${`"));
            }
        }
        first.get_or_insert_with(|| variable.to_owned());
        rest = &after[end + 1..];
    }
    replaced.push_str(rest);
    Ok(Some((replaced, first)))
}

fn from_environment(name: &str, environment: Environment<'_>) -> Result<String> {
    environment(name).ok_or_else(|| {
        Error::configuration(format!("the environment has no variable `{name}`"))
            .hint(format!("export {name}=..."))
    })
}

/// The file's text without the line end that editors add.
fn from_file(path: &str) -> Result<String> {
    let cannot = |why: String| {
        Error::configuration(format!("cannot read the file of `${{file:{path}}}`: {why}"))
    };
    let length = std::fs::metadata(Path::new(path))
        .map_err(|e| cannot(e.to_string()))?
        .len();
    if length > MAX_FILE_BYTES {
        return Err(cannot(format!(
            "it has {length} bytes, more than {MAX_FILE_BYTES}"
        )));
    }
    let text = std::fs::read_to_string(path).map_err(|e| cannot(e.to_string()))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

/// Whether a value came out of a variable; such a value is never put into a message of ours.
pub(crate) fn is_from_variable(origin: &Origin) -> bool {
    origin.variable.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<String> {
        (name == "HOST").then(|| "broker".to_owned())
    }

    fn text_of(text: &str) -> Result<String> {
        Ok(replace_text(text, &environment)?
            .map_or_else(|| text.to_owned(), |(replaced, _)| replaced))
    }

    #[test]
    fn variables_are_replaced_anywhere_in_a_text() -> Result<()> {
        assert_eq!(
            text_of("${env:HOST}:9092,${env:HOST}:9093")?,
            "broker:9092,broker:9093"
        );
        assert_eq!(
            text_of("costs $5 and $${env:HOST}")?,
            "costs $5 and ${env:HOST}"
        );
        Ok(())
    }

    #[test]
    fn a_variable_that_is_not_there_is_an_error_that_names_it() {
        let error = text_of("${env:NOT_THERE}").expect_err("missing");
        assert_eq!(
            error.to_string(),
            "the environment has no variable `NOT_THERE`\n  hint: export NOT_THERE=..."
        );
        let error = text_of("${HOME}").expect_err("no kind");
        assert_eq!(
            error.message(),
            "`${HOME}` is neither `${env:NAME}` nor `${file:PATH}`"
        );
        let error = text_of("${env:HOST").expect_err("open");
        assert_eq!(error.message(), "`${env:HOST` has a `${` without its `}`");
    }

    #[test]
    fn a_file_is_read_without_its_last_line_end() -> Result<()> {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        std::fs::write(file.path(), "s3cret\n").expect("write");
        assert_eq!(
            text_of(&format!("${{file:{}}}", file.path().display()))?,
            "s3cret"
        );
        assert!(
            text_of("${file:/no/such/file}")
                .expect_err("missing")
                .message()
                .contains("/no/such/file")
        );
        Ok(())
    }
}

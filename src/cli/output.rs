//! How commands answer: facts on stdout, errors on stderr. A reader that went away (`| head`) is no error.

use std::io::{self, Write};

use serde::Serialize;
use strandline_operators::{Error, Result};

/// Prints text, as it is.
///
/// # Errors
/// Stdout cannot be written, for another reason than a closed pipe.
pub fn print(text: &str) -> Result<()> {
    print_to(&mut io::stdout().lock(), text)
}

/// Prints one JSON document.
///
/// # Errors
/// As [`print()`].
pub fn print_json(document: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(document)
        .map_err(|error| Error::internal(format!("cannot write the answer as JSON: {error}")))?;
    print(&(text + "\n"))
}

/// Prints an error, the way every command ends that fails.
pub fn print_error(error: &Error) {
    // There is nowhere left to say that stderr is gone.
    let _ = writeln!(io::stderr().lock(), "error: {error}");
}

fn print_to(out: &mut impl Write, text: &str) -> Result<()> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::internal(format!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// A table for people: columns as wide as they need to be, two spaces apart.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|r| r.get(column))
            .map(|c| c.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Lines, two spaces to the right.
pub fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Failing(io::ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn only_a_closed_pipe_is_no_error() {
        assert!(print_to(&mut Failing(io::ErrorKind::BrokenPipe), "x").is_ok());
        assert!(print_to(&mut Failing(io::ErrorKind::StorageFull), "x").is_err());
    }

    #[test]
    fn a_table_lines_its_columns_up() {
        let rows = [
            vec!["JOB".to_owned(), "RUNS".to_owned()],
            vec!["orders".to_owned(), "no".to_owned()],
        ];
        assert_eq!(table(&rows), "JOB     RUNS\norders  no\n");
    }
}

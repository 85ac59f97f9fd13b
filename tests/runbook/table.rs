//! The table of faults in `docs/runbook.md`: its rows, and whether what is said is what a row has.

use std::fs;

use crate::WALKS;
use crate::support::in_repository;

/// A row of the table.
pub struct Row {
    pub fault: String,
    pub exit: String,
    pub message: String,
}

/// The rows of the runbook's table of faults.
pub fn rows() -> Vec<Row> {
    let text = fs::read_to_string(in_repository("docs/runbook.md")).expect("the runbook");
    let (_, part) = text.split_once("\n## Faults").expect("a part on faults");
    let part = part.split("\n## ").next().unwrap_or_default();
    let rows = part.lines().filter(|line| line.starts_with("| `"));
    rows.map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, fault, exit, message, next, _] = cells.as_slice() else {
            panic!("not four cells: {line}");
        };
        assert!(!next.is_empty(), "{fault} has no next step");
        Row {
            fault: fault.trim_matches('`').to_owned(),
            exit: (*exit).to_owned(),
            message: (*message).to_owned(),
        }
    })
    .collect()
}

/// Whether a text contains a message, in which `…` stands for anything within a line.
pub fn says(text: &str, message: &str) -> bool {
    let parts: Vec<&str> = message.split('…').map(str::trim).collect();
    text.lines().any(|line| {
        let mut rest = line;
        parts.iter().all(|part| match rest.split_once(part) {
            Some((_, after)) => {
                rest = after;
                true
            }
            None => false,
        })
    })
}

#[test]
fn every_fault_of_the_table_is_caused_here() {
    let rows = rows();
    assert!(rows.len() >= 25, "{} rows", rows.len());
    for row in rows {
        let named = format!("\"{}\"", row.fault);
        let is_caused = WALKS.iter().any(|walk| walk.contains(&named));
        assert!(is_caused, "nothing causes `{}`", row.fault);
    }
}

#[test]
fn a_message_of_the_table_is_compared_word_by_word() {
    assert!(says("error: topic `a` has\n", "topic `…` has"));
    assert!(!says("topic `a` had", "topic `…` has"));
    assert!(!says("topic\n`a` has", "topic `…` has"), "within a line");
}

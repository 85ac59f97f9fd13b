//! What the schema of a record of Debezium's is of, by the names of its fields.

use crate::decode::debezium::is_enveloped;

/// The columns that hold what the envelope says (`decode::debezium` has the table). Which of them a table has is for
/// the job's code to say: in a row that was unwrapped they are of other types (`__deleted` is text), and changes that
/// were not unwrapped fill them too.
pub(super) const ENVELOPE_COLUMNS: [&str; 10] = [
    "__op",
    "__table",
    "__schema",
    "__db",
    "__ts_ms",
    "__source_ts_ms",
    "__lsn",
    "__deleted",
    "__before",
    "__unavailable",
];

/// The fields of a transaction's begin or end.
const TRANSACTION: [&str; 5] = ["status", "id", "event_count", "data_collections", "ts_ms"];

/// The only field of a heartbeat.
const HEARTBEAT: [&str; 1] = ["ts_ms"];

/// What a schema is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::decode) enum Described {
    /// A change in its envelope: the row's fields are those of `after`, or of `before` when there is no other.
    Change,
    /// A row without envelope: its fields are the row's.
    Row,
    /// Something that carries no row.
    NoRow,
}

/// What a schema with fields of these names is of, by the rule that tells its records. `time_of_source`: whether it has
/// a `source` that says its time.
pub(super) fn described(names: &[&str], time_of_source: impl FnOnce() -> bool) -> Described {
    let has = |name: &&str| names.contains(name);
    let has_image = has(&"before") || has(&"after");
    if is_enveloped(has(&"op"), has_image, time_of_source) {
        return match has_image {
            true => Described::Change,
            // Of a logical decoding message. Truncations share the schema of the changes around them.
            false => Described::NoRow,
        };
    }
    let is_marker = names.len() == TRANSACTION.len() && TRANSACTION.iter().all(has);
    match is_marker || names == HEARTBEAT {
        true => Described::NoRow,
        false => Described::Row,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changes_and_rows_have_fields_of_a_table() {
        let of = |names: &str, time_of_source: bool| {
            described(&names.split(' ').collect::<Vec<_>>(), || time_of_source)
        };
        for change in ["before after source op ts_ms", "op after", "op before"] {
            assert_eq!(of(change, false), Described::Change, "{change}");
            assert_eq!(of(change, true), Described::Change, "{change}");
        }
        for row in [
            "id name __op",
            "id status ts_ms",
            "status id event_count data_collections ts_ms name",
            // What an envelope has is a column's name too.
            "id op",
            "id op source",
            "id after",
            "id before after",
        ] {
            assert_eq!(of(row, false), Described::Row, "{row}");
        }
        for no_row in ["ts_ms", "status id event_count data_collections ts_ms"] {
            assert_eq!(of(no_row, false), Described::NoRow, "{no_row}");
        }
        let message = "op ts_ms source transaction message";
        assert_eq!(of(message, true), Described::NoRow);
    }
}

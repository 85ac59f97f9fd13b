//! What the schema of a record of Debezium's is of, by the names of its fields.

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
pub(super) enum Described {
    /// A change in its envelope: the row's fields are those of `after`.
    Change,
    /// A row without envelope: its fields are the row's.
    Row,
    /// Something that carries no row.
    NoRow,
}

/// What a schema with fields of these names is of.
///
/// One with `op` or `after` alone is taken for no row: a logical decoding message has `op`, and its fields are not a
/// table's.
pub(super) fn described(names: &[&str]) -> Described {
    let has = |name: &&str| names.contains(name);
    match (has(&"op"), has(&"after")) {
        (true, true) => Described::Change,
        (false, false) => {
            let is_marker = names.len() == TRANSACTION.len() && TRANSACTION.iter().all(has);
            match is_marker || names == HEARTBEAT {
                true => Described::NoRow,
                false => Described::Row,
            }
        }
        _ => Described::NoRow,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changes_and_rows_have_fields_of_a_table() {
        let of = |names: &str| described(&names.split(' ').collect::<Vec<_>>());
        assert_eq!(of("before after source op ts_ms"), Described::Change);
        assert_eq!(of("id name __op"), Described::Row);
        assert_eq!(of("id status ts_ms"), Described::Row);
        let with_others = "status id event_count data_collections ts_ms name";
        assert_eq!(of(with_others), Described::Row);
        for no_row in [
            "ts_ms",
            "status id event_count data_collections ts_ms",
            "op ts_ms source transaction message",
            "id after",
        ] {
            assert_eq!(of(no_row), Described::NoRow, "{no_row}");
        }
    }
}

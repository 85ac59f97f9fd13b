//! The names that mean something in a change, and which of them make one.

/// Whether what has these is a change in its envelope: one rule, of a record's members and of a schema's fields. `op`
/// alone is a column of a row, which may well have that name. An envelope has an image besides (`before` or `after`, be
/// it null), or, where a change needs none, a source that says its time, as it never leaves that out.
#[inline]
pub(in crate::decode) fn is_enveloped(
    op: bool,
    image: bool,
    time_of_source: impl FnOnce() -> bool,
) -> bool {
    op && (image || time_of_source())
}

/// A member of an envelope or of an unwrapped row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Member {
    /// Of Connect's wrapper.
    Schema,
    /// Of Connect's wrapper.
    Payload,
    Before,
    After,
    Source,
    Op,
    TsMs,
    /// Of a transaction marker.
    Status,
    /// Of a transaction marker.
    Id,
    /// Of a transaction marker.
    EventCount,
    /// Of a transaction marker.
    DataCollections,
    RowOp,
    RowDeleted,
    RowTsMs,
    RowSourceTsMs,
    /// What an unwrapped row says of its source, but for the time.
    RowSource(SourceMember),
    /// Any other.
    Other,
}

impl Member {
    /// What the key means.
    pub fn of(key: &str) -> Member {
        match key {
            "schema" => Member::Schema,
            "payload" => Member::Payload,
            "before" => Member::Before,
            "after" => Member::After,
            "source" => Member::Source,
            "op" => Member::Op,
            "ts_ms" => Member::TsMs,
            "status" => Member::Status,
            "id" => Member::Id,
            "event_count" => Member::EventCount,
            "data_collections" => Member::DataCollections,
            "__op" => Member::RowOp,
            "__deleted" => Member::RowDeleted,
            "__ts_ms" => Member::RowTsMs,
            "__source_ts_ms" => Member::RowSourceTsMs,
            _ => Member::of_row(key),
        }
    }

    /// What the key means that is none of an envelope: `add.fields` of `lsn` makes it `__lsn`, and of `source.lsn`
    /// `__source_lsn`.
    fn of_row(key: &str) -> Member {
        let of_source = key.strip_prefix("__source_");
        match of_source.or_else(|| key.strip_prefix("__")) {
            Some(key) => match SourceMember::of(key) {
                SourceMember::Other => Member::Other,
                member => Member::RowSource(member),
            },
            None => Member::Other,
        }
    }
}

/// A member of a change's `source`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SourceMember {
    Table,
    Schema,
    Db,
    TsMs,
    /// PostgreSQL's position.
    Lsn,
    /// MySQL's binary log.
    File,
    Pos,
    Row,
    /// SQL Server's and Db2's position.
    ChangeLsn,
    EventSerialNo,
    CommitLsn,
    /// Oracle's position.
    Scn,
    CommitScn,
    LcrPosition,
    RsId,
    Ssn,
    /// MongoDB's position.
    Ord,
    Sec,
    /// Any other.
    Other,
}

impl SourceMember {
    /// What the key means.
    pub fn of(key: &str) -> SourceMember {
        match key {
            "table" | "collection" => SourceMember::Table,
            "schema" => SourceMember::Schema,
            "db" => SourceMember::Db,
            "ts_ms" => SourceMember::TsMs,
            "lsn" => SourceMember::Lsn,
            "file" => SourceMember::File,
            "pos" => SourceMember::Pos,
            "row" => SourceMember::Row,
            "change_lsn" => SourceMember::ChangeLsn,
            "event_serial_no" => SourceMember::EventSerialNo,
            "commit_lsn" => SourceMember::CommitLsn,
            "scn" => SourceMember::Scn,
            "commit_scn" => SourceMember::CommitScn,
            "lcr_position" => SourceMember::LcrPosition,
            "rs_id" => SourceMember::RsId,
            "ssn" => SourceMember::Ssn,
            "ord" => SourceMember::Ord,
            "sec" => SourceMember::Sec,
            _ => SourceMember::Other,
        }
    }
}

//! The names that mean something in a change.

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
    RowOp,
    RowDeleted,
    RowTable,
    RowSchema,
    RowDb,
    RowLsn,
    RowTsMs,
    RowSourceTsMs,
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
            "__op" => Member::RowOp,
            "__deleted" => Member::RowDeleted,
            "__table" | "__source_table" => Member::RowTable,
            "__schema" | "__source_schema" => Member::RowSchema,
            "__db" | "__source_db" => Member::RowDb,
            "__lsn" | "__source_lsn" => Member::RowLsn,
            "__ts_ms" => Member::RowTsMs,
            "__source_ts_ms" => Member::RowSourceTsMs,
            _ => Member::Other,
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
    /// SQL Server's position.
    ChangeLsn,
    EventSerialNo,
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
            _ => SourceMember::Other,
        }
    }
}

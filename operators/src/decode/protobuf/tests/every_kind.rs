//! A schema with every kind of field, and the columns that it fills.

use crate::schema::{Column, ColumnType};

/// Every kind of field, in the two languages: in proto3 without presence, in proto2 with. `Flat` has nothing
/// inside of which a parser would look and the decoder does not.
pub(super) fn every_kind(is_proto3: bool) -> String {
    let (syntax, plain) = match is_proto3 {
        true => ("proto3", ""),
        false => ("proto2", "optional"),
    };
    let fields = format!(
        r#"
        {plain} string event_id = 1;
        {plain} google.protobuf.Timestamp event_time = 2;
        {plain} int32 i32 = 3;
        {plain} sint32 s32 = 4;
        {plain} sfixed32 sf32 = 5;
        {plain} uint32 u32 = 6;
        {plain} fixed32 fx32 = 7;
        {plain} int64 i64 = 8;
        {plain} sint64 s64 = 9;
        {plain} sfixed64 sf64 = 10;
        {plain} uint64 u64 = 11;
        {plain} fixed64 fx64 = 12;
        {plain} float fl = 13;
        {plain} double db = 14;
        {plain} bool bo = 15;
        {plain} string st = 16;
        {plain} bytes by = 17;
        {plain} Level level = 18;
        optional int64 maybe_i64 = 19;
        optional string maybe_st = 20;
        {plain} google.protobuf.Int64Value w_i64 = 21;
        {plain} google.protobuf.StringValue w_st = 22;
        {plain} google.protobuf.BoolValue w_bo = 23;
        {plain} google.protobuf.DoubleValue w_db = 24;
        oneof choice {{
            string c_text = 30;
            int64 c_long = 31;
            google.protobuf.Timestamp c_time = 100;
            bool c_skipped = 33;
        }}
        {plain} string skipped_st = 40;
        {plain} fixed64 skipped_fx = 41;"#
    );
    format!(
        r#"syntax = "{syntax}";
        package test;
        import "google/protobuf/timestamp.proto";
        import "google/protobuf/wrappers.proto";
        enum Level {{ NONE = 0; LOW = 1; HIGH = 7; BELOW = -3; }}
        message Flat {{ {fields} }}
        message Deep {{ {fields}
            repeated int32 numbers = 50;
            repeated int32 unpacked = 51 [packed = false];
            repeated string texts = 52;
            map<string, int64> counts = 53;
            {plain} Deep inside = 54;
        }}"#
    )
}

pub(super) const COLUMNS: &[Column] = &[
    Column::required("event_id", ColumnType::String),
    Column::required("event_time", ColumnType::Timestamptz),
    Column::optional("fl", ColumnType::Float),
    Column::optional("i32", ColumnType::Int),
    Column::optional("s32", ColumnType::Int),
    Column::optional("sf32", ColumnType::Int),
    Column::optional("u32", ColumnType::Long),
    Column::optional("fx32", ColumnType::Long),
    Column::optional("i64", ColumnType::Long),
    Column::optional("s64", ColumnType::Long),
    Column::optional("sf64", ColumnType::Long),
    Column::optional("u64", ColumnType::Long),
    Column::optional("fx64", ColumnType::Long),
    Column::optional("db", ColumnType::Double),
    Column::optional("bo", ColumnType::Boolean),
    Column::optional("st", ColumnType::String),
    Column::optional("by", ColumnType::Binary),
    Column::optional("level", ColumnType::String),
    Column::optional("maybe_i64", ColumnType::Long),
    Column::optional("maybe_st", ColumnType::String),
    Column::optional("w_i64", ColumnType::Long),
    Column::optional("w_st", ColumnType::String),
    Column::optional("w_bo", ColumnType::Boolean),
    Column::optional("w_db", ColumnType::Double),
    Column::optional("c_text", ColumnType::String),
    Column::optional("c_long", ColumnType::Long),
    Column::optional("c_time", ColumnType::Timestamptz),
    Column::optional("in_no_message", ColumnType::String),
];

//! Rows of columns as JSON objects, for people.

use serde_json::{Map, Value};
use strandline_operators::arrow_array::cast::AsArray;
use strandline_operators::arrow_array::types::{
    Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use strandline_operators::arrow_array::{Array, RecordBatch, StructArray};
use strandline_operators::arrow_schema::DataType;
use strandline_operators::time::EventTime;

/// The columns of a row that are not null, without those named in `left_out`.
pub fn object(rows: &RecordBatch, row: usize, left_out: &[&str]) -> Map<String, Value> {
    let mut object = Map::new();
    for (field, column) in rows.schema_ref().fields().iter().zip(rows.columns()) {
        let name = field.name().as_str();
        if !left_out.contains(&name) && column.is_valid(row) {
            object.insert(name.to_owned(), value(column, row));
        }
    }
    object
}

fn value(column: &dyn Array, row: usize) -> Value {
    match column.data_type() {
        DataType::Utf8 => Value::from(column.as_string::<i32>().value(row)),
        DataType::Boolean => Value::from(column.as_boolean().value(row)),
        DataType::Int32 => Value::from(column.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => Value::from(column.as_primitive::<Int64Type>().value(row)),
        // No JSON number is infinite; as text it is at least told.
        DataType::Float64 => {
            let number = column.as_primitive::<Float64Type>().value(row);
            serde_json::Number::from_f64(number)
                .map_or_else(|| Value::from(number.to_string()), Value::Number)
        }
        DataType::Timestamp(..) => {
            let micros = column.as_primitive::<TimestampMicrosecondType>().value(row);
            Value::from(EventTime(micros).to_string())
        }
        DataType::Binary => bytes(column.as_binary::<i32>().value(row)),
        DataType::Map(..) => Value::Object(headers(&column.as_map().value(row))),
        // Decimals and days: text, which no reader rounds.
        _ => Value::from(
            arrow_cast::display::array_value_to_string(column, row)
                .unwrap_or_else(|e| format!("cannot be shown: {e}")),
        ),
    }
}

fn headers(entries: &StructArray) -> Map<String, Value> {
    let [names, values] = entries.columns() else {
        return Map::new();
    };
    let (names, values) = (names.as_string::<i32>(), values.as_binary::<i32>());
    let value = |i| match values.is_valid(i) {
        true => bytes(values.value(i)),
        false => Value::Null,
    };
    let entries = (0..names.len()).map(|i| (names.value(i).to_owned(), value(i)));
    entries.collect()
}

/// The JSON that it is, else the text that it is, else `hex:` and the bytes.
fn bytes(bytes: &[u8]) -> Value {
    if let Ok(json @ (Value::Object(_) | Value::Array(_))) = serde_json::from_slice(bytes) {
        return json;
    }
    let is_control = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains(is_control) => Value::from(text),
        _ => {
            let mut text = "hex:".to_owned();
            text.extend(bytes.iter().map(|byte| format!("{byte:02x}")));
            Value::from(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;
    use strandline_operators::arrow_array::{
        ArrayRef, BooleanArray, Decimal128Array, Float64Array, StringArray,
    };

    use super::*;

    #[test]
    fn bytes_are_shown_as_what_they_are() {
        assert_eq!(bytes(br#"{"a": [1]}"#), json!({"a": [1]}));
        assert_eq!(bytes("Grüße\n".as_bytes()), json!("Grüße\n"));
        // A number alone may be the text of a longer one.
        assert_eq!(
            bytes(b"12345678901234567890123"),
            json!("12345678901234567890123")
        );
        assert_eq!(bytes(b""), json!(""));
        assert_eq!(bytes(b"\x00\x00\x01\x86\xba"), json!("hex:00000186ba"));
        assert_eq!(bytes(b"\xff"), json!("hex:ff"));
        assert_eq!(
            bytes(b"\x1b[2J"),
            json!("hex:1b5b324a"),
            "no orders to the terminal"
        );
    }

    #[test]
    fn every_type_of_a_column_is_shown_and_decimals_are_not_rounded() {
        let price = Decimal128Array::from(vec![12_345_678_901_234_567_890_i128])
            .with_precision_and_scale(38, 18)
            .expect("a decimal");
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("price", Arc::new(price)),
            ("is_mobile", Arc::new(BooleanArray::from(vec![true]))),
            ("ms", Arc::new(Float64Array::from(vec![1.5]))),
            ("none", Arc::new(StringArray::from(vec![None::<&str>]))),
            ("hidden", Arc::new(StringArray::from(vec!["x"]))),
        ];
        let rows = RecordBatch::try_from_iter_with_nullable(
            columns
                .into_iter()
                .map(|(name, column)| (name, column, true)),
        )
        .expect("a batch");
        assert_eq!(
            Value::Object(object(&rows, 0, &["hidden"])),
            json!({"price": "12.345678901234567890", "is_mobile": true, "ms": 1.5})
        );
    }
}

//! Messages of any schema, each of which follows from a seed.

use protox::prost_reflect::{DynamicMessage, Kind, MessageDescriptor, Value};

use crate::decode::testing::Draw;

impl Draw {
    /// Often one of those at which something changes.
    fn integer(&mut self) -> u64 {
        match self.below(6) {
            0 => 0,
            1 => 1,
            2 => u64::MAX,
            3 => i64::MAX as u64,
            4 => 1 << self.below(64),
            _ => self.next(),
        }
    }

    fn text(&mut self) -> String {
        let length = self.below(20);
        (0..length)
            .map(|_| ['a', 'é', '"', '\0', '本'][self.below(5)])
            .collect()
    }

    fn value(&mut self, kind: &Kind, depth: usize) -> Value {
        let n = self.integer();
        match kind {
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(n as i32),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(n as i64),
            Kind::Uint32 | Kind::Fixed32 => Value::U32(n as u32),
            Kind::Uint64 | Kind::Fixed64 => Value::U64(n),
            Kind::Float => Value::F32(n as i32 as f32 / 8.0),
            Kind::Double => Value::F64(n as i64 as f64 / 8.0),
            Kind::Bool => Value::Bool(n & 1 == 1),
            Kind::String => Value::String(self.text()),
            Kind::Bytes => Value::Bytes(n.to_be_bytes().to_vec().into()),
            Kind::Enum(_) => Value::EnumNumber([0, 1, 7, -3, 5][self.below(5)]),
            Kind::Message(message) => Value::Message(self.message(message, depth + 1)),
        }
    }

    /// A message with about half of its fields.
    pub(super) fn message(&mut self, of: &MessageDescriptor, depth: usize) -> DynamicMessage {
        let mut message = DynamicMessage::new(of.clone());
        if of.full_name() == "google.protobuf.Timestamp" {
            if self.below(4) > 0 {
                message.set_field_by_name("seconds", Value::I64(self.below(1 << 33) as i64));
            }
            if self.below(4) > 0 {
                let nanos = [0, 1, 999, 1000, 999_999_999, -1, 1_000_000_000][self.below(7)];
                message.set_field_by_name("nanos", Value::I32(nanos));
            }
            return message;
        }
        for field in of.fields() {
            let is_likely = matches!(field.number(), 1 | 2);
            if (self.below(2) == 0 && !is_likely) || depth > 2 {
                continue;
            }
            let value = if field.is_map() {
                continue;
            } else if field.is_list() {
                let length = self.below(4);
                Value::List(
                    (0..length)
                        .map(|_| self.value(&field.kind(), depth))
                        .collect(),
                )
            } else {
                self.value(&field.kind(), depth)
            };
            message.set_field(&field, value);
        }
        message
    }
}

//! What to do with each field of a message, worked out once for each schema and message.
//!
//! A column is the field of its name, else of one of its aliases. Only the fields of the message itself are
//! columns, not those of messages inside of it. A field fits a column as the table says; the wrappers of
//! `google/protobuf/wrappers.proto` fit as what they wrap does.
//!
//! | column | field |
//! |---|---|
//! | string | string, bytes of UTF-8, enum (its symbol) |
//! | int | the integers of 32 bits |
//! | long | all integers |
//! | float | float, all integers |
//! | double | double, float, all integers |
//! | boolean | bool |
//! | decimal | `confluent.type.Decimal`, string of digits, all integers; never rounded |
//! | date | `google.type.Date`, string `YYYY-MM-DD` |
//! | time | `google.type.TimeOfDay`, string `hh:mm:ss` |
//! | timestamptz | `google.protobuf.Timestamp` (cut to microseconds), integer of 64 bits of epoch milliseconds, ISO-8601 string |
//! | timestamp | integer of 64 bits of milliseconds, ISO-8601 string |
//! | binary | bytes, string |
//!
//! A field that is not in the record is null when its presence is tracked (`optional`, a member of a oneof, a
//! message, everything in proto2, whatever default proto2 gives it), and else the zero of its type; but an
//! event time that is not in the record is missing. Of a field that comes twice the last one counts, messages
//! are merged, and of a oneof the last member counts.

use hashbrown::HashMap;
use protox::prost_reflect::{Kind, MessageDescriptor};

use super::conversion::{Conversion, Part, Slot, name_of, resolve, wire_of};
use super::wire::{Cursor, Malformed, Tag, Wire};
use crate::decode::columns::ColumnBuilder;
use crate::decode::message::Failure;
use crate::decode::target::Target;
use crate::record::ErrorType;

/// Field numbers below this are looked up by place. Almost all are, since those below 16 take one byte.
const SMALL_NUMBERS: usize = 64;

/// What is done with a field.
#[derive(Clone, Debug)]
struct Step {
    wire: Wire,
    /// Several values may stand behind one tag.
    can_be_packed: bool,
    is_text: bool,
    target: Option<usize>,
    /// Of a message that is a value.
    parts: Option<&'static [Part]>,
    /// Targets that are members of the same oneof.
    clears: Box<[usize]>,
}

/// How a target is filled.
#[derive(Clone, Debug)]
struct Filling {
    conversion: Conversion,
    /// What a record without the field has: the zero of its type, else nothing.
    is_zero_when_absent: bool,
}

/// How records of one message are read into columns.
#[derive(Clone, Debug)]
pub(super) struct Program {
    message: String,
    /// The steps of numbers below [`SMALL_NUMBERS`], by number.
    small: Vec<Option<Step>>,
    large: HashMap<u32, Step>,
    /// For each target; `None` when the message has no field for it.
    fillings: Vec<Option<Filling>>,
}

/// Why a record cannot be read.
enum Fault {
    Malformed(Malformed),
    WireType(Malformed, u32, Wire, Wire),
}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Fault {
        Fault::Malformed(malformed)
    }
}

impl Program {
    /// Resolves a message to the job's columns.
    ///
    /// # Errors
    /// Why no record of this message can land.
    pub fn compile(message: &MessageDescriptor, targets: &[Target]) -> Result<Program, Failure> {
        let name = message.full_name();
        let mut fillings = Vec::with_capacity(targets.len());
        let mut target_of = HashMap::new();
        let mut parts_of = HashMap::new();
        for (place, target) in targets.iter().enumerate() {
            let Some(field) = target.find(|field| message.get_field_by_name(field)) else {
                if target.required.is_some() {
                    return Err(target.missing(&format!("is not in message `{name}`")));
                }
                fillings.push(None);
                continue;
            };
            let column = &target.column;
            let (conversion, parts) = resolve(&field, column.column_type).ok_or_else(|| {
                Failure::new(
                    ErrorType::SchemaMismatch,
                    format!(
                        "field `{}` of message `{name}` is {}, which does not fit column `{}` ({})",
                        field.name(),
                        name_of(&field),
                        column.name,
                        column.column_type.name()
                    ),
                )
            })?;
            let is_event_time = target.required == Some(ErrorType::MissingEventTime);
            fillings.push(Some(Filling {
                conversion,
                is_zero_when_absent: !field.supports_presence() && !is_event_time,
            }));
            target_of.insert(field.number(), place);
            parts_of.insert(field.number(), parts);
        }
        let mut small = vec![None; SMALL_NUMBERS];
        let mut large = HashMap::new();
        for field in message.fields() {
            let number = field.number();
            let kind = field.kind();
            let wire = wire_of(&kind, field.is_group());
            let siblings = field.containing_oneof();
            let clears = siblings.iter().flat_map(|oneof| oneof.fields());
            let clears = clears.filter(|sibling| sibling.number() != number);
            let step = Step {
                wire,
                can_be_packed: field.is_list() && !matches!(wire, Wire::Length | Wire::Group),
                is_text: kind == Kind::String,
                target: target_of.get(&number).copied(),
                parts: parts_of.get(&number).copied().flatten(),
                clears: clears
                    .filter_map(|sibling| target_of.get(&sibling.number()).copied())
                    .collect(),
            };
            match small.get_mut(number as usize) {
                Some(place) => *place = Some(step),
                None => drop(large.insert(number, step)),
            }
        }
        Ok(Program {
            message: name.to_owned(),
            small,
            large,
            fillings,
        })
    }

    #[inline]
    fn step(&self, number: u32) -> Option<&Step> {
        match self.small.get(number as usize) {
            Some(step) => step.as_ref(),
            None => self.large.get(&number),
        }
    }

    /// Reads a record into the columns, one row, or says why not; then the columns must be cut back. `slots`
    /// is kept only to keep its memory.
    #[inline]
    pub fn read(
        &self,
        record: &[u8],
        targets: &[Target],
        slots: &mut Vec<Slot>,
        builders: &mut [ColumnBuilder],
    ) -> Result<(), Failure> {
        slots.clear();
        slots.resize(targets.len(), Slot::default());
        self.scan(record, slots)
            .map_err(|fault| self.not_protobuf(fault, record))?;
        for (place, filling) in self.fillings.iter().enumerate() {
            let (slot, target) = (&slots[place], &targets[place]);
            match filling {
                Some(filling) if slot.is_set || filling.is_zero_when_absent => {
                    let builder = &mut builders[place];
                    let appended = filling.conversion.append(slot, record, builder);
                    appended.map_err(|reason| target.mismatch(reason))?;
                    if target.required == Some(ErrorType::MissingEventId)
                        && builder.ends_with_empty_string()
                    {
                        return Err(target.missing("is empty"));
                    }
                }
                _ if target.required.is_some() => return Err(target.missing("is not set")),
                _ => builders[place].append_null(),
            }
        }
        Ok(())
    }

    /// Reads the whole record: whatever its columns, it is malformed wherever the fault stands.
    #[inline]
    fn scan(&self, record: &[u8], slots: &mut [Slot]) -> Result<(), Fault> {
        let mut cursor = Cursor::new(record);
        while !cursor.is_at_end() {
            let start = cursor.at;
            let (number, wire) = match cursor.tag()? {
                Tag::Field(number, wire) => (number, wire),
                Tag::EndOfGroup(_) => {
                    let what = "the end of a group that is not open";
                    return Err(Malformed { at: start, what }.into());
                }
            };
            let Some(step) = self.step(number) else {
                cursor.skip(number, wire)?;
                continue;
            };
            if step.wire != wire {
                if step.can_be_packed && wire == Wire::Length {
                    cursor.skip(number, wire)?;
                    continue;
                }
                let at = Malformed {
                    at: start,
                    what: "another wire type than the schema's",
                };
                return Err(Fault::WireType(at, number, wire, step.wire));
            }
            for &target in &step.clears {
                slots[target] = Slot::default();
            }
            let Some(target) = step.target else {
                match step.is_text {
                    true => drop(cursor.text()?),
                    false => cursor.skip(number, wire)?,
                }
                continue;
            };
            let slot = &mut slots[target];
            slot.is_set = true;
            match step.parts {
                Some(parts) => {
                    let (start, end) = cursor.span()?;
                    merge(cursor.within(start, end), parts, slot)?;
                }
                None => take(&mut cursor, wire, step.is_text, 0, slot)?,
            }
        }
        Ok(())
    }

    #[cold]
    fn not_protobuf(&self, fault: Fault, record: &[u8]) -> Failure {
        let (malformed, more) = match fault {
            Fault::Malformed(malformed) => (malformed, String::new()),
            Fault::WireType(malformed, number, found, expected) => (
                malformed,
                format!(
                    " (field {number} is {}, should be {})",
                    found.name(),
                    expected.name()
                ),
            ),
        };
        Failure::new(
            ErrorType::Malformed,
            format!(
                "not Protobuf of message `{}`: {}{more}, at byte {} of {}",
                self.message,
                malformed.what,
                malformed.at,
                record.len()
            ),
        )
    }
}

/// Reads a scalar into a slot.
#[inline]
fn take(
    cursor: &mut Cursor<'_>,
    wire: Wire,
    is_text: bool,
    place: usize,
    slot: &mut Slot,
) -> Result<(), Malformed> {
    match wire {
        Wire::Varint => slot.numbers[place] = cursor.varint()?,
        Wire::Fixed64 => slot.numbers[place] = cursor.fixed64()?,
        Wire::Fixed32 => slot.numbers[place] = cursor.fixed32()?.into(),
        Wire::Length if is_text => slot.span = cursor.text()?,
        Wire::Length => slot.span = cursor.span()?,
        // No group is a value.
        Wire::Group => return cursor.malformed("a group where a value should be"),
    }
    Ok(())
}

/// Reads a message that is a value into a slot, over what is there.
fn merge(mut message: Cursor<'_>, parts: &[Part], slot: &mut Slot) -> Result<(), Fault> {
    while !message.is_at_end() {
        let start = message.at;
        let (number, wire) = match message.tag()? {
            Tag::Field(number, wire) => (number, wire),
            Tag::EndOfGroup(_) => {
                let what = "the end of a group that is not open";
                return Err(Malformed { at: start, what }.into());
            }
        };
        match parts.iter().find(|part| part.field == number) {
            None => message.skip(number, wire)?,
            Some(part) if part.wire != wire => {
                let what = "another wire type than that of a well-known message";
                return Err(Fault::WireType(
                    Malformed { at: start, what },
                    number,
                    wire,
                    part.wire,
                ));
            }
            Some(part) => take(&mut message, wire, part.is_text, part.place, slot)?,
        }
    }
    Ok(())
}

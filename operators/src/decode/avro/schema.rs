//! A writer's schema as the decoder needs it: types in one list, names resolved, recursion by index.

use apache_avro::Schema;
use apache_avro::schema::Name;
use hashbrown::HashMap;
use serde_json::Value;

use super::parser_input::{FIXED_DURATION, FIXED_UUID, add_definitions, for_parser, full_name};
use crate::decode::schema_text::json_of;
use crate::io::ReferencedSchema;

/// Types that a schema may have, names resolved. Real ones have some hundreds.
const MAX_TYPES: usize = 100_000;

/// The place of a type in [`Types`].
pub(super) type TypeId = usize;

/// A type as it is encoded.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Physical {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Fixed(usize),
    Enum(Vec<String>),
    Union(Vec<TypeId>),
    Record(Vec<(String, TypeId)>),
    Array(TypeId),
    Map(TypeId),
}

/// What a value means beyond its encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Logical {
    None,
    Date,
    TimeMillis,
    TimeMicros,
    TimestampMillis,
    TimestampMicros,
    TimestampNanos,
    LocalTimestampMillis,
    LocalTimestampMicros,
    LocalTimestampNanos,
    Decimal { precision: usize, scale: i32 },
    BigDecimal,
    Uuid,
    Duration,
}

/// A type.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Type {
    pub physical: Physical,
    pub logical: Logical,
}

/// The types of one schema.
#[derive(Clone, Debug)]
pub(super) struct Types {
    types: Vec<Type>,
    /// For each type, whether its values take no bytes.
    empty: Vec<bool>,
    /// The type of the whole record.
    pub root: TypeId,
    /// The record's full name, as it was sent.
    pub name: String,
}

impl Types {
    /// Parses a schema, and those it refers to.
    ///
    /// # Errors
    /// What is wrong with it, for a person.
    pub fn parse(schema: &str, references: &[ReferencedSchema]) -> Result<Types, String> {
        let mut definitions = Vec::new();
        for reference in references {
            add_definitions(json_of(&reference.text)?, &mut definitions);
        }
        let references: Vec<String> = definitions.into_iter().map(for_parser).collect();
        let sent = json_of(schema)?;
        let sent_name = full_name(&sent);
        let (schema, references) = Schema::parse_str_with_list(&for_parser(sent), references)
            .map_err(|e| format!("it is no Avro schema: {e}"))?;
        let mut named = HashMap::new();
        for schema in references.iter().chain([&schema]) {
            collect(schema, &None, &mut named);
        }
        let mut builder = Builder {
            named,
            done: HashMap::new(),
            types: Vec::new(),
        };
        let root = builder.add(&schema, &None)?;
        let name = match &schema {
            Schema::Record(record) => sent_name.unwrap_or_else(|| record.name.fullname(None)),
            other => format!("{:?}", apache_avro::schema::SchemaKind::from(other)),
        };
        Ok(Types {
            empty: empty_types(&builder.types),
            types: builder.types,
            root,
            name,
        })
    }

    #[inline]
    pub fn get(&self, id: TypeId) -> &Type {
        &self.types[id]
    }

    /// Whether values of the type take no bytes at all, so that a count of them says nothing of their size.
    #[inline]
    pub fn takes_no_bytes(&self, id: TypeId) -> bool {
        self.empty[id]
    }
}

/// The types whose values take no bytes. A record that holds itself never comes to be one: it has no
/// values at all.
fn empty_types(types: &[Type]) -> Vec<bool> {
    let mut empty = vec![false; types.len()];
    loop {
        let mut more = false;
        for (id, found) in types.iter().enumerate() {
            let is_empty = match &found.physical {
                Physical::Null | Physical::Fixed(0) => true,
                Physical::Record(fields) => fields.iter().all(|(_, field)| empty[*field]),
                _ => false,
            };
            more |= is_empty && !std::mem::replace(&mut empty[id], is_empty);
        }
        if !more {
            return empty;
        }
    }
}
/// The namespace that a named type's parts are in.
fn namespace_of(name: &Name, enclosing: &Option<String>) -> Option<String> {
    name.namespace.clone().or_else(|| enclosing.clone())
}

/// Finds every named type, whatever refers to it.
fn collect<'s>(
    schema: &'s Schema,
    enclosing: &Option<String>,
    named: &mut HashMap<String, (&'s Schema, Option<String>)>,
) {
    let mut register = |name: &Name, schema: &'s Schema| {
        let full = name.fully_qualified_name(enclosing).fullname(None);
        named.entry(full).or_insert((schema, enclosing.clone()));
    };
    match schema {
        Schema::Record(record) => {
            register(&record.name, schema);
            let within = namespace_of(&record.name, enclosing);
            for field in &record.fields {
                collect(&field.schema, &within, named);
            }
        }
        Schema::Enum(inner) => register(&inner.name, schema),
        Schema::Fixed(inner) => register(&inner.name, schema),
        Schema::Decimal(decimal) => {
            if let Schema::Fixed(inner) = decimal.inner.as_ref() {
                register(&inner.name, schema);
            }
        }
        Schema::Array(array) => collect(&array.items, enclosing, named),
        Schema::Map(map) => collect(&map.types, enclosing, named),
        Schema::Union(union) => {
            for branch in union.variants() {
                collect(branch, enclosing, named);
            }
        }
        _ => {}
    }
}

struct Builder<'s> {
    named: HashMap<String, (&'s Schema, Option<String>)>,
    /// Named types that have a place, perhaps not filled in yet.
    done: HashMap<String, TypeId>,
    types: Vec<Type>,
}

impl<'s> Builder<'s> {
    fn push(&mut self, physical: Physical, logical: Logical) -> Result<TypeId, String> {
        if self.types.len() >= MAX_TYPES {
            return Err(format!("it has more than {MAX_TYPES} types"));
        }
        self.types.push(Type { physical, logical });
        Ok(self.types.len() - 1)
    }

    fn add(&mut self, schema: &'s Schema, enclosing: &Option<String>) -> Result<TypeId, String> {
        use Logical as L;
        use Physical as P;
        let plain = |physical| (physical, L::None);
        let (physical, logical) = match schema {
            Schema::Null => plain(P::Null),
            Schema::Boolean => plain(P::Boolean),
            Schema::Int => plain(P::Int),
            Schema::Long => plain(P::Long),
            Schema::Float => plain(P::Float),
            Schema::Double => plain(P::Double),
            Schema::Bytes => plain(P::Bytes),
            Schema::String => plain(P::String),
            Schema::BigDecimal => (P::Bytes, L::BigDecimal),
            Schema::Uuid => (P::String, L::Uuid),
            Schema::Date => (P::Int, L::Date),
            Schema::TimeMillis => (P::Int, L::TimeMillis),
            Schema::TimeMicros => (P::Long, L::TimeMicros),
            Schema::TimestampMillis => (P::Long, L::TimestampMillis),
            Schema::TimestampMicros => (P::Long, L::TimestampMicros),
            Schema::TimestampNanos => (P::Long, L::TimestampNanos),
            Schema::LocalTimestampMillis => (P::Long, L::LocalTimestampMillis),
            Schema::LocalTimestampMicros => (P::Long, L::LocalTimestampMicros),
            Schema::LocalTimestampNanos => (P::Long, L::LocalTimestampNanos),
            // 12 bytes, by the specification.
            Schema::Duration => (P::Fixed(12), L::Duration),
            Schema::Ref { name } => return self.add_named(name, enclosing),
            Schema::Fixed(fixed) => {
                let passed_as = fixed.attributes.get("logicalType").and_then(Value::as_str);
                let logical = match (fixed.size, passed_as) {
                    (16, Some(FIXED_UUID)) => L::Uuid,
                    (12, Some(FIXED_DURATION)) => L::Duration,
                    _ => L::None,
                };
                (P::Fixed(fixed.size), logical)
            }
            Schema::Enum(inner) => plain(P::Enum(inner.symbols.clone())),
            Schema::Decimal(decimal) => {
                let scale = i32::try_from(decimal.scale)
                    .map_err(|_| format!("a decimal has scale {}", decimal.scale))?;
                let physical = match decimal.inner.as_ref() {
                    Schema::Fixed(fixed) => P::Fixed(fixed.size),
                    _ => P::Bytes,
                };
                let precision = decimal.precision;
                (physical, L::Decimal { precision, scale })
            }
            Schema::Array(array) => plain(P::Array(self.add(&array.items, enclosing)?)),
            Schema::Map(map) => plain(P::Map(self.add(&map.types, enclosing)?)),
            Schema::Union(union) => {
                let branches = union.variants().iter();
                let branches = branches.map(|branch| self.add(branch, enclosing));
                plain(P::Union(branches.collect::<Result<_, _>>()?))
            }
            Schema::Record(record) => {
                let full = record.name.fully_qualified_name(enclosing).fullname(None);
                if let Some(&id) = self.done.get(&full) {
                    return Ok(id);
                }
                let id = self.push(P::Null, L::None)?;
                self.done.insert(full, id);
                let within = namespace_of(&record.name, enclosing);
                let mut fields = Vec::with_capacity(record.fields.len());
                for field in &record.fields {
                    fields.push((field.name.clone(), self.add(&field.schema, &within)?));
                }
                self.types[id].physical = P::Record(fields);
                return Ok(id);
            }
        };
        self.push(physical, logical)
    }

    fn add_named(&mut self, name: &Name, enclosing: &Option<String>) -> Result<TypeId, String> {
        let full = name.fully_qualified_name(enclosing).fullname(None);
        if let Some(&id) = self.done.get(&full) {
            return Ok(id);
        }
        let Some((schema, namespace)) = self.named.get(&full).cloned() else {
            return Err(format!("it refers to `{full}`, which is not defined"));
        };
        if let Schema::Ref { .. } = schema {
            return Err(format!("`{full}` refers to itself"));
        }
        let id = self.add(schema, &namespace)?;
        self.done.insert(full, id);
        Ok(id)
    }
}

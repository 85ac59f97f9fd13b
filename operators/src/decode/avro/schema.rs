//! A writer's schema as the decoder needs it: types in one list, names resolved, recursion by index.
//!
//! apache-avro (0.21) parses the JSON. It gets it without what it makes too much of:
//!
//! | in the JSON | is | because |
//! |---|---|---|
//! | a `fixed` that is a `uuid` or a `duration` | another logical type | it would take the one for text with a length in front, losing the frame, and the other for 12 bytes however many there are; and it forgets their names |
//! | `logicalType` of a record, an enum, an array or a map | left out | there is none of them, and it would take their `type` for a name |
//! | `default` | left out | only a reader's schema is asked for it, and it refuses those that do not fit, among them the bytes of a decimal as Avro writes them |
//! | `aliases` | left out | only a reader's schema is asked for them, and it panics at one that is no name |
//! | a schema that others refer to | the records, enums and fixed that it is: itself, or the branches of its union | it panics where another refers to a primitive that has a name, or to a type by the name of what it is wrapped in |
//! | a name or namespace with other characters than a name may have (`my-company.events`) | spelled with those | it refuses the namespace, and panics at the name. Its validators could be others, but they are set once for the process, and iceberg may parse a manifest's schema before |

use apache_avro::Schema;
use apache_avro::schema::Name;
use hashbrown::HashMap;
use serde_json::{Map, Value};

use crate::io::ReferencedSchema;

/// Types that a schema may have, names resolved. Real ones have some hundreds.
const MAX_TYPES: usize = 100_000;

/// A logical type under which a `fixed` of a UUID passes through apache-avro unharmed.
const FIXED_UUID: &str = "strandline-uuid";

/// The same of a duration.
const FIXED_DURATION: &str = "strandline-duration";

/// The types that no logical type is of.
const UNLIKE_LOGICAL: [&str; 4] = ["record", "enum", "array", "map"];

/// What only a reader's schema is asked for, of a type or of a field.
const FOR_READERS: [&str; 2] = ["default", "aliases"];

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

fn json_of(schema: &str) -> Result<Value, String> {
    serde_json::from_str(schema).map_err(|e| format!("it is not JSON: {e}"))
}

/// The full name that a schema gives itself.
fn full_name(schema: &Value) -> Option<String> {
    let text = |key: &str| schema.get(key).and_then(Value::as_str);
    let name = text("name")?;
    Some(match text("namespace") {
        Some(namespace) if !namespace.is_empty() && !name.contains('.') => {
            format!("{namespace}.{name}")
        }
        _ => name.to_owned(),
    })
}

/// Adds what a schema defines for those that refer to it. What is nothing of the kind defines no name: who refers to it
/// all the same refers to nothing.
fn add_definitions(schema: Value, found: &mut Vec<Value>) {
    match schema {
        Value::Array(branches) => {
            for branch in branches {
                add_definitions(branch, found);
            }
        }
        Value::Object(mut object) => {
            // Without it apache-avro looks for a type that is called `record`.
            let part = match object.get("type").and_then(Value::as_str) {
                Some("record") => Some("fields"),
                Some("enum") => Some("symbols"),
                Some("fixed") => Some("size"),
                _ => None,
            };
            if part.is_some_and(|part| object.contains_key(part)) {
                found.push(Value::Object(object));
            } else if let Some(wrapped) = object.get_mut("type") {
                add_definitions(wrapped.take(), found);
            }
        }
        _ => {}
    }
}

/// The text of a schema as apache-avro gets it.
fn for_parser(mut schema: Value) -> String {
    prepare_type(&mut schema);
    schema.to_string()
}

/// Makes a type, and those within it, what apache-avro can take.
fn prepare_type(schema: &mut Value) {
    match schema {
        // The name of a type; those of Avro's own stay as they are.
        Value::String(name) => *name = legal_name(name),
        Value::Array(branches) => branches.iter_mut().for_each(prepare_type),
        Value::Object(object) => {
            if let Some(Value::String(name)) = object.get_mut("name") {
                *name = legal_name(name);
            }
            prepare_parts(object);
        }
        _ => {}
    }
}

/// The same of what types and fields have in common. The name of a field stays: columns are found by it.
fn prepare_parts(object: &mut Map<String, Value>) {
    for key in FOR_READERS {
        object.remove(key);
    }
    let word = |key: &str| object.get(key).and_then(Value::as_str);
    match (word("type"), word("logicalType")) {
        (Some("fixed"), Some("uuid")) => {
            object.insert("logicalType".to_owned(), Value::from(FIXED_UUID));
        }
        (Some("fixed"), Some("duration")) => {
            object.insert("logicalType".to_owned(), Value::from(FIXED_DURATION));
        }
        (Some(kind), Some(_)) if UNLIKE_LOGICAL.contains(&kind) => {
            object.remove("logicalType");
        }
        _ => {}
    }
    // An empty one stays: it says that there is none.
    if let Some(Value::String(namespace)) = object.get_mut("namespace")
        && !namespace.is_empty()
    {
        *namespace = legal_parts(namespace);
    }
    for part in ["type", "items", "values"] {
        if let Some(part) = object.get_mut(part) {
            prepare_type(part);
        }
    }
    if let Some(Value::Array(fields)) = object.get_mut("fields") {
        for field in fields.iter_mut().filter_map(Value::as_object_mut) {
            prepare_parts(field);
        }
    }
}

/// A name, perhaps with a namespace in front, of characters that Avro's names may have; one that has no others is
/// itself.
fn legal_name(name: &str) -> String {
    match name.strip_prefix('.') {
        // In no namespace, whatever the one around it.
        Some(simple) if !simple.contains('.') => format!(".{}", legal_part(simple)),
        _ => legal_parts(name),
    }
}

fn legal_parts(name: &str) -> String {
    let parts: Vec<String> = name.split('.').map(legal_part).collect();
    parts.join(".")
}

/// What is between two dots. Other characters are spelled by their numbers, so that two names stay two.
fn legal_part(part: &str) -> String {
    if part.is_empty() {
        return "_".to_owned();
    }
    let mut legal = String::with_capacity(part.len());
    for (place, character) in part.chars().enumerate() {
        match character {
            '_' | 'a'..='z' | 'A'..='Z' => legal.push(character),
            '0'..='9' if place > 0 => legal.push(character),
            other => legal.push_str(&format!("_x{:x}_", u32::from(other))),
        }
    }
    legal
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_resolved_and_recursion_is_an_index() {
        let types = Types::parse(
            r#"{"type":"record","name":"a.Node","fields":[
                {"name":"id","type":{"type":"fixed","name":"Id","size":16,"logicalType":"uuid"}},
                {"name":"other","type":"Id"},
                {"name":"next","type":["null","Node"]}]}"#,
            &[],
        )
        .expect("a schema");
        let Physical::Record(fields) = &types.get(types.root).physical else {
            panic!("a record");
        };
        assert_eq!(types.get(fields[0].1).logical, Logical::Uuid);
        assert_eq!(types.get(fields[1].1).physical, Physical::Fixed(16));
        let Physical::Union(branches) = &types.get(fields[2].1).physical else {
            panic!("a union");
        };
        assert_eq!(branches[1], types.root);
        assert_eq!(types.name, "a.Node");
    }

    #[test]
    fn a_schema_may_refer_to_others() {
        let money = ReferencedSchema {
            name: "shop.Money".to_owned(),
            text: r#"{"type":"record","name":"shop.Money","fields":[{"name":"amount","type":"long"}]}"#.to_owned(),
        };
        let order = r#"{"type":"record","name":"shop.Order","fields":[{"name":"total","type":"shop.Money"}]}"#;
        let types = Types::parse(order, &[money]).expect("a schema");
        let Physical::Record(fields) = &types.get(types.root).physical else {
            panic!("a record");
        };
        let total = &types.get(fields[0].1).physical;
        assert!(matches!(total, Physical::Record(fields) if fields[0].0 == "amount"));
        assert!(Types::parse(order, &[]).is_err());
    }

    /// The type of the field `id` of a record in the namespace `shop`, whose schema refers to these. So do others that it
    /// refers to: which of them apache-avro parses first is left to chance.
    fn referred(references: &[&str]) -> Result<Physical, String> {
        let other = |place: usize| {
            format!(
                r#"{{"type":"record","name":"shop.Other{place}","fields":[{{"name":"id","type":"Id"}}]}}"#
            )
        };
        let others = (0..16).map(other);
        let references = references.iter().map(|text| (*text).to_owned());
        let references: Vec<ReferencedSchema> = references
            .chain(others)
            .map(|text| ReferencedSchema {
                name: "shop.Any".to_owned(),
                text,
            })
            .collect();
        let schema = r#"{"type":"record","name":"E","namespace":"shop","fields":[{"name":"id","type":"Id"}]}"#;
        let types = Types::parse(schema, &references)?;
        let Physical::Record(fields) = &types.get(types.root).physical else {
            panic!("a record");
        };
        Ok(types.get(fields[0].1).physical.clone())
    }

    /// apache-avro panics at most of these.
    #[test]
    fn a_reference_to_what_defines_no_type_is_one_to_nothing() {
        let called_record = r#"{"type":"record","name":"record","fields":[]}"#;
        for no_type in [
            r#"{"type":"string","name":"shop.Id"}"#,
            r#"{"type":"string","name":"Id","namespace":"shop"}"#,
            r#"{"type":"long","logicalType":"timestamp-millis","name":"shop.Id"}"#,
            r#"{"type":["null","string"],"name":"shop.Id"}"#,
            r#"{"type":"array","items":"string","name":"shop.Id"}"#,
            r#"{"type":{"type":"string","name":"Id"},"name":"Other","namespace":"shop"}"#,
            r#"{"type":{"type":"string","name":"shop.Id"},"name":"Id"}"#,
            r#"{"type":"record","name":"shop.Id"}"#,
            r#"{"type":"record","name":"shop.Id","logicalType":"date"}"#,
            r#"{"name":"shop.Id"}"#,
            r#""string""#,
            "[]",
            "7",
        ] {
            for references in [&[no_type][..], &[no_type, called_record]] {
                let why = referred(references).expect_err("nothing is called `Id`");
                assert!(why.contains("shop.Id"), "{no_type}: {why}");
            }
        }
    }

    #[test]
    fn a_reference_may_be_wrapped_or_a_branch_and_one_that_is_no_type_harms_nobody() {
        let three = Ok(Physical::Fixed(3));
        for defined in [
            r#"{"type":"fixed","name":"shop.Id","size":3}"#,
            r#"{"type":{"type":"fixed","name":"shop.Id","size":3},"name":"Other","namespace":"x"}"#,
            r#"["null",{"type":"fixed","name":"Id","namespace":"shop","size":3}]"#,
        ] {
            assert_eq!(referred(&[defined]), three, "{defined}");
            let others = [r#""string""#, r#"{"type":"string","name":"x"}"#, defined];
            assert_eq!(referred(&others), three, "{defined}");
        }
        // Of these no logical type is known, so that it means nothing.
        let called_record = r#"{"type":"record","name":"record","fields":[]}"#;
        let level = r#"{"type":"enum","name":"shop.Id","symbols":["LOW"],"logicalType":"date"}"#;
        let low = Ok(Physical::Enum(vec!["LOW".to_owned()]));
        assert_eq!(referred(&[called_record, level]), low);
    }

    #[test]
    fn a_duration_has_twelve_bytes_and_its_name_may_be_referred_to() {
        let fields = |size: usize| {
            let types = Types::parse(
                &format!(
                    r#"{{"type":"record","name":"E","fields":[
                        {{"name":"a","type":{{"type":"fixed","name":"D","size":{size},"logicalType":"duration"}}}},
                        {{"name":"b","type":"D"}}]}}"#
                ),
                &[],
            )
            .expect("a schema");
            let Physical::Record(fields) = &types.get(types.root).physical else {
                panic!("a record");
            };
            [0, 1].map(|place: usize| types.get(fields[place].1).clone())
        };
        for (size, logical) in [(12, Logical::Duration), (8, Logical::None)] {
            let physical = Physical::Fixed(size);
            let expected = Type { physical, logical };
            assert_eq!(fields(size), [expected.clone(), expected], "{size} bytes");
        }
    }

    #[test]
    fn what_takes_no_bytes_is_known() {
        let types = Types::parse(
            r#"{"type":"array","items":{"type":"record","name":"E","fields":[{"name":"n","type":"null"}]}}"#,
            &[],
        )
        .expect("a schema");
        let Physical::Array(items) = types.get(types.root).physical else {
            panic!("an array");
        };
        assert!(types.takes_no_bytes(items) && !types.takes_no_bytes(types.root));
    }

    #[test]
    fn names_with_other_characters_are_resolved_and_shown_as_they_were_sent() {
        let item = ReferencedSchema {
            name: "item".to_owned(),
            text: r#"{"type":"fixed","name":"my-company.2024.Item-Id","size":3}"#.to_owned(),
        };
        let types = Types::parse(
            r#"{"type":"record","name":"Event","namespace":"my-company.events","aliases":["old-event"],"fields":[
                {"name":"level","type":{"type":"enum","name":"Level","aliases":["a b"],"symbols":["LOW","HIGH"]}},
                {"name":"before","type":["null","my-company.events.Level"],"default":null},
                {"name":"items","type":{"type":"array","items":"my-company.2024.Item-Id"}},
                {"name":"other","type":{"type":"fixed","name":"Level","namespace":"my_company.events","size":5}},
                {"name":"next","type":["null","Event"]}]}"#,
            &[item],
        )
        .expect("a schema");
        assert_eq!(types.name, "my-company.events.Event");
        let Physical::Record(fields) = &types.get(types.root).physical else {
            panic!("a record");
        };
        let of = |place: usize| &types.get(fields[place].1).physical;
        let symbols = Physical::Enum(vec!["LOW".to_owned(), "HIGH".to_owned()]);
        assert_eq!(*of(0), symbols);
        let Physical::Union(before) = of(1) else {
            panic!("a union");
        };
        assert_eq!(types.get(before[1]).physical, symbols);
        let Physical::Array(item) = of(2) else {
            panic!("an array");
        };
        assert_eq!(types.get(*item).physical, Physical::Fixed(3));
        assert_eq!(*of(3), Physical::Fixed(5), "two namespaces stay two");
        let Physical::Union(next) = of(4) else {
            panic!("a union");
        };
        assert_eq!(next[1], types.root);
    }

    #[test]
    fn a_field_of_the_name_of_a_key_that_is_left_out_stays() {
        let types = Types::parse(
            r#"{"type":"record","name":"E","fields":[
                {"name":"default","type":"int","default":"none"},
                {"name":"aliases","type":"long","aliases":["default"]}]}"#,
            &[],
        )
        .expect("a schema");
        let Physical::Record(fields) = &types.get(types.root).physical else {
            panic!("a record");
        };
        let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["default", "aliases"]);
    }

    proptest! {
        /// apache-avro panics at a name that it does not like.
        #[test]
        fn no_name_and_no_namespace_makes_a_schema_unusable(
            name in "[.a-z0-9 \\-]{0,6}|.{0,6}", namespace in "[.a-z0-9 \\-]{0,6}|.{0,6}"
        ) {
            // Avro's own types have no capital letter.
            let name = format!("{name}X");
            let schema = serde_json::json!({
                "type": "record",
                "name": &name,
                "namespace": &namespace,
                "aliases": [&namespace],
                "fields": [{"name": "next", "type": ["null", &name]}],
            });
            let types = Types::parse(&schema.to_string(), &[]).map_err(TestCaseError::fail)?;
            let Physical::Record(fields) = &types.get(types.root).physical else {
                panic!("a record");
            };
            let Physical::Union(next) = &types.get(fields[0].1).physical else {
                panic!("a union");
            };
            prop_assert_eq!(next[1], types.root);
        }
    }
}

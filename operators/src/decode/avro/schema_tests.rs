//! Schemas as the decoder needs them, of texts that apache-avro would make too much of.
use proptest::prelude::*;

use super::schema::{Logical, Physical, Type, Types};
use crate::io::ReferencedSchema;

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
        text: r#"{"type":"record","name":"shop.Money","fields":[{"name":"amount","type":"long"}]}"#
            .to_owned(),
    };
    let order =
        r#"{"type":"record","name":"shop.Order","fields":[{"name":"total","type":"shop.Money"}]}"#;
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
    let schema =
        r#"{"type":"record","name":"E","namespace":"shop","fields":[{"name":"id","type":"Id"}]}"#;
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

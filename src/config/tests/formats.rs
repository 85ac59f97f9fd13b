//! `format`: a word for all topics, or a map of each topic to its own.

use super::*;

const TWO: &str = "\
jobs:
  orders:
    topics: [orders.v1, orders.v2]
    format:
      orders.v2: avro_sr
      orders.v1: json
";

#[test]
fn a_map_says_the_format_of_each_topic_and_where_it_does() {
    let draft = load(TWO).expect("loads");
    let orders = draft.engine.job("orders").expect("is there");
    assert_eq!(
        (orders.format_of("orders.v1"), orders.format_of("orders.v2")),
        (Format::Json, Format::AvroSr)
    );
    assert_eq!(
        origin_of(&draft, "jobs.orders.format.orders.v2"),
        "a.yaml:5"
    );
    let shown = draft.to_yaml();
    for line in ["    format:\n", "      orders.v2: avro_sr  "] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    assert_eq!(
        draft.to_json()["config"]["jobs"]["orders"]["format"],
        serde_json::json!({ "orders.v1": "json", "orders.v2": "avro_sr" })
    );
    let again = load(&shown).expect("reads back");
    assert_eq!(again.engine.jobs, draft.engine.jobs);
}

#[test]
fn a_format_may_be_left_open_for_some_topics() {
    let orders = orders_with(&["topics=[a, b]", "format={a: auto, b: csv}"]);
    assert!(orders.leaves_format_open());
    assert_eq!(
        (orders.format_of("a"), orders.format_of("b")),
        (Format::Auto, Format::Csv)
    );
    // A word of the command line is for all, whatever map the file has.
    let draft = load_with(TWO, &["format=csv"], Some("orders")).expect("loads");
    let orders = draft.engine.job("orders").expect("is there");
    assert_eq!(orders.all_formats(), [Format::Csv]);
}

#[test]
fn a_map_must_be_of_the_topics_that_the_job_reads() {
    let error = error_of(&TWO.replace("orders.v1: json", "orders.v3: json"));
    for part in [
        "`jobs.orders.format` says nothing of topic `orders.v1`\n  hint: add `orders.v1: auto` to have it recognised",
        "`jobs.orders.format` speaks of topic `orders.v3`, which the job does not read\n  hint: did you mean \
         `orders.v1`?\n  (a.yaml:6:18)",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    // Without topics in the file they are those of the code.
    let error = error_of("jobs: { orders: { format: { payments: json } } }");
    assert!(error.contains("says nothing of topic `orders`"), "{error}");
    assert!(
        error.contains("hint: the topics that it reads: `orders`"),
        "{error}"
    );
}

#[test]
fn a_format_that_is_none_is_said_of_its_topic() {
    let error = error_of(&TWO.replace("avro_sr", "avro-sr").replace("json", "xml"));
    for part in [
        "`jobs.orders.format.orders.v2` cannot be `avro-sr`",
        "`jobs.orders.format.orders.v1` cannot be `xml`",
        "it must be one of `auto`, `json`, ",
        "(a.yaml:5:18)",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    // What cannot be read is not missing besides.
    assert!(!error.contains("says nothing of"), "{error}");
    let error = error_of("jobs: { orders: { format: [json] } }");
    assert!(
        error.contains("or a map of topics such as `{ orders: json }`"),
        "{error}"
    );
}

#[test]
fn the_schema_has_both_forms() {
    let schema = json_schema_for(&["orders"]);
    let of_job = &schema["properties"]["jobs"]["properties"]["orders"];
    let of_job = match of_job["$ref"].as_str() {
        Some(reference) => schema
            .pointer(reference.trim_start_matches('#'))
            .expect("a definition"),
        None => of_job,
    };
    let forms = of_job["properties"]["format"]["anyOf"]
        .as_array()
        .expect("two forms");
    assert_eq!(forms.len(), 2);
    let is_one_word = |form: &serde_json::Value| {
        let words = form["anyOf"][0]["enum"].as_array();
        words.is_some_and(|words| words.iter().any(|word| word == "avro_sr"))
    };
    assert!(is_one_word(&forms[0]), "{forms:?}");
    assert_eq!(forms[1]["type"], "object");
    assert!(is_one_word(&forms[1]["additionalProperties"]), "{forms:?}");
}

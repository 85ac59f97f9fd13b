//! What is in force, as it is shown.

use super::*;

#[test]
fn secrets_are_masked_wherever_settings_are_shown() {
    let yaml = "\
kafka:
  bootstrap_servers: localhost:9092
  properties: { sasl.password: '${env:PASSWORD}', ssl.key.password: hunter2, sasl.username: me }
schema_registry: { url: 'http://u:hunter2@localhost:8081', username: me, password: hunter2 }
catalog:
  type: rest
  uri: http://localhost:8181
  properties: { token: hunter2, s3.secret-access-key: hunter2, credential: hunter2, region: eu }
";
    let draft = load(yaml).expect("loads");
    for shown in [
        draft.to_yaml(),
        draft.to_json().to_string(),
        format!("{draft:?}"),
    ] {
        assert!(
            shown.contains(MASK) && !shown.contains("hunter2"),
            "{shown}"
        );
    }
    assert_eq!(
        draft.kafka.expect("is there").properties["sasl.password"],
        "hunter2"
    );
}

#[test]
fn what_is_shown_reads_back_as_the_same_settings() {
    let yaml = format!(
        "{KAFKA_AND_CATALOG}http: off\njobs: {{ orders: {{ dedup: off, topics: [a, b], starting_offsets: {{ explicit: {{ a: {{ 0: 17 }} }} }} }} }}\n"
    );
    let draft = load(&yaml).expect("loads");
    let again = load(&draft.to_yaml()).expect("reads back");
    assert_eq!(again.engine.jobs, draft.engine.jobs);
    assert_eq!(again.engine.http, draft.engine.http);
    assert_eq!(
        again.catalog.expect("is there").uri,
        draft.catalog.expect("is there").uri
    );
}

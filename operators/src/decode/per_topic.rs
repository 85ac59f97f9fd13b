//! Topics of different formats in one job: each batch is decoded as its topic's format says.
//!
//! A batch is of one partition, so of one topic. Topics of one format share a decoder, and with it what is known of
//! schemas. What the registry says is told to all decoders: an id is asked for once, whichever topics wait for it.

use std::collections::BTreeMap;

use super::{Decode, Decoded, SchemaIds};
use crate::error::{Error, Result};
use crate::io::SchemaAnswer;
use crate::job::{Format, JobSettings};
use crate::record::RawBatch;

/// A decoder of each format that a job's topics have.
pub(super) struct PerTopicDecoder {
    /// That of [`JobSettings::format`] first.
    decoders: Vec<Box<dyn Decode>>,
    /// For the topics of another format, the place of its decoder.
    places: BTreeMap<String, usize>,
}

impl PerTopicDecoder {
    /// For the topics of these settings; `make` makes the decoder of settings that have one format.
    ///
    /// # Errors
    /// Configuration: formats that do not go together. Those of `make`.
    pub fn new(
        settings: &JobSettings,
        make: impl Fn(&JobSettings) -> Result<Box<dyn Decode>>,
    ) -> Result<PerTopicDecoder> {
        check(settings)?;
        let formats = settings.all_formats();
        let decoders = formats.iter().map(|format| {
            make(&JobSettings {
                format: *format,
                formats: BTreeMap::new(),
                ..settings.clone()
            })
        });
        let decoders = decoders.collect::<Result<Vec<_>>>()?;
        let place = |(topic, format): (&String, &Format)| {
            let place = formats.iter().position(|other| other == format)?;
            Some((topic.clone(), place))
        };
        Ok(PerTopicDecoder {
            decoders,
            places: settings.formats.iter().filter_map(place).collect(),
        })
    }

    fn place_of(&self, batch: &RawBatch) -> usize {
        self.places.get(&*batch.source.topic).copied().unwrap_or(0)
    }
}

/// Whether the formats of the topics go together.
fn check(settings: &JobSettings) -> Result<()> {
    let have = || {
        let by_topic = settings.formats_by_topic();
        let each = by_topic
            .iter()
            .map(|(topic, format)| format!("`{topic}` is `{}`", format.name()));
        each.collect::<Vec<_>>().join(", ")
    };
    if settings.all_formats().contains(&Format::Raw) {
        return Err(Error::configuration(format!(
            "the topics have different formats ({}), and `raw` is the format of all topics or of none: its rows are bytes",
            have()
        ))
        .hint("make a job of the topics that are kept as they are, with a table of its own"));
    }
    if settings.adds_columns() {
        return Err(Error::configuration(format!(
            "the topics have different formats ({}), and with `schema_evolution: add_columns` they must have one, whose \
             schemas the columns follow",
            have()
        ))
        .hint(format!(
            "set `jobs.{}.schema_evolution: off`, or make a job of each format",
            settings.name
        )));
    }
    Ok(())
}

impl Decode for PerTopicDecoder {
    fn decode(&mut self, batch: &RawBatch) -> Decoded {
        let place = self.place_of(batch);
        self.decoders[place].decode(batch)
    }

    fn missing_schemas(&self, batch: &RawBatch, missing: &mut SchemaIds) {
        self.decoders[self.place_of(batch)].missing_schemas(batch, missing);
    }

    fn learn(&mut self, id: u32, answer: &SchemaAnswer) {
        for decoder in &mut self.decoders {
            decoder.learn(id, answer);
        }
    }

    fn forget(&mut self, id: u32) {
        for decoder in &mut self.decoders {
            decoder.forget(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::cast::AsArray;

    use super::super::decoder;
    use super::super::testing::raw_batch;
    use super::*;
    use crate::io::{RegisteredSchema, SchemaKind};
    use crate::job::{Job, SchemaEvolution};
    use crate::record::{ErrorType, TopicPartition};
    use crate::schema::{Column, ColumnType};

    const AVRO: &str = r#"{"type":"record","name":"E","fields":[{"name":"event_id","type":"string"},
        {"name":"event_time","type":{"type":"long","logicalType":"timestamp-micros"}}]}"#;

    const COLUMNS: &[Column] = &[
        Column::required("event_id", ColumnType::String),
        Column::required("event_time", ColumnType::Timestamptz),
    ];

    /// Of topics that the alphabet orders otherwise than the list: neither may decide which decoder is whose.
    fn settings(formats: &[(&str, Format)]) -> JobSettings {
        let mut settings = Job {
            name: "orders",
            topics: &["v1", "v2", "v3", "a"],
            columns: COLUMNS,
            ..Job::BRONZE
        }
        .settings();
        let owned = |&(topic, format): &(&str, Format)| (topic.to_owned(), format);
        settings.set_formats(&formats.iter().map(owned).collect());
        settings
    }

    fn mixed() -> JobSettings {
        settings(&[
            ("v1", Format::Json),
            ("v2", Format::AvroSr),
            ("v3", Format::JsonSr),
            ("a", Format::AvroSr),
        ])
    }

    fn batch(topic: &str, values: &[&[u8]]) -> RawBatch {
        let values: Vec<Option<&[u8]>> = values.iter().copied().map(Some).collect();
        RawBatch {
            source: TopicPartition::new(topic, 0),
            ..raw_batch(&values)
        }
    }

    /// An event of this id, of one character, as JSON and behind a header as Avro.
    fn json(id: char) -> Vec<u8> {
        format!(r#"{{"event_id":"{id}","event_time":1}}"#).into_bytes()
    }

    fn avro(id: char) -> Vec<u8> {
        [&[0, 0, 0, 0, 7, 2][..], &[id as u8, 2]].concat()
    }

    fn known() -> SchemaAnswer {
        SchemaAnswer::Known(Arc::new(RegisteredSchema {
            kind: SchemaKind::Avro,
            text: AVRO.to_owned(),
            references: Vec::new(),
        }))
    }

    fn missing(decoder: &dyn Decode, topic: &str, value: &[u8]) -> Vec<u32> {
        let mut missing = SchemaIds::new();
        decoder.missing_schemas(&batch(topic, &[value]), &mut missing);
        missing.into_iter().collect()
    }

    /// What lands of a batch, and why the rest does not.
    fn fates(decoded: &Decoded) -> (Vec<String>, Vec<ErrorType>) {
        let ids = decoded.columns.column(0).as_string::<i32>();
        (
            ids.iter().flatten().map(str::to_owned).collect(),
            decoded.failures.iter().map(|f| f.error_type).collect(),
        )
    }

    #[test]
    fn each_batch_is_decoded_as_its_topics_format_says() {
        let mut decoder = decoder(&mixed(), true).expect("a decoder");
        decoder.learn(7, &known());
        for (topic, first, second) in [("v1", 'k', 'l'), ("v2", 'm', 'n'), ("v1", 'o', 'p')] {
            let of_json = [json(first), avro(second)];
            let of_avro = [avro(first), json(second)];
            let values = if topic == "v1" { of_json } else { of_avro };
            let decoded = decoder.decode(&batch(topic, &[&values[0], &values[1]]));
            assert_eq!(
                fates(&decoded),
                (vec![first.to_string()], vec![ErrorType::Malformed]),
                "{topic}: {:?}",
                decoded.failures
            );
            assert_eq!((decoded.rows, decoded.dropped), (vec![0], 0));
        }
        let decoded = decoder.decode(&batch("a", &[&avro('q')]));
        assert_eq!(fates(&decoded), (vec!["q".to_owned()], vec![]));
        let framed = [&[0, 0, 0, 0, 7][..], &json('r')].concat();
        let decoded = decoder.decode(&batch("v3", &[&framed]));
        assert_eq!(fates(&decoded), (vec!["r".to_owned()], vec![]));
    }

    #[test]
    fn a_schema_is_missed_by_topics_that_need_it_and_learned_once_for_all_of_them() {
        let mut decoder = decoder(&mixed(), true).expect("a decoder");
        let record = avro('k');
        let missed = |decoder: &dyn Decode| {
            ["v1", "v2", "v3", "a"].map(|topic| missing(decoder, topic, &record))
        };
        let by_all_with_a_header: [Vec<u32>; 4] = [vec![], vec![7], vec![7], vec![7]];
        assert_eq!(missed(&*decoder), by_all_with_a_header);
        decoder.learn(7, &known());
        assert!(missed(&*decoder).iter().all(Vec::is_empty));
        decoder.forget(7);
        assert_eq!(missed(&*decoder), by_all_with_a_header);
    }

    #[test]
    fn formats_that_do_not_go_together_are_refused_with_the_next_step() {
        let refused = |settings: &JobSettings, has_registry, parts: &[&str]| {
            let error = decoder(settings, has_registry).err().expect("an error");
            assert_eq!(error.kind().exit_code(), 2);
            let text = error.to_string();
            for part in parts {
                assert!(text.contains(part), "{part}: {text}");
            }
        };
        let raw = settings(&[("v3", Format::Raw)]);
        refused(&raw, true, &["`v3` is `raw`", "hint: make a job of"]);
        let mut growing = mixed();
        growing.schema_evolution = SchemaEvolution::AddColumns;
        let parts = ["`v2` is `avro_sr`", "`jobs.orders.schema_evolution: off`"];
        refused(&growing, true, &parts);
        // The format that lacks something is named, not that of the first topic.
        let parts = ["format `avro_sr` needs a schema registry"];
        refused(&mixed(), false, &parts);
    }
}

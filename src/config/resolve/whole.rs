//! What no setting of a job can see alone: columns that must exist, and places that must not be the same.

use strandline_operators::job::{Job, StartingOffsets};
use strandline_operators::schema::ColumnType;

use crate::config::file::{JobSection, Switch};
use crate::config::origin::At;
use crate::config::read::Problems;
use crate::config::units::format_size;

/// A value that is too large is held in memory beside three others before it is a dead letter.
const RECORDS_IN_MEMORY: u64 = 4;

/// Checks a job's section against its code.
pub(super) fn check(job: &Job, said: &JobSection, problems: &mut Problems) {
    check_columns(job, said, problems);
    check_topics(job, said, problems);
    check_tables(job, said, problems);
    check_sizes(job, said, problems);
}

fn path(job: &Job, key: &str) -> String {
    format!("jobs.{}.{key}", job.name)
}

fn listed<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> String {
    let names: Vec<String> = names
        .into_iter()
        .map(|name| format!("`{}`", name.as_ref()))
        .collect();
    names.join(", ")
}

fn check_columns(job: &Job, said: &JobSection, problems: &mut Problems) {
    let mut check = |key: &str, name: &At<String>, column_type: ColumnType| {
        let fits = job
            .columns
            .iter()
            .filter(|c| c.column_type == column_type && c.required);
        if !fits.clone().any(|c| c.name == name.value) {
            let allowed = format!(
                "a required {} column of the job: {}",
                column_type.name(),
                listed(fits.map(|c| c.name))
            );
            problems.reject(
                &path(job, key),
                &format!("`{}`", name.value),
                &name.origin,
                &allowed,
            );
        }
    };
    if let Some(event_time) = &said.event_time {
        check("event_time", event_time, ColumnType::Timestamptz);
    }
    if let Some(At {
        value: Switch::On(dedup),
        origin,
    }) = &said.dedup
    {
        let default = job.dedup.or(Job::BRONZE.dedup).map(|d| At {
            value: d.key.to_owned(),
            origin: origin.clone(),
        });
        if let Some(key) = dedup.key.as_ref().or(default.as_ref()) {
            check("dedup.key", key, ColumnType::String);
        }
    }
}

fn check_topics(job: &Job, said: &JobSection, problems: &mut Problems) {
    let of_code = || job.topics.iter().map(|&t| t.to_owned()).collect();
    let topics: Vec<String> = said
        .topics
        .as_ref()
        .map_or_else(of_code, |t| t.value.clone());
    // To blame is the one of the two that the file says.
    let letters = said
        .dead_letters
        .as_ref()
        .and_then(|l| l.topic.clone())
        .or_else(|| {
            let origin = said.topics.as_ref()?.origin.clone();
            Some(At {
                value: Switch::On(job.dead_letter_topic?.to_owned()),
                origin,
            })
        });
    if let Some(At {
        value: Switch::On(topic),
        origin,
    }) = &letters
        && topics.contains(topic)
    {
        let allowed = format!("another than the topics the job reads: {}", listed(&topics));
        problems.reject(
            &path(job, "dead_letters.topic"),
            &format!("`{topic}`"),
            origin,
            &allowed,
        );
    }
    if let Some(At {
        value: StartingOffsets::Explicit(explicit),
        origin,
    }) = &said.starting_offsets
    {
        for topic in explicit.keys().filter(|t| !topics.contains(t)) {
            let allowed = format!("of a topic the job reads: {}", listed(&topics));
            problems.reject(
                &path(job, "starting_offsets.explicit"),
                &format!("`{topic}`"),
                origin,
                &allowed,
            );
        }
    }
}

fn check_tables(job: &Job, said: &JobSection, problems: &mut Problems) {
    let table = said.table.as_ref().map_or(job.table, |t| t.value.as_str());
    let letters = said
        .dead_letters
        .as_ref()
        .and_then(|l| l.table.clone())
        .or_else(|| {
            let origin = said.table.as_ref()?.origin.clone();
            Some(At {
                value: Switch::On(job.dead_letter_table?.to_owned()),
                origin,
            })
        });
    if let Some(At {
        value: Switch::On(letters),
        origin,
    }) = &letters
        && letters == table
    {
        problems.reject(
            &path(job, "dead_letters.table"),
            &format!("`{table}`"),
            origin,
            "another table than the job's",
        );
    }
}

fn check_sizes(job: &Job, said: &JobSection, problems: &mut Problems) {
    let ours = job.settings();
    let memory = said.memory.as_ref().map_or(ours.memory, |m| m.value);
    let record = said
        .max_record_bytes
        .as_ref()
        .map_or(ours.max_record_bytes, |r| r.value);
    let origin = said
        .max_record_bytes
        .as_ref()
        .map(|r| &r.origin)
        .or(said.memory.as_ref().map(|m| &m.origin));
    if let Some(origin) = origin
        && record > memory / RECORDS_IN_MEMORY
    {
        let allowed = format!(
            "at most a quarter of `memory`, which is {}",
            format_size(memory)
        );
        problems.reject(
            &path(job, "max_record_bytes"),
            &format!("`{}`", format_size(record)),
            origin,
            &allowed,
        );
    }
}

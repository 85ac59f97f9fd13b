//! What no setting of a job can see alone: columns that must exist, and places that must not be the same.

use strandline_operators::Error;
use strandline_operators::job::{Job, StartingOffsets};
use strandline_operators::schema::ColumnType;

use crate::config::file::{Formats, JobSection, Switch};
use crate::config::nearest;
use crate::config::origin::{At, Origin};
use crate::config::read::Problems;
use crate::config::units::format_size;

/// A value that is too large is held in memory beside three others before it is a dead letter.
const RECORDS_IN_MEMORY: u64 = 4;

/// Checks a job's section against its code.
pub(super) fn check(job: &Job, said: &JobSection, problems: &mut Problems) {
    check_columns(job, said, problems);
    check_topics(job, said, problems);
    check_formats(job, said, problems);
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

/// The topics that the job reads.
fn topics_of(job: &Job, said: &JobSection) -> Vec<String> {
    let of_code = || job.topics.iter().map(|&t| t.to_owned()).collect();
    let topics = said.topics.as_ref();
    topics.map_or_else(of_code, |t| t.value.clone())
}

/// Formats by topic must be of all topics that the job reads, and of no other.
fn check_formats(job: &Job, said: &JobSection, problems: &mut Problems) {
    let Some(At {
        value: Formats::ByTopic(formats),
        origin,
    }) = &said.format
    else {
        return;
    };
    let path = path(job, "format");
    let topics = topics_of(job, said);
    for (topic, format) in formats {
        if !topics.contains(topic) {
            let error = Error::configuration(format!(
                "`{path}` speaks of topic `{topic}`, which the job does not read"
            ));
            let names = topics.iter().map(String::as_str);
            let hint = nearest::hint(topic, "the topics that it reads", names);
            problems.push(error.hint(hint), &format.origin);
        }
    }
    for topic in topics.iter().filter(|t| !formats.contains_key(*t)) {
        let error = Error::configuration(format!("`{path}` says nothing of topic `{topic}`"));
        let hint = format!(
            "add `{topic}: auto` to have it recognised from the first records, or its format by name"
        );
        problems.push(error.hint(hint), origin);
    }
}

fn check_topics(job: &Job, said: &JobSection, problems: &mut Problems) {
    let topics = topics_of(job, said);
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

/// No two tables of the job may be one, and every route that the file speaks of must be the job's.
fn check_tables(job: &Job, said: &JobSection, problems: &mut Problems) {
    for (name, table) in &said.routes {
        if !job.routes.iter().any(|route| route.name == name) {
            let names: Vec<String> = job.routes.iter().map(|r| r.name.to_owned()).collect();
            let allowed = match names.as_slice() {
                [] => "left out: the job has no routes".to_owned(),
                names => format!("one of the job's routes: {}", listed(names)),
            };
            let path = path(job, "routes");
            problems.reject(&path, &format!("`{name}`"), &table.origin, &allowed);
        }
    }
    let of_code = |name: &str| At {
        value: name.to_owned(),
        origin: Origin::JOB,
    };
    let table = said.table.clone().unwrap_or_else(|| of_code(job.table));
    let mut tables = vec![("table".to_owned(), table)];
    let letters = said.dead_letters.as_ref().and_then(|l| l.table.clone());
    let letters = letters.or_else(|| {
        let default = of_code(job.dead_letter_table?);
        Some(At {
            value: Switch::On(default.value),
            origin: default.origin,
        })
    });
    if let Some(At {
        value: Switch::On(value),
        origin,
    }) = letters
    {
        tables.push(("dead_letters.table".to_owned(), At { value, origin }));
    }
    for route in job.routes {
        let table = said.routes.get(route.name).cloned();
        let table = table.unwrap_or_else(|| of_code(route.table));
        tables.push((format!("routes.{}", route.name), table));
    }
    for (i, (key, table)) in tables.iter().enumerate() {
        let earlier = tables[..i]
            .iter()
            .find(|(_, other)| other.value == table.value);
        let Some((_, other)) = earlier else { continue };
        // To blame is the one of the two that the file says; two of the code are the job's own fault.
        let origin = [&table.origin, &other.origin]
            .into_iter()
            .find(|o| **o != Origin::JOB);
        if let Some(origin) = origin {
            let found = format!("`{}`", table.value);
            let allowed = match key.as_str() {
                "dead_letters.table" => "another table than the job's",
                _ => "a table that the job does not use yet",
            };
            problems.reject(&path(job, key), &found, origin, allowed);
        }
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

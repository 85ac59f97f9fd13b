//! `plan JOB`: the dataflow as a picture in text, and the settings in force with where each came from.

use std::fmt::Write;

use serde::Serialize;
use serde_json::json;
use strandline_operators::Result;
use strandline_operators::job::{JobSettings, Sink, TooLate};

use crate::cli::arguments::PlanArgs;
use crate::cli::{Context, output};
use crate::config::units::{format_duration, format_size};
use crate::config::{Draft, Setting};

/// An operator of the plan.
#[derive(Debug, Serialize)]
struct Operator {
    name: &'static str,
    /// The operators it reads from.
    from: Vec<&'static str>,
    /// How its input travels between workers; none when it stays on its worker.
    exchange: Option<String>,
    does: String,
    /// Whether records leave it for the dead letters.
    dead_letters: bool,
}

/// Prints the plan.
///
/// # Errors
/// There is no such job, or the configuration is wrong. No configuration at all is none: then the plan
/// shows what the job's code says.
pub fn run(context: &Context, args: &PlanArgs) -> Result<()> {
    let job = context.job(&args.job)?;
    let draft = context.draft(Some(job.name), &args.set)?;
    let settings = draft.engine.job(job.name)?;
    let operators = operators(settings);
    let in_force = in_force(&draft, job.name);
    if args.json {
        let listed: Vec<_> = in_force
            .iter()
            .map(|s| json!({ "key": s.key(), "value": s.value, "origin": s.origin.to_string() }))
            .collect();
        return output::print_json(&json!({
            "job": job.name,
            "topics": settings.topics,
            "operators": operators,
            "tables": tables(settings).iter().map(|(name, role)| json!({ "name": name, "role": role })).collect::<Vec<_>>(),
            "dead_letters": { "topic": settings.dead_letter_topic, "table": settings.dead_letter_table },
            "settings": listed,
        }));
    }
    let mut text = format!("{}: {}\n\n", job.name, job.description);
    draw(&mut text, settings, &operators);
    text.push_str("\nTables\n");
    let rows: Vec<Vec<String>> = tables(settings)
        .into_iter()
        .map(|(name, role)| vec![format!("  {name}"), role])
        .collect();
    text.push_str(&output::table(&rows));
    text.push_str("\nSettings in force\n");
    let rows: Vec<Vec<String>> = in_force
        .iter()
        .map(|s| vec![format!("  {}", s.key()), s.text(), s.origin.to_string()])
        .collect();
    text.push_str(&output::table(&rows));
    output::print(&text)
}

/// The settings that this job runs with: its own, and those of all jobs.
fn in_force<'a>(draft: &'a Draft, job: &str) -> Vec<&'a Setting> {
    let is_of_another_job = |s: &Setting| matches!(s.path.as_slice(), [jobs, name, ..] if jobs == "jobs" && name != job);
    draft
        .engine
        .settings
        .iter()
        .filter(|s| !is_of_another_job(s))
        .collect()
}

fn tables(settings: &JobSettings) -> Vec<(&str, String)> {
    if settings.sink == Sink::Terminal {
        return Vec::new();
    }
    let mut tables = vec![(
        settings.table.as_str(),
        format!(
            "primary: its commit is the commit point; partitioned by day({})",
            settings.event_time
        ),
    )];
    for secondary in settings.secondary_tables() {
        let role = match secondary.route {
            Some(route) => format!("route {route}: committed behind the primary"),
            None => "dead letters: committed behind the primary".to_owned(),
        };
        tables.push((secondary.name, role));
    }
    tables
}

/// The operators, in the order the data takes.
fn operators(settings: &JobSettings) -> Vec<Operator> {
    let watermark = &settings.watermark;
    let formats = settings.all_formats();
    let formats: Vec<&str> = formats.iter().map(|format| format.name()).collect();
    let mut operators = vec![
        Operator {
            name: "clock",
            from: vec!["source"],
            exchange: Some("to worker 0, and its ticks to every worker".to_owned()),
            does: format!(
                "closes an epoch after {} or {}, announces the watermark",
                format_duration(settings.commit.interval),
                format_size(settings.commit.max_bytes)
            ),
            dead_letters: false,
        },
        Operator {
            name: "source",
            from: vec!["clock"],
            exchange: None,
            does: format!(
                "batches of raw records by partition, at most {} in memory",
                format_size(settings.memory)
            ),
            dead_letters: false,
        },
        Operator {
            name: "decode",
            from: vec!["source"],
            exchange: None,
            does: format!(
                "{} to {} columns; by partition, watermark = largest {} - {}",
                formats.join(" and "),
                settings.columns.len(),
                settings.event_time,
                format_duration(watermark.out_of_orderness)
            ),
            dead_letters: true,
        },
    ];
    if let Some(dedup) = &settings.dedup {
        operators.push(Operator {
            name: "deduplicate",
            from: vec!["decode"],
            exchange: Some(format!(
                "by hash({}), keys only; the verdicts come back",
                dedup.key
            )),
            does: format!(
                "the first record of each {} lands; remembered for {}",
                dedup.key,
                format_duration(dedup.ttl)
            ),
            dead_letters: false,
        });
    }
    let allowed = format_duration(settings.lateness.allowed);
    let too_late = match settings.lateness.too_late {
        TooLate::DeadLetter => "is a dead letter",
        TooLate::Land => "lands all the same",
        TooLate::Drop => "is dropped, and counted",
    };
    operators.push(Operator {
        name: "route",
        from: vec![if settings.dedup.is_some() {
            "deduplicate"
        } else {
            "decode"
        }],
        exchange: None,
        does: format!("late lands flagged; more than {allowed} late {too_late}"),
        dead_letters: settings.lateness.too_late == TooLate::DeadLetter,
    });
    operators.push(Operator {
        name: "write Parquet",
        from: vec!["route"],
        exchange: None,
        does: "a file for each table, day, epoch and worker; zstd".to_owned(),
        dead_letters: false,
    });
    operators.push(Operator {
        name: "commit",
        from: vec!["write Parquet"],
        exchange: Some("descriptions of files, to the committer".to_owned()),
        does: "files, positions, watermark and counts in one Iceberg commit".to_owned(),
        dead_letters: false,
    });
    operators
}

/// The main line top to bottom, exchanges between the operators, dead letters to the right.
fn draw(text: &mut String, settings: &JobSettings, operators: &[Operator]) {
    let width = operators.iter().map(|o| o.name.len()).max().unwrap_or(0) + 2;
    let _ = writeln!(text, "  Kafka: {}", settings.topics.join(", "));
    for operator in operators.iter().filter(|o| o.name != "clock") {
        match &operator.exchange {
            Some(exchange) => {
                let _ = writeln!(text, "    |\n    | exchange {exchange}\n    v");
            }
            None => text.push_str("    |\n    v\n"),
        }
        let name = format!("[{}]", operator.name);
        let _ = writeln!(text, "  {name:<width$}  {}", operator.does);
        let aside = format!("    |{:indent$}", "", indent = width);
        if operator.name == "source"
            && let Some(clock) = operators.iter().find(|o| o.name == "clock")
        {
            let _ = writeln!(
                text,
                "{aside}<-- ticks -- [clock] on worker 0: {}",
                clock.does
            );
        }
        if operator.dead_letters {
            let _ = writeln!(text, "{aside}--> [dead letters]");
        }
    }
    let sink = match settings.sink {
        Sink::Tables => format!("Iceberg: {}", settings.table),
        Sink::Terminal => "standard output".to_owned(),
    };
    let _ = writeln!(text, "    |\n    v\n  {sink}");
    for route in &settings.routes {
        let _ = writeln!(
            text,
            "    +--> {}: rows of the route {}",
            route.table, route.name
        );
    }
    text.push_str("    |\n    +--> durable frontier: credits, state and group offsets follow it\n");
    let places: Vec<String> = [
        ("topic", &settings.dead_letter_topic),
        ("table", &settings.dead_letter_table),
    ]
    .into_iter()
    .filter_map(|(kind, name)| name.as_ref().map(|name| format!("{kind} {name}")))
    .collect();
    let places = if places.is_empty() {
        "counted, kept nowhere".to_owned()
    } else {
        places.join(", ")
    };
    let _ = writeln!(text, "\n  [dead letters]  {places}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use strandline_operators::job::Job;

    fn names(job: &Job) -> Vec<&'static str> {
        operators(&job.settings()).iter().map(|o| o.name).collect()
    }

    #[test]
    fn the_plan_follows_the_settings() {
        let job = Job {
            name: "a",
            topics: &["t"],
            table: "b.c",
            ..Job::BRONZE
        };
        assert_eq!(
            names(&job),
            [
                "clock",
                "source",
                "decode",
                "deduplicate",
                "route",
                "write Parquet",
                "commit"
            ]
        );
        let without = Job { dedup: None, ..job };
        assert_eq!(
            names(&without),
            [
                "clock",
                "source",
                "decode",
                "route",
                "write Parquet",
                "commit"
            ]
        );
        let mut text = String::new();
        draw(&mut text, &job.settings(), &operators(&job.settings()));
        assert!(
            text.contains("exchange by hash(event_id), keys only"),
            "{text}"
        );
        assert!(
            text.contains("[clock] on worker 0: closes an epoch after 1s or 256MiB"),
            "{text}"
        );
    }
}

//! The metrics of INTERFACES section 6, as text.
//!
//! Whoever asks for OpenMetrics gets it. Others get Prometheus' own text format, which differs in where the
//! `_total` of a counter stands: `promtool check metrics` reads only that one.

use std::collections::BTreeMap;
use std::fmt::Write;

use strandline_operators::account::Account;
use strandline_operators::observed::histogram::Distribution;

use crate::status::board::Published;

/// The two text formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    OpenMetrics,
    Text,
}

impl Format {
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// The bounds of the latency histogram, in milliseconds: eight in each power of two from 8 ms to a minute, so
/// that a quantile between two is off by a few per cent; beyond it two, up to a day and a half. Each is a
/// bound of the histogram that they are counted in, so what is below one is exact.
fn latency_bounds() -> impl Iterator<Item = u64> {
    let fine = (3..16).flat_map(|octave| (8..16).map(move |eighth| (eighth << octave) / 8));
    let coarse = (16..27).flat_map(|octave| [2u64 << (octave - 1), 3 << (octave - 1)]);
    fine.chain(coarse)
}

/// The bounds of the histogram of commit durations, in milliseconds: powers of two.
fn commit_bounds() -> impl Iterator<Item = u64> {
    (0..18).map(|octave| 1 << octave)
}

struct Writer<'a> {
    text: String,
    job: &'a str,
    format: Format,
}

/// A label's name and value.
type Label<'a> = (&'a str, &'a str);

impl Writer<'_> {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let suffix = match (kind, self.format) {
            ("counter", Format::Text) => "_total",
            _ => "",
        };
        // A String takes everything.
        let _ = writeln!(self.text, "# HELP {name}{suffix} {help}");
        let _ = writeln!(self.text, "# TYPE {name}{suffix} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[Label<'_>], value: impl std::fmt::Display) {
        let _ = write!(self.text, "{name}{{job=\"{}\"", escaped(self.job));
        for (label, of) in labels {
            let _ = write!(self.text, ",{label}=\"{}\"", escaped(of));
        }
        let _ = writeln!(self.text, "}} {value}");
    }

    fn counter(&mut self, name: &str, help: &str, samples: &[(&[Label<'_>], u64)]) {
        self.head(name, "counter", help);
        for (labels, value) in samples {
            self.sample(&format!("{name}_total"), labels, value);
        }
    }

    fn gauge(&mut self, name: &str, help: &str, value: Option<f64>) {
        self.head(name, "gauge", help);
        if let Some(value) = value {
            self.sample(name, &[], value);
        }
    }

    fn by(&mut self, name: &str, help: &str, label: &str, values: &BTreeMap<String, u64>) {
        self.head(name, "gauge", help);
        for (of, value) in values {
            self.sample(name, &[(label, of)], value);
        }
    }

    fn histogram(
        &mut self,
        name: &str,
        help: &str,
        of: &Distribution,
        bounds: impl Iterator<Item = u64>,
    ) {
        self.head(name, "histogram", help);
        let bucket = format!("{name}_bucket");
        for ms in bounds {
            let le = seconds(ms);
            self.sample(&bucket, &[("le", &le)], of.below(ms));
        }
        self.sample(&bucket, &[("le", "+Inf")], of.count());
        self.sample(&format!("{name}_sum"), &[], of.sum_ms as f64 / 1e3);
        self.sample(&format!("{name}_count"), &[], of.count());
    }
}

/// OpenMetrics wants a floating point number, always with a point.
fn seconds(ms: u64) -> String {
    format!("{:?}", ms as f64 / 1e3)
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// All metrics of a job.
pub(super) fn text(published: &Published, format: Format) -> String {
    let status = &published.status;
    let mut out = Writer {
        text: String::new(),
        job: &status.job,
        format,
    };
    let account = &status.account;
    let records = [
        ("consumed", account.consumed),
        ("landed", account.landed),
        ("duplicate", account.duplicates),
        ("dead_letter", account.dead_letters),
        ("dropped", account.dropped),
        ("late", account.late),
    ];
    // Before the table is read there is no account: a nought would be taken for a counter that began anew.
    let is_known = status.generation.is_some() || *account != Account::default();
    out.head(
        "strandline_records",
        "counter",
        "Records by outcome, as the table's account holds them; late is a part of landed.",
    );
    for (outcome, count) in records.into_iter().filter(|_| is_known) {
        out.sample("strandline_records_total", &[("outcome", outcome)], count);
    }
    let gaps: &[(&[Label<'_>], u64)] = &[(&[], account.gaps)];
    out.counter(
        "strandline_gaps",
        "Offsets for which Kafka holds no record.",
        if is_known { gaps } else { &[] },
    );
    out.counter(
        "strandline_bytes_consumed",
        "Bytes of keys and values read since the start.",
        &[(&[], status.bytes_consumed)],
    );
    out.head(
        "strandline_consumer_lag",
        "gauge",
        "Offsets between what is committed and the partition's end.",
    );
    for partition in &status.partitions {
        if let Some(lag) = partition.lag {
            let number = partition.partition.to_string();
            let labels = [("topic", &*partition.topic), ("partition", &*number)];
            out.sample("strandline_consumer_lag", &labels, lag);
        }
    }
    out.gauge(
        "strandline_watermark_lag_seconds",
        "How far the watermark is behind the clock of this host.",
        status.watermark.lag_seconds,
    );
    let epoch = status.epochs.committed.or(status.epochs.open);
    out.gauge(
        "strandline_epoch",
        "The last committed epoch: generation times 2^32 plus its number.",
        epoch.map(|epoch| epoch as f64),
    );
    out.counter(
        "strandline_commits",
        "Commits by result, since the start.",
        &[
            (&[("result", "success")], status.commits.succeeded),
            (&[("result", "failure")], status.commits.failed),
        ],
    );
    out.histogram(
        "strandline_commit_duration_seconds",
        "How long commits took.",
        &published.commit_duration,
        commit_bounds(),
    );
    out.head(
        "strandline_secondary_pending_files",
        "gauge",
        "Data files that a table lacks and the primary table's epochs brought; absent when none does.",
    );
    for behind in &status.tables_behind {
        out.sample(
            "strandline_secondary_pending_files",
            &[("table", &behind.table)],
            behind.files,
        );
    }
    out.counter(
        "strandline_restarts",
        "Restarts of the job since it was launched.",
        &[(&[], status.restarts.total)],
    );
    out.gauge(
        "strandline_dedup_entries",
        "Ids that the deduplication knows.",
        Some(status.dedup.entries as f64),
    );
    out.head(
        "strandline_dedup_lookups",
        "counter",
        "Ids looked up since the last start, by what answered.",
    );
    for (by, count) in &status.dedup.answers {
        out.sample(
            "strandline_dedup_lookups_total",
            &[("answered_by", by)],
            count,
        );
    }
    out.by(
        "strandline_memory_bytes",
        "Memory by what it is for; resident is all of it.",
        "part",
        &status.memory,
    );
    out.histogram(
        "bronze_ingestion_latency_seconds",
        "From the broker's timestamp of a row to the durable commit that holds it.",
        &published.latency,
        latency_bounds(),
    );
    out.gauge(
        "strandline_ready",
        "1 when the job has committed since its last start.",
        Some(f64::from(u8::from(status.ready))),
    );
    out.head(
        "strandline_stalled",
        "gauge",
        "What keeps the job from its work, by kind; absent when nothing does.",
    );
    for finding in &status.findings {
        out.sample(
            "strandline_stalled",
            &[("kind", &finding.kind)],
            finding.seconds,
        );
    }
    out.text.push_str("# EOF\n");
    out.text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::job::{JobStatus, PartitionStatus};
    use strandline_operators::observed::histogram::{Histogram, bounds_of, bucket_of};

    fn published() -> Published {
        let latency = Histogram::default();
        (0..1000).for_each(|ms| latency.add(ms, 1));
        Published {
            status: JobStatus {
                job: "a-job".to_owned(),
                account: Account {
                    consumed: 10,
                    landed: 7,
                    late: 2,
                    duplicates: 1,
                    dead_letters: 2,
                    ..Account::default()
                },
                partitions: vec![PartitionStatus {
                    topic: "t\"\\".to_owned(),
                    partition: 3,
                    lag: Some(17),
                    ..PartitionStatus::default()
                }],
                memory: [("records".to_owned(), 5)].into(),
                ..JobStatus::default()
            },
            latency: latency.read(),
            ..Published::default()
        }
    }

    #[test]
    fn the_names_and_labels_that_dashboards_rely_on() {
        let text = text(&published(), Format::Text);
        for line in [
            "strandline_records_total{job=\"a-job\",outcome=\"consumed\"} 10",
            "strandline_records_total{job=\"a-job\",outcome=\"landed\"} 7",
            "strandline_records_total{job=\"a-job\",outcome=\"duplicate\"} 1",
            "strandline_records_total{job=\"a-job\",outcome=\"dead_letter\"} 2",
            "strandline_records_total{job=\"a-job\",outcome=\"dropped\"} 0",
            "strandline_records_total{job=\"a-job\",outcome=\"late\"} 2",
            "strandline_bytes_consumed_total{job=\"a-job\"} 0",
            "strandline_consumer_lag{job=\"a-job\",topic=\"t\\\"\\\\\",partition=\"3\"} 17",
            "strandline_commits_total{job=\"a-job\",result=\"success\"} 0",
            "strandline_restarts_total{job=\"a-job\"} 0",
            "strandline_dedup_entries{job=\"a-job\"} 0",
            "strandline_memory_bytes{job=\"a-job\",part=\"records\"} 5",
            "bronze_ingestion_latency_seconds_bucket{job=\"a-job\",le=\"0.512\"} 512",
            "bronze_ingestion_latency_seconds_bucket{job=\"a-job\",le=\"+Inf\"} 1000",
            "bronze_ingestion_latency_seconds_count{job=\"a-job\"} 1000",
            "bronze_ingestion_latency_seconds_sum{job=\"a-job\"} 499.5",
            "# TYPE strandline_records_total counter",
        ] {
            assert!(text.lines().any(|l| l == line), "no `{line}` in\n{text}");
        }
        let unread = super::text(&Published::default(), Format::Text);
        assert!(!unread.contains("\nstrandline_records_total{"), "{unread}");
        let open = super::text(&published(), Format::OpenMetrics);
        assert!(open.contains("# TYPE strandline_records counter\n") && open.ends_with("# EOF\n"));
    }

    #[test]
    fn dashboard_and_alerts_ask_for_metrics_that_there_are() {
        let text = text(&published(), Format::OpenMetrics);
        for (file, asks) in [
            (
                "strandline.json",
                include_str!("../../deploy/grafana/strandline.json"),
            ),
            (
                "alerts.yml",
                include_str!("../../deploy/prometheus/alerts.yml"),
            ),
        ] {
            let words = asks.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let names = words.filter(|w| w.starts_with("strandline_") || w.starts_with("bronze_"));
            let names: std::collections::BTreeSet<&str> = names.collect();
            assert!(names.len() > 3, "{file}: {names:?}");
            for name in names {
                // What a counter or a histogram is asked by, its family is announced without.
                let family = ["_total", "_bucket", "_count", "_sum"]
                    .iter()
                    .find_map(|suffix| name.strip_suffix(suffix));
                let announced = |name: &str| text.contains(&format!("# TYPE {name} "));
                assert!(
                    announced(name) || family.is_some_and(announced),
                    "{file} asks for `{name}`"
                );
            }
        }
    }

    #[test]
    fn the_bounds_of_the_latency_are_fine_ascending_and_exact() {
        let bounds: Vec<u64> = latency_bounds().collect();
        assert_eq!(bounds.first(), Some(&8));
        for pair in bounds.windows(2) {
            let ratio = pair[1] as f64 / pair[0] as f64;
            let fine = if pair[1] <= 65_536 { 1.13 } else { 1.51 };
            assert!(ratio > 1.0 && ratio < fine, "{pair:?}");
        }
        for ms in bounds.into_iter().chain(commit_bounds()) {
            let (from, _) = bounds_of(bucket_of(ms));
            assert_eq!(from, ms, "{ms} is no bound of a bucket");
        }
    }
}

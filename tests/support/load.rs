//! Events of the generator in a job's topic.

use strandline::connectors::kafka::client::KafkaSettings;
use strandline::generator::producer::produce;
use strandline::generator::{Generator, GeneratorConfig};

use super::RomanNumerals;

/// Produces events whose clock begins where that of `before` earlier ones ended, with ids of their own for
/// every seed.
#[track_caller]
pub fn load(job: &RomanNumerals, partitions: i32, before: u64, events: u64, seed: u64) {
    let settings = KafkaSettings::new(job.topic.bootstrap_servers.clone());
    let defaults = GeneratorConfig::default();
    let config = GeneratorConfig {
        seed,
        events,
        partitions,
        start: defaults.start.plus(before as i64 * defaults.step_us),
        ..defaults
    };
    let mut generator = Generator::new(config);
    let produced = produce(&settings, &job.topic.name, &mut generator, None, &|| true);
    assert_eq!(produced.expect("produce").records, events);
}

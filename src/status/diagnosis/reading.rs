//! Nothing is read although records wait: because of the brokers, the registry, memory or commits.

use std::time::Instant;

use super::{Diagnosis, Found, Look, STALL_AFTER, Severity};

impl Diagnosis {
    pub(super) fn reading(&mut self, now: Instant, look: &Look<'_>, found: &mut Vec<Found>) {
        let readable: u64 = look
            .partitions
            .iter()
            .filter(|p| p.at_end_ms.is_none())
            .filter_map(|p| u64::try_from(p.end? - p.next?).ok())
            .sum();
        let reads = self.read.is_some_and(|(read, _)| read != look.read);
        let (_, since) = match self.read {
            Some((read, since)) if read == look.read && readable > 0 => (read, since),
            _ => *self.read.insert((look.read, now)),
        };
        let stuck = now.duration_since(since);
        let registry = self.registry(now, look);
        if look.has_lost_brokers && !reads {
            let why = look.complaint.unwrap_or("it does not say why");
            found.push(Found {
                kind: "brokers_unreachable",
                severity: Severity::Stalled,
                message: format!("no Kafka broker can be reached: {why}"),
                hint: format!("see that the brokers at `{}` are up and can be reached from here, under the addresses that they advertise; the job goes on by itself", look.bootstrap_servers),
            });
        } else if let Some(registry) = registry {
            // That nothing is read comes of it, once memory is full.
            found.push(registry);
        } else if stuck >= STALL_AFTER {
            found.push(match look.waits {
                Some("commit") => Found {
                    kind: "waits_for_commit",
                    severity: Severity::Stalled,
                    message: format!("nothing has been read for {} s: earlier epochs wait for their commit", stuck.as_secs()),
                    hint: "see why commits are slow: catalog, warehouse, another writer at the table".to_owned(),
                },
                Some(_) => Found {
                    kind: "waits_for_memory",
                    severity: Severity::Stalled,
                    message: format!("nothing has been read for {} s: the records in flight fill the memory that they may take", stuck.as_secs()),
                    hint: "see which stage of the dataflow most records wait for; more workers, a faster disk or a larger `memory` help".to_owned(),
                },
                None => Found {
                    kind: "not_reading",
                    severity: Severity::Stalled,
                    message: format!(
                        "nothing has been read for {} s although {readable} records wait: {}",
                        stuck.as_secs(),
                        look.complaint.unwrap_or("the broker reports no error")
                    ),
                    hint: "run `strandline check JOB`: it asks the broker the same questions, one by one".to_owned(),
                },
            });
        }
    }

    /// Records wait for a schema.
    pub(super) fn registry(&mut self, now: Instant, look: &Look<'_>) -> Option<Found> {
        if look.held_back == 0 {
            self.held_back = None;
            return None;
        }
        let held = now.duration_since(*self.held_back.get_or_insert(now));
        (held >= STALL_AFTER).then(|| Found {
            kind: "waits_for_registry",
            severity: Severity::Stalled,
            message: format!(
                "records have waited for their schema for {} s: {}",
                held.as_secs(),
                look.registry_trouble.unwrap_or("the schema registry has not answered yet")
            ),
            hint: "see that the registry of `schema_registry.url` is up and can be reached from here; nothing is lost, and no record is a dead letter for it".to_owned(),
        })
    }
}

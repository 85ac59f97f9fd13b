//! The jobs that ship with Strandline, one file each.

pub mod roman_numerals;

use strandline_operators::job::Job;

/// The registry: every job, by the order in which `list` shows them.
pub const ALL: &[Job] = &[roman_numerals::ROMAN_NUMERALS];

#[cfg(test)]
mod tests {
    use super::ALL;

    #[test]
    fn every_job_is_defined_well_and_only_once() {
        for (i, job) in ALL.iter().enumerate() {
            assert_eq!(job.validate(), Ok(()));
            assert!(
                ALL[..i].iter().all(|other| other.name != job.name),
                "{} stands twice",
                job.name
            );
        }
    }
}

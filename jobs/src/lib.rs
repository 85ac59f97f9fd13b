//! The jobs that ship with Strandline, one file each.

pub mod bid_events;
pub mod business_events;
pub mod crypto_binance;
pub mod crypto_kraken;
pub mod crypto_trades_typed;
pub mod roman_numerals;
pub mod stdout;
pub mod user_events;

use strandline_operators::job::Job;

/// The registry: every job, by the order in which `list` shows them.
pub const ALL: &[Job] = &[
    roman_numerals::ROMAN_NUMERALS,
    crypto_binance::CRYPTO_BINANCE,
    crypto_kraken::CRYPTO_KRAKEN,
    crypto_trades_typed::CRYPTO_TRADES_TYPED,
    business_events::BUSINESS_EVENTS,
    bid_events::BID_EVENTS,
    user_events::USER_EVENTS,
    stdout::STDOUT,
];

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

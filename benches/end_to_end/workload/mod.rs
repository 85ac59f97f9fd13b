//! What the engines are given to do: a job, what its topic is filled with, and what its table must then hold.

pub mod changes;
pub mod contents;
mod conversions;
pub mod trades;

use std::sync::Arc;

use strandline::generator::{Generator, GeneratorConfig};

use crate::Outcome;
use crate::options::Scenario;
use crate::registry::Registry;
use crate::topic::Fresh;

/// Whose trades.
#[derive(Clone, Copy, Debug)]
pub enum Exchange {
    /// The job that both engines have.
    Binance,
    /// Strandline's alone.
    Kraken,
}

/// A job that both engines have.
#[derive(Clone, Debug)]
pub enum Workload {
    /// JSON events of the Roman numeral service, decoded into columns: the main job.
    Conversions,
    /// Avro with a schema registry's header, kept byte for byte; id and time peeked.
    Trades(Arc<Registry>, Exchange),
    /// Debezium's changes in JSON, flattened into columns; the position in the database's log is the id.
    Changes,
}

impl Workload {
    /// What a scenario drains.
    ///
    /// # Errors
    /// No port for the registry of schemas.
    pub fn of(scenario: Scenario) -> Outcome<Workload> {
        Ok(match scenario {
            Scenario::RawAvro => Workload::Trades(trades_registry()?, Exchange::Binance),
            Scenario::Debezium => Workload::Changes,
            _ => Workload::Conversions,
        })
    }

    /// The trades of both exchanges.
    ///
    /// # Errors
    /// No port for the registry of schemas.
    pub fn of_exchanges() -> Outcome<[Workload; 2]> {
        let registry = trades_registry()?;
        Ok([Exchange::Binance, Exchange::Kraken]
            .map(|exchange| Workload::Trades(Arc::clone(&registry), exchange)))
    }

    /// What sends one event after the other, each happening now.
    ///
    /// # Panics
    /// Changes are only drained.
    pub fn fresh(&self) -> Fresh {
        match self {
            Workload::Conversions => conversions::fresh,
            Workload::Trades(..) => trades::fresh,
            Workload::Changes => unreachable!("changes are only drained"),
        }
    }

    /// Strandline's job.
    pub fn job(&self) -> &'static str {
        match self {
            Workload::Conversions => "roman-numerals",
            Workload::Trades(_, Exchange::Binance) => "crypto-binance",
            Workload::Trades(_, Exchange::Kraken) => "crypto-kraken",
            Workload::Changes => "business-events",
        }
    }

    /// The table, in both engines.
    pub fn table(&self) -> &'static str {
        match self {
            Workload::Conversions => "bronze.conversion_events",
            Workload::Trades(_, Exchange::Binance) => "bronze.crypto_trades_binance_raw",
            Workload::Trades(_, Exchange::Kraken) => "bronze.crypto_trades_kraken_raw",
            Workload::Changes => "bronze.business_events",
        }
    }

    /// More settings of Strandline's job, as YAML in braces has them.
    pub fn settings(&self) -> &'static str {
        match self {
            // Without the registry's header: what Flink's own format for Debezium's JSON reads.
            Workload::Changes => ", format: debezium_json",
            _ => "",
        }
    }

    /// Where the schemas are.
    pub fn registry(&self) -> Option<&str> {
        match self {
            Workload::Trades(registry, _) => Some(&registry.url),
            _ => None,
        }
    }

    /// The class of Flink's job.
    pub fn flink_class(&self) -> &'static str {
        match self {
            Workload::Conversions => "BronzeJob",
            Workload::Trades(..) => "RawAvroJob",
            Workload::Changes => "DebeziumJob",
        }
    }

    /// The name by which `check.py` knows what to compare.
    pub fn judged_as(&self) -> &'static str {
        match self {
            Workload::Conversions => "conversions",
            Workload::Trades(..) => "trades",
            Workload::Changes => "changes",
        }
    }

    /// The records, from the first.
    pub fn generator(&self, config: GeneratorConfig) -> Generator {
        let generator = Generator::new(config);
        match self {
            Workload::Conversions => generator,
            Workload::Trades(..) => generator.writing(trades::write),
            Workload::Changes => generator.writing(changes::write),
        }
    }

    /// What the rows must add up to (see [`contents`]); `None` where only their number and their ids are held
    /// against what was sent.
    ///
    /// # Errors
    /// A record that was not written as it should be.
    pub fn contents(&self, config: &GeneratorConfig) -> Outcome<Option<String>> {
        let row: contents::Row = match self {
            Workload::Conversions => return Ok(None),
            Workload::Trades(..) => trades::row,
            Workload::Changes => changes::row,
        };
        contents::of(self.generator(config.clone()), row).map(Some)
    }
}

fn trades_registry() -> Outcome<Arc<Registry>> {
    let schema = trades::SCHEMA.to_owned();
    Ok(Arc::new(Registry::serve(trades::SCHEMA_ID, schema)?))
}

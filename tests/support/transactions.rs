//! Producers that write in transactions.

use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, Producer};

use super::topic::{Message, TIMEOUT, Topic, send};
use super::unique;

/// A producer with a transactional id of its own.
pub struct Transactions {
    producer: BaseProducer,
    topic: String,
}

/// How a transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transaction {
    /// Its records can be read.
    Committed,
    /// Its records stay in the log, and nobody shall read them.
    Aborted,
    /// It does not, until [`Transactions::commit`].
    Open,
}

impl Transactions {
    /// Begins to write to a topic.
    #[track_caller]
    pub fn to(topic: &Topic) -> Transactions {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", &topic.bootstrap_servers)
            .set("transactional.id", unique("transactions"))
            // The broker's most: one that is left open shall stay so.
            .set("transaction.timeout.ms", "900000")
            .create()
            .expect("a Kafka producer");
        producer
            .init_transactions(TIMEOUT)
            .expect("a transactional id");
        Transactions {
            producer,
            topic: topic.name.clone(),
        }
    }

    /// Writes messages in one transaction.
    #[track_caller]
    pub fn write(&self, messages: impl IntoIterator<Item = Message>, end: Transaction) {
        self.producer.begin_transaction().expect("begin");
        for message in messages {
            send(&self.producer, &self.topic, &message);
        }
        // All of it in the log, also what is aborted.
        self.producer.flush(TIMEOUT).expect("flush");
        match end {
            Transaction::Committed => self.commit(),
            Transaction::Aborted => self.producer.abort_transaction(TIMEOUT).expect("abort"),
            Transaction::Open => {}
        }
    }

    /// Commits the transaction that is open.
    #[track_caller]
    pub fn commit(&self) {
        self.producer.commit_transaction(TIMEOUT).expect("commit");
    }
}

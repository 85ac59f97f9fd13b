//! Apache Kafka in KRaft mode: one node that is broker and controller, and on request a second broker.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::secured::{self, Listeners};
use crate::command::output_of;
use crate::jars::{self, Distribution};
use crate::{Result, places};

/// The newest version whose parts are all published: kafka-tools stops at it.
pub const DISTRIBUTION: Distribution = Distribution {
    name: "kafka-4.3.1",
    dependencies: "
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>4.3.1</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>4.3.1</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.25.4</version></dependency>
  ",
};

/// Any 16 bytes in base64. Fixed, so that data folders fit whoever formatted them.
const CLUSTER_ID: &str = "MkU3OEVBNTcwNTJENDM2Qg";
/// Takes half a million records a second; its resident size is 200-300 MB.
const HEAP: &str = "-Xmx512m";

/// What one node is.
pub struct Node {
    id: u32,
    port: u16,
    /// Of the controller, which is the first node.
    controller: u16,
    /// Of a node that does not let everybody in.
    secured: Option<Listeners>,
}

/// The node that is broker and controller.
pub fn first_node(ports: &[u16]) -> Result<Node> {
    let &[port, controller] = ports else {
        return Err("Kafka wants two ports".to_owned());
    };
    Ok(Node {
        id: 1,
        port,
        controller,
        secured: None,
    })
}

/// A node that is broker and controller, and has SASL, TLS and access rights.
pub fn secured_node(ports: &[u16]) -> Result<Node> {
    let secured = Some(Listeners::of(ports)?);
    Ok(Node {
        secured,
        ..first_node(&ports[..2])?
    })
}

/// A second broker beside the first node, whose ports are given too.
pub fn second_node(ports: &[u16], first: &[u16]) -> Result<Node> {
    let &port = ports.first().ok_or("Kafka wants a port")?;
    Ok(Node {
        id: 2,
        port,
        ..first_node(first)?
    })
}

/// Formats the data folder when it is new, and gives the command that starts the broker.
pub fn command(folder: &Path, node: &Node) -> Result<Command> {
    let lib = jars::folder_of(&DISTRIBUTION)?;
    let mut properties = properties(folder, node);
    if node.secured.is_some() {
        properties.push_str(&secured::properties(folder)?);
    }
    places::write_file(&folder.join("server.properties"), &properties)?;
    places::write_file(&folder.join("log4j2.xml"), LOG4J)?;
    let java = || {
        let mut java = Command::new("java");
        java.current_dir(folder)
            .args([
                "-Xms64m",
                HEAP,
                "-XX:+UseSerialGC",
                "-Dlog4j2.configurationFile=log4j2.xml",
                "-cp",
            ])
            .arg(lib.join("*"));
        java
    };
    if !folder.join("data/meta.properties").is_file() {
        let format = [
            "kafka.tools.StorageTool",
            "format",
            "-t",
            CLUSTER_ID,
            "-c",
            "server.properties",
        ];
        output_of(java().args(format))?;
    }
    let mut broker = java();
    broker.args(["kafka.Kafka", "server.properties"]);
    Ok(broker)
}

fn properties(folder: &Path, node: &Node) -> String {
    let Node {
        id,
        port,
        controller,
        secured,
    } = node;
    let (listeners, advertised) = secured.as_ref().map(Listeners::added).unwrap_or_default();
    let protocols = if secured.is_some() {
        secured::PROTOCOLS
    } else {
        ""
    };
    let (roles, listen_as_controller) = if *id == 1 {
        (
            "broker,controller",
            format!(",CONTROLLER://127.0.0.1:{controller}"),
        )
    } else {
        ("broker", String::new())
    };
    let data = folder.join("data");
    let data = data.display();
    format!(
        "\
process.roles={roles}
node.id={id}
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port}{listen_as_controller}{listeners}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}{advertised}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT{protocols}
log.dirs={data}
num.partitions=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
num.network.threads=2
num.io.threads=4
log.cleaner.dedupe.buffer.size=16777216
# Tests wait until the cleaner has removed records, and until another broker leads.
log.cleaner.backoff.ms=500
leader.imbalance.check.interval.seconds=2
leader.imbalance.per.broker.percentage=0
log.segment.bytes=268435456
# Tests write records with timestamps of any year, and values above Strandline's limit of 8 MiB.
log.retention.ms=-1
message.max.bytes=16777216
replica.fetch.max.bytes=16777216
"
    )
}

const LOG4J: &str = r#"<Configuration status="WARN">
  <Appenders><Console name="out"><PatternLayout pattern="%d %p %c{1}: %m%n"/></Console></Appenders>
  <Loggers>
    <Logger name="kafka.server.KafkaRaftServer" level="INFO"/>
    <Root level="WARN"><AppenderRef ref="out"/></Root>
  </Loggers>
</Configuration>
"#;

/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// More than one broker's metadata can be.
const MAX_RESPONSE_BYTES: usize = 1 << 20;

/// Asks for metadata. An open port is not enough: a broker that is not registered yet names no brokers, or
/// only those that have been there for longer.
pub fn ask(ports: &[u16], brokers: i32) -> Result {
    let port = *ports.first().ok_or("Kafka wants two ports")?;
    let response = metadata(port).map_err(|e| format!("metadata request: {e}"))?;
    match brokers_in(&response) {
        Some(found) if found >= brokers => Ok(()),
        Some(found) => Err(format!(
            "metadata request: {found} of {brokers} brokers are registered"
        )),
        None => Err(format!(
            "metadata request: {} bytes that are no answer to it",
            response.len()
        )),
    }
}

/// A metadata request, version 4, for no topic; header version 1.
const METADATA_REQUEST: &[u8] = &[
    0, 0, 0, 25, // size of what follows
    0, 3, // api key: Metadata
    0, 4, // version
    0, 0, 0, 1, // correlation id
    0, 10, b's', b't', b'r', b'a', b'n', b'd', b'l', b'i', b'n', b'e', // client id
    0, 0, 0, 0, // topics: none
    0, // allow_auto_topic_creation: no
];

fn metadata(port: u16) -> std::io::Result<Vec<u8>> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, REQUEST_TIMEOUT)?;
    stream.set_read_timeout(Some(REQUEST_TIMEOUT))?;
    stream.set_write_timeout(Some(REQUEST_TIMEOUT))?;
    stream.write_all(METADATA_REQUEST)?;
    let mut size = [0; 4];
    stream.read_exact(&mut size)?;
    let size = (u32::from_be_bytes(size) as usize).min(MAX_RESPONSE_BYTES);
    let mut response = vec![0; size];
    stream.read_exact(&mut response)?;
    Ok(response)
}

/// The length of the list of brokers, which follows correlation id and throttle time.
fn brokers_in(response: &[u8]) -> Option<i32> {
    let (correlation_id, rest) = response.split_first_chunk::<4>()?;
    let (_throttle_time_ms, rest) = rest.split_first_chunk::<4>()?;
    let (brokers, _) = rest.split_first_chunk::<4>()?;
    (u32::from_be_bytes(*correlation_id) == 1).then(|| i32::from_be_bytes(*brokers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_is_as_long_as_it_says() {
        assert_eq!(usize::from(METADATA_REQUEST[3]), METADATA_REQUEST.len() - 4);
    }

    #[test]
    fn brokers_are_counted_only_in_an_answer_to_our_request() {
        assert_eq!(
            brokers_in(&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 9, 9]),
            Some(2)
        );
        assert_eq!(
            brokers_in(&[0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 2, 9, 9]),
            None
        );
        assert_eq!(brokers_in(b"HTTP"), None);
    }
}

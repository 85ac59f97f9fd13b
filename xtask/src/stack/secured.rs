//! A Kafka of its own that lets not everybody in: SASL, TLS, access rights, and a listener that advertises an
//! address which leads nowhere.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::command::output_of;

/// The port of each listener besides those of a plain node.
pub struct Listeners {
    /// SASL/PLAIN. `alice` may connect, and do nothing that no access right allows.
    pub sasl: u16,
    /// TLS.
    pub ssl: u16,
    /// Advertises [`NOWHERE`].
    pub astray: u16,
}

/// An address that resolves nowhere (RFC 2606).
const NOWHERE: &str = "kafka.invalid:29092";

/// Of the key store, which only a test's folder holds.
const STORE_PASSWORD: &str = "changeit";

impl Listeners {
    /// The listeners' ports, which follow the two of a plain node.
    pub fn of(ports: &[u16]) -> Result<Listeners> {
        let &[_, _, sasl, ssl, astray] = ports else {
            return Err("a secured Kafka wants five ports".to_owned());
        };
        Ok(Listeners { sasl, ssl, astray })
    }

    /// What follows the listeners of a plain node: where they are, and what they advertise.
    pub fn added(&self) -> (String, String) {
        let Listeners { sasl, ssl, astray } = self;
        let own = format!(",SASL://127.0.0.1:{sasl},SSL://127.0.0.1:{ssl}");
        (
            format!("{own},ASTRAY://127.0.0.1:{astray}"),
            format!("{own},ASTRAY://{NOWHERE}"),
        )
    }
}

/// What follows the protocols of a plain node.
pub const PROTOCOLS: &str = ",SASL:SASL_PLAINTEXT,SSL:SSL,ASTRAY:PLAINTEXT";

/// Makes the key store when it is new, and gives the properties that a plain node does not have. Whoever comes
/// without a name, by PLAINTEXT, may do everything.
pub fn properties(folder: &Path) -> Result<String> {
    let store = folder.join("broker.p12");
    let keytool = |args: &[&str]| {
        let mut keytool = Command::new("keytool");
        keytool
            .args(args)
            .args([
                "-alias",
                "broker",
                "-storepass",
                STORE_PASSWORD,
                "-keystore",
            ])
            .arg(&store);
        keytool
    };
    if !store.is_file() {
        let make = [
            "-genkeypair",
            "-keyalg",
            "RSA",
            "-dname",
            "CN=127.0.0.1",
            "-ext",
            "SAN=ip:127.0.0.1",
            "-validity",
            "3650",
            "-storetype",
            "PKCS12",
        ];
        output_of(&mut keytool(&make))?;
        output_of(
            keytool(&["-exportcert", "-rfc"])
                .arg("-file")
                .arg(authority(folder)),
        )?;
    }
    Ok(format!(
        "\
sasl.enabled.mechanisms=PLAIN
listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_alice=\"alice-secret\";
ssl.keystore.type=PKCS12
ssl.keystore.location={}
ssl.keystore.password={STORE_PASSWORD}
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
",
        store.display()
    ))
}

/// The certificate that clients of TLS must trust.
pub fn authority(folder: &Path) -> PathBuf {
    folder.join("ca.pem")
}

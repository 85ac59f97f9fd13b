//! A job that serves HTTP behind TLS.

use std::fs;
use std::path::PathBuf;

use rcgen::{CertifiedKey, KeyPair};

use super::RomanNumerals;

/// What HTTP is served behind TLS with.
pub struct Tls {
    /// The certificate, for 127.0.0.1, which vouches for itself.
    pub made: CertifiedKey<KeyPair>,
    /// A PEM file of its public key.
    pub public_key: PathBuf,
}

/// Has the job serve behind TLS, and ask for a token.
#[track_caller]
pub fn behind_tls(job: &RomanNumerals, token: &str) -> Tls {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let file = |name: &str, text: String| {
        let path = job.path().join(name);
        fs::write(&path, text).expect("write");
        path
    };
    let certificate = file("server.pem", made.cert.pem());
    let key = file("server.key", made.signing_key.serialize_pem());
    for (name, path) in [("certificate", certificate), ("key", key)] {
        job.configure(&format!("http_ssl_{name}_location: {}", path.display()));
    }
    job.configure(&format!("http_token: {token}"));
    Tls {
        public_key: file("server.pub", made.signing_key.public_key_pem()),
        made,
    }
}

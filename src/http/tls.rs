//! The certificate that HTTP is served with. TLS itself is rustls.

use std::path::Path;
use std::sync::Arc;

use strandline_operators::{Error, Result};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::HttpTls;

/// Reads certificate and key, and sees that they belong together. TLS 1.2 and 1.3.
///
/// # Errors
/// Configuration: a file that cannot be read or holds something else, or two that do not fit.
pub fn server_config(of: &HttpTls) -> Result<Arc<ServerConfig>> {
    let certificates = CertificateDer::pem_file_iter(&of.certificate)
        .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
        .map_err(|e| cannot_read("http_ssl_certificate_location", &of.certificate, &e))?;
    if certificates.is_empty() {
        let nothing = pem::Error::NoItemsFound;
        return Err(cannot_read(
            "http_ssl_certificate_location",
            &of.certificate,
            &nothing,
        ));
    }
    let key = PrivateKeyDer::from_pem_file(&of.key)
        .map_err(|e| cannot_read("http_ssl_key_location", &of.key, &e))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::internal(format!("cannot set up TLS for HTTP: {e}")))?
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map_err(|e| {
            Error::configuration(format!(
                "cannot serve HTTP with the certificate `{}` and the key `{}`: {e}",
                of.certificate.display(),
                of.key.display()
            ))
            .hint("`http_ssl_key_location` must hold the key that the certificate was made for")
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn cannot_read(setting: &str, path: &Path, e: &pem::Error) -> Error {
    let found = match e {
        pem::Error::Io(e) => e.to_string(),
        pem::Error::NoItemsFound if setting.contains("key") => "it holds no private key".to_owned(),
        pem::Error::NoItemsFound => "it holds no certificate".to_owned(),
        e => e.to_string(),
    };
    Error::configuration(format!(
        "cannot read `{}` of `{setting}`: {found}",
        path.display()
    ))
    .hint("it must be a PEM file that this user may read")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_do_not_fit_are_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let made = || rcgen::generate_simple_self_signed(["a".to_owned()]).expect("a certificate");
        let (one, other) = (made(), made());
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("write");
            path
        };
        let certificate = file("server.pem", &one.cert.pem());
        let key = file("server.key", &one.signing_key.serialize_pem());
        let foreign = file("other.key", &other.signing_key.serialize_pem());
        let with = |certificate: &Path, key: &Path| {
            server_config(&HttpTls {
                certificate: certificate.to_owned(),
                key: key.to_owned(),
            })
        };
        with(&certificate, &key).expect("they fit");
        for (certificate, key, said) in [
            (
                &certificate,
                &foreign,
                "cannot serve HTTP with the certificate",
            ),
            (
                &key,
                &key,
                "of `http_ssl_certificate_location`: it holds no certificate",
            ),
            (
                &certificate,
                &certificate,
                "of `http_ssl_key_location`: it holds no private key",
            ),
        ] {
            let error = with(certificate, key).expect_err(said);
            assert!(error.to_string().contains(said), "{error}");
            assert_eq!(error.kind().exit_code(), 2);
        }
        let error = with(&folder.path().join("none"), &key).expect_err("nothing there");
        assert!(error.message().contains("No such file"), "{error}");
    }
}

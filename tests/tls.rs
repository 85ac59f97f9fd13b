//! HTTP behind TLS, with a token.

mod support;

use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use support::{
    Answer, DEADLINE, address, behind_tls, http_over, load, served, wait_until_consumed,
};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

const JOB: &str = "/api/v1/jobs/roman-numerals";
const TOKEN: &str = "Authorization: Bearer s3cret\r\n";

/// A TLS connection to the server, trusting this certificate alone, or none.
fn connect(
    address: &str,
    trusted: Option<CertificateDer<'static>>,
) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(trusted);
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("127.0.0.1").expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("a connection");
    let stream = TcpStream::connect(address).expect("connect");
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("a timeout");
    StreamOwned::new(connection, stream)
}

#[test]
fn with_certificate_and_token_nobody_listens_in_and_only_who_has_the_token_is_answered() {
    let job = served(1);
    let made = behind_tls(&job, "s3cret").made;
    load(&job, 1, 0, 100, 1);
    let running = job.spawn(&["run", "roman-numerals"]);
    // `status` comes by the socket in the state folder, and needs neither.
    let status = wait_until_consumed(&job, 100);
    let url = status["http"].as_str().expect("it serves HTTP");
    assert!(url.starts_with("https://127.0.0.1:"), "{url}");
    let address = address(&status);
    let ask = |line: &str, headers: &str| -> Answer {
        let stream = connect(&address, Some(made.cert.der().clone()));
        http_over(stream, &address, line, headers)
    };

    let refused = ask("GET /metrics", "");
    assert_eq!(refused.status, 401);
    assert_eq!(refused.json()["status"], 401);
    for header in ["application/problem+json", "www-authenticate: bearer"] {
        assert!(refused.head.contains(header), "{}", refused.head);
    }
    assert_eq!(
        ask("GET /metrics", "Authorization: Bearer wrong\r\n").status,
        401
    );
    assert_eq!(ask("GET /metrics", TOKEN).status, 200);
    assert_eq!(ask("GET /", "").status, 200, "the page asks for the token");
    assert_eq!(
        ask(&format!("GET {JOB}"), TOKEN).json()["job"],
        "roman-numerals"
    );

    let stop = format!("POST {JOB}/stop");
    for (headers, expected) in [
        (String::new(), 401),
        (format!("{TOKEN}Origin: https://evil.example\r\n"), 403),
        (format!("{TOKEN}Origin: null\r\n"), 403),
        (format!("{TOKEN}Sec-Fetch-Site: cross-site\r\n"), 403),
    ] {
        assert_eq!(ask(&stop, &headers).status, expected, "{headers}");
    }

    // In plain text nothing is answered, and who does not trust the certificate is not connected.
    let mut plain = TcpStream::connect(&address).expect("connect");
    plain
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("a timeout");
    std::io::Write::write_all(
        &mut plain,
        b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    )
    .expect("send");
    let mut answer = Vec::new();
    let _ = std::io::Read::read_to_end(&mut plain, &mut answer);
    assert!(!String::from_utf8_lossy(&answer).contains("HTTP/"));
    let mut distrustful = connect(&address, None);
    let error = std::io::Write::flush(&mut distrustful).expect_err("it must not be trusted");
    assert!(error.to_string().contains("certificate"), "{error}");

    let own = format!("{TOKEN}Origin: https://{address}\r\n");
    assert_eq!(ask(&stop, &own).status, 202);
    running.wait(DEADLINE).expect_exit(0);
}

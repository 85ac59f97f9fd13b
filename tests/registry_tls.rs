//! The schema registry over TLS: a server certificate of an authority of one's own, a client certificate and a
//! password, each of them asked for.

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use support::{Finished, OwnStack, Stack, program, spawn};

const DEADLINE: Duration = Duration::from_secs(180);

const JOB: &str = "crypto-kraken";

const CREDENTIALS: &str = "alice:s3cret";

/// An authority that signs certificates, in a folder.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate.
    certificate: PathBuf,
}

impl Authority {
    fn new(folder: &Path, name: &str) -> Authority {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let own = params.self_signed(&key).expect("a certificate");
        Authority {
            certificate: write(folder, &format!("{name}.pem"), &own.pem()),
            issuer: Issuer::new(params, key),
        }
    }

    /// A certificate for this name or address, and its key.
    fn sign(&self, folder: &Path, file: &str, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        let signed = params.signed_by(&key, &self.issuer).expect("a certificate");
        (
            write(folder, &format!("{file}.pem"), &signed.pem()),
            write(folder, &format!("{file}.key"), &key.serialize_pem()),
        )
    }
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).expect("write");
    path
}

/// The registry behind TLS. Ends with the value.
struct TlsRegistry {
    child: Child,
    port: u16,
}

impl TlsRegistry {
    fn start(server: &(PathBuf, PathBuf), clients: &Authority, registry: &str) -> TlsRegistry {
        let mut child = program("tls_registry.py")
            .args([&server.0, &server.1, &clients.certificate])
            .args([CREDENTIALS, registry])
            .stdout(Stdio::piped())
            .spawn()
            .expect("run the judge's Python");
        let stdout = child.stdout.take().expect("a pipe");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let port = line.trim().parse().expect("the port");
        TlsRegistry { child, port }
    }
}

impl Drop for TlsRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn python(folder: &Path, args: &[&str]) {
    let output = program("formats.py")
        .current_dir(folder)
        .args(args)
        .output();
    let output = output.expect("run the judge's Python");
    assert!(
        output.status.success(),
        "formats.py {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_registry_that_asks_for_certificate_and_password_gets_them_and_who_lacks_one_is_told_so() {
    let stack = OwnStack::up(&["kafka", "schema-registry"]);
    let Stack {
        bootstrap_servers,
        registry_url,
        ..
    } = stack.description();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let path_at = registry_url.find("/apis").expect("Apicurio's address");
    let (registry, path) = registry_url.split_at(path_at);
    let servers = Authority::new(folder, "servers");
    let clients = Authority::new(folder, "clients");
    let server = servers.sign(folder, "server", "127.0.0.1");
    let ours = clients.sign(folder, "ours", "strandline");
    let strangers = servers.sign(folder, "strangers", "strandline");
    let proxy = TlsRegistry::start(&server, &clients, registry);

    let configure = |settings: &str| {
        let config = format!(
            "kafka: {{ bootstrap_servers: '{bootstrap_servers}' }}\n\
             schema_registry: {{ url: 'https://127.0.0.1:{}{path}', username: alice, {settings} }}\n\
             catalog: {{ type: sql, uri: 'sqlite://./catalog.db', warehouse: ./warehouse }}\n\
             http: off\n",
            proxy.port
        );
        fs::write(folder.join("strandline.yaml"), config).expect("write the configuration");
    };
    let authority = format!("ssl_ca_location: '{}'", servers.certificate.display());
    let certificate = |(certificate, key): &(PathBuf, PathBuf)| {
        format!(
            "ssl_certificate_location: '{}', ssl_key_location: '{}'",
            certificate.display(),
            key.display()
        )
    };
    let ours = certificate(&ours);
    let check = || -> Finished { spawn(folder, &["check", JOB]).wait(DEADLINE) };

    python(
        folder,
        &[
            "produce",
            JOB,
            &bootstrap_servers,
            &registry_url,
            "sent.json",
        ],
    );
    for (settings, says) in [
        (format!("password: s3cret, {ours}"), "UnknownIssuer"),
        (
            format!("password: s3cret, {authority}"),
            "CertificateRequired",
        ),
        (
            format!("password: s3cret, {authority}, {}", certificate(&strangers)),
            "alert",
        ),
    ] {
        configure(&settings);
        let told = check().expect_exit(3).stdout;
        assert!(told.contains("cannot reach the schema registry"), "{told}");
        assert!(told.contains(says), "{says}: {told}");
    }
    configure(&format!("password: wrong, {authority}, {ours}"));
    let refused = spawn(folder, &["run", JOB]).wait(DEADLINE).expect_exit(2);
    let said = &refused.stderr;
    assert!(said.contains("refuses our credentials: 401"), "{said}");

    configure(&format!("password: s3cret, {authority}, {ours}"));
    check().expect_exit(0);
    let run = spawn(folder, &["run", JOB, "--until-caught-up", "--json"]);
    let printed = run.wait(DEADLINE).expect_exit(0).json();
    fs::write(folder.join("report.json"), printed.to_string()).expect("write the report");
    python(folder, &["judge", JOB, "sent.json", "report.json"]);
}

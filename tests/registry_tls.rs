//! The schema registry over TLS: a server certificate of an authority of one's own, a client certificate, and a
//! password or a token, each of them asked for.

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

const PASSWORD: &str = "username: alice, password: s3cret";

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
    /// One that asks for `USER:PASSWORD`, or for `Bearer TOKEN`.
    fn start(
        server: &(PathBuf, PathBuf),
        clients: &Authority,
        credentials: &str,
        registry: &str,
    ) -> TlsRegistry {
        let mut child = program("tls_registry.py")
            .args([&server.0, &server.1, &clients.certificate])
            .args([credentials, registry])
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
fn a_registry_gets_the_credentials_it_asks_for_and_who_lacks_one_is_told_so() {
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

    let configure = |folder: &Path, proxy: &TlsRegistry, settings: &str| {
        let config = format!(
            "kafka: {{ bootstrap_servers: '{bootstrap_servers}' }}\n\
             schema_registry: {{ url: 'https://127.0.0.1:{}{path}', {settings} }}\n\
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
    let check = |folder: &Path| -> Finished { spawn(folder, &["check", JOB]).wait(DEADLINE) };

    let sent = folder.join("sent.json").display().to_string();
    let produce: [&str; 5] = ["produce", JOB, &bootstrap_servers, &registry_url, &sent];
    python(folder, &produce);
    let proxy = TlsRegistry::start(&server, &clients, "alice:s3cret", registry);
    for (settings, says) in [
        (format!("{PASSWORD}, {ours}"), "UnknownIssuer"),
        (format!("{PASSWORD}, {authority}"), "CertificateRequired"),
        (
            format!("{PASSWORD}, {authority}, {}", certificate(&strangers)),
            "alert",
        ),
    ] {
        configure(folder, &proxy, &settings);
        let told = check(folder).expect_exit(3).stdout;
        assert!(told.contains("cannot reach the schema registry"), "{told}");
        assert!(told.contains(says), "{says}: {told}");
    }
    drop(proxy);

    // Each lands all of the topic, in a folder and tables of its own.
    let elsewhere = tempfile::tempdir().expect("a temporary folder");
    for (folder, asks_for, wrong, right) in [
        (
            folder,
            "alice:s3cret",
            "username: alice, password: wrong",
            PASSWORD,
        ),
        (
            elsewhere.path(),
            "Bearer t0ken",
            "bearer_token: another",
            "bearer_token: t0ken",
        ),
    ] {
        let proxy = TlsRegistry::start(&server, &clients, asks_for, registry);
        configure(folder, &proxy, &format!("{wrong}, {authority}, {ours}"));
        let refused = spawn(folder, &["run", JOB]).wait(DEADLINE).expect_exit(2);
        let said = &refused.stderr;
        assert!(said.contains("refuses our credentials: 401"), "{said}");

        configure(folder, &proxy, &format!("{right}, {authority}, {ours}"));
        check(folder).expect_exit(0);
        let run = spawn(folder, &["run", JOB, "--until-caught-up", "--json"]);
        let printed = run.wait(DEADLINE).expect_exit(0).json();
        fs::write(folder.join("report.json"), printed.to_string()).expect("write the report");
        python(folder, &["judge", JOB, &sent, "report.json"]);
    }
}

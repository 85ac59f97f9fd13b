//! The client against a server of the tests' own, which answers as registries and what stands before them do.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use strandline_operators::ErrorKind;
use strandline_operators::io::{SchemaAnswer, SchemaKind, Schemas};

use super::{RegistrySettings, SchemaRegistry};
use crate::config::Secret;

/// How long an answer is waited for.
const DEADLINE: Duration = Duration::from_secs(30);

/// Status and body for a path; the second and later requests take the later ones, the last stays.
type Script = HashMap<&'static str, Vec<(u16, &'static str)>>;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn requests(&self) -> Vec<String> {
        self.0.lock().expect("log").clone()
    }
}

/// Serves a script until the test ends. Requests are logged as `PATH AUTHORIZATION`.
fn serve(script: Script) -> (RegistrySettings, Log) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/api", listener.local_addr().expect("address"));
    let log = Log::default();
    let logged = log.clone();
    std::thread::spawn(move || {
        let mut counts: HashMap<String, usize> = HashMap::new();
        for stream in listener.incoming().flatten() {
            answer(&stream, &script, &mut counts, &logged);
        }
    });
    let settings = RegistrySettings {
        url,
        ..RegistrySettings::default()
    };
    (settings, log)
}

fn answer(mut stream: &TcpStream, script: &Script, counts: &mut HashMap<String, usize>, log: &Log) {
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let Some(path) = head.first().and_then(|line| line.split(' ').nth(1)) else {
        return;
    };
    let authorization = head
        .iter()
        .find_map(|line| line.strip_prefix("authorization: "))
        .unwrap_or("");
    log.0
        .lock()
        .expect("log")
        .push(format!("{path} {authorization}"));
    let count = counts.entry(path.to_owned()).or_default();
    let (status, body) = match script.get(path) {
        Some(answers) => answers[(*count).min(answers.len() - 1)],
        None => (404, "no such page"),
    };
    *count += 1;
    let _ = write!(
        stream,
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
}

const TYPES: (&str, (u16, &str)) = ("/api/schemas/types", (200, r#"["AVRO"]"#));

fn script(answers: &[(&'static str, (u16, &'static str))]) -> Script {
    let mut script: Script = HashMap::from([(TYPES.0, vec![TYPES.1])]);
    for &(path, answer) in answers {
        script.entry(path).or_default().push(answer);
    }
    script
}

fn wait_for(schemas: &mut dyn Schemas) -> (u32, SchemaAnswer) {
    let begin = Instant::now();
    loop {
        if let Some(answer) = schemas.answer().expect("an answer") {
            return answer;
        }
        assert!(
            begin.elapsed() < DEADLINE,
            "waited {DEADLINE:?} for a schema"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn known(answer: SchemaAnswer) -> (SchemaKind, String, Vec<String>) {
    match answer {
        SchemaAnswer::Known(schema) => {
            let references = schema.references.iter();
            let references = references.map(|r| format!("{} {}", r.name, r.text));
            (schema.kind, schema.text.clone(), references.collect())
        }
        SchemaAnswer::Denied(why) => panic!("denied: {why}"),
    }
}

#[test]
fn a_schema_comes_with_all_that_it_refers_to_each_before_those_that_refer_to_it() {
    let (settings, _) = serve(script(&[
        (
            "/api/schemas/ids/7",
            (
                200,
                r#"{"schema":"root","references":[
            {"name":"b","subject":"b/x","version":2},{"name":"c","subject":"c","version":1}]}"#,
            ),
        ),
        (
            "/api/subjects/b%2Fx/versions/2",
            (
                200,
                r#"{"schema":"schema-b","references":[{"name":"c","subject":"c","version":1}]}"#,
            ),
        ),
        (
            "/api/subjects/c/versions/1",
            (200, r#"{"schema":"schema-c"}"#),
        ),
        (
            "/api/schemas/ids/8",
            (200, r#"{"schema":"{}","schemaType":"JSON"}"#),
        ),
    ]));
    let registry = SchemaRegistry::open(&settings).expect("a registry");
    let mut schemas = registry.schemas().expect("schemas");
    schemas.ask(7);
    let (id, answer) = wait_for(&mut *schemas);
    let expected = (
        SchemaKind::Avro,
        "root".to_owned(),
        vec!["c schema-c".to_owned(), "b schema-b".to_owned()],
    );
    assert_eq!((id, known(answer)), (7, expected));
    schemas.ask(8);
    assert_eq!(known(wait_for(&mut *schemas).1).0, SchemaKind::Json);
}

#[test]
fn whoever_asks_there_is_one_request_for_an_id_and_all_are_answered() {
    let (settings, log) = serve(script(&[(
        "/api/schemas/ids/7",
        (200, r#"{"schema":"x"}"#),
    )]));
    let registry = SchemaRegistry::open(&settings).expect("a registry");
    let mut workers: Vec<_> = (0..4)
        .map(|_| registry.schemas().expect("schemas"))
        .collect();
    for schemas in &mut workers {
        schemas.ask(7);
    }
    for schemas in &mut workers {
        assert_eq!(wait_for(&mut **schemas).0, 7);
    }
    workers[0].ask(7);
    assert_eq!(wait_for(&mut *workers[0]).0, 7, "kept");
    let asked = log
        .requests()
        .iter()
        .filter(|r| r.contains("/ids/7"))
        .count();
    assert_eq!(asked, 1);
}

#[test]
fn only_what_the_registry_denies_again_and_again_is_denied() {
    let denied = (
        404,
        r#"{"error_code":40403,"message":"Schema 7 not found"}"#,
    );
    let (settings, log) = serve(script(&[
        ("/api/schemas/ids/7", denied),
        // A replica that lags behind.
        ("/api/schemas/ids/8", denied),
        ("/api/schemas/ids/8", (200, r#"{"schema":"x"}"#)),
    ]));
    let registry = SchemaRegistry::open(&settings).expect("a registry");
    let mut schemas = registry.schemas().expect("schemas");
    schemas.ask(8);
    assert_eq!(known(wait_for(&mut *schemas).1).1, "x");
    schemas.ask(7);
    match wait_for(&mut *schemas) {
        (7, SchemaAnswer::Denied(why)) => assert!(why.contains("Schema 7 not found"), "{why}"),
        other => panic!("{other:?}"),
    }
    let asked = |log: &Log| {
        log.requests()
            .iter()
            .filter(|r| r.contains("/ids/7"))
            .count()
    };
    assert_eq!(asked(&log), 3);
    // A denial is not kept: the schema may be registered at any time.
    schemas.ask(7);
    wait_for(&mut *schemas);
    assert_eq!(asked(&log), 6);
}

#[test]
fn a_registry_in_trouble_is_asked_until_it_answers_and_denies_nothing() {
    let (settings, log) = serve(script(&[
        ("/api/schemas/ids/7", (503, "starting")),
        (
            "/api/schemas/ids/7",
            (404, "<html>a proxy's own page</html>"),
        ),
        ("/api/schemas/ids/7", (200, "not JSON")),
        (
            "/api/schemas/ids/7",
            (401, r#"{"error_code":401,"message":"wait"}"#),
        ),
        ("/api/schemas/ids/7", (200, r#"{"schema":"x"}"#)),
    ]));
    let registry = SchemaRegistry::open(&settings).expect("a registry");
    let mut schemas = registry.schemas().expect("schemas");
    schemas.ask(7);
    assert_eq!(known(wait_for(&mut *schemas).1).1, "x");
    let asked = log
        .requests()
        .iter()
        .filter(|r| r.contains("/ids/7"))
        .count();
    assert_eq!(asked, 5);
}

#[test]
fn a_registry_that_cannot_be_reached_at_the_start_is_waited_for() {
    // A port on which nobody listens, until somebody does.
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("address").port()
    };
    let settings = RegistrySettings {
        url: format!("http://127.0.0.1:{port}"),
        ..RegistrySettings::default()
    };
    let registry = SchemaRegistry::open(&settings).expect("no error: it may come");
    let mut schemas = registry.schemas().expect("schemas");
    schemas.ask(7);
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is still free");
    std::thread::spawn(move || {
        let script = script(&[("/schemas/ids/7", (200, r#"{"schema":"late"}"#))]);
        for stream in listener.incoming().flatten() {
            answer(&stream, &script, &mut HashMap::new(), &Log::default());
        }
    });
    assert_eq!(known(wait_for(&mut *schemas).1).1, "late");
}

#[test]
fn credentials_are_sent_and_a_refusal_at_the_start_is_an_error_of_the_configuration() {
    let found = ("/api/schemas/ids/7", (200, r#"{"schema":"x"}"#));
    let (settings, log) = serve(script(&[found]));
    let basic = RegistrySettings {
        basic: Some(("alice".to_owned(), Secret::new("pw"))),
        ..settings.clone()
    };
    let bearer = RegistrySettings {
        bearer_token: Some(Secret::new("t0ken")),
        ..settings
    };
    assert!(
        !format!("{basic:?} {bearer:?}").contains("pw\"")
            && !format!("{bearer:?}").contains("t0ken")
    );
    for settings in [basic, bearer] {
        SchemaRegistry::open(&settings)
            .expect("a registry")
            .look_up(7)
            .expect("a schema");
    }
    let requests = log.requests();
    let of_seven: Vec<&String> = requests.iter().filter(|r| r.contains("/ids/7")).collect();
    // `alice:pw` in base64.
    assert_eq!(
        of_seven,
        [
            "/api/schemas/ids/7 Basic YWxpY2U6cHc=",
            "/api/schemas/ids/7 Bearer t0ken"
        ]
    );

    let (settings, _) = serve(HashMap::from([(TYPES.0, vec![(401, "who are you?")])]));
    let error = SchemaRegistry::open(&settings).err().expect("refused");
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(
        error.message().contains("refuses our credentials"),
        "{error}"
    );
}

#[test]
fn settings_that_no_client_can_be_made_of_say_what_is_wrong() {
    let of = |settings: RegistrySettings| {
        let error = SchemaRegistry::open(&settings).err().expect("an error");
        assert_eq!(error.kind(), ErrorKind::Configuration);
        error.to_string()
    };
    let url = |url: &str| RegistrySettings {
        url: url.to_owned(),
        ..RegistrySettings::default()
    };
    assert!(of(url("localhost:8081")).contains("schema_registry.url"));
    let missing = RegistrySettings {
        ssl_ca_location: Some("/nowhere/ca.pem".to_owned()),
        ..url("https://localhost")
    };
    assert!(of(missing).contains("ssl_ca_location"));
    let empty = tempfile::NamedTempFile::new().expect("a file");
    let empty = RegistrySettings {
        ssl_ca_location: Some(empty.path().display().to_string()),
        ..url("https://localhost")
    };
    assert!(of(empty).contains("ssl_ca_location"));
}

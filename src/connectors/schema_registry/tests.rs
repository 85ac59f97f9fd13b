//! The client against a server of the tests' own, which answers as registries and what stands before them do.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use strandline_operators::ErrorKind;
use strandline_operators::io::{SchemaAnswer, SchemaKind, Schemas};

use super::client::MAX_REQUESTS;
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

fn denied(answer: SchemaAnswer) -> String {
    match answer {
        SchemaAnswer::Denied(why) => why,
        SchemaAnswer::Known(schema) => panic!("known: {schema:?}"),
    }
}

/// Requests for schema 7.
fn asked_for_7(log: &Log) -> usize {
    let requests = log.requests();
    requests.iter().filter(|r| r.contains("/ids/7")).count()
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
fn an_id_that_no_registry_gives_is_denied_without_a_request() {
    let (settings, log) = serve(script(&[]));
    let registry = SchemaRegistry::open(&settings).expect("a registry");
    let mut schemas = registry.schemas().expect("schemas");
    for id in [0, 0x8000_0000, u32::MAX] {
        schemas.ask(id);
        let (answered, answer) = wait_for(&mut *schemas);
        assert_eq!(answered, id);
        let why = denied(answer);
        assert!(why.contains("between 1 and 2147483647"), "{why}");
        assert_eq!(denied(registry.look_up(id).expect("an answer")), why);
    }
    let requests = log.requests();
    assert!(
        requests.iter().all(|r| !r.contains("/ids/")),
        "{requests:?}"
    );
}

#[test]
fn a_refusal_in_other_words_is_a_denial_where_a_registry_answers() {
    let (settings, log) = serve(script(&[
        (
            "/api/schemas/ids/7",
            (404, r#"{"error_code":404,"message":"HTTP 404 Not Found"}"#),
        ),
        ("/api/schemas/ids/8", (422, r#"{"error_code":42299}"#)),
        ("/api/schemas/ids/9", (400, "no such number")),
    ]));
    let registry = SchemaRegistry::open(&settings).expect("a registry");
    let mut schemas = registry.schemas().expect("schemas");
    for id in [7, 8, 9] {
        schemas.ask(id);
    }
    let mut answers: Vec<(u32, String)> = Vec::new();
    for _ in 0..3 {
        let (id, answer) = wait_for(&mut *schemas);
        answers.push((id, denied(answer)));
    }
    answers.sort();
    let ids: Vec<u32> = answers.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, [7, 8, 9]);
    let why = &answers[0].1;
    assert!(why.contains("404 Not Found: HTTP 404 Not Found"), "{why}");
    assert_eq!(asked_for_7(&log), 3);
}

#[test]
fn a_refusal_in_other_words_denies_nothing_where_no_registry_answers() {
    let page = (404, "no such page");
    let found = (200, r#"{"schema":"x"}"#);
    let answers = vec![page, page, page, page, found];
    let (settings, log) = serve(HashMap::from([("/api/schemas/ids/7", answers)]));
    let registry = SchemaRegistry::open(&settings).expect("a registry");
    let mut schemas = registry.schemas().expect("schemas");
    schemas.ask(7);
    assert_eq!(known(wait_for(&mut *schemas).1).1, "x");
    assert_eq!(asked_for_7(&log), 5);
}

#[test]
fn denials_count_together_though_the_registry_is_busy_between_them() {
    let no = (
        404,
        r#"{"error_code":40403,"message":"Schema 7 not found"}"#,
    );
    let busy = (429, "too many requests");
    let answers = [no, busy, no, busy, no].map(|answer| ("/api/schemas/ids/7", answer));
    let (settings, log) = serve(script(&answers));
    let registry = SchemaRegistry::open(&settings).expect("a registry");
    let mut schemas = registry.schemas().expect("schemas");
    schemas.ask(7);
    let why = denied(wait_for(&mut *schemas).1);
    assert!(why.contains("Schema 7 not found"), "{why}");
    assert_eq!(asked_for_7(&log), 5);
}

#[test]
fn however_many_ids_are_new_the_requests_under_way_are_bounded_and_all_are_answered() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("address"));
    // Requests under way, and the most that were.
    let counts = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
    let counted = Arc::clone(&counts);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let counted = Arc::clone(&counted);
            std::thread::spawn(move || {
                let lines = BufReader::new(&stream).lines().map_while(Result::ok);
                lines.take_while(|line| !line.is_empty()).for_each(drop);
                let (now, most) = &*counted;
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(20));
                now.fetch_sub(1, Ordering::SeqCst);
                let body = r#"{"schema":"x"}"#;
                let _ = write!(
                    stream,
                    "HTTP/1.1 200 X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                );
            });
        }
    });
    let settings = RegistrySettings {
        url,
        ..RegistrySettings::default()
    };
    let registry = SchemaRegistry::open(&settings).expect("a registry");
    let mut schemas = registry.schemas().expect("schemas");
    let ids = 1..=4 * MAX_REQUESTS as u32;
    for id in ids.clone() {
        schemas.ask(id);
    }
    for _ in ids {
        assert_eq!(known(wait_for(&mut *schemas).1).1, "x");
    }
    let most = counts.1.load(Ordering::SeqCst);
    assert!(most <= MAX_REQUESTS, "{most} at once");
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

#[test]
fn who_waits_for_a_schema_gets_it_though_one_request_is_lost() {
    let seven = "/api/schemas/ids/7";
    let lost = (503, "try again");
    let (settings, log) = serve(script(&[
        (seven, lost),
        (seven, (200, r#"{"schema": "\"string\""}"#)),
    ]));
    let registry = SchemaRegistry::open(&settings).expect("a registry");
    known(registry.look_up(7).expect("a schema"));
    assert_eq!(asked_for_7(&log), 2);
    let (settings, log) = serve(script(&[(seven, lost)]));
    let registry = SchemaRegistry::open(&settings).expect("a registry");
    let error = registry.look_up(7).expect_err("it never answers");
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert_eq!(asked_for_7(&log), 2);
}

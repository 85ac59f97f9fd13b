//! What is served where.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures::Stream;
use serde::Serialize;
use serde_json::{Value, json};
use strandline_operators::{Error, ErrorKind, Result};

use super::guard::{Entrance, check};
use super::problem::Problem;
use super::{metrics, openapi, socket};
use crate::connectors::iceberg::validate_savepoint_name;
use crate::status::board::{Board, Event};
use crate::status::job::{JobState, JobStatus};

/// How long an answer may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a savepoint may take: it waits for the catalog.
const SAVEPOINT_TIMEOUT: Duration = Duration::from_secs(120);
/// How long an answer is put off until the job has ended; whoever waits longer asks again.
const END_TIMEOUT: Duration = Duration::from_secs(20);
/// The largest body of a request, in bytes. The only one that is read holds a name.
const MAX_BODY_BYTES: usize = 16 << 10;
/// The shortest time between two events of a stream.
const EVENT_INTERVAL: Duration = Duration::from_secs(1);
/// After this a stream of events ends, and the page asks for another: who does not listen is given up.
const EVENTS_LIFETIME: Duration = Duration::from_secs(10 * 60);
/// From the return of a handler until its answer is with the system.
const ANSWER_PAUSE: Duration = Duration::from_millis(50);
/// How long a neighbour may take to say how it is.
const NEIGHBOUR_TIMEOUT: Duration = Duration::from_millis(500);

/// Makes a savepoint of a name, or of the time, and says what it is.
pub type SavepointAction = Arc<dyn Fn(Option<String>) -> Result<Value> + Send + Sync>;

/// A job of the registry, which may run on this host.
#[derive(Clone, Debug)]
pub struct Neighbour {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// The topics it reads.
    pub topics: Vec<String>,
    /// Its table.
    pub table: String,
    /// The folder of its state, with its socket when it runs.
    pub folder: PathBuf,
}

/// What the server can do besides showing.
#[derive(Clone)]
pub struct Actions {
    /// Makes a savepoint of this job.
    pub savepoint: SavepointAction,
    /// All jobs of the registry, this one included.
    pub jobs: Vec<Neighbour>,
}

/// What handlers share.
pub(super) struct Shared {
    pub board: Arc<Board>,
    pub actions: Actions,
    /// How many wait for the end of the job.
    pub waiting: Arc<AtomicUsize>,
}

type Ask = State<Arc<Shared>>;

/// The routes, for requests that come in this way.
pub(super) fn router(shared: &Arc<Shared>, entrance: Entrance) -> Router {
    let entrance = Arc::new(entrance);
    Router::new()
        .route("/", get(|| asset(PAGE, "text/html; charset=utf-8")))
        .route(
            "/app.js",
            get(|| asset(SCRIPT, "text/javascript; charset=utf-8")),
        )
        .route(
            "/style.css",
            get(|| asset(STYLE, "text/css; charset=utf-8")),
        )
        .route(
            "/uplot.js",
            get(|| asset(UPLOT, "text/javascript; charset=utf-8")),
        )
        .route(
            "/uplot.css",
            get(|| asset(UPLOT_STYLE, "text/css; charset=utf-8")),
        )
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(show_metrics))
        .route(
            "/api/v1/openapi.json",
            get(|| async { json_answer(&openapi::document()) }),
        )
        .route("/api/v1/jobs", get(jobs))
        .route("/api/v1/jobs/{job}", get(job))
        .route("/api/v1/jobs/{job}/settings", get(settings))
        .route("/api/v1/jobs/{job}/history", get(history))
        .route("/api/v1/jobs/{job}/events", get(events))
        .route("/api/v1/jobs/{job}/end", get(end))
        .route("/api/v1/jobs/{job}/stop", post(stop))
        .route("/api/v1/jobs/{job}/cancel", post(cancel))
        .route("/api/v1/jobs/{job}/savepoint", post(savepoint))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(middleware::from_fn_with_state(Arc::clone(shared), pass_on))
        .layer(middleware::from_fn(move |request: Request, next: Next| {
            let entrance = Arc::clone(&entrance);
            async move { guarded(&entrance, request, next).await }
        }))
        .with_state(Arc::clone(shared))
}

const PAGE: &str = include_str!("page/index.html");
const SCRIPT: &str = include_str!("page/app.js");
const STYLE: &str = include_str!("page/style.css");
const UPLOT: &str = include_str!("page/uplot.js");
const UPLOT_STYLE: &str = include_str!("page/uplot.css");

/// What the page may do: load its own files and ask this server. uPlot sets styles of elements.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Checks who asks, bounds body and time, and adds what every answer has.
async fn guarded(entrance: &Entrance, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let mut response = match check(entrance, request.method(), path, request.headers()) {
        Err(problem) => problem.into_response(),
        Ok(()) => {
            let limit = match path.rsplit('/').next() {
                Some("savepoint") => SAVEPOINT_TIMEOUT,
                Some("end") => END_TIMEOUT + REQUEST_TIMEOUT,
                _ => REQUEST_TIMEOUT,
            };
            match read_body(request).await {
                Err(problem) => problem.into_response(),
                Ok(request) => tokio::time::timeout(limit, next.run(request))
                    .await
                    .unwrap_or_else(|_| {
                        let detail = "this took too long; ask again";
                        Problem::new(StatusCode::GATEWAY_TIMEOUT, detail).into_response()
                    }),
            }
        }
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Reads the body, up to what any request needs, before anything is done for it.
async fn read_body(request: Request) -> std::result::Result<Request, Problem> {
    let (parts, body) = request.into_parts();
    let too_large = || {
        let detail = format!("the body is larger than {MAX_BODY_BYTES} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    };
    let said = parts.headers.get(header::CONTENT_LENGTH);
    let said = said.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if said.is_some_and(|bytes| bytes > MAX_BODY_BYTES as u64) {
        return Err(too_large());
    }
    let read = axum::body::to_bytes(body, MAX_BODY_BYTES);
    match tokio::time::timeout(REQUEST_TIMEOUT, read).await {
        Ok(Ok(bytes)) => Ok(Request::from_parts(parts, Body::from(bytes))),
        Ok(Err(_)) => Err(too_large()),
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "the body did not come in time",
        )),
    }
}

/// Requests about another job of this host go to that job.
async fn pass_on(State(shared): Ask, request: Request, next: Next) -> Response {
    let job = request.uri().path().strip_prefix("/api/v1/jobs/");
    let job = job.and_then(|rest| rest.split('/').next());
    let Some(job) = job.filter(|job| !job.is_empty() && *job != shared.board.job()) else {
        return next.run(request).await;
    };
    let known = shared.actions.jobs.iter().find(|known| known.name == job);
    let Some(known) = known else {
        let detail = format!("there is no job `{job}`; `/api/v1/jobs` lists them");
        return Problem::new(StatusCode::NOT_FOUND, detail).into_response();
    };
    let path = request
        .uri()
        .path_and_query()
        .map(|p| p.as_str().to_owned());
    let Some(uri) = path.and_then(|path| path.parse::<Uri>().ok()) else {
        return no_such_path(request.uri().clone()).await.into_response();
    };
    let (mut parts, body) = request.into_parts();
    parts.uri = uri;
    let path = known.folder.join(socket::NAME);
    match socket::forward(&path, Request::from_parts(parts, body)).await {
        Ok(answer) => answer,
        Err(_) => not_running(&known.name).into_response(),
    }
}

fn not_running(job: &str) -> Problem {
    let detail = format!("job `{job}` does not run on this host; `strandline run {job}` starts it");
    Problem::new(StatusCode::CONFLICT, detail)
}

async fn no_such_path(uri: Uri) -> Problem {
    let detail = format!(
        "there is nothing at `{}`; `/api/v1/openapi.json` describes what there is",
        uri.path()
    );
    Problem::new(StatusCode::NOT_FOUND, detail)
}

async fn no_such_method(uri: Uri) -> Problem {
    let detail = format!(
        "`{}` does not take this method; `/api/v1/openapi.json` says which",
        uri.path()
    );
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}

async fn asset(text: &'static str, content_type: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, content_type)], text)
}

fn json_answer(document: &impl Serialize) -> Response {
    match serde_json::to_string(document) {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Err(e) => {
            let detail = format!("cannot write the answer as JSON: {e}");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail).into_response()
        }
    }
}

async fn ready(State(shared): Ask) -> Response {
    let published = shared.board.published();
    let status = &published.status;
    if status.ready && status.state != JobState::Ended {
        return "ready\n".into_response();
    }
    let detail = format!(
        "the job is {}, and has not committed since its start",
        status.state.name()
    );
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).into_response()
}

async fn show_metrics(State(shared): Ask, headers: HeaderMap) -> Response {
    let accepts = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok());
    let format = match accepts {
        Some(accepts) if accepts.contains("application/openmetrics-text") => {
            metrics::Format::OpenMetrics
        }
        _ => metrics::Format::Text,
    };
    let text = metrics::text(&shared.board.published(), format);
    ([(header::CONTENT_TYPE, format.content_type())], text).into_response()
}

/// One line of the list of jobs.
#[derive(Clone, Debug, Serialize)]
struct Listed {
    name: String,
    description: String,
    topics: Vec<String>,
    table: String,
    running: bool,
    #[serde(flatten)]
    says: BTreeMap<&'static str, Value>,
}

async fn jobs(State(shared): Ask) -> Response {
    let mut listed = Vec::new();
    for known in &shared.actions.jobs {
        let status = if known.name == shared.board.job() {
            serde_json::to_value(&shared.board.published().status).ok()
        } else {
            neighbour(known).await
        };
        let says = status.as_ref().map(|status| {
            let keys = [
                "state",
                "lag",
                "ready",
                "http",
                "rates",
                "freshness",
                "account",
                "findings",
            ];
            keys.map(|key| (key, status[key].clone())).into()
        });
        listed.push(Listed {
            name: known.name.clone(),
            description: known.description.clone(),
            topics: known.topics.clone(),
            table: known.table.clone(),
            running: status.is_some(),
            says: says.unwrap_or_else(|| [("state", json!("stopped"))].into()),
        });
    }
    json_answer(&json!({ "jobs": listed }))
}

async fn neighbour(known: &Neighbour) -> Option<Value> {
    let ask = async {
        let request = Request::get(format!("/api/v1/jobs/{}", known.name))
            .header(header::HOST, "localhost")
            .body(Body::empty())
            .ok()?;
        let answer = socket::forward(&known.folder.join(socket::NAME), request)
            .await
            .ok()?;
        let body = axum::body::to_bytes(answer.into_body(), 16 << 20)
            .await
            .ok()?;
        serde_json::from_slice(&body).ok()
    };
    tokio::time::timeout(NEIGHBOUR_TIMEOUT, ask).await.ok()?
}

async fn job(State(shared): Ask, Path(_job): Path<String>) -> Response {
    json_answer(&shared.board.published().status)
}

async fn settings(State(shared): Ask, Path(_job): Path<String>) -> Response {
    json_answer(&json!({ "settings": shared.board.about().in_force }))
}

async fn history(State(shared): Ask, Path(_job): Path<String>) -> Response {
    json_answer(&json!({ "points": shared.board.history() }))
}

async fn events(
    State(shared): Ask,
    Path(_job): Path<String>,
) -> Sse<impl Stream<Item = std::result::Result<SseEvent, Infallible>>> {
    let mut published = shared.board.subscribe();
    published.mark_changed();
    let deadline = tokio::time::Instant::now() + EVENTS_LIFETIME;
    let stream =
        futures::stream::unfold((published, None), move |(mut published, last)| async move {
            if let Some(last) = last {
                tokio::time::sleep_until(last + EVENT_INTERVAL).await;
            }
            let changed = tokio::time::timeout_at(deadline, published.changed()).await;
            // Over: the job is gone, or this has lasted long enough.
            changed.ok()?.ok()?;
            let latest = Arc::clone(&published.borrow_and_update());
            let event = Event {
                status: &latest.status,
                point: latest.point,
            };
            let text = serde_json::to_string(&event).unwrap_or_default();
            let event = SseEvent::default().event("status").data(text);
            Some((Ok(event), (published, Some(tokio::time::Instant::now()))))
        });
    Sse::new(stream).keep_alive(KeepAlive::default())
}

/// Counts one who waits, as long as it lives.
struct Waiting(Arc<AtomicUsize>);

impl Drop for Waiting {
    fn drop(&mut self) {
        let count = Arc::clone(&self.0);
        let over = move || count.fetch_sub(1, Ordering::Relaxed);
        // The answer is on its way only a moment after its handler has returned.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(async move {
                tokio::time::sleep(ANSWER_PAUSE).await;
                over();
            })),
            Err(_) => drop(over()),
        }
    }
}

async fn end(State(shared): Ask, Path(_job): Path<String>) -> Response {
    shared.waiting.fetch_add(1, Ordering::Relaxed);
    let _waiting = Waiting(Arc::clone(&shared.waiting));
    let mut published = shared.board.subscribe();
    let is_over = published.wait_for(|latest| latest.status.end.is_some());
    // Too early is an answer too.
    let _ = tokio::time::timeout(END_TIMEOUT, is_over).await;
    let published = shared.board.published();
    let JobStatus {
        job,
        state,
        account,
        end,
        ..
    } = &published.status;
    let document = json!({ "job": job, "state": state, "account": account, "end": end });
    let mut answer = json_answer(&document);
    if end.is_none() {
        *answer.status_mut() = StatusCode::ACCEPTED;
    }
    answer
}

fn accepted(shared: &Shared, state: &str) -> Response {
    let mut answer = json_answer(&json!({ "job": shared.board.job(), "state": state }));
    *answer.status_mut() = StatusCode::ACCEPTED;
    answer
}

async fn stop(State(shared): Ask, Path(_job): Path<String>) -> Response {
    tracing::info!(job = shared.board.job(), "asked to stop");
    shared.board.interrupt().stop();
    accepted(&shared, "draining")
}

async fn cancel(State(shared): Ask, Path(_job): Path<String>) -> Response {
    tracing::info!(job = shared.board.job(), "asked to cancel");
    shared.board.cancel();
    accepted(&shared, "ended")
}

async fn savepoint(
    State(shared): Ask,
    Path(_job): Path<String>,
    body: axum::body::Bytes,
) -> Response {
    let name = match savepoint_name(&body) {
        Ok(name) => name,
        Err(problem) => return problem.into_response(),
    };
    let make = Arc::clone(&shared.actions.savepoint);
    let made = tokio::task::spawn_blocking(move || make(name)).await;
    match made {
        Ok(Ok(document)) => {
            let mut answer = json_answer(&document);
            *answer.status_mut() = StatusCode::CREATED;
            answer
        }
        Ok(Err(error)) => {
            let status = match error.kind() {
                // The name is fine, and in use; or there is nothing to save yet.
                ErrorKind::Configuration | ErrorKind::Refused => StatusCode::CONFLICT,
                ErrorKind::Unreachable => StatusCode::BAD_GATEWAY,
                ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            };
            Problem::new(status, error.to_string()).into_response()
        }
        Err(e) => {
            let error = Error::internal(format!("the savepoint was not made: {e}"));
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response()
        }
    }
}

/// The name in a body such as `{"name": "before-upgrade"}`; an empty body names none.
fn savepoint_name(body: &[u8]) -> std::result::Result<Option<String>, Problem> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        name: Option<String>,
    }
    if body.is_empty() {
        return Ok(None);
    }
    match serde_json::from_slice::<Body>(body) {
        Ok(Body { name: Some(name) }) => match validate_savepoint_name(&name) {
            Ok(()) => Ok(Some(name)),
            Err(e) => Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                e.to_string(),
            )),
        },
        Ok(Body { name: None }) => Ok(None),
        Err(e) => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            format!("the body must be empty or like {{\"name\": \"before-upgrade\"}}: {e}"),
        )),
    }
}

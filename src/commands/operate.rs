//! What `run`, `launch` and `demo` share: the board on which the job is shown, and the server that shows it.

use std::path::Path;
use std::sync::Arc;

use strandline_operators::context::OnFailure;
use strandline_operators::job::{Job, JobSettings};
use strandline_operators::observed::Observed;
use strandline_operators::{Error, ErrorKind, Result};

use crate::cli::output::print_error;
use crate::config::Engine;
use crate::connectors::iceberg::CatalogSettings;
use crate::connectors::kafka::client::KafkaSettings;
use crate::engine::crash::Situation;
use crate::engine::interrupt::Interrupt;
use crate::engine::parent::exit_now;
use crate::engine::{JobRun, crash, supervised};
use crate::http::{Actions, Listen, Neighbour, Server, socket};
use crate::status::board::{About, Board};
use crate::status::job::SettingStatus;

/// A job that is shown while it runs.
pub(super) struct Shown {
    pub board: Arc<Board>,
    server: Arc<Server>,
}

/// What a job needs in order to be shown.
pub(super) struct ToShow<'a> {
    pub jobs: &'a [Job],
    pub engine: &'a Engine,
    pub settings: &'a JobSettings,
    pub kafka: &'a KafkaSettings,
    pub catalog: &'a CatalogSettings,
    /// The folder of the state of all jobs.
    pub state_dir: &'a Path,
}

impl Shown {
    /// Begins to show a job. The caller holds its lock.
    ///
    /// # Errors
    /// An address or a socket that cannot be had.
    pub(super) fn begin(of: &ToShow<'_>, interrupt: &Interrupt) -> Result<Shown> {
        let engine = of.engine;
        let about = About {
            settings: of.settings.clone(),
            in_force: in_force(engine, &of.settings.name),
            bootstrap_servers: of.kafka.bootstrap_servers.clone(),
            folder: of.state_dir.join(&of.settings.name),
        };
        let board = Board::new(about, interrupt);
        board.keep()?;
        let is_http = |path: &[String]| path.len() == 1 && path[0] == "http";
        let listen = Listen {
            address: engine.http,
            is_configured: engine
                .settings
                .iter()
                .any(|setting| is_http(&setting.path) && setting.origin.is_said()),
            token: engine.http_token.clone(),
            tls: engine.http_tls.clone(),
            socket: Some(board.about().folder.join(socket::NAME)),
        };
        let neighbours = of.jobs.iter().filter_map(|job| {
            let settings = engine.jobs.get(job.name)?;
            Some(Neighbour {
                name: job.name.to_owned(),
                description: job.description.to_owned(),
                topics: settings.topics.clone(),
                table: settings.table.clone(),
                folder: of.state_dir.join(job.name),
            })
        });
        let actions = Actions {
            savepoint: super::savepoint::action(of.catalog, of.settings),
            jobs: neighbours.collect(),
        };
        let server = Server::start(&board, &listen, actions)
            .inspect_err(|error| board.ended(Some(error), error.kind().exit_code()))?;
        Ok(Shown {
            board,
            server: Arc::new(server),
        })
    }

    /// Shows how it ended to those who wait for that.
    pub(super) fn end<T>(&self, done: &Result<T>, exit_status: u8) {
        let error = done.as_ref().err();
        let status = error.map_or(exit_status, |error| error.kind().exit_code());
        self.server.farewell(error, status);
    }

    /// What shows the end of a job that a signal ends before it reads.
    pub(super) fn on_early_end(&self) -> Box<dyn FnOnce(u8) + Send> {
        // A job that fails before the signal takes its server down by itself.
        let server = Arc::downgrade(&self.server);
        Box::new(move |exit_status| {
            if let Some(server) = server.upgrade() {
                server.farewell(None, exit_status);
            }
        })
    }

    /// What ends this process when the job fails while it runs.
    pub(super) fn on_failure(&self) -> OnFailure {
        let server = Arc::clone(&self.server);
        Arc::new(move |error: Error| {
            print_error(&error);
            report_crash(&error);
            server.farewell(Some(&error), error.kind().exit_code());
            exit_now(error.kind().exit_code());
        })
    }
}

/// What ends a process that `launch` supervises, or one of several, when the job fails while it runs: the error,
/// then the exit status it stands for. Nothing is unwound: the table knows where to go on.
pub(super) fn end_process() -> OnFailure {
    Arc::new(|error: Error| {
        print_error(&error);
        supervised::last_words(&error);
        report_crash(&error);
        // Not through exit handlers: what hangs could hang them too.
        exit_now(error.kind().exit_code());
    })
}

/// Only a defect of ours is worth a report; what is wrong outside, the error says it all.
fn report_crash(error: &Error) {
    if error.kind() == ErrorKind::Internal {
        crash::report(&error.to_string());
    }
}

/// From now on a crash leaves a report beside the job's state.
pub(super) fn report_crashes(engine: &Engine, run: &JobRun, observed: &Arc<Observed>) {
    let job = &run.settings.name;
    let lines = in_force(engine, job).into_iter();
    let settings = lines.map(|s| format!("{}: {}  # {}\n", s.key, s.value, s.origin));
    crash::prepare(Situation {
        folder: run.job_dir(),
        job: job.clone(),
        settings: settings.collect(),
        observed: Arc::clone(observed),
        afterwards: "started again, the job goes on from its table",
    });
}

/// The settings of this job and those of all; secrets are masked already.
fn in_force(engine: &Engine, job: &str) -> Vec<SettingStatus> {
    let settings = engine.settings.iter();
    let of_others = |path: &[String]| path.len() > 1 && path[0] == "jobs" && path[1] != job;
    settings
        .filter(|setting| !of_others(&setting.path))
        .map(|setting| SettingStatus {
            key: setting.key(),
            value: setting.value.clone(),
            origin: setting.origin.to_string(),
        })
        .collect()
}

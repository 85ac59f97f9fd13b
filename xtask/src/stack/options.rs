//! What the command line asks of the stack.

use std::path::PathBuf;

use super::service::Service;
use crate::{Result, places};

const USAGE: &str = "\
usage: cargo xtask stack up [--only kafka,kafka2,kafka-secured,rest,schema-registry,s3,rest-s3] [--dir DIR]
       cargo xtask stack down [--purge] [--dir DIR]
       cargo xtask stack status [--dir DIR]
       cargo xtask stack SERVICE start|stop|kill [--dir DIR]

  up      starts the services on free ports, and describes them in DIR/stack.json; kafka2, a second
          broker, kafka-secured, with SASL and TLS, schema-registry, s3, an object store, and
          rest-s3, a REST catalog whose tables are in it, only with --only
  down    stops them; their data stay for the next `up`, unless --purge deletes DIR
  start, stop, kill (-9): one service, on the same data and port
  DIR     is .stack in the clone by default";

/// What to do.
pub enum Chore {
    /// Start the services.
    Up { only: Vec<Service> },
    /// Stop them, and with `purge` delete their folder.
    Down { purge: bool },
    /// Say what runs.
    Status,
    /// Start one service.
    Start(Service),
    /// Stop one service in good order.
    Stop(Service),
    /// Kill one service.
    Kill(Service),
    /// Stop the stack when standard input ends.
    Guard,
}

/// The command line of `cargo xtask stack`.
pub struct Options {
    /// What to do.
    pub chore: Chore,
    /// The stack's folder; absolute, because services run elsewhere.
    pub folder: PathBuf,
}

impl Options {
    /// Reads the command line.
    pub fn parse(args: &[String]) -> Result<Options> {
        let usage = |problem: String| format!("{problem}\n\n{USAGE}");
        let mut words: Vec<&str> = Vec::new();
        let mut folder = None;
        let mut only = None;
        let mut purge = false;
        let mut args = args.iter().map(String::as_str);
        while let Some(arg) = args.next() {
            let mut value = || {
                args.next()
                    .ok_or_else(|| usage(format!("`{arg}` wants a value")))
            };
            match arg {
                "--dir" => folder = Some(PathBuf::from(value()?)),
                "--only" => only = Some(value()?),
                "--purge" => purge = true,
                option if option.starts_with('-') => {
                    return Err(usage(format!("there is no option `{option}`")));
                }
                word => words.push(word),
            }
        }
        let service = |name: &str| {
            let named = Service::ALL
                .into_iter()
                .find(|service| service.name() == name);
            named.ok_or_else(|| usage(format!("there is no service `{name}`")))
        };
        let chore = match words.as_slice() {
            ["up"] => Chore::Up {
                only: match only.take() {
                    Some(names) => names.split(',').map(service).collect::<Result<_>>()?,
                    None => Service::USUAL.to_vec(),
                },
            },
            ["down"] => Chore::Down {
                purge: std::mem::take(&mut purge),
            },
            ["status"] => Chore::Status,
            ["guard"] => Chore::Guard,
            [name, "start"] => Chore::Start(service(name)?),
            [name, "stop"] => Chore::Stop(service(name)?),
            [name, "kill"] => Chore::Kill(service(name)?),
            [] => return Err(usage("what should the stack do?".to_owned())),
            words => {
                return Err(usage(format!(
                    "`{}` is nothing the stack does",
                    words.join(" ")
                )));
            }
        };
        if only.is_some() || purge {
            return Err(usage(
                "--only belongs to `up`, --purge to `down`".to_owned(),
            ));
        }
        let folder = match folder {
            Some(folder) => folder,
            None => places::repository()?.join(".stack"),
        };
        let folder = std::path::absolute(folder).map_err(|e| format!("--dir is no path: {e}"))?;
        Ok(Options { chore, folder })
    }
}

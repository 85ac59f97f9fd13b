//! What a run is asked to do.

use super::schedule::{Fault, Schedule};

/// The options of a run, with those of the short one as defaults.
#[derive(Clone, Debug)]
pub struct Options {
    /// Of the schedule and of the events.
    pub seed: u64,
    /// Faults; `None` for the short schedule, which has each at least once.
    pub faults: Option<usize>,
    /// Only these faults.
    pub only: Vec<Fault>,
    /// Events a second.
    pub rate: u64,
    /// Events that are produced and drained before the first fault.
    pub ids: u64,
    /// The job's `commit.interval`, in milliseconds.
    pub interval_ms: u64,
    /// Minutes of a soak run; for that only.
    pub minutes: f64,
    /// Whether the stack of `STRANDLINE_STACK` is this run's own, to be killed.
    pub owns_stack: bool,
    /// Whether the judge streams: some fields less compared, a fraction of the time and memory.
    pub lean: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            seed: rand::random(),
            faults: None,
            only: Vec::new(),
            rate: 2500,
            ids: 0,
            interval_ms: 200,
            minutes: 30.0,
            owns_stack: false,
            lean: false,
        }
    }
}

impl Options {
    /// Reads `--seed S --kills N --only a,b --rate R --ids N --interval-ms MS --minutes M`.
    ///
    /// # Errors
    /// An option that is none, or a value that is none.
    pub fn parse(args: &[String]) -> Result<Options, String> {
        let mut options = Options {
            owns_stack: true,
            lean: true,
            ..Options::default()
        };
        let mut args = args.iter();
        while let Some(name) = args.next() {
            let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
            let number = || {
                value
                    .replace('_', "")
                    .parse::<u64>()
                    .map_err(|e| format!("{name} {value}: {e}"))
            };
            match name.as_str() {
                "--seed" => options.seed = number()?,
                "--kills" => options.faults = Some(number()? as usize),
                "--rate" => options.rate = number()?.max(1),
                "--ids" => options.ids = number()?,
                "--interval-ms" => options.interval_ms = number()?,
                "--minutes" => {
                    options.minutes = value.parse().map_err(|e| format!("{name} {value}: {e}"))?;
                }
                "--only" => options.only = faults(value)?,
                _ => {
                    return Err(format!(
                        "there is no option `{name}`: --seed, --kills, --only, --rate, --ids, --interval-ms, --minutes"
                    ));
                }
            }
        }
        if !options.only.is_empty() && options.faults.is_none() {
            options.faults = Some(options.only.len());
        }
        Ok(options)
    }

    /// The faults to be done.
    pub fn schedule(&self) -> Schedule {
        match self.faults {
            None => Schedule::short(self.seed),
            Some(faults) => Schedule::long(self.seed, faults, &self.only),
        }
    }
}

fn faults(names: &str) -> Result<Vec<Fault>, String> {
    names
        .split(',')
        .map(|name| {
            let found = Fault::ALL.into_iter().find(|fault| fault.name() == name);
            found.ok_or_else(|| {
                let all: Vec<&str> = Fault::ALL.iter().map(|fault| fault.name()).collect();
                format!("there is no fault `{name}`: {}", all.join(", "))
            })
        })
        .collect()
}

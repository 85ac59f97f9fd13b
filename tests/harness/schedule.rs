//! Which faults, in which order, on clusters of which shape: all of it from one seed.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

/// Milliseconds of undisturbed work before a fault.
const REST_MS: std::ops::Range<u64> = 200..1500;
/// Faults that one cluster of a long run lives through before the next shape.
const FAULTS_PER_SHAPE: usize = 12;
/// A disk is filled once in so many faults of a long run.
const FAULTS_PER_FULL_DISK: usize = 250;

/// What is done to the job or to what it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// kill -9 of one process.
    KillOne,
    /// kill -9 of every process at once.
    KillAll,
    /// kill -9 of the launcher; its processes must end with it.
    KillLauncher,
    /// kill -9 of one process, and again while the job recovers.
    KillAgain,
    /// kill -9 of the broker, which comes back.
    KillBroker,
    /// kill -9 of the catalog, which comes back.
    KillCatalog,
    /// SIGSTOP of one process for a while.
    Pause,
    /// SIGSTOP of the whole cluster; it wakes up when a new generation runs on another host.
    Zombie,
    /// The same, of the process that commits alone; its peer is killed.
    ZombieCommitter,
    /// The state of one worker is deleted between two runs.
    LoseOneState,
    /// All state is deleted between two runs.
    LoseState,
    /// All state is deleted under the running job; then one process is killed.
    LoseStateAlive,
    /// The disk of the state is full.
    FullState,
    /// The disk of the warehouse is full.
    FullWarehouse,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Fault; 14] = [
        Fault::KillOne,
        Fault::KillAll,
        Fault::KillLauncher,
        Fault::KillAgain,
        Fault::KillBroker,
        Fault::KillCatalog,
        Fault::Pause,
        Fault::Zombie,
        Fault::ZombieCommitter,
        Fault::LoseOneState,
        Fault::LoseState,
        Fault::LoseStateAlive,
        Fault::FullState,
        Fault::FullWarehouse,
    ];

    /// Its name on the command line and in the report.
    pub fn name(self) -> &'static str {
        match self {
            Fault::KillOne => "kill-one",
            Fault::KillAll => "kill-all",
            Fault::KillLauncher => "kill-launcher",
            Fault::KillAgain => "kill-again",
            Fault::KillBroker => "kill-broker",
            Fault::KillCatalog => "kill-catalog",
            Fault::Pause => "pause",
            Fault::Zombie => "zombie",
            Fault::ZombieCommitter => "zombie-committer",
            Fault::LoseOneState => "lose-one-state",
            Fault::LoseState => "lose-state",
            Fault::LoseStateAlive => "lose-state-alive",
            Fault::FullState => "full-state",
            Fault::FullWarehouse => "full-warehouse",
        }
    }

    /// How often a long run draws it, relative to the others. Those that take long come seldom.
    fn weight(self) -> u32 {
        match self {
            Fault::KillOne => 40,
            Fault::KillAgain => 15,
            Fault::KillAll => 10,
            Fault::KillLauncher | Fault::Pause => 6,
            Fault::LoseOneState | Fault::LoseStateAlive => 3,
            Fault::KillCatalog | Fault::Zombie | Fault::ZombieCommitter | Fault::LoseState => 2,
            Fault::KillBroker => 1,
            // Has a job of its own.
            Fault::FullState | Fault::FullWarehouse => 0,
        }
    }

    fn suits(self, shape: Shape) -> bool {
        match self {
            Fault::KillLauncher => shape.mode == Mode::Launch,
            Fault::ZombieCommitter => shape.mode == Mode::Separate && shape.processes > 1,
            _ => true,
        }
    }
}

/// Who starts the processes, and starts them again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `launch`.
    Launch,
    /// The harness, with `run -n N -p I`.
    Separate,
}

/// The shape of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Who starts it.
    pub mode: Mode,
    /// Its processes.
    pub processes: usize,
    /// Workers in each.
    pub workers: usize,
}

/// One fault of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// What happens.
    pub fault: Fault,
    /// To a cluster of this shape; another one is drained before.
    pub shape: Shape,
    /// After so long a rest.
    pub rest_ms: u64,
    /// Decides what the fault leaves open: which process, how long.
    pub draw: u64,
}

/// The faults of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// In this order.
    pub steps: Vec<Step>,
}

/// The shapes of a run, in this order, again and again: 1, 2, 4, 1 workers a process.
const SHAPES: [Shape; 4] = [
    shape(Mode::Launch, 2, 1),
    shape(Mode::Separate, 2, 2),
    shape(Mode::Launch, 2, 4),
    shape(Mode::Separate, 1, 1),
];

const fn shape(mode: Mode, processes: usize, workers: usize) -> Shape {
    Shape {
        mode,
        processes,
        workers,
    }
}

impl Schedule {
    /// Every fault at least once, every shape once.
    pub fn short(seed: u64) -> Schedule {
        let mut rng = StdRng::seed_from_u64(seed);
        let by_shape: [&[Fault]; 4] = [
            &[
                Fault::KillOne,
                Fault::KillAgain,
                Fault::KillCatalog,
                Fault::Zombie,
            ],
            &[
                Fault::KillOne,
                Fault::KillAll,
                Fault::Pause,
                Fault::LoseOneState,
                Fault::ZombieCommitter,
            ],
            &[
                Fault::KillAll,
                Fault::Pause,
                Fault::LoseState,
                Fault::KillLauncher,
            ],
            &[Fault::KillOne, Fault::KillBroker, Fault::LoseStateAlive],
        ];
        let mut steps = Vec::new();
        for (shape, faults) in SHAPES.into_iter().zip(by_shape) {
            let mut faults = faults.to_vec();
            faults.shuffle(&mut rng);
            for fault in faults {
                steps.push(step(fault, shape, &mut rng));
            }
        }
        for fault in [Fault::FullState, Fault::FullWarehouse] {
            steps.push(step(fault, SHAPES[3], &mut rng));
        }
        Schedule { steps }
    }

    /// So many faults, drawn by their weights out of `of`; all of them when it is empty. With `of` on the
    /// first shape only: a measurement wants one thing.
    pub fn long(seed: u64, faults: usize, of: &[Fault]) -> Schedule {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut steps = Vec::with_capacity(faults);
        while steps.len() < faults {
            let at = steps.len();
            let step = if of.is_empty() {
                let shape = SHAPES[at / FAULTS_PER_SHAPE % SHAPES.len()];
                let fault = match at % FAULTS_PER_FULL_DISK {
                    100 => Fault::FullState,
                    200 => Fault::FullWarehouse,
                    _ => draw(&suitable(shape), &mut rng),
                };
                step(fault, shape, &mut rng)
            } else {
                let fault = of[rng.random_range(0..of.len())];
                let shape = SHAPES.into_iter().find(|&shape| fault.suits(shape));
                step(fault, shape.unwrap_or(SHAPES[0]), &mut rng)
            };
            steps.push(step);
        }
        Schedule { steps }
    }

    /// Faults of an engine that has one shape, whichever the steps name: so many, drawn by their weights out of
    /// `of`; without a number, each of them once.
    pub fn of_one_shape(seed: u64, faults: Option<usize>, of: &[Fault]) -> Schedule {
        let mut rng = StdRng::seed_from_u64(seed);
        let faults: Vec<Fault> = match faults {
            Some(faults) => (0..faults).map(|_| draw(of, &mut rng)).collect(),
            None => {
                let mut each = of.to_vec();
                each.shuffle(&mut rng);
                each
            }
        };
        let steps = faults
            .into_iter()
            .map(|fault| step(fault, SHAPES[0], &mut rng))
            .collect();
        Schedule { steps }
    }
}

fn suitable(shape: Shape) -> Vec<Fault> {
    Fault::ALL
        .into_iter()
        .filter(|fault| fault.suits(shape))
        .collect()
}

fn draw(of: &[Fault], rng: &mut StdRng) -> Fault {
    let mut left = rng.random_range(0..of.iter().map(|fault| fault.weight()).sum::<u32>());
    for &fault in of {
        if left < fault.weight() {
            return fault;
        }
        left -= fault.weight();
    }
    Fault::KillOne
}

fn step(fault: Fault, shape: Shape, rng: &mut StdRng) -> Step {
    Step {
        fault,
        shape,
        rest_ms: rng.random_range(REST_MS),
        draw: rng.random(),
    }
}

//! What is made of a row besides landing it: derived columns, and the tables that it goes to as well.

use std::fmt;

use crate::io::TableIndex;
use crate::routes::Row;

/// An optional boolean column that is derived from a string column, null where that is null.
#[derive(Clone, Copy)]
pub struct Derived {
    /// The column.
    pub column: &'static str,
    /// The column that it is derived from.
    pub from: &'static str,
    /// How: a pure function, so that a replay derives the same.
    pub derive: fn(&str) -> bool,
}

// By names: the address of a function differs between the processes of a job, which compare their settings.
impl fmt::Debug for Derived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {}", self.column, self.from)
    }
}

impl PartialEq for Derived {
    fn eq(&self, other: &Self) -> bool {
        (self.column, self.from) == (other.column, other.from)
    }
}

impl Eq for Derived {}

/// A table besides the primary one that rows go to as well. It has the same columns.
#[derive(Clone, Copy)]
pub struct Route<S> {
    /// Its name in the configuration and in the table's progress: lower case, digits, hyphens.
    pub name: &'static str,
    /// The table, `namespace.table`.
    pub table: S,
    /// Whether a row that lands goes there too: a pure function, so that a replay routes the same.
    pub takes: fn(&Row<'_>) -> bool,
}

// By names, as `Derived`.
impl<S: fmt::Debug> fmt::Debug for Route<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {:?}", self.name, self.table)
    }
}

impl<S: PartialEq> PartialEq for Route<S> {
    fn eq(&self, other: &Self) -> bool {
        (self.name, &self.table) == (other.name, &other.table)
    }
}

impl<S: Eq> Eq for Route<S> {}

/// A table of the job besides the primary one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecondaryTable<'a> {
    /// Its place in the job.
    pub index: TableIndex,
    /// The route that leads there; `None` is the table of dead letters.
    pub route: Option<&'static str>,
    /// `namespace.table`.
    pub name: &'a str,
}

//! Rows under construction out of JSON objects; what a record must be says [`super::json`].
//!
//! A template predicts the keys of the next record from the one before. Where it holds, a record is
//! decoded in one pass without looking up a key. Where anything is out of the ordinary (another key, a
//! value that does not fit, an absent required column), what the record left in the columns is taken
//! back and the general way decides; only that one reports failures. Both read values with the same code.

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use super::columns::ColumnBuilder;
use super::json_failures::{does_not_fit, duplicate_key, not_an_object, not_json, not_utf8};
use super::json_value::{Appended, Misfit, fitting};
use super::message::Failure;
use super::scan::{Malformed, Scanner};
use super::template::{Seen, Template};
use crate::error::{Error, Result};
use crate::record::ErrorType;
use crate::schema::{Column, ColumnType, decoded_schema};

/// Rows under construction out of JSON objects.
#[derive(Debug)]
pub(super) struct JsonRows {
    pub columns: Vec<Column>,
    schema: SchemaRef,
    names: HashMap<String, Name>,
    /// Whether a column has more than one name.
    has_aliases: bool,
    event_id: Option<usize>,
    event_time: Option<usize>,
    pub builders: Vec<ColumnBuilder>,
    /// Rows of the batch so far; every builder has as many between two records.
    pub rows: usize,
    /// Columns that a record has no value for are left without a row, for the caller to fill; else they are null.
    pub leaves_absent: bool,
    template: Template<Meaning>,
    scratch: Scratch,
    /// Records that were decoded as predicted.
    #[cfg(test)]
    pub predicted: usize,
}

/// A name of a column.
#[derive(Clone, Copy, Debug)]
struct Name {
    /// The column's place.
    place: usize,
    /// 0 is its own name, then its aliases follow.
    rank: usize,
}

/// What a field is to the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// The value of the column at this place.
    Column(usize),
    /// A name of a column that goes by a better one in this record.
    PassedOver,
    /// No column's.
    Other,
}

/// Kept between records only to keep its memory.
#[derive(Debug, Default)]
struct Scratch {
    text: String,
    seen: Vec<Seen<Meaning>>,
    /// By column, the rank of the name that it goes by in the record.
    ranks: Vec<usize>,
    present: Vec<bool>,
    unknown_keys: Vec<(usize, usize)>,
}

impl JsonRows {
    /// Rows of `columns`. `event_id` and `event_time` are required of a record, whatever the column says.
    pub fn new(
        columns: &[Column],
        event_id: Option<usize>,
        event_time: Option<usize>,
    ) -> Result<JsonRows> {
        let names = columns.iter().map(|column| column.name.to_owned());
        let mut rows = JsonRows::of_fields(columns, names.collect(), event_id, event_time)?;
        rows.add_aliases()?;
        Ok(rows)
    }

    /// The same, out of fields that have other names than their columns, and no aliases.
    pub fn of_fields(
        columns: &[Column],
        fields: Vec<String>,
        event_id: Option<usize>,
        event_time: Option<usize>,
    ) -> Result<JsonRows> {
        super::check_columns(columns, event_id, event_time)?;
        let places = fields.into_iter().enumerate();
        let name = |(place, field)| (field, Name { place, rank: 0 });
        Ok(JsonRows {
            columns: columns.to_vec(),
            schema: decoded_schema(columns),
            names: places.map(name).collect(),
            has_aliases: false,
            event_id,
            event_time,
            builders: columns
                .iter()
                .map(|column| ColumnBuilder::new(column.column_type))
                .collect(),
            rows: 0,
            leaves_absent: false,
            template: Template::default(),
            scratch: Scratch::default(),
            #[cfg(test)]
            predicted: 0,
        })
    }

    /// Adds the columns' aliases to their names.
    fn add_aliases(&mut self) -> Result<()> {
        for (place, column) in self.columns.iter().enumerate() {
            for (before, &alias) in column.aliases.iter().enumerate() {
                if alias.contains('.') {
                    return Err(Error::configuration(format!(
                        "the column `{}` has the alias `{alias}`: a field within a record, where JSON is not looked into",
                        column.name
                    ))
                    .hint("leave the alias out, or use format `avro` or `avro_sr`, which know such names"));
                }
                let rank = before + 1;
                match self.names.entry(alias.to_owned()) {
                    Entry::Vacant(free) => {
                        free.insert(Name { place, rank });
                        self.has_aliases = true;
                    }
                    Entry::Occupied(taken) => {
                        let other = taken.get();
                        if other.rank > 0 && other.place != place {
                            return Err(Error::configuration(format!(
                                "the field `{alias}` would be two columns, `{}` and `{}`",
                                self.columns[other.place].name, column.name
                            ))
                            .hint("leave one of them out, or its alias"));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether a record without a value for the column is a dead letter.
    #[inline]
    fn is_required(&self, place: usize) -> bool {
        self.columns[place].required
            || Some(place) == self.event_time
            || Some(place) == self.event_id
    }

    /// Adds the record, which should be UTF-8, as one row, or nothing.
    #[inline]
    pub fn decode_bytes(&mut self, value: &[u8]) -> Result<(), Failure> {
        match simdutf8::basic::from_utf8(value) {
            Ok(text) => self.decode_record(text),
            Err(_) => Err(not_utf8(value)),
        }
    }

    /// Adds the record as one row, or nothing.
    #[inline]
    pub fn decode_record(&mut self, text: &str) -> Result<(), Failure> {
        let mut json = Scanner::new(text);
        if self.read_as_predicted(&mut json).is_some() && json.expect_end().is_ok() {
            self.keep();
            return Ok(());
        }
        self.roll_back();
        let decoded = self.decode_in_general(text);
        match decoded {
            Ok(()) => {
                self.rows += 1;
                self.template.learn(text.as_bytes(), &self.scratch.seen);
            }
            Err(_) => self.roll_back(),
        }
        decoded
    }

    /// Takes back what an unfinished record left in the columns.
    pub fn roll_back(&mut self) {
        for builder in &mut self.builders {
            builder.truncate(self.rows);
        }
    }

    /// Takes back the last row.
    #[cold]
    pub fn take_back(&mut self) {
        self.rows -= 1;
        self.roll_back();
    }

    /// Makes what [`JsonRows::read_as_predicted`] read a row.
    #[inline]
    pub fn keep(&mut self) {
        #[cfg(test)]
        (self.predicted += 1);
        self.rows += 1;
    }

    /// Reads an object whose keys are the predicted ones. `None` when anything is out of the ordinary. The
    /// columns must then be rolled back; else they must be, or be kept, by what follows the object.
    #[inline]
    pub fn read_as_predicted(&mut self, scanner: &mut Scanner<'_>) -> Option<()> {
        // One of our own stays in registers.
        let mut json = scanner.clone();
        self.read_members_as_predicted(&mut json)?;
        scanner.at = json.at;
        Some(())
    }

    #[inline(always)]
    fn read_members_as_predicted(&mut self, json: &mut Scanner<'_>) -> Option<()> {
        let mut values = 0;
        let mut passes_over = false;
        let mut found = Some(self.template.first(json.rest())?);
        while let Some(member) = found {
            json.at += member.length;
            match member.meaning {
                Meaning::Column(place) => match self.builders[place]
                    .append(json, &mut self.scratch.text)
                    .ok()?
                {
                    Appended::Value => values += 1,
                    Appended::EmptyString if Some(place) == self.event_id => return None,
                    Appended::EmptyString => values += 1,
                    Appended::Nothing => {}
                },
                skipped => {
                    passes_over |= skipped == Meaning::PassedOver;
                    json.skip_value(1).ok()?;
                }
            }
            found = if json.peek() == Some(b'}') {
                None
            } else {
                self.template.next(member.place + 1, json.rest())
            };
        }
        json.skip_whitespace();
        json.expect(b'}', "").ok()?;
        if passes_over && self.lacks_column_with_aliases() {
            return None;
        }
        if values < self.builders.len() && !self.leaves_absent {
            for place in 0..self.builders.len() {
                if self.builders[place].len() == self.rows {
                    if self.is_required(place) {
                        return None;
                    }
                    self.builders[place].append_null();
                }
            }
        }
        Some(())
    }

    /// Whether a column with aliases has no value in this record: it may be one that the name which was passed over
    /// is for, as the better one that was there in the record before is not in this one.
    #[cold]
    fn lacks_column_with_aliases(&self) -> bool {
        let mut columns = self.columns.iter().zip(&self.builders);
        columns.any(|(column, builder)| !column.aliases.is_empty() && builder.len() == self.rows)
    }

    /// Decodes any record, and says what is wrong with a bad one; the columns must then be rolled back.
    fn decode_in_general(&mut self, text: &str) -> Result<(), Failure> {
        let mut json = Scanner::new(text);
        if text.starts_with('\u{feff}') {
            let message = "not JSON: the record begins with a byte order mark (EF BB BF); write UTF-8 without it";
            return Err(Failure::new(ErrorType::Malformed, message.to_owned()));
        }
        json.skip_whitespace();
        if json.peek() != Some(b'{') {
            return Err(not_an_object(text, json));
        }
        self.rank_names(json.clone());
        let mismatch = self
            .read_members(&mut json)
            .map_err(|malformed| not_json(text, malformed))?;
        if let Some(key) = self.duplicate_unknown_key(text) {
            return Err(duplicate_key(&key));
        }
        match mismatch {
            Some(failure) => Err(failure),
            None => self.fill_absent(),
        }
    }

    /// Notes by which of its names each column goes in an object, which comes next. What is wrong with the object is
    /// found again by who reads it.
    fn rank_names(&mut self, mut json: Scanner<'_>) {
        self.scratch.ranks.clear();
        self.scratch.ranks.resize(self.columns.len(), 0);
        if self.has_aliases {
            self.scratch.ranks.fill(usize::MAX);
            let _ = self.rank_names_of(&mut json);
        }
    }

    fn rank_names_of(&mut self, json: &mut Scanner<'_>) -> Result<(), Malformed> {
        json.expect(b'{', "")?;
        json.skip_whitespace();
        let mut more = !json.eat(b'}');
        while more {
            json.skip_whitespace();
            let key = json.text(&mut self.scratch.text)?;
            if let Some(name) = self.names.get(key) {
                let best = &mut self.scratch.ranks[name.place];
                *best = name.rank.min(*best);
            }
            json.skip_whitespace();
            json.expect(b':', "")?;
            json.skip_whitespace();
            json.skip_value(1)?;
            json.skip_whitespace();
            more = !json.eat(b'}');
            if more {
                json.expect(b',', "")?;
            }
        }
        Ok(())
    }

    /// Reads the whole document, object next. The failure, if any, is the first value that does not fit.
    fn read_members(&mut self, json: &mut Scanner<'_>) -> Result<Option<Failure>, Malformed> {
        self.scratch.seen.clear();
        self.scratch.unknown_keys.clear();
        self.scratch.present.clear();
        self.scratch.present.resize(self.columns.len(), false);
        let mut mismatch = None;
        let mut start = 0;
        json.expect(b'{', "no `{` at the start")?;
        json.skip_whitespace();
        let mut more = !json.eat(b'}');
        while more {
            json.skip_whitespace();
            let key_start = json.at + 1;
            let key = json.text(&mut self.scratch.text)?;
            let meaning = match self.names.get(key) {
                Some(&Name { place, rank }) if rank == self.scratch.ranks[place] => {
                    Meaning::Column(place)
                }
                Some(_) => Meaning::PassedOver,
                None => Meaning::Other,
            };
            let key = (key_start, json.at - 1);
            json.skip_whitespace();
            json.expect(b':', "no `:` after a key")?;
            json.skip_whitespace();
            self.scratch.seen.push(Seen {
                start,
                value: json.at,
                meaning,
            });
            match meaning {
                Meaning::Column(place)
                    if std::mem::replace(&mut self.scratch.present[place], true) =>
                {
                    return Err(Malformed {
                        at: key.0,
                        what: "a key for the second time",
                    });
                }
                Meaning::Column(place) => {
                    let failure = self.read_value(place, json)?;
                    mismatch = mismatch.or(failure);
                }
                Meaning::PassedOver | Meaning::Other => {
                    self.scratch.unknown_keys.push(key);
                    json.skip_value(1)?;
                }
            }
            start = json.at;
            json.skip_whitespace();
            more = !json.eat(b'}');
            if more {
                json.expect(b',', "neither `,` nor `}` after a member")?;
            }
        }
        json.expect_end()?;
        Ok(mismatch)
    }

    /// Reads one column's value, whether it fits or not.
    fn read_value(
        &mut self,
        place: usize,
        json: &mut Scanner<'_>,
    ) -> Result<Option<Failure>, Malformed> {
        let start = json.at;
        match self.builders[place].append(json, &mut self.scratch.text) {
            Ok(_) => Ok(None),
            Err(Misfit::Malformed(malformed)) => Err(malformed),
            Err(Misfit::Mismatch(reason)) => {
                self.builders[place].truncate(self.rows);
                json.at = start;
                json.skip_value(1)?;
                Ok(Some(does_not_fit(
                    &self.columns[place],
                    json.between(start, json.at),
                    reason,
                )))
            }
        }
    }

    /// A key that is no column and stands twice in the record.
    fn duplicate_unknown_key(&mut self, text: &str) -> Option<String> {
        let keys = &mut self.scratch.unknown_keys;
        if keys.len() < 2 {
            return None;
        }
        let raw = |&(start, end): &(usize, usize)| text.get(start..end).unwrap_or_default();
        if keys.iter().any(|key| raw(key).contains('\\')) {
            // The same key may be written in different ways, so decode them all.
            let mut decoded = Vec::with_capacity(keys.len());
            for &(start, _) in keys.iter() {
                let mut json = Scanner::new(text);
                json.at = start - 1;
                decoded.push(
                    json.text(&mut self.scratch.text)
                        .unwrap_or_default()
                        .to_owned(),
                );
            }
            decoded.sort_unstable();
            let twice = decoded.windows(2).find(|pair| pair[0] == pair[1]);
            return twice.map(|pair| pair[0].clone());
        }
        // Sorted rather than hashed: no choice of keys makes it slow.
        keys.sort_unstable_by(|a, b| raw(a).cmp(raw(b)));
        let twice = keys.windows(2).find(|pair| raw(&pair[0]) == raw(&pair[1]));
        twice.map(|pair| raw(&pair[0]).to_owned())
    }

    /// Fills columns without a value with null, unless one of them is required.
    fn fill_absent(&mut self) -> Result<(), Failure> {
        let rows = self.rows;
        let absent = |this: &Self, place: usize| this.builders[place].len() == rows;
        let found = |this: &Self, place: usize| {
            if !this.scratch.present[place] {
                "is absent"
            } else if absent(this, place) {
                "is null"
            } else {
                "is empty"
            }
        };
        for place in 0..self.columns.len() {
            let own_error = Some(place) == self.event_time || Some(place) == self.event_id;
            if self.columns[place].required && !own_error && absent(self, place) {
                let Column {
                    name, column_type, ..
                } = self.columns[place];
                let message = format!(
                    "field `{name}`: it {}, but {} is required",
                    found(self, place),
                    fitting(column_type)
                );
                return Err(Failure::new(ErrorType::SchemaMismatch, message));
            }
        }
        if let Some(event_id) = self.event_id
            && (absent(self, event_id) || self.builders[event_id].ends_with_empty_string())
        {
            let name = self.columns[event_id].name;
            let message = format!(
                "field `{name}`: the event id {}; it must be a string",
                found(self, event_id)
            );
            return Err(Failure::new(ErrorType::MissingEventId, message));
        }
        if let Some(event_time) = self.event_time
            && absent(self, event_time)
        {
            let (name, found) = (self.columns[event_time].name, found(self, event_time));
            let fitting = fitting(ColumnType::Timestamptz);
            let message = format!("field `{name}`: the event time {found}; it must be {fitting}");
            return Err(Failure::new(ErrorType::MissingEventTime, message));
        }
        if !self.leaves_absent {
            self.fill_with_nulls(rows);
        }
        Ok(())
    }

    /// Makes row `at` null in the columns that have none.
    #[inline]
    pub fn fill_with_nulls(&mut self, at: usize) {
        for builder in &mut self.builders {
            if builder.len() == at {
                builder.append_null();
            }
        }
    }

    /// The batch's columns; the builders are empty after.
    pub fn finish(&mut self) -> RecordBatch {
        self.rows = 0;
        let arrays = self
            .builders
            .iter_mut()
            .map(ColumnBuilder::finish)
            .collect();
        // Cannot fail whatever the records say: each builder has one row a decoded record, the type of its
        // column, and nulls only where the column is optional.
        RecordBatch::try_new(self.schema.clone(), arrays)
            .expect("columns of the schema's types and one length")
    }
}

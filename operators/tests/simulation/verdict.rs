//! What has landed in the end, held against the oracle.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use strandline_operators::account::Account;

use crate::broker::source;
use crate::fakes::{Expected, judge};
use crate::world::{EVEN, LETTERS, PRIMARY, Row, State, THIRD};

/// Of a simulation that held.
pub struct Held {
    pub rows: usize,
    pub routed: usize,
}

type Place = (i32, i64);

fn places<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Vec<Place> {
    let mut places: Vec<Place> = rows.into_iter().map(|r| (r.partition, r.offset)).collect();
    places.sort_unstable();
    places
}

/// What is wrong, one line each.
pub fn verdict(world: &State) -> Result<Held, String> {
    let topic = (world.broker).readable(|partition, offset| world.is_lost(partition, offset));
    let expected = judge(&topic);
    let rows = world.rows(PRIMARY);
    let mut wrong = String::new();
    check_rows(&mut wrong, &rows, &expected);
    check_letters(&mut wrong, world, &expected);
    let routed = [("even", EVEN, 2), ("third", THIRD, 3)]
        .into_iter()
        .map(|(route, table, divisor)| check_route(&mut wrong, world, &rows, route, table, divisor))
        .sum();
    check_account(&mut wrong, world, rows.len(), &expected);
    match wrong.is_empty() {
        true => Ok(Held {
            rows: rows.len(),
            routed,
        }),
        false => Err(wrong),
    }
}

fn check_rows(wrong: &mut String, rows: &[Row], expected: &Expected) {
    let mut anywhere: BTreeMap<&str, usize> =
        expected.anywhere.iter().map(|id| (&**id, 0)).collect();
    let mut landed = BTreeSet::new();
    for row in rows {
        let place = (row.partition, row.offset);
        landed.insert(place);
        if let Some(count) = anywhere.get_mut(&*row.id) {
            *count += 1;
            continue;
        }
        match expected.landed.get(&place) {
            Some((id, late)) if *id == row.id && *late == row.late => {}
            other => {
                let _ = write!(wrong, "\n  {row:?}, expected {other:?}");
            }
        }
    }
    for (place, (id, _)) in &expected.landed {
        if !landed.contains(place) {
            let _ = write!(wrong, "\n  {place:?} {id} is lost");
        }
    }
    for (id, count) in anywhere.into_iter().filter(|(_, count)| *count != 1) {
        let _ = write!(wrong, "\n  {count} of the copies of {id} landed");
    }
}

fn check_letters(wrong: &mut String, world: &State, expected: &Expected) {
    let letters = world.rows(LETTERS);
    let in_table: BTreeSet<Place> = places(&letters).into_iter().collect();
    let dead_letters = expected.dead_letters as usize;
    if (letters.len(), in_table.len()) != (dead_letters, dead_letters) {
        let (rows, distinct) = (letters.len(), in_table.len());
        let _ = write!(
            wrong,
            "\n  {rows} dead letters, {distinct} distinct, in the table, expected {dead_letters}"
        );
    }
    let in_topic: BTreeSet<Place> = world
        .letters
        .iter()
        .map(|letter| (letter.source.partition, letter.offset))
        .collect();
    // Letters of an epoch that was never committed are there as well. Its records were read again and judged
    // alike, unless retention took some of the partition's before: with them what had moved the watermark.
    let mut only_in_topic = in_topic.difference(&in_table);
    if !in_table.is_subset(&in_topic)
        || only_in_topic.any(|(partition, _)| !world.lost_while_read.contains(partition))
    {
        let _ = write!(
            wrong,
            "\n  the dead-letter topic has other letters than the table"
        );
    }
}

/// Returns how many rows belong there.
fn check_route(
    wrong: &mut String,
    world: &State,
    rows: &[Row],
    route: &str,
    table: &str,
    divisor: i64,
) -> usize {
    let routed = places(&world.rows(table));
    let takes = |row: &&Row| {
        let value = world.broker.input_value((row.partition, row.offset));
        value.is_some_and(|n| n % divisor == 0)
    };
    let expected = places(rows.iter().filter(takes));
    if routed != expected {
        let _ = write!(
            wrong,
            "\n  {table} has {} rows, expected {}: {routed:?}, expected {expected:?}",
            routed.len(),
            expected.len()
        );
    }
    let counted = world.progress().map_or(0, |p| p.rows_of(Some(route)));
    if counted != expected.len() as u64 {
        let _ = write!(wrong, "\n  the progress counts {counted} rows in {table}");
    }
    expected.len()
}

fn check_account(wrong: &mut String, world: &State, rows: usize, expected: &Expected) {
    let progress = world.progress();
    let account = progress
        .as_ref()
        .map_or_else(Account::default, |p| p.account());
    let sums = (
        account.landed,
        account.duplicates,
        account.dead_letters,
        account.gaps,
    );
    // What the table has never heard of is no gap in it.
    let before: i64 = (0..world.broker.partitions())
        .filter_map(|p| Some(progress.as_ref()?.partition(&source(p))?.start))
        .sum();
    let oracle = (
        rows as u64,
        expected.duplicates,
        expected.dead_letters,
        expected.gaps - before as u64,
    );
    if !account.is_balanced() || sums != oracle {
        let _ = write!(wrong, "\n  the account {account:?}, expected {oracle:?}");
    }
}

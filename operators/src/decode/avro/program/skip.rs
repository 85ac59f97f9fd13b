//! Fields that no column wants are passed over without a look at the schema, where they are of the usual kinds. Their
//! bytes are checked all the same: a record is malformed wherever the fault stands. Only whether texts are UTF-8 is not
//! looked at in a record that is kept as bytes: its reader gets what was sent.

use super::super::cursor::{Cursor, Malformed, NO_BRANCH};
use super::{Physical, TypeId, Types};

/// How to pass over a value.
#[derive(Clone, Debug)]
pub(super) enum Skip {
    Plain(Plain),
    /// Null or one other type.
    Optional {
        null: usize,
        other: Plain,
    },
    /// As the schema says.
    Any(TypeId),
}

/// A value of one kind, with nothing in it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Plain {
    Fixed(usize),
    Boolean,
    Int,
    Long,
    Bytes,
    String,
}

impl Skip {
    pub(super) fn of(types: &Types, id: TypeId) -> Skip {
        let is_null = |id: TypeId| types.get(id).physical == Physical::Null;
        let optional =
            |null, other| Plain::of(types, other).map(|other| Skip::Optional { null, other });
        let found = match &types.get(id).physical {
            Physical::Union(branches) => match *branches.as_slice() {
                [null, other] if is_null(null) => optional(0, other),
                [other, null] if is_null(null) => optional(1, other),
                _ => None,
            },
            _ => Plain::of(types, id).map(Skip::Plain),
        };
        found.unwrap_or(Skip::Any(id))
    }

    #[inline]
    pub(super) fn pass(&self, cursor: &mut Cursor<'_>, types: &Types) -> Result<(), Malformed> {
        match self {
            Skip::Plain(plain) => plain.pass(cursor),
            Skip::Optional { null, other } => {
                if cursor.choice(2, NO_BRANCH)? == *null {
                    return Ok(());
                }
                other.pass(cursor)
            }
            Skip::Any(id) => cursor.skip(types, *id, 1),
        }
    }
}

impl Plain {
    fn of(types: &Types, id: TypeId) -> Option<Plain> {
        Some(match types.get(id).physical {
            Physical::Boolean => Plain::Boolean,
            Physical::Int => Plain::Int,
            Physical::Long => Plain::Long,
            Physical::Float => Plain::Fixed(4),
            Physical::Double => Plain::Fixed(8),
            Physical::Fixed(size) => Plain::Fixed(size),
            Physical::Bytes => Plain::Bytes,
            Physical::String => Plain::String,
            _ => return None,
        })
    }

    #[inline]
    fn pass(self, cursor: &mut Cursor<'_>) -> Result<(), Malformed> {
        match self {
            Plain::Fixed(size) => cursor.take(size).map(drop),
            Plain::Boolean => cursor.boolean().map(drop),
            Plain::Int => cursor.int().map(drop),
            Plain::Long => cursor.long().map(drop),
            Plain::Bytes => cursor.bytes().map(drop),
            Plain::String => cursor.pass_string(),
        }
    }
}

//! Avro's binary encoding, read strictly: nothing is trusted before it is known to be there.

use super::schema::{Physical, TypeId, Types};

/// Values that may be open around a value: recursive schemas end there, and so does the stack.
const MAX_DEPTH: usize = 64;

/// Why a record is no Avro of its schema, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed {
    /// The byte at which it was noticed.
    pub at: usize,
    /// What is wrong.
    pub what: &'static str,
}

type Read<T> = Result<T, Malformed>;

/// A position in a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    /// The next byte to be read.
    pub at: usize,
    /// Whether a text that is passed over must be UTF-8.
    checks_passed_texts: bool,
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8], checks_passed_texts: bool) -> Cursor<'a> {
        Cursor {
            bytes,
            at: 0,
            checks_passed_texts,
        }
    }

    #[inline]
    pub fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    #[cold]
    pub fn malformed<T>(&self, what: &'static str) -> Read<T> {
        Err(Malformed { at: self.at, what })
    }

    /// The next `length` bytes.
    #[inline]
    pub fn take(&mut self, length: usize) -> Read<&'a [u8]> {
        match self.bytes[self.at..].get(..length) {
            Some(bytes) => {
                self.at += length;
                Ok(bytes)
            }
            None => self.malformed("the record ends inside of a value"),
        }
    }

    #[inline]
    fn take_array<const N: usize>(&mut self) -> Read<[u8; N]> {
        match self.bytes[self.at..].first_chunk() {
            Some(bytes) => {
                self.at += N;
                Ok(*bytes)
            }
            None => self.malformed("the record ends inside of a value"),
        }
    }

    /// A zig-zag integer of at most 64 bits.
    #[inline]
    pub fn long(&mut self) -> Read<i64> {
        // Most integers have one byte.
        if let Some(&byte @ 0..=0x7f) = self.bytes.get(self.at) {
            self.at += 1;
            return Ok(unzigzag(u64::from(byte)));
        }
        self.long_of_more_bytes()
    }

    fn long_of_more_bytes(&mut self) -> Read<i64> {
        let mut value = 0u64;
        for (i, &byte) in self.bytes[self.at..].iter().take(10).enumerate() {
            // The tenth byte has room for one bit.
            if i == 9 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte & 0x80 == 0 {
                self.at += i + 1;
                return Ok(unzigzag(value));
            }
        }
        if self.left() < 10 {
            self.malformed("the record ends inside of an integer")
        } else {
            self.malformed("an integer of more than 64 bits")
        }
    }

    /// A zig-zag integer of at most 32 bits.
    #[inline]
    pub fn int(&mut self) -> Read<i32> {
        let start = self.at;
        match i32::try_from(self.long()?) {
            Ok(value) => Ok(value),
            Err(_) => {
                self.at = start;
                self.malformed("an int of more than 32 bits")
            }
        }
    }

    #[inline]
    pub fn boolean(&mut self) -> Read<bool> {
        match self.bytes.get(self.at) {
            Some(&byte @ (0 | 1)) => {
                self.at += 1;
                Ok(byte == 1)
            }
            Some(_) => self.malformed("a boolean that is neither 0 nor 1"),
            None => self.malformed("the record ends before a boolean"),
        }
    }

    #[inline]
    pub fn float(&mut self) -> Read<f32> {
        Ok(f32::from_le_bytes(self.take_array()?))
    }

    #[inline]
    pub fn double(&mut self) -> Read<f64> {
        Ok(f64::from_le_bytes(self.take_array()?))
    }

    /// Bytes with their length in front.
    #[inline]
    pub fn bytes(&mut self) -> Read<&'a [u8]> {
        let start = self.at;
        let length = self.long()?;
        match usize::try_from(length) {
            Ok(length) if length <= self.left() => self.take(length),
            Ok(_) => {
                self.at = start;
                self.malformed("a length beyond the end of the record")
            }
            Err(_) => {
                self.at = start;
                self.malformed("a negative length")
            }
        }
    }

    /// Text with its length in front.
    #[inline]
    pub fn string(&mut self) -> Read<&'a str> {
        let bytes = self.bytes()?;
        match simdutf8::basic::from_utf8(bytes) {
            Ok(text) => Ok(text),
            Err(_) => {
                self.at -= bytes.len();
                self.malformed("a string that is not UTF-8")
            }
        }
    }

    /// Reads past a text.
    #[inline]
    pub fn pass_string(&mut self) -> Read<()> {
        match self.checks_passed_texts {
            true => self.string().map(drop),
            false => self.bytes().map(drop),
        }
    }

    /// Which of `count` branches or symbols comes next.
    #[inline]
    pub fn choice(&mut self, count: usize, what: &'static str) -> Read<usize> {
        let start = self.at;
        match usize::try_from(self.long()?) {
            Ok(choice) if choice < count => Ok(choice),
            _ => {
                self.at = start;
                self.malformed(what)
            }
        }
    }

    /// Reads past a value. `depth`: values open around it.
    pub fn skip(&mut self, types: &Types, id: TypeId, depth: usize) -> Read<()> {
        // Without a look inside: a schema can make 2^60 empty records of a few lines.
        if types.takes_no_bytes(id) {
            return Ok(());
        }
        match &types.get(id).physical {
            Physical::Null => Ok(()),
            Physical::Boolean => self.boolean().map(drop),
            Physical::Int => self.int().map(drop),
            Physical::Long => self.long().map(drop),
            Physical::Float => self.take(4).map(drop),
            Physical::Double => self.take(8).map(drop),
            Physical::Bytes => self.bytes().map(drop),
            Physical::String => self.pass_string(),
            Physical::Fixed(size) => self.take(*size).map(drop),
            Physical::Enum(symbols) => self.choice(symbols.len(), NO_SYMBOL).map(drop),
            _ if depth >= MAX_DEPTH => self.malformed("nesting deeper than 64 levels"),
            Physical::Union(branches) => {
                let branch = self.choice(branches.len(), NO_BRANCH)?;
                self.skip(types, branches[branch], depth + 1)
            }
            Physical::Record(fields) => fields
                .iter()
                .try_for_each(|(_, field)| self.skip(types, *field, depth + 1)),
            Physical::Array(items) => {
                let empty = types.takes_no_bytes(*items);
                self.blocks(empty, |cursor| cursor.skip(types, *items, depth + 1))
            }
            Physical::Map(values) => self.blocks(false, |cursor| {
                cursor.pass_string()?;
                cursor.skip(types, *values, depth + 1)
            }),
        }
    }

    /// Reads past the blocks of an array or a map. Items that take no bytes are not even counted: a count
    /// of 2^60 of them would keep us for years.
    fn blocks(
        &mut self,
        items_take_no_bytes: bool,
        mut item: impl FnMut(&mut Self) -> Read<()>,
    ) -> Read<()> {
        loop {
            let start = self.at;
            let count = self.long()?;
            if count == 0 {
                return Ok(());
            }
            let mut end = None;
            if count < 0 {
                // The block's size in bytes follows, so that it could be skipped; it is checked instead.
                match usize::try_from(self.long()?) {
                    Ok(size) if size <= self.left() => end = Some(self.at + size),
                    _ => {
                        self.at = start;
                        return self.malformed("a block beyond the end of the record");
                    }
                }
            }
            if !items_take_no_bytes {
                let count = count.unsigned_abs();
                // Each item takes a byte at least.
                if count > self.left() as u64 {
                    self.at = start;
                    return self.malformed("a block of more items than there are bytes left");
                }
                for _ in 0..count {
                    item(self)?;
                }
            }
            if end.is_some_and(|end| end != self.at) {
                self.at = start;
                return self.malformed("a block that is not as long as it says");
            }
        }
    }
}

/// What is said of a branch that the union does not have.
pub(super) const NO_BRANCH: &str = "a branch that the union does not have";

/// What is said of a symbol that the enum does not have.
pub(super) const NO_SYMBOL: &str = "a symbol that the enum does not have";

#[inline]
fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

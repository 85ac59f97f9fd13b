//! Protobuf's encoding, read strictly: nothing is trusted before it is known to be there.

/// Groups that may be open around a field; protoc's own parsers stop at 100 levels.
const MAX_GROUPS: usize = 100;

/// The largest number that a field may have (the language's specification).
const MAX_FIELD_NUMBER: u32 = (1 << 29) - 1;

/// Why a record is no Protobuf, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed {
    /// The byte at which it was noticed.
    pub at: usize,
    /// What is wrong.
    pub what: &'static str,
}

type Read<T> = Result<T, Malformed>;

/// How a value is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    Varint,
    Fixed64,
    Length,
    Group,
    Fixed32,
}

impl Wire {
    pub fn name(self) -> &'static str {
        match self {
            Wire::Varint => "a varint",
            Wire::Fixed64 => "64 bits",
            Wire::Length => "bytes with a length",
            Wire::Group => "a group",
            Wire::Fixed32 => "32 bits",
        }
    }
}

/// What stands in front of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    Field(u32, Wire),
    EndOfGroup(u32),
}

/// A position in a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    /// The next byte to be read.
    pub at: usize,
    /// Where the message ends.
    end: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor {
            bytes,
            at: 0,
            end: bytes.len(),
        }
    }

    /// A cursor over the bytes from `start` to `end`, which were taken before; it counts from where this one
    /// does.
    pub fn within(&self, start: usize, end: usize) -> Cursor<'a> {
        Cursor {
            bytes: self.bytes,
            at: start,
            end,
        }
    }

    #[inline]
    pub fn is_at_end(&self) -> bool {
        self.at == self.end
    }

    #[inline]
    pub fn left(&self) -> usize {
        self.end - self.at
    }

    #[cold]
    pub fn malformed<T>(&self, what: &'static str) -> Read<T> {
        Err(Malformed { at: self.at, what })
    }

    /// An integer of at most 64 bits.
    #[inline]
    pub fn varint(&mut self) -> Read<u64> {
        // Most have one byte.
        if self.at < self.end
            && let byte @ 0..=0x7f = self.bytes[self.at]
        {
            self.at += 1;
            return Ok(byte.into());
        }
        self.varint_of_more_bytes()
    }

    fn varint_of_more_bytes(&mut self) -> Read<u64> {
        let mut value = 0u64;
        for (i, &byte) in self.bytes[self.at..self.end].iter().take(10).enumerate() {
            // The tenth byte has room for one bit.
            if i == 9 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte & 0x80 == 0 {
                self.at += i + 1;
                return Ok(value);
            }
        }
        if self.left() < 10 {
            self.malformed("the message ends inside of a varint")
        } else {
            self.malformed("a varint of more than 64 bits")
        }
    }

    /// A zig-zag integer of at most 32 bits.
    pub fn zigzag(&mut self) -> Read<i32> {
        let start = self.at;
        match u32::try_from(self.varint()?) {
            Ok(value) => Ok((value >> 1) as i32 ^ -((value & 1) as i32)),
            Err(_) => {
                self.at = start;
                self.malformed("an integer of more than 32 bits")
            }
        }
    }

    /// The next field's number and encoding.
    #[inline]
    pub fn tag(&mut self) -> Read<Tag> {
        let start = self.at;
        let tag = self.varint()?;
        let number = match u32::try_from(tag >> 3) {
            Ok(number @ 1..=MAX_FIELD_NUMBER) => number,
            _ => {
                self.at = start;
                return self.malformed("a field number that is none (they go from 1 to 2^29 - 1)");
            }
        };
        Ok(match tag & 7 {
            0 => Tag::Field(number, Wire::Varint),
            1 => Tag::Field(number, Wire::Fixed64),
            2 => Tag::Field(number, Wire::Length),
            3 => Tag::Field(number, Wire::Group),
            4 => Tag::EndOfGroup(number),
            5 => Tag::Field(number, Wire::Fixed32),
            _ => {
                self.at = start;
                return self.malformed("a wire type that does not exist");
            }
        })
    }

    #[inline]
    pub fn fixed32(&mut self) -> Read<u32> {
        let (start, _) = self.take(4)?;
        let mut value = [0; 4];
        value.copy_from_slice(&self.bytes[start..start + 4]);
        Ok(u32::from_le_bytes(value))
    }

    #[inline]
    pub fn fixed64(&mut self) -> Read<u64> {
        let (start, _) = self.take(8)?;
        let mut value = [0; 8];
        value.copy_from_slice(&self.bytes[start..start + 8]);
        Ok(u64::from_le_bytes(value))
    }

    /// Where bytes with their length in front begin and end.
    #[inline]
    pub fn span(&mut self) -> Read<(usize, usize)> {
        let start = self.at;
        let length = self.varint()?;
        match usize::try_from(length) {
            Ok(length) if length <= self.left() => self.take(length),
            _ => {
                self.at = start;
                self.malformed("a length beyond the end of the message")
            }
        }
    }

    /// As [`Cursor::span`], of text.
    #[inline]
    pub fn text(&mut self) -> Read<(usize, usize)> {
        let (start, end) = self.span()?;
        match simdutf8::basic::from_utf8(&self.bytes[start..end]) {
            Ok(_) => Ok((start, end)),
            Err(_) => {
                self.at = start;
                self.malformed("a string that is not UTF-8")
            }
        }
    }

    #[inline]
    fn take(&mut self, length: usize) -> Read<(usize, usize)> {
        if length > self.left() {
            return self.malformed("the message ends inside of a value");
        }
        let start = self.at;
        self.at += length;
        Ok((start, self.at))
    }

    /// Reads past a value. What bytes with a length hold is not looked at.
    pub fn skip(&mut self, number: u32, wire: Wire) -> Read<()> {
        match wire {
            Wire::Varint => self.varint().map(drop),
            Wire::Fixed64 => self.take(8).map(drop),
            Wire::Length => self.span().map(drop),
            Wire::Fixed32 => self.take(4).map(drop),
            Wire::Group => self.skip_group(number),
        }
    }

    /// Reads past a group, whose beginning was read.
    fn skip_group(&mut self, number: u32) -> Read<()> {
        let mut open = vec![number];
        while let Some(&group) = open.last() {
            if self.is_at_end() {
                return self.malformed("a group that does not end");
            }
            let start = self.at;
            match self.tag()? {
                Tag::EndOfGroup(number) if number == group => {
                    open.pop();
                }
                Tag::EndOfGroup(_) => {
                    self.at = start;
                    return self.malformed("the end of a group that is not open");
                }
                Tag::Field(_, Wire::Group) if open.len() == MAX_GROUPS => {
                    return self.malformed("groups deeper than 100 levels");
                }
                Tag::Field(number, Wire::Group) => open.push(number),
                Tag::Field(number, wire) => self.skip(number, wire)?,
            }
        }
        Ok(())
    }
}

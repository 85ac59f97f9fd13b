//! A strict JSON scanner (RFC 8259) over one record, shared by both ways of decoding.
//!
//! It accepts no comments, no trailing commas, no leading zeros, no control characters in strings, no
//! unpaired surrogate escapes, and no nesting deeper than [`MAX_DEPTH`].

use super::block;

/// Containers that may be open at once, the outermost object included. RFC 8259 (section 9) leaves the
/// limit to the reader; a bound keeps the stack bounded.
pub(super) const MAX_DEPTH: usize = 64;

/// Why a document is not JSON, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed {
    /// The byte at which it was noticed.
    pub at: usize,
    /// What is wrong.
    pub what: &'static str,
}

type Scan<T> = Result<T, Malformed>;

/// A number's text, already checked against JSON's grammar.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number<'a> {
    text: &'a str,
    negative: bool,
    exponent: bool,
    /// All digits before the exponent as one integer; meaningful up to [`EXACT_DIGITS`] digits.
    mantissa: u64,
    digits: usize,
    fraction_digits: usize,
}

/// As many decimal digits as any u64 has room for.
const EXACT_DIGITS: usize = 19;

/// As many decimal digits as any i64 has room for.
const EXACT_SIGNED_DIGITS: usize = 18;

/// Powers of ten that a double holds exactly; the quotient of two exact doubles is correctly rounded.
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// Largest integer up to which a double holds every integer.
const EXACT_INTEGER: u64 = 1 << 53;

impl<'a> Number<'a> {
    /// As it is written.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// Its value, when it is written without fraction and exponent and fits.
    #[inline]
    pub fn as_i64(&self) -> Option<i64> {
        if self.exponent || self.fraction_digits != 0 {
            return None;
        }
        if self.digits <= EXACT_SIGNED_DIGITS {
            let value = self.mantissa as i64;
            return Some(if self.negative { -value } else { value });
        }
        self.text.parse().ok()
    }

    /// Its value, correctly rounded; `None` when it is beyond the largest double.
    #[inline]
    pub fn as_f64(&self) -> Option<f64> {
        if !self.exponent && self.digits <= EXACT_DIGITS && self.mantissa <= EXACT_INTEGER {
            // At most 19 digits, so the power is one of the table.
            let value = self.mantissa as f64 / EXACT_POWERS[self.fraction_digits];
            return Some(if self.negative { -value } else { value });
        }
        self.text
            .parse()
            .ok()
            .filter(|value: &f64| value.is_finite())
    }
}

/// A position in a record's text.
#[derive(Clone, Debug)]
pub(super) struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    /// The next byte to be read.
    pub at: usize,
    /// Containers open around what the caller reads, besides those that it counts itself.
    pub around: usize,
}

impl<'a> Scanner<'a> {
    pub fn new(text: &'a str) -> Scanner<'a> {
        Scanner {
            text,
            bytes: text.as_bytes(),
            at: 0,
            around: 0,
        }
    }

    /// All of it.
    pub fn document(&self) -> &'a [u8] {
        self.bytes
    }

    /// What is left.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// The text between two positions; empty when they are none of this text.
    pub fn between(&self, start: usize, end: usize) -> &'a str {
        self.text.get(start..end).unwrap_or_default()
    }

    #[inline]
    pub fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline]
    pub fn skip_whitespace(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// Takes `byte` if it is the next one.
    #[inline]
    pub fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    pub fn expect(&mut self, byte: u8, what: &'static str) -> Scan<()> {
        if self.eat(byte) {
            Ok(())
        } else {
            self.malformed(what)
        }
    }

    pub fn malformed<T>(&self, what: &'static str) -> Scan<T> {
        Err(Malformed { at: self.at, what })
    }

    /// Nothing but whitespace may follow.
    pub fn expect_end(&mut self) -> Scan<()> {
        self.skip_whitespace();
        if self.at == self.bytes.len() {
            Ok(())
        } else {
            self.malformed("bytes after the end of the document")
        }
    }

    /// Reads a string, opening quote next, and hands its text to `sink` piece by piece, decoded.
    #[inline]
    pub fn string(&mut self, mut sink: impl FnMut(&str)) -> Scan<()> {
        if !self.eat(b'"') {
            return self.malformed("no string where one must be");
        }
        let start = self.at;
        let stop = string_stop(self.bytes, start);
        if self.bytes.get(stop) == Some(&b'"') {
            sink(&self.text[start..stop]);
            self.at = stop + 1;
            return Ok(());
        }
        self.string_with_escapes(stop, sink)
    }

    /// Reads a string, and gives its text: out of the record where it stands there as it is, else decoded
    /// into `scratch`.
    #[inline]
    pub fn text<'s>(&mut self, scratch: &'s mut String) -> Scan<&'s str>
    where
        'a: 's,
    {
        let start = self.at + 1;
        let stop = string_stop(self.bytes, start);
        if self.peek() == Some(b'"') && self.bytes.get(stop) == Some(&b'"') {
            self.at = stop + 1;
            return Ok(&self.text[start..stop]);
        }
        scratch.clear();
        self.string(|part| scratch.push_str(part))?;
        Ok(scratch)
    }

    /// Goes on with a string whose plain text so far ends at `stop`. Apart: most strings have no escapes, and are read in line.
    #[cold]
    fn string_with_escapes(&mut self, mut stop: usize, mut sink: impl FnMut(&str)) -> Scan<()> {
        loop {
            sink(&self.text[self.at..stop]);
            self.at = stop;
            if self.eat(b'"') {
                return Ok(());
            }
            if self.peek() != Some(b'\\') {
                return self.unfinished_string();
            }
            match self
                .bytes
                .get(stop + 1)
                .and_then(|&letter| plain_escape(letter))
            {
                Some(plain) => {
                    sink(plain);
                    self.at += 2;
                }
                None => {
                    let mut utf8 = [0; 4];
                    sink(self.unicode_escape()?.encode_utf8(&mut utf8));
                }
            }
            stop = string_stop(self.bytes, self.at);
        }
    }

    /// Reads past a string, checking it.
    #[inline]
    fn skip_string(&mut self) -> Scan<()> {
        if !self.eat(b'"') {
            return self.malformed("no string where one must be");
        }
        loop {
            self.at = string_stop(self.bytes, self.at);
            if self.eat(b'"') {
                return Ok(());
            }
            if self.peek() != Some(b'\\') {
                return self.unfinished_string();
            }
            match self
                .bytes
                .get(self.at + 1)
                .and_then(|&letter| plain_escape(letter))
            {
                Some(_) => self.at += 2,
                None => drop(self.unicode_escape()?),
            }
        }
    }

    #[cold]
    fn unfinished_string(&self) -> Scan<()> {
        self.malformed(match self.peek() {
            None => "the end of the record inside a string",
            Some(_) => "a control character inside a string",
        })
    }

    /// Reads an escape that is none of the plain ones, backslash next; a surrogate pair is one.
    #[cold]
    fn unicode_escape(&mut self) -> Scan<char> {
        if self.bytes.get(self.at + 1) != Some(&b'u') {
            return self.malformed("an escape that JSON does not know");
        }
        let (first, second) = (self.code_unit(self.at), self.code_unit(self.at + 6));
        match (first, second) {
            (None, _) => self.malformed("a \\u escape without four hexadecimal digits"),
            (Some(high @ 0xd800..=0xdbff), Some(low @ 0xdc00..=0xdfff)) => {
                self.at += 12;
                let scalar = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                // Always a scalar value: 0x10000 to 0x10ffff.
                Ok(char::from_u32(scalar).unwrap_or(char::REPLACEMENT_CHARACTER))
            }
            (Some(unit), _) => match char::from_u32(unit) {
                Some(scalar) => {
                    self.at += 6;
                    Ok(scalar)
                }
                None => self.malformed("an unpaired surrogate escape"),
            },
        }
    }

    /// The code unit of the `\uXXXX` at a position, if there is one.
    fn code_unit(&self, at: usize) -> Option<u32> {
        let escape = self.bytes.get(at..at + 6)?;
        let digits = escape.strip_prefix(b"\\u")?;
        digits.iter().try_fold(0, |unit, &digit| {
            Some(unit * 16 + char::from(digit).to_digit(16)?)
        })
    }

    /// Reads a number.
    #[inline]
    pub fn number(&mut self) -> Scan<Number<'a>> {
        let start = self.at;
        let negative = self.eat(b'-');
        let mut mantissa = 0;
        let whole_start = self.at;
        let whole_digits = self.digits(&mut mantissa)?;
        if whole_digits > 1 && self.bytes.get(whole_start) == Some(&b'0') {
            self.at = whole_start;
            return self.malformed("a number with a leading zero");
        }
        let fraction_digits = if self.eat(b'.') {
            self.digits(&mut mantissa)?
        } else {
            0
        };
        let exponent = self.eat(b'e') || self.eat(b'E');
        if exponent {
            let _sign = self.eat(b'+') || self.eat(b'-');
            self.digits(&mut 0)?;
        }
        Ok(Number {
            text: self.between(start, self.at),
            negative,
            exponent,
            mantissa,
            digits: whole_digits + fraction_digits,
            fraction_digits,
        })
    }

    /// Reads one or more digits onto `mantissa` (which may wrap), and says how many.
    #[inline]
    fn digits(&mut self, mantissa: &mut u64) -> Scan<usize> {
        let start = self.at;
        // Most numbers are shorter: then one byte tells.
        while matches!(self.bytes.get(self.at + 7), Some(b'0'..=b'9'))
            && let Some(eight) = eight_digits(self.rest())
        {
            *mantissa = mantissa.wrapping_mul(100_000_000).wrapping_add(eight);
            self.at += 8;
        }
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            *mantissa = mantissa
                .wrapping_mul(10)
                .wrapping_add(u64::from(digit - b'0'));
            self.at += 1;
        }
        if self.at == start {
            self.malformed("no digit where one must be")
        } else {
            Ok(self.at - start)
        }
    }

    /// Takes `true`, `false` or `null`.
    #[inline]
    pub fn literal(&mut self, literal: &'static str) -> Scan<()> {
        if self.rest().starts_with(literal.as_bytes()) {
            self.at += literal.len();
            return Ok(());
        }
        self.malformed("no JSON value where one must be")
    }

    /// Reads past a value of any type, checking it. `depth`: containers open around it.
    pub fn skip_value(&mut self, depth: usize) -> Scan<()> {
        match self.peek() {
            Some(b'"') => self.skip_string(),
            Some(b'-' | b'0'..=b'9') => self.number().map(drop),
            Some(b't') => self.literal("true"),
            Some(b'f') => self.literal("false"),
            Some(b'n') => self.literal("null"),
            Some(b'{' | b'[') if self.around + depth >= MAX_DEPTH => {
                self.malformed("nesting deeper than 64 levels")
            }
            Some(b'{') => self.skip_object(depth + 1),
            Some(b'[') => self.skip_array(depth + 1),
            None => self.malformed("the end of the record where a value must be"),
            Some(_) => self.malformed("no JSON value where one must be"),
        }
    }

    fn skip_array(&mut self, depth: usize) -> Scan<()> {
        self.at += 1;
        self.skip_whitespace();
        if self.eat(b']') {
            return Ok(());
        }
        loop {
            self.skip_whitespace();
            self.skip_value(depth)?;
            self.skip_whitespace();
            if self.eat(b']') {
                return Ok(());
            }
            self.expect(b',', "neither `,` nor `]` after an element")?;
        }
    }

    fn skip_object(&mut self, depth: usize) -> Scan<()> {
        self.at += 1;
        self.skip_whitespace();
        if self.eat(b'}') {
            return Ok(());
        }
        loop {
            self.skip_whitespace();
            self.skip_string()?;
            self.skip_whitespace();
            self.expect(b':', "no `:` after a key")?;
            self.skip_whitespace();
            self.skip_value(depth)?;
            self.skip_whitespace();
            if self.eat(b'}') {
                return Ok(());
            }
            self.expect(b',', "neither `,` nor `}` after a member")?;
        }
    }
}

/// What an escape of two characters stands for, by its letter.
#[inline]
fn plain_escape(letter: u8) -> Option<&'static str> {
    Some(match letter {
        b'"' => "\"",
        b'\\' => "\\",
        b'/' => "/",
        b'b' => "\u{8}",
        b'f' => "\u{c}",
        b'n' => "\n",
        b'r' => "\r",
        b't' => "\t",
        _ => return None,
    })
}

/// The number that the next eight bytes are, if all of them are digits: in three multiplications instead of eight, by
/// summing neighbours, then neighbouring pairs, then fours (D. Lemire, "Quickly parsing eight digits", 2018).
#[inline]
fn eight_digits(bytes: &[u8]) -> Option<u64> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let text = u64::from_le_bytes(*bytes.first_chunk()?);
    let digits = text.wrapping_sub(ONES * b'0' as u64);
    // The highest bit of a byte tells: below `0` of the difference, above `9` of the sum.
    let beyond = text.wrapping_add(ONES * (0x7f - b'9') as u64);
    if (digits | beyond) & (ONES * 0x80) != 0 {
        return None;
    }
    let pairs = (digits * 10 + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    Some((fours * 10_000 + (fours >> 32)) & 0xffff_ffff)
}

/// The first quote, backslash or control character at or after `from`; the length if there is none.
#[inline]
fn string_stop(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(block) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        if let Some(stop) = block::string_stop(block) {
            return at + stop;
        }
        at += block.len();
    }
    while let Some(&byte) = bytes.get(at) {
        if byte == b'"' || byte == b'\\' || byte < b' ' {
            break;
        }
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_string_stops_at_the_first_byte_that_is_special(bytes: Vec<u8>, from in 0usize..40) {
            let expected = (from..bytes.len())
                .find(|&i| matches!(bytes[i], b'"' | b'\\' | 0..=0x1f))
                .unwrap_or(bytes.len().max(from));
            prop_assert_eq!(string_stop(&bytes, from), expected);
        }

        #[test]
        fn eight_bytes_are_digits_or_not(bytes: [u8; 8], digits in "[0-9]{8}", wrong in 0usize..8) {
            let expected = |bytes: &[u8]| bytes.iter().try_fold(0, |sum, byte| {
                byte.is_ascii_digit().then(|| sum * 10 + u64::from(byte - b'0'))
            });
            prop_assert_eq!(eight_digits(&bytes), expected(&bytes));
            let mut digits = digits.into_bytes();
            prop_assert_eq!(eight_digits(&digits), expected(&digits));
            digits[wrong] = bytes[0];
            prop_assert_eq!(eight_digits(&digits), expected(&digits));
        }

        #[test]
        fn numbers_are_read_as_the_standard_library_reads_them(
            text in "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?"
        ) {
            let mut scanner = Scanner::new(&text);
            let number = scanner.number().expect("a number");
            prop_assert_eq!(scanner.at, text.len());
            let double = text.parse::<f64>().ok().filter(|v| v.is_finite());
            prop_assert_eq!(number.as_f64().map(f64::to_bits), double.map(f64::to_bits));
            prop_assert_eq!(number.as_i64(), text.parse::<i64>().ok());
        }
    }
}

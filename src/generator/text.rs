//! How the parts of an event are written: times, numerals, numbers.

const MILLIS_PER_DAY: i64 = 86_400_000;

/// The text of the last day written: dates cost more than all the rest of a record.
#[derive(Clone, Debug, Default)]
pub(super) struct DayPrefix {
    day: Option<i64>,
    text: Vec<u8>,
}

impl DayPrefix {
    /// ISO-8601 with milliseconds, UTC.
    pub(super) fn write(&mut self, ms: i64, out: &mut Vec<u8>) {
        let day = ms.div_euclid(MILLIS_PER_DAY);
        if self.day != Some(day) {
            let (year, month, date) = civil(day);
            self.text = format!("{year:04}-{month:02}-{date:02}T").into_bytes();
            self.day = Some(day);
        }
        out.extend_from_slice(&self.text);
        let ms = ms.rem_euclid(MILLIS_PER_DAY) as u32;
        let two = |out: &mut Vec<u8>, n: u32| {
            out.extend_from_slice(&[b'0' + (n / 10) as u8, b'0' + (n % 10) as u8])
        };
        two(out, ms / 3_600_000);
        out.push(b':');
        two(out, ms / 60_000 % 60);
        out.push(b':');
        two(out, ms / 1000 % 60);
        out.push(b'.');
        let fraction = ms % 1000;
        out.push(b'0' + (fraction / 100) as u8);
        two(out, fraction % 100);
        out.push(b'Z');
    }
}

/// Year, month and day of a day since 1970 in the proleptic Gregorian calendar, by counting eras of 400
/// years that begin in March.
pub(super) fn civil(day: i64) -> (i64, i64, i64) {
    let z = day + 719_468;
    let era = z.div_euclid(146_097);
    let of_era = z.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let date = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    (year + era * 400 + i64::from(month <= 2), month, date)
}

pub(super) fn roman(mut number: u64) -> String {
    const SIGNS: [(u64, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    let mut numeral = String::new();
    for (value, sign) in SIGNS {
        while number >= value {
            numeral.push_str(sign);
            number -= value;
        }
    }
    numeral
}

pub(super) fn write_user(out: &mut Vec<u8>, user: u64) {
    out.extend_from_slice(b"user-");
    write_hex(out, user, 5);
}

/// The lowest `digits` hexadecimal digits.
pub(super) fn write_hex(out: &mut Vec<u8>, number: u64, digits: u32) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for digit in (0..digits).rev() {
        out.push(DIGITS[(number >> (4 * digit) & 15) as usize]);
    }
}

pub(super) fn write_decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Puts `with` in the place of the digits behind `field`.
pub(super) fn replace_number(json: &mut Vec<u8>, field: &[u8], with: &[u8]) {
    let Some(at) = json.windows(field.len()).position(|w| w == field) else {
        return;
    };
    let from = at + field.len();
    let digits = json[from..]
        .iter()
        .take_while(|b| b.is_ascii_digit())
        .count();
    json.splice(from..from + digits, with.iter().copied());
}

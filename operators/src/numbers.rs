//! Numbers as a person reads them.

/// A count with commas between thousands.
///
/// ```
/// use strandline_operators::numbers::grouped;
/// assert_eq!(grouped(1_234_567), "1,234,567");
/// assert_eq!(grouped(999), "999");
/// assert_eq!(grouped(0), "0");
/// ```
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The same of a number that may be negative, such as an offset.
///
/// ```
/// use strandline_operators::numbers::grouped_signed;
/// assert_eq!(grouped_signed(-1_200), "-1,200");
/// ```
pub fn grouped_signed(number: i64) -> String {
    let sign = if number < 0 { "-" } else { "" };
    format!("{sign}{}", grouped(number.unsigned_abs()))
}

//! The members of an object, in the order and spacing of the object before as long as it lasts.

use crate::decode::scan::{Malformed, Scanner};
use crate::decode::template::{Seen, Template};

/// The members of the object before: what they looked like, and what each means.
#[derive(Debug)]
pub(super) struct Members<M> {
    template: Template<M>,
    seen: Vec<Seen<M>>,
    key: String,
}

impl<M> Default for Members<M> {
    fn default() -> Members<M> {
        Members {
            template: Template::default(),
            seen: Vec::new(),
            key: String::new(),
        }
    }
}

impl<M: Copy> Members<M> {
    /// Visits the members of an object, its brace next; `meaning` is asked about keys that were not predicted, and `visit`
    /// must read the value. Keys may come twice; the decoder of the row looks at those.
    pub fn visit<'a>(
        &mut self,
        json: &mut Scanner<'a>,
        meaning: impl Fn(&str) -> M,
        mut visit: impl FnMut(&mut Scanner<'a>, M) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        self.seen.clear();
        let mut start = json.at;
        let mut predicted = self.template.first(json.rest());
        let mut is_as_predicted = true;
        let mut next = 0;
        loop {
            let member = match predicted {
                Some(found) => {
                    json.at += found.length;
                    // This one may have more of it than the one before.
                    json.skip_whitespace();
                    next = found.place + 1;
                    found.meaning
                }
                None => {
                    if self.seen.is_empty() {
                        json.expect(b'{', "no `{` at the start")?;
                    }
                    json.skip_whitespace();
                    if json.eat(b'}') {
                        break;
                    }
                    if !self.seen.is_empty() {
                        json.expect(b',', "neither `,` nor `}` after a member")?;
                        json.skip_whitespace();
                    }
                    is_as_predicted = false;
                    let member = meaning(json.text(&mut self.key)?);
                    json.skip_whitespace();
                    json.expect(b':', "no `:` after a key")?;
                    json.skip_whitespace();
                    member
                }
            };
            self.seen.push(Seen {
                start,
                value: json.at,
                meaning: member,
            });
            visit(json, member)?;
            if json.eat(b'}') {
                break;
            }
            start = json.at;
            predicted = self.template.next(next, json.rest());
        }
        if !is_as_predicted {
            self.template.learn(json.document(), &self.seen);
        }
        Ok(())
    }
}

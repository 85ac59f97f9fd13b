//! YAML as a tree in which every value knows where it stands.
//!
//! Built from the parser's events rather than through serde, because a message about a value needs its
//! line, its column and its text as written, and a setting from `--set` needs to join the same tree.

use std::collections::HashMap;

use serde_saphyr::granit_parser::{Event, Marker, Parser, ScalarStyle};
use strandline_operators::{Error, Result};

use super::origin::{Origin, Place};

/// Most values a configuration may have, aliases expanded: some thousand jobs. Bounds `&a [*b, *b, ...]`.
const MAX_NODES: usize = 100_000;

/// Deepest nesting read. The deepest setting stands at 6.
const MAX_DEPTH: usize = 32;

/// A value and where it came from.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub value: Value,
    pub origin: Origin,
}

/// A YAML value. Scalars stay text until a setting says what they are.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub key: String,
    pub key_origin: Origin,
    pub node: Node,
}

impl Node {
    /// A map without entries.
    pub fn empty(origin: Origin) -> Node {
        Node {
            value: Value::Map(Vec::new()),
            origin,
        }
    }

    /// What was found, for messages.
    pub fn found(&self) -> String {
        match &self.value {
            Value::Null => "nothing".to_owned(),
            Value::Scalar(text) => format!("`{text}`"),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map".to_owned(),
        }
    }

    /// Puts `node` at `path`, making maps on the way; replaces what is there.
    pub fn put(&mut self, path: &[&str], node: Node) {
        let Some((key, rest)) = path.split_first() else {
            *self = node;
            return;
        };
        if !matches!(self.value, Value::Map(_)) {
            *self = Node::empty(node.origin.clone());
        }
        let Value::Map(entries) = &mut self.value else {
            return;
        };
        match entries.iter_mut().find(|e| e.key == *key) {
            Some(entry) => entry.node.put(rest, node),
            None => {
                let origin = node.origin.clone();
                let mut child = Node::empty(origin.clone());
                child.put(rest, node);
                entries.push(Entry {
                    key: (*key).to_owned(),
                    key_origin: origin,
                    node: child,
                });
            }
        }
    }
}

/// Reads one YAML document; `place` says where line and column of it are.
///
/// # Errors
/// It is not YAML, or uses what a configuration has no need of (several documents, tags, keys that are
/// not text), or is too large.
pub(crate) fn parse(text: &str, place: &dyn Fn(usize, usize) -> Place, what: &str) -> Result<Node> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut events = Vec::new();
    for next in Parser::new_from_str(text) {
        match next {
            Ok((Event::Comment(..) | Event::StreamStart | Event::StreamEnd, _)) => {}
            Ok((event, span)) => events.push((event, span.start)),
            Err(error) => {
                let origin = origin_at(place, error.marker());
                return Err(
                    Error::configuration(format!("{what} is not YAML: {}", error.info()))
                        .context(origin.exact()),
                );
            }
        }
    }
    let mut builder = Builder {
        events: events.into_iter(),
        place,
        what,
        anchors: HashMap::new(),
        nodes: 0,
    };
    builder.document()
}

/// `Parser` counts columns from 0; people and editors count from 1.
fn origin_at(place: &dyn Fn(usize, usize) -> Place, marker: &Marker) -> Origin {
    Origin {
        place: place(marker.line(), marker.col() + 1),
        variable: None,
    }
}

struct Builder<'t, 'p> {
    events: std::vec::IntoIter<(Event<'t>, Marker)>,
    place: &'p dyn Fn(usize, usize) -> Place,
    what: &'p str,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl<'t> Builder<'t, '_> {
    fn document(&mut self) -> Result<Node> {
        let start = Origin {
            place: (self.place)(1, 1),
            variable: None,
        };
        let Some((Event::DocumentStart(..), _)) = self.events.next() else {
            return Ok(Node::empty(start));
        };
        let root = match self.events.next() {
            None | Some((Event::DocumentEnd, _)) => return Ok(Node::empty(start)),
            Some((event, marker)) => self.node(event, marker, 0)?,
        };
        self.events.next();
        match self.events.next() {
            Some((_, marker)) => {
                Err(self.error("has more than one document; only one is read", &marker))
            }
            None => Ok(root),
        }
    }

    fn error(&self, problem: &str, marker: &Marker) -> Error {
        Error::configuration(format!("{} {problem}", self.what))
            .context(origin_at(self.place, marker).exact())
    }

    fn node(&mut self, event: Event<'t>, marker: Marker, depth: usize) -> Result<Node> {
        if depth > MAX_DEPTH {
            return Err(self.error(
                &format!("is nested deeper than {MAX_DEPTH} levels"),
                &marker,
            ));
        }
        self.count(1, &marker)?;
        if let Some(tag) = event.tag().filter(|tag| !tag.is_yaml_core_schema()) {
            return Err(self.error(
                &format!("uses the tag `{}`; tags mean nothing here", tag.original()),
                &marker,
            ));
        }
        let origin = origin_at(self.place, &marker);
        let anchor = event.anchor_id().unwrap_or(0);
        let value = match event {
            Event::Alias(id) => {
                let Some(node) = self.anchors.get(&id).cloned() else {
                    return Err(self.error("uses an alias inside of its own anchor", &marker));
                };
                self.count(size(&node), &marker)?;
                return Ok(node);
            }
            Event::Scalar(text, style, ..) => {
                let plain = style == ScalarStyle::Plain;
                if plain && matches!(text.as_ref(), "" | "~" | "null" | "Null" | "NULL") {
                    Value::Null
                } else {
                    Value::Scalar(text.into_owned())
                }
            }
            Event::SequenceStart(..) => {
                let mut list = Vec::new();
                loop {
                    match self.next(&marker)? {
                        (Event::SequenceEnd, _) => break Value::List(list),
                        (event, marker) => list.push(self.node(event, marker, depth + 1)?),
                    }
                }
            }
            Event::MappingStart(..) => self.map(&marker, depth)?,
            other => return Err(Error::internal(format!("unexpected YAML event {other:?}"))),
        };
        let node = Node { value, origin };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn map(&mut self, start: &Marker, depth: usize) -> Result<Value> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (key, key_marker) = match self.next(start)? {
                (Event::MappingEnd, _) => return Ok(Value::Map(entries)),
                (Event::Scalar(key, ..), marker) => (key.into_owned(), marker),
                (_, marker) => return Err(self.error("has a key that is not plain text", &marker)),
            };
            let key_origin = origin_at(self.place, &key_marker);
            if let Some(first) = entries.iter().find(|e| e.key == key) {
                return Err(Error::configuration(format!(
                    "the key `{key}` stands twice, first at {}",
                    first.key_origin.exact()
                ))
                .context(key_origin.exact()));
            }
            let (event, marker) = self.next(&key_marker)?;
            let node = self.node(event, marker, depth + 1)?;
            entries.push(Entry {
                key,
                key_origin,
                node,
            });
        }
    }

    fn next(&mut self, marker: &Marker) -> Result<(Event<'t>, Marker)> {
        match self.events.next() {
            Some(next) => Ok(next),
            None => Err(self.error("ends in the middle of a value", marker)),
        }
    }

    fn count(&mut self, nodes: usize, marker: &Marker) -> Result<()> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            return Err(self.error(&format!("has more than {MAX_NODES} values"), marker));
        }
        Ok(())
    }
}

fn size(node: &Node) -> usize {
    match &node.value {
        Value::Null | Value::Scalar(_) => 1,
        Value::List(list) => 1 + list.iter().map(size).sum::<usize>(),
        Value::Map(entries) => 1 + entries.iter().map(|e| size(&e.node)).sum::<usize>(),
    }
}

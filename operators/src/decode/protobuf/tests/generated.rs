//! Messages and schemas of any kind, good ones and damaged ones.

use proptest::prelude::*;
use protox::prost::Message;

use super::every_kind::{COLUMNS, every_kind};
use super::oracle::compare;
use super::{decoder, framed, registered};
use crate::decode::Decode;
use crate::decode::protobuf::schema;
use crate::decode::testing::{Draw, raw_batch};

proptest! {
    /// Messages written one behind the other are one message: the last of a field counts, of a oneof the last
    /// member, and messages inside are merged.
    #[test]
    fn what_prost_writes_is_read(seed: u64, is_proto3: bool, count in 1usize..4) {
        let mut draw = Draw(seed);
        let registered = registered(&every_kind(is_proto3), &[]);
        let messages = schema::messages(&registered).expect("a schema");
        for (name, indexes) in [("Flat", &[0][..]), ("Deep", &[2, 2])] {
            let (_, of) = messages.iter().find(|(_, of)| of.name() == name).expect("the message");
            let mut bytes = Vec::new();
            for _ in 0..count {
                bytes.extend(draw.message(of, 0).encode_to_vec());
            }
            compare(is_proto3, name, indexes, &bytes)?;
        }
    }

    #[test]
    fn a_changed_record_is_taken_only_where_prost_takes_it(
        seed: u64, is_proto3: bool,
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>(), 0u8..4), 1..4)
    ) {
        let registered = registered(&every_kind(is_proto3), &[]);
        let messages = schema::messages(&registered).expect("a schema");
        let (_, of) = messages.iter().find(|(_, of)| of.name() == "Flat").expect("the message");
        let mut bytes = Draw(seed).message(of, 0).encode_to_vec();
        for (at, byte, how) in changes {
            let at = at.index(bytes.len() + 1);
            match how {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, byte),
                _ if at == bytes.len() => bytes.push(byte),
                2 => bytes[at] = byte,
                _ => drop(bytes.remove(at)),
            }
        }
        compare(is_proto3, "Flat", &[0], &bytes)?;
    }

    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        let mut decoder = decoder(COLUMNS, &[registered(&every_kind(true), &[])]);
        let decoded = decoder.decode(&raw_batch(&[Some(bytes.clone()), Some(framed(1, &[], &bytes))]));
        prop_assert_eq!(decoded.rows.len() + decoded.failures.len(), 2);
    }
}

proptest! {
    /// The parser is not ours, and what a registry holds is not either.
    #[test]
    fn no_schema_makes_it_panic(
        is_proto3: bool,
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), 0usize..40, "[a-z{}();=\"<>0-9 ]{0,8}"), 1..6)
    ) {
        let mut text = every_kind(is_proto3);
        for (at, length, insert) in changes {
            let at = at.index(text.len());
            let end = (at + length).min(text.len());
            text.replace_range(at..end, &insert);
        }
        let mut decoder = decoder(COLUMNS, &[registered(&text, &[])]);
        let decoded = decoder.decode(&raw_batch(&[Some(framed(1, &[0], &[0x0a, 1, b'a']))]));
        prop_assert_eq!(decoded.rows.len() + decoded.failures.len(), 1);
    }
}

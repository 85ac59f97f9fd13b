//! The store on a disk and in a bucket in memory: what holds of the one holds of the other.

use proptest::prelude::*;

use super::*;

/// A store, and a folder in it.
fn stores() -> (tempfile::TempDir, Vec<(Store, String)>) {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = Store::with(Properties::default());
    let memory = Store {
        objects: Arc::new(Objects::in_memory("lake")),
    };
    let on_disk = format!("file://{}/w", folder.path().display());
    (
        folder,
        vec![(disk, on_disk), (memory, "s3a://lake/some/w".to_owned())],
    )
}

fn read(store: &Store, location: &str) -> Option<Bytes> {
    store.read(location, Patience::Brief).expect("read")
}

fn write(store: &Store, location: &str) {
    let written = store.write(location, location.into(), Patience::Full);
    written.expect("write");
}

fn locations(listed: Vec<Listed>) -> Vec<String> {
    let mut locations: Vec<String> = listed.into_iter().map(|file| file.location).collect();
    locations.sort();
    locations
}

#[test]
fn what_was_written_is_read_until_it_is_deleted() {
    let (_folder, stores) = stores();
    for (store, folder) in stores {
        let file = format!("{folder}/metadata/a=b c.json");
        assert_eq!(read(&store, &file), None);
        store.delete(&file).expect("one that is not there");
        write(&store, &file);
        assert_eq!(read(&store, &file).as_deref(), Some(file.as_bytes()));
        let missing = format!("{folder}/metadata/none");
        let asked = [file.as_str(), missing.as_str()];
        assert_eq!(
            store.first_missing(asked.into_iter()),
            Some(missing.as_str())
        );
        assert_eq!(store.first_missing([file.as_str()].into_iter()), None);
        store.delete(&file).expect("delete");
        assert_eq!(read(&store, &file), None);
        let many: Vec<String> = (0..40).map(|i| format!("{folder}/many/{i}")).collect();
        many.iter().for_each(|file| write(&store, file));
        assert!(
            store
                .delete_all([many.clone(), vec![missing]].concat())
                .is_empty()
        );
        assert!(
            store
                .list(&format!("{folder}/many"))
                .expect("list")
                .is_empty()
        );
    }
}

#[test]
fn files_are_listed_by_the_location_that_a_table_would_give_them() {
    let (_folder, stores) = stores();
    for (store, folder) in stores {
        let data = format!("{folder}/data");
        assert_eq!(
            locations(store.list(&data).expect("list")),
            Vec::<String>::new()
        );
        assert_eq!(
            locations(store.list_folders(&data, 10).expect("list")),
            Vec::<String>::new()
        );
        let files =
            ["day=1/a", "day=1/b", "day=2/c", "day=2/deep/d"].map(|name| format!("{data}/{name}"));
        files.iter().for_each(|file| write(&store, file));
        write(&store, &format!("{folder}/data-of-others/e"));
        write(&store, &format!("{data}/beside"));

        let listed = locations(store.list(&format!("{data}/day=1")).expect("list"));
        assert_eq!(listed, files[..2]);
        let listed = store.list_folders(&data, 10).expect("list");
        assert!(listed.iter().all(|file| file.written.is_some()));
        let found = locations(listed);
        assert!(
            files[..3].iter().all(|file| found.contains(file)),
            "{found:?}"
        );
        assert!(
            !found
                .iter()
                .any(|file| file.contains("others") || file.contains("beside")),
            "{found:?}"
        );
        assert!(store.list_folders(&data, 1).expect("list").len() == 1);
    }
}

#[test]
fn nothing_is_seen_of_an_object_before_its_end_and_nothing_of_one_given_up() {
    let (_folder, mut stores) = stores();
    let (store, folder) = stores.pop().expect("memory");
    let file = format!("{folder}/data/a");
    for bytes in [10, 40 << 20] {
        let mut output = store.create(&file).expect("create");
        output.write_all(&vec![7; bytes]).expect("write");
        output.flush().expect("flush");
        assert_eq!(read(&store, &file), None);
        drop(output);
        assert_eq!(read(&store, &file), None);
    }
}

#[test]
fn a_copy_has_the_bytes_of_the_original() {
    let (_folder, stores) = stores();
    let original = vec![3; (16 << 20) + 5];
    for (store, folder) in &stores {
        let file = format!("{folder}/data/a");
        store
            .write(&file, original.clone(), Patience::Full)
            .expect("write");
        let copy = format!("{folder}/copy/a");
        let bytes = store
            .copy(&file, store, &copy, original.len() as u64)
            .expect("copy");
        assert_eq!(bytes, original.len() as u64);
        assert_eq!(read(store, &copy).as_deref(), Some(original.as_slice()));
    }
    // From a disk into a bucket.
    let [(of_disk, disk), (store, memory)] = &stores[..] else {
        panic!("two stores")
    };
    let (from, to) = (format!("{disk}/data/a"), format!("{memory}/b"));
    store
        .copy(&from, store, &to, original.len() as u64)
        .expect("copy");
    assert_eq!(read(store, &to).as_deref(), Some(original.as_slice()));
    // And back, also when an attempt before it did not come to its end.
    let back = format!("{disk}/back");
    of_disk
        .write(&back, vec![1], Patience::Full)
        .expect("write");
    let copied = store.copy(&to, of_disk, &back, original.len() as u64);
    assert_eq!(copied.expect("copy"), original.len() as u64);
    assert_eq!(read(of_disk, &back).as_deref(), Some(original.as_slice()));
    // What is not as long as it should be is not copied at all.
    let other = format!("{disk}/other");
    let copied = store.copy(&to, of_disk, &other, 7);
    assert_eq!(copied.expect("its size"), original.len() as u64);
    assert_eq!(read(of_disk, &other), None);
}

#[test]
fn a_place_that_is_not_built_in_is_refused_with_the_next_step() {
    let (_folder, stores) = stores();
    for (store, _) in stores {
        let fault = store.require("gs://lake/w").expect_err("not built in");
        let error = fault.explain("cannot write", "the usual");
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().contains("`gs://`"), "{error}");
        assert!(error.to_string().contains("catalog.warehouse"), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Whatever the pieces, also those that end at the edge of a part.
    #[test]
    fn an_object_is_all_that_was_written(pieces in proptest::collection::vec(
        prop_oneof![1..10_usize, Just(8 << 20), Just((8 << 20) - 1), 1..(20_usize << 20)], 0..4,
    )) {
        let (_folder, stores) = stores();
        for (store, folder) in stores {
            let file = format!("{folder}/data/a");
            let mut output = store.create(&file).expect("create");
            let mut expected = Vec::new();
            for (number, &bytes) in pieces.iter().enumerate() {
                let piece: Vec<u8> = (0..bytes).map(|at| (at % 251 + number) as u8).collect();
                output.write_all(&piece).expect("write");
                expected.extend(piece);
            }
            prop_assert_eq!(output.finish().expect("finish"), expected.len() as u64);
            prop_assert!(read(&store, &file).as_deref() == Some(expected.as_slice()));
        }
    }

    /// What is asked of a file here and there is what is there, in memory or not.
    #[test]
    fn any_range_of_a_file_can_be_read(
        length in 1..200_000_usize,
        ahead in proptest::collection::vec((0.0..1.0, 0.0..1.0), 0..3),
        asked in (0.0..1.0, 0.0..1.0),
    ) {
        let range = |(from, length_of): (f64, f64)| {
            let start = (from * length as f64) as usize;
            start..start + (length_of * (length - start) as f64) as usize
        };
        let content: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        let ahead: Vec<_> = ahead.into_iter().map(range).filter(|r| !r.is_empty()).collect();
        let ahead: Vec<_> = ahead.into_iter().map(|r| r.start as u64..r.end as u64).collect();
        let asked = range(asked);
        let (_folder, stores) = stores();
        for (store, folder) in stores {
            let file = format!("{folder}/a");
            store.write(&file, content.clone(), Patience::Full).expect("write");
            let input = store.open(&file, length as u64).expect("open").with(&ahead).expect("ahead");
            let bytes = input.get_bytes(asked.start as u64, asked.len()).expect("bytes");
            prop_assert!(bytes[..] == content[asked.clone()]);
            let mut read = vec![0; asked.len().min(64)];
            let mut reader = input.get_read(asked.start as u64).expect("a reader");
            std::io::Read::read_exact(&mut reader, &mut read).expect("read");
            prop_assert!(read[..] == content[asked.start..asked.start + read.len()]);
        }
    }
}

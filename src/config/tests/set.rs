//! `--set`.

use super::*;

#[test]
fn set_wins_over_the_file_and_says_so() {
    let yaml = "jobs: { orders: { commit: { interval: 5s, max_bytes: 1MiB }, dedup: off } }";
    let set = [
        "commit.interval=250ms",
        "jobs.roman-numerals.memory=2GiB",
        "dedup.ttl=1h",
        "kafka.properties.client.id=x",
    ];
    let draft = load_with(yaml, &set, Some("orders")).expect("loads");
    let orders = draft.engine.job("orders").expect("is there");
    assert_eq!(
        (orders.commit.interval, orders.commit.max_bytes),
        (Duration::from_millis(250), 1 << 20)
    );
    assert_eq!(
        orders
            .dedup
            .as_ref()
            .map(|d| (d.key.as_str(), d.ttl.as_secs())),
        Some(("event_id", 3600))
    );
    assert_eq!(
        draft.engine.job("roman-numerals").expect("is there").memory,
        2 << 30
    );
    assert_eq!(origin_of(&draft, "jobs.orders.commit.interval"), "--set");
    assert_eq!(
        origin_of(&draft, "jobs.orders.commit.max_bytes"),
        "a.yaml:1"
    );
    assert_eq!(origin_of(&draft, "jobs.orders.table"), "job");
    assert_eq!(origin_of(&draft, "jobs.orders.on_gap"), "default");
    assert_eq!(origin_of(&draft, "kafka.properties.client.id"), "--set");
}

#[test]
fn set_is_checked_like_the_file() {
    assert_eq!(
        error_of_set("commit.intervall=1s"),
        "unknown key `intervall` under `jobs.orders.commit`\n  hint: did you mean `interval`?\n  (--set commit.intervall)"
    );
    assert_eq!(
        error_of_set("comit.interval=1s"),
        "unknown key `comit` in `--set comit.interval`\n  hint: did you mean `commit`?"
    );
    assert_eq!(
        error_of_set("commit.interval"),
        "`--set commit.interval` has no `=`\n  hint: write `--set commit.interval=250ms`"
    );
    assert_eq!(
        load_with("", &["commit.interval=1s"], None).expect_err("no job"),
        "`--set commit.interval` does not say which job\n  hint: write `--set jobs.orders.commit.interval=...`"
    );
    assert_eq!(
        error_of_set("jobs.order.memory=2GiB"),
        "there is no job `order`\n  hint: did you mean `orders`?\n  (--set jobs.order.memory)"
    );
}

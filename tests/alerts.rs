//! The alert rules that are shipped: Prometheus accepts them, they fire when they should and name a part of
//! the runbook that is there.

mod support;

use support::{in_repository, promtool};

#[test]
fn the_rules_are_accepted() {
    let said = promtool(
        &in_repository("deploy/prometheus"),
        &["check", "rules", "alerts.yml"],
        "",
    );
    assert!(said.contains("10 rules found"), "{said}");
}

#[test]
fn the_rules_fire_when_they_should() {
    promtool(
        &in_repository("deploy/prometheus"),
        &["test", "rules", "alerts_test.yml"],
        "",
    );
}

#[test]
fn every_alert_is_tested_and_leads_to_a_part_of_the_runbook() {
    let read = |path| std::fs::read_to_string(path).expect("a file of the repository");
    let rules = read(in_repository("deploy/prometheus").join("alerts.yml"));
    let tests = read(in_repository("deploy/prometheus").join("alerts_test.yml"));
    let runbook = read(in_repository("docs/runbook.md"));
    let of = |key: &str| -> Vec<String> {
        let lines = rules.lines().map(str::trim);
        lines
            .filter_map(|line| line.strip_prefix(key).map(|value| value.trim().to_owned()))
            .collect()
    };
    let alerts = of("- alert:");
    assert!(alerts.len() >= 8, "{alerts:?}");
    for alert in alerts {
        assert!(tests.contains(&format!("alertname: {alert}")), "{alert}");
    }
    for link in of("runbook:") {
        let part = link
            .strip_prefix("docs/runbook.md#")
            .expect("a part of the runbook");
        let heading = format!("## {}", part.replace('-', " "));
        let is_there = runbook
            .lines()
            .any(|line| line.eq_ignore_ascii_case(&heading));
        assert!(is_there, "the runbook has no `{heading}`");
    }
}

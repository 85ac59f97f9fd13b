//! The report as one page, with bars, that needs nothing else.

use std::fmt::Write;

use serde_json::Value;

use crate::report::shown;

const STYLE: &str = "\
:root{color-scheme:light dark;--ours:#1f7a8c;--theirs:#e6526f}\
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
table{border-collapse:collapse;width:100%}td,th{padding:.2rem .6rem;text-align:right}\
td:first-child,th:first-child{text-align:left}tr:nth-child(even){background:#8881}\
.bar{height:.6rem;border-radius:.2rem}.ours{background:var(--ours)}.theirs{background:var(--theirs)}\
td.bars{width:14rem}small{opacity:.75}";

/// The page of a report.
pub fn of(report: &Value) -> String {
    let mut page = String::new();
    let facts = &report["facts"];
    // Writing to a string cannot fail.
    let _ = write!(
        page,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <title>Strandline and Flink, measured side by side</title><style>{STYLE}</style>\
         <h1>Strandline and Flink, measured side by side</h1>\
         <p><code>{}</code>, {}<br><small>{} cores of {}, {}, a random read in {} ns, Linux {}; {}</small></p>",
        escaped(&facts["command"]),
        escaped(&facts["date"]),
        escaped(&facts["machine"]["cores"]),
        escaped(&facts["machine"]["cpu"]),
        escaped(&facts["machine"]["memory"]),
        escaped(&facts["machine"]["random_read_ns"]),
        escaped(&facts["machine"]["kernel"]),
        escaped(&facts["versions"]),
    );
    page.push_str(
        "<p>Medians over all rounds. Each round's tables were read by DuckDB and held exactly the rows that \
         they must. Ratio: Flink's figure divided by Strandline's.</p>",
    );
    for group in report["comparison"].as_array().into_iter().flatten() {
        group_of(&mut page, group);
    }
    page.push_str("</html>\n");
    page
}

fn group_of(page: &mut String, group: &Value) {
    let _ = write!(
        page,
        "<h2>{}</h2><table><tr><th>figure<th>Strandline<th>Flink<th>ratio<th></tr>",
        escaped(&group["title"])
    );
    for (name, figure) in group["figures"].as_object().into_iter().flatten() {
        let (ours, theirs) = (figure["strandline"].as_f64(), figure["flink"].as_f64());
        let cell = |value: Option<f64>| value.map_or_else(String::new, shown);
        let _ = write!(
            page,
            "<tr><td>{name}<td>{}<td>{}<td>{}<td class=bars>{}{}</tr>",
            cell(ours),
            cell(theirs),
            cell(figure["flink_to_strandline"].as_f64()),
            bar("ours", ours, theirs),
            bar("theirs", theirs, ours),
        );
    }
    page.push_str("</table>");
}

/// A bar as long as the value's part of the larger of both.
fn bar(class: &str, value: Option<f64>, other: Option<f64>) -> String {
    let Some((value, other)) = value.zip(other) else {
        return String::new();
    };
    let percent = 100.0 * value / value.max(other).max(f64::MIN_POSITIVE);
    format!("<div class=\"bar {class}\" style=\"width:{percent:.1}%\"></div>")
}

fn escaped(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

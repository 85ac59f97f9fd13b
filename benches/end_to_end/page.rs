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
td.bars{width:14rem}small{opacity:.75}\
.plots{display:flex;flex-wrap:wrap;gap:1rem}figure{margin:0;flex:1 1 16rem}\
svg{width:100%;border-bottom:1px solid #8886}polyline{fill:none;stroke:var(--ours);stroke-width:2}";

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
    for measurement in report["measurements"].as_array().into_iter().flatten() {
        course_of(&mut page, measurement);
    }
    page.push_str("</html>\n");
    page
}

/// What was seen on the way of one measurement, as three small plots over the rows landed.
fn course_of(page: &mut String, measurement: &Value) {
    let empty = Vec::new();
    let course = measurement["course"].as_array().unwrap_or(&empty);
    let number = |moment: &Value, key: &str| moment[key].as_f64().unwrap_or(0.0);
    // Moments between which rows have landed: the others say nothing about the cost of a row.
    let mut points: Vec<&Value> = Vec::new();
    for moment in course {
        let last = points.last().map_or(0.0, |last| number(last, "rows"));
        if number(moment, "rows") > last {
            points.push(moment);
        }
    }
    if points.len() < 3 {
        return;
    }
    let steps = |of: &dyn Fn(&Value, &Value) -> f64| -> Vec<(f64, f64)> {
        let pairs = points.windows(2);
        pairs
            .map(|pair| (number(pair[1], "rows"), of(pair[0], pair[1])))
            .collect()
    };
    let delta = |a: &Value, b: &Value, key: &str| number(b, key) - number(a, key);
    let rate = steps(&|a, b| delta(a, b, "rows") / delta(a, b, "seconds").max(f64::MIN_POSITIVE));
    let cpu = steps(&|a, b| delta(a, b, "cpu_seconds") * 1e6 / delta(a, b, "rows"));
    let rss = steps(&|_, b| number(b, "rss_mib"));
    let _ = write!(
        page,
        "<h3>{} {}, round {}: {}</h3><div class=plots>",
        escaped(&measurement["scenario"]),
        escaped(&measurement["engine"]),
        escaped(&measurement["round"]),
        escaped(&measurement["parameters"]),
    );
    for (title, line) in [
        ("rows a second", rate),
        ("CPU us a row", cpu),
        ("RSS, MiB", rss),
    ] {
        plot(page, title, &line);
    }
    page.push_str("</div>");
}

/// A line over the rows landed, from zero.
fn plot(page: &mut String, title: &str, line: &[(f64, f64)]) {
    const WIDTH: f64 = 280.0;
    const HEIGHT: f64 = 90.0;
    let most = |of: fn(&(f64, f64)) -> f64| line.iter().map(of).fold(f64::MIN_POSITIVE, f64::max);
    let (right, top) = (most(|p| p.0), most(|p| p.1));
    let points: Vec<String> = line
        .iter()
        .map(|(x, y)| format!("{:.1},{:.1}", x / right * WIDTH, HEIGHT - y / top * HEIGHT))
        .collect();
    let _ = write!(
        page,
        "<figure><figcaption>{title}, up to {} over {} rows</figcaption>\
         <svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=img><polyline points=\"{}\"/></svg></figure>",
        shown(top),
        shown(right),
        points.join(" ")
    );
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

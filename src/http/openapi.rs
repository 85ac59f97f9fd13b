//! The API, described for programs: OpenAPI 3.1, whose schemas are those of the documents themselves.

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::connectors::iceberg::SAVEPOINT_NAME_CHARS_MAX;
use crate::status::history::Point;
use crate::status::job::{JobStatus, SettingStatus};

/// The description.
pub(super) fn document() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    let mut schemas = SchemaGenerator::new(settings);
    let status = schemas.subschema_for::<JobStatus>().to_value();
    let point = schemas.subschema_for::<Point>().to_value();
    let setting = schemas.subschema_for::<SettingStatus>().to_value();
    let mut components: Map<String, Value> = schemas.take_definitions(true);
    components.insert(
        "Problem".to_owned(),
        json!({
            "type": "object",
            "description": "An error (RFC 9457).",
            "required": ["type", "title", "status", "detail"],
            "properties": {
                "type": { "type": "string" },
                "title": { "type": "string" },
                "status": { "type": "integer" },
                "detail": { "type": "string" },
            },
        }),
    );
    let object = json!({ "type": "object" });
    let job = json!([{
        "name": "job", "in": "path", "required": true,
        "schema": { "type": "string", "pattern": "^[a-z0-9-]+$" },
    }]);
    let of_job = |path: Value| with(path, "parameters", job.clone());
    let listed = |name: &str, item: &Value| {
        json!({
            "type": "object", "required": [name],
            "properties": { name: { "type": "array", "items": item } },
        })
    };
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Strandline",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What the jobs of this host do, and commands to them.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "security": [{}, { "token": [] }],
        "paths": {
            "/livez": { "get": text("Whether the server answers.", "text/plain", &[]) },
            "/readyz": { "get": text("Whether the job has committed since its last start.", "text/plain", &[503]) },
            "/metrics": { "get": text("Metrics, in OpenMetrics when asked for it, else as Prometheus' text.", "text/plain", &[]) },
            "/api/v1/openapi.json": { "get": answer("This description.", 200, &object, &[]) },
            "/api/v1/jobs": { "get": answer("All jobs, and those that run on this host.", 200, &listed("jobs", &object), &[]) },
            "/api/v1/jobs/{job}": of_job(json!({
                "get": answer("Everything that is known of a running job.", 200, &status, &[404, 409]),
            })),
            "/api/v1/jobs/{job}/settings": of_job(json!({
                "get": answer("The settings in force, secrets masked, and where each comes from.", 200, &listed("settings", &setting), &[404, 409]),
            })),
            "/api/v1/jobs/{job}/history": of_job(json!({
                "get": answer("Rates, lag and freshness of the last half hour.", 200, &listed("points", &point), &[404, 409]),
            })),
            "/api/v1/jobs/{job}/events": of_job(json!({
                "get": text("The status, again with every change: server-sent events named `status`.", "text/event-stream", &[404, 409]),
            })),
            "/api/v1/jobs/{job}/end": of_job(json!({
                "get": with(
                    answer("Answers when the job has ended, or after 20 s with 202.", 200, &object, &[404, 409]),
                    "x-long-poll", json!(true),
                ),
            })),
            "/api/v1/jobs/{job}/stop": of_job(json!({
                "post": answer("Drains, commits, and ends the job.", 202, &object, &[403, 404, 409, 413]),
            })),
            "/api/v1/jobs/{job}/cancel": of_job(json!({
                "post": answer("Ends the job at once. Nothing is lost: it goes on from its table.", 202, &object, &[403, 404, 409, 413]),
            })),
            "/api/v1/jobs/{job}/savepoint": of_job(json!({
                "post": with(
                    answer("Tags every table of the job at one point.", 201, &object, &[400, 403, 404, 409, 413, 422, 502]),
                    "requestBody",
                    json!({
                        "required": false,
                        "content": { "application/json": { "schema": {
                            "type": "object", "additionalProperties": false,
                            "properties": { "name": {
                                "description": "The savepoint's name. Default: the time.",
                                "type": ["string", "null"],
                                "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$",
                                "maxLength": SAVEPOINT_NAME_CHARS_MAX,
                                "not": { "pattern": "^[Mm][Aa][Ii][Nn]$", "type": "string" },
                            } },
                        } } },
                    }),
                ),
            })),
        },
        "components": {
            "schemas": components,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

fn with(mut object: Value, key: &str, value: Value) -> Value {
    object[key] = value;
    object
}

fn errors(statuses: &[u16]) -> Map<String, Value> {
    let problem = json!({
        "description": "What was wrong, and the next step.",
        "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
    });
    // A wrong token, or a host's name where there is none.
    let always = [401, 403];
    let statuses = always.iter().chain(statuses);
    statuses
        .map(|status| (status.to_string(), problem.clone()))
        .collect()
}

fn answer(summary: &str, status: u16, schema: &Value, problems: &[u16]) -> Value {
    let mut responses = errors(problems);
    let done = json!({
        "description": summary,
        "content": { "application/json": { "schema": schema } },
    });
    responses.insert(status.to_string(), done.clone());
    if summary.contains("202") {
        responses.insert("202".to_owned(), done);
    }
    json!({ "summary": summary, "responses": responses })
}

fn text(summary: &str, content_type: &str, problems: &[u16]) -> Value {
    let mut responses = errors(problems);
    responses.insert(
        "200".to_owned(),
        json!({
            "description": summary,
            "content": { content_type: { "schema": { "type": "string" } } },
        }),
    );
    json!({ "summary": summary, "responses": responses })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_leads_somewhere() {
        fn references(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(map) => map.iter().for_each(|(key, value)| match value {
                    Value::String(to) if key == "$ref" => found.push(to.clone()),
                    _ => references(value, found),
                }),
                Value::Array(items) => items.iter().for_each(|item| references(item, found)),
                _ => {}
            }
        }
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 10, "{found:?}");
        for reference in found {
            let pointer = reference.strip_prefix('#').expect("of this document");
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }
}

//! A schema registry with one schema, on this machine: engines ask it once, so it must not cost what a real one does.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

use serde_json::json;

use crate::Outcome;

/// It serves until the program ends.
#[derive(Debug)]
pub struct Registry {
    /// Its address.
    pub url: String,
}

impl Registry {
    /// Serves a schema of Avro under an id, with Confluent's API.
    ///
    /// # Errors
    /// No port is free.
    pub fn serve(id: u32, schema: String) -> Outcome<Registry> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}", listener.local_addr()?);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Whoever asked and left has no answer to miss.
                let _ = answer(stream, id, &schema);
            }
        });
        Ok(Registry { url })
    }
}

fn answer(mut stream: TcpStream, id: u32, schema: &str) -> std::io::Result<()> {
    let mut request = String::new();
    let mut lines = BufReader::new(&stream);
    lines.read_line(&mut request)?;
    let mut header = String::new();
    while lines.read_line(&mut header)? > 2 {
        header.clear();
    }
    let path = request.split(' ').nth(1).unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default();
    let (status, body) = match path {
        "/schemas/types" => ("200 OK", json!(["AVRO"])),
        path if path == format!("/schemas/ids/{id}") => ("200 OK", json!({"schema": schema})),
        _ => (
            "404 Not Found",
            json!({"error_code": 40403, "message": "Schema not found"}),
        ),
    };
    let body = body.to_string();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/vnd.schemaregistry.v1+json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

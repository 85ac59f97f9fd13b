//! As much HTTP/1.1 as a proxy before a REST catalog needs: one request a connection, bodies by length or
//! in chunks.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// How long the far end may take for one request; longer than any client of ours waits.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A request, as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET`, `POST`, ...
    pub method: String,
    /// The path with its query.
    pub path: String,
    headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// An answer, its body complete.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    content_type: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// An answer with a body in JSON.
    pub fn json(status: u16, body: impl Into<Vec<u8>>) -> Answer {
        Answer {
            status,
            content_type: "application/json".to_owned(),
            body: body.into(),
        }
    }

    /// Sends it with a `Content-Length` of `length`, which may be a lie, and closes the connection.
    pub fn send_with_length(&self, mut to: &TcpStream, length: usize) -> io::Result<()> {
        write!(
            to,
            "HTTP/1.1 {} Whatever\r\nContent-Type: {}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n",
            self.status, self.content_type
        )?;
        to.write_all(&self.body)?;
        to.flush()?;
        to.shutdown(Shutdown::Write)
    }

    /// Sends it and closes the connection.
    pub fn send(&self, to: &TcpStream) -> io::Result<()> {
        self.send_with_length(to, self.body.len())
    }
}

impl Request {
    /// Reads a request; `None` when the client closes without one.
    pub fn read(from: &TcpStream) -> io::Result<Option<Request>> {
        let mut reader = BufReader::new(from);
        let line = read_line(&mut reader)?;
        let mut words = line.split(' ');
        let (Some(method), Some(path)) = (words.next(), words.next()) else {
            return Ok(None);
        };
        let headers = read_headers(&mut reader)?;
        let mut body = vec![0; length_of(&headers).unwrap_or(0)];
        reader.read_exact(&mut body)?;
        Ok(Some(Request {
            method: method.to_owned(),
            path: path.to_owned(),
            headers,
            body,
        }))
    }

    /// Sends it to `authority` (`host:port`) over a connection of its own, and reads the answer.
    pub fn forward(&self, authority: &str) -> io::Result<Answer> {
        let mut upstream = TcpStream::connect(authority)?;
        upstream.set_read_timeout(Some(TIMEOUT))?;
        let mut head = format!(
            "{} {} HTTP/1.1\r\nHost: {authority}\r\n",
            self.method, self.path
        );
        for (name, value) in &self.headers {
            let dropped = ["host", "connection", "content-length", "accept-encoding"];
            if !dropped.contains(&name.as_str()) {
                head += &format!("{name}: {value}\r\n");
            }
        }
        head += &format!(
            "Content-Length: {}\r\nConnection: close\r\n\r\n",
            self.body.len()
        );
        upstream.write_all(head.as_bytes())?;
        upstream.write_all(&self.body)?;
        upstream.flush()?;

        let mut reader = BufReader::new(&upstream);
        let line = read_line(&mut reader)?;
        let status = line
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .ok_or_else(|| io::Error::other(format!("no answer in HTTP: `{line}`")))?;
        let headers = read_headers(&mut reader)?;
        let mut body = Vec::new();
        let has_none = self.method == "HEAD" || matches!(status, 204 | 304);
        match length_of(&headers) {
            _ if has_none => {}
            _ if value_of(&headers, "transfer-encoding").is_some() => {
                read_chunks(&mut reader, &mut body)?;
            }
            Some(length) => {
                body.resize(length, 0);
                reader.read_exact(&mut body)?;
            }
            None => drop(reader.read_to_end(&mut body)?),
        }
        Ok(Answer {
            status,
            content_type: value_of(&headers, "content-type")
                .unwrap_or_default()
                .to_owned(),
            body,
        })
    }
}

fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

/// Headers, their names in lower case.
fn read_headers(reader: &mut impl BufRead) -> io::Result<Vec<(String, String)>> {
    let mut headers = Vec::new();
    loop {
        let line = read_line(reader)?;
        let Some((name, value)) = line.split_once(':') else {
            return Ok(headers);
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

fn value_of<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut found = headers.iter().filter(|(n, _)| n == name);
    found.next().map(|(_, value)| value.as_str())
}

fn length_of(headers: &[(String, String)]) -> Option<usize> {
    value_of(headers, "content-length")?.parse().ok()
}

fn read_chunks(reader: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let line = read_line(reader)?;
        let size = line.split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(size, 16)
            .map_err(|_| io::Error::other(format!("no size of a chunk: `{line}`")))?;
        if size == 0 {
            return Ok(());
        }
        let at = body.len();
        body.resize(at + size, 0);
        reader.read_exact(&mut body[at..])?;
        read_line(reader)?;
    }
}

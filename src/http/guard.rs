//! Who may ask: nobody from another site, and with a token nobody without it.
//!
//! A browser sends what any page in it says, so a page of another site could stop a job on the reader's own
//! machine. Against that: `Origin` and `Sec-Fetch-Site` on whatever changes something; and on a local address
//! a `Host` that is no name, since a name can be made to point here (DNS rebinding).

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, Method, StatusCode, header};

use super::problem::Problem;
use crate::config::Secret;

/// How requests come in.
#[derive(Clone, Debug)]
pub(super) enum Entrance {
    /// By the socket in the state folder: whoever may use that folder may ask.
    Socket,
    /// By TCP.
    Tcp {
        /// Where we listen.
        address: SocketAddr,
        /// What a request must carry.
        token: Option<Secret>,
    },
}

/// Paths that say nothing worth a token: whether we live, and the page that asks for the token.
const OPEN: [&str; 7] = [
    "/",
    "/app.js",
    "/style.css",
    "/uplot.js",
    "/uplot.css",
    "/livez",
    "/readyz",
];

/// Lets a request in, or says why not.
pub(super) fn check(
    entrance: &Entrance,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
) -> Result<(), Problem> {
    let Entrance::Tcp { address, token } = entrance else {
        return Ok(());
    };
    let refuse = |detail: &str| Err(Problem::new(StatusCode::FORBIDDEN, detail));
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).unwrap_or_default();
    let changes = !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    if changes {
        let site = headers.get("sec-fetch-site").map(|v| v.as_bytes());
        if !matches!(site, None | Some(b"same-origin" | b"none")) {
            return refuse("this request comes from another site");
        }
        let origin = headers.get(header::ORIGIN).map(|v| v.as_bytes());
        let is_ours = |origin: &[u8]| {
            let schemes: [&[u8]; 2] = [b"http://", b"https://"];
            schemes
                .iter()
                .any(|scheme| origin.strip_prefix(*scheme) == Some(host.as_bytes()))
        };
        if origin.is_some_and(|origin| !is_ours(origin)) {
            return refuse("this request comes from another site");
        }
    }
    if let Some(token) = token {
        if OPEN.contains(&path) {
            return Ok(());
        }
        let given = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        return match given {
            Some(given) if is_equal(given.as_bytes(), token.reveal().as_bytes()) => Ok(()),
            _ => Err(Problem::new(
                StatusCode::UNAUTHORIZED,
                "send the token of `http_token` as `Authorization: Bearer TOKEN`",
            )),
        };
    }
    if address.ip().is_loopback() {
        if !is_no_name(host) {
            return refuse(
                "the `Host` of this request is a name; ask by address or as localhost, or set `http_token`",
            );
        }
    } else if changes {
        return refuse(
            "commands are taken from this host only, by the socket in `state_dir`; set `http_token` to take them from elsewhere",
        );
    }
    Ok(())
}

/// Whether a `Host` is an address or `localhost`, which cannot be made to point elsewhere.
fn is_no_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

/// Compares in a time that does not depend on where the two differ.
fn is_equal(a: &[u8], b: &[u8]) -> bool {
    let differ = a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b));
    a.len() == b.len() && differ == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    fn status(
        entrance: &Entrance,
        method: Method,
        path: &str,
        headers: &[(&'static str, &'static str)],
    ) -> u16 {
        let headers = headers.iter().map(|&(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        match check(entrance, &method, path, &headers.collect()) {
            Ok(()) => 200,
            Err(problem) => problem.status.as_u16(),
        }
    }

    fn at(address: &str, token: Option<&str>) -> Entrance {
        Entrance::Tcp {
            address: address.parse().expect("an address"),
            token: token.map(Secret::new),
        }
    }

    #[test]
    fn other_sites_are_refused() {
        let local = at("127.0.0.1:8092", None);
        let stop = "/api/v1/jobs/a/stop";
        let host = ("host", "127.0.0.1:8092");
        for (headers, expected) in [
            (vec![host], 200),
            (vec![host, ("sec-fetch-site", "same-origin")], 200),
            (vec![host, ("sec-fetch-site", "cross-site")], 403),
            (vec![host, ("sec-fetch-site", "same-site")], 403),
            (vec![host, ("origin", "http://127.0.0.1:8092")], 200),
            (vec![host, ("origin", "http://127.0.0.1:9999")], 403),
            (vec![host, ("origin", "http://evil.example")], 403),
            (vec![host, ("origin", "null")], 403),
            (
                vec![
                    ("host", "evil.example:8092"),
                    ("origin", "http://evil.example:8092"),
                ],
                403,
            ),
            (vec![("host", "[::1]:8092")], 200),
            (vec![("host", "LocalHost")], 200),
            (vec![], 403),
        ] {
            assert_eq!(
                status(&local, Method::POST, stop, &headers),
                expected,
                "{headers:?}"
            );
        }
        assert_eq!(
            status(
                &local,
                Method::GET,
                "/metrics",
                &[("host", "rebound.example")]
            ),
            403
        );
        assert_eq!(status(&Entrance::Socket, Method::POST, stop, &[]), 200);
    }

    #[test]
    fn a_token_opens_and_nothing_else_does() {
        let guarded = at("0.0.0.0:8092", Some("s3cret"));
        let get = |path, headers: &[_]| status(&guarded, Method::GET, path, headers);
        assert_eq!(get("/metrics", &[]), 401);
        assert_eq!(get("/metrics", &[("authorization", "Bearer s3cre")]), 401);
        assert_eq!(get("/metrics", &[("authorization", "Bearer s3crets")]), 401);
        assert_eq!(
            get(
                "/metrics",
                &[("authorization", "Bearer s3cret"), ("host", "a.example")]
            ),
            200
        );
        assert_eq!(get("/livez", &[]), 200);
        assert_eq!(get("/", &[]), 200);
        let open = at("0.0.0.0:8092", None);
        assert_eq!(
            status(&open, Method::GET, "/metrics", &[("host", "a.example")]),
            200
        );
        assert_eq!(
            status(
                &open,
                Method::POST,
                "/api/v1/jobs/a/stop",
                &[("host", "10.0.0.1")]
            ),
            403
        );
    }
}

//! HTTP: the UI, the API and the metrics of one running job, and of its neighbours on this host.
//!
//! | | |
//! |---|---|
//! | serves | what the [`Board`](crate::status::board::Board) has published; no handler reaches further |
//! | listens | on `http`, and on a Unix socket in the job's state folder, for `status`, `stop`, `cancel` and `top` |
//! | threads | one, apart from every worker |
//! | bounds | connections, header size and time, body size, request time: constants of `server` and `routes` |
//! | TLS | rustls, with the certificate of `http_ssl_certificate_location`, where one is set |
//! | refuses | requests from other sites (`guard`), without the token where one is set, and everything malformed, as problem JSON |

mod guard;
mod metrics;
mod occupant;
mod openapi;
mod problem;
mod routes;
mod server;
pub mod socket;
mod tls;

pub use routes::{Actions, Neighbour, SavepointAction};
pub use server::{Listen, Server};
pub use tls::server_config as tls_server_config;

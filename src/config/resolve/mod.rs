//! What the file says, joined with the defaults and the jobs' code, and checked as a whole.

mod job;
mod listing;
mod whole;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::json;
use strandline_operators::Error;
use strandline_operators::job::{Job, JobSettings};

use super::file::{
    CatalogSection, ConfigFile, JobSection, KafkaSection, SchemaRegistrySection, Switch,
};
use super::origin::Origin;
use super::read::Problems;
use super::units::format_duration;
use super::{Catalog, Draft, Engine, HttpTls, Kafka, Restart, SchemaRegistry, Secret, nearest};
use listing::Listing;

/// Where a job keeps what it keeps on this host, when the file does not say.
pub const DEFAULT_STATE_DIR: &str = "./data/state";

/// Where UI, API and metrics are served, when the file does not say.
pub const DEFAULT_HTTP: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8092);

/// Joins everything. Problems are kept; the draft is of use only when there are none.
pub(crate) fn resolve(
    said: ConfigFile,
    file: Option<PathBuf>,
    jobs: &[Job],
    problems: &mut Problems,
) -> Draft {
    let mut listing = Listing::default();
    let kafka = said
        .kafka
        .and_then(|section| resolve_kafka(section, &mut listing));
    let schema_registry = said
        .schema_registry
        .and_then(|section| resolve_registry(section, &mut listing));
    let catalog = said
        .catalog
        .and_then(|section| resolve_catalog(section, &mut listing));
    let mut top = listing.below(&[]);
    let state_dir = top.pick(
        "state_dir",
        said.state_dir,
        DEFAULT_STATE_DIR.to_owned(),
        Origin::DEFAULT,
        |d| json!(d),
    );
    let http = top.pick(
        "http",
        said.http,
        Switch::On(DEFAULT_HTTP),
        Origin::DEFAULT,
        |http| match http {
            Switch::On(address) => json!(address),
            Switch::Off => json!("off"),
        },
    );
    for (key, text) in [
        ("http_token", &said.http_token),
        (
            "http_ssl_certificate_location",
            &said.http_ssl_certificate_location,
        ),
        ("http_ssl_key_location", &said.http_ssl_key_location),
    ] {
        if let Some(text) = text {
            top.list_text(key, text);
        }
    }
    let http_tls = said
        .http_ssl_certificate_location
        .zip(said.http_ssl_key_location)
        .map(|(certificate, key)| HttpTls {
            certificate: PathBuf::from(certificate.value),
            key: PathBuf::from(key.value),
        });
    let http_token = said
        .http_token
        .map(|token| Secret::new(token.value))
        .filter(|token| !token.reveal().is_empty());
    let restart = said.restart.unwrap_or_default();
    let mut below = listing.below(&["restart"]);
    let default = Restart::default();
    let restart = Restart {
        attempts: below.pick(
            "attempts",
            restart.attempts,
            default.attempts,
            Origin::DEFAULT,
            |n| json!(n),
        ),
        delay: below.pick(
            "delay",
            restart.delay,
            default.delay,
            Origin::DEFAULT,
            |d| json!(format_duration(*d)),
        ),
    };
    let jobs = resolve_jobs(said.jobs, jobs, &mut listing, problems);
    let http = match http {
        Switch::On(address) => Some(address),
        Switch::Off => None,
    };
    let engine = Engine {
        state_dir: PathBuf::from(state_dir),
        http,
        http_token,
        http_tls,
        restart,
        jobs,
        settings: listing.0,
    };
    Draft {
        file,
        kafka,
        schema_registry,
        catalog,
        engine,
    }
}

fn resolve_kafka(section: KafkaSection, listing: &mut Listing) -> Option<Kafka> {
    let mut below = listing.below(&["kafka"]);
    if let Some(servers) = &section.bootstrap_servers {
        below.list_text("bootstrap_servers", servers);
    }
    let properties = below.properties(section.properties);
    Some(Kafka {
        bootstrap_servers: section.bootstrap_servers?.value,
        properties,
    })
}

fn resolve_registry(
    section: SchemaRegistrySection,
    listing: &mut Listing,
) -> Option<SchemaRegistry> {
    let mut below = listing.below(&["schema_registry"]);
    let SchemaRegistrySection {
        url,
        username,
        password,
        bearer_token,
        ssl_ca_location,
        ssl_certificate_location,
        ssl_key_location,
    } = section;
    for (key, text) in [
        ("url", &url),
        ("username", &username),
        ("password", &password),
        ("bearer_token", &bearer_token),
        ("ssl_ca_location", &ssl_ca_location),
        ("ssl_certificate_location", &ssl_certificate_location),
        ("ssl_key_location", &ssl_key_location),
    ] {
        if let Some(text) = text {
            below.list_text(key, text);
        }
    }
    Some(SchemaRegistry {
        url: url?.value,
        username: username.map(|u| u.value),
        password: password.map(|p| Secret::new(p.value)),
        bearer_token: bearer_token.map(|t| Secret::new(t.value)),
        ssl_ca_location: ssl_ca_location.map(|l| l.value),
        ssl_certificate_location: ssl_certificate_location.map(|l| l.value),
        ssl_key_location: ssl_key_location.map(|l| l.value),
    })
}

fn resolve_catalog(section: CatalogSection, listing: &mut Listing) -> Option<Catalog> {
    let mut below = listing.below(&["catalog"]);
    if let Some(t) = &section.catalog_type {
        below.list("type", json!(t.value.name()), t.origin.clone());
    }
    for (key, text) in [("uri", &section.uri), ("warehouse", &section.warehouse)] {
        if let Some(text) = text {
            below.list_text(key, text);
        }
    }
    let properties = below.properties(section.properties);
    Some(Catalog {
        catalog_type: section.catalog_type?.value,
        uri: section.uri?.value,
        warehouse: section.warehouse.map(|w| w.value),
        properties,
    })
}

fn resolve_jobs(
    mut said: BTreeMap<String, JobSection>,
    jobs: &[Job],
    listing: &mut Listing,
    problems: &mut Problems,
) -> BTreeMap<String, JobSettings> {
    let mut resolved = BTreeMap::new();
    for job in jobs {
        let section = said.remove(job.name).unwrap_or_default();
        resolved.insert(
            job.name.to_owned(),
            job::resolve(job, section, listing, problems),
        );
    }
    for (name, section) in said {
        let origin = section.origin.unwrap_or(Origin::DEFAULT);
        let hint = nearest::hint(&name, "jobs", jobs.iter().map(|j| j.name));
        let error = Error::configuration(format!("there is no job `{name}`"));
        problems.push(error.hint(hint), &origin);
    }
    resolved
}

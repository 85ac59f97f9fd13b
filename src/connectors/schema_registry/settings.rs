//! Where the registry is, and who we are to it.

use std::fmt;

use strandline_operators::Result;

use super::client::Client;
use crate::config::Secret;

/// The settings of the registry's client. `Debug` hides secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RegistrySettings {
    /// Its address, with the path under which it speaks Confluent's API.
    pub url: String,
    /// User and password for basic authentication.
    pub basic: Option<(String, Secret)>,
    /// Token for bearer authentication.
    pub bearer_token: Option<Secret>,
    /// PEM file of the certificate authorities that may have signed the server's certificate, besides those
    /// that are built in.
    pub ssl_ca_location: Option<String>,
    /// PEM files of our own certificate and its key, for a server that asks for them.
    pub ssl_client: Option<(String, String)>,
}

impl RegistrySettings {
    /// Checks them without reaching for the network: address, and files that must be there.
    ///
    /// # Errors
    /// Configuration.
    pub fn validate(&self) -> Result<()> {
        Client::new(self).map(drop)
    }
}

impl fmt::Debug for RegistrySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistrySettings")
            .field("url", &crate::config::without_password(&self.url))
            .field("basic", &self.basic)
            .field("bearer_token", &self.bearer_token)
            .field("ssl_ca_location", &self.ssl_ca_location)
            .field("ssl_client", &self.ssl_client)
            .finish()
    }
}

//! Which node a command talks to.

use std::path::{Path, PathBuf};

use portal_api::ErrorCode;

use crate::{cli::error::CliError, home::Home};

/// Where a node's API is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A Unix socket: whoever can open it may do everything.
    Unix(PathBuf),
    /// `HOST:PORT`, and the token that changes need.
    Tcp {
        /// `HOST:PORT`.
        authority: String,
        /// The token, if we have it.
        token: Option<String>,
    },
}

impl Target {
    /// The node that the flags name: `unix:PATH`, a URL or `HOST:PORT`; without one the socket in the data
    /// directory.
    ///
    /// # Errors
    ///
    /// `usage` if the address is none.
    pub fn choose(api: Option<&str>, data_dir: &Path) -> Result<Self, CliError> {
        // Where there is no data directory there is no token either; reading is allowed without.
        let home = Home::open(data_dir).ok();
        let Some(api) = api else {
            return Ok(Self::Unix(data_dir.join("weft.sock")));
        };
        if let Some(path) = api.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        let wrong = |detail: &str| {
            CliError::new(ErrorCode::Usage, format!("--api {api}: {detail}"))
                .help("use http://127.0.0.1:4304 or unix:PATH; without --api the socket in the data directory is used")
        };
        if api.starts_with("https://") {
            return Err(wrong("the local API speaks plain HTTP on this machine only"));
        }
        let authority = api.strip_prefix("http://").unwrap_or(api).trim_end_matches('/');
        let is_authority = authority.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok()
        });
        if !is_authority {
            return Err(wrong("expected a URL with host and port"));
        }
        Ok(Self::Tcp { authority: authority.to_owned(), token: home.and_then(|home| home.token()) })
    }

    /// What the `Host` header says.
    #[must_use]
    pub fn host(&self) -> &str {
        match self {
            Self::Unix(_) => "localhost",
            Self::Tcp { authority, .. } => authority,
        }
    }

    /// For people.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Unix(path) => path.display().to_string(),
            Self::Tcp { authority, .. } => format!("http://{authority}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_address_it_is_the_socket_in_the_data_directory() {
        let target = Target::choose(None, Path::new("/d")).unwrap();
        assert_eq!(target, Target::Unix("/d/weft.sock".into()));
    }

    #[test]
    fn addresses_are_urls_or_sockets() {
        let choose = |api| Target::choose(Some(api), Path::new("/nowhere"));
        for api in ["http://127.0.0.1:4304/", "127.0.0.1:4304"] {
            let expected = Target::Tcp { authority: "127.0.0.1:4304".into(), token: None };
            assert_eq!(choose(api).unwrap(), expected);
        }
        assert_eq!(choose("unix:/run/weft.sock").unwrap(), Target::Unix("/run/weft.sock".into()));
        for api in ["", "https://h:1", "ftp://h:1", "localhost", "http://h:99999", "http://h/x:1"] {
            assert_eq!(choose(api).unwrap_err().code(), ErrorCode::Usage, "{api}");
        }
    }
}

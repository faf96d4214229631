//! The log of a node: on standard error, for people or for machines.

use std::io::{self, IsTerminal as _};

use portal_api::ErrorCode;
use tracing_subscriber::EnvFilter;

use super::error::CliError;
use crate::home::{Config, LogFormat};

/// Libraries that say at `info` what only their authors want to know, or at `warn` what any stranger can make them say
/// thousands of times a second.
const QUIETER: &str = "openraft=error,libp2p_swarm=error,libp2p_kad=error,libp2p_request_response=error,\
libp2p_identify=error,libp2p_gossipsub=error,libp2p_quic=error,yamux=off,quinn=error,quinn_proto=error,rustls=error";

/// Begins to log. `WEFT_LOG` beats `RUST_LOG`, which beats the configuration; `-v` means `debug`, `-vv` `trace`.
///
/// # Errors
///
/// `config-invalid` if the filter is none.
pub(super) fn begin(config: &Config, verbosity: u8) -> Result<(), CliError> {
    let terminal = io::stderr().is_terminal();
    let from_environment =
        ["WEFT_LOG", "RUST_LOG"].into_iter().find_map(|name| std::env::var(name).ok());
    let filter = match (verbosity, from_environment, config.log_level.as_deref()) {
        (0, Some(filter), _) => filter,
        (0, None, Some(level)) if level.chars().all(char::is_alphabetic) => {
            format!("{level},{QUIETER}")
        }
        (0, None, Some(filter)) => filter.to_owned(),
        (0, None, None) if terminal => format!("warn,{QUIETER}"),
        (0, None, None) => format!("info,{QUIETER}"),
        (1, ..) => format!("info,node=debug,ledger=debug,sandbox=debug,{QUIETER}"),
        _ => "debug,node=trace,ledger=trace,sandbox=trace".to_owned(),
    };
    let filter = EnvFilter::try_new(&filter).map_err(|error| {
        CliError::new(ErrorCode::ConfigInvalid, format!("the log level `{filter}`: {error}"))
            .help("levels: error, warn, info, debug, trace")
    })?;
    // A log that nobody reads any more is no reason to panic.
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .log_internal_errors(false);
    let begun = match config.log_format {
        LogFormat::Text => builder.with_ansi(terminal).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    begun.map_err(|error| CliError::internal(error.to_string()))
}

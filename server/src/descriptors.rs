//! The shares of the process's file descriptors: TURN's sockets must not take those of signaling, nor the other way
//! round.

use std::io;

use crate::config::Config;
use crate::session::registry::CONNECTIONS_RESERVED;

/// Descriptors for everything else: listeners, the runtime, the log, the files of the certificate.
const OTHERS: usize = 64;

/// How many a server needs at least.
const MIN: usize = OTHERS + CONNECTIONS_RESERVED + 32;

/// Lowers the maximum numbers of connections and of TURN allocations to what the process can open. TURN gets at most
/// half of what is left after the reserve, and connections get the rest.
///
/// # Errors
/// The process can open too few for a server. The message says how many it needs.
pub(crate) fn share(config: &mut Config) -> io::Result<()> {
    let Some(descriptors) = config.descriptors else { return Ok(()) };
    if descriptors < MIN {
        let message =
            format!("the process may open {descriptors} files, a server needs at least {MIN}: raise `ulimit -n`");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let free = descriptors - OTHERS - CONNECTIONS_RESERVED;
    let relays = match &mut config.turn {
        Some(turn) => lower(&mut turn.allocations_max, free / 2, "TURN allocations", descriptors),
        None => 0,
    };
    lower(&mut config.limits.connections_max, free - relays, "connections", descriptors);
    Ok(())
}

/// Lowers a maximum to what there is for it, with a warning. Returns the maximum.
fn lower(max: &mut usize, available: usize, what: &str, descriptors: usize) -> usize {
    if *max > available {
        tracing::warn!(
            "at most {available} {what} instead of {max}, because the process may open {descriptors} files: raise `ulimit -n` for more"
        );
        *max = available;
    }
    *max
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TurnSettings;

    #[test]
    fn turn_and_connections_get_shares_and_the_rest_stays_free() {
        for (descriptors, turn, expected) in [
            (None, Some(4096), Ok((16_384, Some(4096)))),
            (Some(1_000_000), Some(4096), Ok((16_384, Some(4096)))),
            (Some(1024), Some(4096), Ok((448, Some(448)))),
            (Some(1024), Some(100), Ok((796, Some(100)))),
            (Some(1024), None, Ok((896, None))),
            (Some(256), Some(4096), Ok((64, Some(64)))),
            (Some(100), None, Err("the process may open 100 files, a server needs at least 160: raise `ulimit -n`")),
        ] {
            let turn = turn.map(|allocations_max| TurnSettings { allocations_max, ..TurnSettings::default() });
            let mut config = Config { descriptors, turn, ..Config::default() };
            let shared = share(&mut config).map_err(|why| why.to_string());
            let shares = (config.limits.connections_max, config.turn.map(|turn| turn.allocations_max));
            assert_eq!(shared.map(|()| shares), expected.map_err(str::to_owned), "{descriptors:?}");
        }
    }
}

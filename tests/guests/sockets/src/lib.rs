//! Opens a connection, which no filter may: the host refuses it for its imports.

use support::{Filter, Interest, Phases, Step, next, wants};

struct Sockets;

impl Filter for Sockets {
    fn configure(_document: &str) -> Result<Interest, String> {
        Ok(wants(Phases::REQUEST_HEADERS))
    }

    fn on_request_headers(_end: bool) -> Step {
        let connected = std::net::TcpStream::connect("127.0.0.1:1").is_ok();
        next(u32::from(connected))
    }
}

support::export!(Sockets);

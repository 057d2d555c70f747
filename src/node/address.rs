//! Where a node answers: a loopback address that nobody has, so that a Cassandra of this machine
//! keeps its ports.

use crate::task::lock;
use crate::{Error, Kind, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::Mutex;

/// Cassandra's own port for CQL.
pub const DEFAULT_PORT: u16 = 9042;
const STORAGE_PORT: u16 = 7000;
/// The first address that is tried, and how many.
const FIRST: u8 = 77;
const TRIED: u8 = 100;

/// The addresses that this process has chosen, until it ends: a Cassandra takes half a minute to bind
/// its ports, and what answers there meanwhile must not be another's. The names are of the network
/// namespace, as the addresses are.
static CHOSEN: Mutex<BTreeMap<Ipv4Addr, UnixListener>> = Mutex::new(BTreeMap::new());

/// Where a node answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Endpoint {
    pub address: Ipv4Addr,
    /// Of CQL.
    pub port: u16,
    /// For other nodes, of which there are none: Cassandra insists on one.
    pub storage_port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.address, self.port)
    }
}

/// What was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Wish {
    pub address: Option<Ipv4Addr>,
    pub port: Option<u16>,
}

/// Chooses an endpoint that is free now; `taken`: addresses of other nodes, which may not have
/// bound theirs yet.
///
/// # Errors
/// `Kind::Invalid` for an address that other machines reach; `Kind::Busy` where what was asked for
/// is taken.
pub(super) fn choose(wish: Wish, taken: &BTreeSet<Ipv4Addr>) -> Result<Endpoint> {
    if let Some(address) = wish.address.filter(|address| !address.is_loopback()) {
        let message = format!("--address {address}: a node answers on loopback addresses only, 127.0.0.0/8");
        return Err(Error::invalid(message));
    }
    let port = wish.port.unwrap_or(DEFAULT_PORT);
    let addresses: Vec<Ipv4Addr> = match wish.address {
        Some(address) => vec![address],
        None => (FIRST..FIRST + TRIED).map(|last| Ipv4Addr::new(127, 0, 0, last)).collect(),
    };
    for address in addresses.iter().copied().filter(|address| !taken.contains(address)) {
        if is_free(address, port) && reserve(address) {
            let storage_port = if is_free(address, STORAGE_PORT) { STORAGE_PORT } else { any_port(address)? };
            return Ok(Endpoint { address, port, storage_port });
        }
    }
    let free = addresses.iter().find(|address| !taken.contains(address));
    match (wish.port, wish.address, free) {
        // A Cassandra that listens on all addresses has that port everywhere.
        (None, _, Some(&address)) => {
            Ok(Endpoint { address, port: any_port(address)?, storage_port: any_port(address)? })
        }
        (_, Some(address), None) => Err(Error::new(
            Kind::Busy,
            format!("another node has the address {address}: `cassmount node list` shows it"),
        )),
        (Some(port), ..) => {
            let place = wish.address.map_or_else(|| "any address of 127.0.0.0/24".to_owned(), |of| of.to_string());
            let message = format!("port {port} is taken on {place}: choose another --port or --address");
            Err(Error::new(Kind::Busy, message))
        }
        (None, None, None) => {
            let message = format!("{TRIED} nodes run: `cassmount node stop` ends those that nobody needs");
            Err(Error::new(Kind::Busy, message))
        }
    }
}

fn is_free(address: Ipv4Addr, port: u16) -> bool {
    TcpListener::bind((address, port)).is_ok()
}

/// False where another process has chosen the address.
fn reserve(address: Ipv4Addr) -> bool {
    let mut chosen = lock(&CHOSEN);
    if chosen.contains_key(&address) {
        return true;
    }
    let name = SocketAddr::from_abstract_name(format!("cassmount-node-{address}"));
    match name.and_then(|name| UnixListener::bind_addr(&name)) {
        Ok(listener) => {
            chosen.insert(address, listener);
            true
        }
        Err(e) => e.kind() != io::ErrorKind::AddrInUse,
    }
}

/// A port that nobody has now.
pub(super) fn any_port(address: Ipv4Addr) -> Result<u16> {
    TcpListener::bind((address, 0))
        .and_then(|listener| listener.local_addr())
        .map(|bound| bound.port())
        .map_err(|e| Error::io(format_args!("find a free port on {address}"), e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_address_is_taken_and_no_other_node_s() {
        let first = choose(Wish::default(), &BTreeSet::new()).unwrap();
        assert!(first.address.is_loopback() && first.address != Ipv4Addr::LOCALHOST);
        let second = choose(Wish::default(), &BTreeSet::from([first.address])).unwrap();
        assert_ne!(first.address, second.address);
    }

    #[test]
    fn what_another_process_has_chosen_is_left_to_it() {
        let address = Ipv4Addr::new(127, 0, 0, 63);
        let name = SocketAddr::from_abstract_name(format!("cassmount-node-{address}")).unwrap();
        let other = UnixListener::bind_addr(&name).unwrap();
        assert!(!reserve(address));
        drop(other);
        assert!(reserve(address) && reserve(address));
        assert_eq!(UnixListener::bind_addr(&name).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn what_is_taken_is_refused() {
        let address = Ipv4Addr::new(127, 0, 0, 61);
        let listener = TcpListener::bind((address, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let wish = Wish { address: Some(address), port: Some(port) };
        let refused = choose(wish, &BTreeSet::new()).unwrap_err();
        assert_eq!(refused.kind(), Kind::Busy);
        assert!(refused.to_string().contains("choose another --port"), "{refused}");
        let of_node = choose(Wish { port: None, ..wish }, &BTreeSet::from([address])).unwrap_err();
        assert!(of_node.to_string().contains("another node has the address"), "{of_node}");
        let outside = choose(Wish { address: Some(Ipv4Addr::new(10, 0, 0, 1)), port: None }, &BTreeSet::new());
        assert_eq!(outside.unwrap_err().kind(), Kind::Invalid);
    }

    #[test]
    fn a_program_on_all_addresses_leaves_another_port() {
        let Ok(everywhere) = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)) else { return };
        let port = everywhere.local_addr().unwrap().port();
        assert!(!is_free(Ipv4Addr::new(127, 0, 0, 62), port));
    }
}

//! A scripted name server.
//!
//! Owns a UDP socket and a TCP listener on one port of the loopback interface, what they answer, and
//! the count of what they were asked. It speaks RFC 1035 by hand, so that a resolver is not tested
//! against its own code. Called by the suites.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::client::PATIENCE;

/// Types of records.
const A: u16 = 1;
const AAAA: u16 = 28;
const SRV: u16 = 33;
/// The longest message that goes over UDP here.
const UDP_BYTES: usize = 512;

/// What a record says.
#[derive(Clone, Debug)]
pub enum Record {
    /// An address.
    Address(IpAddr),
    /// A service: priority, weight, port and host.
    Service(u16, u16, u16, &'static str),
}

/// What becomes of questions about a name.
#[derive(Clone, Debug)]
pub enum Reply {
    /// These records, as far as they are of the type that was asked for, good for so many seconds.
    Records(u32, Vec<Record>),
    /// The message has this code: 2 that the server fails, 3 that there is no such name.
    Code(u8),
    /// Nothing.
    Silence,
}

impl Reply {
    /// Addresses with a time to live of a minute.
    #[must_use]
    pub fn addresses(addresses: &[&str]) -> Self {
        let parse = |address: &&str| Record::Address(address.parse().unwrap());
        Self::Records(60, addresses.iter().map(parse).collect())
    }
}

/// How often something was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Over UDP.
    pub udp: usize,
    /// Over TCP.
    pub tcp: usize,
}

#[derive(Debug, Default)]
struct State {
    replies: BTreeMap<String, Reply>,
    asked: BTreeMap<String, Asked>,
}

/// A running name server. Names that it was not told of do not exist.
#[derive(Clone, Debug)]
pub struct NameServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl NameServer {
    /// Starts one.
    #[must_use]
    pub fn start() -> Self {
        let (udp, tcp) = (0..100)
            .find_map(|_| {
                let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
                let tcp = TcpListener::bind(udp.local_addr().unwrap()).ok()?;
                Some((udp, tcp))
            })
            .expect("a port that is free for both");
        let server = Self {
            address: udp.local_addr().unwrap(),
            state: Arc::default(),
        };
        let of_udp = server.clone();
        thread::spawn(move || of_udp.serve_udp(&udp));
        let of_tcp = server.clone();
        thread::spawn(move || of_tcp.serve_tcp(&tcp));
        server
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// From now on `name` has this.
    pub fn set(&self, name: &str, reply: Reply) {
        self.state
            .lock()
            .unwrap()
            .replies
            .insert(name.to_owned(), reply);
    }

    /// How often `name` was asked about.
    #[must_use]
    pub fn asked(&self, name: &str) -> Asked {
        let state = self.state.lock().unwrap();
        state.asked.get(name).copied().unwrap_or_default()
    }

    fn serve_udp(&self, socket: &UdpSocket) {
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let answer = self.answer(&buffer[..length], |asked| asked.udp += 1);
            if let Some(mut answer) = answer {
                if answer.len() > UDP_BYTES {
                    // Truncated: the head and the question, and a flag that says so.
                    answer.truncate(question_end(&answer));
                    answer[2] |= 0x02;
                    answer[6..8].fill(0);
                }
                drop(socket.send_to(&answer, from));
            }
        }
    }

    fn serve_tcp(&self, listener: &TcpListener) {
        for stream in listener.incoming() {
            let (Ok(mut stream), server) = (stream, self.clone()) else {
                continue;
            };
            thread::spawn(move || {
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                let mut length = [0; 2];
                while stream.read_exact(&mut length).is_ok() {
                    let mut question = vec![0; u16::from_be_bytes(length).into()];
                    if stream.read_exact(&mut question).is_err() {
                        return;
                    }
                    if let Some(answer) = server.answer(&question, |asked| asked.tcp += 1) {
                        let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
                        if stream.write_all(&[&length[..], &answer].concat()).is_err() {
                            return;
                        }
                    }
                }
            });
        }
    }

    /// The message that answers one with a single question; none where the script has none.
    fn answer(&self, question: &[u8], count: impl FnOnce(&mut Asked)) -> Option<Vec<u8>> {
        let end = question_end(question);
        let name = name(&question[12..]);
        let wanted = u16::from_be_bytes([question[end - 4], question[end - 3]]);
        let mut state = self.state.lock().unwrap();
        count(state.asked.entry(name.clone()).or_default());
        let (code, ttl, records) = match state.replies.get(&name) {
            Some(Reply::Silence) => return None,
            Some(Reply::Code(code)) => (*code, 0, Vec::new()),
            Some(Reply::Records(ttl, records)) => (0, *ttl, records.clone()),
            None => (3, 0, Vec::new()),
        };
        drop(state);
        let data: Vec<Vec<u8>> = records.iter().filter_map(|r| data(r, wanted)).collect();
        let mut answer = question[..end].to_vec();
        // An answer, recursion desired and available.
        answer[2] = 0x81;
        answer[3] = 0x80 | code;
        answer[6..8].copy_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
        answer[8..12].fill(0);
        for data in data {
            // The name is that of the question.
            answer.extend([0xc0, 12]);
            answer.extend(wanted.to_be_bytes());
            answer.extend(1_u16.to_be_bytes());
            answer.extend(ttl.to_be_bytes());
            answer.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
            answer.extend(data);
        }
        Some(answer)
    }
}

/// Where the question of a message ends that has one.
fn question_end(message: &[u8]) -> usize {
    let mut at = 12;
    while message[at] != 0 {
        at += usize::from(message[at]) + 1;
    }
    at + 5
}

/// A name, without the root at its end.
fn name(mut labels: &[u8]) -> String {
    let mut name = Vec::new();
    while let Some((length, rest)) = labels.split_first().filter(|(length, _)| **length > 0) {
        let (label, rest) = rest.split_at((*length).into());
        name.push(String::from_utf8_lossy(label).to_lowercase());
        labels = rest;
    }
    name.join(".")
}

/// What a record of the wanted type has.
fn data(record: &Record, wanted: u16) -> Option<Vec<u8>> {
    match (record, wanted) {
        (Record::Address(IpAddr::V4(address)), A) => Some(address.octets().to_vec()),
        (Record::Address(IpAddr::V6(address)), AAAA) => Some(address.octets().to_vec()),
        (Record::Service(priority, weight, port, host), SRV) => {
            let mut data = Vec::new();
            for number in [priority, weight, port] {
                data.extend(number.to_be_bytes());
            }
            for label in host.split('.') {
                data.push(u8::try_from(label.len()).unwrap());
                data.extend(label.bytes());
            }
            data.push(0);
            Some(data)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(name: &str, r#type: u16) -> Vec<u8> {
        let mut message = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            message.push(u8::try_from(label.len()).unwrap());
            message.extend(label.bytes());
        }
        message.push(0);
        message.extend(r#type.to_be_bytes());
        message.extend([0, 1]);
        message
    }

    #[test]
    fn questions_are_read_and_answered() {
        let server = NameServer::start();
        server.set("a.test", Reply::addresses(&["10.1.2.3", "::1"]));
        let asked = question("A.test", A);
        assert_eq!(
            (name(&asked[12..]), question_end(&asked)),
            ("a.test".into(), asked.len())
        );
        let answer = server.answer(&asked, |asked| asked.udp += 1).unwrap();
        assert_eq!(
            (answer[..4].to_vec(), answer[6..8].to_vec()),
            (vec![0, 7, 0x81, 0x80], vec![0, 1])
        );
        assert!(answer.ends_with(&[0, 0, 0, 60, 0, 4, 10, 1, 2, 3]));
        let missing = server.answer(&question("b.test", AAAA), |_| ()).unwrap();
        assert_eq!(missing[3], 0x83);
        assert_eq!(server.asked("a.test"), Asked { udp: 1, tcp: 0 });
        server.set("a.test", Reply::Silence);
        assert!(server.answer(&asked, |_| ()).is_none());
    }
}

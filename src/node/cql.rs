//! A CQL session: the little of the native protocol (version 4) that a node of the past is asked
//! with.
//!
//! A driver would bring a pool, load balancing, and types; here one program asks one node on this
//! machine, one request at a time, and takes cells as they are. So this is a file of std. Source:
//! `doc/native_protocol_v4.spec` of Cassandra.

use crate::{Error, Kind, Result};
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest wait for a connection, and for the answer to its greeting.
const GREETING: Duration = Duration::from_secs(10);
/// Most bytes of one answer.
const MOST: usize = 256 << 20;

const ERROR: u8 = 0x00;
const STARTUP: u8 = 0x01;
const READY: u8 = 0x02;
const AUTHENTICATE: u8 = 0x03;
const QUERY: u8 = 0x07;
const RESULT: u8 = 0x08;
const RESULT_ROWS: i32 = 2;
const CONSISTENCY_ONE: u16 = 1;

/// One cell of a row; `None` is null.
pub(super) type Cell = Option<Vec<u8>>;

/// How a node greets.
#[derive(Debug)]
pub(super) enum Greeting {
    Session(Session),
    /// It wants a name and a password.
    PasswordWanted,
}

/// A connection to a node, one request at a time.
#[derive(Debug)]
pub(super) struct Session {
    stream: TcpStream,
}

/// Rows, and where the next page starts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) rows: Vec<Vec<Cell>>,
    pub(super) next: Option<Vec<u8>>,
}

impl Session {
    /// Connects. `deadline` is the longest wait for one answer later on.
    ///
    /// # Errors
    /// `Kind::Unreachable` where nobody listens, or does not speak CQL.
    pub(super) fn connect(node: SocketAddr, deadline: Duration) -> Result<Greeting> {
        let failed = |e: io::Error| Error::new(Kind::Unreachable, format!("{node} does not answer CQL")).with_source(e);
        let stream = TcpStream::connect_timeout(&node, GREETING).map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let patience = |time| stream.set_read_timeout(Some(time)).and_then(|()| stream.set_write_timeout(Some(time)));
        patience(GREETING).map_err(failed)?;
        let mut session = Self { stream: stream.try_clone().map_err(failed)? };
        let mut body = Vec::new();
        body.extend(1u16.to_be_bytes());
        for word in ["CQL_VERSION", "3.0.0"] {
            body.extend((word.len() as u16).to_be_bytes());
            body.extend(word.as_bytes());
        }
        match session.request(STARTUP, &body).map_err(|error| error.into_error(Kind::Unreachable))? {
            (READY, _) => {}
            (AUTHENTICATE, _) => return Ok(Greeting::PasswordWanted),
            (opcode, _) => {
                let message = format!("{node} answers STARTUP with opcode {opcode}");
                return Err(Error::new(Kind::Unreachable, message));
            }
        }
        patience(deadline).map_err(failed)?;
        Ok(Greeting::Session(session))
    }

    /// Runs one statement that has no rows to give, or whose rows nobody needs.
    pub(super) fn execute(&mut self, statement: &str) -> Result<()> {
        self.page(statement, None, 1).map(drop)
    }

    /// A page of a statement's rows, from the start or from where an earlier page ended.
    ///
    /// # Errors
    /// What the node says.
    pub(super) fn page(&mut self, statement: &str, from: Option<&[u8]>, rows: i32) -> Result<Page> {
        let (opcode, body) =
            self.request(QUERY, &query(statement, from, rows)).map_err(|error| error.into_error(Kind::Io))?;
        if opcode != RESULT {
            return Err(Error::corrupt(format!("QUERY was answered with opcode {opcode}")));
        }
        let mut body = Body(&body);
        let parsed = match body.int() {
            Ok(RESULT_ROWS) => body.page(),
            Ok(_) => Ok(Page::default()),
            Err(error) => Err(error),
        };
        parsed.map_err(|e| Error::corrupt("an answer of Cassandra does not read as its protocol says").with_source(e))
    }

    fn request(&mut self, opcode: u8, body: &[u8]) -> Result<(u8, Vec<u8>), Refusal> {
        // Version 4, no flags, stream 0: there is never more than one request under way.
        let mut frame = vec![0x04, 0, 0, 0, opcode];
        frame.extend((body.len() as u32).to_be_bytes());
        frame.extend(body);
        self.stream.write_all(&frame)?;
        let mut header = [0; 9];
        self.stream.read_exact(&mut header)?;
        let [_, flags, _, _, opcode, length @ ..] = header;
        let length = u32::from_be_bytes(length) as usize;
        if length > MOST {
            return Err(invalid(&format!("an answer of {length} bytes")).into());
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        let mut rest = Body(&body);
        // Flag 8: warnings come before the answer itself.
        if flags & 0x08 != 0 {
            for _ in 0..rest.short()? {
                rest.string()?;
            }
        }
        if opcode == ERROR {
            let code = rest.int()?;
            return Err(Refusal::Said(rest.string()?, code));
        }
        Ok((opcode, rest.0.to_vec()))
    }
}

/// Why there is no answer.
enum Refusal {
    Io(io::Error),
    Said(String, i32),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Refusal {
    fn into_error(self, kind: Kind) -> Error {
        match self {
            Self::Said(text, code) => Error::new(kind, format!("Cassandra says: {text} (CQL error {code:#06x})")),
            Self::Io(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                Error::new(Kind::TimedOut, "Cassandra did not answer in time")
            }
            Self::Io(e) => Error::new(kind, "the connection to Cassandra failed").with_source(e),
        }
    }
}

fn query(statement: &str, from: Option<&[u8]>, rows: i32) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend((statement.len() as u32).to_be_bytes());
    body.extend(statement.as_bytes());
    body.extend(CONSISTENCY_ONE.to_be_bytes());
    // 2: no column descriptions in the answer; 4: a page size follows; 8: where to go on follows.
    body.push(0x02 | 0x04 | if from.is_some() { 0x08 } else { 0 });
    body.extend(rows.to_be_bytes());
    if let Some(from) = from {
        body.extend((from.len() as u32).to_be_bytes());
        body.extend(from);
    }
    body
}

/// What is left of an answer to read.
struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    fn take(&mut self, length: usize) -> io::Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(|| invalid("an answer cut short"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| invalid("an answer cut short"))
    }

    fn short(&mut self) -> io::Result<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn int(&mut self) -> io::Result<i32> {
        self.array().map(i32::from_be_bytes)
    }

    fn string(&mut self) -> io::Result<String> {
        let length = usize::from(self.short()?);
        Ok(String::from_utf8_lossy(self.take(length)?).into_owned())
    }

    /// `[bytes]` of the protocol: a negative length is null.
    fn bytes(&mut self) -> io::Result<Cell> {
        match usize::try_from(self.int()?) {
            Ok(length) => Ok(Some(self.take(length)?.to_vec())),
            Err(_) => Ok(None),
        }
    }

    fn page(&mut self) -> io::Result<Page> {
        let flags = self.int()?;
        let columns = self.int()?;
        let next = if flags & 0x02 != 0 { self.bytes()? } else { None };
        if flags & 0x04 == 0 {
            return Err(invalid("column descriptions that were not asked for"));
        }
        let mut rows = Vec::new();
        for _ in 0..self.int()? {
            rows.push((0..columns).map(|_| self.bytes()).collect::<io::Result<_>>()?);
        }
        Ok(Page { rows, next })
    }
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// A name as CQL writes it.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// Answers each request with the next of these frames (opcode, body).
    fn node(answers: Vec<(u8, Vec<u8>)>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            for (opcode, body) in answers {
                let mut header = [0; 9];
                stream.read_exact(&mut header).unwrap();
                let length = u32::from_be_bytes(header[5..].try_into().unwrap());
                io::copy(&mut (&stream).take(length.into()), &mut io::sink()).unwrap();
                let mut frame = vec![0x84, 0, 0, 0, opcode];
                frame.extend((body.len() as u32).to_be_bytes());
                frame.extend(body);
                stream.write_all(&frame).unwrap();
            }
        });
        address
    }

    fn ints(numbers: &[i32]) -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
    }

    fn session(answers: Vec<(u8, Vec<u8>)>) -> Session {
        let address = node([vec![(READY, Vec::new())], answers].concat());
        match Session::connect(address, GREETING).unwrap() {
            Greeting::Session(session) => session,
            Greeting::PasswordWanted => panic!("no password was wanted"),
        }
    }

    #[test]
    fn rows_come_page_by_page() {
        let first = [ints(&[RESULT_ROWS, 0x02 | 0x04, 1, 1]), vec![7], ints(&[2, 1]), vec![5], ints(&[-1])].concat();
        let mut session = session(vec![(RESULT, first), (RESULT, ints(&[1]))]);
        let page = session.page("SELECT v FROM k.t", None, 2).unwrap();
        assert_eq!(page, Page { rows: vec![vec![Some(vec![5])], vec![None]], next: Some(vec![7]) });
        assert_eq!(session.page("SELECT v FROM k.t", page.next.as_deref(), 2).unwrap(), Page::default());
    }

    #[test]
    fn what_the_node_says_is_the_error() {
        let said = [ints(&[0x2200]), vec![0, 2], b"no".to_vec()].concat();
        let mut refused = session(vec![(ERROR, said)]);
        let error = refused.execute("SELECT").unwrap_err().to_string();
        assert_eq!(error, "Cassandra says: no (CQL error 0x2200)");
        let mut short = session(vec![(RESULT, ints(&[RESULT_ROWS, 0x04, 1, 3]))]);
        assert_eq!(short.page("SELECT", None, 1).unwrap_err().kind(), Kind::Corrupt);
        let address = node(vec![(AUTHENTICATE, vec![0, 0])]);
        assert!(matches!(Session::connect(address, GREETING).unwrap(), Greeting::PasswordWanted));
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(Session::connect(closed, GREETING).unwrap_err().kind(), Kind::Unreachable);
        assert_eq!(quoted("Mixed\"Case"), "\"Mixed\"\"Case\"");
    }
}

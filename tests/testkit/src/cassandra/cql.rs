//! A CQL session: the little of the native protocol (version 4) that tests need.
//!
//! Rows come back as raw cells; tests ask with `SELECT JSON`, whose one cell is text, so no type of
//! CQL needs decoding here. That is why this is 150 lines of std instead of a driver with twenty
//! crates. Source: `doc/native_protocol_v4.spec` of Cassandra.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest wait for one answer: a schema change on a busy machine takes seconds.
const TIMEOUT: Duration = Duration::from_mins(2);

/// Rows a page.
const PAGE: i32 = 1000;

/// No answer of a test is larger.
const MAX_BODY: usize = 64 << 20;

const OPCODE_ERROR: u8 = 0x00;
const OPCODE_STARTUP: u8 = 0x01;
const OPCODE_READY: u8 = 0x02;
const OPCODE_QUERY: u8 = 0x07;
const OPCODE_RESULT: u8 = 0x08;

const RESULT_ROWS: i32 = 2;

const CONSISTENCY_ONE: u16 = 1;
const CONSISTENCY_ALL: u16 = 5;

/// One cell of a row; `None` is null.
pub type Cell = Option<Vec<u8>>;

/// A connection to one node, one request at a time.
#[derive(Debug)]
pub struct Session {
    stream: TcpStream,
    consistency: u16,
}

impl Session {
    /// Connects without authentication.
    pub fn connect(node: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&node, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        stream.set_nodelay(true)?;
        let mut session = Self { stream, consistency: CONSISTENCY_ONE };
        let mut body = Vec::new();
        body.extend(1u16.to_be_bytes());
        for word in ["CQL_VERSION", "3.0.0"] {
            body.extend((word.len() as u16).to_be_bytes());
            body.extend(word.as_bytes());
        }
        match session.request(OPCODE_STARTUP, &body)? {
            (OPCODE_READY, _) => Ok(session),
            (opcode, _) => Err(invalid(format!("STARTUP was answered with opcode {opcode}"))),
        }
    }

    /// The same, that writes and reads every replica.
    pub fn at_all(self) -> Self {
        Self { consistency: CONSISTENCY_ALL, ..self }
    }

    /// Runs one statement and collects its rows, all pages of them. An error of the server is one
    /// here, with its text.
    pub fn execute(&mut self, statement: &str) -> io::Result<Vec<Vec<Cell>>> {
        let mut rows = Vec::new();
        let mut paging: Cell = None;
        loop {
            let (opcode, body) = self.request(OPCODE_QUERY, &query(statement, self.consistency, paging.as_deref()))?;
            if opcode != OPCODE_RESULT {
                return Err(invalid(format!("QUERY was answered with opcode {opcode}")));
            }
            let mut body = Body(&body);
            if body.int()? != RESULT_ROWS {
                return Ok(rows);
            }
            paging = body.rows(&mut rows)?;
            if paging.is_none() {
                return Ok(rows);
            }
        }
    }

    fn request(&mut self, opcode: u8, body: &[u8]) -> io::Result<(u8, Vec<u8>)> {
        // Version 4, no flags, stream 0: there is never more than one request under way.
        let mut frame = vec![0x04, 0, 0, 0, opcode];
        frame.extend((body.len() as u32).to_be_bytes());
        frame.extend(body);
        self.stream.write_all(&frame)?;

        let mut header = [0; 9];
        self.stream.read_exact(&mut header)?;
        let [_, flags, _, _, opcode, length @ ..] = header;
        let length = u32::from_be_bytes(length) as usize;
        if length > MAX_BODY {
            return Err(invalid(format!("an answer of {length} bytes")));
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
        if opcode == OPCODE_ERROR {
            let code = rest.int()?;
            return Err(io::Error::other(format!("{} (CQL error {code:#06x})", rest.string()?)));
        }
        Ok((opcode, rest.0.to_vec()))
    }
}

fn query(statement: &str, consistency: u16, paging: Option<&[u8]>) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend((statement.len() as u32).to_be_bytes());
    body.extend(statement.as_bytes());
    body.extend(consistency.to_be_bytes());
    // 2: no column descriptions in the answer; 4: a page size follows; 8: where to go on follows.
    body.push(0x02 | 0x04 | if paging.is_some() { 0x08 } else { 0 });
    body.extend(PAGE.to_be_bytes());
    if let Some(paging) = paging {
        body.extend((paging.len() as u32).to_be_bytes());
        body.extend(paging);
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

    fn short(&mut self) -> io::Result<u16> {
        Ok(u16::from_be_bytes(self.take(2)?.try_into().expect("two bytes")))
    }

    fn int(&mut self) -> io::Result<i32> {
        Ok(i32::from_be_bytes(self.take(4)?.try_into().expect("four bytes")))
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

    /// The rows of a page, and where the next page starts.
    fn rows(&mut self, rows: &mut Vec<Vec<Cell>>) -> io::Result<Cell> {
        let flags = self.int()?;
        let columns = self.int()?;
        let paging = if flags & 0x02 != 0 { self.bytes()? } else { None };
        if flags & 0x04 == 0 {
            return Err(invalid("column descriptions that were not asked for"));
        }
        for _ in 0..self.int()? {
            rows.push((0..columns).map(|_| self.bytes()).collect::<io::Result<_>>()?);
        }
        Ok(paging)
    }
}

fn invalid(message: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message.into())
}

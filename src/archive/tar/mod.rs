//! A tar as a stream: takes plain bytes in any pieces, hands out the members' data without copying it.
//!
//! Reads what GNU tar, bsdtar and pax write: V7, ustar, GNU long names, pax records, base-256 sizes. Memory is bounded
//! whatever the bytes are. Where tars disagree about the meaning of a header, it is an error or `Unsupported`: never a guess.

mod header;
mod pax;

use super::{Member, MemberKind};
use crate::time::Timestamp;
use crate::{Error, Result};
use header::Header;
use pax::Records;
use serde::{Deserialize, Serialize};

/// Everything in a tar is in blocks of this many bytes.
pub const BLOCK_LEN: usize = 512;

/// Longest long name or pax header, bytes.
pub const MAX_RECORD_LEN: u64 = 1 << 20;

/// Most members of one archive: a table of 100,000 SSTables has fewer.
pub const MAX_MEMBERS: usize = 1 << 20;

/// Most bytes of all names of one archive together.
pub const MAX_NAME_BYTES: usize = 128 << 20;

/// No plain stream is longer: offsets stay far from overflow.
const MAX_SIZE: u64 = 1 << 60;

/// Takes the files of a tar one after another. Directories and unsupported members are only in the result.
pub trait MemberSink {
    /// A file starts; `crc32` is not known yet.
    fn begin(&mut self, member: &Member) -> Result<()>;
    /// The next bytes of the file.
    fn data(&mut self, bytes: &[u8]) -> Result<()>;
    /// All bytes were there. They are verified only when the whole gzip is.
    fn end(&mut self, member: &Member) -> Result<()>;
}

/// Wants only the list of members.
impl MemberSink for () {
    fn begin(&mut self, _: &Member) -> Result<()> {
        Ok(())
    }
    fn data(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }
    fn end(&mut self, _: &Member) -> Result<()> {
        Ok(())
    }
}

/// What a whole tar was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TarSummary {
    /// In the order of the archive; a name may come more than once, and then the last one counts.
    pub members: Vec<Member>,
    pub warnings: Vec<String>,
}

/// Reads a tar. After an error it is of no more use.
#[derive(Debug)]
pub struct TarReader {
    state: TarState,
    crc: crc32fast::Hasher,
    members: Vec<Member>,
    name_bytes: usize,
    warnings: Vec<String>,
}

/// Where a [`TarReader`] is, without the members that it has passed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TarState {
    /// Plain bytes so far.
    offset: u64,
    at: At,
    /// The part of the current header block that is there.
    block: Vec<u8>,
    /// From a GNU long name or pax header, for the next member.
    long_name: Option<Vec<u8>>,
    local: Records,
    /// From pax global headers, for all further members.
    global: Records,
}

impl TarState {
    /// Plain bytes up to here.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum At {
    Header,
    /// In a file; its `crc32` is that of the bytes so far.
    Data {
        member: Member,
        left: u64,
    },
    /// Padding, or the data of something unsupported.
    Skip {
        left: u64,
    },
    Record {
        kind: RecordKind,
        bytes: Vec<u8>,
        left: u64,
        padding: u64,
    },
    /// Further blocks of an old GNU sparse map, before this many bytes of data.
    SparseMap {
        data: u64,
    },
    /// Behind one block of zeros.
    OneZeroBlock,
    /// Behind the end mark; the flag tells whether something other than zeros was seen there.
    End {
        more: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum RecordKind {
    LongName,
    /// The target of a link, which is not used.
    LongLink,
    Local,
    Global,
}

impl Default for TarReader {
    fn default() -> Self {
        Self::new()
    }
}

impl TarReader {
    pub fn new() -> Self {
        let state = TarState {
            offset: 0,
            at: At::Header,
            block: Vec::new(),
            long_name: None,
            local: Records::default(),
            global: Records::default(),
        };
        Self::with(state, Vec::new())
    }

    /// Goes on where [`Self::state`] was taken, given the members that [`Self::members`] had then.
    pub fn resume(state: TarState, members: Vec<Member>) -> Result<Self> {
        let sound = match &state.at {
            At::Data { member, left } => *left > 0 && *left <= member.size && member.size <= MAX_SIZE,
            At::Skip { left } => *left > 0,
            At::Record { bytes, left, .. } => {
                (1..=MAX_RECORD_LEN).contains(left) && bytes.len() as u64 + left <= MAX_RECORD_LEN
            }
            _ => true,
        };
        if sound && state.block.len() < BLOCK_LEN && state.offset <= MAX_SIZE {
            Ok(Self::with(state, members))
        } else {
            Err(Error::corrupt("a saved state of a tar contradicts itself"))
        }
    }

    fn with(state: TarState, members: Vec<Member>) -> Self {
        let crc = match &state.at {
            At::Data { member, left } => crc32fast::Hasher::new_with_initial_len(member.crc32, member.size - left),
            _ => crc32fast::Hasher::new(),
        };
        let name_bytes = members.iter().map(|member| member.raw_name.len()).sum();
        Self { state, crc, members, name_bytes, warnings: Vec::new() }
    }

    pub fn state(&self) -> TarState {
        let mut state = self.state.clone();
        if let At::Data { member, .. } = &mut state.at {
            member.crc32 = self.crc.clone().finalize();
        }
        state
    }

    /// Members that are complete.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The file whose data comes next, after [`Self::resume`] in the midst of one: `begin` is not called again.
    pub fn current(&self) -> Option<(&Member, u64)> {
        match &self.state.at {
            At::Data { member, left } => Some((member, member.size - left)),
            _ => None,
        }
    }

    pub fn push(&mut self, plain: &[u8], sink: &mut dyn MemberSink) -> Result<()> {
        let mut input = plain;
        while !input.is_empty() {
            self.step(&mut input, sink)?;
        }
        Ok(())
    }

    /// Checks that the tar ended where it may.
    pub fn finish(mut self) -> Result<TarSummary> {
        match self.state.at {
            At::End { more: false } => {}
            At::End { more: true } => self.warnings.push("data behind the end of the tar was ignored".to_owned()),
            At::OneZeroBlock if self.state.block.is_empty() => {
                self.warnings.push("the tar ends with one block of zeros instead of two".to_owned());
            }
            _ => return Err(self.corrupt("the tar ends too early")),
        }
        Ok(TarSummary { members: self.members, warnings: self.warnings })
    }

    fn step(&mut self, input: &mut &[u8], sink: &mut dyn MemberSink) -> Result<()> {
        match &mut self.state.at {
            At::Data { left, .. } => {
                let piece = take(input, left, &mut self.state.offset);
                self.crc.update(piece);
                sink.data(piece)?;
                if *left == 0 {
                    self.end_file(sink)?;
                }
            }
            At::Skip { left } => {
                take(input, left, &mut self.state.offset);
                if *left == 0 {
                    self.state.at = At::Header;
                }
            }
            At::Record { kind, bytes, left, padding } => {
                bytes.extend_from_slice(take(input, left, &mut self.state.offset));
                if *left == 0 {
                    let (kind, bytes, padding) = (*kind, std::mem::take(bytes), *padding);
                    self.state.at = skip(padding);
                    self.record(kind, bytes)?;
                }
            }
            At::End { more } => {
                *more |= input.iter().any(|&b| b != 0);
                self.state.offset += input.len() as u64;
                *input = &[];
            }
            At::Header | At::SparseMap { .. } | At::OneZeroBlock => self.block(input, sink)?,
        }
        Ok(())
    }

    /// Takes (a part of) a whole block.
    fn block(&mut self, input: &mut &[u8], sink: &mut dyn MemberSink) -> Result<()> {
        if self.state.block.is_empty()
            && let Some((block, rest)) = input.split_first_chunk::<BLOCK_LEN>()
        {
            *input = rest;
            self.state.offset += BLOCK_LEN as u64;
            return self.whole_block(block, sink);
        }
        let mut left = (BLOCK_LEN - self.state.block.len()) as u64;
        let piece = take(input, &mut left, &mut self.state.offset);
        self.state.block.extend_from_slice(piece);
        if left > 0 {
            return Ok(());
        }
        let block: [u8; BLOCK_LEN] = self.state.block[..].try_into().expect("the block is complete");
        self.state.block.clear();
        self.whole_block(&block, sink)
    }

    fn whole_block(&mut self, block: &[u8; BLOCK_LEN], sink: &mut dyn MemberSink) -> Result<()> {
        let zeros = block.iter().all(|&b| b == 0);
        match self.state.at {
            At::SparseMap { data } => {
                // The last byte in use of such a block tells whether another follows.
                if block[504] == 0 {
                    self.state.at = skip(data);
                }
                Ok(())
            }
            At::OneZeroBlock => {
                if !zeros {
                    self.warnings.push("a lone block of zeros ends the tar".to_owned());
                }
                self.state.at = At::End { more: !zeros };
                Ok(())
            }
            _ if zeros && (self.state.long_name.is_some() || self.state.local != Records::default()) => {
                Err(self.corrupt("a long name belongs to no member"))
            }
            _ if zeros => {
                self.state.at = At::OneZeroBlock;
                Ok(())
            }
            _ => match Header::parse(block) {
                Ok(header) => self.header(&header, sink),
                Err(error) => Err(self.corrupt(error)),
            },
        }
    }

    fn header(&mut self, header: &Header<'_>, sink: &mut dyn MemberSink) -> Result<()> {
        let record = match header.kind() {
            b'L' => Some(RecordKind::LongName),
            b'K' => Some(RecordKind::LongLink),
            b'x' => Some(RecordKind::Local),
            b'g' => Some(RecordKind::Global),
            _ => None,
        };
        let size = header.size().map_err(|error| self.corrupt(error))?;
        let Some(kind) = record else { return self.member(header, size, sink) };
        if size > MAX_RECORD_LEN {
            return Err(self.corrupt("a long name or pax header is larger than 1 MiB"));
        }
        self.state.at = At::Record { kind, bytes: Vec::new(), left: size, padding: padding(size) };
        if size == 0 {
            self.state.at = At::Header;
            self.record(kind, Vec::new())?;
        }
        Ok(())
    }

    fn record(&mut self, kind: RecordKind, mut bytes: Vec<u8>) -> Result<()> {
        let parsed = match kind {
            RecordKind::LongName => {
                let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
                bytes.truncate(end);
                self.state.long_name = Some(bytes);
                Ok(())
            }
            RecordKind::LongLink => Ok(()),
            RecordKind::Local => self.state.local.extend(&bytes),
            RecordKind::Global => self.state.global.extend(&bytes),
        };
        parsed.map_err(|error| self.corrupt(error))
    }

    fn member(&mut self, header: &Header<'_>, header_size: u64, sink: &mut dyn MemberSink) -> Result<()> {
        let records = std::mem::take(&mut self.state.local).or(&self.state.global);
        let long_name = self.state.long_name.take();
        let raw_name = records.path.or(long_name).unwrap_or_else(|| header.name());
        let mtime = match records.mtime {
            Some(mtime) => mtime,
            None => Timestamp::from_secs(header.mtime().map_err(|error| self.corrupt(error))?),
        };
        let kind = match header.kind() {
            _ if records.sparse => MemberKind::Unsupported(b'S'),
            // V7 had no type for directories.
            0 | b'0' if raw_name.ends_with(b"/") => MemberKind::Directory,
            0 | b'0' | b'7' => MemberKind::File,
            b'5' => MemberKind::Directory,
            other => MemberKind::Unsupported(other),
        };
        // Links, devices, FIFOs and directories have no data, even when their size (of the target, of the room to set
        // aside) is given. A tar that has some is told by the next header's checksum.
        let size = match header.kind() {
            b'1'..=b'6' => 0,
            0 | b'0' if kind == MemberKind::Directory => 0,
            _ => records.size.unwrap_or(header_size),
        };
        if size > MAX_SIZE {
            return Err(self.corrupt("a member is impossibly large"));
        }
        self.name_bytes += raw_name.len();
        if self.members.len() >= MAX_MEMBERS || self.name_bytes > MAX_NAME_BYTES {
            return Err(self.corrupt("too many members, or too long names"));
        }
        let member = Member { raw_name, kind, size, mtime, offset: self.state.offset, crc32: 0 };
        if kind == MemberKind::File {
            sink.begin(&member)?;
            self.crc = crc32fast::Hasher::new();
            self.state.at = At::Data { member, left: size };
            if size == 0 {
                self.end_file(sink)?;
            }
            return Ok(());
        }
        self.members.push(member);
        let data = size + padding(size);
        self.state.at =
            if header.kind() == b'S' && header.sparse_map_goes_on() { At::SparseMap { data } } else { skip(data) };
        Ok(())
    }

    fn end_file(&mut self, sink: &mut dyn MemberSink) -> Result<()> {
        let At::Data { mut member, .. } = std::mem::replace(&mut self.state.at, At::Header) else {
            unreachable!("called at a file's end only")
        };
        self.state.at = skip(padding(member.size));
        member.crc32 = std::mem::take(&mut self.crc).finalize();
        sink.end(&member)?;
        self.members.push(member);
        Ok(())
    }

    fn corrupt(&self, what: impl std::fmt::Display) -> Error {
        Error::corrupt(format!("{what} (plain byte {})", self.state.offset))
    }
}

/// Whether these plain bytes, at least a block of them, can be a tar's first.
pub(super) fn starts_as_tar(plain: &[u8]) -> bool {
    plain.first_chunk().is_some_and(|block| block.iter().all(|&b| b == 0) || header::checksum_matches(block))
}

/// Bytes from the end of so much data to the next block.
fn padding(size: u64) -> u64 {
    size.next_multiple_of(BLOCK_LEN as u64) - size
}

fn skip(left: u64) -> At {
    if left == 0 { At::Header } else { At::Skip { left } }
}

/// Takes what there is, at most `left`, off `input`.
fn take<'a>(input: &mut &'a [u8], left: &mut u64, offset: &mut u64) -> &'a [u8] {
    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
    let (piece, rest) = input.split_at(count);
    *input = rest;
    *left -= count as u64;
    *offset += count as u64;
    piece
}

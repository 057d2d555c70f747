//! A tar as a stream: takes plain bytes in any pieces, hands out the members' data without copying
//! it.
//!
//! Reads what GNU tar, bsdtar, busybox and pax write: V7, ustar, GNU long names, pax records,
//! base-256 sizes, sparse files, links, volume labels, the dumpdirs of incremental tars. Tars
//! behind one another are one, as for `tar -i`. Memory is bounded whatever the bytes are. Where
//! tars disagree about the meaning of a header, it is an error or `Unsupported`: never a guess.

mod dumpdir;
mod header;
mod pax;
mod sparse;
mod state;

pub use state::TarState;

use super::{Member, MemberKind, Region};
use crate::time::Timestamp;
use crate::{Error, Kind, Result};
use header::Header;
use pax::{Records, SparseRecords};
use sparse::MapLines;
use state::{At, RecordKind};

/// Everything in a tar is in blocks of this many bytes.
pub const BLOCK_LEN: usize = 512;

/// Longest long name or pax header, bytes.
pub const MAX_RECORD_LEN: u64 = 1 << 20;

/// Most members of one archive: 29,000 SSTables of nine components. `docs/limits.md` names it.
pub const MAX_MEMBERS: usize = 1 << 18;

/// Most bytes of all names of one archive together.
pub const MAX_NAME_BYTES: usize = 64 << 20;

/// Most regions of all sparse files of one archive together.
const MAX_ALL_REGIONS: usize = 1 << 18;

/// No plain stream is longer: offsets stay far from overflow.
const MAX_SIZE: u64 = 1 << 60;

/// Zeros that fill holes.
static ZEROS: [u8; 16 << 10] = [0; 16 << 10];

/// Takes the files of a tar one after another, sparse ones with their holes filled. All other
/// members are only in the result.
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
    regions: usize,
    warnings: Vec<String>,
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
            long_link: None,
            local: Records::default(),
            global: Records::default(),
        };
        Self::with(state, Vec::new())
    }

    /// Goes on where [`Self::state`] was taken, given the members that [`Self::members`] had then.
    pub fn resume(state: TarState, members: Vec<Member>) -> Result<Self> {
        let sound = state.is_sound();
        if sound {
            Ok(Self::with(state, members))
        } else {
            Err(Error::corrupt("a saved state of a tar contradicts itself"))
        }
    }

    fn with(state: TarState, members: Vec<Member>) -> Self {
        let crc = match &state.at {
            At::Data { member, left } => crc32fast::Hasher::new_with_initial_len(member.crc32, member.size - left),
            At::SparseData { member, region, left } => {
                crc32fast::Hasher::new_with_initial_len(member.crc32, state::position(member, *region, *left))
            }
            _ => crc32fast::Hasher::new(),
        };
        let name_bytes = members.iter().map(Member::name_bytes).sum();
        let regions = members.iter().map(Member::region_count).sum();
        Self { state, crc, members, name_bytes, regions, warnings: Vec::new() }
    }

    pub fn state(&self) -> TarState {
        let mut state = self.state.clone();
        if let At::Data { member, .. } | At::SparseData { member, .. } = &mut state.at {
            member.crc32 = self.crc.clone().finalize();
        }
        state
    }

    /// Members that are complete.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The file whose data comes next, after [`Self::resume`] in the midst of one: `begin` is not
    /// called again.
    pub fn current(&self) -> Option<(&Member, u64)> {
        match &self.state.at {
            At::Data { member, left } => Some((member, member.size - left)),
            At::SparseData { member, region, left } => Some((member, state::position(member, *region, *left))),
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
            // A part of a block of zeros, maybe.
            At::End if self.state.block.iter().all(|&b| b == 0) => {}
            At::End => return Err(self.corrupt("bytes behind the end of the tar that are no tar")),
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
                    let (kind, bytes, padding) = (kind.clone(), std::mem::take(bytes), *padding);
                    self.state.at = skip(padding);
                    self.record(kind, bytes)?;
                }
            }
            At::SparseData { member, region, left } => {
                let piece = take(input, left, &mut self.state.offset);
                self.crc.update(piece);
                sink.data(piece)?;
                if *left == 0 {
                    let from = state::position(member, *region, 0);
                    let to = state::start(member, *region + 1);
                    fill(from, to, &mut self.crc, sink)?;
                    *region += 1;
                    match state::region_len(member, *region) {
                        Some(len) => *left = len,
                        None => self.end_file(sink)?,
                    }
                }
            }
            At::Header | At::OldMap { .. } | At::LineMap { .. } | At::OneZeroBlock | At::End => {
                self.block(input, sink)?;
            }
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
        match &mut self.state.at {
            At::OldMap { member, regions, stored } => {
                let (more, goes_on) =
                    sparse::old_extension(block).map_err(|error| corrupt(self.state.offset, error))?;
                regions.extend(more);
                if regions.len() > sparse::MAX_REGIONS {
                    return Err(self.corrupt("a sparse file of too many pieces"));
                }
                if !goes_on {
                    let (member, regions, stored) = (member.clone(), std::mem::take(regions), *stored);
                    return self.sparse(member, regions, stored, sink);
                }
                return Ok(());
            }
            At::LineMap { member, lines, stored } => {
                let left = stored.checked_sub(BLOCK_LEN as u64);
                *stored = left.ok_or_else(|| corrupt(self.state.offset, "the map of a sparse file is cut short"))?;
                if lines.push(block).map_err(|error| corrupt(self.state.offset, error))? {
                    let (member, regions, stored) = (member.clone(), lines.regions(), *stored);
                    return self.sparse(member, regions, stored, sink);
                }
                return Ok(());
            }
            _ => {}
        }
        if block.iter().all(|&b| b == 0) {
            if self.state.long_name.is_some()
                || self.state.long_link.is_some()
                || self.state.local != Records::default()
            {
                return Err(self.corrupt("a long name belongs to no member"));
            }
            self.state.at = if self.state.at == At::Header { At::OneZeroBlock } else { At::End };
            return Ok(());
        }
        // Behind zeros another tar may begin: `tar -A`, or `cat`. Reading on never shows less than
        // stopping would.
        match Header::parse(block) {
            Ok(header) => self.header(&header, sink),
            Err(_) if self.state.at != At::Header => {
                Err(self.corrupt("bytes behind the end of the tar that are no tar"))
            }
            Err(error) => Err(self.corrupt(error)),
        }
    }

    fn header(&mut self, header: &Header<'_>, sink: &mut dyn MemberSink) -> Result<()> {
        let record = match header.kind() {
            b'L' => Some(RecordKind::LongName),
            b'K' => Some(RecordKind::LongLink),
            // Solaris had its own letter.
            b'x' | b'X' => Some(RecordKind::Local),
            b'g' => Some(RecordKind::Global),
            _ => None,
        };
        let size = header.size().map_err(|error| self.corrupt(error))?;
        let Some(kind) = record else { return self.member(header, size, sink) };
        if size > MAX_RECORD_LEN {
            return Err(self.corrupt("a long name or pax header is larger than 1 MiB"));
        }
        let for_state = kind.clone();
        self.state.at = At::Record { kind: for_state, bytes: Vec::new(), left: size, padding: padding(size) };
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
            RecordKind::LongLink => {
                let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
                bytes.truncate(end);
                self.state.long_link = Some(bytes);
                Ok(())
            }
            RecordKind::Dumpdir { directory, mtime } => return self.dumpdir(&directory, &bytes, mtime),
            RecordKind::Local => self.state.local.extend(&bytes),
            RecordKind::Global => self.state.global.extend(&bytes),
        };
        parsed.map_err(|error| self.corrupt(error))
    }

    fn member(&mut self, header: &Header<'_>, header_size: u64, sink: &mut dyn MemberSink) -> Result<()> {
        let mut records = std::mem::take(&mut self.state.local).or(&self.state.global);
        // Of the next member only, though it comes in a global header.
        self.state.global.continues = None;
        let long_name = self.state.long_name.take();
        let long_link = self.state.long_link.take();
        let mut raw_name = records.path.take().or(long_name).unwrap_or_else(|| header.name());
        let mtime = match records.mtime {
            Some(mtime) => mtime,
            None => Timestamp::from_secs(header.mtime().map_err(|error| self.corrupt(error))?),
        };
        let target = || records.link_path.clone().or(long_link).unwrap_or_else(|| header.link_name());
        let mut kind = match header.kind() {
            // V7 had no type for directories.
            0 | b'0' if raw_name.ends_with(b"/") => MemberKind::Directory,
            0 | b'0' | b'7' | b'S' => MemberKind::File,
            b'1' => MemberKind::HardLink(target()),
            b'2' => MemberKind::SymbolicLink(target()),
            b'5' | b'D' => MemberKind::Directory,
            other => MemberKind::Unsupported(other),
        };
        // Links, devices, FIFOs and directories have no data, even when their size (of the target,
        // of the room to set aside) is given. A tar that has some is told by the next header's
        // checksum.
        let mut size = match header.kind() {
            b'1'..=b'6' => 0,
            0 | b'0' if kind == MemberKind::Directory => 0,
            _ => records.size.unwrap_or(header_size),
        };
        if size > MAX_SIZE {
            return Err(self.corrupt("a member is impossibly large"));
        }
        if let Some(name) = records.continues.take() {
            (raw_name, kind) = (name, MemberKind::Unsupported(b'M'));
        }
        if let Some(dumpdir) = records.dumpdir.take() {
            self.dumpdir(&raw_name, &dumpdir, mtime)?;
        }
        let mut member = Member { raw_name, kind, size, mtime, offset: self.state.offset, crc32: 0 };
        match (header.kind(), records.sparse.take()) {
            (b'S', _) => return self.old_sparse(header, member, sink),
            (_, Some(sparse)) if member.kind == MemberKind::File => return self.pax_sparse(sparse, member, sink),
            (b'D', _) => {
                // What it holds are names.
                let (directory, padding) = (member.raw_name.clone(), padding(size));
                size = std::mem::take(&mut member.size);
                self.add(member)?;
                if size > MAX_RECORD_LEN {
                    return Err(self.corrupt("a list of a directory's names is larger than 1 MiB"));
                }
                if size > 0 {
                    let kind = RecordKind::Dumpdir { directory, mtime };
                    self.state.at = At::Record { kind, bytes: Vec::new(), left: size, padding };
                } else {
                    self.state.at = At::Header;
                }
                return Ok(());
            }
            // The name of a volume, and nothing else.
            (b'V', _) => {}
            _ if member.kind == MemberKind::File => {
                self.count(&member)?;
                sink.begin(&member)?;
                self.crc = crc32fast::Hasher::new();
                self.state.at = At::Data { member, left: size };
                if size == 0 {
                    self.end_file(sink)?;
                }
                return Ok(());
            }
            _ => self.add(member)?,
        }
        self.state.at = skip(size + padding(size));
        Ok(())
    }

    /// A file with holes, whose map is in the header and maybe in blocks behind it.
    fn old_sparse(&mut self, header: &Header<'_>, mut member: Member, sink: &mut dyn MemberSink) -> Result<()> {
        let map = sparse::old_header(header.block()).map_err(|error| self.corrupt(error));
        let (regions, size, goes_on) = map?;
        let stored = std::mem::replace(&mut member.size, size);
        if goes_on {
            self.state.at = At::OldMap { member, regions, stored };
            return Ok(());
        }
        self.sparse(member, regions, stored, sink)
    }

    /// A file with holes, whose map is in pax records, or before its data.
    fn pax_sparse(&mut self, sparse: SparseRecords, mut member: Member, sink: &mut dyn MemberSink) -> Result<()> {
        let stored = member.size;
        if let Some(name) = sparse.name {
            member.raw_name = name;
        }
        let known = matches!((sparse.major, sparse.minor), (0, 0 | 1) | (1, 0)) && !sparse.is_unknown;
        let Some(size) = sparse.size.filter(|_| known) else { return self.unread_sparse(member, stored) };
        member.size = size;
        if sparse.major == 1 {
            self.state.at = At::LineMap { member, lines: MapLines::default(), stored };
            return Ok(());
        }
        self.sparse(member, sparse.map, stored, sink)
    }

    /// The map is complete, and the stored bytes follow.
    fn sparse(
        &mut self,
        mut member: Member,
        regions: Vec<Region>,
        stored: u64,
        sink: &mut dyn MemberSink,
    ) -> Result<()> {
        if member.size > MAX_SIZE {
            return Err(self.corrupt("a member is impossibly large"));
        }
        let regions = sparse::checked(regions, member.size, stored).map_err(|error| self.corrupt(error))?;
        if !sparse::is_believable(member.size, stored) {
            return self.unread_sparse(member, stored);
        }
        member.offset = self.state.offset;
        member.kind = MemberKind::Sparse(regions);
        self.count(&member)?;
        sink.begin(&member)?;
        self.crc = crc32fast::Hasher::new();
        fill(0, state::start(&member, 0), &mut self.crc, sink)?;
        let first = state::region_len(&member, 0);
        self.state.at = At::SparseData { member, region: 0, left: first.unwrap_or_default() };
        if first.is_none() {
            self.end_file(sink)?;
        }
        Ok(())
    }

    fn unread_sparse(&mut self, mut member: Member, stored: u64) -> Result<()> {
        (member.kind, member.size) = (MemberKind::Unsupported(b'S'), stored);
        self.add(member)?;
        self.state.at = skip(stored + padding(stored));
        Ok(())
    }

    fn dumpdir(&mut self, directory: &[u8], names: &[u8], mtime: Timestamp) -> Result<()> {
        for raw_name in dumpdir::file_names(directory, names) {
            let (kind, offset) = (MemberKind::Elsewhere, self.state.offset);
            self.add(Member { raw_name, kind, size: 0, mtime, offset, crc32: 0 })?;
        }
        Ok(())
    }

    /// Takes a member that is not read.
    fn add(&mut self, member: Member) -> Result<()> {
        self.count(&member)?;
        self.members.push(member);
        Ok(())
    }

    fn count(&mut self, member: &Member) -> Result<()> {
        self.name_bytes += member.name_bytes();
        self.regions += member.region_count();
        if self.members.len() < MAX_MEMBERS && self.name_bytes <= MAX_NAME_BYTES && self.regions <= MAX_ALL_REGIONS {
            return Ok(());
        }
        let message = format!(
            "it has more than {MAX_MEMBERS} members, or names of more than {} MiB: no archive of that many is read; \
             unpack it with tar",
            MAX_NAME_BYTES >> 20
        );
        Err(Error::new(Kind::Unsupported, message))
    }

    fn end_file(&mut self, sink: &mut dyn MemberSink) -> Result<()> {
        let (At::Data { mut member, .. } | At::SparseData { mut member, .. }) =
            std::mem::replace(&mut self.state.at, At::Header)
        else {
            unreachable!("called at a file's end only")
        };
        self.state.at = skip(padding(member.stored_len()));
        member.crc32 = std::mem::take(&mut self.crc).finalize();
        sink.end(&member)?;
        self.members.push(member);
        Ok(())
    }

    fn corrupt(&self, what: impl std::fmt::Display) -> Error {
        corrupt(self.state.offset, what)
    }
}

fn corrupt(offset: u64, what: impl std::fmt::Display) -> Error {
    Error::corrupt(format!("{what} (plain byte {offset})"))
}

/// Hands out the hole between these places of a file.
fn fill(from: u64, to: u64, crc: &mut crc32fast::Hasher, sink: &mut dyn MemberSink) -> Result<()> {
    let mut left = to.saturating_sub(from);
    while left > 0 {
        let piece = &ZEROS[..left.min(ZEROS.len() as u64) as usize];
        crc.update(piece);
        sink.data(piece)?;
        left -= piece.len() as u64;
    }
    Ok(())
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

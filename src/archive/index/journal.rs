//! Goes on with a pass that was killed.

use super::builder::IndexBuilder;
use super::format::{
    FOOTER_LEN, MAX_OFFSET, MAX_SPANS, RECORD_HEADER_LEN, RecordKind, Save, Start, are_in_order, read_record,
};
use super::{Identity, Span, VERSION};
use crate::Result;
use crate::archive::Member;
use crate::archive::compression::Decoder;
use crate::archive::tar::{MAX_MEMBERS, TarReader};
use std::io::Read;

const _: () = assert!(FOOTER_LEN > RECORD_HEADER_LEN, "a footer alone cannot be taken for a record");

/// The stages of a pass as they were at its last save point.
#[derive(Debug)]
pub struct Resumption {
    pub decoder: Decoder,
    pub tar: TarReader,
    pub builder: IndexBuilder,
    /// The compressed byte with which input goes on.
    pub compressed_offset: u64,
    /// Bytes of the file up to the save point: cut off what follows, then append.
    pub file_len: u64,
}

/// Reads an unfinished index file from its start; `None` when it has no save point for this
/// archive.
///
/// What is before the save point was checked only as far as a stream can be before its end: the
/// checksum of the whole of it is still to come, and includes it.
pub fn replay(file: &mut dyn Read, identity: &Identity) -> Result<Option<Resumption>> {
    let Some((start, start_len)) = read_start(file, identity)? else { return Ok(None) };
    let (mut spans, mut members): (Vec<Span>, Vec<Member>) = (Vec::new(), Vec::new());
    let mut file_len = start_len;
    let mut window = Vec::new();
    let mut last = None;
    while let Some((kind, payload)) = read_record(file)? {
        file_len += (RECORD_HEADER_LEN + payload.len()) as u64;
        match kind {
            RecordKind::Window => window = payload,
            RecordKind::Save => {
                let Some(mut save) = decode_save(&payload, &window) else { break };
                spans.append(&mut save.spans);
                members.append(&mut save.members);
                if spans.len() > MAX_SPANS || members.len() > MAX_MEMBERS || !is_sound(&spans, &save) {
                    return Ok(None);
                }
                last = Some((save, window.clone(), file_len));
            }
            RecordKind::Start | RecordKind::Head => break,
        }
    }
    let Some((Save { checkpoint, window: window_ref, tar, .. }, window, file_len)) = last else { return Ok(None) };
    let tar = TarReader::resume(tar, members)?;
    let builder = IndexBuilder::resume(identity.clone(), spans, tar.members().len(), checkpoint, window_ref, file_len);
    let Ok(decoder) = Decoder::resume(&checkpoint, &window, start.spacing) else { return Ok(None) };
    Ok(Some(Resumption { decoder, tar, builder, compressed_offset: checkpoint.byte(), file_len }))
}

fn read_start(file: &mut dyn Read, identity: &Identity) -> Result<Option<(Start, u64)>> {
    let Some((RecordKind::Start, payload)) = read_record(file)? else { return Ok(None) };
    let Ok(start) = postcard::from_bytes::<Start>(&payload) else { return Ok(None) };
    let ours = start.version == VERSION && start.identity == *identity;
    Ok(ours.then_some((start, (RECORD_HEADER_LEN + payload.len()) as u64)))
}

/// A save always follows its window.
fn decode_save(payload: &[u8], window: &[u8]) -> Option<Save> {
    let save: Save = postcard::from_bytes(payload).ok()?;
    (crc32fast::hash(window) == save.window.crc32).then_some(())?;
    Some(save)
}

fn is_sound(spans: &[Span], save: &Save) -> bool {
    let at = &save.checkpoint;
    at.plain <= MAX_OFFSET
        && at.byte() <= MAX_OFFSET
        && save.tar.offset() == at.plain
        && are_in_order(spans)
        && spans.last().is_none_or(|last| last.plain < at.plain && last.bit <= at.bit)
}

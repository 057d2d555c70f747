//! The loop that reads nearly all symbols: while there is ample input and room for output.
//!
//! Its speed is that of one dependency: bits, table entry, bits without that entry's code, and so
//! on. Whatever else is to be done is done beside it.

use super::BadDeflate;
use super::bits::{BitReader, low_bits};
use super::history::{History, MIN_ROOM, Symbol};
use super::table::Codes;

/// Input that must be there before each turn, bytes: two refills.
const MIN_INPUT: usize = 16;
/// Reads symbols up to the end of the block, or until input or room are nearly used up. Tells
/// whether the block ended.
#[inline(never)] // With the caller's variables in it, there are too few registers.
pub(super) fn read<T: Symbol, const NOTE: bool>(
    reader: &mut BitReader<'_>,
    history: &mut History<T>,
    end: usize,
    codes: &Codes,
) -> Result<bool, BadDeflate> {
    if reader.input.len() - reader.at < MIN_INPUT {
        return Ok(false);
    }
    let last_output = end.saturating_sub(MIN_ROOM);
    let mut bits = reader.hold.bits;
    let mut count = reader.hold.count;
    let mut input = &reader.input[reader.at..];
    // Not the writer's: without notes, nothing of them is in the loop.
    let mut notes = if NOTE { history.notes.take() } else { None };
    let mut writer = history.writer();
    // Only the lowest six bits of `count` are of meaning: then neither they nor an entry's need a
    // mask before a shift.
    macro_rules! refill {
        () => {
            // At least 56 bits are held after it. Those above `count` are the next byte's: or-ing
            // them again is harmless.
            bits |= u64::from_le_bytes(*input.first_chunk().expect("there are 8")) << (count & 63);
            input = &input[(!count >> 3 & 7) as usize..];
            count |= 56;
        };
    }
    macro_rules! skip {
        ($entry:expr) => {
            bits >>= $entry.bits();
            count = count.wrapping_sub($entry.raw_bits());
        };
    }
    let mut result = Ok(false);
    refill!();
    // Always one ahead: the next entry is loaded before what the last one says is carried out.
    let mut entry = codes.litlen(bits);
    while input.len() >= MIN_INPUT && writer.at < last_output {
        refill!();
        // Reads a distance and copies. Of 64 bits, 28 are for a distance and 12 for the next entry.
        macro_rules! copy {
            ($length:expr) => {
                let mut found = codes.distance(bits);
                if found.is_long() {
                    let Some(long) = codes.long_distance(bits) else {
                        result = Err(BadDeflate("invalid distance code"));
                        break;
                    };
                    found = long;
                }
                let distance = found.distance(bits);
                skip!(found);
                entry = codes.litlen(bits);
                if NOTE && let Some(notes) = &mut notes {
                    notes.push(writer.at, distance, $length);
                }
                if let Err(error) = writer.copy(distance, $length) {
                    result = Err(error);
                    break;
                }
            };
        }
        if entry.is_length() {
            let length = entry.length(bits);
            skip!(entry);
            copy!(length);
            continue;
        }
        // Three times literals (12 bits), and a length (15 + 5): 56 bits.
        if entry.is_literal() {
            skip!(entry);
            let next = codes.litlen(bits);
            writer.literals(entry.literals(), entry.count());
            entry = next;
            if entry.is_literal() {
                skip!(entry);
                let next = codes.litlen(bits);
                writer.literals(entry.literals(), entry.count());
                entry = next;
                if entry.is_literal() {
                    skip!(entry);
                    let next = codes.litlen(bits);
                    writer.literals(entry.literals(), entry.count());
                    entry = next;
                    continue;
                }
            }
        }
        if !entry.is_length() {
            if entry.is_long() {
                let Some(long) = codes.long_litlen(bits) else {
                    result = Err(BadDeflate("invalid literal/length code"));
                    break;
                };
                entry = long;
            }
            if entry.is_literal() {
                skip!(entry);
                writer.literals(entry.literals(), 1);
                entry = codes.litlen(bits);
                continue;
            }
            if entry.is_end() {
                skip!(entry);
                result = Ok(true);
                break;
            }
        }
        let length = entry.length(bits);
        skip!(entry);
        refill!();
        copy!(length);
    }
    writer.finish();
    if NOTE {
        history.notes = notes;
    }
    reader.at = reader.input.len() - input.len();
    reader.hold.count = count & 63;
    reader.hold.bits = bits & low_bits(count & 63);
    result
}

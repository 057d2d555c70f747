//! Raw deflate through `libz-rs-sys`: the one module of `archive` with unsafe code.
//!
//! zlib's C interface is used because only it offers what checkpoints need: stopping at block boundaries, priming with the
//! bits of a shared byte, setting and taking the window. The shape follows zlib's `examples/zran.c`.
#![allow(unsafe_code)]

use libz_rs_sys as z;
use std::ffi::c_int;
use std::mem::{MaybeUninit, size_of};

/// The farthest that deflate refers back, bytes.
pub(super) const WINDOW_LEN: usize = 32 << 10;

/// Where [`RawInflate::inflate`] may stop before its input or output runs out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub(super) enum StopAt {
    End = z::Z_NO_FLUSH,
    BlockBoundary = z::Z_BLOCK,
    /// Behind the header of a block: its code tables are read, none of its symbols.
    BlockHeader = z::Z_TREES,
}

/// What one call did.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    pub(super) consumed: usize,
    pub(super) produced: usize,
    pub(super) at: At,
    /// Bits of the consumed bytes that are not used yet.
    pub(super) unused_bits: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum At {
    /// Somewhere in a block, or wanting input or output.
    Middle,
    /// Between two blocks.
    Boundary,
    /// Behind the last block and its padding bits.
    End,
    /// Behind the header of a block with Huffman codes.
    Symbols,
}

/// The stream is not deflate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct BadDeflate(pub(super) &'static str);

/// A deflate decoder.
///
/// Invariant: `stream` was set up by `inflateInit2_` and is only given back to zlib's functions, at one address, until
/// `drop` ends it. Its input and output pointers are only used within [`Self::inflate`], which sets them first.
pub(super) struct RawInflate {
    stream: Box<z::z_stream>,
}

// SAFETY: the state behind `stream` is owned by it alone, is not tied to a thread, and `&self` methods only read it.
unsafe impl Send for RawInflate {}

impl RawInflate {
    pub(super) fn new() -> Self {
        let mut stream = Box::<z::z_stream>::default();
        // SAFETY: a default stream is what inflateInit2_ expects (null buffers, an allocator); version and size are the
        // library's own.
        let code = unsafe {
            z::inflateInit2_(&raw mut *stream, RAW_WINDOW_BITS, z::zlibVersion(), size_of::<z::z_stream>() as c_int)
        };
        // Only a failed allocation is left as a cause, and Rust's allocator aborts on these anyway.
        assert_eq!(code, z::Z_OK, "inflateInit2_ failed");
        Self { stream }
    }

    /// Forgets everything: the next byte starts a new stream.
    pub(super) fn reset(&mut self) {
        // SAFETY: the struct's invariant.
        let code = unsafe { z::inflateReset(&raw mut *self.stream) };
        assert_eq!(code, z::Z_OK, "inflateReset failed");
    }

    /// Puts `count` (at most 8) bits before the input.
    pub(super) fn prime(&mut self, count: u32, bits: u8) {
        debug_assert!(count <= 8);
        // SAFETY: the struct's invariant.
        let code = unsafe { z::inflatePrime(&raw mut *self.stream, count as c_int, c_int::from(bits)) };
        assert_eq!(code, z::Z_OK, "inflatePrime failed");
    }

    /// Drops the bits of consumed bytes that are not used yet.
    pub(super) fn drop_unused_bits(&mut self) {
        // SAFETY: the struct's invariant; a negative count is documented to empty the bit buffer.
        let code = unsafe { z::inflatePrime(&raw mut *self.stream, -1, 0) };
        assert_eq!(code, z::Z_OK, "inflatePrime failed");
    }

    /// Makes `window` (at most [`WINDOW_LEN`] bytes) the output before the next one. A reference to before it is an error.
    pub(super) fn set_window(&mut self, window: &[u8]) {
        debug_assert!(window.len() <= WINDOW_LEN);
        // SAFETY: the struct's invariant; pointer and length are those of one slice, which is only read.
        let code = unsafe { z::inflateSetDictionary(&raw mut *self.stream, window.as_ptr(), window.len() as z::uInt) };
        assert_eq!(code, z::Z_OK, "inflateSetDictionary failed");
    }

    /// The last [`WINDOW_LEN`] bytes of output, or as many as there were.
    pub(super) fn window(&self) -> Vec<u8> {
        let mut window = vec![0; WINDOW_LEN];
        let mut len: z::uInt = 0;
        // SAFETY: the struct's invariant; the buffer holds WINDOW_LEN bytes, which is documented to be always enough.
        let code = unsafe { z::inflateGetDictionary(&raw const *self.stream, window.as_mut_ptr(), &raw mut len) };
        assert_eq!(code, z::Z_OK, "inflateGetDictionary failed");
        window.truncate(len as usize);
        window
    }

    /// Whether a call that wanted more input stopped with no bit of a symbol used: it can be read anew from the unused bits.
    /// False in a stored block or outside of blocks.
    pub(super) fn is_between_symbols(&self) -> bool {
        // SAFETY: the struct's invariant.
        let mark = unsafe { z::inflateMark(&raw const *self.stream) };
        // Upper half: bits used of the symbol that is being read, -1 outside of Huffman codes; lower half: bytes of it that
        // are out already. (Only a 0 is to be relied on: zlib-rs 0.6.8 forgets to count a distance's code.)
        mark == 0
    }

    /// Inflates as much as input and spare capacity of `output` allow, or up to `stop_at`; appends to `output`, at most
    /// `limit` bytes.
    pub(super) fn inflate(
        &mut self,
        input: &[u8],
        output: &mut Vec<u8>,
        limit: usize,
        stop_at: StopAt,
    ) -> Result<Progress, BadDeflate> {
        let input = &input[..input.len().min(MAX_CALL)];
        let start = output.len();
        let spare: &mut [MaybeUninit<u8>] = output.spare_capacity_mut();
        let room = spare.len().min(limit).min(MAX_CALL);
        let stream = &raw mut *self.stream;
        // SAFETY: next_in/avail_in describe `input` and next_out/avail_out a part of `spare`, both valid for this call;
        // inflate reads only the former, and writes (never reads before that) only the latter. Both counts are lowered by
        // what was really read and written, so `start + produced` bytes of `output` are initialised.
        let (code, consumed, produced) = unsafe {
            (*stream).next_in = input.as_ptr().cast_mut();
            (*stream).avail_in = input.len() as z::uInt;
            (*stream).next_out = spare.as_mut_ptr().cast();
            (*stream).avail_out = room as z::uInt;
            let code = z::inflate(stream, stop_at as c_int);
            let produced = room - (*stream).avail_out as usize;
            output.set_len(start + produced);
            (code, input.len() - (*stream).avail_in as usize, produced)
        };
        let state = self.stream.data_type;
        let at = match code {
            z::Z_STREAM_END => At::End,
            z::Z_OK | z::Z_BUF_ERROR => match state & (BOUNDARY | LAST_BLOCK | HEADER) {
                BOUNDARY => At::Boundary,
                flags if flags & HEADER != 0 => At::Symbols,
                _ => At::Middle,
            },
            _ => return Err(BadDeflate(self.message())),
        };
        Ok(Progress { consumed, produced, at, unused_bits: (state & UNUSED_BITS) as u32 })
    }

    fn message(&self) -> &'static str {
        let message = self.stream.msg;
        if message.is_null() {
            return "invalid deflate stream";
        }
        // SAFETY: zlib's messages are static, NUL-terminated strings.
        unsafe { std::ffi::CStr::from_ptr(message) }.to_str().unwrap_or("invalid deflate stream")
    }
}

impl Drop for RawInflate {
    fn drop(&mut self) {
        // SAFETY: the struct's invariant; nobody uses `stream` after this.
        unsafe { z::inflateEnd(&raw mut *self.stream) };
    }
}

/// Negative: no zlib or gzip wrapper.
const RAW_WINDOW_BITS: c_int = -15;

/// Longest input and output of one call: zlib's counts are 32 bits wide.
const MAX_CALL: usize = 1 << 30;

/// `z_stream.data_type` after a call, see zlib.h under `inflate`.
const UNUSED_BITS: c_int = 63;
const LAST_BLOCK: c_int = 64;
const BOUNDARY: c_int = 128;
const HEADER: c_int = 256;

#[cfg(test)]
mod tests {
    use super::*;

    /// Fixed Huffman: "aaaaaaaaaa" as one literal and one match of length 9, distance 1.
    const TEN_A: &[u8] = &[0x4b, 0x84, 0x03, 0x00];

    #[test]
    fn inflates_and_ends() {
        let mut out = Vec::with_capacity(64);
        let progress = RawInflate::new().inflate(TEN_A, &mut out, usize::MAX, StopAt::End).unwrap();
        assert_eq!((out.as_slice(), progress.consumed, progress.at), (&b"aaaaaaaaaa"[..], 4, At::End));
    }

    #[test]
    fn limits_are_kept_and_nothing_before_them_is_touched() {
        let mut out = Vec::with_capacity(64);
        out.push(b'x');
        let progress = RawInflate::new().inflate(TEN_A, &mut out, 3, StopAt::End).unwrap();
        assert_eq!((out.as_slice(), progress.produced, progress.at), (&b"xaaa"[..], 3, At::Middle));
        let mut full = Vec::new();
        let progress = RawInflate::new().inflate(TEN_A, &mut full, usize::MAX, StopAt::End).unwrap();
        assert_eq!(progress.produced, 0);
    }

    #[test]
    fn a_reference_to_before_the_window_is_an_error() {
        // A fixed block: match of length 3 at distance 1, right at the start.
        let bits = [0x03, 0x02, 0x00];
        let mut raw = RawInflate::new();
        let mut out = Vec::with_capacity(64);
        assert_eq!(
            raw.inflate(&bits, &mut out, usize::MAX, StopAt::End).unwrap_err(),
            BadDeflate("invalid distance too far back")
        );
        raw.reset();
        raw.set_window(b"q");
        out.clear();
        raw.inflate(&bits, &mut out, usize::MAX, StopAt::End).unwrap();
        assert_eq!(out, b"qqq");
    }
}

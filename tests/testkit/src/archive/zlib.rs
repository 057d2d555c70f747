//! zlib (in Rust) as an oracle: what it makes of a deflate stream, and streams of its making.

use libz_rs_sys as z;
use std::ffi::{CStr, c_int};
use std::mem::size_of;

/// How a stream ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// With its last block, which ends in this many bytes.
    Complete(usize),
    /// All input is used up.
    Truncated,
    Bad(String),
}

/// What a stream holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inflated {
    pub plain: Vec<u8>,
    pub end: End,
    /// Between two blocks each: bits and plain bytes before it.
    pub boundaries: Vec<(u64, u64)>,
}

/// An inflating zlib stream, for raw deflate.
pub struct Inflater(Box<z::z_stream>);

impl Inflater {
    pub fn new() -> Self {
        let mut stream = Box::<z::z_stream>::default();
        // SAFETY: a default stream is what inflateInit2_ expects; version and size are the
        // library's own.
        let code =
            unsafe { z::inflateInit2_(&raw mut *stream, -15, z::zlibVersion(), size_of::<z::z_stream>() as c_int) };
        assert_eq!(code, z::Z_OK);
        Self(stream)
    }

    /// Returns zlib's code, and how many bytes it used and made.
    pub fn inflate(&mut self, input: &[u8], output: &mut [u8], flush: c_int) -> (c_int, usize, usize) {
        let stream = &mut *self.0;
        stream.next_in = input.as_ptr().cast_mut();
        stream.avail_in = input.len() as z::uInt;
        stream.next_out = output.as_mut_ptr();
        stream.avail_out = output.len() as z::uInt;
        // SAFETY: the stream was set up by inflateInit2_, and its buffers are the two slices.
        let code = unsafe { z::inflate(stream, flush) };
        (code, input.len() - stream.avail_in as usize, output.len() - stream.avail_out as usize)
    }

    fn message(&self) -> String {
        // SAFETY: zlib's messages are static, NUL-terminated strings; there is one after a data
        // error.
        unsafe { CStr::from_ptr(self.0.msg) }.to_string_lossy().into_owned()
    }
}

impl Drop for Inflater {
    fn drop(&mut self) {
        // SAFETY: the stream was set up by inflateInit2_ and is not used any more.
        unsafe { z::inflateEnd(&raw mut *self.0) };
    }
}

/// Inflates, stopping at each block.
pub fn inflate(deflate: &[u8]) -> Inflated {
    let mut inflater = Inflater::new();
    let (mut plain, mut boundaries) = (Vec::new(), Vec::new());
    let mut buffer = vec![0; 64 << 10];
    let mut used = 0;
    let end = loop {
        let (code, consumed, produced) = inflater.inflate(&deflate[used..], &mut buffer, z::Z_BLOCK);
        used += consumed;
        plain.extend_from_slice(&buffer[..produced]);
        let state = inflater.0.data_type;
        match code {
            z::Z_STREAM_END => break End::Complete(used),
            z::Z_OK | z::Z_BUF_ERROR if state & 128 != 0 && state & 64 == 0 => {
                let boundary = (used as u64 * 8 - (state & 63) as u64, plain.len() as u64);
                // Without input it stays at one.
                if boundaries.last() == Some(&boundary) && used == deflate.len() {
                    break End::Truncated;
                }
                boundaries.push(boundary);
            }
            z::Z_OK | z::Z_BUF_ERROR if consumed == 0 && produced == 0 => break End::Truncated,
            z::Z_OK | z::Z_BUF_ERROR => {}
            z::Z_DATA_ERROR => break End::Bad(inflater.message()),
            other => panic!("zlib says {other}"),
        }
    };
    Inflated { plain, end, boundaries }
}

/// Deflates; `next` tells how many bytes to take next, and how to flush behind them.
pub fn deflate(plain: &[u8], level: c_int, strategy: c_int, mut next: impl FnMut() -> (usize, c_int)) -> Vec<u8> {
    let mut stream = z::z_stream::default();
    let size = size_of::<z::z_stream>() as c_int;
    // SAFETY: a default stream is what deflateInit2_ expects; version and size are the library's
    // own.
    let code =
        unsafe { z::deflateInit2_(&raw mut stream, level, z::Z_DEFLATED, -15, 8, strategy, z::zlibVersion(), size) };
    assert_eq!(code, z::Z_OK);
    let mut out = Vec::new();
    let mut buffer = vec![0; plain.len() * 2 + 1000];
    let mut rest = plain;
    loop {
        let (count, flush) = next();
        let (piece, more) = rest.split_at(count.min(rest.len()));
        rest = more;
        let flush = if rest.is_empty() { z::Z_FINISH } else { flush };
        stream.next_in = piece.as_ptr().cast_mut();
        stream.avail_in = piece.len() as z::uInt;
        stream.next_out = buffer.as_mut_ptr();
        stream.avail_out = buffer.len() as z::uInt;
        // SAFETY: the stream was set up by deflateInit2_, and its buffers are the two slices.
        let code = unsafe { z::deflate(&raw mut stream, flush) };
        // Of an empty piece there is nothing to do.
        let is_good = [z::Z_OK, z::Z_STREAM_END].contains(&code) || piece.is_empty() && code == z::Z_BUF_ERROR;
        assert!(is_good && stream.avail_in == 0 && stream.avail_out > 0);
        out.extend_from_slice(&buffer[..buffer.len() - stream.avail_out as usize]);
        if code == z::Z_STREAM_END {
            break;
        }
    }
    // SAFETY: the stream was set up by deflateInit2_ and is not used any more.
    unsafe { z::deflateEnd(&raw mut stream) };
    out
}

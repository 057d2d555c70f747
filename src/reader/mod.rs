//! Fetches, decrypts, inflates and verifies each archive once for everybody who waits for it.

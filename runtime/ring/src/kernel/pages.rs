//! Large pages for large buffers, where the system gives them on request.
//!
//! A polynomial of 18 MB spans thousands of small pages, and prefetchers stop at their ends.

/// Shorter buffers have no whole large page.
const BYTES_MIN: usize = 1 << 22;

/// Asks for large pages behind a buffer. A refusal costs nothing but speed.
#[cfg(target_os = "linux")]
pub(crate) fn prefer_large(words: &mut [u64]) {
    const PAGE_BYTES: usize = 4096;
    let bytes = size_of_val(words);
    let before = words.as_ptr().addr().wrapping_neg() % PAGE_BYTES;
    if bytes < BYTES_MIN {
        return;
    }
    let start = words.as_mut_ptr().cast::<u8>().wrapping_add(before);
    let whole = (bytes - before) & !(PAGE_BYTES - 1);
    // SAFETY: the range of whole pages lies within the buffer, and this advice changes no content.
    let _ = unsafe { libc::madvise(start.cast(), whole, libc::MADV_HUGEPAGE) };
}

/// Other systems choose by themselves.
#[cfg(not(target_os = "linux"))]
pub(crate) fn prefer_large(words: &mut [u64]) {
    let _ = (words, BYTES_MIN);
}

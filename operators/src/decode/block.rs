//! Sixteen bytes of a JSON string at once.
//!
//! Safety: the only unsafe here is to call SSE2 intrinsics. They need a processor that has SSE2, and the
//! `cfg` lets this be compiled only for targets that promise it (every x86-64 does). None of them takes a
//! pointer: the bytes come in as integers.
#![allow(unsafe_code)]

/// The place of the first quote, backslash or control character.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
#[inline]
pub(super) fn string_stop(block: &[u8; 16]) -> Option<usize> {
    use std::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x,
        _mm_set1_epi8,
    };
    let bits = u128::from_le_bytes(*block);
    // SAFETY: SSE2 is there, see the module's documentation.
    let mask = unsafe {
        let block = _mm_set_epi64x((bits >> 64) as i64, bits as i64);
        let quote = _mm_cmpeq_epi8(block, _mm_set1_epi8(b'"' as i8));
        let backslash = _mm_cmpeq_epi8(block, _mm_set1_epi8(b'\\' as i8));
        let control = _mm_cmpeq_epi8(_mm_min_epu8(block, _mm_set1_epi8(0x1f)), block);
        _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, backslash), control))
    };
    (mask != 0).then(|| mask.trailing_zeros() as usize)
}

/// The place of the first quote, backslash or control character.
#[cfg(not(all(target_arch = "x86_64", target_feature = "sse2")))]
#[inline]
pub(super) fn string_stop(block: &[u8; 16]) -> Option<usize> {
    block
        .iter()
        .position(|&byte| byte == b'"' || byte == b'\\' || byte < b' ')
}

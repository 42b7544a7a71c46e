//! Atomics, fences, and the copy of bytes that another process may be writing.
//!
//! All shared state of the crate goes through this file, so that one switch (`--cfg loom`) puts the model checker's
//! types below the whole protocol.
//!
//! A reader may copy a row while its block is being reused; it finds out afterwards, by the block's generation, and
//! throws the copy away. A plain `memcpy` would be undefined behaviour at that moment, and relaxed word atomics reach a
//! third of the memory's bandwidth. On x86-64 the copy is therefore a vector loop in inline assembly, which the compiler
//! must treat as opaque; elsewhere it is relaxed 8-byte atomics.

#[cfg(loom)]
pub use loom::sync::atomic::{AtomicU64, Ordering, fence};
#[cfg(not(loom))]
pub use std::sync::atomic::{AtomicU64, Ordering, fence};

/// Copies `length` bytes that others may be writing (or reading) at the same time.
///
/// The bytes copied are unspecified where a racing write hit; the caller must detect that and discard them.
///
/// # Safety
///
/// `source` is readable and `target` writable for `length` bytes, and the two don't overlap.
#[cfg(not(loom))]
#[inline]
pub unsafe fn racing_copy(source: *const u8, target: *mut u8, length: usize) {
    // SAFETY: the caller's promise, passed on.
    unsafe {
        match length {
            8 => copy_word::<u64>(source, target),
            4 => copy_word::<u32>(source, target),
            1 => copy_word::<u8>(source, target),
            2 => copy_word::<u16>(source, target),
            _ => copy_long(source, target, length),
        }
    }
}

/// Moves one word in a single instruction where the platform allows unaligned words.
///
/// # Safety
///
/// As [`racing_copy`], for the size of `T`.
#[cfg(all(not(loom), target_arch = "x86_64"))]
#[inline]
unsafe fn copy_word<T: Word>(source: *const u8, target: *mut u8) {
    // SAFETY: the caller's promise.
    unsafe { T::copy(source, target) }
}

/// A word that inline assembly can move.
#[cfg(all(not(loom), target_arch = "x86_64"))]
trait Word {
    /// # Safety
    ///
    /// As [`racing_copy`].
    unsafe fn copy(source: *const u8, target: *mut u8);
}

#[cfg(all(not(loom), target_arch = "x86_64"))]
macro_rules! word {
    ($($type:ty, $class:ident, $load:literal, $store:literal);*) => {$(
        impl Word for $type {
            #[inline]
            unsafe fn copy(source: *const u8, target: *mut u8) {
                // SAFETY: one load and one store inside the ranges the caller vouches for.
                unsafe {
                    std::arch::asm!(
                        $load, $store,
                        source = in(reg) source, target = in(reg) target, value = out($class) _,
                        options(nostack, preserves_flags),
                    );
                }
            }
        }
    )*};
}

#[cfg(all(not(loom), target_arch = "x86_64"))]
word! {
    u64, reg, "mov {value}, [{source}]", "mov [{target}], {value}";
    u32, reg, "mov {value:e}, [{source}]", "mov [{target}], {value:e}";
    u16, reg, "movzx {value:e}, word ptr [{source}]", "mov [{target}], {value:x}";
    u8, reg_byte, "mov {value}, [{source}]", "mov [{target}], {value}"
}

/// The vector loop: 64 bytes a turn, then 16, then what is left, by its bits.
///
/// # Safety
///
/// As [`racing_copy`].
#[cfg(all(not(loom), target_arch = "x86_64"))]
#[inline]
unsafe fn copy_long(source: *const u8, target: *mut u8, length: usize) {
    // SAFETY: the loops touch exactly `length` bytes from both pointers; SSE2 is part of x86-64.
    unsafe {
        std::arch::asm!(
            "sub {length}, 64",
            "jb 3f",
            "2:",
            "movups {a}, [{source}]",
            "movups {b}, [{source} + 16]",
            "movups {c}, [{source} + 32]",
            "movups {d}, [{source} + 48]",
            "movups [{target}], {a}",
            "movups [{target} + 16], {b}",
            "movups [{target} + 32], {c}",
            "movups [{target} + 48], {d}",
            "add {source}, 64",
            "add {target}, 64",
            "sub {length}, 64",
            "jae 2b",
            "3:",
            "add {length}, 48",
            "jnc 5f",
            "4:",
            "movups {a}, [{source}]",
            "movups [{target}], {a}",
            "add {source}, 16",
            "add {target}, 16",
            "sub {length}, 16",
            "jae 4b",
            "5:",
            "test {length:l}, 8",
            "jz 6f",
            "mov {word}, [{source}]",
            "mov [{target}], {word}",
            "add {source}, 8",
            "add {target}, 8",
            "6:",
            "test {length:l}, 4",
            "jz 7f",
            "mov {word:e}, [{source}]",
            "mov [{target}], {word:e}",
            "add {source}, 4",
            "add {target}, 4",
            "7:",
            "test {length:l}, 2",
            "jz 8f",
            "movzx {word:e}, word ptr [{source}]",
            "mov [{target}], {word:x}",
            "add {source}, 2",
            "add {target}, 2",
            "8:",
            "test {length:l}, 1",
            "jz 9f",
            "movzx {word:e}, byte ptr [{source}]",
            "mov [{target}], {word:l}",
            "9:",
            source = inout(reg) source => _,
            target = inout(reg) target => _,
            length = inout(reg) length => _,
            word = out(reg) _,
            a = out(xmm_reg) _, b = out(xmm_reg) _, c = out(xmm_reg) _, d = out(xmm_reg) _,
            options(nostack),
        );
    }
}

/// The same with vectors of 32 bytes, 128 bytes a turn; what is left takes the narrow way.
///
/// # Safety
///
/// As [`racing_copy`], on a processor with AVX.
#[cfg(all(not(loom), target_arch = "x86_64"))]
#[target_feature(enable = "avx")]
#[inline]
pub unsafe fn racing_copy_wide(source: *const u8, target: *mut u8, length: usize) {
    let whole = length & !127;
    // SAFETY: the loop touches exactly `whole` bytes from both pointers, which is no more than `length`.
    unsafe {
        if whole > 0 {
            std::arch::asm!(
                "2:",
                "vmovdqu {a}, [{source}]",
                "vmovdqu {b}, [{source} + 32]",
                "vmovdqu {c}, [{source} + 64]",
                "vmovdqu {d}, [{source} + 96]",
                "vmovdqu [{target}], {a}",
                "vmovdqu [{target} + 32], {b}",
                "vmovdqu [{target} + 64], {c}",
                "vmovdqu [{target} + 96], {d}",
                "sub {source}, -128",
                "sub {target}, -128",
                "add {left}, -128",
                "jnz 2b",
                source = inout(reg) source => _,
                target = inout(reg) target => _,
                left = inout(reg) whole => _,
                a = out(ymm_reg) _, b = out(ymm_reg) _, c = out(ymm_reg) _, d = out(ymm_reg) _,
                options(nostack),
            );
        }
        if whole < length {
            racing_copy(source.add(whole), target.add(whole), length - whole);
        }
    }
}

/// Portable version: relaxed atomics, whole words of the shared side where alignment allows it.
///
/// # Safety
///
/// As [`racing_copy`].
#[cfg(all(not(loom), not(target_arch = "x86_64")))]
unsafe fn copy_long(source: *const u8, target: *mut u8, length: usize) {
    use std::sync::atomic::AtomicU8;
    let mut done = 0;
    // SAFETY: every access lies inside the caller's ranges; words are used only where both sides are aligned.
    unsafe {
        while done + 8 <= length
            && source.add(done).addr().is_multiple_of(8)
            && target.add(done).addr().is_multiple_of(8)
        {
            let value = (*source.add(done).cast::<AtomicU64>()).load(Ordering::Relaxed);
            (*target.add(done).cast::<AtomicU64>()).store(value, Ordering::Relaxed);
            done += 8;
        }
        while done < length {
            let value = (*source.add(done).cast::<AtomicU8>()).load(Ordering::Relaxed);
            (*target.add(done).cast::<AtomicU8>()).store(value, Ordering::Relaxed);
            done += 1;
        }
    }
}

/// # Safety
///
/// As [`racing_copy`], for the size of `T`.
#[cfg(all(not(loom), not(target_arch = "x86_64")))]
unsafe fn copy_word<T>(source: *const u8, target: *mut u8) {
    // SAFETY: the caller's promise.
    unsafe { copy_long(source, target, size_of::<T>()) }
}

/// Asks the processor to load the cache lines of a range soon. Never faults.
#[cfg(not(loom))]
#[inline]
pub fn prefetch(start: *const u8, length: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        let end = start.wrapping_add(length);
        // From the first line's start on, or a range that straddles one more line would lose its end.
        let mut line = start.wrapping_sub(start.addr() % 64);
        while line < end {
            // SAFETY: a prefetch is a hint; it can't fault on any address.
            unsafe {
                std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(line.cast());
            }
            line = line.wrapping_add(64);
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (start, length);
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::racing_copy;

    fn check(copy: impl Fn(*const u8, *mut u8, usize)) {
        let source: Vec<u8> = (0..400_u32).map(|value| (value * 7 % 251) as u8).collect();
        for length in 0..300 {
            for shift in 0..9 {
                let mut target = vec![0xEE_u8; 400];
                // Both vectors hold 400 bytes; shift + length + 3 stays below.
                copy(source[shift..].as_ptr(), target[3..].as_mut_ptr(), length);
                assert_eq!(target[3..3 + length], source[shift..shift + length]);
                assert!(
                    target[..3]
                        .iter()
                        .chain(&target[3 + length..])
                        .all(|&byte| byte == 0xEE)
                );
            }
        }
    }

    #[test]
    fn copies_every_length_and_alignment_exactly() {
        // SAFETY: `check` gives ranges inside of its vectors.
        check(|source, target, length| unsafe { racing_copy(source, target, length) });
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx") {
            // SAFETY: as above, and the processor has AVX.
            check(|source, target, length| unsafe {
                super::racing_copy_wide(source, target, length);
            });
        }
    }
}

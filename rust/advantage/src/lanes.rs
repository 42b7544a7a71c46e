//! Sums in a fixed order, and code compiled twice: for every processor, and for those with AVX2.
//!
//! A sum over n elements goes into [`LANES`] partial sums, element i into lane i mod 8, each in rising order; then
//! [`fold`] adds the lanes in one fixed tree. Nothing of this depends on the processor, the number of threads or the
//! neighbours of a group, so neither does any bit of a result. Multiplications and additions are never fused.

/// Partial sums of a reduction.
pub(crate) const LANES: usize = 8;

/// Adds partial sums: halves, quarters, eighths, as vector registers do it.
#[inline(always)]
pub(crate) fn fold(lanes: [f64; LANES]) -> f64 {
    let halves = [
        lanes[0] + lanes[4],
        lanes[1] + lanes[5],
        lanes[2] + lanes[6],
        lanes[3] + lanes[7],
    ];
    (halves[0] + halves[2]) + (halves[1] + halves[3])
}

/// Defines a function that runs `$body` compiled for AVX2 where the processor has it.
///
/// `$body` and all that it calls must be `#[inline(always)]`, so that the whole of it is compiled for the wider
/// registers. Both versions are the same operations in the same order on the same values.
macro_rules! for_widest_registers {
    ($(#[$attribute:meta])* fn $name:ident<$T:ident $(, const $C:ident: $K:ty)?>($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)? = $body:ident) => {
        $(#[$attribute])*
        fn $name<$T: $crate::real::Real $(, const $C: $K)?>($($argument: $type),*) $(-> $result)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2")]
                fn wide<$T: $crate::real::Real $(, const $C: $K)?>($($argument: $type),*) $(-> $result)? {
                    $body::<$T $(, $C)?>($($argument),*)
                }
                if std::arch::is_x86_feature_detected!("avx2") {
                    // SAFETY: the processor has AVX2, the only thing that `wide` asks for.
                    return unsafe { wide::<$T $(, $C)?>($($argument),*) };
                }
            }
            $body::<$T $(, $C)?>($($argument),*)
        }
    };
}
pub(crate) use for_widest_registers;

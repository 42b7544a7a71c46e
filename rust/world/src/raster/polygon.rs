//! Filling convex polygons, row by row.

/// Calls `span(row, from, to)` for every row of `size` (width, height) with pixels whose centre lies inside a convex
/// polygon; `from..to` are their columns. Corners are in pixels, in order around the polygon, either way.
pub fn fill<const N: usize>(
    corners: &[[f32; 2]; N],
    size: [usize; 2],
    mut span: impl FnMut(usize, usize, usize),
) {
    let [mut top, mut bottom] = [f32::INFINITY, f32::NEG_INFINITY];
    for &[x, y] in corners {
        if !(x.is_finite() && y.is_finite()) {
            return;
        }
        top = top.min(y);
        bottom = bottom.max(y);
    }
    // Float to integer conversions saturate, so far-off corners end at the border.
    let first = (top - 0.5).ceil().max(0.0) as usize;
    let end = ((bottom - 0.5).ceil().max(0.0) as usize).min(size[1]);
    for row in first..end {
        let y = row as f32 + 0.5;
        let [mut left, mut right] = [f32::INFINITY, f32::NEG_INFINITY];
        for index in 0..N {
            let [x0, y0] = corners[index];
            let [x1, y1] = corners[(index + 1) % N];
            // Half open, so that a corner on the row's centre counts once.
            if (y0 <= y) != (y1 <= y) {
                let x = x0 + (x1 - x0) * (y - y0) / (y1 - y0);
                left = left.min(x);
                right = right.max(x);
            }
        }
        let from = (left - 0.5).ceil().max(0.0) as usize;
        let to = ((right - 0.5).ceil().max(0.0) as usize).min(size[0]);
        if from < to {
            span(row, from, to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::OrientedBox;
    use proptest::prelude::*;

    proptest! {
        /// Oracle: every pixel's centre against the box.
        #[test]
        fn exactly_the_centres_inside_are_filled(
            x in -5.0_f32..25.0, y in -5.0_f32..25.0, yaw in -4.0_f32..4.0,
            length in 0.3_f32..9.0, width in 0.3_f32..4.0,
        ) {
            let shape = OrientedBox::new(x, y, yaw, length, width);
            let mut seen = [[false; 20]; 16];
            fill(&shape.corners(), [20, 16], |row, from, to| seen[row][from..to].fill(true));
            for (row, line) in seen.iter().enumerate() {
                for (column, &is_filled) in line.iter().enumerate() {
                    let (dx, dy) = (column as f32 + 0.5 - x, row as f32 + 0.5 - y);
                    let along = (dx * shape.heading.0 + dy * shape.heading.1).abs() - length;
                    let across = (dy * shape.heading.0 - dx * shape.heading.1).abs() - width;
                    let beyond = along.max(across);
                    // On the very border rounding decides.
                    prop_assert!(beyond.abs() < 1e-3 || is_filled == (beyond < 0.0), "{row} {column}");
                }
            }
        }
    }

    #[test]
    fn corners_that_are_no_numbers_or_far_off_paint_nothing() {
        for corner in [f32::NAN, f32::INFINITY, 1e30] {
            let corners = [[corner, 1.0], [corner, 2.0], [corner, 3.0], [corner, 2.0]];
            fill(&corners, [20, 16], |_, _, _| panic!("painted"));
        }
    }
}

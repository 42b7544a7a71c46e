//! Plane geometry: angles and oriented boxes.

use std::f32::consts::{PI, TAU};

/// The angle in (-pi, pi] that differs from `angle_rad` by whole turns.
pub fn wrap_angle(angle_rad: f32) -> f32 {
    if angle_rad > -PI && angle_rad <= PI {
        return angle_rad;
    }
    let turned = angle_rad % TAU;
    if turned > PI {
        turned - TAU
    } else if turned <= -PI {
        turned + TAU
    } else {
        turned
    }
}

/// A heading beside `yaw_rad`, in [-pi, pi], that keeps its bits when it is sent as f32 degrees and read back.
///
/// Simulators take headings in degrees. Started elsewhere by a bit, the same car is tenths of a millimetre aside after a
/// kilometre, because every later rounding of its place differs.
pub fn as_sent_in_degrees(yaw_rad: f32) -> f32 {
    let read = |sent_rad: f32| wrap_angle(sent_rad.to_degrees().to_radians());
    // Every f32 in the range comes to rest within two rounds (all of them were tried).
    read(read(yaw_rad))
}

/// A rectangle in the plane.
#[derive(Debug, Clone, Copy)]
pub struct OrientedBox {
    /// Centre, metres.
    pub x: f32,
    /// Centre, metres.
    pub y: f32,
    /// Cosine and sine of the heading.
    pub heading: (f32, f32),
    /// Half the length, along the heading, metres.
    pub half_length_m: f32,
    /// Half the width, metres.
    pub half_width_m: f32,
}

impl OrientedBox {
    /// A box from its heading angle.
    pub fn new(x: f32, y: f32, yaw_rad: f32, half_length_m: f32, half_width_m: f32) -> Self {
        let heading = (libm::cosf(yaw_rad), libm::sinf(yaw_rad));
        Self {
            x,
            y,
            heading,
            half_length_m,
            half_width_m,
        }
    }

    /// The four corners, in order around the box.
    pub fn corners(&self) -> [[f32; 2]; 4] {
        let (along_x, along_y) = (
            self.heading.0 * self.half_length_m,
            self.heading.1 * self.half_length_m,
        );
        let (across_x, across_y) = (
            -self.heading.1 * self.half_width_m,
            self.heading.0 * self.half_width_m,
        );
        [(1.0, 1.0), (1.0, -1.0), (-1.0, -1.0), (-1.0, 1.0)].map(|(along, across)| {
            [
                self.x + along * along_x + across * across_x,
                self.y + along * along_y + across * across_y,
            ]
        })
    }

    /// Half the box's extent along a unit direction.
    fn reach(&self, axis: (f32, f32)) -> f32 {
        let along = self.heading.0 * axis.0 + self.heading.1 * axis.1;
        let across = self.heading.0 * axis.1 - self.heading.1 * axis.0;
        self.half_length_m * along.abs() + self.half_width_m * across.abs()
    }

    /// Whether two boxes overlap (separating axes; touching counts).
    pub fn overlaps(&self, other: &Self) -> bool {
        let (dx, dy) = (other.x - self.x, other.y - self.y);
        let reach =
            self.half_length_m + self.half_width_m + other.half_length_m + other.half_width_m;
        if dx * dx + dy * dy > reach * reach {
            return false;
        }
        let axes = [
            self.heading,
            (-self.heading.1, self.heading.0),
            other.heading,
            (-other.heading.1, other.heading.0),
        ];
        axes.iter()
            .all(|&axis| (dx * axis.0 + dy * axis.1).abs() <= self.reach(axis) + other.reach(axis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn contains(outer: &OrientedBox, x: f32, y: f32) -> bool {
        let (dx, dy) = (x - outer.x, y - outer.y);
        let along = dx * outer.heading.0 + dy * outer.heading.1;
        let across = dy * outer.heading.0 - dx * outer.heading.1;
        along.abs() <= outer.half_length_m && across.abs() <= outer.half_width_m
    }

    proptest! {
        #[test]
        fn wrapped_angles_keep_their_direction(angle in -100.0_f32..100.0) {
            let wrapped = wrap_angle(angle);
            prop_assert!(wrapped > -PI && wrapped <= PI);
            prop_assert!((libm::cosf(wrapped) - libm::cosf(angle)).abs() < 1e-4);
            prop_assert!((libm::sinf(wrapped) - libm::sinf(angle)).abs() < 1e-4);
        }

        #[test]
        fn a_heading_keeps_its_bits_through_degrees(angle in -PI..=PI) {
            let sent = as_sent_in_degrees(angle);
            prop_assert_eq!(wrap_angle(sent.to_degrees().to_radians()), sent);
            prop_assert!(wrap_angle(sent - angle).abs() < 1e-6);
        }

        /// Oracle: a fine grid of points of one box tested against the other.
        #[test]
        fn overlap_agrees_with_sampled_points(
            x in -6.0_f32..6.0, y in -6.0_f32..6.0, first in -4.0_f32..4.0, second in -4.0_f32..4.0,
        ) {
            let one = OrientedBox::new(0.0, 0.0, first, 2.45, 1.06);
            let two = OrientedBox::new(x, y, second, 2.3, 0.97);
            let steps = 60;
            let shared = (0..=steps).any(|i| (0..=steps).any(|j| {
                let along = (2.0 * i as f32 / steps as f32 - 1.0) * two.half_length_m;
                let across = (2.0 * j as f32 / steps as f32 - 1.0) * two.half_width_m;
                contains(
                    &one,
                    two.x + along * two.heading.0 - across * two.heading.1,
                    two.y + along * two.heading.1 + across * two.heading.0,
                )
            }));
            prop_assert_eq!(one.overlaps(&two), two.overlaps(&one));
            if shared {
                prop_assert!(one.overlaps(&two));
            }
            // A box a little smaller must be free wherever no sample of the larger one was shared.
            let smaller = OrientedBox { half_length_m: 2.2, half_width_m: 0.87, ..two };
            if !shared {
                let inner = OrientedBox { half_length_m: 2.35, half_width_m: 0.96, ..one };
                prop_assert!(!inner.overlaps(&smaller));
            }
        }
    }
}

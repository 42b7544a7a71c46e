//! Places and orientations in CARLA's frame: metres and degrees, x forward, y to the right, z up.

use crate::geometry::wrap_angle;

/// Three components, in CARLA's frame.
pub type Vector = [f32; 3];

/// Pitch (up), yaw (clockwise from above) and roll, degrees. Applied to a vector in the order roll, pitch, yaw.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rotation {
    /// Nose up.
    pub pitch_deg: f32,
    /// Clockwise seen from above.
    pub yaw_deg: f32,
    /// Right side down.
    pub roll_deg: f32,
}

/// A place and an orientation.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Transform {
    /// Metres.
    pub location: Vector,
    /// Degrees.
    pub rotation: Rotation,
}

/// The angle in (-180, 180] that differs by whole turns. An angle that lies there already keeps its bits, so
/// that a pose comes back exactly as it was given.
pub fn wrap_degrees(angle_deg: f32) -> f32 {
    if angle_deg > -180.0 && angle_deg <= 180.0 {
        return angle_deg;
    }
    let turned = angle_deg % 360.0;
    if turned > 180.0 {
        turned - 360.0
    } else if turned <= -180.0 {
        turned + 360.0
    } else {
        turned
    }
}

impl Rotation {
    /// A heading on level ground.
    pub fn level(yaw_deg: f32) -> Self {
        Self {
            yaw_deg: wrap_degrees(yaw_deg),
            ..Self::default()
        }
    }

    /// Every angle in (-180, 180].
    #[must_use]
    pub fn wrapped(self) -> Self {
        Self {
            pitch_deg: wrap_degrees(self.pitch_deg),
            yaw_deg: wrap_degrees(self.yaw_deg),
            roll_deg: wrap_degrees(self.roll_deg),
        }
    }

    /// Heading, radians in (-pi, pi].
    pub fn yaw_rad(&self) -> f32 {
        wrap_angle(self.yaw_deg.to_radians())
    }

    /// Cosine and sine of the heading.
    pub fn heading(&self) -> (f32, f32) {
        let yaw = self.yaw_deg.to_radians();
        (libm::cosf(yaw), libm::sinf(yaw))
    }

    /// The three axes of the rotated frame: forward, right, up.
    pub fn axes(&self) -> [Vector; 3] {
        let sine_cosine = |angle_deg: f32| {
            let angle = angle_deg.to_radians();
            (libm::sinf(angle), libm::cosf(angle))
        };
        let ((sp, cp), (sy, cy), (sr, cr)) = (
            sine_cosine(self.pitch_deg),
            sine_cosine(self.yaw_deg),
            sine_cosine(self.roll_deg),
        );
        [
            [cp * cy, cp * sy, sp],
            [cy * sp * sr - sy * cr, sy * sp * sr + cy * cr, -cp * sr],
            [-cy * sp * cr - sy * sr, -sy * sp * cr + cy * sr, cp * cr],
        ]
    }

    fn from_axes([forward, right, up]: [Vector; 3]) -> Self {
        Self {
            pitch_deg: libm::asinf(forward[2].clamp(-1.0, 1.0)).to_degrees(),
            yaw_deg: libm::atan2f(forward[1], forward[0]).to_degrees(),
            roll_deg: libm::atan2f(-right[2], up[2]).to_degrees(),
        }
    }

    /// A vector of the rotated frame, in the outer frame.
    pub fn rotate(&self, vector: Vector) -> Vector {
        let axes = self.axes();
        std::array::from_fn(|i| (0..3).map(|axis| axes[axis][i] * vector[axis]).sum())
    }

    /// A vector of the outer frame, in the rotated frame.
    pub fn unrotate(&self, vector: Vector) -> Vector {
        self.axes().map(|axis| dot(axis, vector))
    }
}

impl Transform {
    /// A pose that is given relative to this one, in the outer frame.
    #[must_use]
    pub fn then(&self, inner: &Self) -> Self {
        let moved = self.rotation.rotate(inner.location);
        let rotation = if self.rotation.pitch_deg == 0.0 && self.rotation.roll_deg == 0.0 {
            Rotation {
                yaw_deg: self.rotation.yaw_deg + inner.rotation.yaw_deg,
                ..inner.rotation
            }
            .wrapped()
        } else {
            Rotation::from_axes(inner.rotation.axes().map(|axis| self.rotation.rotate(axis)))
        };
        Self {
            location: add(self.location, moved),
            rotation,
        }
    }
}

/// Sum.
pub fn add(one: Vector, two: Vector) -> Vector {
    std::array::from_fn(|i| one[i] + two[i])
}

/// Difference.
pub fn subtract(one: Vector, two: Vector) -> Vector {
    std::array::from_fn(|i| one[i] - two[i])
}

/// Multiple.
pub fn scale(vector: Vector, factor: f32) -> Vector {
    vector.map(|value| value * factor)
}

/// Scalar product.
pub fn dot(one: Vector, two: Vector) -> f32 {
    one[0] * two[0] + one[1] * two[1] + one[2] * two[2]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn angles() -> impl Strategy<Value = Rotation> {
        (-80.0_f32..80.0, -179.0_f32..179.0, -170.0_f32..170.0).prop_map(
            |(pitch_deg, yaw_deg, roll_deg)| Rotation {
                pitch_deg,
                yaw_deg,
                roll_deg,
            },
        )
    }

    proptest! {
        #[test]
        fn a_composed_pose_moves_points_like_both_in_turn(
            outer in angles(), inner in angles(), x in -50.0_f32..50.0, y in -50.0_f32..50.0, z in -5.0_f32..5.0,
        ) {
            let outer = Transform { location: [x, y, z], rotation: outer };
            let inner = Transform { location: [1.0, -2.0, 0.5], rotation: inner };
            let whole = outer.then(&inner);
            let point = [0.3, 0.7, -0.2];
            let inside = add(inner.location, inner.rotation.rotate(point));
            let expected = add(outer.location, outer.rotation.rotate(inside));
            let seen = add(whole.location, whole.rotation.rotate(point));
            prop_assert!((0..3).all(|i| (expected[i] - seen[i]).abs() < 1e-3), "{expected:?} {seen:?}");
        }

        #[test]
        fn unrotating_undoes_rotating(rotation in angles(), x in -9.0_f32..9.0, y in -9.0_f32..9.0) {
            let back = rotation.unrotate(rotation.rotate([x, y, 1.0]));
            prop_assert!((back[0] - x).abs() < 1e-4 && (back[1] - y).abs() < 1e-4 && (back[2] - 1.0).abs() < 1e-4);
        }

        #[test]
        fn wrapped_degrees_are_in_range_and_whole_turns_away(angle in -2000.0_f32..2000.0) {
            let wrapped = wrap_degrees(angle);
            prop_assert!(wrapped > -180.0 && wrapped <= 180.0);
            prop_assert!(((angle - wrapped) / 360.0 - ((angle - wrapped) / 360.0).round()).abs() < 1e-4);
        }
    }

    #[test]
    fn a_child_keeps_its_parents_heading_exactly() {
        let parent = Transform {
            location: [10.0, 5.0, 0.0],
            rotation: Rotation::level(90.0),
        };
        let child = Transform {
            location: [2.0, 0.0, 1.5],
            rotation: Rotation::default(),
        };
        let whole = parent.then(&child);
        assert_eq!(whole.rotation.yaw_deg, 90.0);
        assert!((whole.location[1] - 7.0).abs() < 1e-5 && (whole.location[0] - 10.0).abs() < 1e-5);
    }
}

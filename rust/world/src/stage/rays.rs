//! Rays through the stage: what they meet on their way, the ground included.

use super::Stage;
use super::contact::{Other, obstacles};
use super::ground::Footing;
use super::pose::{Vector, add, dot, scale};

/// What a ray meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The ground.
    Ground,
    /// A box.
    Box(Other),
}

/// Where a ray meets something.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// What is there.
    pub target: Target,
    /// Metres from the ray's start.
    pub distance_m: f32,
    /// Metres.
    pub location: Vector,
}

impl Stage {
    /// Everything that a ray of `reach_m` enters, the nearest first. What the ray begins in, it doesn't enter.
    ///
    /// The ground ends no ray: what lies below it is found too. A direction without a length, or with components that
    /// aren't numbers, meets nothing.
    pub fn cast(&self, from: Vector, direction: Vector, reach_m: f32) -> Vec<Hit> {
        let length = dot(direction, direction).sqrt();
        if !(length > 0.0 && length.is_finite() && from.iter().all(|value| value.is_finite())) {
            return Vec::new();
        }
        let unit = scale(direction, 1.0 / length);
        let hit = |target, distance_m| Hit {
            target,
            distance_m,
            location: add(from, scale(unit, distance_m)),
        };
        let mut hits = Vec::new();
        hits.extend(self.ground_along(from, unit, reach_m));
        let shapes = obstacles(&self.actors, &self.solids, |actor| actor.collides);
        hits.extend(shapes.filter_map(|(other, shape)| {
            let distance_m = shape.ray(from, unit, 0.0)?;
            (distance_m > 0.0 && distance_m <= reach_m).then(|| hit(Target::Box(other), distance_m))
        }));
        hits.sort_by(|one, two| one.distance_m.total_cmp(&two.distance_m));
        hits
    }

    /// Where a falling ray meets the ground.
    fn ground_along(&self, from: Vector, unit: Vector, reach_m: f32) -> Option<Hit> {
        if unit[2] >= 0.0 {
            return None;
        }
        let mut footing = Footing::default();
        let mut hit = Hit {
            target: Target::Ground,
            distance_m: 0.0,
            location: from,
        };
        // The ground is nearly level: a second look at where the ray meets the first height is enough.
        for _ in 0..3 {
            let ground_z = footing.find(&self.map, hit.location).z;
            let distance_m = (ground_z - from[2]) / unit[2];
            if !(0.0..=reach_m).contains(&distance_m) {
                return None;
            }
            let [x, y, _] = add(from, scale(unit, distance_m));
            hit = Hit {
                distance_m,
                location: [x, y, ground_z],
                ..hit
            };
        }
        Some(hit)
    }
}

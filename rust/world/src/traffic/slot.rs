//! What others must know of a vehicle, the ego included: where it is and which lanes it fills.

/// A box that reaches further than this over a line counts in the lane behind it too, metres.
const OVER_LINE_M: f32 = 0.1;

/// A stretch of road that somebody fills.
#[derive(Debug, Clone, Copy, Default)]
pub struct Slot {
    /// Station along the road, metres.
    pub station_m: f32,
    /// Metres of the lane for each metre of station: less than 1 inside a bend, more outside.
    pub stretch: f32,
    /// Half the length, metres.
    pub half_length_m: f32,
    /// Speed along the road, m/s.
    pub speed_mps: f32,
    /// Leftmost and rightmost lane it reaches into, as ranks.
    pub ranks: (u8, u8),
}

/// A place in a lane, as a slot needs it.
#[derive(Debug, Clone, Copy)]
pub struct InLane {
    /// The lane's rank, 0 for the leftmost.
    pub rank: usize,
    /// Offset from the lane's centre, metres, positive to the right.
    pub lateral_m: f32,
    /// Width of the lane, metres.
    pub width_m: f32,
    /// Curvature of the lane, 1/m, positive to the right.
    pub curvature_per_m: f32,
}

impl Slot {
    /// The slot of a box of half extents `extents_m`.
    pub fn new(station_m: f32, speed_mps: f32, extents_m: (f32, f32), place: InLane) -> Self {
        let room_m = 0.5 * place.width_m - extents_m.1 + OVER_LINE_M;
        let rank = place.rank as u8;
        let ranks = (
            rank - u8::from(place.lateral_m < -room_m && rank > 0),
            rank + u8::from(place.lateral_m > room_m),
        );
        // Stations run along the left edge of the carriageway, `from_edge_m` away.
        let from_edge_m = (place.rank as f32 + 0.5) * place.width_m;
        let stretch = 1.0 / (1.0 + place.curvature_per_m * from_edge_m).max(0.2);
        Self {
            station_m,
            stretch,
            half_length_m: extents_m.0,
            speed_mps,
            ranks,
        }
    }

    /// The slot of somebody who has left the map: behind everybody and in nobody's way.
    pub fn nowhere() -> Self {
        Self {
            station_m: f32::NEG_INFINITY,
            ..Self::default()
        }
    }

    const fn shares_a_lane_with(&self, other: &Self) -> bool {
        self.ranks.0 <= other.ranks.1 && other.ranks.0 <= self.ranks.1
    }

    /// Distance to another between the centres, along the own lane, metres.
    pub fn distance_to(&self, other: &Self) -> f32 {
        (other.station_m - self.station_m).abs() * self.stretch
    }

    /// Bumper-to-bumper distance to another, metres, negative when they overlap along the road.
    pub fn gap_to(&self, other: &Self) -> f32 {
        self.distance_to(other) - self.half_length_m - other.half_length_m
    }

    /// The nearest other ahead in a lane they share.
    pub fn leader<'a>(&self, others: impl Iterator<Item = &'a Self>) -> Option<&'a Self> {
        let mut best: Option<&Self> = None;
        for other in others {
            let is_ahead = other.station_m > self.station_m && other.shares_a_lane_with(self);
            if is_ahead && best.is_none_or(|nearest| other.station_m < nearest.station_m) {
                best = Some(other);
            }
        }
        best
    }

    /// The nearest other beside or behind in a lane they share.
    pub fn follower<'a>(&self, others: impl Iterator<Item = &'a Self>) -> Option<&'a Self> {
        let behind = others.filter(|other| {
            other.station_m <= self.station_m
                && other.station_m.is_finite()
                && other.shares_a_lane_with(self)
        });
        behind.max_by(|a, b| a.station_m.total_cmp(&b.station_m))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(station_m: f32, rank: usize, lateral_m: f32, curvature_per_m: f32) -> Slot {
        let place = InLane {
            rank,
            lateral_m,
            width_m: 3.5,
            curvature_per_m,
        };
        Slot::new(station_m, 8.0, (2.4, 1.0), place)
    }

    #[test]
    fn whoever_reaches_over_a_line_leads_in_both_lanes() {
        let own = slot(0.0, 0, 0.0, 0.0);
        let (cutting_in, ahead) = (slot(10.0, 1, -1.2, 0.0), slot(20.0, 0, 0.0, 0.0));
        let beside = slot(5.0, 1, 0.0, 0.0);
        let leader = own
            .leader([ahead, cutting_in, beside].iter())
            .unwrap()
            .station_m;
        assert_eq!(leader, 10.0);
        assert!(own.leader([beside, Slot::nowhere()].iter()).is_none());
        assert!((own.gap_to(&ahead) - 15.2).abs() < 1e-5);
    }

    /// On a right bend of radius 100 m at the left edge, the lane 8.75 m inside is shorter by 8.75 %.
    #[test]
    fn gaps_are_measured_along_the_own_lane() {
        let inside = slot(0.0, 2, 0.0, 1.0 / (100.0 - 8.75));
        let distance_m = inside.distance_to(&slot(40.0, 2, 0.0, 0.0));
        assert!((distance_m - 40.0 * 0.9125).abs() < 1e-3, "{distance_m}");
    }
}

//! Street networks: any baked map, with what traffic looks up on it.
//!
//! Everything that a step asks of the map beyond the road layer's own tables is computed once here: the
//! speed that bends and limits allow at each place, where vehicles may start, where they enter from
//! outside, and which lanes each crosswalk cuts.

use std::sync::{Arc, OnceLock};

use carla_online_roads::{LaneIndex, LaneKind, RightOfWay, RoadMap, SpawnPoint, StopLine};

use crate::config::{MapConfig, MapKind, SPAWN_CELL_M};
use crate::error::Error;
use crate::raster::RasterMap;
use crate::rng::{Purpose, Stream};
use crate::route::Route;
use crate::signals::governing;

mod choice;
pub mod drive;
pub mod junction;
mod pace;
pub mod start;
mod trip;
pub mod users;
pub mod walkers;
mod way;
pub use pace::Pace;
pub use trip::{draw_route, route_through};
pub use walkers::Walker;
pub use way::{AHEAD, NOWHERE, Way};

/// Slowing down for a stop sign, standing and driving off, seconds more than driving by.
const AT_STOP_SIGN_S: f64 = 5.0;

/// A stretch of a lane that a crosswalk cuts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cut {
    /// The crosswalk.
    pub crosswalk: u32,
    /// The lane.
    pub lane: LaneIndex,
    /// Where it begins, metres along the lane.
    pub from_m: f32,
    /// Where it ends.
    pub to_m: f32,
}

/// A map, and what is looked up on it. Immutable and shared by every episode that drives on it.
#[derive(Debug)]
pub struct Network {
    /// The map.
    pub map: Arc<RoadMap>,
    /// Places where vehicles and routes may start, one cell apart and off the ends of their lanes.
    pub places: Vec<SpawnPoint>,
    /// Lanes on which the world is entered from outside.
    pub entries: Vec<LaneIndex>,
    /// How fast bends and limits allow to drive.
    pub pace: Pace,
    /// Lanes that crosswalks cut, by crosswalk.
    pub cuts: Vec<Cut>,
    pub(crate) raster: Arc<OnceLock<RasterMap>>,
}

impl Network {
    /// The network of a baked map.
    pub fn new(map: impl Into<Arc<RoadMap>>) -> Self {
        let map = map.into();
        let entries = map.driving_lanes().filter(|&lane| is_entry(&map, lane));
        let mut cuts: Vec<Cut> = map
            .driving_lanes()
            .flat_map(|lane| {
                map.crossings(lane).iter().map(move |crossing| Cut {
                    crosswalk: crossing.crosswalk,
                    lane,
                    from_m: crossing.from_m,
                    to_m: crossing.to_m,
                })
            })
            .collect();
        cuts.sort_by_key(|cut| (cut.crosswalk, cut.lane));
        Self {
            entries: entries.collect(),
            places: map.spawn_points(SPAWN_CELL_M as f32),
            pace: Pace::new(&map),
            cuts,
            raster: Arc::default(),
            map,
        }
    }

    /// Draws a network; the same configuration and seed give the same bytes of OpenDRIVE.
    ///
    /// # Errors
    /// [`Error::Map`] if the road layer refuses it.
    pub fn draw(config: &MapConfig, seed: u64) -> Result<Self, Error> {
        let mut stream = Stream::new(seed, Purpose::MapShape, 0, 0);
        let arm_m = stream.between(config.arm_m);
        let failed = |source| Error::Map { seed, source };
        let text = match config.spec(seed, arm_m) {
            Some(spec) => spec.to_xodr().map_err(failed)?,
            None => String::new(),
        };
        Ok(Self::new(RoadMap::parse(&text).map_err(failed)?))
    }

    /// The network of the configuration's file; `None` for other kinds of maps.
    ///
    /// # Errors
    /// [`Error::MapFile`], [`Error::MapText`].
    pub fn from_file(config: &MapConfig) -> Result<Option<Self>, Error> {
        if config.kind != MapKind::Xodr {
            return Ok(None);
        }
        let source = |source| Error::MapText { source };
        let map = if config.xodr.trim_start().starts_with('<') {
            RoadMap::parse(&config.xodr).map_err(source)?
        } else {
            let text = std::fs::read_to_string(&config.xodr).map_err(|source| Error::MapFile {
                path: config.xodr.clone(),
                source,
            })?;
            RoadMap::parse(&text).map_err(source)?
        };
        Ok(Some(Self::new(map)))
    }

    /// The lanes that a crosswalk cuts.
    pub fn cuts_of(&self, crosswalk: u32) -> &[Cut] {
        let first = self.cuts.partition_point(|cut| cut.crosswalk < crosswalk);
        let count = self.cuts[first..].partition_point(|cut| cut.crosswalk == crosswalk);
        &self.cuts[first..first + count]
    }
}

/// Nothing leads onto the lane, and there is room for a vehicle before anything has to be obeyed.
fn is_entry(map: &RoadMap, lane: LaneIndex) -> bool {
    let here = &map.lanes()[lane as usize];
    let is_driving = |lane: &LaneIndex| map.lanes()[*lane as usize].kind == LaneKind::Driving;
    !here.predecessors.iter().any(is_driving)
        && here.junction.is_none()
        && here.length_m > 2.0 * SPAWN_CELL_M as f32
}

/// Reference time of a planned route: each stretch at its limit, and a quarter more; and at each junction what the
/// law makes one wait there on average, lights that go from green to green in `lights_s` (green, yellow, red for all).
pub fn reference_time_s(map: &RoadMap, route: &Route, lights_s: [f64; 3]) -> f64 {
    let pieces = route.segments();
    let driven = pieces.iter().map(|piece| {
        let length_m = f64::from((piece.to_s_m - piece.from_s_m).max(0.0));
        let middle_m = 0.5 * (piece.from_s_m + piece.to_s_m);
        let limit_mps = map.speed_limit_mps(piece.lane, middle_m).max(0.5);
        crate::score::reference_time_s(length_m, f64::from(limit_mps))
    });
    let waited = pieces.windows(2).map(|pair| {
        let (from, onto) = (pair[0].lane, pair[1].lane);
        let junction = map.junction_of(onto);
        if junction.is_none() || map.junction_of(from) == junction {
            return 0.0;
        }
        governing(map, from, Some(onto)).map_or(0.0, |line| mean_wait_s(map, line, lights_s))
    });
    driven.sum::<f64>() + waited.sum::<f64>()
}

/// Mean wait of somebody who comes at a random moment and finds nobody in the way, seconds.
fn mean_wait_s(map: &RoadMap, line: &StopLine, [green_s, yellow_s, red_s]: [f64; 3]) -> f64 {
    match (line.rule, line.light) {
        (RightOfWay::Light, Some(light)) => {
            let phases = map.light_groups()[light.group as usize].phases.len().max(1) as f64;
            let cycle_s = phases * (green_s + yellow_s + red_s);
            (cycle_s - green_s).powi(2) / (2.0 * cycle_s)
        }
        (RightOfWay::Stop, _) => AT_STOP_SIGN_S,
        _ => 0.0,
    }
}

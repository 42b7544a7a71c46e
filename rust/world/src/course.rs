//! The road of an episode, drawn from its seed: specification, OpenDRIVE text, baked map, route.
//!
//! A chain has one route, which belongs to its map. On a street network the map depends on the variant
//! and the route on the episode's seed, so many courses share one network.

use std::sync::{Arc, OnceLock};

use carla_online_roads::{LaneIndex, LaneKind, RoadMap, RoadSpec, Segment};

use crate::config::{MapConfig, WorldConfig};
use crate::error::Error;
use crate::network::{self, Network};
use crate::raster::RasterMap;
use crate::rng::{Purpose, Stream};
use crate::route::Route;
use crate::score;

/// How far the road may turn away from its first direction, radians: below a right angle it can't
/// come back to itself.
const LARGEST_HEADING_RAD: f64 = 1.2;

/// A baked road with the route along it. Immutable and shared by every episode that drives it.
#[derive(Debug)]
pub struct Course {
    /// The map.
    pub map: Arc<RoadMap>,
    /// Of a chain: its driving lanes from the leftmost to the rightmost, as the driver sees them.
    pub lanes: Vec<LaneIndex>,
    /// The lane along which the route runs and progress is measured.
    pub reference: LaneIndex,
    /// Road station at which the route starts, metres.
    pub start_station_m: f32,
    /// The route.
    pub route: Route,
    /// Reference time of the route, seconds.
    pub reference_time_s: f64,
    /// Of a street network: what traffic needs to know of it, and the seed that the route was drawn from.
    pub network: Option<(Arc<Network>, u64)>,
    raster: Arc<OnceLock<RasterMap>>,
}

impl Course {
    /// Draws a course; the same configuration and seed give the same bytes of OpenDRIVE.
    ///
    /// # Errors
    /// [`Error::Map`] if the road layer refuses it, [`Error::Lanes`] if it reads back other lanes.
    pub fn draw(map: &MapConfig, seed: u64) -> Result<Self, Error> {
        let mut stream = Stream::new(seed, Purpose::MapShape, 0, 0);
        let length_m = stream.between(map.length_m);
        let spec = road_spec(map, length_m, &mut stream);
        let failed = |source| Error::Map { seed, source };
        let baked = RoadMap::parse(&spec.to_xodr().map_err(failed)?).map_err(failed)?;
        Self::on_road(baked, map, length_m as f32, seed)
    }

    /// The course of an episode on a network: a route drawn from the episode's seed.
    ///
    /// # Errors
    /// [`Error::Route`] if no route was found at all.
    pub fn on_network(ground: &Arc<Network>, map: &MapConfig, seed: u64) -> Result<Self, Error> {
        let route = network::draw_route(ground, map, seed)?;
        Ok(Self::along(ground, map, route, seed))
    }

    /// The course of an episode on a network along a given route, which has a piece at least.
    pub fn along(ground: &Arc<Network>, map: &MapConfig, route: Route, seed: u64) -> Self {
        let first = route.segments()[0];
        Self {
            map: Arc::clone(&ground.map),
            lanes: Vec::new(),
            reference: first.lane,
            start_station_m: 0.0,
            reference_time_s: network::reference_time_s(&ground.map, &route, map.lights_s),
            route,
            network: Some((Arc::clone(ground), seed)),
            raster: Arc::clone(&ground.raster),
        }
    }

    /// Whether an episode of this seed on this map has this course.
    pub fn is_of(&self, map_hash: u64, seed: u64) -> bool {
        let is_own_route = self.network.as_ref().is_none_or(|(_, own)| *own == seed);
        is_own_route && self.map.content_hash() == map_hash
    }

    /// Whether a lane is one that vehicles may be on here.
    pub fn is_driven(&self, lane: LaneIndex) -> bool {
        if self.network.is_none() {
            return self.rank(lane).is_some();
        }
        let lane = self.map.lanes().get(lane as usize);
        lane.is_some_and(|lane| lane.kind == LaneKind::Driving)
    }

    fn on_road(map: RoadMap, config: &MapConfig, length_m: f32, seed: u64) -> Result<Self, Error> {
        let (expected, start_s_m) = (usize::from(config.lanes), config.run_in_m as f32);
        let leftmost = map
            .driving_lanes()
            .find(|&lane| map.lanes()[lane as usize].left.is_none());
        let mut lanes = Vec::with_capacity(expected);
        let mut next = leftmost;
        while let Some(lane) = next.filter(|_| lanes.len() < 2 * expected) {
            lanes.push(lane);
            next = map.lanes()[lane as usize].right;
        }
        if lanes.len() != expected {
            return Err(Error::Lanes {
                seed,
                seen: lanes.len(),
                expected,
            });
        }
        let reference = lanes[expected / 2];
        let route = Route::along_lane(reference, start_s_m, start_s_m + length_m);
        let start_station_m = map.station(reference, start_s_m);
        let reference_time_s =
            score::reference_time_s(f64::from(route.length_m()), config.speed_limit_mps);
        Ok(Self {
            map: Arc::new(map),
            lanes,
            reference,
            start_station_m,
            route,
            reference_time_s,
            network: None,
            raster: Arc::default(),
        })
    }

    /// The map painted for bird's-eye views; painted at the first call, which takes some milliseconds.
    ///
    /// # Errors
    /// [`Error::RasterSize`] for a map that covers too large an area.
    pub fn raster(&self) -> Result<&RasterMap, Error> {
        if let Some(raster) = self.raster.get() {
            return Ok(raster);
        }
        let painted = RasterMap::new(&self.map)?;
        Ok(self.raster.get_or_init(|| painted))
    }

    /// The place of a lane among the lanes abreast, 0 for the leftmost.
    pub fn rank(&self, lane: LaneIndex) -> Option<usize> {
        self.lanes.iter().position(|&other| other == lane)
    }

    /// The place on a lane that lies abreast of a place `ahead_m` along the road from the route's start.
    pub fn ahead_of_start(&self, lane: LaneIndex, ahead_m: f32) -> f32 {
        self.map.at_station(lane, self.start_station_m + ahead_m)
    }
}

/// Gives courses to episodes, and keeps those that several episodes share.
///
/// Which course an episode gets depends on its seed and the configuration alone, never on what was
/// drawn before.
#[derive(Debug)]
pub struct CourseBook {
    variants: Vec<OnceLock<Arc<Course>>>,
    networks: Vec<OnceLock<Arc<Network>>>,
}

impl CourseBook {
    /// A book for one configuration. A map from a file is read and baked here.
    ///
    /// # Errors
    /// [`Error::MapFile`] if the file can't be read or isn't a map.
    pub fn new(config: &WorldConfig) -> Result<Self, Error> {
        let map = &config.map;
        let count = map.map_variants as usize;
        let mut book = Self {
            variants: Vec::new(),
            networks: Vec::new(),
        };
        if let Some(read) = Network::from_file(map)? {
            book.networks.push(OnceLock::from(Arc::new(read)));
        } else if map.is_network() {
            book.networks.resize_with(count, OnceLock::new);
        } else {
            book.variants.resize_with(count, OnceLock::new);
        }
        Ok(book)
    }

    /// The network that a file's map is; `None` for other kinds of maps.
    pub fn file(&self) -> Option<&Arc<Network>> {
        self.networks.first().and_then(OnceLock::get)
    }

    /// The course of an episode.
    ///
    /// # Errors
    /// As [`Course::draw`] and [`Course::on_network`].
    pub fn course(&self, config: &WorldConfig, seed: u64) -> Result<Arc<Course>, Error> {
        let map = &config.map;
        if map.is_network() {
            let network = kept(&self.networks, seed, |seed| Network::draw(map, seed))?;
            return Course::on_network(&network, map, seed).map(Arc::new);
        }
        kept(&self.variants, seed, |seed| Course::draw(map, seed))
    }
}

/// The variant of a seed, made when it is first needed; without variants a new one for each seed.
fn kept<T>(
    variants: &[OnceLock<Arc<T>>],
    seed: u64,
    draw: impl Fn(u64) -> Result<T, Error>,
) -> Result<Arc<T>, Error> {
    if variants.is_empty() {
        return draw(seed).map(Arc::new);
    }
    let variant = Stream::new(seed, Purpose::MapVariant, 0, 0).below(variants.len() as u32);
    let slot = &variants[variant as usize];
    if let Some(known) = slot.get() {
        return Ok(Arc::clone(known));
    }
    let drawn = Arc::new(draw(u64::from(variant))?);
    Ok(Arc::clone(slot.get_or_init(|| drawn)))
}

fn road_spec(map: &MapConfig, length_m: f64, stream: &mut Stream) -> RoadSpec {
    // Some tens of centimetres more keep every length off the round numbers on which libcarla's
    // `next_until_lane_end` fails.
    let total_m = map.run_in_m + length_m + map.run_out_m + stream.between([0.11, 0.39]);
    let curved = stream.unit() < map.curved_share;
    let segments = if curved {
        bends(map, total_m, stream)
    } else {
        vec![Segment::Line { length_m: total_m }]
    };
    RoadSpec {
        lanes_forward: map.lanes,
        lanes_backward: 0,
        lane_width_m: map.lane_width_m,
        speed_limit_mps: map.speed_limit_mps,
        segments,
        ..RoadSpec::default()
    }
}

/// A chain of line, spiral, arc, spiral; line, ... of exactly `total_m`.
fn bends(map: &MapConfig, total_m: f64, stream: &mut Stream) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut left_m = total_m;
    let mut heading_rad = 0.0_f64;
    loop {
        let line_m = stream.between([20.0, 90.0]);
        let [widest, tightest] = [1.0 / map.curve_radius_m[1], 1.0 / map.curve_radius_m[0]];
        let curvature = stream.between([widest, tightest]);
        // A tight bend gets shorter spirals, so that it still fits between the two headings.
        let spiral_m = stream.between([25.0, 50.0]).min(0.35 / curvature);
        let turn_rad = stream
            .between([0.25, 0.9])
            .max(curvature * (spiral_m + 10.0));
        let arc_m = turn_rad / curvature - spiral_m;
        let coin = if stream.unit() < 0.5 { 1.0 } else { -1.0 };
        let sign = if (heading_rad + coin * turn_rad).abs() > LARGEST_HEADING_RAD {
            -coin
        } else {
            coin
        };
        let bend_m = 2.0 * spiral_m + arc_m;
        let heads_back = (heading_rad + sign * turn_rad).abs() <= LARGEST_HEADING_RAD;
        if line_m + bend_m + 5.0 > left_m || !heads_back {
            segments.push(Segment::Line { length_m: left_m });
            return segments;
        }
        let peak = sign * curvature;
        segments.extend([
            Segment::Line { length_m: line_m },
            Segment::Spiral {
                length_m: spiral_m,
                curvature_start_per_m: 0.0,
                curvature_end_per_m: peak,
            },
            Segment::Arc {
                length_m: arc_m,
                curvature_per_m: peak,
            },
            Segment::Spiral {
                length_m: spiral_m,
                curvature_start_per_m: peak,
                curvature_end_per_m: 0.0,
            },
        ]);
        left_m -= line_m + bend_m;
        heading_rad += sign * turn_rad;
    }
}

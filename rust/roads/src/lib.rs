//! Roads of a driving world: OpenDRIVE in, OpenDRIVE out, and a baked lane graph.
//!
//! [`RoadMap::parse`] reads OpenDRIVE text (hostile until checked), samples every lane finely
//! and links the lanes into a graph. The result is immutable and answers the
//! questions of a simulation step (where am I, where does my lane go, who is beside me) without
//! allocating. [`RoadSpec::to_xodr`] writes one road as OpenDRIVE that both this reader and
//! CARLA 0.9.16 understand.
//!
//! # Coordinates
//!
//! Everything that leaves this crate, the writer's input included, is in CARLA's left-handed
//! frame: x forward, y to the right, z up, yaw clockwise seen from above. OpenDRIVE's
//! right-handed frame exists only inside the reader, the writer and the bake; the flip is
//! `y -> -y`, `yaw -> -yaw`.
//!
//! # Determinism
//!
//! Baking runs in `f64`, with every transcendental from `libm`, and stores `f32` samples:
//! the same text gives the same bits on every machine.
//!
//! ```
//! use carla_online_roads::{RoadMap, RoadSpec, Segment};
//!
//! let spec = RoadSpec {
//!     lanes_forward: 2,
//!     segments: vec![
//!         Segment::Line { length_m: 80.3 },
//!         Segment::Arc { length_m: 60.1, curvature_per_m: 0.01 },
//!     ],
//!     ..RoadSpec::default()
//! };
//! let map = RoadMap::parse(&spec.to_xodr()?)?;
//! let here = map.locate(10.0, 1.8, 0.0, None).expect("the road has lanes");
//! let ahead = map.advance(here.lane, here.s_m, 100.0).expect("the road is longer than that");
//! assert!(map.sample(ahead.lane, ahead.s_m).curvature_per_m > 0.009);
//! # Ok::<(), carla_online_roads::Error>(())
//! ```
#![forbid(unsafe_code)]

mod bake;
mod doctor;
mod error;
mod geometry;
mod grid;
mod lane;
mod links;
mod map;
mod polyline;
mod polynomial;
mod reader;
mod route;
mod rules;
mod spawn;
mod walkable;
mod writer;

pub use doctor::{Finding, Severity, examine};
pub use error::Error;
pub use lane::{Lane, LaneIndex, LaneKind, LanePoint, LaneSample, MarkKind, Markings, Pose};
pub use map::RoadMap;
pub use polyline::{Polyline, PolylineKind};
pub use route::{PlannedRoute, RoadOption, RoutePiece, RoutePoint};
pub use rules::{
    Conflict, ConflictKind, Crossing, Crosswalk, CrosswalkIndex, Junction, JunctionIndex, Light,
    LightGroup, LightPhase, RightOfWay, Signal, SignalIndex, SignalKind, StopLine,
};
pub use spawn::SpawnPoint;
pub use walkable::{WalkGround, WalkPolygon};
pub use writer::{
    ElevationKnot, GridSpec, JunctionControl, JunctionSpec, LightPlan, MapKind, MapSpec, RoadSpec,
    Segment, StreetStyle,
};

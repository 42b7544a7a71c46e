//! The OpenDRIVE writer: roads, junctions and towns that this reader and CARLA 0.9.16 read alike.

mod connection;
mod document;
mod draw;
mod kind;
mod network;
mod road;
mod street;
mod town;

pub use kind::{MapKind, MapSpec};
pub use road::{ElevationKnot, RoadSpec, Segment};
pub use street::{JunctionControl, LightPlan, StreetStyle};
pub use town::{GridSpec, JunctionSpec};

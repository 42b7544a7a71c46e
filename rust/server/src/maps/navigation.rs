//! The navigation mesh that the client walks its pedestrians on.
//!
//! The client fetches it as a file and plans in it by itself. The file is a set of one tile: a header, then the tile as
//! Detour reads it (version 7, 32-bit references). Its axes are x, z, y of CARLA's frame. A tile counts vertices and
//! neighbours in 16 bits, so a mesh that is too large loses the carriageways first.

use std::collections::BTreeMap;

use carla_online_roads::{WalkGround, WalkPolygon};

/// Changes whenever meshes of the same map change: clients keep files by name.
pub const MESH_VERSION: u32 = 1;
const SET_MAGIC: &[u8; 4] = b"TESM";
const SET_VERSION: i32 = 1;
const TILE_MAGIC: &[u8; 4] = b"VAND";
const TILE_VERSION: i32 = 7;
/// Corners of one polygon.
const MOST_CORNERS: usize = 6;
const MOST_POLYGONS: usize = 30_000;
const MOST_VERTICES: usize = 65_000;
/// Size of a person, metres: height, radius, step.
const PERSON_M: [f32; 3] = [1.8, 0.3, 0.3];
/// A tile reaches further than its polygons, metres.
const MARGIN_M: f32 = 10.0;
/// Of a triangle's edge: it is an edge of the polygon.
const OUTER: u8 = 1;

/// The client's numbers: area, flags.
fn area(ground: WalkGround) -> (u8, u16) {
    match ground {
        WalkGround::Sidewalk => (1, 0x02),
        WalkGround::Crosswalk => (2, 0x04),
        WalkGround::Carriageway => (3, 0x08),
    }
}

/// The file, or nothing for a map on which nobody can walk.
pub fn write(polygons: &[WalkPolygon]) -> Vec<u8> {
    let tile = Tile::new(polygons, |_| true)
        .or_else(|| Tile::new(polygons, |ground| ground != WalkGround::Carriageway));
    tile.filter(|tile| !tile.polygons.is_empty())
        .map_or_else(Vec::new, |tile| tile.file())
}

struct Tile<'a> {
    polygons: Vec<&'a WalkPolygon>,
    /// New numbers of the polygons.
    numbers: Vec<Option<u16>>,
    vertices: Vec<[f32; 3]>,
    /// Indices of vertices, polygon by polygon.
    corners: Vec<Vec<u16>>,
}

impl<'a> Tile<'a> {
    /// The polygons that are wanted; `None` if they are too many.
    fn new(polygons: &'a [WalkPolygon], is_wanted: impl Fn(WalkGround) -> bool) -> Option<Self> {
        let mut tile = Self {
            polygons: Vec::new(),
            numbers: vec![None; polygons.len()],
            vertices: Vec::new(),
            corners: Vec::new(),
        };
        let mut known: BTreeMap<[u32; 3], u16> = BTreeMap::new();
        for (number, polygon) in polygons.iter().enumerate() {
            if !is_wanted(polygon.ground) || polygon.corners.len() > MOST_CORNERS {
                continue;
            }
            tile.numbers[number] = Some(tile.polygons.len() as u16);
            tile.polygons.push(polygon);
            let vertices = &mut tile.vertices;
            let corners = polygon.corners.iter().map(|corner| {
                *known.entry(corner.map(f32::to_bits)).or_insert_with(|| {
                    vertices.push(*corner);
                    (vertices.len() - 1) as u16
                })
            });
            tile.corners.push(corners.collect());
            if tile.polygons.len() > MOST_POLYGONS || tile.vertices.len() > MOST_VERTICES {
                return None;
            }
        }
        Some(tile)
    }

    fn neighbours(&self, polygon: &'a WalkPolygon) -> impl Iterator<Item = Option<u16>> {
        polygon
            .neighbours
            .iter()
            .map(|beyond| beyond.and_then(|number| self.numbers[number as usize]))
    }

    /// Lowest and highest coordinates, in the mesh's axes.
    fn bounds(&self) -> [[f32; 3]; 2] {
        let (mut low, mut high) = ([f32::INFINITY; 3], [f32::NEG_INFINITY; 3]);
        for &[x, y, z] in &self.vertices {
            for (axis, value) in [x, z, y].into_iter().enumerate() {
                (low[axis], high[axis]) = (low[axis].min(value), high[axis].max(value));
            }
        }
        (low[1], high[1]) = (low[1] - 1.0, high[1] + 1.0);
        [low, high]
    }

    fn file(&self) -> Vec<u8> {
        let [low, high] = self.bounds();
        let data = self.data(low, high);
        let most = self.polygons.len().next_power_of_two() as u32;
        let mut out = Out(Vec::with_capacity(data.len() + 64));
        out.0.extend_from_slice(SET_MAGIC);
        out.numbers([SET_VERSION, 1]);
        out.reals([low[0] - MARGIN_M, low[1], low[2] - MARGIN_M]);
        out.reals([0, 2].map(|axis| high[axis] - low[axis] + 2.0 * MARGIN_M));
        out.numbers([1, most as i32]);
        // The first tile of one: its salt, above the bits that number polygons.
        out.0
            .extend_from_slice(&(1_u32 << most.ilog2()).to_le_bytes());
        out.numbers([data.len() as i32]);
        out.0.extend_from_slice(&data);
        out.0
    }

    fn data(&self, low: [f32; 3], high: [f32; 3]) -> Vec<u8> {
        let count = self.polygons.len() as i32;
        let links = self.polygons.iter().flat_map(|one| self.neighbours(one));
        let links = links.flatten().count() as i32 + 8;
        let triangles: usize = self.corners.iter().map(|corners| corners.len() - 2).sum();
        let mut out = Out(Vec::new());
        out.0.extend_from_slice(TILE_MAGIC);
        out.numbers([TILE_VERSION, 0, 0, 0, 0, count, self.vertices.len() as i32]);
        // Detail meshes without vertices of their own; neither a tree nor ways off the mesh.
        out.numbers([links, count, 0, triangles as i32, 0, 0, count]);
        out.reals(PERSON_M);
        out.reals(low);
        out.reals(high);
        out.reals([0.0]);
        for &[x, y, z] in &self.vertices {
            out.reals([x, z, y]);
        }
        for (polygon, corners) in self.polygons.iter().zip(&self.corners) {
            out.0.extend_from_slice(&u32::MAX.to_le_bytes());
            out.shorts(corners.iter().copied());
            let beyond = self.neighbours(polygon);
            out.shorts(beyond.map(|number| number.map_or(0, |number| number + 1)));
            let (area, flags) = area(polygon.ground);
            out.0.extend_from_slice(&flags.to_le_bytes());
            out.0.extend_from_slice(&[corners.len() as u8, area]);
        }
        // The client makes the links when it takes the tile in.
        out.0.resize(out.0.len() + 12 * links as usize, 0);
        let mut first = 0;
        for corners in &self.corners {
            let count = corners.len() - 2;
            out.numbers([0, first]);
            out.0.extend_from_slice(&[0, count as u8, 0, 0]);
            first += count as i32;
        }
        for corners in &self.corners {
            fan(corners.len() as u8, &mut out.0);
        }
        out.0
    }
}

/// A polygon as triangles around its first corner: corners, and which edges are the polygon's.
fn fan(corners: u8, out: &mut Vec<u8>) {
    for second in 1..corners - 1 {
        let third = second + 1;
        let mut flags = OUTER << 2;
        if second == 1 {
            flags |= OUTER;
        }
        if third + 1 == corners {
            flags |= OUTER << 4;
        }
        out.extend_from_slice(&[0, second, third, flags]);
    }
}

struct Out(Vec<u8>);

impl Out {
    fn numbers<const N: usize>(&mut self, values: [i32; N]) {
        values
            .iter()
            .for_each(|value| self.0.extend_from_slice(&value.to_le_bytes()));
    }

    fn reals<const N: usize>(&mut self, values: [f32; N]) {
        values
            .iter()
            .for_each(|value| self.0.extend_from_slice(&value.to_le_bytes()));
    }

    /// A polygon's row of corners or neighbours; what it doesn't have is 0.
    fn shorts(&mut self, values: impl Iterator<Item = u16>) {
        let begin = self.0.len();
        values.for_each(|value| self.0.extend_from_slice(&value.to_le_bytes()));
        self.0.resize(begin + 2 * MOST_CORNERS, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sizes of Detour's structures: what the client reads must end where the file does.
    #[test]
    fn the_file_is_as_long_as_its_counts_say() {
        let map = crate::maps::Source::Own("GridTown").load("").unwrap();
        let file = map.navigation();
        let number = |at: usize| {
            let bytes = file[at..at + 4].try_into().unwrap();
            i32::from_le_bytes(bytes) as usize
        };
        let tile = 48;
        assert_eq!(&file[..4], SET_MAGIC);
        assert_eq!(number(44), file.len() - tile);
        let [polygons, vertices, links, details, _, triangles] =
            std::array::from_fn(|i| number(tile + 24 + 4 * i));
        let expected =
            100 + 12 * vertices + 32 * polygons + 12 * links + 12 * details + 4 * triangles;
        assert_eq!(number(44), expected);
        assert!(polygons > 100, "{polygons}");
    }

    #[test]
    fn a_fan_marks_the_edges_of_its_polygon() {
        let mut out = Vec::new();
        fan(4, &mut out);
        assert_eq!(out, [0, 1, 2, 0x05, 0, 2, 3, 0x14]);
    }

    #[test]
    fn a_map_without_sidewalks_has_no_file() {
        assert!(write(&[]).is_empty());
        let map = crate::maps::Source::Own("Straight").load("").unwrap();
        assert_eq!(map.navigation_file("Straight"), None);
    }
}

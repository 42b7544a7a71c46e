//! A map painted once, in tiles; where there is no road there is no tile.

use carla_online_roads::{LaneIndex, LaneKind, MarkKind, PolylineKind, RoadMap};

use super::{PIXELS_PER_M, plane, polygon};
use crate::error::Error;

const TILE_BITS: u32 = 6;
/// Pixels along a tile's side: 32 m.
const TILE: usize = 1 << TILE_BITS;
/// Fraction bits of a place in pixels while a line is copied.
const FRACTION: u32 = 16;
const TILE_SHIFT: u32 = TILE_BITS + FRACTION;
/// Most tiles that a map may cover, empty ones counted: about 16 km along each side.
const MOST_TILES: usize = 1 << 18;
/// Distance of the cross sections between which lanes are painted, metres.
const STEP_M: f32 = 1.0;
/// Lines are one pixel wide, so that no rotation tears them.
const LINE_M: f32 = 1.0 / PIXELS_PER_M;

type Tile = [u8; TILE * TILE];

/// Road and lines of a map.
#[derive(Debug, Clone)]
pub struct RasterMap {
    origin_m: [f32; 2],
    /// Tiles along x and y.
    size: [usize; 2],
    /// For each place the number of its tile plus one, 0 where there is none.
    index: Vec<u32>,
    tiles: Vec<Tile>,
}

impl RasterMap {
    /// Paints a map.
    ///
    /// # Errors
    /// [`Error::RasterSize`] for a map that covers too large an area.
    pub fn new(map: &RoadMap) -> Result<Self, Error> {
        let mut low = [f32::INFINITY; 2];
        let mut high = [f32::NEG_INFINITY; 2];
        let lines = map.polylines(STEP_M);
        for point in lines.iter().flat_map(|line| &line.points) {
            for axis in 0..2 {
                low[axis] = low[axis].min(point[axis]);
                high[axis] = high[axis].max(point[axis]);
            }
        }
        let tile_m = TILE as f32 / PIXELS_PER_M;
        let size =
            [0, 1].map(|axis| ((high[axis] - low[axis]) / tile_m).max(0.0).ceil() as usize + 1);
        let area = size[0]
            .checked_mul(size[1])
            .filter(|&area| area <= MOST_TILES);
        let Some(area) = area.filter(|_| !lines.is_empty()) else {
            let extent_m = [0, 1].map(|axis| high[axis] - low[axis]);
            return Err(Error::RasterSize { extent_m });
        };
        let mut raster = Self {
            origin_m: low.map(|value| value - 0.25 * tile_m),
            size,
            index: vec![0; area],
            tiles: Vec::new(),
        };
        for lane in map.driving_lanes() {
            raster.paint_lane(map, lane);
        }
        for line in lines
            .iter()
            .filter(|line| line.kind != PolylineKind::Centre)
        {
            let is_inside = map.lanes()[line.lane as usize].kind == LaneKind::Driving;
            let bits = match line.mark {
                MarkKind::Broken => plane::BROKEN_LINE,
                _ if is_inside => plane::SOLID_LINE,
                _ => continue,
            };
            for pair in line.points.windows(2) {
                raster.paint_line([pair[0][0], pair[0][1]], [pair[1][0], pair[1][1]], bits);
            }
        }
        Ok(raster)
    }

    /// Bytes held, for those who keep many.
    pub fn size_bytes(&self) -> usize {
        self.index.len() * size_of::<u32>() + self.tiles.len() * size_of::<Tile>()
    }

    /// Copies the pixels along a straight line: `start_m` in metres, `step` of length 1 in pixels.
    pub(super) fn copy_line(&self, start_m: [f32; 2], step: [f32; 2], out: &mut [u8]) {
        let scale = f64::from(1_u32 << FRACTION);
        let fixed = |value: f64| (value * scale) as i64;
        let start = [0, 1].map(|axis| {
            fixed(f64::from(start_m[axis] - self.origin_m[axis]) * f64::from(PIXELS_PER_M))
        });
        let delta = step.map(|value| fixed(f64::from(value)));
        // A little less than the reciprocal: a run may end a pixel early, never late.
        let reciprocal = delta.map(|value| (1.0 - 1e-12) / (value.abs().max(1) as f64));
        let [mut u, mut v] = start;
        let mut done = 0;
        while done < out.len() {
            let run = run_length(u, delta[0], reciprocal[0])
                .min(run_length(v, delta[1], reciprocal[1]))
                .min(out.len() - done);
            if let Some(tile) = self.tile(u >> TILE_SHIFT, v >> TILE_SHIFT) {
                let (mut column, mut row) = (u, v);
                for pixel in &mut out[done..done + run] {
                    *pixel =
                        tile[pixel_of((column >> FRACTION) as usize, (row >> FRACTION) as usize)];
                    column += delta[0];
                    row += delta[1];
                }
            }
            u += delta[0] * run as i64;
            v += delta[1] * run as i64;
            done += run;
        }
    }

    fn tile(&self, column: i64, row: i64) -> Option<&Tile> {
        let column = usize::try_from(column)
            .ok()
            .filter(|&at| at < self.size[0])?;
        let row = usize::try_from(row).ok().filter(|&at| at < self.size[1])?;
        let number = self.index[row * self.size[0] + column] as usize;
        self.tiles.get(number.wrapping_sub(1))
    }

    fn paint_lane(&mut self, map: &RoadMap, lane: LaneIndex) {
        let length_m = map.lanes()[lane as usize].length_m;
        let steps = (length_m / STEP_M).ceil().max(1.0) as u32;
        let section = |step: u32| {
            let sample = map.sample(lane, length_m * step as f32 / steps as f32);
            let (sin, cos) = libm::sincosf(sample.pose.yaw_rad);
            let half_m = 0.5 * sample.width_m;
            let (x, y) = (sample.pose.x, sample.pose.y);
            [
                [x + half_m * sin, y - half_m * cos],
                [x - half_m * sin, y + half_m * cos],
            ]
        };
        let mut last = section(0);
        for step in 1..=steps {
            let next = section(step);
            self.paint([last[0], next[0], next[1], last[1]], plane::ROAD);
            last = next;
        }
    }

    fn paint_line(&mut self, from: [f32; 2], to: [f32; 2], bits: u8) {
        let (dx, dy) = (to[0] - from[0], to[1] - from[1]);
        let length_m = (dx * dx + dy * dy).sqrt();
        if length_m <= 0.0 {
            return;
        }
        let (x, y) = (-0.5 * LINE_M * dy / length_m, 0.5 * LINE_M * dx / length_m);
        let corners = [
            [from[0] - x, from[1] - y],
            [to[0] - x, to[1] - y],
            [to[0] + x, to[1] + y],
            [from[0] + x, from[1] + y],
        ];
        self.paint(corners, bits);
    }

    fn paint(&mut self, corners: [[f32; 2]; 4], bits: u8) {
        let origin_m = self.origin_m;
        let corners =
            corners.map(|corner| [0, 1].map(|axis| (corner[axis] - origin_m[axis]) * PIXELS_PER_M));
        let size_px = self.size.map(|tiles| tiles * TILE);
        polygon::fill(&corners, size_px, |row, from, to| {
            for column in from..to {
                let number =
                    &mut self.index[(row >> TILE_BITS) * self.size[0] + (column >> TILE_BITS)];
                if *number == 0 {
                    self.tiles.push([0; TILE * TILE]);
                    *number = self.tiles.len() as u32;
                }
                self.tiles[*number as usize - 1][pixel_of(column, row)] |= bits;
            }
        });
    }
}

/// A pixel's place in its tile.
const fn pixel_of(column: usize, row: usize) -> usize {
    ((row & (TILE - 1)) << TILE_BITS) | (column & (TILE - 1))
}

/// How many steps stay inside the tile that holds a place, at least one.
fn run_length(at: i64, delta: i64, reciprocal: f64) -> usize {
    let inside = at & ((1 << TILE_SHIFT) - 1);
    let room = match delta {
        0 => return usize::MAX,
        1.. => (1 << TILE_SHIFT) - 1 - inside,
        _ => inside,
    };
    (room as f64 * reciprocal) as usize + 1
}

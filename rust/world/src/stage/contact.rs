//! Collisions between oriented boxes.
//!
//! Boxes are turned about the vertical axis only and have a height. Two that overlap are pushed apart along the
//! axis of least overlap and lose their approach speed (no restitution, no friction between bodies). Every step of
//! contact is reported.

use crate::stage::actor::{Actor, Body};
use crate::stage::pose::Vector;

/// A box that never moves: a building, a wall.
#[derive(Debug, Clone, PartialEq)]
pub struct Solid {
    /// Centre, metres.
    pub center: Vector,
    /// Half the size, metres.
    pub half: Vector,
    /// Heading, degrees.
    pub yaw_deg: f32,
    /// CARLA's word for what it is: `static.building`.
    pub kind: String,
}

/// With whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Other {
    /// An actor's id.
    Actor(u32),
    /// Index of a solid of the map.
    Solid(usize),
}

/// One contact in one step, seen from one side.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Contact {
    /// The actor's id.
    pub actor: u32,
    /// What it touched.
    pub other: Other,
    /// Impulse on the actor, N s.
    pub impulse: Vector,
}

/// A box in the plane with a height, and what pushing it does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    index: usize,
    x: f32,
    y: f32,
    low: f32,
    high: f32,
    heading: (f32, f32),
    half: (f32, f32),
    reach: f32,
    parent: u32,
    is_prop: bool,
}

/// How far two boxes overlap, along the axis of least overlap that points from the first to the second.
struct Overlap {
    depth_m: f32,
    normal: (f32, f32),
}

impl Shape {
    pub fn of_actor(index: usize, actor: &Actor) -> Self {
        let heading = actor.pose.rotation.heading();
        let ([x, y, z], [cx, cy, cz], half) =
            (actor.pose.location, actor.bounds.center, actor.bounds.half);
        Self {
            index,
            x: x + cx * heading.0 - cy * heading.1,
            y: y + cx * heading.1 + cy * heading.0,
            low: z + cz - half[2],
            high: z + cz + half[2],
            heading,
            half: (half[0], half[1]),
            reach: (half[0] * half[0] + half[1] * half[1]).sqrt(),
            parent: actor.parent,
            is_prop: matches!(actor.body, Body::Prop { .. }),
        }
    }

    fn of_solid(index: usize, solid: &Solid) -> Self {
        let yaw = solid.yaw_deg.to_radians();
        Self {
            index,
            x: solid.center[0],
            y: solid.center[1],
            low: solid.center[2] - solid.half[2],
            high: solid.center[2] + solid.half[2],
            heading: (libm::cosf(yaw), libm::sinf(yaw)),
            half: (solid.half[0], solid.half[1]),
            reach: (solid.half[0] * solid.half[0] + solid.half[1] * solid.half[1]).sqrt(),
            parent: 0,
            is_prop: true,
        }
    }

    fn extent(&self, axis: (f32, f32)) -> f32 {
        let along = self.heading.0 * axis.0 + self.heading.1 * axis.1;
        let across = self.heading.0 * axis.1 - self.heading.1 * axis.0;
        self.half.0 * along.abs() + self.half.1 * across.abs()
    }

    /// Separating axes; boxes that only touch don't overlap.
    fn overlap(&self, other: &Self) -> Option<Overlap> {
        let (dx, dy) = (other.x - self.x, other.y - self.y);
        let reach = self.reach + other.reach;
        if dx.abs() > reach || dy.abs() > reach || self.low >= other.high || other.low >= self.high
        {
            return None;
        }
        let axes = [
            self.heading,
            (-self.heading.1, self.heading.0),
            other.heading,
            (-other.heading.1, other.heading.0),
        ];
        let mut least = Overlap {
            depth_m: f32::INFINITY,
            normal: (1.0, 0.0),
        };
        for axis in axes {
            let distance = dx * axis.0 + dy * axis.1;
            let depth_m = self.extent(axis) + other.extent(axis) - distance.abs();
            if depth_m <= 0.0 {
                return None;
            }
            if depth_m < least.depth_m {
                let sign = if distance < 0.0 { -1.0 } else { 1.0 };
                least = Overlap {
                    depth_m,
                    normal: (sign * axis.0, sign * axis.1),
                };
            }
        }
        Some(least)
    }

    /// The corners of the box.
    fn corners(&self) -> [(f32, f32); 4] {
        [(1.0, 1.0), (1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0)].map(|(along, across)| {
            let (a, b) = (along * self.half.0, across * self.half.1);
            (
                self.x + a * self.heading.0 - b * self.heading.1,
                self.y + a * self.heading.1 + b * self.heading.0,
            )
        })
    }

    fn contains(&self, (x, y): (f32, f32)) -> bool {
        let (dx, dy) = (x - self.x, y - self.y);
        (dx * self.heading.0 + dy * self.heading.1).abs() <= self.half.0
            && (dy * self.heading.0 - dx * self.heading.1).abs() <= self.half.1
    }

    /// The middle of the corners of either box that lie in the other; between the centres if there are none.
    fn touching_point(&self, other: &Self) -> (f32, f32) {
        let (mut x, mut y, mut count) = (0.0, 0.0, 0.0);
        let mine = self
            .corners()
            .into_iter()
            .filter(|corner| other.contains(*corner));
        let theirs = other
            .corners()
            .into_iter()
            .filter(|corner| self.contains(*corner));
        for corner in mine.chain(theirs) {
            (x, y, count) = (x + corner.0, y + corner.1, count + 1.0);
        }
        if count == 0.0 {
            (0.5 * (self.x + other.x), 0.5 * (self.y + other.y))
        } else {
            (x / count, y / count)
        }
    }

    /// How far along a unit direction a ray enters the box, grown by a radius; 0 where it begins inside.
    pub fn ray(&self, from: Vector, direction: Vector, radius_m: f32) -> Option<f32> {
        let (dx, dy) = (self.x - from[0], self.y - from[1]);
        let (cos, sin) = self.heading;
        let middle = 0.5 * (self.low + self.high);
        let (mut near, mut far) = (f32::NEG_INFINITY, f32::INFINITY);
        for (distance, rate, half) in [
            (
                dx * cos + dy * sin,
                direction[0] * cos + direction[1] * sin,
                self.half.0,
            ),
            (
                dy * cos - dx * sin,
                direction[1] * cos - direction[0] * sin,
                self.half.1,
            ),
            (middle - from[2], direction[2], self.high - middle),
        ] {
            let half = half + radius_m;
            if rate.abs() < 1e-6 {
                if distance.abs() > half {
                    return None;
                }
                continue;
            }
            let (one, two) = ((distance - half) / rate, (distance + half) / rate);
            (near, far) = (near.max(one.min(two)), far.min(one.max(two)));
        }
        (near <= far && far >= 0.0).then_some(near.max(0.0))
    }
}

/// The first solid thing that a new box would overlap.
pub(super) fn blocker(actors: &[Actor], solids: &[Solid], candidate: &Actor) -> Option<Other> {
    let shape = Shape::of_actor(usize::MAX, candidate);
    let obstacles = actors
        .iter()
        .enumerate()
        .filter(|(_, actor)| actor.is_solid() && actor.collides);
    for (index, actor) in obstacles {
        let other = Shape::of_actor(index, actor);
        if !(shape.is_prop && other.is_prop) && shape.overlap(&other).is_some() {
            return Some(Other::Actor(actor.id));
        }
    }
    if shape.is_prop {
        return None;
    }
    let hit = |(index, solid)| shape.overlap(&Shape::of_solid(index, solid)).is_some();
    solids.iter().enumerate().position(hit).map(Other::Solid)
}

/// Everything solid that a ray can meet: the actors that are wanted, then the map's solids.
pub(super) fn obstacles<'a>(
    actors: &'a [Actor],
    solids: &'a [Solid],
    is_wanted: impl Fn(&Actor) -> bool + 'a,
) -> impl Iterator<Item = (Other, Shape)> + 'a {
    let actors = actors
        .iter()
        .filter(move |actor| actor.is_solid() && is_wanted(actor))
        .map(|actor| (Other::Actor(actor.id), Shape::of_actor(0, actor)));
    let solids = solids.iter().enumerate();
    actors.chain(solids.map(|(index, solid)| (Other::Solid(index), Shape::of_solid(index, solid))))
}

/// The nearest thing along a ray with a radius: what an obstacle sensor sees.
pub(super) fn nearest(
    actors: &[Actor],
    solids: &[Solid],
    (from, direction): (Vector, Vector),
    radius_m: f32,
    is_wanted: impl Fn(&Actor) -> bool,
) -> Option<(Other, f32)> {
    obstacles(actors, solids, is_wanted)
        .filter_map(|(other, shape)| Some((other, shape.ray(from, direction, radius_m)?)))
        .min_by(|one, two| one.1.total_cmp(&two.1))
}

/// Finds, reports and resolves the contacts of one step.
#[derive(Debug, Clone, Default)]
pub(super) struct Collider {
    shapes: Vec<Shape>,
}

impl Collider {
    /// `contacts` is emptied and filled.
    pub fn run(&mut self, actors: &mut [Actor], solids: &[Solid], contacts: &mut Vec<Contact>) {
        contacts.clear();
        self.shapes.clear();
        let solid = actors
            .iter()
            .enumerate()
            .filter(|(_, actor)| actor.is_solid() && actor.collides);
        self.shapes
            .extend(solid.map(|(index, actor)| Shape::of_actor(index, actor)));
        // Swept along x, in an order that depends on nothing but positions and ids.
        self.shapes.sort_by(|one, two| {
            (one.x - one.reach)
                .total_cmp(&(two.x - two.reach))
                .then(one.index.cmp(&two.index))
        });
        for first in 0..self.shapes.len() {
            let one = self.shapes[first];
            for second in first + 1..self.shapes.len() {
                let two = self.shapes[second];
                if two.x - two.reach > one.x + one.reach {
                    break;
                }
                let are_props = one.is_prop && two.is_prop;
                if !are_props && !are_joined(actors, &one, &two) {
                    touch(actors, &one, &two, contacts);
                }
            }
            if !one.is_prop {
                for (index, solid) in solids.iter().enumerate() {
                    touch_solid(
                        &mut actors[one.index],
                        &one,
                        &Shape::of_solid(index, solid),
                        contacts,
                    );
                }
            }
        }
    }
}

/// Whether one of them is fixed to the other.
fn are_joined(actors: &[Actor], one: &Shape, two: &Shape) -> bool {
    one.parent == actors[two.index].id || two.parent == actors[one.index].id
}

/// What a body does when pushed: 1/kg and 1/(kg m2).
fn mobility(actor: &Actor) -> (f32, f32) {
    let mass_kg = actor.mass_kg();
    if mass_kg == 0.0 || !actor.simulates_physics || actor.parent != 0 {
        return (0.0, 0.0);
    }
    let [length, width, _] = actor.bounds.half;
    let turning = match actor.body {
        Body::Vehicle(_) => 3.0 / (mass_kg * (length * length + width * width).max(0.01)),
        _ => 0.0,
    };
    (1.0 / mass_kg, turning)
}

fn touch(actors: &mut [Actor], one: &Shape, two: &Shape, contacts: &mut Vec<Contact>) {
    let Some(overlap) = one.overlap(two) else {
        return;
    };
    let Ok([first, second]) = actors.get_disjoint_mut([one.index, two.index]) else {
        return;
    };
    let (nx, ny) = overlap.normal;
    let at = one.touching_point(two);
    let ((mass_one, turn_one), (mass_two, turn_two)) = (mobility(first), mobility(second));
    let lever = |shape: &Shape| (at.0 - shape.x) * ny - (at.1 - shape.y) * nx;
    let (lever_one, lever_two) = (lever(one), lever(two));
    let approach =
        speed_at(second, two, at, overlap.normal) - speed_at(first, one, at, overlap.normal);
    let yielding =
        mass_one + mass_two + lever_one * lever_one * turn_one + lever_two * lever_two * turn_two;
    let impulse = if yielding > 0.0 && approach < 0.0 {
        -approach / yielding
    } else {
        0.0
    };
    push(
        first,
        (-impulse * nx, -impulse * ny),
        -impulse * lever_one,
        (mass_one, turn_one),
    );
    push(
        second,
        (impulse * nx, impulse * ny),
        impulse * lever_two,
        (mass_two, turn_two),
    );
    // Somebody who walks into a standing vehicle doesn't move it.
    let (give_one, give_two) = match (&first.body, &second.body) {
        (Body::Vehicle(_), Body::Walker(_)) => (0.0, mass_two),
        (Body::Walker(_), Body::Vehicle(_)) => (mass_one, 0.0),
        _ => (mass_one, mass_two),
    };
    if give_one + give_two > 0.0 {
        let apart = overlap.depth_m / (give_one + give_two);
        shift(first, (-nx * apart * give_one, -ny * apart * give_one));
        shift(second, (nx * apart * give_two, ny * apart * give_two));
    }
    let on_second = [impulse * nx, impulse * ny, 0.0];
    let (first, second) = (first.id, second.id);
    contacts.push(Contact {
        actor: first,
        other: Other::Actor(second),
        impulse: on_second.map(|value| -value),
    });
    contacts.push(Contact {
        actor: second,
        other: Other::Actor(first),
        impulse: on_second,
    });
}

fn touch_solid(actor: &mut Actor, shape: &Shape, solid: &Shape, contacts: &mut Vec<Contact>) {
    let Some(overlap) = shape.overlap(solid) else {
        return;
    };
    let (nx, ny) = overlap.normal;
    let at = shape.touching_point(solid);
    let lever = (at.0 - shape.x) * ny - (at.1 - shape.y) * nx;
    let (mass, turn) = mobility(actor);
    let approach = speed_at(actor, shape, at, overlap.normal);
    let yielding = mass + lever * lever * turn;
    let impulse = if yielding > 0.0 && approach > 0.0 {
        approach / yielding
    } else {
        0.0
    };
    push(
        actor,
        (-impulse * nx, -impulse * ny),
        -impulse * lever,
        (mass, turn),
    );
    if mass > 0.0 {
        shift(actor, (-nx * overlap.depth_m, -ny * overlap.depth_m));
    }
    let impulse = [-impulse * nx, -impulse * ny, 0.0];
    contacts.push(Contact {
        actor: actor.id,
        other: Other::Solid(solid.index),
        impulse,
    });
}

/// Speed of a point of a body along a direction.
fn speed_at(actor: &Actor, shape: &Shape, at: (f32, f32), normal: (f32, f32)) -> f32 {
    let turn = actor.angular_velocity_degps[2].to_radians();
    let vx = actor.velocity[0] - turn * (at.1 - shape.y);
    let vy = actor.velocity[1] + turn * (at.0 - shape.x);
    vx * normal.0 + vy * normal.1
}

fn push(actor: &mut Actor, impulse: (f32, f32), twist: f32, (mass, turn): (f32, f32)) {
    actor.velocity[0] += impulse.0 * mass;
    actor.velocity[1] += impulse.1 * mass;
    actor.angular_velocity_degps[2] += (twist * turn).to_degrees();
}

fn shift(actor: &mut Actor, by: (f32, f32)) {
    actor.pose.location[0] += by.0;
    actor.pose.location[1] += by.1;
}

//! Which collisions a drive has had.

use super::{Felt, Mirror, Obstacle, Sighting};
use crate::dynamics::HALF_EXTENTS_M;
use crate::events;
use crate::geometry::OrientedBox;
use crate::network::walkers::{WALKER_HALF_M, Walker};
use crate::observe::ActorKind;
use crate::traffic::Vehicle;
use crate::world::Decision;

/// Two that have touched have parted when there is this much room between their boxes, metres.
const PARTED_M: f32 = 0.2;

impl Mirror {
    /// Counts each contact once until the two have parted, whether the sensor or the boxes told of it. A simulator
    /// pushes apart what has touched, so it also counts what the ego would have run into had nothing stopped it.
    pub(super) fn collide(
        &mut self,
        felt: &[Felt],
        foreseen: Option<&OrientedBox>,
        decision: &mut Decision,
    ) {
        let car = &self.world.state.ego.car;
        let own = |margin_m| boxed(car.x, car.y, car.yaw_rad, HALF_EXTENTS_M, margin_m);
        let (exact, wide) = (own(0.0), own(PARTED_M));
        let mut now: Vec<Felt> = Vec::new();
        let mut compare = |id: u32, kind: Obstacle, other: &OrientedBox| {
            let was_touching = self.touching.contains(&(id, kind));
            let is_touching = exact.overlaps(other)
                || was_touching && wide.overlaps(other)
                || foreseen.is_some_and(|foreseen| foreseen.overlaps(other));
            if is_touching {
                now.push((id, kind));
            }
        };
        for (index, vehicle) in self.present() {
            let id = self.scripted_ids.get(index).copied().unwrap_or_default();
            compare(id, Obstacle::Vehicle, &scripted_box(vehicle));
        }
        for (index, walker) in self.scripted_walkers().iter().enumerate() {
            let id = self.walker_ids.get(index).copied().unwrap_or_default();
            compare(id, Obstacle::Walker, &walker_box(walker));
        }
        for other in &self.others {
            let kind = match other.kind {
                ActorKind::Vehicle => Obstacle::Vehicle,
                ActorKind::Walker => Obstacle::Walker,
            };
            compare(other.id, kind, &other_box(other));
        }
        for contact in felt {
            if !now.contains(contact) {
                now.push(*contact);
            }
        }
        // On a network others may run into a standing ego, which ScenarioRunner doesn't charge either.
        let is_charged = self.world.course().network.is_none()
            || self.world.state.ego.car.speed_mps >= events::STANDING_MPS;
        for kind in Obstacle::ALL {
            let is_new = |contact: &&Felt| contact.1 == kind && !self.touching.contains(contact);
            let begun = if is_charged {
                now.iter().filter(is_new).count() as u32
            } else {
                0
            };
            events::count_collisions(
                &mut self.world.state,
                kind.infraction(),
                begun,
                &mut decision.gathered,
            );
        }
        self.touching = now;
    }
}

pub(super) fn boxed(
    x: f32,
    y: f32,
    yaw_rad: f32,
    half_m: (f32, f32),
    margin_m: f32,
) -> OrientedBox {
    OrientedBox::new(x, y, yaw_rad, half_m.0 + margin_m, half_m.1 + margin_m)
}

pub(super) fn scripted_box(vehicle: &Vehicle) -> OrientedBox {
    let half_m = vehicle.half_extents_m();
    boxed(vehicle.x, vehicle.y, vehicle.yaw_rad, half_m, 0.0)
}

pub(super) fn walker_box(walker: &Walker) -> OrientedBox {
    boxed(walker.x, walker.y, walker.yaw_rad, WALKER_HALF_M, 0.0)
}

pub(super) fn other_box(other: &Sighting) -> OrientedBox {
    boxed(other.x, other.y, other.yaw_rad, other.half_extents_m, 0.0)
}

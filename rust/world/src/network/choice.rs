//! Lane changes of a vehicle's own choice on a network: for gain, or to cut in.

use carla_online_roads::LaneIndex;

use super::drive::Step;
use super::junction::Approach;
use super::users::{User, Users};
use crate::traffic::{Prospect, Vehicle};

impl Step<'_> {
    /// Sets a wish for a change that pays, or that cuts in on the ego; whether it is the latter.
    pub(super) fn choose_lane(
        &self,
        users: &Users,
        who: usize,
        vehicle: &mut Vehicle,
        approach: &Approach,
    ) -> bool {
        if !self.has_room_to_change(vehicle, approach) {
            return false;
        }
        if let Some(side) = self.cut_in(users, who, vehicle) {
            (vehicle.wish, vehicle.wish_until_s) = (side, self.now_s + self.step_s);
            return true;
        }
        let mobil = &self.tuning.mobil;
        if !mobil.is_due(self.seed, who, vehicle, self.now_s, self.step_s) {
            return false;
        }
        let mut best = (0.0, 0_i8);
        for side in [-1_i8, 1] {
            let Some((target, there_m)) = self.beside(vehicle, side) else {
                continue;
            };
            let prospect = self.prospect(users, who, vehicle, (target, there_m));
            if let Some(gain) = mobil.gain(&prospect).filter(|gain| *gain > best.0) {
                best = (gain, side);
            }
        }
        if best.1 != 0 {
            (vehicle.wish, vehicle.wish_until_s) = (best.1, self.now_s + self.step_s);
        }
        false
    }

    /// The lane on a side, and the place abreast on it, where the marks permit a change.
    fn beside(&self, vehicle: &Vehicle, side: i8) -> Option<(LaneIndex, f32)> {
        let map = &*self.network.map;
        let here = &map.lanes()[vehicle.lane as usize];
        let target = if side < 0 { here.left } else { here.right }?;
        let marks = map.markings(vehicle.lane, vehicle.s_m);
        let is_permitted = if side < 0 {
            marks.left_permits_change
        } else {
            marks.right_permits_change
        };
        is_permitted.then(|| (target, map.abreast(vehicle.lane, vehicle.s_m, target)))
    }

    fn prospect(
        &self,
        users: &Users,
        who: usize,
        vehicle: &Vehicle,
        (lane, s_m): (LaneIndex, f32),
    ) -> Prospect {
        let idm = &self.tuning.idm;
        let own = &users.all()[who];
        let gap_m =
            |other: &User, place_m: f32| (place_m - s_m).abs() - own.half_m.0 - other.half_m.0;
        let [ahead, behind] = users.around(who, lane, s_m);
        let desired_mps = vehicle
            .desired_mps
            .min(self.network.pace.speed_mps(lane, s_m));
        let own_there = match ahead {
            Some((number, place_m)) => {
                let leader = &users.all()[number];
                idm.acceleration(
                    own.speed_mps,
                    desired_mps,
                    gap_m(leader, place_m),
                    leader.speed_mps,
                )
            }
            None => idm.free_acceleration(own.speed_mps, desired_mps),
        };
        let follower = behind.map(|(number, place_m)| {
            let behind = &users.all()[number];
            let wanted_mps = behind.speed_mps.max(1.0);
            (
                0.0,
                idm.acceleration(
                    behind.speed_mps,
                    wanted_mps,
                    gap_m(behind, place_m),
                    own.speed_mps,
                ),
            )
        });
        Prospect {
            own_now: vehicle.acceleration_mps2,
            own_there,
            follower,
        }
    }

    /// The side on which the ego drives closely behind, if this vehicle cuts in on it now.
    fn cut_in(&self, users: &Users, who: usize, vehicle: &Vehicle) -> Option<i8> {
        let adversaries = &self.tuning.adversaries;
        let ego = users.ego().filter(|_| adversaries.any_cut_in())?;
        let ego = &users.all()[ego];
        [-1_i8, 1].into_iter().find(|&side| {
            self.beside(vehicle, side).is_some_and(|(target, there_m)| {
                let ahead_m = there_m - ego.s_m - ego.half_m.0 - vehicle.half_extents_m().0;
                target == ego.lane
                    && adversaries.cuts_in(
                        self.seed,
                        who,
                        vehicle,
                        self.now_s,
                        ahead_m,
                        ego.speed_mps,
                    )
            })
        })
    }
}

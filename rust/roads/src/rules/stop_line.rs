//! Where to stop before a junction, and for what.

use std::collections::BTreeMap;

use super::crosswalk::Crossing;
use super::limit::distance;
use super::rows::Rows;
use super::signal::{Signal, SignalIndex, SignalKind};
use crate::bake::Baked;
use crate::lane::LaneIndex;
use crate::reader::{MapModel, Orientation, RoadModel, Scope};
use crate::route::RoadOption;

/// A signal governs a junction that begins within this distance behind it.
const REACH_M: f32 = 50.0;
/// Lanes followed between a signal and its junction.
const MAX_HOPS: usize = 16;
/// A crosswalk that ends within this distance before the line moves the line before it.
const CROSSWALK_REACH_M: f32 = 10.0;
/// One stops this far before a crosswalk.
const CROSSWALK_GAP_M: f32 = 1.0;
/// A turn of less than this is straight on, in CARLA's route planner.
const STRAIGHT_COS: f32 = 0.819_152_04;

/// What the driver of an approach has to obey.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RightOfWay {
    /// Nothing but the other vehicles.
    Uncontrolled,
    /// Give way.
    Yield,
    /// Stop, then give way.
    Stop,
    /// A traffic light.
    Light,
}

impl RightOfWay {
    /// The rule as a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uncontrolled => "uncontrolled",
            Self::Yield => "yield",
            Self::Stop => "stop",
            Self::Light => "light",
        }
    }
}

/// A light, and the phase of the group in which it is green.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Light {
    /// The light.
    pub signal: SignalIndex,
    /// Its group in [`RoadMap::light_groups`](crate::RoadMap::light_groups).
    pub group: u32,
    /// Its phase in the group.
    pub phase: u16,
}

/// A line on an approach lane, for one way on from there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StopLine {
    /// Where the front of a vehicle has to stay behind, metres along the lane.
    pub s_m: f32,
    /// The junction lane that it is the way to; none for a line without junction, which binds all.
    pub onto: Option<LaneIndex>,
    /// What to obey.
    pub rule: RightOfWay,
    /// The light, where the rule is one.
    pub light: Option<Light>,
    /// Which way the junction is left: left, right or straight.
    pub turn: RoadOption,
}

/// A rule that was found, with the place of its sign.
#[derive(Debug, Clone, Copy)]
struct Draft {
    rule: RightOfWay,
    light: Option<Light>,
    s_m: f32,
}

type Drafts = BTreeMap<(LaneIndex, Option<LaneIndex>), Draft>;

/// By lane: one line for each way into a junction, in the order of its successors, and the
/// lines of lights and signs without a junction.
pub(super) fn bake(
    model: &MapModel,
    baked: &Baked,
    signals: &mut [Signal],
    crossings: &Rows<Crossing>,
) -> Rows<StopLine> {
    let drafts = drafts(model, baked, signals);
    let mut lines: Vec<(LaneIndex, StopLine)> = Vec::new();
    for from in (0..baked.lanes.len() as LaneIndex).filter(|lane| baked.is_driving(*lane)) {
        let lane = &baked.lanes[from as usize];
        if let Some(draft) = drafts.get(&(from, None)) {
            let s_m = before_crosswalks(draft.s_m, crossings.row(from));
            let line = line(*draft, s_m, None, RoadOption::LaneFollow);
            lines.push((from, line));
        }
        if lane.junction.is_some() {
            continue;
        }
        for onto in &lane.successors {
            if baked.lanes[*onto as usize].junction.is_none() || !baked.is_driving(*onto) {
                continue;
            }
            let draft = drafts.get(&(from, Some(*onto))).copied().unwrap_or(Draft {
                rule: RightOfWay::Uncontrolled,
                light: None,
                s_m: lane.length_m,
            });
            let mut s_m = before_crosswalks(draft.s_m, crossings.row(from));
            if crossings
                .row(*onto)
                .first()
                .is_some_and(|crossing| crossing.from_m < 1.0)
            {
                s_m = s_m.min((lane.length_m - CROSSWALK_GAP_M).max(0.0));
            }
            let line = line(draft, s_m, Some(*onto), turn(baked, from, *onto));
            lines.push((from, line));
        }
    }
    Rows::new(baked.lanes.len(), lines)
}

fn line(draft: Draft, s_m: f32, onto: Option<LaneIndex>, turn: RoadOption) -> StopLine {
    StopLine {
        s_m,
        onto,
        rule: draft.rule,
        light: draft.light,
        turn,
    }
}

/// The place before every crosswalk that lies at the line or shortly before it.
fn before_crosswalks(line_m: f32, crossings: &[Crossing]) -> f32 {
    crossings.iter().rev().fold(line_m, |line, crossing| {
        if crossing.from_m < line && crossing.to_m > line - CROSSWALK_REACH_M {
            (crossing.from_m - CROSSWALK_GAP_M).max(0.0)
        } else {
            line
        }
    })
}

fn drafts(model: &MapModel, baked: &Baked, signals: &mut [Signal]) -> Drafts {
    let index_of: BTreeMap<Box<str>, SignalIndex> = signals
        .iter()
        .map(|signal| signal.id.clone())
        .zip(0..)
        .collect();
    let mut drafts = Drafts::new();
    for (position, road) in model.roads.iter().enumerate() {
        for scope in &road.scopes {
            let Some(index) = index_of.get(&scope.signal) else {
                continue;
            };
            let signal = &mut signals[*index as usize];
            let rule = match signal.kind {
                SignalKind::Light => RightOfWay::Light,
                SignalKind::Stop => RightOfWay::Stop,
                SignalKind::Yield => RightOfWay::Yield,
                _ => continue,
            };
            let light = signal.group.map(|group| Light {
                signal: *index,
                group,
                phase: signal.phase,
            });
            let number = road.section_at(scope.station);
            for lane_id in lanes_of(road, number, scope) {
                if let Some(lane) = baked.lane_at(model, position, number, lane_id)
                    && baked.is_driving(lane)
                {
                    signal.governs = true;
                    let offset = scope.station - road.sections[number].start;
                    let s_m = distance(baked.samples(lane), offset as f32);
                    apply(baked, lane, Draft { rule, light, s_m }, &mut drafts);
                }
            }
        }
    }
    drafts
}

/// The lane ids of a section that a signal governs. Without `<validity>` those of its
/// orientation, as libcarla reads it: positive lanes for "+", negative ones for "-". The standard
/// means the opposite, but CARLA's own towns are written that way.
pub(super) fn lanes_of(road: &RoadModel, section: usize, scope: &Scope) -> Vec<i32> {
    let is_governed = |id: i32| match &scope.lanes {
        Some(ranges) => ranges
            .iter()
            .any(|(one, other)| (*one.min(other)..=*one.max(other)).contains(&id)),
        None => match scope.orientation {
            Orientation::Positive => id > 0,
            Orientation::Negative => id < 0,
            Orientation::Both => true,
        },
    };
    let lanes = road.sections[section].lanes.iter().map(|lane| lane.id);
    lanes.filter(|id| *id != 0 && is_governed(*id)).collect()
}

/// Lays a rule on the ways into the junction that a governed lane belongs to or leads to.
fn apply(baked: &Baked, lane: LaneIndex, draft: Draft, drafts: &mut Drafts) {
    if let Some(junction) = baked.lanes[lane as usize].junction {
        let entry = back_to_entry(baked, lane, junction);
        for from in &baked.lanes[entry as usize].predecessors {
            let approach = &baked.lanes[*from as usize];
            if approach.junction != Some(junction) && baked.is_driving(*from) {
                let s_m = approach.length_m;
                keep(drafts, (*from, Some(entry)), Draft { s_m, ..draft });
            }
        }
        return;
    }
    let (mut last, mut walked) = (lane, -draft.s_m);
    for hop in 0..MAX_HOPS {
        let here = &baked.lanes[last as usize];
        let mut leads_in = false;
        for next in here
            .successors
            .iter()
            .filter(|next| baked.is_driving(**next))
        {
            if baked.lanes[*next as usize].junction.is_some() {
                leads_in = true;
                let s_m = if hop == 0 { draft.s_m } else { here.length_m };
                keep(drafts, (last, Some(*next)), Draft { s_m, ..draft });
            }
        }
        walked += here.length_m;
        let next = here.successors.iter().find(|next| baked.is_driving(**next));
        match next {
            _ if leads_in => return,
            Some(next) if walked < REACH_M => last = *next,
            _ => break,
        }
    }
    keep(drafts, (lane, None), draft);
}

/// The strictest rule counts; of two equal ones the earlier place.
fn keep(drafts: &mut Drafts, key: (LaneIndex, Option<LaneIndex>), new: Draft) {
    let old = drafts.entry(key).or_insert(new);
    if new.rule > old.rule || (new.rule == old.rule && new.s_m < old.s_m) {
        *old = new;
    }
}

/// The first lane of the chain through a junction that a lane belongs to.
fn back_to_entry(baked: &Baked, lane: LaneIndex, junction: u32) -> LaneIndex {
    let mut entry = lane;
    for _ in 0..MAX_HOPS {
        let before = baked.lanes[entry as usize]
            .predecessors
            .iter()
            .find(|before| {
                baked.lanes[**before as usize].junction == Some(junction)
                    && baked.is_driving(**before)
            });
        match before {
            Some(before) => entry = *before,
            None => break,
        }
    }
    entry
}

/// The option of CARLA's route planner for a way through a junction: the direction at its end
/// against the direction of the approach, compared with the other ways where it isn't straight.
fn turn(baked: &Baked, from: LaneIndex, onto: LaneIndex) -> RoadOption {
    let junction = baked.lanes[onto as usize].junction;
    let mut tail = onto;
    for _ in 0..MAX_HOPS {
        let successors = &baked.lanes[tail as usize].successors;
        match successors.iter().find(|next| baked.is_driving(**next)) {
            Some(next) if baked.lanes[*next as usize].junction == junction => tail = *next,
            _ => break,
        }
    }
    turn_to(baked, from, onto, tail)
}

/// [`turn`] with the last lane inside the junction given.
pub(crate) fn turn_to(
    baked: &Baked,
    from: LaneIndex,
    onto: LaneIndex,
    tail: LaneIndex,
) -> RoadOption {
    let end = |lane: LaneIndex| {
        let samples = baked.samples(lane);
        let last = &samples[samples.len() - 1];
        (last.cos, last.sin)
    };
    // Positive to the right: y points right.
    let cross = |a: (f32, f32), b: (f32, f32)| a.0 * b.1 - a.1 * b.0;
    let (arriving, leaving) = (end(from), end(tail));
    if arriving.0 * leaving.0 + arriving.1 * leaving.1 > STRAIGHT_COS {
        return RoadOption::Straight;
    }
    let others = baked.lanes[from as usize].successors.iter();
    let others = others.filter(|next| **next != onto && baked.is_driving(**next));
    let (mut least, mut greatest) = (f32::INFINITY, f32::NEG_INFINITY);
    for other in others {
        let samples = baked.samples(*other);
        let (first, last) = (&samples[0], &samples[samples.len() - 1]);
        let (dx, dy) = (last.x - first.x, last.y - first.y);
        let length = (dx * dx + dy * dy).sqrt().max(f32::MIN_POSITIVE);
        let side = cross(arriving, (dx / length, dy / length));
        (least, greatest) = (least.min(side), greatest.max(side));
    }
    if least > greatest {
        (least, greatest) = (0.0, 0.0);
    }
    let side = cross(arriving, leaving);
    if side < least {
        RoadOption::Left
    } else if side > greatest {
        RoadOption::Right
    } else if side < 0.0 {
        RoadOption::Left
    } else {
        RoadOption::Right
    }
}

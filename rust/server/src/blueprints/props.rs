//! Things that stand around. Their boxes are guesses by kind: CARLA publishes none.

use carla_online_world::stage::actor::Bounds;

use super::AttributeKind::{Float, Text};
use super::{Attribute, Blueprint, Product, number};
use crate::wire::layout::Description;

/// Half sizes, metres.
const SMALL: [f32; 3] = [0.2, 0.2, 0.2];
const MEDIUM: [f32; 3] = [0.5, 0.5, 0.5];
const TALL: [f32; 3] = [0.45, 0.45, 1.0];
const WIDE: [f32; 3] = [0.3, 1.0, 0.55];
const LARGE: [f32; 3] = [1.5, 1.5, 1.3];

const SMALL_PROPS: &[&str] = &[
    "briefcase",
    "brokentile01",
    "brokentile02",
    "brokentile03",
    "brokentile04",
    "colacan",
    "creasedbox01",
    "creasedbox02",
    "creasedbox03",
    "garbage01",
    "garbage02",
    "garbage03",
    "garbage04",
    "garbage05",
    "garbage06",
    "gnome",
    "guitarcase",
    "helmet",
    "motorhelmet",
    "mobile",
    "platformgarbage01",
    "purse",
    "shoppingbag",
    "plasticbag",
    "trashbag",
    "travelcase",
    "wateringcan",
    "calibrator",
];
const MEDIUM_PROPS: &[&str] = &[
    "barbeque",
    "barrel",
    "bin",
    "box01",
    "box02",
    "box03",
    "clothcontainer",
    "constructioncone",
    "doghouse",
    "gardenlamp",
    "glasscontainer",
    "ironplank",
    "plantpot01",
    "plantpot02",
    "plantpot03",
    "plantpot04",
    "plantpot05",
    "plantpot06",
    "plantpot07",
    "plantpot08",
    "plasticchair",
    "plastictable",
    "shoppingcart",
    "shoppingtrolley",
    "table",
    "trafficcone01",
    "trafficcone02",
    "trampoline",
    "trashcan01",
    "trashcan02",
    "trashcan03",
    "trashcan04",
    "trashcan05",
    "mailbox",
    "mesh",
];
const TALL_PROPS: &[&str] = &[
    "advertisement",
    "atm",
    "streetsign",
    "streetsign01",
    "streetsign04",
    "trafficwarning",
    "vendingmachine",
    "warningaccident",
    "warningconstruction",
    "maptable",
];
const WIDE_PROPS: &[&str] = &[
    "bench01",
    "bench02",
    "bench03",
    "bikeparking",
    "chainbarrier",
    "chainbarrierend",
    "clothesline",
    "streetbarrier",
    "swingcouch",
];
const LARGE_PROPS: &[&str] = &[
    "busstop",
    "busstoplb",
    "container",
    "fountain",
    "haybale",
    "haybalelb",
    "kiosk_01",
    "pergola",
    "slide",
    "streetfountain",
    "swing",
];
/// Lie flat: vehicles drive over them.
const FLAT_PROPS: &[&str] = &["dirtdebris01", "dirtdebris02", "dirtdebris03"];

const CM_PER_M: f32 = 100.0;

fn prop(name: &str, half: [f32; 3], is_solid: bool) -> Blueprint {
    let size = if half == SMALL {
        "small"
    } else if half == LARGE {
        "big"
    } else {
        "medium"
    };
    let bounds = Bounds {
        center: [0.0, 0.0, half[2]],
        half,
    };
    let attributes = vec![Attribute::role(), Attribute::fixed("size", Text, size)];
    Blueprint::new(
        format!("static.prop.{name}"),
        Product::Prop(bounds, is_solid),
        attributes,
    )
}

pub(super) fn blueprints() -> Vec<Blueprint> {
    let sizes = [
        (SMALL_PROPS, SMALL),
        (MEDIUM_PROPS, MEDIUM),
        (TALL_PROPS, TALL),
        (WIDE_PROPS, WIDE),
        (LARGE_PROPS, LARGE),
    ];
    let solid = sizes
        .iter()
        .flat_map(|(names, half)| names.iter().map(move |name| prop(name, *half, true)));
    let flat = FLAT_PROPS
        .iter()
        .map(|name| prop(name, [0.9, 0.9, 0.02], false));
    let extent = |id| Attribute::new(id, Float, "1.0");
    let trigger = Blueprint::new(
        "static.trigger.friction",
        Product::FrictionVolume,
        vec![
            Attribute::role(),
            Attribute::new("friction", Float, "3.5"),
            extent("extent_x"),
            extent("extent_y"),
            extent("extent_z"),
        ],
    );
    solid.chain(flat).chain([trigger]).collect()
}

/// Box and friction of a friction volume; its attributes are centimetres.
pub(super) fn friction_volume(description: &Description) -> (Bounds, f32) {
    let half = ["extent_x", "extent_y", "extent_z"]
        .map(|id| number(description, id, 1.0).max(0.0) / CM_PER_M);
    (
        Bounds {
            center: [0.0; 3],
            half,
        },
        number(description, "friction", 3.5).clamp(0.0, 100.0),
    )
}

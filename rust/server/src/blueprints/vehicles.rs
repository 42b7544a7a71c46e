//! Vehicles. Boxes of the Lincoln MKZ 2017 and 2020, the Nissan Patrol and the Tesla Model 3 are CARLA's;
//! physics of the MKZ 2017 and the Patrol too. The other boxes follow the real cars and may be off by a few
//! centimetres, their physics is the MKZ's scaled to their mass.

use carla_online_world::stage::actor::Bounds;
use carla_online_world::stage::physics::VehiclePhysics;

use super::AttributeKind::{Boolean, Colour, Integer, Text};
use super::{Attribute, Blueprint, Product};

/// A vehicle's body.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Model {
    id: &'static str,
    base: &'static str,
    special: &'static str,
    wheels: u8,
    generation: u8,
    pub half_m: [f32; 3],
    mass_kg: f32,
}

const COLOURS: [&str; 5] = ["0,0,0", "180,44,44", "45,87,150", "200,200,200", "19,62,30"];
const DRIVERS: [&str; 3] = ["255,128,0", "32,64,128", "120,20,60"];

const fn car(id: &'static str, generation: u8, half_m: [f32; 3], mass_kg: f32) -> Model {
    Model {
        id,
        base: "car",
        special: "",
        wheels: 4,
        generation,
        half_m,
        mass_kg,
    }
}

const fn large(id: &'static str, base: &'static str, half_m: [f32; 3], mass_kg: f32) -> Model {
    Model {
        id,
        base,
        special: "",
        wheels: 4,
        generation: 2,
        half_m,
        mass_kg,
    }
}

const fn emergency(model: Model) -> Model {
    Model {
        special: "emergency",
        ..model
    }
}

const fn two_wheeler(
    id: &'static str,
    base: &'static str,
    half_m: [f32; 3],
    mass_kg: f32,
) -> Model {
    Model {
        id,
        base,
        special: "",
        wheels: 2,
        generation: 1,
        half_m,
        mass_kg,
    }
}

const MODELS: &[Model] = &[
    car("vehicle.audi.a2", 1, [1.853, 0.895, 0.775], 1200.0),
    car("vehicle.audi.etron", 1, [2.428, 1.016, 0.825], 2490.0),
    car("vehicle.audi.tt", 1, [2.091, 0.997, 0.693], 1475.0),
    car("vehicle.bmw.grandtourer", 1, [2.305, 1.121, 0.834], 1650.0),
    car("vehicle.chevrolet.impala", 1, [2.679, 1.017, 0.705], 1760.0),
    car("vehicle.citroen.c3", 1, [1.994, 0.926, 0.812], 1090.0),
    car(
        "vehicle.dodge.charger_2020",
        2,
        [2.503, 1.048, 0.768],
        1920.0,
    ),
    emergency(car(
        "vehicle.dodge.charger_police",
        1,
        [2.487, 1.019, 0.779],
        1920.0,
    )),
    emergency(car(
        "vehicle.dodge.charger_police_2020",
        2,
        [2.619, 1.026, 0.819],
        1920.0,
    )),
    car("vehicle.ford.crown", 2, [2.683, 0.900, 0.787], 1850.0),
    car("vehicle.ford.mustang", 1, [2.359, 0.947, 0.650], 1700.0),
    car(
        "vehicle.jeep.wrangler_rubicon",
        1,
        [1.933, 0.953, 0.940],
        2000.0,
    ),
    car("vehicle.lincoln.mkz_2017", 1, [2.451, 1.064, 0.755], 1696.0),
    car("vehicle.lincoln.mkz_2020", 2, [2.446, 0.918, 0.745], 1696.0),
    car("vehicle.mercedes.coupe", 1, [2.513, 1.076, 0.826], 1900.0),
    car(
        "vehicle.mercedes.coupe_2020",
        2,
        [2.337, 1.001, 0.721],
        1900.0,
    ),
    car("vehicle.micro.microlino", 1, [1.103, 0.740, 0.688], 513.0),
    car("vehicle.mini.cooper_s", 1, [1.903, 0.985, 0.738], 1225.0),
    car(
        "vehicle.mini.cooper_s_2021",
        2,
        [2.276, 1.049, 0.884],
        1350.0,
    ),
    car("vehicle.nissan.micra", 1, [1.817, 0.923, 0.751], 1030.0),
    car("vehicle.nissan.patrol", 1, [2.302, 0.966, 0.927], 2355.0),
    car(
        "vehicle.nissan.patrol_2021",
        2,
        [2.783, 1.076, 1.023],
        2750.0,
    ),
    car("vehicle.seat.leon", 1, [2.096, 0.908, 0.737], 1300.0),
    car("vehicle.tesla.cybertruck", 2, [3.137, 1.195, 1.049], 3100.0),
    car("vehicle.tesla.model3", 2, [2.396, 1.082, 0.744], 1850.0),
    car("vehicle.toyota.prius", 1, [2.257, 1.003, 0.763], 1395.0),
    large(
        "vehicle.carlamotors.carlacola",
        "truck",
        [2.602, 1.307, 1.233],
        5500.0,
    ),
    large(
        "vehicle.carlamotors.european_hgv",
        "truck",
        [3.968, 1.450, 1.736],
        9500.0,
    ),
    emergency(large(
        "vehicle.carlamotors.firetruck",
        "truck",
        [4.234, 1.446, 1.914],
        12_000.0,
    )),
    emergency(large(
        "vehicle.ford.ambulance",
        "van",
        [3.178, 1.176, 1.215],
        4200.0,
    )),
    large(
        "vehicle.mercedes.sprinter",
        "van",
        [2.957, 0.994, 1.280],
        2900.0,
    ),
    large(
        "vehicle.mitsubishi.fusorosa",
        "bus",
        [5.136, 1.972, 2.127],
        6500.0,
    ),
    large(
        "vehicle.volkswagen.t2",
        "van",
        [2.240, 1.034, 1.019],
        1500.0,
    ),
    large(
        "vehicle.volkswagen.t2_2021",
        "van",
        [2.221, 0.889, 0.994],
        1500.0,
    ),
    two_wheeler(
        "vehicle.bh.crossbike",
        "bicycle",
        [0.744, 0.430, 0.810],
        90.0,
    ),
    two_wheeler(
        "vehicle.diamondback.century",
        "bicycle",
        [0.821, 0.187, 0.810],
        90.0,
    ),
    two_wheeler(
        "vehicle.gazelle.omafiets",
        "bicycle",
        [0.921, 0.187, 0.830],
        95.0,
    ),
    two_wheeler(
        "vehicle.harley-davidson.low_rider",
        "motorcycle",
        [1.175, 0.382, 0.785],
        370.0,
    ),
    two_wheeler(
        "vehicle.kawasaki.ninja",
        "motorcycle",
        [1.017, 0.398, 0.760],
        280.0,
    ),
    two_wheeler(
        "vehicle.vespa.zx125",
        "motorcycle",
        [0.902, 0.432, 0.790],
        190.0,
    ),
    two_wheeler(
        "vehicle.yamaha.yzf",
        "motorcycle",
        [1.105, 0.434, 0.770],
        270.0,
    ),
];

const CAR_TAGS: &[u8] = &[14];
const TRUCK_TAGS: &[u8] = &[15];
const BUS_TAGS: &[u8] = &[16];
const MOTORCYCLE_TAGS: &[u8] = &[18, 13];
const BICYCLE_TAGS: &[u8] = &[19, 13];

impl Model {
    /// The box: its floor is the ground.
    pub fn bounds(&self) -> Bounds {
        Bounds {
            center: [0.0, 0.0, self.half_m[2]],
            half: self.half_m,
        }
    }

    /// The numbers of its motion.
    pub fn physics(&self) -> VehiclePhysics {
        match self.id {
            "vehicle.lincoln.mkz_2017" | "vehicle.lincoln.mkz_2020" => VehiclePhysics::mkz_2017(),
            "vehicle.nissan.patrol" => VehiclePhysics::patrol(),
            _ => VehiclePhysics::scaled(self.half_m[0], self.half_m[1], self.mass_kg),
        }
    }

    /// Width and height that the air meets, metres. The MKZ's are CARLA's own, a little more than its box.
    pub fn chassis_m(&self) -> [f32; 2] {
        match self.id {
            "vehicle.lincoln.mkz_2017" | "vehicle.lincoln.mkz_2020" => [2.13, 1.51],
            _ => [2.0 * self.half_m[1], 2.0 * self.half_m[2]],
        }
    }

    /// CARLA's semantic tags.
    pub fn tags(&self) -> &'static [u8] {
        match self.base {
            "truck" => TRUCK_TAGS,
            "bus" => BUS_TAGS,
            "motorcycle" => MOTORCYCLE_TAGS,
            "bicycle" => BICYCLE_TAGS,
            _ => CAR_TAGS,
        }
    }

    fn blueprint(&self) -> Blueprint {
        let mut attributes = vec![
            Attribute::role(),
            Attribute::new("sticky_control", Boolean, "true"),
            Attribute::new("terramechanics", Boolean, "false"),
            Attribute::fixed("object_type", Text, ""),
            Attribute::fixed("base_type", Text, self.base),
            Attribute::fixed("special_type", Text, self.special),
            Attribute::fixed("number_of_wheels", Integer, self.wheels.to_string()),
            Attribute::fixed("generation", Integer, self.generation.to_string()),
            Attribute::fixed("has_dynamic_doors", Boolean, "false"),
            Attribute::fixed("has_lights", Boolean, (self.base != "bicycle").to_string()),
        ];
        if self.special.is_empty() {
            attributes.push(Attribute::new("color", Colour, COLOURS[0]).recommending(&COLOURS));
        }
        if self.wheels == 2 {
            attributes
                .push(Attribute::new("driver_id", Integer, "0").recommending(&["0", "1", "2"]));
            attributes
                .push(Attribute::new("driver_color", Colour, DRIVERS[0]).recommending(&DRIVERS));
        }
        Blueprint::new(self.id, Product::Vehicle(*self), attributes)
    }
}

pub(super) fn blueprints() -> Vec<Blueprint> {
    MODELS.iter().map(Model::blueprint).collect()
}

//! Bindings of the ego's dynamics alone, to be compared with recorded drives.

use carla_online_world::Dynamics;
use carla_online_world::dynamics::{CarState, Command, GEARS, GRIP_MPS2, Model, Traits};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::convert::{Arguments, Input, Output};

/// Adds this file's functions to the extension module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(drive_open_loop, module)?)
}

/// Drives the powertrain model through recorded controls. Start is speed, yaw rate, throttle, brake, gear; controls
/// are steer, throttle, brake of every step; out is speed and heading after it.
#[pyfunction]
#[pyo3(signature = (start, controls, out, *, step_s, grip_mps2=GRIP_MPS2))]
fn drive_open_loop(
    py: Python<'_>,
    start: [f32; 5],
    controls: &Bound<'_, PyAny>,
    out: &Bound<'_, PyAny>,
    step_s: f32,
    grip_mps2: f32,
) -> PyResult<()> {
    let steps: usize = controls.getattr("shape")?.get_item(0)?.extract()?;
    let mut arguments = Arguments::new();
    let controls: Input<f32> = arguments.input("controls", controls, &[steps, 3])?;
    let mut out: Output<f32> = arguments.output("out", out, &[steps, 2])?;
    let (controls, out) = (controls.as_slice(), out.as_mut_slice());
    if !(0.005..=0.1).contains(&step_s) {
        let message = format!("step_s is {step_s}; use 0.005 to 0.1");
        return Err(PyValueError::new_err(message));
    }
    let [speed_mps, yaw_rate_radps, throttle, brake, gear] = start;
    if !start.iter().chain(controls).all(|value| value.is_finite()) || speed_mps < 0.0 {
        let message = "start and controls must be finite, and the speed not negative";
        return Err(PyValueError::new_err(message));
    }
    if !(2.0..=40.0).contains(&grip_mps2) {
        let message = format!("grip_mps2 is {grip_mps2}; use 2 to 40");
        return Err(PyValueError::new_err(message));
    }
    let traits = Traits {
        grip_mps2,
        ..Traits::default()
    };
    py.detach(|| {
        let model = Model::new(Dynamics::Powertrain, step_s, &traits);
        let mut car = CarState::moving(0.0, 0.0, 0.0, speed_mps);
        (car.yaw_rate_radps, car.throttle, car.brake) = (yaw_rate_radps, throttle, brake);
        car.gear = (gear as u8).clamp(1, GEARS);
        let steps = controls.chunks_exact(3).zip(out.chunks_exact_mut(2));
        for (control, out) in steps {
            let command = Command {
                steer: control[0].clamp(-1.0, 1.0),
                throttle: control[1].clamp(0.0, 1.0),
                brake: control[2].clamp(0.0, 1.0),
            };
            model.advance(&mut car, command, 1.0);
            (out[0], out[1]) = (car.speed_mps, car.yaw_rad);
        }
    });
    Ok(())
}

"""carla.Vehicle."""

from __future__ import annotations

from carla_online.server.conformance.check import Group
from carla_online.server.conformance.site import Site

CHECKS = Group("Vehicle")


@CHECKS("apply_control, get_control", "apply_control_to_vehicle")
def _control(site: Site) -> str:
    car = site.car()
    before = car.get_location()
    car.apply_control(site.carla.VehicleControl(throttle=0.7, steer=0.1))
    site.steps(40)
    site.near("throttle in the state", car.get_control().throttle, 0.7, 1e-5)
    speed_mps = car.get_velocity().length()
    site.holds("it drives off", car.get_location().distance(before) > 1.0 and speed_mps > 1.0, speed_mps)
    car.apply_control(site.carla.VehicleControl(brake=1.0))
    site.steps(60)
    site.near("speed after braking", car.get_velocity().length(), 0.0, 0.1)
    return f"{speed_mps:.2f} m/s after 2 s of throttle 0.7"


@CHECKS("apply_control(reverse)", "apply_control_to_vehicle")
def _reverse(site: Site) -> None:
    car = site.car()
    ahead = car.get_transform().get_forward_vector()
    car.apply_control(site.carla.VehicleControl(throttle=0.7, reverse=True))
    site.steps(60)
    site.holds("it drives backwards", car.get_velocity().dot(ahead) < -0.5, car.get_velocity().dot(ahead))


@CHECKS(
    "apply_ackermann_control, get_/apply_ackermann_controller_settings",
    "apply_ackermann_control_to_vehicle",
    "get_ackermann_controller_settings",
    "apply_ackermann_controller_settings",
)
def _ackermann(site: Site) -> str:
    car = site.car()
    settings = car.get_ackermann_controller_settings()
    settings.speed_kp = settings.speed_kp + 0.01
    car.apply_ackermann_controller_settings(settings)
    site.steps(1)
    site.near("speed_kp", car.get_ackermann_controller_settings().speed_kp, settings.speed_kp, 1e-4)
    car.apply_ackermann_control(site.carla.VehicleAckermannControl(speed=5.0, acceleration=3.0))
    site.steps(200)
    # The controller's own gains are weak: it creeps towards its target.
    site.near("speed", car.get_velocity().length(), 5.0, 2.0)
    return f"{car.get_velocity().length():.2f} m/s for 5"


@CHECKS("get_physics_control, apply_physics_control", "get_physics_control", "apply_physics_control")
def _physics(site: Site) -> str:
    car = site.car()
    control = car.get_physics_control()
    site.holds("at least four wheels", len(control.wheels) >= 4, len(control.wheels))
    control.drag_coefficient, control.mass = 0.55, control.mass + 100.0
    wheels = control.wheels
    for wheel in wheels:
        wheel.tire_friction, wheel.long_stiff_value = 2.5, 1234.0
    control.wheels = wheels
    car.apply_physics_control(control)
    site.steps(2)
    after = car.get_physics_control()
    site.near("drag", after.drag_coefficient, 0.55, 1e-3)
    site.near("mass", after.mass, control.mass, 1e-3)
    site.near("grip of a wheel", after.wheels[0].tire_friction, 2.5, 1e-3)
    site.near("stiffness of a wheel", after.wheels[0].long_stiff_value, 1234.0, 1e-3)
    curves = [[(point.x, point.y) for point in got.torque_curve] for got in (control, after)]
    site.holds("the torque curve comes back exactly", curves[0] == curves[1])
    return f"{after.mass:.0f} kg, {len(after.wheels)} wheels, {len(after.forward_gears)} gears"


@CHECKS("get_light_state, set_light_state", "get_vehicle_light_state", "set_vehicle_light_state")
def _lights(site: Site) -> None:
    car, states = site.car(), site.carla.VehicleLightState
    car.set_light_state(states(states.Brake | states.LeftBlinker))
    site.steps(1)
    site.holds("the lights are on", int(car.get_light_state()) == int(states.Brake | states.LeftBlinker))


@CHECKS("open_door, close_door", "open_vehicle_door", "close_vehicle_door")
def _doors(site: Site) -> None:
    car, doors = site.car(), site.carla.VehicleDoor
    car.open_door(doors.FL)
    site.steps(1)
    car.close_door(doors.All)
    site.seen("accepted; it would show in pictures only", False)


@CHECKS("get_wheel_steer_angle", "get_wheel_steer_angle")
def _steer_angle(site: Site) -> str:
    car, wheels = site.car(), site.carla.VehicleWheelLocation
    angles = []
    for steer in (0.5, -0.5, 0.0):
        car.apply_control(site.carla.VehicleControl(steer=steer))
        site.steps(25)
        angles.append(car.get_wheel_steer_angle(wheels.FL_Wheel))
        rear = car.get_wheel_steer_angle(wheels.BL_Wheel)
        site.holds("the rear wheels turn less", abs(rear) <= abs(angles[-1]), rear)
    site.seen("the wheels don't turn", max(map(abs, angles)) > 1.0)
    site.holds("to opposite sides, and back", angles[0] * angles[1] < 0.0 and abs(angles[2]) < 1.0, angles)
    return ", ".join(f"{angle:.1f}" for angle in angles) + " degrees"


@CHECKS("set_wheel_steer_direction", "set_wheel_steer_direction")
def _wheel_steer(site: Site) -> None:
    car, wheels = site.car(), site.carla.VehicleWheelLocation
    car.set_wheel_steer_direction(wheels.FL_Wheel, 20.0)
    site.steps(2)
    site.seen("accepted; it would show in pictures only", abs(car.get_wheel_steer_angle(wheels.FL_Wheel) - 20.0) < 1.0)


@CHECKS("get_wheel_pitch_angle, set_wheel_pitch_angle", "get_wheel_pitch_angle", "set_wheel_pitch_angle")
def _wheel_pitch(site: Site) -> None:
    car, wheels = site.car(), site.carla.VehicleWheelLocation
    car.set_wheel_pitch_angle(wheels.FL_Wheel, 15.0)
    site.steps(1)
    site.seen("accepted; the wheel stays as it is", abs(car.get_wheel_pitch_angle(wheels.FL_Wheel) - 15.0) < 1.0)


@CHECKS("get_telemetry_data, show_debug_telemetry", "get_telemetry_data", "show_vehicle_debug_telemetry")
def _telemetry(site: Site) -> str:
    car = site.car()
    car.show_debug_telemetry(False)
    car.apply_control(site.carla.VehicleControl(throttle=1.0))
    site.steps(30)
    data = car.get_telemetry_data()
    site.near("throttle", data.throttle, 1.0, 0.0)
    site.near("wheels", len(data.wheels), len(car.get_physics_control().wheels), 0)
    site.holds("the engine turns", data.engine_rpm > 100.0, data.engine_rpm)
    site.holds("the wheels turn", max(abs(wheel.omega) for wheel in data.wheels) > 0.0)
    return f"{data.engine_rpm:.0f} revolutions a minute, gear {data.gear}"


@CHECKS("get_speed_limit")
def _limit(site: Site) -> str:
    limit = site.car().get_speed_limit()
    site.holds("it is positive", limit > 0.0, limit)
    return f"{limit:.0f} km/h"


@CHECKS("get_failure_state")
def _failure(site: Site) -> None:
    state = site.car().get_failure_state()
    site.holds("nothing has failed", str(state) in ("NONE", "None_"), state)


@CHECKS("get_vehicle_bone_world_transforms", "get_vehicle_bone_world_transforms")
def _bones(site: Site) -> None:
    site.seen("it has no bones", len(site.car().get_vehicle_bone_world_transforms()) > 0)


@CHECKS("enable_carsim, use_carsim_road", "enable_carsim", "use_carsim_road")
def _carsim(site: Site) -> None:
    car = site.car()
    car.enable_carsim("none.sim")
    car.use_carsim_road(False)
    site.steps(1)
    site.seen("accepted; needs another engine", False)


@CHECKS("enable_chrono_physics, restore_physx_physics", "enable_chrono_physics", "restore_physx_physics")
def _chrono(site: Site) -> None:
    car = site.car()
    car.enable_chrono_physics(1, 0.01, "", "", "", "")
    site.steps(1)
    car.restore_physx_physics()
    site.steps(1)
    site.seen("accepted; needs another engine", False)

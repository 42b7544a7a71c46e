//! The table of calls: every name that the client knows, with what it gets.

use super::call::{Answer, Call};
use super::{
    Action, Host, actors, batch, episode, lights, maps, rays, spawn, sundry, traffic_manager,
    vehicles,
};
use crate::wire::reply::Shape;
use crate::wire::reply::Shape::{Bare, Value, Void};

/// How a call is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// The world does it.
    Served,
    /// It is accepted, and answered as if there were nothing of the kind.
    Neutral,
}

/// What works on a call.
#[derive(Clone, Copy)]
pub(super) enum Handler {
    /// Anything.
    Call(fn(&mut Host, &mut Call<'_>) -> Answer),
    /// The first argument is an actor's id.
    Actor(Action),
    /// Always the same value, in `MessagePack`.
    Neutral(&'static [u8]),
}

/// One name.
pub(super) struct Row {
    name: &'static str,
    pub shape: Shape,
    pub handler: Handler,
    service: Service,
}

const EMPTY: &[u8] = &[0x90];
const NOTHING: &[u8] = &[];
const FALSE: &[u8] = &[0xc2];
const NO_BYTES: &[u8] = &[0xc4, 0];
const ZERO: &[u8] = &[0xca, 0, 0, 0, 0];
/// 9.81 as an f32.
const GRAVITY: &[u8] = &[0xca, 0x41, 0x1c, 0xf5, 0xc3];

const fn call(
    name: &'static str,
    shape: Shape,
    handler: fn(&mut Host, &mut Call<'_>) -> Answer,
) -> Row {
    Row {
        name,
        shape,
        handler: Handler::Call(handler),
        service: Service::Served,
    }
}

const fn act(name: &'static str, action: Action) -> Row {
    Row {
        name,
        shape: Void,
        handler: Handler::Actor(action),
        service: Service::Served,
    }
}

const fn still(name: &'static str, action: Action) -> Row {
    Row {
        service: Service::Neutral,
        ..act(name, action)
    }
}

const fn neutral(name: &'static str, shape: Shape, value: &'static [u8]) -> Row {
    Row {
        name,
        shape,
        handler: Handler::Neutral(value),
        service: Service::Neutral,
    }
}

/// Answered by code, but with canned content.
const fn canned(
    name: &'static str,
    shape: Shape,
    handler: fn(&mut Host, &mut Call<'_>) -> Answer,
) -> Row {
    Row {
        service: Service::Neutral,
        ..call(name, shape, handler)
    }
}

/// Sorted by name, for the search.
static TABLE: &[Row] = &[
    act("add_actor_angular_impulse", actors::add_angular_impulse),
    act("add_actor_force", actors::add_force),
    still("add_actor_force_at_location", actors::accept),
    act("add_actor_impulse", actors::add_impulse),
    still("add_actor_impulse_at_location", actors::accept),
    act("add_actor_torque", actors::add_angular_impulse),
    call("add_traffic_manager_running", Value, traffic_manager::add),
    act(
        "apply_ackermann_control_to_vehicle",
        vehicles::apply_ackermann,
    ),
    act(
        "apply_ackermann_controller_settings",
        vehicles::apply_ackermann_settings,
    ),
    call("apply_batch", Bare, batch::apply),
    neutral("apply_color_texture_to_objects", Void, NOTHING),
    act("apply_control_to_vehicle", vehicles::apply_control),
    act("apply_control_to_walker", actors::apply_walker_control),
    neutral("apply_float_color_texture_to_objects", Void, NOTHING),
    act("apply_physics_control", vehicles::apply_physics),
    neutral("are_gbuffers_enabled", Value, FALSE),
    neutral("blend_pose", Void, NOTHING),
    call("carla_online_control", Value, maps::control),
    call("cast_ray", Value, rays::cast_ray),
    neutral("clear_debug_shape", Void, NOTHING),
    neutral("clear_debug_string", Void, NOTHING),
    still("close_vehicle_door", actors::accept),
    neutral("console_command", Value, FALSE),
    call("copy_opendrive_to_file", Void, episode::receive),
    call("destroy_actor", Value, spawn::destroy),
    call("destroy_traffic_manager", Value, traffic_manager::remove),
    act(
        "disable_actor_constant_velocity",
        vehicles::disable_constant_velocity,
    ),
    neutral("disable_sensor_for_ros", Void, NOTHING),
    neutral("draw_debug_shape", Void, NOTHING),
    act(
        "enable_actor_constant_velocity",
        vehicles::enable_constant_velocity,
    ),
    still("enable_carsim", actors::accept),
    still("enable_chrono_physics", actors::accept),
    neutral("enable_environment_objects", Void, NOTHING),
    neutral("enable_gbuffers", Void, NOTHING),
    neutral("enable_sensor_for_ros", Void, NOTHING),
    call("freeze_all_traffic_lights", Void, lights::freeze_all),
    still("freeze_traffic_light", actors::accept),
    call(
        "get_ackermann_controller_settings",
        Value,
        vehicles::ackermann_settings,
    ),
    canned("get_actor_bone_names", Value, sundry::bone_names),
    canned(
        "get_actor_bone_relative_transforms",
        Value,
        sundry::bone_relative_transforms,
    ),
    canned(
        "get_actor_bone_world_transforms",
        Value,
        sundry::bone_world_transforms,
    ),
    call("get_actor_bounding_box", Value, spawn::bounding_box),
    canned("get_actor_component_names", Value, sundry::component_names),
    canned(
        "get_actor_component_relative_transform",
        Value,
        sundry::component_relative_transform,
    ),
    canned(
        "get_actor_component_world_transform",
        Value,
        sundry::component_world_transform,
    ),
    call("get_actor_definitions", Value, maps::definitions),
    canned("get_actor_socket_names", Value, sundry::socket_names),
    canned(
        "get_actor_socket_relative_transforms",
        Value,
        sundry::socket_relative_transforms,
    ),
    canned(
        "get_actor_socket_world_transforms",
        Value,
        sundry::socket_world_transforms,
    ),
    call("get_actors_by_id", Value, spawn::actors_by_id),
    neutral("get_all_level_BBs", Value, EMPTY),
    call("get_available_maps", Value, maps::available_maps),
    canned("get_bones_transform", Value, sundry::bones),
    neutral("get_environment_objects", Value, EMPTY),
    call("get_episode_info", Value, maps::episode_info),
    call("get_episode_settings", Value, maps::settings),
    neutral("get_gbuffer_token", Value, NO_BYTES),
    call("get_group_traffic_lights", Value, lights::group),
    neutral("get_imui_gravity", Value, GRAVITY),
    call("get_light_boxes", Value, lights::boxes),
    call("get_map_data", Value, maps::map_data),
    call("get_map_info", Value, maps::map_info),
    neutral("get_names_of_all_objects", Value, EMPTY),
    call("get_navigation_mesh", Value, maps::navigation_mesh),
    call("get_physics_control", Value, vehicles::physics),
    neutral("get_pose_from_animation", Void, NOTHING),
    call("get_required_files", Value, maps::required_files),
    call("get_sensor_token", Value, maps::sensor_token),
    call("get_spectator", Value, spawn::spectator),
    call("get_telemetry_data", Value, vehicles::telemetry),
    call("get_traffic_manager_running", Value, traffic_manager::find),
    canned(
        "get_vehicle_bone_world_transforms",
        Value,
        sundry::bone_world_transforms,
    ),
    call("get_vehicle_light_state", Value, vehicles::lights),
    call("get_vehicle_light_states", Value, vehicles::all_lights),
    call("get_weather_parameters", Value, maps::weather),
    neutral("get_wheel_pitch_angle", Value, ZERO),
    call("get_wheel_steer_angle", Value, vehicles::wheel_steer_angle),
    neutral("is_sensor_enabled_for_ros", Value, FALSE),
    call(
        "is_traffic_manager_running",
        Value,
        traffic_manager::is_running,
    ),
    neutral("load_map_layer", Void, NOTHING),
    call("load_new_episode", Void, episode::load),
    still("open_vehicle_door", actors::accept),
    call("project_point", Value, rays::project_point),
    neutral("query_lights_state", Value, EMPTY),
    canned("replay_file", Value, sundry::no_recorder),
    call("request_file", Value, maps::request_file),
    call("reset_all_traffic_lights", Void, lights::reset_all),
    act("reset_traffic_light_group", lights::reset_group),
    still("restore_physx_physics", actors::accept),
    neutral("send", Void, NOTHING),
    still("set_actor_autopilot", actors::accept),
    act("set_actor_collisions", actors::set_collisions),
    still("set_actor_dead", actors::accept),
    act("set_actor_enable_gravity", actors::set_gravity),
    act("set_actor_location", actors::set_location),
    act("set_actor_simulate_physics", actors::set_simulate_physics),
    act(
        "set_actor_target_angular_velocity",
        actors::set_target_angular_velocity,
    ),
    act("set_actor_target_velocity", actors::set_target_velocity),
    act("set_actor_transform", actors::set_transform),
    neutral("set_annotations_traverse_translucency", Void, NOTHING),
    neutral("set_bones_transform", Void, NOTHING),
    call("set_episode_settings", Value, maps::set_settings),
    neutral("set_ignored_vehicles", Void, NOTHING),
    neutral("set_imui_gravity", Void, NOTHING),
    neutral("set_replayer_ignore_hero", Void, NOTHING),
    neutral("set_replayer_ignore_spectator", Void, NOTHING),
    neutral("set_replayer_time_factor", Void, NOTHING),
    act("set_traffic_light_green_time", lights::set_green_time),
    act("set_traffic_light_red_time", lights::set_red_time),
    act("set_traffic_light_state", lights::set_state),
    act("set_traffic_light_yellow_time", lights::set_yellow_time),
    act("set_vehicle_light_state", vehicles::set_lights),
    call("set_weather_parameters", Void, maps::set_weather),
    still("set_wheel_pitch_angle", actors::accept),
    still("set_wheel_steer_direction", actors::accept),
    canned("show_recorder_actors_blocked", Value, sundry::no_recorder),
    canned("show_recorder_collisions", Value, sundry::no_recorder),
    canned("show_recorder_file_info", Value, sundry::no_recorder),
    still("show_vehicle_debug_telemetry", actors::accept),
    call("spawn_actor", Value, spawn::spawn),
    call("spawn_actor_with_parent", Value, spawn::spawn_with_parent),
    canned("start_recorder", Value, sundry::start_recorder),
    neutral("stop_recorder", Void, NOTHING),
    neutral("stop_replayer", Void, NOTHING),
    call("tick_cue", Value, maps::tick),
    neutral("unload_map_layer", Void, NOTHING),
    neutral("update_day_night_cycle", Void, NOTHING),
    neutral("update_lights_state", Void, NOTHING),
    still("use_carsim_road", actors::accept),
    call("version", Value, maps::version),
];

/// The row of a name.
pub(super) fn find(name: &str) -> Option<&'static Row> {
    TABLE
        .binary_search_by(|row| row.name.cmp(name))
        .ok()
        .map(|index| &TABLE[index])
}

/// Every name with how it is answered, sorted.
pub fn calls() -> impl Iterator<Item = (&'static str, Service)> {
    TABLE.iter().map(|row| (row.name, row.service))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::msgpack::Scanner;

    #[test]
    fn every_name_is_found() {
        for (name, _) in calls() {
            assert_eq!(find(name).map(|row| row.name), Some(name));
        }
        assert!(find("no_such_call").is_none());
    }

    #[test]
    fn neutral_values_are_one_value_or_none_for_void() {
        for row in TABLE {
            if let Handler::Neutral(value) = row.handler {
                let expected = if row.shape == Void {
                    Ok(None)
                } else {
                    Ok(Some(value.len()))
                };
                assert_eq!(Scanner::default().advance(value), expected, "{}", row.name);
            }
        }
    }
}

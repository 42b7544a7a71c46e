"""carla.Walker and carla.WalkerAIController."""

from __future__ import annotations

from carla_online.server.conformance.check import Group
from carla_online.server.conformance.outcome import Neutral
from carla_online.server.conformance.site import Site

CHECKS = Group("Walker")


@CHECKS("apply_control", "apply_control_to_walker")
def _control(site: Site) -> str:
    walker = site.walker()
    before = walker.get_location()
    walker.apply_control(site.carla.WalkerControl(site.carla.Vector3D(1.0, 0.0, 0.0), 1.5, False))
    site.steps(40)
    moved = walker.get_location() - before
    site.near("metres in 2 s at 1.5 m/s", moved.x, 3.0, 0.5)
    site.near("metres aside", moved.y, 0.0, 0.3)
    return f"{moved.x:.2f} m"


@CHECKS("bounding_box", "get_actor_bounding_box")
def _box(site: Site) -> str:
    box = site.walker().bounding_box
    site.holds("half its height is more than half a metre", box.extent.z > 0.5, box.extent.z)
    return f"{2 * box.extent.z:.2f} m high"


@CHECKS(
    "get_bones, set_bones, blend_pose, show_pose, hide_pose",
    "get_bones_transform",
    "set_bones_transform",
    "blend_pose",
)
def _bones(site: Site) -> str:
    walker = site.walker()
    bones = walker.get_bones().bone_transforms
    pose = site.carla.WalkerBoneControlIn()
    pose.bone_transforms = [(bone.name, bone.relative) for bone in bones[:2]]
    walker.set_bones(pose)
    walker.blend_pose(0.5)
    walker.show_pose()
    walker.hide_pose()
    site.steps(1)
    site.seen("it has no bones", len(bones) > 0)
    return f"{len(bones)} bones"


@CHECKS("get_pose_from_animation", "get_pose_from_animation")
def _animation(site: Site) -> None:
    site.walker().get_pose_from_animation()
    site.steps(1)
    raise Neutral("accepted; it would show in pictures only")


@CHECKS("WalkerAIController start, go_to_location, set_max_speed, stop", "apply_batch", "get_required_files")
def _controller(site: Site) -> str:
    start = site.world.get_random_location_from_navigation()
    site.seen("there is no navigation mesh: it stands still", start is not None)
    start.z += 1.0
    walker = site.spawn("walker.pedestrian.*", site.carla.Transform(start))
    controller = site.spawn("controller.ai.walker", parent=walker)
    controller.start()
    controller.go_to_location(site.world.get_random_location_from_navigation())
    controller.set_max_speed(1.4)
    before = walker.get_location()
    site.steps(120)
    moved_m = walker.get_location().distance(before)
    controller.stop()
    site.seen("it stands still", moved_m > 0.3)
    return f"{moved_m:.2f} m in 6 s"

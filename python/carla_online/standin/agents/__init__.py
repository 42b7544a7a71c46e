"""Driving agents on top of the `carla` client, with the names and the interface of CARLA 0.9.16's `agents`.

Written from that interface and its documented behaviour. Speeds are km/h where CARLA's are: in `target_speed`,
`set_target_speed`, `set_speed` and `get_speed`.
"""

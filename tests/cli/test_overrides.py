"""Options of the command line lie over a shipped configuration."""

from carla_online.cli.configs import load_experiment


def test_numbers_presets_and_mappings_can_be_overridden():
    options = ["--learner.actor-lr", "1e-4", "--seed", "3", "--env.traffic", "dense"]
    options += ["--policy.delta-scale", "0.1", "0.3"]
    config = load_experiment("sac_straight", [*options, "--env.map", "{preset: highway, map_variants: 3}"])
    assert config.learner.actor_lr == 1e-4
    assert config.seed == 3
    assert config.env.traffic == "dense"
    assert config.env.map == {"preset": "highway", "map_variants": 3}
    assert config.policy.delta_scale == (0.1, 0.3)
    untouched = load_experiment("sac_straight", [])
    assert config.learner.warmup == untouched.learner.warmup
    assert config.suite == untouched.suite

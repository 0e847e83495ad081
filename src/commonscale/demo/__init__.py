"""A drawn world that shows the whole job offline: index, calibrate, rank text and images together."""

from commonscale.demo.corpus import ENCODER_FOLDER, draw_pictures
from commonscale.demo.demonstration import run
from commonscale.demo.results import DemoResult
from commonscale.demo.world import World, build_world

__all__ = ["ENCODER_FOLDER", "DemoResult", "World", "build_world", "draw_pictures", "run"]

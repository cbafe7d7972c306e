"""Games of the Atari 2600, by the Arcade Learning Environment.

What a network sees and is given follows Bellec et al. 2020, Nat. Commun. 11:3625, in the form of
the authors' code: gray pictures of 84 x 84 pixels, each the mean of the area that it covers;
brightness from 0 to 1 as the value of an input for each pixel, held until the next action; an
action that lasts for 4 frames; rewards clipped to -1 ... 1.

The library ``ale-py`` (GPL-2.0) brings the games along. Pictures are reduced by gymnasium's own
``AtariPreprocessing``, and that by OpenCV, whose interpolation by areas weighs pixels by the part
of them that is covered; Pillow's box filter would take them whole or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar

from eprop_brian.base.checks import check_count
from eprop_brian.tasks.datasets import import_library
from eprop_brian.tasks.external import ExternalTask

__all__ = ["Atari"]

#: Actions of the published network, by game: nothing, and the racket down and up.
_ACTIONS = {"Pong": (0, 3, 4)}


@dataclass(frozen=True, kw_only=True, eq=False)
class Atari(ExternalTask):
    """Play a game of the Atari 2600.

    Parameters
    ----------
    game : str
        Such as "Pong", the default, or "FishingDerby".
    actions : sequence of int
        The joystick's positions that the network has, as the game numbers them; none: those of the
        published network, and all of a game that it did not play.
    frame_skip : int
        Frames for which an action lasts (4).
    screen_size : int
        Height and width of a picture in pixels (84).
    clipped : bool
        Whether rewards are clipped to -1 ... 1, as they are by default.
    most_actions : int
        An episode is cut off after so many (1000).

    Further settings are those of `eprop_brian.tasks.external.ExternalTask`; coding is analog.

    Raises
    ------
    DataError
        If ``ale-py``, gymnasium or OpenCV is not installed.
    ValueError
        If there is no such game, or a setting does not fit it.

    Notes
    -----
    An episode begins with 1 to 30 frames of nothing, drawn by its seed, and the game may repeat an
    action (with a probability of 0.25), as ``ALE/Pong-v5`` and its like have it.
    """

    name: ClassVar[str] = "atari"
    description: ClassVar[str] = "play a game of the Atari 2600: atari:Pong"
    source: ClassVar[str] = (
        "Bellemare et al. 2013, J. Artif. Intell. Res. 47:253-279; Bellec et al. 2020, Nat. "
        "Commun. 11:3625"
    )
    argument: ClassVar[str] = "game"

    coding: str = "analog"
    most_actions: int | None = 1000
    game: str = "Pong"
    frame_skip: int = 4
    screen_size: int = 84
    clipped: bool = True

    @property
    def title(self) -> str:
        """The id of the game in gymnasium."""
        return f"ALE/{self.game}-v5"

    @property
    def published_actions(self) -> tuple[int, ...]:
        """Those of the published network."""
        return _ACTIONS.get(self.game, ())

    def __post_init__(self) -> None:
        check_count("frame_skip", self.frame_skip)
        check_count("screen_size", self.screen_size)
        super().__post_init__()

    def _made(self, gymnasium: ModuleType, render: bool) -> Any:
        ale = import_library("ale_py", "ale-py", "atari")  # registers the games
        ale.ALEInterface.setLoggerMode(ale.LoggerMode.Error)  # no greeting
        import_library("cv2", "opencv-python-headless", "atari")
        wrappers = import_library("gymnasium.wrappers", "gymnasium", "gymnasium")
        mode = "rgb_array" if render else None
        # The wrapper below skips frames.
        game = gymnasium.make(self.title, frameskip=1, render_mode=mode, disable_env_checker=True)
        reduced = wrappers.AtariPreprocessing(
            game, frame_skip=self.frame_skip, screen_size=self.screen_size
        )
        return wrappers.ClipReward(reduced, -1.0, 1.0) if self.clipped else reduced

"""The laws: contract tests that anything of yours can be held to, and everything that ships is.

Subclass one in a test file, give it your object, and pytest collects the laws:

    from chipfit.testing import SpaceLaws

    class TestMySpace(SpaceLaws):
        def space(self):
            return MySpace()
"""

from chipfit.testing.device import DeviceLaws
from chipfit.testing.edits import EditLaws
from chipfit.testing.evaluator import EvaluatorLaws
from chipfit.testing.space import SpaceLaws
from chipfit.testing.strategy import StrategyLaws

__all__ = ["DeviceLaws", "EditLaws", "EvaluatorLaws", "SpaceLaws", "StrategyLaws"]

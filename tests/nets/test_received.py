"""Modules of users' functions through the door: unsound, unfinished or odd ones are one line, or come in right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from chipfit.cli.app import main
from chipfit.core.errors import BadInput
from chipfit.core.supervised import VARIABLE
from chipfit.nets.build import build
from chipfit.nets.load import load_models
from chipfit.nets.zoo import Entry

HEAD = "import os, sys, time\nimport torch\nfrom torch import nn\n"
NET = "nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))"
MODULE = f"""
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = {NET}
    def forward(self, x):
        STATEMENT
        return self.net(x)
def build():
    torch.manual_seed(0)
    return Net()
"""


def loaded(folder: Path, text: str, **how: object) -> Entry:
    (folder / "mine.py").write_text(HEAD + text)
    (entry,) = load_models([f"{folder}/mine.py:build"], input_shape=(1, 8, 8), **how)  # type: ignore[arg-type]
    return entry


def refused(folder: Path, text: str, **how: object) -> str:
    with pytest.raises(BadInput) as caught:
        loaded(folder, text, **how)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(f"{folder}/", "")


def made(expression: str, *more: str) -> str:
    return f"def build():\n    m = {NET}\n" + "".join(f"    {line}\n" for line in more) + f"    return {expression}\n"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (made("m", "m[0].weight.data[0] = float('nan')"), "mine.py:build leaves NaN or infinite values in '0.weight'"),
        (made("m", "m[3].bias.data[0] = float('inf')"), "NaN or infinite values in '3.bias'"),
        (made("m", "[p.data.fill_(float('nan')) for p in m.parameters()]"), "in '0.weight' and 3 others"),
        (made("m.to('meta')"), "returned a module on the meta device"),
        (
            made("m", "m[0].weight.data = m[0].weight.data.to(torch.float8_e4m3fn)"),
            "'0.weight' is sparse, quantised or of",
        ),
        (
            made("m", "m.eval = lambda: 1 / 0"),
            "the module raised ZeroDivisionError: division by zero (mine.py,",
        ),
        (made("m", "m.named_parameters = lambda **k: 1 / 0"), "the module raised ZeroDivisionError"),
        (made("torch.export.export(m, (torch.zeros(2, 1, 8, 8),)).module()"), "the module raised NotImplementedError"),
        (made("torch.jit.script(m)"), "returned a TorchScript module"),
        (made("nn.Sequential(nn.Flatten(), nn.LazyLinear(2))"), "whose '1.weight' has no values before a first input"),
        (made("m.state_dict()"), "returned an OrderedDict; return a torch.nn.Module"),
        (made("nn.Linear"), "returned the class itself; return an instance"),
        (made("None"), "returned a NoneType"),
        (MODULE.replace("STATEMENT", "sys.exit(7)"), "forward raised SystemExit: 7 (mine.py, line 10)"),
        (MODULE.replace("STATEMENT", "os._exit(0)"), "forward raised os._exit: 0 (mine.py, line 10)"),
        (MODULE.replace("STATEMENT", "raise KeyError('scale')"), "forward raised KeyError: 'scale' (mine.py, line 10)"),
        (MODULE.replace("STATEMENT", "return self.forward(x)"), "forward raised RecursionError"),
        (MODULE.replace("STATEMENT", "x = x @ x.new_zeros(3, 3)"), "(mine.py, line 10)"),
        (MODULE.replace("STATEMENT", "return [x.long()]"), "returns a list for one input; return one tensor"),
    ],
)
def test_what_cannot_be_used_is_one_line_that_names_model_and_place(tmp_path: Path, text: str, said: str) -> None:
    line = refused(tmp_path, text)
    assert line.startswith("mine.py:build")
    assert said in line


def test_a_forward_that_fails_on_one_of_two_batch_sizes_is_named_with_its_line(tmp_path: Path) -> None:
    line = refused(tmp_path, MODULE.replace("STATEMENT", "assert len(x) == 1, 'one at a time'"))
    assert line.startswith("mine.py:build fails on a batch of ")
    assert "AssertionError: one at a time (mine.py, line 10)" in line


def test_a_forward_that_hangs_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "1")
    line = refused(tmp_path, MODULE.replace("STATEMENT", "time.sleep(1000)"))
    assert "forward took more than 1 s and was stopped (mine.py, line 10)" in line


def reference(entry: Entry, module: nn.Module) -> None:
    x = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(build(entry.network)(x), module.float().eval()(x), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("change", ["m.half()", "m.double()", "m.bfloat16()", "m.train()", "m.requires_grad_(False)"])
def test_other_precisions_and_modes_come_in_right(tmp_path: Path, change: str) -> None:
    entry = loaded(tmp_path, made(change, "torch.manual_seed(0)", "m[0].reset_parameters()", "m[3].reset_parameters()"))
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    torch.manual_seed(0)
    module[0].reset_parameters()
    module[3].reset_parameters()
    reference(entry, module.bfloat16() if "bfloat" in change else module.half() if "half" in change else module)


INFERENCE = """
def build():
    with torch.inference_mode():
        return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 2))
"""


def test_a_module_made_for_inference_is_taken_and_takes_weights(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 2))
    torch.save(module.state_dict(), tmp_path / "w.pt")
    assert loaded(tmp_path, INFERENCE)
    reference(loaded(tmp_path, INFERENCE, weights=[tmp_path / "w.pt"]), module)


def test_a_method_of_the_module_that_hangs_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "0.3")
    line = refused(tmp_path, made("m", "m.named_parameters = lambda **k: time.sleep(60)"))
    assert "mine.py:build: the module took more than 0.3 s" in line


def test_wide_weights_are_not_cut_by_a_half_precision_module(tmp_path: Path) -> None:
    source = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    torch.save(source.double().state_dict(), tmp_path / "w.pth")
    entry = loaded(tmp_path, made("m.half()"), weights=[tmp_path / "w.pth"])
    assert entry.source.endswith("mine.py:build with w.pth (float64 as float32)")
    weight = next(a for n, a in entry.network.weights.items() if n.endswith("3.weight"))
    torch.testing.assert_close(torch.from_numpy(weight), source[3].weight.float())


def test_lazy_layers_take_the_weights_of_a_file(tmp_path: Path) -> None:
    source = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    torch.save(source.state_dict(), tmp_path / "w.pth")
    text = made("nn.Sequential(nn.Flatten(), nn.LazyLinear(2))")
    reference(loaded(tmp_path, text, weights=[tmp_path / "w.pth"]), source)


def test_what_it_changes_of_torch_is_put_back(tmp_path: Path) -> None:
    changes = (
        "torch.set_default_dtype(torch.float64)", "torch.set_default_device('meta')", "torch.set_grad_enabled(False)",
        "torch.use_deterministic_algorithms(True)", "torch.set_float32_matmul_precision('medium')",
        "torch.set_num_threads(7)",
    )  # fmt: skip
    threads = torch.get_num_threads()
    loaded(tmp_path, made("m", *changes))
    assert torch.zeros(1).dtype == torch.float32
    assert torch.zeros(1).device.type == "cpu"
    assert torch.is_grad_enabled()
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.get_float32_matmul_precision() == "highest"
    assert torch.get_num_threads() == threads


NOISY = """
import atexit, ctypes, threading
def shout(what):
    print("python", what, flush=True)
    os.write(1, b"descriptor\\n")
    os.system("echo process")
    libc = ctypes.CDLL(None); libc.puts(b"native")
shout("at import")
atexit.register(shout, "at exit")
threading.Thread(target=lambda: (time.sleep(0.2), shout("in a thread"))).start()
"""


@pytest.mark.long
def test_nothing_it_prints_in_any_way_is_among_the_results(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(HEAD + NOISY + MODULE.replace("STATEMENT", "shout('in forward')"))
    words = [
        "check",
        "mine.py:build",
        "--input-shape",
        "1,8,8",
        "--device",
        "null",
        "--max",
        "latency_ms=100%",
        "--json",
    ]
    ended = subprocess.run(
        [sys.executable, "-m", "chipfit.cli", *words], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)}, timeout=120,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    json.loads(ended.stdout)
    for what in (
        "python at import",
        "python at exit",
        "python in a thread",
        "in forward",
        "descriptor",
        "process",
        "native",
    ):
        assert what in ended.stderr


def test_in_one_process_stdout_is_afterwards_what_it_was(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(HEAD + "sys.exit(7)\n")
    assert (
        main(["check", f"{tmp_path}/mine.py:build", "--input-shape", "1,8,8", "--max", "latency_ms=1", "--json"]) == 2
    )
    said = capfd.readouterr()
    assert json.loads(said.out)["exit_code"] == 2
    assert "importing mine.py raised SystemExit: 7 (mine.py, line 4)" in said.err
    print("to stdout")
    os.write(1, b"and by descriptor\n")
    assert capfd.readouterr().out == "to stdout\nand by descriptor\n"

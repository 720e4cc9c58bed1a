"""The house keeps its rules: names, sizes, empty package files, import contracts."""

import ast
import configparser
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("edge", "cloud", "lifelong", "annotation")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
# Must be empty before a release.
LONGER_THAN_400_LINES: frozenset[str] = frozenset()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_small_says_what_it_knows_and_has_a_telling_name(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert path.stem not in {"utils", "util", "helpers", "common", "manager", "misc"}
    if path.name == "__init__.py":
        assert text == "", "import from the module that owns the name"
        return
    assert ast.get_docstring(ast.parse(text)), "a module starts by saying what it knows"
    assert len(text.splitlines()) <= 400 or path.name in LONGER_THAN_400_LINES


def test_the_import_contracts_hold() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_every_rule_of_lifelong_is_held_to_need_no_torch() -> None:
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / ".importlinter", encoding="utf-8")
    held = contracts["importlinter:contract:rules-are-torch-free"]["source_modules"].split()
    modules = [path.stem for path in (ROOT / "lifelong").glob("*.py") if path.stem != "__init__"]
    rooms = [path.parent.name for path in (ROOT / "lifelong").glob("*/__init__.py")]
    assert held == sorted(f"lifelong.{name}" for name in {*modules, *rooms} - {"training"})


@pytest.mark.parametrize(
    "folder", sorted({path.parent for path in MODULES}), ids=lambda p: str(p.relative_to(ROOT))
)
def test_a_room_is_no_hall(folder: Path) -> None:
    assert len(list(folder.glob("*.py"))) <= 45, "modules that belong together want a room"


@pytest.mark.parametrize("package", PACKAGES)
def test_the_page_of_the_house_names_every_room(package: str) -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = [path.parent.relative_to(ROOT) for path in (ROOT / package).glob("*/__init__.py")]
    assert [str(room) for room in rooms if f"| `{room.as_posix()}/` |" not in page] == []


def test_kb03_nothing_of_ours_unpickles() -> None:
    """KB-03: JSON, safetensors and ONNX are the only formats on a boundary."""
    for path in MODULES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                # The error that torch raises for a damaged checkpoint may be caught by its name.
                is_error = [alias.name for alias in node.names] == ["UnpicklingError"]
                names = [] if is_error else [node.module or ""]
            foreign = {name.split(".")[0] for name in names}
            assert not foreign & {"pickle", "joblib", "dill", "shelve", "marshal"}, path
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
                assert keywords.get("weights_only") == "True", f"{path}: torch.load"


@pytest.mark.parametrize("module", ["cloud.sedna_eval", "cloud.web.app", "annotation.exchange"])
def test_judging_and_annotation_need_no_torch(module: str) -> None:
    code = f"import sys, {module}; print('torch' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"


@pytest.mark.parametrize(
    "modules",
    [
        "edge.cli, lifelong.segmenter",
        "cloud.learning.precision",
        "cloud.preannotation.semantic.onnx_labeler",
    ],
)
def test_onnx_runtime_leaves_nothing_behind(modules: str, tmp_path: Path) -> None:
    """Its import would write a device id and a queue of events; see `lifelong/onnx_runtime.py`."""
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", f"import {modules}"], env=environment, check=True)
    assert [str(path) for path in tmp_path.rglob("*") if "onnx" in str(path).lower()] == []


def test_only_one_module_imports_onnx_runtime_itself() -> None:
    importing = [
        str(path.relative_to(ROOT))
        for room in ("edge", "cloud", "lifelong", "annotation", "bench")
        for path in (ROOT / room).rglob("*.py")
        if re.search(r"^\s*(import onnxruntime|from onnxruntime import)", path.read_text(), re.M)
    ]
    assert importing == ["lifelong/onnx_runtime.py"]

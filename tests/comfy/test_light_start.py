"""ComfyUI shows the nodes without the libraries that only running a model needs."""

import json
import os
import subprocess
import sys

import comfy_pack
import pytest
from comfy_home import PACK

SCRIPT = """
import asyncio, json, sys
import comfy_pack

HEAVY = {"diffusers", "transformers", "segment_anything"}
comfy_pack.load_comfyui()  # core has a use for some of them
for name in [name for name in sys.modules if name.split(".")[0] in HEAVY]:
    del sys.modules[name]


class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in HEAVY:
            raise ImportError(f"{name} is imported when ComfyUI starts")


sys.meta_path.insert(0, Refuse())
if len(sys.argv) > 1:
    comfy_pack.part(sys.argv[1])
pack = asyncio.run(comfy_pack.load_pack().comfy_entrypoint())
nodes = asyncio.run(pack.get_node_list())
print(json.dumps({node.GET_SCHEMA().node_id: node.GET_NODE_INFO_V1() for node in nodes}, default=str))
"""


def start(*arguments):
    places = os.pathsep.join([str(PACK), str(PACK / "tests" / "support")])
    call = [sys.executable, "-P", "-c", SCRIPT, *arguments]
    return subprocess.run(call, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": places})


@pytest.fixture(scope="module", autouse=True)
def comfyui():
    return comfy_pack.load_comfyui()


def test_all_schemas_are_built_without_the_heavy_libraries():
    done = start()
    assert done.returncode == 0, done.stderr[-3000:]
    shown = json.loads(done.stdout.splitlines()[-1])
    released = json.loads((PACK / "tests" / "server" / "object_info.json").read_text())
    assert sorted(shown) == sorted(released)
    assert all(shown[name]["input_order"] == released[name]["input_order"] for name in released)


def test_a_heavy_import_would_be_refused():
    done = start("canvas_core.networks.autoencoder")
    assert "diffusers is imported when ComfyUI starts" in done.stderr

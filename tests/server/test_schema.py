"""What a running ComfyUI offers: the nodes' schemas, help pages, texts and templates."""

import json
from pathlib import Path

import pytest
from comfy_home import PACK
from comfy_server import LINK_NAME

GOLDEN = Path(__file__).parent / "object_info.json"
NODES = list(json.loads(GOLDEN.read_text()))
LOCALE = json.loads((PACK / "locales" / "en" / "nodeDefs.json").read_text())


def schema(info):
    """A node's contract: no file lists, which depend on the machine, and nothing that only places it in a menu."""
    info = json.loads(json.dumps(info))
    for name in (
        "python_module",
        "essentials_category",
        "has_intermediate_output",
    ):  # the last one is newer than the floor
        info.pop(name, None)
    info["input"].pop("hidden", None)
    for inputs in info["input"].values():
        for key, spec in inputs.items():
            if key in ("file", "sam"):
                spec[1]["options"] = []
            if key in ("sampler_name", "scheduler"):
                spec[1].pop("options")
    return info


def texts(info):
    """Every (place, text) of a schema: nested inputs too."""
    found = [("description", info["description"])]
    for group in ("required", "optional"):
        for key, spec in info["input"].get(group, {}).items():
            found.append((f"inputs.{key}.tooltip", spec[1].get("tooltip")))
            for option in spec[1].get("options", []):
                if isinstance(option, dict):
                    for nested in option["inputs"].values():
                        found += [
                            (f"inputs.{key}.{name}.tooltip", sub[1].get("tooltip")) for name, sub in nested.items()
                        ]
    return found


@pytest.fixture(scope="module")
def object_info(server):
    return {name: info for name, info in server.json("/object_info").items() if name.startswith("Canvas")}


def test_every_node_is_there(object_info):
    assert sorted(object_info) == sorted(NODES)


@pytest.mark.parametrize("name", NODES)
def test_schema_is_the_released_one(object_info, name):
    """Released inputs never change their order; regenerate with scripts/build_locales.py after adding one at the end."""
    assert schema(object_info[name]) == json.loads(GOLDEN.read_text())[name]


@pytest.mark.parametrize("name", NODES)
def test_every_text_is_there(object_info, name):
    info = object_info[name]
    assert info["search_aliases"]
    assert info["category"] == "video/outpaint"
    for place, text in texts(info):
        assert text, f"{name} has no {place}"


@pytest.mark.parametrize("name", NODES)
def test_the_locale_says_what_the_schema_says(object_info, name):
    info, locale = object_info[name], LOCALE[name]
    assert locale["display_name"] == info["display_name"]
    assert locale["description"] == info["description"]
    for place, text in texts(info)[1:]:
        key = place.removeprefix("inputs.").removesuffix(".tooltip").replace(".", "_")
        assert locale["inputs"][key]["tooltip"] == text
    assert [locale["outputs"][str(i)]["name"] for i in range(len(info["output_name"]))] == info["output_name"]


@pytest.mark.parametrize("name", NODES)
def test_the_help_page_is_served_and_its_own(object_info, server, name):
    page = server.get(f"/extensions/{LINK_NAME}/docs/{name}.md").decode()
    for place, text in texts(object_info[name]):
        assert text not in page, f"{name}: the page copies {place}"
        key = place.removeprefix("inputs.").removesuffix(".tooltip")
        assert place == "description" or f"`{key}`" in page, f"{name}: the page does not explain {key}"
    assert server.get(f"/extensions/{LINK_NAME}/docs/images/{name}.png").startswith(b"\x89PNG")


def test_templates_and_texts_are_offered(server):
    assert sorted(server.json("/workflow_templates")[LINK_NAME]) == sorted(
        path.stem for path in (PACK / "workflows").glob("*.json")
    )
    assert set(server.json("/i18n")["en"]["nodeDefs"]) >= set(NODES)

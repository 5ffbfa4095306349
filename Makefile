# make demo, make test and make lint set themselves up in .venv; ComfyUI's requirements are added when it is found.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet
# One consistent set for development; the pack itself pins none of them.
TORCH := torch==2.11.0 torchvision==0.26.0 torchaudio==2.11.0
COMFYUI := $(shell $(PYTHON) tests/support/comfy_home.py)

.PHONY: demo test lint workflows clean

test: $(VENV)/.comfyui
	$(BIN)/python -P -m pytest

demo: $(VENV)/.demo
	$(BIN)/python -P -m canvas_core demo --output output

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p canvas_core

workflows: $(VENV)/.comfyui
	$(BIN)/python scripts/build_locales.py
	$(BIN)/python scripts/build_workflows.py

# The demo needs no development tools, and takes what a full installation has put there already.
$(VENV)/.demo: pyproject.toml requirements.txt Makefile
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) $(TORCH)
	$(PIP) --editable .
	touch $@

$(VENV)/.installed: pyproject.toml requirements.txt Makefile
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) $(TORCH)
	$(PIP) --editable ".[dev]"
	touch $@

$(VENV)/.comfyui: $(VENV)/.installed $(if $(COMFYUI),$(COMFYUI)/requirements.txt)
ifneq ($(COMFYUI),)
	grep -v -x -E '(torch|torchvision|torchaudio)' $(COMFYUI)/requirements.txt > $(VENV)/comfyui-requirements.txt
	$(PIP) --requirement $(VENV)/comfyui-requirements.txt
endif
	touch $@

clean:
	rm -rf $(VENV) output build dist *.egg-info
